"""What remains to somebody with root and every key of the log, and who notices.

An insider can make a log that is in perfect order by itself. Then only what others kept convicts it: a checkpoint an
auditor holds, the mark beside the keys, a witness. These tests say so for each of them, and for rolling back.
"""

import shutil
from pathlib import Path

from graven.app import Log, public_keys
from graven.config import load_config
from graven.demo.forgery import rewrite_history, sign_with_another_key
from graven.keys.rootkeys import HIGHEST_FILE
from graven.runtime.clock import FixedClock
from tampering.logs import START_US, Tampered, batch_of

LATER_US = START_US + 10**12


def kept(log: Tampered, number: int) -> bytes:
    """A checkpoint somebody took home in time."""
    return sorted((log.directory / "checkpoints").glob("*/*"))[number].read_bytes()


def rewrite(log: Tampered) -> None:
    """Another word in one event, and everything made to fit again with the log's own keys."""
    rewrite_history(log.directory, [1_500], b"user-", b"User-", now_us=LATER_US)


def test_a_rewritten_log_is_in_perfect_order(log: Tampered) -> None:
    rewrite(log)
    report = log.judge()
    assert (report.exit_code, report.size, report.payloads) == (0, 3_001, "all")


def test_an_older_checkpoint_convicts_a_rewritten_log(log: Tampered) -> None:
    since = kept(log, -1)
    rewrite(log)
    report = log.judge(since=since)
    assert (report.exit_code, report.disproved) == (1, 1)
    assert report.problems[0].place == "--since"
    assert log.judge(keyless=True, since=since).exit_code == 1, "and needs no key but the public one"


def test_an_older_checkpoint_from_before_the_change_does_not(log: Tampered) -> None:
    """It bounds what was changed: everything up to its size is as it was."""
    since = kept(log, 2)
    rewrite(log)
    assert log.judge(since=since).exit_code == 0


def test_the_mark_beside_the_keys_convicts_a_rewritten_log(log: Tampered) -> None:
    mark = (log.keyring / HIGHEST_FILE).read_bytes()
    rewrite(log)
    (log.keyring / HIGHEST_FILE).write_bytes(mark)
    report = log.judge()
    assert report.exit_code == 1
    assert any(HIGHEST_FILE in problem.place for problem in report.problems)


def test_one_note_of_the_history_convicts_a_rewritten_log(log: Tampered) -> None:
    note = kept(log, -2)
    rewrite(log)
    path = next((log.directory / "checkpoints").iterdir()) / f"{2_501:020d}"
    path.write_bytes(note)
    report = log.judge()
    assert report.exit_code == 1
    assert any(path.name in problem.place for problem in report.problems)


def test_a_log_signed_again_with_another_key_is_disproved(log: Tampered) -> None:
    sign_with_another_key(log.directory, now_us=LATER_US)
    for keyless in (False, True):
        report = log.judge(keyless=keyless)
        assert report.exit_code == 1
        assert "log/checkpoint" in [problem.place for problem in report.problems]


def test_the_new_key_itself_does_not_help(log: Tampered) -> None:
    """Somebody who believes the forged configuration: the log's first event names the keys it began with."""
    sign_with_another_key(log.directory, now_us=LATER_US)
    forged = Tampered(log.directory, public_keys(load_config(log.directory / "graven.toml")))
    report = forged.judge()
    assert report.exit_code == 1
    assert any("first event does not name a key" in problem.what for problem in report.problems)


def grow(log: Tampered) -> None:
    clock = FixedClock(LATER_US)
    with Log.open(log.directory, clock=clock) as opened:
        opened.commit(batch_of(range(5_000, 5_100), clock.now_us()))
        opened.publish()


def test_data_older_than_the_keys_is_broken(log: Tampered, whole: Tampered) -> None:
    grow(log)
    shutil.rmtree(log.directory)
    shutil.copytree(whole.directory, log.directory)
    report = log.judge()
    assert report.exit_code == 3
    assert any(HIGHEST_FILE in problem.place for problem in report.problems)


def test_data_and_keys_rolled_back_together_are_broken_for_who_saw_more(log: Tampered, whole: Tampered) -> None:
    grow(log)
    since = kept(log, -1)
    for old, new in ((whole.directory, log.directory), (whole.keyring, log.keyring)):
        shutil.rmtree(new)
        shutil.copytree(old, new)
    assert log.judge().exit_code == 0, "by itself a whole host rolled back is in order"
    report = log.judge(since=since)
    assert (report.exit_code, [problem.place for problem in report.problems]) == (3, ["--since"])


def test_keys_older_than_the_data_are_missed(log: Tampered, whole: Tampered) -> None:
    """A segment was begun since: its keys are not in the older keyring, and no event says they were erased."""
    clock = FixedClock(LATER_US)
    with Log.open(log.directory, clock=clock) as opened:
        for start in (5_000, 5_100):
            clock.advance(100_000_000)
            opened.commit(batch_of(range(start, start + 100), clock.now_us()))
        opened.publish()
    shutil.rmtree(log.keyring)
    shutil.copytree(whole.keyring, log.keyring)
    report = log.judge()
    assert report.exit_code == 1
    assert any("key id gone" in problem.what for problem in report.problems)


def test_a_since_of_the_same_size_and_of_none(log: Tampered, tmp_path: Path) -> None:
    assert log.judge(since=kept(log, -1)).exit_code == 0
    assert log.judge(since=kept(log, 0)).exit_code == 0
