"""Keys and times of deliveries: bounded, and the same for the same."""

from hypothesis import given
from hypothesis import strategies as st

from graven.ingest.protocol.delivery import add_label, count_repeats, format_ns, format_s, request_keys
from graven.ingest.times import read_time


@given(st.one_of(st.integers(), st.floats(), st.text(max_size=30), st.none()))
def test_any_number_is_a_time_or_none(value: int | float | str | None) -> None:
    spelled = [format_s(value)]
    if isinstance(value, int):
        spelled.append(format_ns(value))
    for one in spelled:
        assert one == "" or read_time(one) is not None


@given(st.lists(st.sampled_from(["", "a", "b"]), max_size=20))
def test_repeats_within_a_request_are_told_apart(keys: list[str]) -> None:
    counted = [one for one in count_repeats(keys) if one]
    assert len(counted) == len(set(counted)) == sum(map(bool, keys))


def test_the_same_request_has_the_same_keys_and_another_has_others() -> None:
    assert request_keys(b"x", [True, False, True]) == request_keys(b"x", [True, False, True])
    assert request_keys(b"x", [False]) == [""]
    assert set(request_keys(b"x", [True, True])).isdisjoint(request_keys(b"y", [True, True]))


def test_what_surrounds_a_record_is_bounded() -> None:
    around: dict[str, str] = {}
    for number in range(1000):
        add_label(around, f"{number}" + "n" * 500, "v" * 5000)
    assert len(around) == 64 and max(map(len, around)) <= 120 and max(map(len, around.values())) <= 1024
