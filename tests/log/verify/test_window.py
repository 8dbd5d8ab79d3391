"""The window over a segment: any offset, any size, and the next frame wherever it lies."""

from pathlib import Path

import pytest

from graven.core.errors import Broken, Disproved
from graven.journal import frame
from graven.log.verify import window
from graven.log.verify.window import SegmentWindow


def whole_frame(start: int) -> bytes:
    return frame.encode_index(segment_start=0, end=start, root=bytes(32), frames=[], offset=0)


@pytest.fixture(autouse=True)
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "WINDOW_SIZE", 256)
    monkeypatch.setattr(window, "NEAR_SIZE", 100)


def over(path: Path, data: bytes) -> SegmentWindow:
    path.write_bytes(data)
    return SegmentWindow(str(path), path.name, len(data))


def test_reading_at_any_offset(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5
    file = over(tmp_path / "seg", data)
    for offset, size in ((0, 10), (250, 10), (5, 1000), (1279, 1), (1270, 100), (1280, 5), (3, 3)):
        assert bytes(file.read(offset, size)) == data[offset : offset + size]
    file.close()


def test_no_further_than_it_was_long_in_the_beginning(tmp_path: Path) -> None:
    file = over(tmp_path / "seg", b"12345")
    (tmp_path / "seg").write_bytes(b"1234567890")
    assert bytes(file.read(0, 100)) == b"12345"
    file.close()


def test_a_file_that_became_shorter_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    file = over(tmp_path / "seg", bytes(1000))
    (tmp_path / "seg").write_bytes(b"12")
    assert bytes(file.read(0, 100)) == b"12"
    assert file.find_header(0, 1000) == -1
    file.close()


@pytest.mark.parametrize("before", [0, 1, 5, 175, 176, 177, 250, 251, 252, 255, 256, 257, 600])
def test_the_next_header_is_found_wherever_it_lies(tmp_path: Path, before: int) -> None:
    file = over(tmp_path / "seg", b"GRVB\x00\x01" * 200 + b"x" * 4 + b"." * before + whole_frame(7) + b"tail")
    at = 1204 + before
    assert file.find_header(0, file.size) == at
    assert file.find_header(at, file.size) == at
    assert file.find_header(at + 1, file.size) == -1
    assert file.find_header(0, at) == -1
    assert file.header(at).start == 7
    assert file.has_header(at)
    assert not file.has_header(at + 1)
    assert not file.has_header(file.size)
    file.close()


def test_what_is_no_header_is_disproved(tmp_path: Path) -> None:
    file = over(tmp_path / "seg", bytes(200))
    with pytest.raises(Disproved):
        file.header(0)
    with pytest.raises(Disproved):
        file.header(190)
    file.close()


def test_a_file_that_is_not_there_is_broken(tmp_path: Path) -> None:
    with pytest.raises(Broken):
        SegmentWindow(str(tmp_path / "none"), "none", 5)
