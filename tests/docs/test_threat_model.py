"""docs/threat-model.md answers every row of the list of threats, each with all its parts."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()
ROWS = {
    int(number): text for number, text in re.findall(r"^### (\d+)\. (.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
PARTS = ("State", "Assumption", "Guarantee", "Remains", "Notices")


def test_every_row_is_there_once() -> None:
    numbers = [int(number) for number in re.findall(r"^### (\d+)\.", PAGE, re.MULTILINE)]
    assert sorted(numbers) == list(range(1, 39))


def test_the_rows_are_those_of_the_list(shared: Path) -> None:
    listed = re.findall(r"^\| (\d+) \|", (shared / "design" / "THREATS.md").read_text(), re.MULTILINE)
    assert sorted(map(int, listed)) == sorted(ROWS)


@pytest.mark.parametrize("number", range(1, 39))
def test_a_row_has_all_its_parts_in_order(number: int) -> None:
    text = ROWS[number]
    at = [text.index(f"**{part}:**") for part in PARTS]
    assert at == sorted(at)
    for part, begin, end in zip(PARTS, at, [*at[1:], len(text)], strict=True):
        assert len(text[begin + len(part) + 5 : end].strip()) > 3, part
    assert re.match(r"\s*(held|in part|not yet)\b", text[at[0] + len("**State:**") :])


@pytest.mark.parametrize("number", range(1, 39))
def test_what_is_claimed_is_tested(number: int) -> None:
    named = re.findall(r"`(tests/[a-z_/]+\.py)`", ROWS[number])
    assert all((ROOT / name).exists() for name in named)
    if re.search(r"\*\*State:\*\* held", ROWS[number]):
        assert named, "a row that is held names its tests"


@pytest.mark.parametrize("number", [1, 4, 14, 17, 27, 32, 33, 35, 37])
def test_what_is_held_needs_nothing_that_is_not_built(number: int) -> None:
    guarantee = ROWS[number].partition("**Guarantee:**")[2].partition("**Remains:**")[0]
    assert not re.search(r"witness|stamp|write-once|the gate", guarantee, re.IGNORECASE)
