"""What Graven's own events allow: rules of erasure, one by one."""

import pytest

from graven.log import acts
from graven.log.verify.acts import Acts, check_keys, check_slots
from graven.log.verify.report import Findings
from graven.log.verify.task import Act, Slots

KEY = bytes(range(16))
NAMED = {"segment": 100, "class": "staff", "kind": "event", "key_id": KEY.hex()}


def told(*found: Act) -> Acts:
    own = Acts()
    own.take(found)
    return own


def slots(erasure: int | None, *, first: int = 100, last: int = 199, count: int = 40) -> Slots:
    return Slots(100, "staff", "event", KEY, erasure, first, last, count)


def judged(own: Acts, *found: Slots, published: int = 1_000) -> tuple[Findings, set[tuple[int, str, str, str]]]:
    findings = Findings()
    missed = check_slots(found, own, published, 1_000, findings)
    return findings, missed


def test_an_event_that_names_the_key_allows_it() -> None:
    own = told(Act(300, acts.ERASURE, dict(NAMED)))
    for erasure in (300, None):
        findings, missed = judged(own, slots(erasure))
        assert (findings.problems, len(findings.notes), missed) == ((), 1, set())


@pytest.mark.parametrize(
    "change", [{"segment": 101}, {"segment": "100"}, {"class": "other"}, {"kind": "raw"}, {"key_id": KEY.hex().upper()}]
)
def test_an_event_that_names_another_does_not(change: dict[str, object]) -> None:
    own = told(Act(300, acts.ERASURE, NAMED | change))
    for erasure in (300, None):
        findings, _ = judged(own, slots(erasure))
        assert findings.disproved == 1
    for name in NAMED:
        lacking = {key: value for key, value in NAMED.items() if key != name}
        assert judged(told(Act(300, acts.ERASURE, lacking)), slots(300))[0].disproved == 1


def test_it_must_be_published_and_come_after() -> None:
    own = told(Act(300, acts.ERASURE, dict(NAMED)))
    assert judged(own, slots(300), published=300)[0].disproved == 1
    assert judged(own, slots(None), published=300)[0].disproved == 1
    assert judged(own, slots(300), published=301)[0].disproved == 0
    early = told(Act(150, acts.ERASURE, dict(NAMED)))
    findings, _ = judged(early, slots(150))
    assert [problem.what for problem in findings.problems] == ["erased by an event that came before: index 150"]


def test_the_parts_of_a_key_are_told_as_one() -> None:
    findings, missed = judged(Acts(), slots(None, first=100, last=120), slots(None, first=130, last=199))
    assert [(problem.first_index, problem.last_index) for problem in findings.problems] == [(100, 199)]
    assert missed == {(100, "staff", "event", KEY.hex())}


def test_where_keys_are_damaged_nothing_is_disproved() -> None:
    own = Acts(complete=False)
    findings, _ = judged(own, slots(None), slots(300))
    assert (findings.disproved, findings.broken) == (0, 2)


@pytest.mark.parametrize(("held", "wrong"), [({KEY}, 0), (set(), 1)])
def test_a_key_that_seals_nothing_must_be_there_too(held: set[bytes], wrong: int) -> None:
    findings = Findings()
    check_keys(100, [("staff", "event", KEY)], held, set(), Acts(), 1_000, findings)
    assert findings.disproved == wrong


def test_a_key_missed_before_is_told_once() -> None:
    findings, missed = judged(Acts(), slots(None))
    check_keys(100, [("staff", "event", KEY)], set(), missed, Acts(), 1_000, findings)
    assert findings.disproved == 1


def test_only_the_first_event_is_the_genesis() -> None:
    assert told(Act(5, acts.GENESIS, {"origin": "x"})).genesis is None
    assert told(Act(0, acts.GENESIS, {"origin": "x"})).genesis == {"origin": "x"}


def lost(heal: int | None, *, first: int = 100, last: int = 199, count: int = 100) -> Slots:
    return Slots(100, "lost", "lost", bytes(16), heal, first, last, count)


def heal_at(index: int, *ranges: list[object]) -> Acts:
    return told(Act(index, acts.HEAL, {"lost": list(ranges)}))


def test_lost_slots_are_named_by_the_event_behind_them() -> None:
    findings, missed = judged(heal_at(200, [100, 200]), lost(200))
    assert (findings.problems, missed) == ((), set()) and "100 events were lost" in findings.notes[0]
    findings, _ = judged(heal_at(200, [0, 3], [90, 220]), lost(200), published=150)
    assert findings.problems == () and "not published yet" in findings.notes[0]
    findings, _ = judged(told(), lost(1_000, first=900, last=999))  # the journal's end: yet to be said
    assert findings.problems == () and "next start" in findings.notes[0]


def test_lost_slots_that_no_event_names() -> None:
    for own, one in (
        (told(), lost(200)),
        (heal_at(200, [100, 199]), lost(200)),
        (heal_at(200, [101, 200]), lost(200)),
        (heal_at(200, ["100", 200]), lost(200)),
        (heal_at(201, [100, 200]), lost(201)),
        (heal_at(150, [100, 200]), lost(150)),
        (heal_at(200, [100, 200]), lost(200, count=99)),
        (heal_at(200, [100, 200]), lost(None)),
        (told(Act(200, acts.ERASURE, dict(NAMED))), lost(200)),
    ):
        findings, _ = judged(own, one)
        assert [found.branch for found in findings.problems] == ["disproved"], (own, one)
