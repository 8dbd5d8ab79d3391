"""The log against a model of it: whatever is appended, crashed, restarted and deleted in between, in any order."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crash.disk import RecordingFiles, Step
from crash.story import Ack, Teller, indexes_of
from graven.app import Log
from graven.core.errors import Busy
from graven.core.merkle import CompactRange, hash_leaves
from graven.core.note import parse_note
from graven.core.receipt import parse_receipt
from graven.log import acts
from graven.runtime.clock import FixedClock
from log.logs import SEGMENT_AGE_US, START_US, acts_of, make_log, open_log, verify

CONTENTS = ("x", "y", "z")

events = st.tuples(st.none() | st.sampled_from([f"id{n}" for n in range(12)]), st.sampled_from(CONTENTS))
requests = st.lists(events, min_size=1, max_size=6)


class LogAgainstModel(RuleBasedStateMachine):
    """The model: for each (source, id, content) the index of its first copy; every event at its index; conflicts."""

    log: Log

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.now_us = START_US
        self.first: dict[tuple[int, str, str], int] = {}
        self.known: dict[tuple[int, str], int] = {}
        self.stored: dict[int, tuple[str | None, str]] = {}
        self.conflicts: list[tuple[int, int, int]] = []
        self.acks: list[Ack] = []
        self.lives = 0

    @initialize()
    def begin(self) -> None:
        (self.root / "0").mkdir()
        make_log(self.root / "0")
        self._open()

    def _open(self) -> None:
        self.files = RecordingFiles(self.root / str(self.lives))
        self.log = open_log(self.root / str(self.lives) / "log", now_us=self.now_us, files=self.files)

    @rule(request=requests, source=st.sampled_from([1, 2]))
    def append(self, request: list[tuple[str | None, str]], source: int) -> None:
        size = self.log.size
        expected: list[int] = []
        duplicates: list[tuple[int, int]] = []
        for position, (event_id, content) in enumerate(request):
            copy = self.first.get((source, event_id, content)) if event_id is not None else None
            if copy is not None:
                duplicates.append((position, copy))
                continue
            index = size + len(expected)
            expected.append(index)
            self.stored[index] = event_id, content
            if event_id is not None:
                other = self.known.setdefault((source, event_id), index)
                if other != index:
                    self.conflicts.append((source, other, index))
                self.first[source, event_id, content] = index
        teller = Teller(self.log)
        batch = teller.batch(*request, source=source)
        answer = self.log.commit(batch)
        assert (answer.accepted, answer.duplicates) == (len(expected), tuple(duplicates))
        assert answer.first_index == (expected[0] if expected else None)
        self.acks.append(Ack(batch, indexes_of(answer, len(request)), answer.receipt))

    @rule(request=requests)
    def append_to_a_full_disk(self, request: list[tuple[str | None, str]]) -> None:
        def before(step: Step) -> None:
            if step.kind == "write" and "log/journal" in step.path:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        size = self.log.size
        self.files.before = before
        try:
            answer = self.log.commit(Teller(self.log).batch(*request, source=3))
        except Busy:
            pass
        else:  # nothing had to be written
            assert answer.accepted == 0
        self.files.before = None
        assert self.log.size == size

    @rule()
    def publish(self) -> None:
        assert self.log.publish().checkpoint.size == self.log.size

    @rule(by_us=st.sampled_from([1, -3_000_000, SEGMENT_AGE_US + 1]))
    def move_the_clock(self, by_us: int) -> None:
        self.now_us += by_us
        assert isinstance(self.log.clock, FixedClock)
        self.log.clock.set(self.now_us)

    @rule(delete=st.sampled_from(["", "window.*", "registers.json", "committed", "*"]))
    def restart(self, delete: str) -> None:
        self.log.close()
        self._delete(delete)
        self._open()

    @rule(delete=st.sampled_from(["", "window.*", "registers.json"]))
    def be_killed(self, delete: str) -> None:
        """The next life begins with what was on the disk at this moment."""
        life = self.root / str(self.lives)
        self.lives += 1
        shutil.copytree(life, self.root / str(self.lives))
        self.log.close()
        shutil.rmtree(life)
        self._delete(delete)
        self._open()

    @precondition(lambda self: self.log.size > 5)
    @rule()
    def be_killed_in_a_write(self) -> None:
        """Part of one more frame is there, unacknowledged."""
        life = self.root / str(self.lives)
        newest = max((life / "log" / "journal").glob("*.seg"))
        with newest.open("ab") as file:
            file.write(b"GRVB" + bytes(60))
        self.be_killed("")
        assert acts_of(self.log, acts.RECOVERY)[-1]["length"] == 64

    def _delete(self, pattern: str) -> None:
        state = self.root / str(self.lives) / "log" / "state"
        for path in state.glob(pattern) if pattern else ():
            path.unlink()

    @invariant()
    def everything_stands(self) -> None:
        if not hasattr(self, "log"):
            return
        records = list(self.log.view.records(0, self.log.size))
        for ack in self.acks:
            assert [records[index].event for index in ack.indexes] == ack.batch.events
        roots = [CompactRange.EMPTY]
        for leaf in hash_leaves(record.entry or b"" for record in records):
            roots.append(roots[-1].extend([leaf])[0])
        for ack in self.acks:
            receipt = parse_receipt(parse_note(ack.receipt).text)
            assert roots[receipt.size].root() == receipt.root
        named = [(data["source"], data["first"], data["second"]) for data in acts_of(self.log, acts.ID_CONFLICT)]
        assert named == self.conflicts

    def teardown(self) -> None:
        if hasattr(self, "log"):
            self.log.close()
            report = verify(self.root / str(self.lives) / "log")
            assert report.exit_code == 0, report.problems
        shutil.rmtree(self.root)


TestLogAgainstModel = LogAgainstModel.TestCase
TestLogAgainstModel.settings = settings(
    max_examples=12, stateful_step_count=18, deadline=None, suppress_health_check=list(HealthCheck)
)
