"""Reading: beside a running writer, over segments, and where something is missing."""

import threading
from pathlib import Path

import pytest

from graven.app import Log, open_keyring, open_view
from graven.config import load_config
from graven.core.errors import BadInput, Broken, Disproved
from graven.journal.segment import list_segments
from graven.log.reader import JournalReader, KeyFinder
from graven.runtime.clock import FixedClock
from log.logs import SEGMENT_AGE_US, Teller, make_log, open_log


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Four segments: [0, 4), [4, 7), [7, 10), [10, 13)."""
    directory = make_log(tmp_path)
    with open_log(directory) as log:
        for _ in range(4):
            for _ in range(3):
                Teller(log).append((None, f"event {log.size}"))
            assert isinstance(log.clock, FixedClock)
            log.clock.advance(SEGMENT_AGE_US + 1)
    return directory


def test_any_order_gives_the_same_records(directory: Path) -> None:
    with open_view(directory) as view:
        assert view.size == 13
        inside = list(view.records(0, 13))
        for index in (12, 0, 7, 6, 4, 3, 11, 1):
            assert view.read(index) == inside[index]
        assert list(view.records(5, 9)) == inside[5:9]
        assert list(view.records(11, 99)) == inside[11:]
        assert inside[6].event is not None and b"event 6" in inside[6].event


@pytest.mark.parametrize("index", [-1, 13, 1 << 62])
def test_an_index_that_is_not_there(directory: Path, index: int) -> None:
    with open_view(directory) as view:
        with pytest.raises(BadInput, match="index"):
            view.read(index)
        with pytest.raises(BadInput):
            view.reader.read(index)


def test_a_segment_missing_in_the_middle_is_broken(directory: Path) -> None:
    Path(list_segments(str(directory / "journal"))[1].path).unlink()
    with open_view(directory) as view:
        assert view.read(3).event is not None and view.read(7).event is not None
        for index in (4, 6):
            with pytest.raises(Broken, match="goes on behind it"):
                view.read(index)


def test_a_damaged_frame_is_disproved_and_the_others_read(directory: Path) -> None:
    segment = Path(list_segments(str(directory / "journal"))[1].path)
    data = bytearray(segment.read_bytes())
    at = data.index(b"GRVB") + 150
    data[at] ^= 1
    segment.write_bytes(data)
    with open_view(directory) as view:
        with pytest.raises(Disproved, match="does not fit its checksum"):
            view.read(4)
        assert view.read(5).event is not None


def test_a_segment_that_cannot_be_opened_is_broken(directory: Path) -> None:
    with open_view(directory) as view:
        assert view.read(0).event is not None
        for one in list_segments(str(directory / "journal"))[2:]:
            Path(one.path).unlink()
            Path(one.path).mkdir()
        with pytest.raises(Broken):
            view.read(8)


def test_without_a_keyring_nothing_sealed_is_shown(directory: Path) -> None:
    directory.with_name("log.keys").rename(directory.with_name("away"))
    with open_view(directory, need_keys=False) as view:
        record = view.read(5)
        assert (record.state, record.class_name, record.event, record.entry) == ("unreadable", "default", None, None)
        with pytest.raises(BadInput, match="sealed"):
            view.registers()
    with pytest.raises(BadInput, match="no keyring"):
        open_view(directory)


def test_reading_beside_a_writer_shows_whole_events_only(directory: Path) -> None:
    """A view, and a reader in threads of its own, while segments roll and frames are written."""
    done = threading.Event()
    failed: list[BaseException] = []
    seen: list[int] = []

    def follow() -> None:
        try:
            with open_view(directory) as view:
                while not done.is_set():
                    size = view.size
                    texts = [record.event for record in view.records(max(0, size - 40), size)]
                    assert len(texts) == min(size, 40)
                    assert all(text is not None and text.endswith(b"}") for text in texts)
                    seen.append(size)
        except BaseException as error:
            failed.append(error)

    followers = [threading.Thread(target=follow) for _ in range(2)]
    with open_log(directory) as log:
        for follower in followers:
            follower.start()
        assert isinstance(log.clock, FixedClock)
        for turn in range(150):
            Teller(log).append(*((None, f"turn {turn} event {n}" * 20) for n in range(turn % 7 + 1)))
            if turn % 10 == 0:
                log.clock.advance(SEGMENT_AGE_US + 1)
                log.publish()
        done.set()
        for follower in followers:
            follower.join()
    assert not failed, failed
    assert len(set(seen)) > 3 and sorted(seen)[-1] <= 13 + 150 * 7


def test_a_reader_follows_keys_that_come_and_go(directory: Path) -> None:
    keyring = open_keyring(directory, load_config(directory / "graven.toml"))
    with Log.open(directory) as log:
        log_id = log.view.header.log_id
    reader = JournalReader(directory / "journal", log_id, KeyFinder(keyring))
    assert reader.read(5).state == "readable"
    (file,) = (path for path in (directory.with_name("log.keys") / "data").iterdir() if "04.0" in path.name)
    file.rename(file.with_suffix(".away"))
    assert reader.read(5).state == reader.read(6).state == "unreadable"
    file.with_suffix(".away").rename(file)
    assert reader.read(5).state == reader.read(6).state == "readable"
    reader.close()
