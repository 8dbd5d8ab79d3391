"""The recovery kit: every key comes back, the mark does not, and a changed kit is refused."""

from pathlib import Path

import pytest

from graven.core.checkpoint import Checkpoint
from graven.core.errors import BadInput, Broken, Disproved
from graven.keys.keyring import Keyring
from graven.keys.kit import KitLabel, backup, read_label, restore
from graven.keys.passphrase import Passphrase
from graven.keys.signer import LogSigner

ORIGIN = "example.com/log"
MADE_US = 1_700_000_000_000_000
KIT_WORDS = "kit words"
KEYRING_WORDS = "keyring words"


def make(tmp_path: Path, *, sealed: bool = False) -> Keyring:
    passphrase = Passphrase(KEYRING_WORDS) if sealed else None
    keyring = Keyring.create(str(tmp_path / "a.keys"), origin=ORIGIN, passphrase=passphrase, scrypt_n=2)
    keyring.new_data_keys(0, ["default"])
    keyring.new_data_keys(70, ["default", "payroll"])
    keyring.new_data_keys(70, ["default"])
    return keyring


def kit_of(keyring: Keyring, *, plain: bool = False) -> bytes:
    return backup(keyring, None if plain else Passphrase(KIT_WORDS), made_us=MADE_US, plain=plain, scrypt_n=2)


def unlock(plain: bool) -> Passphrase | None:
    return None if plain else Passphrase(KIT_WORDS)


def mark(keyring: Keyring, size: int) -> bytes:
    return LogSigner(keyring).sign_checkpoint(Checkpoint(ORIGIN, size, bytes(32)), 10)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("sealed", [False, True])
def test_all_keys_come_back(tmp_path: Path, plain: bool, sealed: bool) -> None:
    keyring = make(tmp_path, sealed=sealed)
    mark(keyring, 7)
    kit = kit_of(keyring, plain=plain)
    assert read_label(kit) == KitLabel(ORIGIN, MADE_US, 2, 70, not plain)
    new_words = Passphrase("new") if sealed else None
    back = restore(kit, str(tmp_path / "b"), passphrase=unlock(plain), keyring_passphrase=new_words, scrypt_n=2)
    assert back.root_keys() == keyring.root_keys()
    assert back.sealed is sealed
    assert dict(back.data_files()) == dict(keyring.data_files())
    assert len(list(back.data_files())) == 3
    assert Keyring.open(str(tmp_path / "b"), passphrase=new_words).root_keys() == keyring.root_keys()


def test_a_sealed_kit_shows_no_key(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    kit, bare = kit_of(keyring), kit_of(keyring, plain=True)
    for secret in (keyring.signing_key("log.ed25519").split("+", 4)[4].encode(), b"PRIVATE", b"wrapped"):
        assert secret in bare
        assert secret not in kit


def test_a_kit_is_sealed_or_explicitly_plain(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    with pytest.raises(BadInput, match="either sealed"):
        backup(keyring, None, made_us=MADE_US)
    with pytest.raises(BadInput, match="either sealed"):
        backup(keyring, Passphrase("x"), made_us=MADE_US, plain=True)


def test_a_restored_keyring_signs_nothing_until_the_mark_is_known(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    kit = kit_of(keyring)
    seen = mark(keyring, 7)
    back = restore(kit, str(tmp_path / "b"), passphrase=unlock(False))
    assert not Path(back.directory, "highest-checkpoint").exists()
    with pytest.raises(Broken, match="not known"):
        mark(back, 8)
    LogSigner(back).accept_seen(seen)
    assert mark(back, 8)


def test_restore_with_what_was_seen(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    kit = kit_of(keyring)
    seen = mark(keyring, 7)
    back = restore(
        kit, str(tmp_path / "b"), passphrase=unlock(False), seen=seen, replicas=[str(tmp_path / "r")], scrypt_n=2
    )
    assert {Path(place, "highest-checkpoint").read_bytes() for place in (back.directory, *back.replicas)} == {seen}
    assert back.replica_gaps() == {}
    with pytest.raises(Broken, match="signed before"):
        mark(back, 6)
    assert mark(back, 7) == seen
    assert mark(back, 8)


def test_a_false_seen_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    stranger = Keyring.create(str(tmp_path / "c"), origin=ORIGIN)
    for seen, error in ((mark(stranger, 7), Disproved), (b"nonsense", BadInput)):
        with pytest.raises(error):
            restore(kit_of(keyring), str(tmp_path / "b"), passphrase=unlock(False), seen=seen)
        assert not (tmp_path / "b").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    with pytest.raises(BadInput, match="never written over"):
        restore(kit_of(keyring), keyring.directory, passphrase=unlock(False))
    assert Keyring.open(keyring.directory).root_keys() == keyring.root_keys()


def test_wrong_or_missing_passphrase(tmp_path: Path) -> None:
    kit = kit_of(make(tmp_path))
    with pytest.raises(BadInput, match="passphrase is wrong"):
        restore(kit, str(tmp_path / "b"), passphrase=Passphrase("other"))
    with pytest.raises(BadInput, match="no passphrase was given"):
        restore(kit, str(tmp_path / "b"))
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("plain", [False, True])
def test_a_changed_kit_is_refused(tmp_path: Path, plain: bool) -> None:
    keyring = make(tmp_path)
    kit = kit_of(keyring, plain=plain)
    for at in [*range(320), *range(320, len(kit), 7), *range(len(kit) - 100, len(kit))]:
        changed = kit[:at] + bytes([kit[at] ^ 1]) + kit[at + 1 :]
        with pytest.raises(BadInput):
            restore(changed, str(tmp_path / "b"), passphrase=unlock(plain))
        assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "kit", [b"", b"{}\n", b"null\n", b"[]\n", b"\xff", b'{\n "format": "graven-recovery-kit/v1"\n}\n', b"[" * 99_999]
)
def test_no_kit_at_all(tmp_path: Path, kit: bytes) -> None:
    with pytest.raises(BadInput, match="no recovery kit"):
        restore(kit, str(tmp_path / "b"))
    with pytest.raises(BadInput, match="no recovery kit"):
        read_label(kit)


def test_a_destroyed_key_is_in_no_later_kit(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    made = keyring.new_data_keys(90, ["default"])
    key_id = made["default", "raw"][0]
    before = kit_of(keyring)
    keyring.destroy(key_id, 90)
    assert restore(before, str(tmp_path / "old"), passphrase=unlock(False)).has(key_id, 90)
    after = restore(kit_of(keyring), str(tmp_path / "new"), passphrase=unlock(False))
    assert not after.has(key_id, 90)
    assert after.has(made["default", "event"][0], 90)
