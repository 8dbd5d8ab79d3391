"""The history of checkpoints: what is kept, what is thinned, and that nothing else is touched."""

from base64 import b64encode
from pathlib import Path

from graven.journal.files import LocalFiles
from graven.log.history import DAY_S, CheckpointHistory, checkpoint_time_s, read_history

NOW_S = 1_800_000_000 - 1_800_000_000 % DAY_S + 12 * 3600


def note(time_s: int) -> bytes:
    """A checkpoint by nobody, with a line of the right length under the origin's name."""
    line = b64encode(b"\0\0\0\0" + time_s.to_bytes(8, "big") + bytes(2420)).decode()
    return f"example.com/log\n1\n{b64encode(bytes(32)).decode()}\n\n— example.com/log {line}\n".encode()


def fill(directory: Path, start_s: int, seconds: list[int]) -> CheckpointHistory:
    directory.mkdir(exist_ok=True)
    history = CheckpointHistory(LocalFiles(), directory)
    for number, second in enumerate(seconds):
        history.add(number, note(start_s + second), start_s + second)
    return history


def sizes(directory: Path) -> list[int]:
    return [int(path.name) for path, _ in read_history(directory)]


def test_the_time_is_the_one_the_log_signed() -> None:
    assert checkpoint_time_s(note(NOW_S)) == NOW_S
    assert checkpoint_time_s(b"no note") is None


def test_all_of_a_week_are_kept(tmp_path: Path) -> None:
    history = fill(tmp_path / "c", NOW_S - 7 * DAY_S, [0, 1, 2, 59, 60, 61])
    assert history.thin(NOW_S) == 0
    assert sizes(tmp_path / "c") == [0, 1, 2, 3, 4, 5]


def test_then_the_first_of_each_minute(tmp_path: Path) -> None:
    history = fill(tmp_path / "c", NOW_S - 9 * DAY_S, [0, 1, 59, 60, 61, 119, 120, 3599])
    assert history.thin(NOW_S) == 4
    assert sizes(tmp_path / "c") == [0, 3, 6, 7]
    assert history.thin(NOW_S) == 0


def test_after_a_year_the_first_of_each_hour(tmp_path: Path) -> None:
    history = fill(tmp_path / "c", NOW_S - 367 * DAY_S, [0, 60, 3599, 3600, 7199, 7200])
    assert history.thin(NOW_S) == 3
    assert sizes(tmp_path / "c") == [0, 3, 5]


def test_pinned_ones_and_what_is_not_ours_stay(tmp_path: Path) -> None:
    history = fill(tmp_path / "c", NOW_S - 400 * DAY_S, [0, 1])
    history.pin(1, note(NOW_S - 400 * DAY_S + 1))
    for name in (".snapshot", "lost+found", "2020-13-01"):
        (tmp_path / "c" / name).mkdir()
        (tmp_path / "c" / name / "file").write_text("not ours")
    (tmp_path / "c" / "a file").write_text("not ours")
    assert history.thin(NOW_S) == 1
    assert (tmp_path / "c" / "pinned" / f"{1:020d}").exists()
    assert (tmp_path / "c" / ".snapshot" / "file").exists()
