"""By whose keys a log is believed: those the caller trusts, with those the log calls its own."""

from pathlib import Path

import pytest

from graven.app import create_log, public_keys
from graven.config import load_config
from graven.core.errors import BadInput
from graven.core.note import Key
from graven.keys.keyring import Keyring
from graven.keys.passphrase import Passphrase
from graven.log.verify import Report, verify_directory
from tampering.logs import Tampered, make_log


def judge(log: Tampered, keys: tuple[Key, ...], own: tuple[Key, ...] = (), *, keyring: bool = True) -> Report:
    opened = Keyring.open(str(log.keyring)) if keyring else None
    return verify_directory(log.directory, keys=keys, own_keys=own, keyring=opened, processes=1)


@pytest.mark.parametrize("keyring", [True, False])
def test_one_trusted_key_and_the_rest_the_logs_own(whole: Tampered, keyring: bool) -> None:
    for number in (0, 1):
        assert judge(whole, whole.keys[number : number + 1], whole.keys, keyring=keyring).exit_code == 0


@pytest.mark.parametrize("keyring", [True, False])
def test_a_line_by_a_key_nobody_names_is_disproved(whole: Tampered, keyring: bool) -> None:
    report = judge(whole, whole.keys[:1], keyring=keyring)
    assert report.exit_code == 1
    assert any("not known here" in problem.what for problem in report.problems)


def test_a_key_of_its_own_that_has_not_signed_is_disproved(whole: Tampered) -> None:
    other = Key(whole.keys[0].name, 1, bytes(32))
    report = judge(whole, whole.keys, (other,), keyring=False)
    assert report.exit_code == 1
    assert report.problems[0].place == "log/checkpoint"


def test_a_trusted_key_of_another_log_is_disproved(whole: Tampered) -> None:
    other = Key("example.com/else", 1, bytes(32))
    assert judge(whole, (other,), whole.keys, keyring=False).exit_code == 1


def test_without_a_trusted_key_nothing_is_verified(whole: Tampered) -> None:
    with pytest.raises(BadInput):
        judge(whole, (), whole.keys)


def test_the_keyring_must_sign_with_the_keys_the_log_is_believed_by(whole: Tampered, tmp_path: Path) -> None:
    """The same origin, another keyring: not the one this log was made with."""
    other = make_log(tmp_path / "other", events=5)
    report = verify_directory(whole.directory, keys=whole.keys, keyring=Keyring.open(str(other.keyring)), processes=1)
    assert report.exit_code == 1
    assert any("signs with a key the log is not believed by" in problem.what for problem in report.problems)


def test_a_sealed_keyring(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    create_log(directory, origin="example.com/sealed", passphrase=Passphrase(b"correct horse"))
    keys = public_keys(load_config(directory / "graven.toml"))
    keyring = Keyring.open(str(directory) + ".keys", passphrase=Passphrase(b"correct horse"))
    report = verify_directory(directory, keys=keys, keyring=keyring)
    assert (report.exit_code, report.payloads) == (0, "all")
