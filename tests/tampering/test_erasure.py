"""Erasing: allowed by a published event that names it, disproved without. See docs/format.md, "Husks"."""

from dataclasses import replace

import msgspec
import pytest

from graven.app import Log, open_view
from graven.journal import frame
from graven.log import acts
from graven.log.types import Batch
from graven.runtime.clock import FixedClock
from tampering.erase import append_erasure, destroy_key, key_id_of, write_husks
from tampering.frames import frames_of, write_frames
from tampering.logs import START_US, Tampered, flip

LATER_US = START_US + 10**12
KINDS = pytest.mark.parametrize(("class_name", "kind"), [("staff", "event"), ("staff", "raw"), ("default", "event")])


def erase(log: Tampered, class_name: str, kind: str, *, publish: bool = True) -> int:
    """The whole of it: event, husks, key destroyed. Returns the index of the event."""
    index = append_erasure(log.directory, 901, class_name, kind, now_us=LATER_US, publish=publish)
    write_husks(log.directory, 901, class_name, kind, index)
    destroy_key(log.directory, 901, class_name, kind)
    return index


@KINDS
def test_an_erasure_with_its_event_verifies(log: Tampered, class_name: str, kind: str) -> None:
    index = erase(log, class_name, kind)
    report = log.judge()
    assert (report.exit_code, report.problems) == (0, ())
    assert any(f"the event at index {index} says" in note for note in report.notes)
    if kind == "event":
        assert 0 < report.events < report.size
        assert report.payloads == f"{report.events} of {report.size}"
    with open_view(log.directory) as view:
        states = {record.state for record in view.records(901, 1_901)}
        assert states == ({"readable", "erased"} if kind == "event" else {"readable"})


@KINDS
def test_a_key_gone_without_its_event_is_disproved(log: Tampered, class_name: str, kind: str) -> None:
    destroy_key(log.directory, 901, class_name, kind)
    report = log.judge()
    assert report.exit_code == 1
    assert any("segment 901" in problem.place and class_name in problem.place for problem in report.problems)


@KINDS
def test_a_key_gone_with_its_event_and_no_husk_yet_is_a_note(log: Tampered, class_name: str, kind: str) -> None:
    append_erasure(log.directory, 901, class_name, kind, now_us=LATER_US)
    destroy_key(log.directory, 901, class_name, kind)
    report = log.judge()
    assert (report.exit_code, report.problems) == (0, ())
    assert any("their key was erased" in note for note in report.notes)


@KINDS
def test_husks_whose_key_is_still_there_verify(log: Tampered, class_name: str, kind: str) -> None:
    index = append_erasure(log.directory, 901, class_name, kind, now_us=LATER_US)
    write_husks(log.directory, 901, class_name, kind, index)
    assert log.judge().exit_code == 0


def test_both_kinds_erased_verify(log: Tampered) -> None:
    erase(log, "staff", "raw")
    erase(log, "staff", "event")
    assert log.judge().exit_code == 0


def test_the_event_may_not_be_unpublished(log: Tampered) -> None:
    erase(log, "staff", "event")
    published = sorted((log.directory / "checkpoints").glob("*/*"))
    (log.directory / "log" / "checkpoint").write_bytes(published[-2].read_bytes())
    published[-1].unlink()
    report = log.judge()
    assert report.exit_code == 1
    assert any("not published" in problem.what for problem in report.problems)


@pytest.mark.parametrize("wrong", ["another event", "another class", "another kind", "beyond"])
def test_an_event_that_names_something_else_does_not_count(log: Tampered, wrong: str) -> None:
    class_name = "default" if wrong == "another class" else "staff"
    kind = "raw" if wrong == "another kind" else "event"
    index = append_erasure(log.directory, 901, class_name, kind, now_us=LATER_US)
    named = {"another event": 0, "beyond": 10**9}.get(wrong, index)
    write_husks(log.directory, 901, "staff", "event", named)
    report = log.judge()
    assert report.exit_code == 1
    assert any("erased without an erasure event" in problem.what for problem in report.problems)


def test_a_producer_cannot_say_that_something_was_erased(log: Tampered) -> None:
    """An event of another source with the same words is no erasure event."""
    key_id = key_id_of(log.directory, 901, "staff", "event").hex()
    words = {"action": acts.ERASURE, "data": {"segment": 901, "class": "staff", "kind": "event", "key_id": key_id}}
    with Log.open(log.directory, clock=FixedClock(LATER_US)) as opened:
        index = opened.commit(Batch([msgspec.json.encode(words)], [None], 1, LATER_US)).first_index
        opened.publish()
    assert index is not None
    write_husks(log.directory, 901, "staff", "event", index)
    assert log.judge().exit_code == 1


@pytest.mark.parametrize("keyless", [False, True], ids=["keys", "keyless"])
def test_a_husk_that_states_another_digest_is_disproved(log: Tampered, keyless: bool) -> None:
    erase(log, "staff", "event")
    path = log.segments[1]
    data = [one.data for one in frames_of(path)]
    for number, one in enumerate(frames_of(path)):
        if one.header.kind == frame.BLOCK and any(section.kind == frame.HUSK_EVENTS for section in one.sections):
            husks = [flip_in_body(s) if s.kind == frame.HUSK_EVENTS else s for s in one.sections]
            data[number] = one.with_sections(husks)
    write_frames(path, data)
    report = log.judge(keyless=keyless)
    assert report.exit_code == 1
    assert any(path.name in problem.place for problem in report.problems)


def flip_in_body(section: frame.Section) -> frame.Section:
    return replace(section, body=section.body[:-70] + bytes([section.body[-70] ^ 1]) + section.body[-69:])


def test_without_keys_husks_are_derived_and_their_events_not_sought(log: Tampered) -> None:
    erase(log, "staff", "event")
    report = log.judge(keyless=True)
    assert report.exit_code == 0
    assert any("erased slots" in note for note in report.notes)


def test_an_older_generation_left_behind_is_a_note(log: Tampered) -> None:
    old = log.segments[1]
    data = old.read_bytes()
    erase(log, "staff", "event")
    old.write_bytes(data)
    report = log.judge()
    assert report.exit_code == 0
    assert any("older generation" in note for note in report.notes)


def test_damaged_keys_elsewhere_leave_it_open(log: Tampered) -> None:
    """The erasure event may lie where keys are damaged: then nothing is disproved, but something is broken."""
    erase(log, "staff", "event")
    flip(log.keyring / "data" / f"{2_901:020d}.0.json", 200)
    report = log.judge()
    assert report.exit_code == 3


@pytest.mark.parametrize("husks", [True, False])
def test_not_even_an_event_lets_gravens_own_events_be_erased(log: Tampered, husks: bool) -> None:
    index = append_erasure(log.directory, 0, acts.SELF_CLASS, "event", now_us=LATER_US)
    if husks:
        write_husks(log.directory, 0, acts.SELF_CLASS, "event", index)
    destroy_key(log.directory, 0, acts.SELF_CLASS, "event")
    report = log.judge()
    assert report.exit_code == 1
    assert any("Graven's own events" in problem.what for problem in report.problems)
