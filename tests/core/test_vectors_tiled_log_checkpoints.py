"""Every checkpoint of a published tiled log, made again byte for byte from its entries and its published test key.

Source: transparency-dev/tessera, testdata/log (Apache-2.0). The key is its public test key.
"""

from pathlib import Path

import pytest

from core.signers import ed25519, sign_checkpoint
from graven.core.checkpoint import open_checkpoint
from graven.core.errors import GravenError
from graven.core.merkle import hash_leaf, root_of
from graven.core.note import parse_skey
from graven.core.tile import bundle_path, decode_bundle
from graven.keys.signature import verify_signature

SKEY = parse_skey("PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg")
LOG = ed25519(SKEY.name, SKEY.seed)
SIZE = 15


@pytest.fixture(scope="module")
def log(shared: Path) -> Path:
    return shared / "vectors" / "tessera-log"


@pytest.fixture(scope="module")
def made(log: Path) -> list[bytes]:
    entries = decode_bundle((log / bundle_path(0, SIZE)).read_bytes(), SIZE)
    leaves = [hash_leaf(entry) for entry in entries]
    return [sign_checkpoint(size, root_of(leaves[:size]), (LOG,), origin=SKEY.name) for size in range(SIZE + 1)]


def test_the_published_key_is_the_logs(log: Path) -> None:
    assert LOG.key.id == SKEY.id


@pytest.mark.parametrize("size", range(SIZE + 1))
def test_each_checkpoint_is_reproduced(log: Path, made: list[bytes], size: int) -> None:
    assert made[size] == (log / f"checkpoint.{size}").read_bytes()
    signed = open_checkpoint(made[size], [LOG.key], verify_signature, require_all=True, only_known=True)
    assert signed.checkpoint.size == size


def test_the_log_shows_its_largest(log: Path, made: list[bytes]) -> None:
    assert made[SIZE] == (log / "checkpoint").read_bytes()


def test_no_byte_of_a_published_checkpoint_may_change(made: list[bytes]) -> None:
    for position in range(len(made[SIZE])):
        changed = bytearray(made[SIZE])
        changed[position] ^= 1
        with pytest.raises(GravenError):
            open_checkpoint(bytes(changed), [LOG.key], verify_signature)
