"""Where anchors stand in the log: found again after anything happened to the files that say so; and riders."""

import errno
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.app import Log, create_log, open_view
from graven.core.anchored import COSIGNATURE, COSIGNATURE_ACT, RFC3161, TOKEN_ACT
from graven.core.errors import BadInput
from graven.core.evidence import parse_evidence
from graven.log import acts
from graven.log.anchorings import Anchorings, anchored_in, best_below, read_covered
from graven.log.writer import RIDERS_A_BLOCK_BYTES, RIDERS_MAX
from graven.runtime.files import LocalFile, LocalFiles

KINDS = {RFC3161: TOKEN_ACT, COSIGNATURE: COSIGNATURE_ACT}


def event(kind: str, time_us: int) -> bytes:
    return acts.act(KINDS[kind], now_us=0, data={"earliest_us": time_us})


@given(st.lists(st.tuples(st.sampled_from([RFC3161, COSIGNATURE, ""]), st.integers(1, 50)), max_size=40), st.data())
def test_the_best_below_any_index_also_after_damage(rows: list[tuple[str, int]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        log = [event(*row) if row[0] else b'{"action":"graven.start"}' for row in rows]
        cut = data.draw(st.integers(0, len(rows)))

        def events(start: int, end: int) -> list[tuple[int, bytes]]:
            return [(index, log[index]) for index in range(start, end)]

        Anchorings(LocalFiles(), state).open(cut, events)
        damage = data.draw(st.sampled_from(["none", "all gone", "one gone", "torn", "zeros", "ahead"]))
        files = sorted(state.glob("anchors*"))
        if damage == "all gone":
            for path in files:
                path.unlink()
        elif damage == "one gone":
            (state / "anchors").unlink()
        elif damage == "torn":
            for kind in KINDS:
                with (state / f"anchors.{kind}").open("ab") as file:
                    file.write(b"\x00\x00\x00")
        elif damage == "zeros":  # a row's length reached the disk, its bytes did not
            for kind in KINDS:
                with (state / f"anchors.{kind}").open("ab") as file:
                    file.write(bytes(16))
        elif damage == "ahead":  # rows of a tail that the journal lost
            again = Anchorings(LocalFiles(), state)
            again.open(len(rows), events)
            again.apply(len(rows) + 5, event(RFC3161, 60))
            again.save(len(rows) + 9)
        last = Anchorings(LocalFiles(), state)
        last.open(len(rows), events)
        assert read_covered(state) == len(rows)
        for kind in KINDS:
            for index in range(len(rows) + 1):
                below = [(time_us, -at) for at, (one, time_us) in enumerate(rows[:index]) if one == kind]
                assert best_below(state, kind, index) == (-max(below)[1] if below else None)


class _Refusing(LocalFiles):
    """Refuses to open or create what is to hold rows, while it is told to."""

    refuse = False

    def create(self, path: str) -> LocalFile:
        self._look(path)
        return super().create(path)

    def open(self, path: str) -> LocalFile:
        self._look(path)
        return super().open(path)

    def _look(self, path: str) -> None:
        if self.refuse and "anchors." in path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def test_a_row_the_disk_refuses_waits_and_nothing_is_noted_as_looked_through(tmp_path: Path) -> None:
    files = _Refusing()
    anchorings = Anchorings(files, tmp_path)
    log = [event(RFC3161, 1), event(RFC3161, 2), event(RFC3161, 3)]
    anchorings.open(1, lambda start, end: list(enumerate(log))[start:end])
    files.refuse = True
    for index in (1, 2):
        anchorings.apply(index, log[index])
    with pytest.raises(OSError):
        anchorings.save(3)
    assert read_covered(tmp_path) == 1 and best_below(tmp_path, RFC3161, 9) == 0
    files.refuse = False
    anchorings.save(3)
    assert [best_below(tmp_path, RFC3161, index) for index in range(4)] == [None, 0, 1, 2]
    assert read_covered(tmp_path) == 3


def test_rows_that_point_elsewhere_put_nobodys_event_into_evidence(tmp_path: Path) -> None:
    """Whoever can write to `state/` chooses where is looked, not what is shown."""
    with open_log(tmp_path / "log") as log:
        log.append([{"action": "secret"}, {"action": "asked.for"}])
        log.publish()
    state = tmp_path / "log" / "state"
    (state / "anchors").write_text("3\n")
    for kind in KINDS:
        for at in (0, 1):
            (state / f"anchors.{kind}").write_bytes(at.to_bytes(8, "big") + (9).to_bytes(8, "big"))
            with open_view(tmp_path / "log") as view:
                assert parse_evidence(view.evidence(2)).anchors == ()


@given(st.binary(max_size=100))
def test_an_event_that_is_no_anchor_is_passed_over(data: bytes) -> None:
    assert anchored_in(data) is None
    assert anchored_in(b'"graven.anchor.' + data) is None


def open_log(directory: Path) -> Log:
    if not directory.exists():
        create_log(directory)
    return Log.open(directory)


def actions(log: Log) -> list[str]:
    return [json.loads(record.event or b"{}")["action"] for record in log.view.records(0, log.size)]


def rider(text: str = "") -> bytes:
    return acts.act(acts.ANCHOR_OUTAGE, now_us=0, data={"why": text})


def test_riders_wait_for_somebody_elses_block(tmp_path: Path) -> None:
    with open_log(tmp_path / "log") as log:
        log.append([{"action": "a", "id": "1"}])
        log.writer.ride("one", rider("first"))
        log.writer.ride("one", rider("second"))
        log.writer.ride("two", rider("third"))
        size = log.size
        assert log.append([{"action": "a", "id": "1"}]).duplicates and log.size == size, "a duplicate makes no block"
        done = log.append([{"action": "b"}])
        assert done.accepted == 1 and done.first_index == size and done.size == log.size == size + 3
        assert actions(log)[-3:] == ["b", "graven.anchor.outage", "graven.anchor.outage"]
        said = [json.loads(log.view.read(index).event or b"{}")["data"]["why"] for index in (size + 1, size + 2)]
        assert said == ["second", "third"]
        assert log.append([{"action": "c"}]).size == size + 4


def test_riders_are_bounded(tmp_path: Path) -> None:
    with open_log(tmp_path / "log") as log:
        for number in range(RIDERS_MAX + 10):
            log.writer.ride(str(number), rider(str(number)))
        size = log.size
        log.append([{"action": "a"}])
        assert log.size == size + 1 + RIDERS_MAX
        whys = [json.loads(log.view.read(size + 1).event or b"{}")["data"]["why"]]
        assert whys == ["10"], "the oldest went"
        for number in range(3):
            log.writer.ride(str(number), rider("x" * (RIDERS_A_BLOCK_BYTES // 2)))
        before = log.size
        assert log.append([{"action": "b"}]).size == before + 2
        assert log.append([{"action": "c"}]).size == before + 4
        assert log.append([{"action": "d"}]).size == before + 6


def test_a_refused_request_takes_no_rider_along(tmp_path: Path) -> None:
    with open_log(tmp_path / "log") as log:
        log.writer.ride("one", rider())
        size = log.size
        with pytest.raises(BadInput):
            log.append([{"no action": "a"}])
        assert log.size == size
        log.append([{"action": "a"}])
        assert log.size == size + 2
