"""A copy of a log that changed its keys: who knows the old keys verifies all of it, by the hand-overs in the copy."""

from pathlib import Path

from graven.app import open_keyring, public_keys
from graven.keys.rotation import begin
from graven.keys.signer import LogSigner
from graven.worm.verify import verify_copy
from worm.logs import append, config_of, copy, make_log, store_of


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
