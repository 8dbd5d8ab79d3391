"""Times as producers write them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.ingest.times import _read_text, read_time

MOMENT = datetime(2024, 12, 16, 18, 41, 7, tzinfo=UTC)
FINER = MOMENT.replace(microsecond=120_000)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2024-12-16T18:41:07Z", MOMENT),
        ("2024-12-16T18:41:07", MOMENT),
        ("2024-12-16 18:41:07 UTC", MOMENT),
        ("2024-12-16 18:41:07.120000000", FINER),
        ("2024-12-16 18:41:07120000", FINER),
        ("2024-12-16T18:41:07.12Z", FINER),
        ("2024-12-16T18:41:07.1200009Z", FINER),
        ("2024-12-16T20:41:07+02:00", MOMENT),
        ("2024-12-16T13:11:07-0530", MOMENT),
        (1734374467, MOMENT),
        (1734374467.12, FINER),
        (1734374467120, FINER),
        (1734374467120000, FINER),
        (1734374467120000000, FINER),
        ("1734374467120", FINER),
    ],
)
def test_what_is_read(value: object, moment: datetime) -> None:
    assert read_time(value) == moment


@pytest.mark.parametrize(
    "value",
    ["", " ", "now", "2024-12-16", "2024-13-16T18:41:07Z", "2024-12-16T23:59:60Z", "0001-01-01T00:00:00+14:00", "١١",
     "9" * 40, True, None, [], {}, 0, -5, float("nan"), float("inf"), 10**30, "2024-12-16T18:41:07+99:99"],
)  # fmt: skip
def test_what_is_no_time(value: object) -> None:
    assert read_time(value) is None


@given(st.text() | st.integers() | st.floats())
def test_anything_is_a_utc_time_or_none(value: object) -> None:
    found = read_time(value)
    assert found is None or found.tzinfo is UTC


@given(st.datetimes(min_value=datetime(1975, 1, 1), timezones=st.just(UTC)))
def test_what_is_written_by_the_book_is_read_exactly(moment: datetime) -> None:
    assert read_time(moment.isoformat()) == moment
    assert read_time(moment.isoformat().replace("+00:00", "Z").replace("T", " ")) == moment


@given(
    st.one_of(
        st.datetimes().map(lambda when: when.isoformat() + "Z"),
        st.from_regex(r"\A[0-3]\d\d\d-[012W]\d-?\d?\d?T?[0-2]\d:[0-6]\d:[0-6]\d[.,]?[\d :+-]{0,8}Z?\Z"),
    )
)
def test_the_short_way_reads_what_the_long_way_does(text: str) -> None:
    if len(text) != 20:  # those have had a short way of their own from the beginning
        assert read_time(text) == _read_text(text)
