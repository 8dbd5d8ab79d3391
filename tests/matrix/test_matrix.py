"""The harness of the tamper matrix: a few rows on a small live log, and the judge that must not be fooled."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tamper import world
from tamper.graven_log import ACTS, stage
from tamper.judge import act_out
from tamper.model import CAUGHT, MISSED, Attack, Observer, Outcome, Said, Scene, System
from tamper.report import LIMITS_MAX, Run, as_json, as_page, as_text, cell, read_run
from tamper.rows import BY_KEY, NOT_ACTED, ROWS
from tamper.world import World

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tamper-matrix.md"
THREATS = 38


@pytest.fixture(scope="module")
def outside() -> Iterator[World]:
    """One witness and no bucket: enough to see that rows are acted out, within seconds."""
    with world.opened(bucket=False, witnesses=1, trail=2) as found:
        yield found


@pytest.mark.slow
def test_nobody_cries_wolf_over_a_live_log(outside: World) -> None:
    outcome = act_out(stage.system(outside), BY_KEY["nothing"])
    assert (outcome.state, outcome.discounted) == (MISSED, ())
    assert {"auditor", "witnesses", "verify", "monitoring"} <= set(outcome.silent)


def test_a_rewritten_history_is_caught_by_everybody_outside(outside: World) -> None:
    outcome = act_out(stage.system(outside), BY_KEY["rewrite"])
    assert outcome.discounted == (), "all was quiet before"
    caught = {one.by for one in outcome.catches}
    assert {"auditor", "holder of a checkpoint", "holder of receipts", "next start", "witnesses"} <= caught
    assert "verify" in outcome.silent, "by itself, a rewritten log is in perfect order"
    assert next(one for one in outcome.catches if one.by == "auditor").code == 1


def _system(*observers: Observer, act: object = None) -> System:
    @contextmanager
    def staged(_: Attack) -> Iterator[Scene]:
        yield Scene(list(observers), {"attacked": False})

    def attack(scene: Scene) -> None:
        assert isinstance(scene.subject, dict)
        scene.subject["attacked"] = True
        if callable(act):
            act()

    return System("made up", staged, {"flip": attack}, {"rewrite": "because"}, lambda: "1")


def _says(answers: list[bool]) -> Observer:
    return Observer("somebody", lambda: Said(1, "words", answers.pop(0) if len(answers) > 1 else answers[0]))


def test_an_alarm_counts_only_if_it_was_quiet_before() -> None:
    assert act_out(_system(_says([False, True])), BY_KEY["flip"]).state == CAUGHT
    assert act_out(_system(_says([False, False])), BY_KEY["flip"]).state == MISSED
    noisy = act_out(_system(_says([True, True])), BY_KEY["flip"])
    assert (noisy.state, noisy.discounted, noisy.catches) == (MISSED, ("somebody",), ())


def test_the_patient_are_asked_again() -> None:
    answers = [False, False, False, True]
    one = Observer("patient", lambda: Said(1, "alarm", answers.pop(0) if len(answers) > 1 else answers[0]), 5.0)
    outcome = act_out(_system(one), BY_KEY["flip"])
    assert outcome.first is not None and outcome.first.seconds >= 0.2


def test_a_row_that_is_not_acted_out_says_why() -> None:
    assert act_out(_system(), BY_KEY["rewrite"]).why == "because"


def test_what_fails_a_run() -> None:
    quiet, alarm = Outcome(MISSED), act_out(_system(_says([False, True])), BY_KEY["flip"])
    rows = [BY_KEY[key] for key in ("nothing", "rewrite", "lie")]
    run = Run("2026-01-01", "here", {"Graven": "1"}, rows)
    run.outcomes = {"nothing": {"Graven": quiet}, "rewrite": {"Graven": alarm}, "lie": {"Graven": quiet}}
    assert run.faults == []
    run.outcomes = {"nothing": {"Graven": alarm}, "rewrite": {"Graven": quiet}}
    assert [fault.split(":")[0] for fault in run.faults] == ["nothing", "rewrite"]
    assert "FAULT" in as_text(run) and "NOT CAUGHT" in as_text(run)
    document = json.loads(json.dumps(as_json(run)))
    assert document["rows"][1]["outcomes"]["Graven"]["state"] == "not caught"
    assert as_page(read_run(document)) == as_page(run)


def test_what_programs_print_is_no_markup_on_the_page() -> None:
    nasty = act_out(
        _system(Observer("x", iter([Said(0, "", False), Said(1, "a|b\n<script>", True)]).__next__)), BY_KEY["flip"]
    )
    run = Run("2026-01-01", "here", {"Graven": "1"}, [BY_KEY["flip"]], {"flip": {"Graven": nasty}})
    assert "<script>" not in as_page(run) and "a/b" in as_page(run)


def test_every_row_is_acted_out_on_graven_and_every_threat_is_answered() -> None:
    assert set(ACTS) == set(BY_KEY)
    answered = {number for row in ROWS for number in row.threats} | set(NOT_ACTED)
    assert answered == set(range(1, THREATS + 1))
    assert sum(row.limit for row in ROWS) <= LIMITS_MAX
    assert all(row.attacker and row.powers and row.steps for row in ROWS)


def test_the_page_has_the_rows_of_the_harness() -> None:
    table = PAGE.read_text().partition("\n| attack | Graven")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[field.strip() for field in line.strip("|").split("|")] for line in table]
    assert [row[0] for row in cells] == [row.title for row in ROWS]
    for row, fields in zip(ROWS, cells, strict=True):
        graven = fields[1]
        if row.control:
            assert graven == "quiet"
        elif row.limit:
            assert graven == cell(row, Outcome(MISSED))
        else:
            assert graven.startswith(("caught: ", "no effect")), row.title


def test_the_limits_are_argued_in_the_threat_model() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text().partition("## Limits of the matrix")[2]
    for row in ROWS:
        assert not row.limit or f"**{row.title}**" in text, row.title
