"""Bare proofs: from tiles and entry bundles alone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from graven.app import Log, create_log, open_view
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.merkle import hash_leaf
from graven.core.proof import parse_proof, verify_proof
from graven.core.tile import bundle_path
from graven.keys.signature import verify_signature
from graven.log.view import View

SIZE = 601


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    create_log(tmp_path / "log", origin="example.com/log")
    with Log.open(tmp_path / "log") as log:
        log.append([b'{"action":"a"}'] * (SIZE - 1))
        log.publish()
    return tmp_path / "log"


@pytest.fixture
def view(directory: Path) -> Iterator[View]:
    with open_view(directory) as found:
        yield found


@pytest.mark.parametrize("index", [0, 255, 256, 511, 512, SIZE - 1])
def test_the_entry_is_the_events(view: View, index: int) -> None:
    proof = parse_proof(view.tlog_proof(index))
    assert (proof.index, proof.extra) == (index, view.read(index).entry)
    assert proof.extra is not None
    assert verify_proof(proof, hash_leaf(proof.extra), view.keys, verify_signature).checkpoint.size == SIZE


def test_no_key_is_needed(directory: Path) -> None:
    """An event whose key is gone, or that was erased, is proved to stand where it stood."""
    shutil.rmtree(f"{directory}.keys")
    with open_view(directory, need_keys=False) as view:
        assert parse_proof(view.tlog_proof(7)).index == 7


def test_a_partial_bundle_that_was_collected_is_cut_from_the_full_one(directory: Path, view: View) -> None:
    before = view.tlog_proof(SIZE - 1)
    partial = directory / "log" / bundle_path(SIZE // 256, SIZE % 256)
    whole = partial.read_bytes() + b"\x00\x20" + bytes(32)
    shutil.rmtree(partial.parent)
    (directory / "log" / bundle_path(SIZE // 256)).write_bytes(whole)
    assert view.tlog_proof(SIZE - 1) == before


def test_a_changed_bundle_proves_nothing(directory: Path, view: View) -> None:
    bundle = directory / "log" / bundle_path(1)
    data = bytearray(bundle.read_bytes())
    data[34 * 3 + 5] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(Disproved):
        view.tlog_proof(256 + 3)
    assert view.tlog_proof(256 + 4)
    bundle.write_bytes(data[:-1])
    with pytest.raises(Disproved, match="not an entry bundle"):
        view.tlog_proof(256 + 4)
    bundle.unlink()
    with pytest.raises(Broken, match="an entry bundle cannot be read"):
        view.tlog_proof(256 + 4)


@pytest.mark.parametrize("index", [-1, SIZE, SIZE + 1])
def test_only_what_is_published(view: View, index: int) -> None:
    with pytest.raises(BadInput):
        view.tlog_proof(index)
