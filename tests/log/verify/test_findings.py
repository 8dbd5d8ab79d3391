"""Findings: bounded, joined where they touch, and told in one line each."""

from graven.core.errors import BadInput, Broken, Disproved
from graven.log.verify.report import NOTES_MAX, PROBLEMS_MAX, Findings, Problem, Report


def report(findings: Findings) -> Report:
    return Report(findings.problems, findings.disproved, findings.broken, findings.notes, 0, 0, 0, "all")


def test_neighbours_of_one_group_become_one() -> None:
    findings = Findings()
    for index in (4, 5, 6):
        findings.fail("a tile is missing", f"tile/{index}", 256 * index, 256 * (index + 1), group="level 0")
    findings.fail("a tile is missing", "tile/9", 2304, 2560, group="level 0")
    assert [str(problem) for problem in findings.problems] == [
        "broken: a tile is missing (tile/4 … tile/6; indexes 1024 to 1791)",
        "broken: a tile is missing (tile/9; indexes 2304 to 2559)",
    ]
    assert (findings.broken, findings.disproved) == (2, 0)


def test_problems_of_other_words_files_or_branches_stay_apart() -> None:
    findings = Findings()
    findings.disprove("wrong", "a", 1, 2)
    findings.disprove("wrong", "b", 2, 3)
    findings.disprove("other", "a", 2, 3)
    findings.fail("wrong", "a", 2, 3)
    findings.disprove("wrong", "a")
    assert len(findings.problems) == 5


def test_the_same_problem_twice_is_one() -> None:
    findings = Findings()
    findings.fail("missing", "graven.toml")
    findings.fail("missing", "graven.toml")
    assert findings.problems == (Problem("broken", "missing", "graven.toml"),)


def test_many_are_counted_and_not_listed() -> None:
    findings = Findings()
    for number in range(PROBLEMS_MAX + 50):
        findings.fail("a", str(number))
    findings.disprove("the one that decides", "far behind")
    told = report(findings)
    assert len(told.problems) == PROBLEMS_MAX + 1
    assert told.problems[-1].what == "and 51 more problems that are not listed"
    assert (told.exit_code, told.broken, told.disproved) == (1, PROBLEMS_MAX + 50, 1)


def test_merging_keeps_what_was_not_listed() -> None:
    parts = []
    for part in range(3):
        findings = Findings()
        for number in range(PROBLEMS_MAX):
            findings.fail("a", f"{part} {number}")
        findings.disprove("b", "x", part, part + 1)
        findings.note("a note")
        parts.append(findings)
    whole = Findings()
    for findings in parts:
        whole.merge(findings)
    assert (whole.broken, whole.disproved) == (3 * PROBLEMS_MAX, 3)
    assert report(whole).exit_code == 1
    assert whole.notes == ("a note",)


def test_merging_joins_over_the_border() -> None:
    left, right, whole = Findings(), Findings(), Findings()
    left.disprove("wrong", "seg at byte 1", 0, 10, group="seg")
    right.disprove("wrong", "seg at byte 2", 10, 20, group="seg")
    whole.merge(left)
    whole.merge(right)
    assert [str(one) for one in whole.problems] == ["disproved: wrong (seg at byte 1 … seg at byte 2; indexes 0 to 19)"]
    assert whole.disproved == 1


def test_errors_keep_their_branch() -> None:
    findings = Findings()
    findings.error(Broken("a"), "x")
    findings.error(Disproved("b", expected="1", found="2", place="y"))
    findings.error(BadInput("c", place="z"))
    assert [str(one) for one in findings.problems] == [
        "broken: a (x)",
        "disproved: b: expected 1, found 2 (y)",
        "disproved: c (z)",
    ]


def test_notes_are_bounded() -> None:
    findings = Findings()
    for number in range(NOTES_MAX + 7):
        findings.note(str(number))
        findings.note(str(number))
    assert len(findings.notes) == NOTES_MAX + 1
    assert findings.notes[-1].startswith("and ")


def test_exit_codes() -> None:
    assert Report((), 0, 0, ("note",), 1, 1, 1, "all").exit_code == 0
    assert Report((), 0, 1, (), 1, 1, 1, "all").exit_code == 3
    assert Report((), 1, 1, (), 1, 1, 1, "all").exit_code == 1


def test_a_problem_in_words() -> None:
    assert str(Problem("broken", "gone")) == "broken: gone"
    assert str(Problem("broken", "gone", "a", 5, 5)) == "broken: gone (a; index 5)"
    assert str(Problem("disproved", "gone", "", 5, 6)) == "disproved: gone (indexes 5 to 6)"
