"""Events written by hand from the raw records, compared with what the normalisers make of them, field by field.

`expected/TYPE.toml`: `sample` is the file, for all events or one; `at` the record's position in it, `nth` which of its
events (fan-out); `like` copies the expectation at another position before its own fields. A text that ends in `…` is
a beginning. All fields of the model count; `labels` (without those every event has) and `data` only where they are
written.
"""

import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from graven.ingest import Pipeline, Record, split_records
from graven.ingest.normalize import SOURCES

HERE = Path(__file__).parent
OWN = HERE / "own"
PIPELINE = Pipeline()
ABOUT = ("sample", "at", "nth", "like", "lines")
ALWAYS = ("graven.type", "graven.parser")


def written() -> Iterator[tuple[str, dict[str, Any]]]:
    """(type, expectation) of every file."""
    for path in sorted((HERE / "expected").glob("*.toml")):
        page = tomllib.loads(path.read_text())
        earlier: dict[tuple[str, int], dict[str, Any]] = {}
        for row in page["event"]:
            sample = row.get("sample", page.get("sample"))
            whole = (earlier[sample, row["like"]] if "like" in row else {}) | row | {"sample": sample}
            earlier[sample, row["at"]] = {
                key: value for key, value in whole.items() if key not in ("at", "like", "nth")
            }
            yield path.stem, whole


WRITTEN = list(written())


def records_of(sample: str, shared: Path) -> list[Record]:
    own = OWN / sample
    return split_records((own if own.exists() else shared / "samples" / sample).read_bytes())


@pytest.mark.parametrize(
    ("type_", "expected"), WRITTEN, ids=[f"{name}-{row['sample']}-{row['at']}" for name, row in WRITTEN]
)
def test_as_written_by_hand(type_: str, expected: dict[str, Any], shared: Path) -> None:
    raw = records_of(expected["sample"], shared)[expected["at"]].raw
    made = PIPELINE.run([Record(raw, type=type_)])
    found = msgspec.json.decode(made[expected.get("nth", 0)].event)
    wanted = {key: value for key, value in expected.items() if key not in ABOUT}
    labels = {key: value for key, value in found.pop("labels").items() if key not in ALWAYS}
    if "labels" in wanted:
        assert labels == wanted.pop("labels")
    if "data" not in wanted:
        found.pop("data", None)
    for moments in (found, wanted):
        if "time" in moments:
            moments["time"] = datetime.fromisoformat(moments["time"])
    assert_same(found, wanted)


def assert_same(found: Any, wanted: Any, at: str = "$") -> None:
    """Field by field, so that a failure names the place."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict) and sorted(found) == sorted(wanted), f"{at}: {found!r}"
        for key in wanted:
            assert_same(found[key], wanted[key], f"{at}.{key}")
    elif isinstance(wanted, list):
        assert isinstance(found, list) and len(found) == len(wanted), f"{at}: {found!r}"
        for number, one in enumerate(wanted):
            assert_same(found[number], one, f"{at}[{number}]")
    elif isinstance(wanted, str) and wanted.endswith("…"):
        assert isinstance(found, str) and found.startswith(wanted[:-1]), at
    else:
        assert found == wanted, at


def test_every_source_has_expectations() -> None:
    hosts = {path.stem for path in (HERE / "expected").glob("*.json")}  # test_host_expected
    assert {source.TYPE for source in SOURCES} <= {name for name, _ in WRITTEN} | hosts


def test_no_expectation_says_nothing() -> None:
    assert all(row.get("action") and row.get("verb") and row.get("category") for _, row in WRITTEN)
