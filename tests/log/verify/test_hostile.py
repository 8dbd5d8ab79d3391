"""Data made to hurt the verifier: it ends soon, in bounded memory, with a verdict, and never with an exception."""

import os
import random
import struct
import time
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from graven.core.errors import BadInput, Broken, Disproved
from graven.journal import frame
from graven.log.verify import verify_directory
from graven.log.verify.reading import read_bounded, read_sha256
from tampering.frames import frames_of
from tampering.logs import Tampered, make_log
from tampering.test_words import sign

EVIDENCE = ("journal", "log", "checkpoints")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Tampered:
    return make_log(tmp_path_factory.mktemp("small") / "log", events=60, block=5, publish_every=20)


def damage(data: bytes, choose: random.Random) -> bytes:
    """The bytes with a piece overwritten, taken out, put in, doubled, moved, or cut off."""
    a = choose.randrange(len(data) + 1)
    b = min(len(data), a + choose.choice([1, 4, 32, 80, 500, 5000]))
    piece = data[a:b]
    return choose.choice(
        [
            data[:a] + choose.randbytes(len(piece)) + data[b:],
            data[:a] + data[b:],
            data[:a] + choose.randbytes(choose.choice([1, 32, 200])) + data[a:],
            data[:b] + piece + data[b:],
            data[:a] + data[b:] + piece,
            data[:a],
            data[:a] + bytes(len(piece)) + data[b:],
        ]
    )


def check_damages(log: Tampered, count: int, seed: int) -> None:
    choose = random.Random(seed)
    files = [path for place in EVIDENCE for path in sorted((log.directory / place).rglob("*")) if path.is_file()]
    files = [path for path in files if not path.parent.name.endswith(".p") or path.name == "61"]
    for number in range(count):
        chosen = choose.sample(files, choose.choice([1, 1, 2, 5]))
        before = {path: path.read_bytes() for path in chosen}
        after = {path: damage(data, choose) for path, data in before.items()}
        changed = [path for path in chosen if after[path] != before[path] and not is_harmless(log, path, before, after)]
        try:
            for path, data in after.items():
                path.write_bytes(data)
            for keyless in (False, True):
                report = log.judge(keyless=keyless)
                assert report.exit_code in ((1, 3) if changed else (0, 1, 3)), (seed, number, chosen)
        finally:
            for path, data in before.items():
                path.write_bytes(data)


def is_harmless(log: Tampered, path: Path, before: dict[Path, bytes], after: dict[Path, bytes]) -> bool:
    """What a crash may leave: a note of the history not written, and bytes behind the journal's last frame."""
    if path.parent.parent.name == "checkpoints":
        return not after[path].strip(b"\0")
    return path == log.segments[-1] and after[path].startswith(before[path])


def test_damage_of_any_kind_is_caught(small: Tampered) -> None:
    check_damages(small, 60, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_much_damage_of_any_kind_is_caught(small: Tampered) -> None:
    check_damages(small, 5_000, seed=2)


def header(*, start: int, count: int = 1, directory: int = 0, payload: int = 0) -> bytes:
    """The header of a block, with a checksum that fits, and nothing behind it."""
    fixed = struct.pack(">3scHHQIIQ32s", b"GRV", b"B", 1, 1, start, count, directory, payload, bytes(32))
    whole = fixed + sha256(fixed).digest()[:16]
    assert frame.decode_header(whole, place="").start == start
    return whole


def behind_the_header(log: Tampered, data: bytes) -> Path:
    """Put bytes in the place of all frames of the second segment."""
    path = log.segments[1]
    path.write_bytes(frames_of(path)[0].data + data)
    return path


def many_magics(log: Tampered) -> None:
    behind_the_header(log, b"GRVB\x00\x01" * 40_000)


def many_headers(log: Tampered) -> None:
    behind_the_header(log, header(start=1) * 10_000)


def a_frame_of_a_gibibyte(log: Tampered) -> None:
    path = behind_the_header(log, header(start=46, payload=1 << 30))
    with path.open("r+b") as file:
        file.truncate(file.seek(0, 2) + (1 << 30) - 5)


def many_frames_within_each_other(log: Tampered) -> None:
    path = behind_the_header(log, b"".join(header(start=46, payload=(1 << 25) - n) for n in range(2_000)))
    with path.open("r+b") as file:
        file.truncate(file.seek(0, 2) + (1 << 25))


def a_segment_of_a_tebibyte(log: Tampered) -> None:
    with log.segments[1].open("r+b") as file:
        file.truncate(1 << 40)


def a_start_far_away(log: Tampered) -> None:
    one = next(one for one in frames_of(log.segments[1]) if one.header.kind == b"B")
    behind_the_header(log, one.moved(1 << 62))


def a_million_slots_without_bytes(log: Tampered) -> None:
    whole = header(start=46, count=1 << 20)
    behind_the_header(log, whole + sha256(whole).digest())


def an_index_of_anything(log: Tampered) -> None:
    behind_the_header(
        log, frame.encode_index(segment_start=46, end=1 << 61, root=bytes(32), frames=[(46, 5)] * 1, offset=1 << 60)
    )


def a_tail_that_points_to_the_beginning(log: Tampered) -> None:
    with log.segments[0].open("r+b") as file:
        file.truncate(1 << 28)
        file.seek((1 << 28) - 40)
        file.write(bytes(40))


def a_checkpoint_of_everything(log: Tampered) -> None:
    (log.directory / "log" / "checkpoint").write_bytes(sign(log, (1 << 63) - 1, bytes(32)))


def a_history_of_everything(log: Tampered) -> None:
    folder = next((log.directory / "checkpoints").iterdir())
    for size in range((1 << 62), (1 << 62) + 300):
        (folder / f"{size:020d}").write_bytes(b"x")


def a_tile_directory_in_itself(log: Tampered) -> None:
    os.symlink(".", log.directory / "log" / "tile" / "0" / "x001")


def a_directory_in_itself(log: Tampered) -> None:
    os.symlink("..", log.directory / "log" / "tile" / "5")


def a_pipe_for_a_checkpoint(log: Tampered) -> None:
    (log.directory / "log" / "checkpoint").unlink()
    os.mkfifo(log.directory / "log" / "checkpoint")


def a_pipe_in_the_history(log: Tampered) -> None:
    os.mkfifo(next((log.directory / "checkpoints").iterdir()) / f"{5:020d}")


def a_pipe_in_torn(log: Tampered) -> None:
    (log.directory / "journal" / "torn").mkdir()
    os.mkfifo(log.directory / "journal" / "torn" / "x")


def a_device_for_a_tile(log: Tampered) -> None:
    path = log.directory / "log" / "tile" / "0" / "000.p" / "61"
    path.unlink()
    os.symlink("/dev/zero", path)


def a_name_that_is_no_text(log: Tampered) -> None:
    Path(os.fsdecode(os.fsencode(log.directory / "journal") + b"/\xff\xfe\n.seg")).write_bytes(b"x")


HOSTILE: list[Callable[[Tampered], None]] = [
    many_magics, many_headers, many_frames_within_each_other, a_frame_of_a_gibibyte, a_start_far_away,
    a_million_slots_without_bytes, an_index_of_anything, a_tail_that_points_to_the_beginning,
    a_checkpoint_of_everything, a_history_of_everything, a_tile_directory_in_itself, a_directory_in_itself,
    a_pipe_for_a_checkpoint, a_pipe_in_the_history, a_pipe_in_torn, a_device_for_a_tile, a_name_that_is_no_text,
]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [*HOSTILE, pytest.param(a_segment_of_a_tebibyte, marks=pytest.mark.slow)],
    ids=lambda make: make.__name__,
)
def test_it_ends_soon_with_a_verdict(small: Tampered, tmp_path: Path, make: Callable[[Tampered], None]) -> None:
    log = small.copy(tmp_path / "log")
    make(log)
    for keyless in (False, True):
        tracemalloc.start()
        started = time.process_time()
        try:
            report = log.judge(keyless=keyless)
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert report.exit_code in (1, 3)
        str(report)
        "".join(map(str, report.problems)).encode()
        assert time.process_time() - started < 30
        assert peak < 64 << 20, f"{peak >> 20} MiB"


def test_what_is_no_log_is_refused(tmp_path: Path, small: Tampered) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(BadInput):
            verify_directory(place, keys=small.keys, keyring=None)
    with pytest.raises(BadInput):
        verify_directory(small.directory, keys=(), keyring=None)


@pytest.mark.parametrize("name", ["graven.toml", "journal", "log"])
def test_whatever_has_one_part_of_a_log_is_one(tmp_path: Path, small: Tampered, name: str) -> None:
    (tmp_path / name).mkdir()
    assert verify_directory(tmp_path, keys=small.keys, keyring=None).exit_code == 3


@pytest.mark.parametrize("since", [b"", b"hello\n", b"\xff" * 2_000_000])
def test_an_older_checkpoint_that_is_none_is_refused(small: Tampered, since: bytes) -> None:
    with pytest.raises(BadInput):
        small.judge(since=since)


def test_an_older_checkpoint_of_another_log_is_refused(small: Tampered, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="another log"):
        small.judge(since=sign(small, 5, bytes(32), origin="example.com/else"))


def test_hashing_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert read_sha256(str(path)) is None
    path.write_bytes(b"12345")
    assert read_sha256(str(path)) == sha256(b"12345").hexdigest()
    for nothing in (str(tmp_path), "/dev/zero"):
        with pytest.raises(Broken):
            read_sha256(nothing)


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert read_bounded(str(path), 5) is None
    assert read_bounded(str(path / "y"), 5) is None
    path.write_bytes(b"12345")
    assert read_bounded(str(path), 5) == b"12345"
    assert read_bounded(str(path), 50) == b"12345"
    with pytest.raises(Disproved, match="longer than 4"):
        read_bounded(str(path), 4)
    for nothing in (str(tmp_path), "/dev/zero"):
        with pytest.raises(Broken, match="something else"):
            read_bounded(nothing, 4)
