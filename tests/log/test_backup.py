"""Copies of a log: consistent while it is written, whole or not there, and refused where they would fork it."""

import shutil
import threading
from collections.abc import Iterator
from hashlib import sha512
from pathlib import Path

import msgspec
import pytest

from graven.app import Log, create_log, open_view, public_keys
from graven.config import default_config, load_config
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.note import Key
from graven.journal.mark import COMMITTED, read_mark
from graven.journal.segment import list_segments
from graven.log.backup import Copied, bytes_to_copy, copy_log
from graven.log.verify import verify_directory


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """A log of 701 entries in two closed segments and an open one."""
    config = default_config(origin="", log_id="", vkeys=())
    config = msgspec.structs.replace(config, journal=msgspec.structs.replace(config.journal, segment_bytes=64 << 10))
    create_log(tmp_path / "log", origin="example.com/log", config=config)
    with Log.open(tmp_path / "log") as log:
        for start in range(0, 700, 100):
            log.append([_event(start + number) for number in range(100)])
    return tmp_path / "log"


def _event(number: int) -> bytes:
    noise = "".join(sha512(f"{number} {n}".encode()).hexdigest() for n in range(4))  # half of it does not compress
    return msgspec.json.encode({"action": "a", "id": f"e{number}", "data": {"n": number, "noise": noise}})


def _keys(directory: Path) -> tuple[Key, ...]:
    return public_keys(load_config(directory / "graven.toml"))


def _copy(directory: Path, target: Path) -> Copied:
    return copy_log(directory, target, _keys(directory))


def test_a_copy_is_a_whole_log(log_dir: Path, tmp_path: Path) -> None:
    told: list[int] = []
    copied = copy_log(log_dir, tmp_path / "copy", _keys(log_dir), progress=told.append)
    assert (copied.committed.size, copied.published.size) == (701, 701)
    assert len(list_segments(str(tmp_path / "copy" / "journal"))) == 3
    assert bytes_to_copy(log_dir) == pytest.approx(sum(told), rel=0.1)
    assert not (tmp_path / "copy.partial").exists()
    assert not list((tmp_path / "copy").rglob("*.ed25519"))
    report = verify_directory(tmp_path / "copy", keys=_keys(log_dir), keyring=None)
    assert report.problems == () and report.size == report.published == 701


def test_with_the_keys_beside_it_every_event_is_there(log_dir: Path, tmp_path: Path) -> None:
    _copy(log_dir, tmp_path / "copy")
    shutil.copytree(tmp_path / "log.keys", tmp_path / "copy.keys")
    with open_view(tmp_path / "copy") as view:
        assert [record.event for record in view.records(1, 701)] == [_event(number) for number in range(700)]
        assert view.evidence(700)
    with Log.open(tmp_path / "copy") as log:  # nothing was signed since, so it may go on
        assert log.append([b'{"action":"next"}']).first_index == 701


def test_a_copy_of_a_running_log(log_dir: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    with Log.open(log_dir) as log:

        def write() -> None:
            number = 1_000
            while not stop.is_set():
                log.append([_event(number + n) for n in range(50)])
                number += 50

        writer = threading.Thread(target=write)
        writer.start()
        try:
            sizes = [_copy(log_dir, tmp_path / f"copy{number}").committed.size for number in range(4)]
        finally:
            stop.set()
            writer.join()
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    for number, size in enumerate(sizes):
        report = verify_directory(tmp_path / f"copy{number}", keys=_keys(log_dir), keyring=None)
        assert report.problems == () and report.size == size
        with open_view(log_dir) as view, open_view(tmp_path / f"copy{number}", need_keys=False) as copy:
            assert copy.published.checkpoint.size <= size <= view.size


def test_the_journal_is_cut_behind_the_mark(log_dir: Path, tmp_path: Path) -> None:
    mark = (log_dir / "state" / "committed").read_bytes()
    checkpoint = (log_dir / "log" / "checkpoint").read_bytes()
    shutil.copytree(log_dir, tmp_path / "before")
    with Log.open(log_dir) as log:
        log.append([_event(9_000)])
    (log_dir / "state" / "committed").write_bytes(mark)  # as if the copy had read them just before
    (log_dir / "log" / "checkpoint").write_bytes(checkpoint)
    copied = _copy(log_dir, tmp_path / "copy")
    assert copied.committed.size == 701
    for segment in list_segments(str(tmp_path / "before" / "journal")):
        copy = tmp_path / "copy" / "journal" / segment.name
        assert copy.read_bytes() == Path(segment.path).read_bytes()
    assert read_mark(str(tmp_path / "copy" / "state" / "committed"), COMMITTED) == copied.committed


def test_without_a_mark_the_published_tree_is_copied(log_dir: Path, tmp_path: Path) -> None:
    (log_dir / "state" / "committed").unlink()
    assert _copy(log_dir, tmp_path / "copy").committed.size == 701


def test_a_partial_tile_that_was_collected_is_cut_from_the_full_one(log_dir: Path, tmp_path: Path) -> None:
    checkpoint = (log_dir / "log" / "checkpoint").read_bytes()
    expected = (log_dir / "log" / "tile" / "0" / "002.p" / "189").read_bytes()
    with Log.open(log_dir) as log:
        log.append([_event(5_000 + number) for number in range(300)])
    assert not (log_dir / "log" / "tile" / "0" / "002.p").exists()
    (log_dir / "log" / "checkpoint").write_bytes(checkpoint)
    _copy(log_dir, tmp_path / "copy")
    assert (tmp_path / "copy" / "log" / "tile" / "0" / "002.p" / "189").read_bytes() == expected
    assert len((tmp_path / "copy" / "log" / "tile" / "entries" / "002.p" / "189").read_bytes()) == 34 * 189


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("place", ["journal", "log/tile/0", "log/checkpoint", "log/tile/1"])
def test_what_is_damaged_is_not_copied(log_dir: Path, tmp_path: Path, place: str, bit: int) -> None:
    path = log_dir / place
    while path.is_dir():
        path = max(path.iterdir())
    data = bytearray(path.read_bytes())
    data[-40 - 3 * bit] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(Disproved):
        _copy(log_dir, tmp_path / "copy")
    assert not (tmp_path / "copy").exists() and not (tmp_path / "copy.partial").exists()


def test_what_is_missing_is_not_copied(log_dir: Path, tmp_path: Path) -> None:
    shutil.rmtree(log_dir / "log" / "tile" / "entries")
    with pytest.raises(Broken, match="could not be made"):
        _copy(log_dir, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_where_a_copy_may_go(log_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _copy(log_dir, tmp_path / "empty")
    (tmp_path / "deep.partial").mkdir()
    (tmp_path / "deep.partial" / "left over").write_text("by a copy that was interrupted")
    _copy(log_dir, tmp_path / "deep")
    _copy(log_dir, tmp_path / "not" / "yet" / "there")
    for target in (tmp_path / "empty", log_dir, log_dir / "inside"):
        with pytest.raises(BadInput):
            _copy(log_dir, target)
    with pytest.raises(BadInput, match="no log here"):
        copy_log(tmp_path, tmp_path / "other", _keys(log_dir))


@pytest.fixture
def older(log_dir: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy that the log has since gone beyond, with the log's own keyring."""
    _copy(log_dir, tmp_path / "older")
    with Log.open(log_dir) as log:
        log.append([_event(9_999)])
    shutil.copytree(tmp_path / "log.keys", tmp_path / "older.keys")
    yield tmp_path / "older"


def test_a_copy_behind_what_was_signed_reads_and_refuses_to_write(older: Path) -> None:
    with pytest.raises(Broken, match="701, but a tree of 702 entries was signed") as refused:
        Log.open(older)
    assert refused.value.exit_code == 3
    assert "graven init NEW_DIR --successor-of CHECKPOINT_FILE" in refused.value.mend
    with pytest.raises(Broken):
        Log.open(older, declare_loss="the disk burnt")  # what was signed cannot be declared lost
    with open_view(older) as view:
        assert view.read(700).event == _event(699)
        assert view.evidence(700)


def test_its_successor_names_it(older: Path, tmp_path: Path) -> None:
    checkpoint = (older / "log" / "checkpoint").read_bytes()
    create_log(tmp_path / "next", origin="example.com/log-2", successor_of=checkpoint)
    with open_view(tmp_path / "next") as view:
        genesis = msgspec.json.decode(view.read(0).event or b"")
    assert genesis["data"]["successor_of"]["size"] == 701
    assert genesis["data"]["successor_of"]["checkpoint"] == checkpoint.decode()


def test_files_in_torn_go_along(log_dir: Path, tmp_path: Path) -> None:
    (segment,) = list_segments(str(log_dir / "journal"))[-1:]
    with Path(segment.path).open("ab") as file:
        file.write(b"GRV torn tail")
    with Log.open(log_dir):
        pass
    (torn,) = (log_dir / "journal" / "torn").iterdir()
    _copy(log_dir, tmp_path / "copy")
    assert (tmp_path / "copy" / "journal" / "torn" / torn.name).read_bytes() == b"GRV torn tail"
    assert verify_directory(tmp_path / "copy", keys=_keys(log_dir), keyring=None).problems == ()
