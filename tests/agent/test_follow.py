"""Following files: every line once, whatever is done to the files, and whenever the follower is started again."""

import gzip
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graven.agent.follow import FileSettings, FileSource
from graven.agent.followed import LINE_BYTES_MAX, LINE_KEPT_BYTES
from graven.agent.source import Taken

DAY = b"2026-03-01T08:30:00Z host app[%d]: "


class Following:
    """A file source over a folder, with a clock of its own; started again from the places it gave out."""

    def __init__(self, folder: Path, pattern: str = "app.log*", **how: Any) -> None:
        self.folder = folder
        self.settings = FileSettings("app", (str(folder / pattern),), **how)
        self.places: dict[str, Any] = {}
        self.records: list[bytes] = []
        self.notices: list[bytes] = []
        self.taken: list[Taken] = []
        self.now_s = 0.0
        self.source = self._open()

    def _open(self) -> FileSource:
        return FileSource(self.settings, dict(self.places), now_s=lambda: self.now_s, scan_s=0)

    def read(self, *, pass_s: float = 1.0, bytes_max: int = 1 << 20) -> None:
        """Take what there is, and remember the places as a spool would."""
        for _ in range(50):
            self.now_s += pass_s / 50
            taken = self.source.take(bytes_max)
            for one in taken:
                (self.notices if one.type == "graven" else self.records).extend(one.records)
                for key, place in one.places.items():
                    if place is None:
                        self.places.pop(key, None)
                    else:
                        self.places[key] = place
            self.taken += taken

    def restart(self) -> None:
        """As after a crash behind the last spooled batch."""
        self.source.close()
        self.source = self._open()

    def settle(self) -> None:
        """Let enough time pass for everything that waits to be given out."""
        self.read(pass_s=60)
        self.read(pass_s=60)


@pytest.fixture
def following(tmp_path: Path) -> Iterator[Following]:
    made = Following(tmp_path)
    yield made
    made.source.close()


def lines(first: int, last: int) -> list[bytes]:
    return [DAY % number + b"line %d" % number for number in range(first, last)]


def append(path: Path, some: list[bytes]) -> None:
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in some))


def test_what_is_there_and_what_comes(following: Following) -> None:
    path = following.folder / "app.log"
    append(path, lines(0, 5))
    following.read()
    append(path, lines(5, 9))
    following.read()
    assert following.records == lines(0, 9)


def test_a_last_line_waits_for_its_end(following: Following) -> None:
    path = following.folder / "app.log"
    path.write_bytes(b"whole\nhal")
    following.settle()
    assert following.records == [b"whole"]
    with path.open("ab") as file:
        file.write(b"f\n\n\nlast\n")
    following.settle()
    assert following.records == [b"whole", b"half", b"last"]


def test_rotation_by_renaming(following: Following) -> None:
    path = following.folder / "app.log"
    append(path, lines(0, 5))
    following.read()
    append(path, lines(5, 7))
    path.rename(following.folder / "app.log.1")
    append(following.folder / "app.log.1", lines(7, 8))  # the writer has not reopened yet
    append(path, lines(8, 12))
    following.settle()
    assert sorted(following.records) == sorted(lines(0, 12))
    assert len(following.records) == 12


def test_rotation_while_nobody_follows(following: Following) -> None:
    path = following.folder / "app.log"
    append(path, lines(0, 5))
    following.read()
    append(path, lines(5, 7))
    path.rename(following.folder / "app.log.1")
    append(path, lines(7, 9))
    following.restart()
    following.settle()
    assert sorted(following.records) == sorted(lines(0, 9))


def test_rotation_and_compression_while_nobody_follows(following: Following) -> None:
    path = following.folder / "app.log"
    append(path, lines(0, 5))
    following.read()
    append(path, lines(5, 7))
    (following.folder / "app.log.1.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    append(path, lines(7, 9))
    following.restart()
    following.settle()
    assert sorted(following.records) == sorted(lines(0, 9))
    following.restart()
    following.settle()
    assert len(following.records) == 9


def test_a_compressed_copy_is_not_read_twice(following: Following) -> None:
    path = following.folder / "app.log"
    append(path, lines(0, 50))
    following.read()
    path.rename(following.folder / "app.log.1")
    append(path, lines(50, 60))
    following.read()
    rotated = following.folder / "app.log.1"
    (following.folder / "app.log.1.gz").write_bytes(gzip.compress(rotated.read_bytes()))
    following.read()
    rotated.unlink()
    following.settle()
    assert following.records == lines(0, 60)
    following.restart()
    following.settle()
    assert following.records == lines(0, 60)


def test_an_old_compressed_file_is_read_once(following: Following) -> None:
    data = b"".join(line + b"\n" for line in lines(0, 3000)) + b"no end"
    (following.folder / "app.log.3.gz").write_bytes(gzip.compress(data[:70_000]) + gzip.compress(data[70_000:]))
    following.settle()
    following.restart()
    following.settle()
    assert following.records == [*lines(0, 3000), b"no end"]


def test_copytruncate(following: Following) -> None:
    path = following.folder / "app.log"
    append(path, lines(0, 40))
    following.read()
    append(path, lines(40, 45))  # not read before the copy is made
    shutil.copy(path, following.folder / "app.log.1")
    os.truncate(path, 0)
    append(path, lines(45, 50))
    following.settle()
    assert sorted(following.records) == sorted(lines(0, 50))
    assert len(following.records) == 50
    assert any(b"file_truncated" in one for one in following.notices)


def test_copytruncate_seen_half_way(following: Following) -> None:
    path = following.folder / "app.log"
    append(path, lines(0, 40))
    following.read()
    shutil.copy(path, following.folder / "app.log.1")
    following.read()  # the copy is there, the original not cut yet
    append(path, lines(40, 41))
    following.read()
    os.truncate(path, 0)
    following.read()
    append(path, lines(41, 50))
    following.settle()
    assert following.records == lines(0, 50)


def test_copytruncate_while_nobody_follows(following: Following) -> None:
    path = following.folder / "app.log"
    append(path, lines(0, 40))
    following.read()
    append(path, lines(40, 45))
    shutil.copy(path, following.folder / "app.log.1")
    os.truncate(path, 0)
    append(path, lines(45, 99))  # longer than it was
    following.restart()
    following.settle()
    assert sorted(following.records) == sorted(lines(0, 99))


def test_truncated_and_longer_than_before_between_two_looks(following: Following) -> None:
    path = following.folder / "app.log"
    append(path, lines(0, 10))
    following.read()
    os.truncate(path, 0)
    append(path, lines(10, 90))
    following.settle()
    assert following.records == lines(0, 90)


def test_files_that_begin_alike_are_different_files(following: Following) -> None:
    head = [b"# fields: a b c " + b"x" * 3000]
    path = following.folder / "app.log"
    append(path, head + lines(0, 5))
    following.read()
    path.rename(following.folder / "app.log.1")
    append(path, head)
    following.read()
    append(path, lines(5, 9))
    following.settle()
    assert following.records == head + lines(0, 5) + head + lines(5, 9)


def test_a_file_gone_after_a_restart_is_said_so(following: Following) -> None:
    path = following.folder / "app.log"
    append(path, lines(0, 5))
    following.read()
    path.unlink()
    following.restart()
    following.settle()
    assert any(b"graven.agent.file_unread" in one for one in following.notices)
    following.restart()
    following.notices.clear()
    following.settle()
    assert not following.notices


def test_removed_while_it_is_followed(following: Following) -> None:
    path = following.folder / "app.log"
    append(path, lines(0, 5))
    following.read()
    append(path, lines(5, 6))
    with path.open("ab") as file:
        file.write(b"no end")
        file.flush()
        path.unlink()
        following.settle()
    assert following.records == [*lines(0, 6), b"no end"]


def test_a_line_beyond_every_bound(following: Following) -> None:
    path = following.folder / "app.log"
    long = b"x" * (3 * LINE_BYTES_MAX + 17)
    path.write_bytes(b"before\n" + long + b"\nbehind\n")
    following.settle()
    assert following.records == [b"before", long[:LINE_KEPT_BYTES], b"behind"]
    cut = next(one for one in following.taken if "graven.cut" in one.around)
    assert cut.around["graven.size_bytes"] == str(len(long))


def test_start_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"old\nolder\npart")
    following = Following(tmp_path, start="end")
    following.read()
    with path.open("ab") as file:
        file.write(b"ial\nnew\n")
    append(tmp_path / "app.log.2", [b"another"])
    following.settle()
    assert sorted(following.records) == sorted([b"partial", b"new", b"another"])


def test_a_pipe_or_folder_is_left_alone(following: Following) -> None:
    os.mkfifo(following.folder / "app.log.fifo")
    (following.folder / "app.log.d").mkdir()
    following.settle()
    assert not following.records


AUDIT = [
    b"type=SYSCALL msg=audit(1700000000.100:7): arch=c000003e syscall=59",
    b"type=SYSCALL msg=audit(1700000000.101:8): arch=c000003e syscall=2",
    b'type=CWD msg=audit(1700000000.100:7): cwd="/"',
    b"type=EOE msg=audit(1700000000.101:8): ",
    b"type=USER_LOGIN msg=audit(1700000000.200:9): pid=1",
    b"type=EOE msg=audit(1700000000.100:7): ",
    b"type=SYSCALL msg=audit(1700000001.000:10): a",
]


@pytest.mark.parametrize("cut", range(1, len(AUDIT)))
def test_audit_records_of_one_event_stay_together_over_restarts(tmp_path: Path, cut: int) -> None:
    following = Following(tmp_path, multiline="auditd")
    append(tmp_path / "app.log", AUDIT[:cut])
    following.read(pass_s=0.5)
    following.restart()
    append(tmp_path / "app.log", AUDIT[cut:])
    following.settle()
    expected = {
        AUDIT[0] + b"\n" + AUDIT[2] + b"\n" + AUDIT[5],
        AUDIT[1] + b"\n" + AUDIT[3],
        AUDIT[4],
        AUDIT[6],
    }
    assert set(following.records) == expected
    assert len(following.records) == len(expected)


@pytest.mark.parametrize("cut", range(1, 6))
def test_records_of_several_lines(tmp_path: Path, cut: int) -> None:
    text = [b"first", b"  at one", b"  at two", b"second", b"third", b"  at three"]
    following = Following(tmp_path, multiline="indented")
    append(tmp_path / "app.log", text[:cut])
    following.read(pass_s=0.5)
    following.restart()
    append(tmp_path / "app.log", text[cut:])
    following.settle()
    assert following.records == [b"first\n  at one\n  at two", b"second", b"third\n  at three"]


STEPS = st.lists(
    st.sampled_from(["write", "write", "read", "rename", "copytruncate", "gzip", "restart", "remove_old"]),
    min_size=1,
    max_size=25,
)


@given(steps=STEPS, seed=st.integers(0, 2**32))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_line_once_whatever_is_done(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], seed: int
) -> None:
    """Rotation keeps what was written until it was read, as any that means to lose nothing must."""
    folder = tmp_path_factory.mktemp("any")
    following = Following(folder)
    try:
        _do(following, steps, random.Random(seed))
    finally:
        following.source.close()


def _do(following: Following, steps: list[str], chance: random.Random) -> None:
    folder = following.folder
    path, number, rotated = folder / "app.log", 0, 0
    for step in steps:
        if step == "write":
            count = chance.randint(1, 40)
            append(path, lines(number, number + count))
            number += count
        elif step == "read":
            following.read()
        elif step == "rename" and path.exists():
            rotated += 1
            path.rename(folder / f"app.log.{rotated}")
        elif step == "copytruncate" and path.exists():
            following.read()  # what is between the last look and the copy is in the copy; nothing else is promised
            count = chance.randint(0, 3)
            append(path, lines(number, number + count))
            number += count
            rotated += 1
            shutil.copy(path, folder / f"app.log.{rotated}")
            os.truncate(path, 0)
            following.read()
        elif step == "gzip":
            for old in folder.glob("app.log.*[0-9]"):
                (folder / f"{old.name}.gz").write_bytes(gzip.compress(old.read_bytes()))
                if chance.random() < 0.5:
                    following.read()
                old.unlink()
        elif step == "remove_old":
            following.settle()
            for old in folder.glob("app.log.*"):
                old.unlink()
        elif step == "restart":
            following.restart()
    following.settle()
    following.restart()
    following.settle()
    assert sorted(following.records) == sorted(lines(0, number))
