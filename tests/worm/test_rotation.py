"""A copy of a log that changed its keys: who knows the old keys verifies all of it, by the hand-overs in the copy."""

from pathlib import Path

from graven.app import open_keyring, public_keys
from graven.keys.rotation import begin
from graven.keys.signer import LogSigner
from graven.log.verify import verify_directory
from graven.worm.rebuild import rebuild
from graven.worm.verify import verify_copy
from worm.logs import append, config_of, copy, following, make_log, store_of


def test_old_and_new_keys_both_verify_a_copy(tmp_path: Path) -> None:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy", events=150)
    copy(directory)
    old = public_keys(config_of(directory))
    begin(open_keyring(directory, config_of(directory)))
    append(directory, 10)
    copy(directory)
    LogSigner(open_keyring(directory, config_of(directory))).hand_over(1_800_000_000)
    append(directory, 10)
    copy(directory)
    new = public_keys(config_of(directory))
    assert set(old).isdisjoint(new)
    found = verify_copy(store_of(directory), keys=old)
    assert found.newest is not None and found.newest.checkpoint.size == found.end and not found.report.problems
    assert {one.key for one in found.newest.signed} == set(new)
    for keys in (new, old[:1], new[:1]):
        found = verify_copy(store_of(directory), keys=keys)
        assert found.newest is not None and not found.report.problems


def test_a_follower_that_runs_on_takes_the_new_keys(tmp_path: Path) -> None:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy", events=150)
    with following(directory) as follower:
        assert follower.round()
        begin(open_keyring(directory, config_of(directory)))
        append(directory, 10)
        LogSigner(open_keyring(directory, config_of(directory))).hand_over(1_800_000_000)
        append(directory, 10)
        assert follower.round(), follower.state.trouble
        assert follower.state.alarms == []


def test_a_rebuilt_log_has_its_hand_overs(tmp_path: Path) -> None:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy", events=150)
    begin(open_keyring(directory, config_of(directory)))
    append(directory, 10)
    LogSigner(open_keyring(directory, config_of(directory))).hand_over(1_800_000_000)
    append(directory, 10)
    copy(directory)
    rebuild(store_of(directory), tmp_path / "new", public_keys(config_of(directory)))
    handed = sorted(path.name for path in (directory / "log" / "handover").iterdir())
    assert handed and handed == sorted(path.name for path in (tmp_path / "new" / "log" / "handover").iterdir())
    keyring = open_keyring(directory, config_of(directory))
    report = verify_directory(tmp_path / "new", keys=public_keys(config_of(directory)), keyring=keyring, processes=1)
    assert report.problems == ()
