"""Publishing: what is on disk when, what waiting returns, and which partial tiles stay until they are not needed."""

import shutil
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crash.disk import RecordingFiles, read_tree, write_tree
from crash.enumerate_crashes import crashes
from crash.story import small_config
from graven.app import Log
from graven.config.model import PublishConfig
from graven.core.errors import Broken
from graven.journal.mark import SYNCED, read_mark
from graven.log.tail import Tail
from graven.log.types import Committed
from graven.runtime.clock import FixedClock
from log.logs import START_US, Teller, make_log, open_log, verify

DAY_US = 86_400_000_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return make_log(tmp_path)


def tiles(directory: Path) -> list[str]:
    root = directory / "log" / "tile"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def fill(log: Log, to: int, *, step: int = 10) -> None:
    while log.size < to:
        Teller(log).append(*((None, f"event {log.size + n}") for n in range(min(step, to - log.size))))


def test_the_tree_is_published_as_it_grows(directory: Path) -> None:
    with open_log(directory) as log:
        assert log.published.checkpoint.size == 1
        fill(log, 300)
        assert log.published.checkpoint.size == 1
        assert log.publish().checkpoint.size == 300
        assert log.publish() is log.published
        assert (directory / "log" / "checkpoint").read_bytes() == log.published.data
    assert verify(directory).exit_code == 0


def test_partial_tiles_are_collected_once_the_full_one_lasts(directory: Path) -> None:
    with open_log(directory) as log:
        fill(log, 200)
        log.publish()
        log.publisher.sync()
        fill(log, 250)
        log.publish()
        fill(log, 260)
        log.publish()
        partials = [name for name in tiles(directory) if name.startswith("0/000.p/")]
        assert partials == ["0/000.p/1", "0/000.p/200", "0/000.p/250"]  # the synced tree needs one of them
        assert "0/000" in tiles(directory)
        log.publisher.sync()
        assert tiles(directory) == [
            "0/000", "0/001.p/4", "1/000.p/1", "entries/000", "entries/001.p/4",
        ]  # fmt: skip
        mark = read_mark(str(directory / "state" / "synced"), SYNCED)
        assert mark is not None and (mark.size, mark.root) == (260, log.published.checkpoint.root)
    assert verify(directory).exit_code == 0


def test_a_power_failure_where_a_tile_fills_costs_no_replay_of_the_log(tmp_path: Path) -> None:
    """A full tile that did not reach the disk must not have taken its partial forms along."""
    directory = make_log(tmp_path / "real")
    with open_log(directory) as log:
        fill(log, 250, step=5)
    start = read_tree(tmp_path / "real")
    files = RecordingFiles(tmp_path / "real")
    with open_log(directory, files=files) as log:
        for size in range(251, 263, 3):
            fill(log, size)
            log.publish()
    added: list[int] = []
    add = Tail.add

    def counting(self: Tail, *args: Any) -> None:
        added.append(1)
        add(self, *args)

    for crash in crashes(files.steps, start=start)[::16]:
        write_tree(tmp_path / "crashed", crash.tree)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Tail, "add", counting)
            added.clear()
            with open_log(tmp_path / "crashed" / "log", files=RecordingFiles(tmp_path / "crashed")):
                assert len(added) <= 4, crash.name
        report = verify(tmp_path / "crashed" / "log")
        assert report.exit_code == 0, (crash.name, report.problems)
        shutil.rmtree(tmp_path / "crashed")


def test_waiting_for_a_checkpoint(directory: Path) -> None:
    with open_log(directory) as log:
        fill(log, 5)
        assert log.publisher.wait(5, 0.01) is None
        assert log.publisher.wait(1, 0.01) is log.published
        with pytest.raises(Broken, match="not published after"):
            log.commit(Teller(log).batch((None, "x")), wait="published", timeout_s=0.01)
        later = threading.Timer(0.05, log.publish)
        later.start()
        shown = log.publisher.wait(6, 90)
        later.join()
        assert shown is not None and shown.checkpoint.size == 6


def test_the_thread_publishes_by_itself(tmp_path: Path) -> None:
    config = msgspec.structs.replace(small_config(), publish=PublishConfig(interval_ms=10))
    with Log.open(make_log(tmp_path, config=config), clock=FixedClock(START_US)) as log:
        answer = log.commit(Teller(log).batch((None, "x")), wait="published", timeout_s=90)
        assert log.published.checkpoint.size >= answer.size


def test_a_start_pins_the_checkpoint_it_names(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is published while the start is being appended."""
    append_act = Log.append_act

    def publishing(self: Log, *args: Any, **kwargs: Any) -> Committed:
        answer = append_act(self, *args, **kwargs)
        self.publish()
        return answer

    monkeypatch.setattr(Log, "append_act", publishing)
    with open_log(directory, serve=True):
        (pinned,) = (directory / "checkpoints" / "pinned").iterdir()
    assert pinned.read_text().splitlines()[1] == str(int(pinned.name)) == "1"
    assert verify(directory).exit_code == 0


def test_a_smaller_or_forked_tree_is_never_signed(directory: Path) -> None:
    with open_log(directory) as log:
        fill(log, 3)
        log.publish()
        newest = (directory / "log" / "checkpoint").read_bytes()
        fill(log, 4)
        small = Tail.load(directory / "log", 1)
        log.publisher._tail, tail = small, log.publisher._tail
        with pytest.raises(Broken, match="a tree of size 3 was signed before"):
            log.publisher.publish()
        assert (directory / "log" / "checkpoint").read_bytes() == newest
        log.publisher._tail = tail
        log.publish()
    assert verify(directory).exit_code == 0
