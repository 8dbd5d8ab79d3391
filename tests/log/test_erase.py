"""Erasing a class of a segment: gone in every copy, the rest reads, proofs stay, and a crash at any step is mended."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from crash.disk import RecordingFiles, read_tree, write_tree
from crash.enumerate_crashes import crashes, sample
from graven.app import Log, open_keyring, open_view
from graven.config import load_config
from graven.core.errors import BadInput, Broken
from graven.core.evidence import Withheld, parse_evidence, verify_evidence
from graven.keys.signature import verify_signature
from graven.log import acts
from graven.log.block import encode_husk
from graven.log.erase import erase_class
from graven.log.types import Record
from graven.runtime.clock import FixedClock
from log.logs import SEGMENT_AGE_US, START_US, Teller, acts_of, make_log, open_log, verify

LATER_US = START_US + 2 * SEGMENT_AGE_US


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Segment 0 holds genesis, two plain events, and three of class pii, two of them with raws; segment 6 is open."""
    return fill(tmp_path)


def fill(root: Path) -> Path:
    directory = make_log(root)
    with open_log(directory) as log:
        teller = Teller(log)
        teller.append(("a1", "plain"), ("p1", "private one"), classes=["default", "pii"], raws=[None, b"raw one"])
        teller.append((None, "private two"), (None, "private three"), classes="pii", raws=[b"raw two", None])
        teller.append(("a2", "plain again"))
        assert isinstance(log.clock, FixedClock)
        log.clock.set(LATER_US)
        teller.append(("b1", "next segment"), ("p9", "private later"), classes=["default", "pii"])
    return directory


def records(directory: Path) -> list[Record]:
    with open_view(directory) as view:
        return list(view.records(0, view.size))


def erase(log: Log, kind: str = "event") -> dict[str, object]:
    return erase_class(log, 0, "pii", "raw" if kind == "raw" else "event", reason="a request")


def destroy_by_hand(directory: Path, kind: str) -> None:
    """Take the key of class pii in segment 0 out of the keyring, without a word to the log."""
    keyring = open_keyring(directory, load_config(directory / "graven.toml"))
    with open_view(directory) as view:
        (key_id,) = (one for name, number, one in view.header.keys if name == "pii" and number == (kind == "raw") + 1)
    assert keyring.destroy(key_id, 0)


def test_events_and_raws_are_gone_and_the_rest_reads(directory: Path) -> None:
    before = records(directory)
    with open_log(directory, now_us=LATER_US) as log:
        certificate = erase(log)
        held = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        assert not [name for name in held if str(directory) in name and name.endswith("(deleted)")]
        reads_as_erased(list(log.view.records(0, log.size)), before, certificate)
    reads_as_erased(records(directory), before, certificate)
    assert (certificate["generation"], certificate["keys_destroyed"]) == (1, 2)
    assert [one.name for one in sorted((directory / "journal").glob("*.seg"))] == [
        "00000000000000000000.0001.seg",
        "00000000000000000006.0000.seg",
    ]
    for path in [*directory.rglob("*"), *directory.with_name("log.keys").rglob("*")]:
        assert path.is_dir() or b"private one" not in path.read_bytes()


def reads_as_erased(after: list[Record], before: list[Record], certificate: dict[str, object]) -> None:
    erased = certificate["erased"]
    assert isinstance(erased, list)
    assert [(one["kind"], one["first"], one["last"]) for one in erased] == [("raw", 2, 3), ("event", 2, 4)]
    for old, new in zip(before, after, strict=False):
        assert (new.entry, new.head, new.event_digest) == (old.entry, old.head, old.event_digest)
        assert new.raw_digest == old.raw_digest
        if new.index in (2, 3, 4):
            assert (new.state, new.event, new.raw) == ("erased", None, None)
            assert new.erasure_index == erased[1]["event"]
        else:
            assert (new.state, new.event) == ("readable", old.event)


def test_the_erased_log_verifies_with_and_without_keys(directory: Path) -> None:
    with open_log(directory, now_us=LATER_US) as log:
        erase(log)
    for with_keys in (True, False):
        report = verify(directory, with_keys=with_keys)
        assert report.exit_code == 0, report.problems
    assert any("erased" in note for note in verify(directory).notes)


def test_raws_alone_leave_the_events(directory: Path) -> None:
    before = records(directory)
    with open_log(directory, now_us=LATER_US) as log:
        erase(log, "raw")
    after = records(directory)[: len(before)]
    assert [record.event for record in after] == [record.event for record in before]
    assert [record.raw for record in after] == [None] * len(before)
    assert [record.entry for record in after] == [record.entry for record in before]
    assert verify(directory).exit_code == 0
    with open_log(directory, now_us=LATER_US) as log:  # and the events later, over the husk of the raws
        assert erase(log)["generation"] == 2
    assert records(directory)[2].state == "erased"
    assert [one.name for one in (directory / "journal").glob("*0000.*.seg")] == ["00000000000000000000.0002.seg"]
    assert verify(directory).exit_code == 0


def test_proofs_outlive_the_event(directory: Path) -> None:
    with open_view(directory) as view:
        shown = view.evidence(2)
    with open_log(directory, now_us=LATER_US) as log:
        erase(log)
        bare = parse_evidence(log.view.evidence(2))
        assert isinstance(bare.event, Withheld) and isinstance(bare.raw, Withheld)
        for evidence in (bare, parse_evidence(shown)):
            assert verify_evidence(evidence, keys=log.keys, verify=verify_signature).index == 2


def test_a_key_destroyed_without_an_event_is_disproved(directory: Path) -> None:
    destroy_by_hand(directory, "event")
    assert [record.state for record in records(directory)[1:5]] == ["readable", *["unreadable"] * 3]
    report = verify(directory)
    assert report.exit_code == 1
    assert any("without an erasure event" in str(problem) for problem in report.problems)
    with open_log(directory, now_us=LATER_US) as log, pytest.raises(Broken, match="gone already"):
        erase(log)


def test_a_husk_without_its_event_is_disproved(directory: Path, tmp_path: Path) -> None:
    """The rewritten segment and the keyring of an erased log, in a log that never said so."""
    shutil.copytree(tmp_path, tmp_path.with_name("silent"))
    silent = tmp_path.with_name("silent") / "log"
    with open_log(directory, now_us=LATER_US) as log:
        erase(log)
    husk = "journal/00000000000000000000.0001.seg"
    shutil.copy(directory / husk, silent / husk)
    report = verify(silent)
    assert report.exit_code == 1
    assert any("erased without an erasure event" in str(problem) for problem in report.problems)


def test_open_views_and_other_processes_see_it_at_once(directory: Path) -> None:
    with open_view(directory) as other, open_view(directory) as cold:
        assert other.read(2).event is not None  # opened, cached, its key in use
        assert cold.read(1).event is not None  # knows the old segment, has not read the block of the class
        with open_log(directory, now_us=LATER_US) as log:
            erase(log)
        assert [view.read(2).state for view in (other, cold)] == ["erased"] * 2
        assert [view.read(3).state for view in (other, cold)] == ["erased"] * 2
        assert cold.read(1).event is not None


def test_the_log_goes_on_beside_it_and_after_it(directory: Path) -> None:
    with open_log(directory, now_us=LATER_US) as log:
        erase(log)
        answer = Teller(log).append(("a1", "plain"), ("p1", "private one"), classes=["default", "pii"])
        # what was erased cannot be compared any more, so it is taken as new
        assert (answer.accepted, answer.duplicates) == (1, ((0, 1),))
    with open_log(directory, now_us=LATER_US) as log:
        assert len(acts_of(log, acts.ERASURE)) == 2
    assert verify(directory).exit_code == 0


def test_what_may_not_be_erased(directory: Path) -> None:
    with open_log(directory, now_us=LATER_US) as log:
        size = log.size
        for start, name, what in (
            (6, "pii", "still open"),
            (0, "graven", "never erased"),
            (0, "other", "no keys of class"),
            (3, "pii", "no segment begins"),
        ):
            with pytest.raises(BadInput, match=what):
                erase_class(log, start, name, "event", reason="no")
        assert log.size == size


def test_a_husk_that_would_break_a_proof_is_never_put_in_place(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = records(directory)

    def wrong(kind: int, slots: Sequence[tuple[bytes, bytes, bytes]]) -> bytes:
        return encode_husk(kind, [(head, event[::-1], raw[::-1]) for head, event, raw in slots])

    monkeypatch.setattr("graven.log.erase.encode_husk", wrong)
    with open_log(directory, now_us=LATER_US) as log:
        with pytest.raises(Broken, match="nothing was erased"):
            erase(log)
        assert list(log.view.records(0, len(before))) == before
        monkeypatch.undo()
        erase(log)
        assert len(acts_of(log, acts.ERASURE)) == 2
    assert verify(directory).exit_code == 0


def test_erasing_twice_changes_nothing(directory: Path) -> None:
    with open_log(directory, now_us=LATER_US) as log:
        first = erase(log)
        size = log.size
        again = erase(log)
        assert log.size == size
    assert again == first | {"keys_destroyed": 0}


def test_a_crash_at_any_step_of_erasing(tmp_path: Path) -> None:
    judge_crashes(tmp_path, share=9)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_crash_of_erasing(tmp_path: Path) -> None:
    judge_crashes(tmp_path, share=1)


def judge_crashes(tmp_path: Path, share: int) -> None:
    real = tmp_path / "real"
    real.mkdir()
    directory = fill(real)
    before = records(directory)
    start = read_tree(real)
    files = RecordingFiles(real)
    with open_log(directory, now_us=LATER_US, files=files) as log:
        erase(log)
    found = crashes(files.steps, start=start)
    assert len(found) > 100
    for crash in sample(found, share):
        root = tmp_path / "crashed"
        write_tree(root, crash.tree)
        try:
            report = verify(root / "log")
            assert report.exit_code == 0, report.problems
            for record, old in zip(read_beside(root / "log"), before, strict=False):
                assert record.state == "erased" or record.event == old.event
            with open_log(root / "log", now_us=LATER_US, files=RecordingFiles(root)) as log:
                certificate = erase(log)
                reads_as_erased(list(log.view.records(0, log.size)), before, certificate)
                assert len(acts_of(log, acts.ERASURE)) == 2
            report = verify(root / "log")
            assert report.exit_code == 0, report.problems
        except BaseException as error:
            error.add_note(f"after this crash: {crash.name}")
            raise
        shutil.rmtree(root)


def read_beside(directory: Path) -> Iterator[Record]:
    """What a reader sees before anything is mended; a crash between husk and keys leaves nothing unreadable."""
    with open_view(directory) as view:
        for record in view.records(0, view.size):
            assert record.state != "unreadable"
            yield record
