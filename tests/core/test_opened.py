"""The `opened` object: what is written is read, and nothing else is."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.commitment import Head, format_head
from graven.core.errors import BadInput
from graven.core.opened import Opened, OpenedDuplicate, SentEvent, SentRaw, format_opened, parse_opened
from graven.core.spelling import MAX_NUMBER, encode_base64

hashes = st.binary(min_size=32, max_size=32)
heads = st.builds(Head, st.integers(0, 2**32 - 1), st.integers(0, MAX_NUMBER)).map(format_head)
openings = st.builds(SentEvent, hashes) | st.builds(SentRaw, hashes.filter(any), hashes)
numbers = st.integers(0, MAX_NUMBER)
duplicates = st.builds(OpenedDuplicate, numbers, numbers, heads, openings, st.lists(hashes, max_size=3).map(tuple))
all_opened = st.builds(
    Opened,
    st.text(max_size=9).map(str.encode),
    heads,
    st.none() | numbers,
    st.lists(hashes, max_size=3).map(tuple),
    st.lists(openings, max_size=3).map(tuple),
    st.lists(duplicates, max_size=2).map(tuple),
)
HASH = encode_base64(bytes(range(32)))
HEAD = "graven/1 1 2\n"


@given(all_opened)
def test_opened_round_trips_through_json(opened: Opened) -> None:
    assert parse_opened(json.loads(json.dumps(format_opened(opened)))) == opened


def example() -> dict[str, Any]:
    return {
        "certificate": "note",
        "head": HEAD,
        "first_index": 3,
        "proof": [HASH],
        "events": [{"salt": HASH}, {"event_digest": HASH, "raw_salt": HASH}],
        "duplicates": [{"position": 2, "index": 0, "head": HEAD, "salt": HASH, "proof": [HASH]}],
    }


def test_the_shape() -> None:
    assert format_opened(parse_opened(example())) == example()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda o: o.update(head="graven/1 01 2\n"), "opened.head"),
        (lambda o: o.update(head="graven/1 1 2"), "opened.head"),
        (lambda o: o.update(head=None), "opened.head"),
        (lambda o: o.update(first_index=1.0), "opened.first_index"),
        (lambda o: o.update(proof=[HASH] * 185), "opened.proof"),
        (lambda o: o.update(proof=[HASH[:-1]]), "opened.proof[0]"),
        (lambda o: o.update(proof=[1]), "opened.proof[0]"),
        (lambda o: o.update(events=None), "opened.events"),
        (lambda o: o.update(events=[{}]), "opened.events[0]"),
        (lambda o: o.update(events=["salt"]), "opened.events[0]"),
        (lambda o: o.update(events=[{"salt": HASH, "raw_salt": HASH}]), "opened.events[0].'raw_salt'"),
        (lambda o: o["events"][1].update(event_digest=encode_base64(bytes(32))), "opened.events[1].event_digest"),
        (lambda o: o["duplicates"][0].update(raw_salt=HASH), "opened.duplicates[0].'raw_salt'"),
        (lambda o: o["duplicates"][0].pop("salt"), "opened.duplicates[0]"),
        (lambda o: o["duplicates"][0].update(position=-1), "opened.duplicates[0].position"),
        (lambda o: o["duplicates"][0].update(proof=[HASH] * 64), "opened.duplicates[0].proof"),
        (lambda o: o["duplicates"][0].update(more=1), "opened.duplicates[0].'more'"),
        (lambda o: o.pop("certificate"), "opened"),
    ],
)
def test_what_is_refused_and_where(change: Callable[[dict[str, Any]], object], place: str) -> None:
    value = example()
    change(value)
    with pytest.raises(BadInput) as refused:
        parse_opened(value)
    assert refused.value.place == place
