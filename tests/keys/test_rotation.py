"""Changing the signing keys: who signs at each step, and what a crash between any two writes leaves."""

from collections.abc import Callable
from pathlib import Path

import pytest

from graven.core.checkpoint import Checkpoint
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.handover import open_handover
from graven.core.note import parse_note
from graven.keys import kit
from graven.keys.keyring import Keyring
from graven.keys.passphrase import Passphrase
from graven.keys.rotation import (
    Rotation,
    begin,
    format_rotation,
    load_tenures,
    parse_rotation,
    promote,
    read_rotation,
    renew_receipt_key,
)
from graven.keys.signature import verify_signature
from graven.keys.signer import LogSigner
from recording import Recorder

ORIGIN = "example.com/log"
PASSPHRASE = Passphrase("a passphrase")


def make(root: Path, *, sealed: bool = False, replicas: int = 1) -> Keyring:
    return Keyring.create(
        str(root / "k"), origin=ORIGIN, replicas=places(root, replicas), passphrase=PASSPHRASE if sealed else None,
        scrypt_n=1024,
    )  # fmt: skip


def places(root: Path, replicas: int = 1) -> list[str]:
    return [str(root / f"r{n}") for n in range(replicas)]


def opened(root: Path, files: Recorder | None = None, *, sealed: bool = False) -> Keyring:
    passphrase = PASSPHRASE if sealed else None
    return Keyring.open(str(root / "k"), replicas=places(root), files=files, passphrase=passphrase)


def tree(size: int, root: int = 0) -> Checkpoint:
    return Checkpoint(ORIGIN, size, bytes([root]) * 32)


@pytest.mark.parametrize("sealed", [False, True])
def test_the_whole_way(tmp_path: Path, sealed: bool) -> None:
    keyring = make(tmp_path, sealed=sealed)
    first = LogSigner(keyring)
    old = first.keys
    alone = first.sign_checkpoint(tree(1), 10)
    with pytest.raises(BadInput, match="no change of keys is begun"):
        first.hand_over(11)
    begun = begin(keyring)
    assert begin(keyring) == begun
    with pytest.raises(Broken, match="changed by another process"):
        first.sign_checkpoint(tree(2), 11)
    signer = LogSigner(keyring)
    assert signer.keys == old and signer.tenures.coming == begun.coming
    with pytest.raises(BadInput, match="signed no tree beside"):
        signer.hand_over(11)
    both = signer.sign_checkpoint(tree(1), 12)  # the same tree: the old lines stay as they were
    assert both.startswith(alone) and len(parse_note(both).signatures) == 4
    signer.sign_checkpoint(tree(5), 13)
    note = signer.hand_over(14)
    assert open_handover(note, verify_signature).last == 5
    assert signer.keys == begun.coming and signer.handovers == (note,)
    with pytest.raises(Broken, match="another tree of size 5"):
        signer.sign_checkpoint(tree(5, 1), 15)
    assert len(parse_note(signer.sign_checkpoint(tree(5), 15)).signatures) == 4  # the stored one
    after = signer.sign_checkpoint(tree(6), 15)
    assert {line.key_id for line in parse_note(after).signatures} == {key.id for key in begun.coming}
    promote(keyring)
    promote(keyring)
    again = LogSigner(opened(tmp_path, sealed=sealed))
    assert again.keys == begun.coming and again.highest() == after and again.tenures.first_keys == old
    assert not any((Path(place) / "next.ed25519").exists() for place in (keyring.directory, *keyring.replicas))
    with pytest.raises(Broken, match="size 6 was signed before"):
        again.sign_checkpoint(tree(5), 16)


def test_the_old_key_is_out_of_every_copy(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    before = {name: (tmp_path / "k" / name).read_bytes() for name in ("log.ed25519", "log.mldsa44", "receipt.ed25519")}
    LogSigner(keyring).sign_checkpoint(tree(1), 10)
    begin(keyring)
    signer = LogSigner(keyring)
    signer.sign_checkpoint(tree(2), 10)
    signer.hand_over(11)
    promote(keyring)
    renew_receipt_key(keyring)
    for place in (keyring.directory, *keyring.replicas):
        everything = b"".join(path.read_bytes() for path in Path(place).rglob("*") if path.is_file())
        assert not any(secret in everything for secret in before.values())
    assert LogSigner(keyring).sign_checkpoint(tree(3), 12)


def test_a_stolen_or_older_copy_of_the_old_keys_does_not_open(tmp_path: Path) -> None:
    keyring = make(tmp_path, replicas=0)
    stolen = {name: (tmp_path / "k" / name).read_bytes() for name in ("log.ed25519", "log.mldsa44")}
    begin(keyring)
    signer = LogSigner(keyring)
    signer.sign_checkpoint(tree(2), 10)
    signer.hand_over(11)
    promote(keyring)
    for name, data in stolen.items():
        (tmp_path / "k" / name).write_bytes(data)
    with pytest.raises(Broken, match="not those its hand-overs lead to"):
        LogSigner(Keyring.open(str(tmp_path / "k")))


def test_damaged_and_foreign_states_are_refused() -> None:
    good = format_rotation(Rotation(), ORIGIN)
    assert parse_rotation(good, ORIGIN, place="x") == Rotation()
    for wrong in (
        good.replace(b"none", b"begun"), good.replace(b"none", b"gone"), good.replace(b"[]", b"[1]", 1), good + b" ",
        good.replace(ORIGIN.encode(), b"example.com/other"), b"", b"{}\n", good.replace(b"v1", b"v2"),
    ):  # fmt: skip
        with pytest.raises(Broken):
            parse_rotation(wrong, ORIGIN, place="x")
    with pytest.raises(Broken, match="damaged"):
        Rotation("none", (), (b"graven-handover/v1\n",)).opened()


class Cut(Recorder):
    """Files that stop at the nth step, and at each one after it, as a machine that lost its power."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def step(self, word: str) -> None:
        super().step(word)
        if len(self.steps) > self.at:
            raise OSError(5, "cut off")


def at_every_step(root: Path, prepare: Callable[[Path], None], act: Callable[[Keyring], object]) -> list[Path]:
    """`act` cut off before its first write, its second and so on; the directories that leaves, the last one done."""
    left: list[Path] = []
    for at in range(1000):
        place = root / str(at)
        place.mkdir()
        prepare(place)
        files = Cut(at)
        left.append(place)
        try:
            act(opened(place, files))
        except (Broken, OSError):
            continue
        return left
    raise AssertionError("it never ends")


def prepared(root: Path) -> None:
    LogSigner(make(root)).sign_checkpoint(tree(3), 10)


def prepared_and_begun(root: Path) -> None:
    prepared(root)
    keyring = opened(root)
    begin(keyring)
    LogSigner(keyring).sign_checkpoint(tree(4), 10)


def prepared_and_handed(root: Path) -> None:
    prepared_and_begun(root)
    LogSigner(opened(root)).hand_over(11)


def go_on(root: Path) -> LogSigner:
    """What the next command or start does; it must come to the end, whatever was cut off."""
    keyring = opened(root)
    promote(keyring)
    return LogSigner(keyring)


def test_a_crash_anywhere_in_begin(tmp_path: Path) -> None:
    left = at_every_step(tmp_path, prepared, begin)
    assert len(left) > 20
    for place in left:
        signer = go_on(place)
        assert signer.sign_checkpoint(tree(4), 20)
        begin(opened(place))
        assert len(parse_note(go_on(place).sign_checkpoint(tree(5), 21)).signatures) == 4


def test_a_crash_anywhere_in_the_handover(tmp_path: Path) -> None:
    left = at_every_step(tmp_path, prepared_and_begun, lambda keyring: LogSigner(keyring).hand_over(11))
    lines = []
    for place in left:
        signer = go_on(place)
        note = signer.sign_checkpoint(tree(5), 20)
        lines.append(len(parse_note(note).signatures))
        assert lines[-1] == (2 if signer.handovers else 4)
        if not signer.handovers:
            signer.hand_over(21)
            signer = go_on(place)
        assert signer.sign_checkpoint(tree(6), 22)
        assert load_tenures(opened(place)).handovers[0].last in (4, 5)
    assert sorted(lines, reverse=True) == lines and set(lines) == {2, 4}


def test_a_crash_anywhere_in_promoting(tmp_path: Path) -> None:
    left = at_every_step(tmp_path, prepared_and_handed, promote)
    assert len(left) > 30
    for place in left:
        before = read_rotation(opened(place))
        assert before.opened()[0].last == 4
        signer = go_on(place)
        assert signer.keys == before.opened()[0].new
        assert signer.sign_checkpoint(tree(5), 20)
        assert read_rotation(opened(place)).step == "none"
        assert not (place / "k" / "next.ed25519").exists() and not (place / "r0" / "next.mldsa44").exists()


@pytest.mark.parametrize("prepare", [prepared, prepared_and_begun, prepared_and_handed])
def test_a_kit_brings_every_step_back(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    prepare(tmp_path)
    keyring = opened(tmp_path)
    data = kit.backup(keyring, PASSPHRASE, made_us=1, scrypt_n=1024)
    seen = LogSigner(keyring).highest()
    assert seen is not None
    back = kit.restore(data, str(tmp_path / "back"), passphrase=PASSPHRASE, seen=seen)
    assert read_rotation(back) == read_rotation(keyring)
    assert LogSigner(back).tenures == LogSigner(keyring).tenures
    assert LogSigner(back).sign_checkpoint(tree(9), 30)


def test_a_kit_of_before_the_change_signs_nothing_of_after(tmp_path: Path) -> None:
    prepared(tmp_path)
    keyring = opened(tmp_path)
    data = kit.backup(keyring, None, made_us=1, plain=True)
    begin(keyring)
    signer = LogSigner(keyring)
    signer.sign_checkpoint(tree(4), 10)
    signer.hand_over(11)
    seen = signer.sign_checkpoint(tree(5), 12)
    with pytest.raises(Disproved):
        kit.restore(data, str(tmp_path / "back"), seen=seen)


def test_a_replica_is_brought_to_the_same_step(tmp_path: Path) -> None:
    prepared_and_begun(tmp_path)
    keyring = opened(tmp_path)
    keyring.replicate(str(tmp_path / "other"))
    assert (tmp_path / "other" / "next.ed25519").exists()
    LogSigner(keyring).hand_over(11)
    promote(keyring)
    keyring.replicate(str(tmp_path / "other"))
    assert not (tmp_path / "other" / "next.ed25519").exists()
    assert LogSigner(Keyring.open(str(tmp_path / "other"))).keys == LogSigner(keyring).keys
