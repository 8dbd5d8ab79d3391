"""Events written by hand from the raw records, before the parsers were run on them, compared field by field."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from graven.ingest import Normalised, Pipeline, split_records

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"
MET = "2026-03-03T00:00:00Z"
"""When lines without a year are said to have been met."""

_LOOSE = ("labels", "data", "message")  # what is expected of these must be there; there may be more
TYPES = sorted(path.stem for path in EXPECTED.glob("*.json"))


@cache
def events_of(path: Path, type_: str) -> list[Normalised]:
    return Pipeline().run(split_records(path.read_bytes(), type_, {"time": MET}))


def find(sample: str, shared: Path) -> Path:
    return HERE / sample if sample.startswith("own/") else shared / "samples" / sample


@pytest.mark.parametrize("stated", [False, True], ids=["detected", "stated"])
@pytest.mark.parametrize("type_", TYPES)
def test_as_written_by_hand(type_: str, stated: bool, shared: Path) -> None:
    rows: list[tuple[str, int, dict[str, Any]]] = json.loads((EXPECTED / f"{type_}.json").read_bytes())
    for sample, position, expected in rows:
        found = events_of(find(sample, shared), type_ if stated else "")[position]
        assert (found.type, found.quarantined) == (type_, ""), (sample, position)
        event = json.loads(found.event)
        expected.setdefault("time", MET)  # of a record that names none: when it was met
        for loose in _LOOSE:
            shown, wanted = event.pop(loose, None), expected.pop(loose, None)
            if isinstance(wanted, dict):
                assert isinstance(shown, dict), (sample, position, loose)
                assert {key: shown.get(key) for key in wanted} == wanted, (sample, position)
            elif wanted is not None:
                assert shown == wanted, (sample, position)
        assert event == expected, (sample, position)
