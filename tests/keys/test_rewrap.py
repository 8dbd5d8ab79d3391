"""A new key-encryption key: every data key stays, nothing opens by the old one, a crash leaves a keyring."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.checkpoint import Checkpoint
from graven.core.errors import BadInput, Broken
from graven.keys import kit
from graven.keys.datakey import decode_data_keys
from graven.keys.keyring import Keyring
from graven.keys.passphrase import Passphrase
from graven.keys.pending import Pending, begin_wrapping, format_pending, parse_pending
from graven.keys.rewrap import finish_rewrap, rewrap
from graven.keys.rotation import begin, promote
from graven.keys.signer import LogSigner
from keys.test_rotation import Cut, places
from recording import Recorder

ORIGIN = "example.com/log"
OLD, NEW = Passphrase("old passphrase"), Passphrase("new passphrase")
CLASSES = ["default", "graven"]


def make(root: Path, passphrase: Passphrase | None = None) -> dict[int, dict[bytes, bytes]]:
    """A keyring with a replica and three segments' keys: what every later opening must find."""
    keyring = Keyring.create(
        str(root / "k"), origin=ORIGIN, replicas=places(root), passphrase=passphrase, scrypt_n=1024
    )  # fmt: skip
    for start in (0, 7, 9):
        keyring.new_data_keys(start, CLASSES)
    LogSigner(keyring).sign_checkpoint(Checkpoint(ORIGIN, 3, bytes(32)), 10)
    return {start: keyring.segment_keys(start) for start in (0, 7, 9)}


def opened(root: Path, passphrase: Passphrase | None = None, files: Recorder | None = None) -> Keyring:
    return Keyring.open(str(root / "k"), replicas=places(root), passphrase=passphrase, files=files)


def either(root: Path, *passphrases: Passphrase | None) -> tuple[Keyring, Passphrase | None]:
    """Opened by the one passphrase that is in force."""
    for passphrase in passphrases:
        try:
            return opened(root, passphrase), passphrase
        except BadInput:
            continue
    raise AssertionError("no passphrase opens it")


def whole(keyring: Keyring, keys: dict[int, dict[bytes, bytes]]) -> None:
    for start, held in keys.items():
        assert keyring.segment_keys(start) == held
    assert LogSigner(keyring).sign_checkpoint(Checkpoint(ORIGIN, 3, bytes(32)), 20)


@pytest.mark.parametrize(("before", "after"), [(None, None), (OLD, OLD), (OLD, NEW), (None, NEW), (OLD, None)])
def test_every_key_stays_and_the_old_key_opens_nothing(
    tmp_path: Path, before: Passphrase | None, after: Passphrase | None
) -> None:
    keys = make(tmp_path, before)
    stolen = opened(tmp_path, before).root_keys()
    assert rewrap(opened(tmp_path, before), after, scrypt_n=1024) == 3
    whole(opened(tmp_path, after), keys)
    for place in (tmp_path / "k", *map(Path, places(tmp_path))):
        assert not (place / "rewrap.json").exists()
        for path in (place / "data").iterdir():
            with pytest.raises(Broken):
                decode_data_keys(path.read_bytes(), stolen.kek, place="x")
    assert opened(tmp_path, after).root_keys().kek != stolen.kek
    if before is not None and after is not before:
        keyring, passphrase = either(tmp_path, before, after)
        assert passphrase is after or (after is None and not keyring.sealed)


@pytest.mark.parametrize(
    ("before", "after", "stride"),
    [
        (None, None, 7),
        (OLD, NEW, 5),
        pytest.param(None, None, 1, marks=pytest.mark.slow),
        pytest.param(OLD, NEW, 1, marks=pytest.mark.slow),
    ],
)
def test_a_crash_anywhere_leaves_a_keyring_that_opens_and_works(
    tmp_path: Path, before: Passphrase | None, after: Passphrase | None, stride: int
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    keys = make(model, before)
    for at in range(0, 2000, stride):
        root = tmp_path / f"at{at}"
        shutil.copytree(model, root)
        done = False
        try:
            rewrap(opened(root, before, Cut(at)), after, scrypt_n=1024)
            done = True
        except (Broken, OSError):
            pass
        keyring, _ = either(root, before, after)
        finish_rewrap(keyring)  # what a start does
        promote(keyring)
        whole(keyring, keys)
        assert keyring.new_data_keys(11, CLASSES)
        key_id = next(iter(keys[7]))
        assert keyring.destroy(key_id, 7)
        keyring, _ = either(root, before, after)
        whole(keyring, {0: keys[0], 9: keys[9], 7: {k: v for k, v in keys[7].items() if k != key_id}})
        if not done:
            rewrap(keyring, after, scrypt_n=1024)
            whole(opened(root, after), {0: keys[0], 9: keys[9]})
        shutil.rmtree(root)
        if done:
            assert at > 60
            return
    raise AssertionError("it never ends")


def test_a_replica_of_before_is_no_reason_not_to_open(tmp_path: Path) -> None:
    keys = make(tmp_path)
    with pytest.raises(Broken):
        rewrap(opened(tmp_path, files=Cut(30)), None)
    shutil.copytree(tmp_path / "r0", tmp_path / "stale")
    assert (tmp_path / "stale" / "rewrap.json").exists()
    rewrap(opened(tmp_path), None)
    shutil.rmtree(tmp_path / "r0")
    shutil.copytree(tmp_path / "stale", tmp_path / "r0")
    keyring = opened(tmp_path)
    assert {start: keyring.segment_keys(start) for start in keys} == keys
    with pytest.raises(Broken, match="not a copy"):
        keyring.new_data_keys(11, CLASSES)
    keyring = Keyring.open(str(tmp_path / "stale"))  # and the replica alone opens by what was then
    assert {start: keyring.segment_keys(start) for start in keys} == keys


def test_while_one_waits_nothing_else_changes_the_keys(tmp_path: Path) -> None:
    make(tmp_path)
    steps = Recorder()
    rewrap(opened(tmp_path, files=steps), None)
    shutil.rmtree(tmp_path / "k")
    shutil.rmtree(tmp_path / "r0")
    make(tmp_path)
    first = next(n for n, step in enumerate(steps.steps) if step.startswith("rename rewrap.json.tmp"))
    with pytest.raises(Broken):
        rewrap(opened(tmp_path, files=Cut(first + 12)), None)
    keyring = opened(tmp_path)
    assert keyring.pending is not None
    for act in (lambda: begin(keyring), lambda: kit.backup(keyring, None, made_us=1, plain=True)):
        with pytest.raises(BadInput, match="was cut off"):
            act()
    rewrap(keyring, None)
    assert begin(opened(tmp_path)).step == "begun"


@given(st.binary(max_size=300))
def test_documents_are_read_strictly(data: bytes) -> None:
    pending, kek = begin_wrapping(ORIGIN, bytes(32))
    assert parse_pending(format_pending(pending), place="x") == pending and pending.next_kek(bytes(32)) == kek
    with pytest.raises(Broken):
        pending.next_kek(bytes(31) + b"\1")
    with pytest.raises(Broken):
        Pending("example.com/other", "wrapping", pending.wrapped).next_kek(bytes(32))
    commit = Pending(ORIGIN, "commit", None, {"keyring.json": b"{}\n"})
    assert parse_pending(format_pending(commit), place="x") == commit
    for wrong in (data, format_pending(commit).replace(b"keyring.json", b"../evil")):
        with pytest.raises(Broken):
            parse_pending(wrong, place="x")
