"""Every source type against records that are not what they should be: no fault of a parser, events that fit."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graven.event import decode_event
from graven.ingest import Pipeline, Record
from graven.ingest.normalize import SOURCES
from graven.ingest.record import NO, SURE, Normaliser

PIPELINE = Pipeline()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
SEEDS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "seeds.json").read_bytes())
OURS = [source for source in SOURCES if source.TYPE in SEEDS]


def paths_of(value: object, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inner: list[tuple[Any, ...]] = []
    if isinstance(value, dict):
        inner = [path for key, one in value.items() for path in paths_of(one, (*so_far, key))]
    elif isinstance(value, list):
        inner = [path for number, one in enumerate(value) for path in paths_of(one, (*so_far, number))]
    return [so_far, *inner] if so_far else inner


@st.composite
def bent(draw: st.DrawFn, seed: dict[str, Any]) -> object:
    """A seed with anything in up to three of its places."""
    document: object = json.loads(json.dumps(seed))
    for path in draw(st.lists(st.sampled_from(paths_of(seed)), min_size=1, max_size=3)):
        document = put(document, path, draw(JSON))
    return document


def put(value: object, path: tuple[Any, ...], new: object) -> object:
    """`value` with `new` at `path`; as it is where the path is no longer there."""
    if not path:
        return new
    if isinstance(value, dict) and isinstance(path[0], str):
        return value | {path[0]: put(value.get(path[0]), path[1:], new)}
    if isinstance(value, list) and isinstance(path[0], int):
        return [put(one, path[1:], new) if at == path[0] else one for at, one in enumerate(value)]
    return value


def test_every_json_source_has_a_seed() -> None:
    assert {source.TYPE for source in OURS} == set(SEEDS)


@pytest.mark.parametrize("source", OURS, ids=lambda source: source.TYPE)
def test_a_seed_is_recognised_and_read(source: Normaliser) -> None:
    (found,) = PIPELINE.run([Record(json.dumps(SEEDS[source.TYPE]).encode())])
    assert (found.type, found.quarantined) == (source.TYPE, "")


@pytest.mark.parametrize("source", OURS, ids=lambda source: source.TYPE)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_anything_anywhere_is_an_event_or_a_clear_refusal(source: Normaliser, data: st.DataObject) -> None:
    document = data.draw(bent(SEEDS[source.TYPE]))
    raw = json.dumps(document).encode()
    for found in PIPELINE.run([Record(raw, type=source.TYPE), Record(raw)]):
        decode_event(found.event)
        assert not found.quarantined.startswith("the parser failed"), found.quarantined


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.TYPE)
@given(document=JSON)
def test_recognising_never_fails(source: Normaliser, document: object) -> None:
    assert NO <= source.recognise(document) <= SURE
