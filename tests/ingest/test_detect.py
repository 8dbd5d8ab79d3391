"""Who is not asked would have said no: detection with its short cuts is detection without them."""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graven.ingest.detect import Detector
from graven.ingest.normalize import OF_DOORS, SOURCES
from graven.ingest.normalize.host_line import program_of
from graven.ingest.record import NO, SURE, Document, Normaliser
from graven.ingest.sources import load_samples
from graven.ingest.table import Match, Table

MANIFEST = Path(__file__).parent / "samples.toml"
DETECTOR = Detector(SOURCES)
ALL = (*SOURCES, *OF_DOORS)
KEYS = sorted({key for source in SOURCES for key in getattr(source, "KEYS", ())})
MARKS = sorted({mark for source in SOURCES for mark in getattr(source, "MARKS", ())})
PROGRAMS = sorted({name for source in SOURCES for name in getattr(source, "PROGRAMS", ())})


def ask_everybody(document: Document, sources: tuple[Normaliser, ...] = SOURCES) -> Normaliser | None:
    best, best_score = None, NO
    for source in sources:
        if (score := source.recognise(document)) > best_score:
            best, best_score = source, score
            if score >= SURE:
                break
    return best


@cache
def documents(_: Path) -> list[Document]:
    found: list[Document] = []
    for sample in load_samples(MANIFEST):
        try:
            found.append(msgspec.json.decode(sample.record.raw))
        except msgspec.MsgspecError:
            found.append(sample.record.raw.decode("utf-8", "backslashreplace"))
    return found


def test_samples_are_found_as_if_everybody_were_asked(shared: Path) -> None:
    known = documents(shared)
    assert len(known) > 500
    for document in known:
        assert DETECTOR.find(document) is ask_everybody(document), document


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(0, 9), st.sampled_from(("Event", "a_actor", "T1000I", "001", "x")),
    st.dictionaries(st.sampled_from(("login", "type", "id", "action", "applicationName")), st.just("a_actor")),
)  # fmt: skip
OBJECTS = st.dictionaries(st.one_of(st.sampled_from(KEYS), st.sampled_from(("x", "time", "user", "uuid"))), VALUES)
TEXTS = st.lists(
    st.sampled_from(
        [*MARKS, *PROGRAMS, "<86>1 2026-01-01T00:00:00Z h ", "Mar 11 00:00:00 h ", " - - ", "[3]: ", "\n", "|",
         "unix(a:b): ", "2026-01-01 00:00:00 UTC ", "LOG:  ", "Accepted ", "Successful su for ", "user", "SESSION,1,1,",
         "AEvent", "1 | AEvent | x | 3 | a | b | c | d", "message repeated 2 times: [ ", "/usr/sbin/"]
    ), max_size=12,
).map("".join)  # fmt: skip


@settings(max_examples=120)
@given(st.one_of(OBJECTS, TEXTS, st.lists(st.just({"verb": "x"}))))
def test_any_document_is_found_as_if_everybody_were_asked(document: Any) -> None:
    found = ask_everybody(document)
    assert DETECTOR.find(document) is found
    if isinstance(document, str) and (program := program_of(document)) and (sure := DETECTOR.of_line(program)):
        source, marks = sure
        assert source is found or any(mark in document for mark in marks)


@pytest.mark.parametrize("source", ALL, ids=[source.TYPE for source in ALL])
def test_nobody_recognises_what_it_says_is_not_its_own(source: Normaliser, shared: Path) -> None:
    keys, lines = getattr(source, "KEYS", None), getattr(source, "LINES", False)
    marks, programs = getattr(source, "MARKS", ()), getattr(source, "PROGRAMS", None)
    assert keys is not None or not lines  # to state lines alone would say nothing
    for document in documents(shared):
        if isinstance(document, dict) and keys is not None:
            assert source.recognise({key: value for key, value in document.items() if key not in keys}) == NO
        if isinstance(document, str):
            if not getattr(source, "LINES", keys is None):
                assert source.recognise(document) == NO
            for mark in marks:
                document = document.replace(mark, "")
            if marks and not any(mark in document for mark in marks):
                assert source.recognise(document) == NO
    if programs is not None:
        for program in {*PROGRAMS, "kernel"} - programs:
            assert source.recognise(f"<86>1 2026-01-01T00:00:00Z h /usr/sbin/{program} - - - Accepted new user") == NO


def test_a_mapping_of_ones_own_is_asked_first_and_by_its_first_path() -> None:
    first = Table(type="a", match=Match(has=("eventName.deep", "b"), score=SURE), fields={"action": ("b",)})
    other = Table(type="b", match=Match(equals={"b": ("x",)}), fields={"action": ("b",)})
    sources = (first, other, *SOURCES)
    for document in (
        {"eventName": {"deep": 1}, "b": "x"},
        {"eventName.deep": 1, "b": "x"},
        {"b": "x"},
        {"b": "y"},
        "b",
    ):
        assert Detector(sources).find(document) is ask_everybody(document, sources)
    assert Detector(sources).find({"eventName.deep": 1, "b": 2}) is first
    assert Detector(sources).find({"b": "x"}) is other


def test_a_type_that_states_nothing_is_always_asked() -> None:
    class Greedy:
        TYPE, VERSION = "any", 1

        def recognise(self, document: Document, /) -> int:
            return SURE

        normalise = SOURCES[0].normalise

    one = Greedy()
    for document in ({}, {"verb": "x"}, "text", ["a"], None):
        assert Detector((one, *SOURCES)).find(document) is one
    assert Detector(SOURCES).of_line("sshd") is not None
    assert Detector((one, *SOURCES)).of_line("sshd") is None
    assert Detector((*SOURCES, one)).of_line("nginx") is None
