"""What a run found, as text, as JSON, and as the page docs/tamper-matrix.md."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tamper.model import ABSENT, CAUGHT, MISSED, NOT_ACTED, Attack, Catch, Outcome
from tamper.rows import BY_KEY
from tamper.rows import NOT_ACTED as THREATS_NOT_ACTED

LIMITS_MAX = 4
_WIDTH = 30


@dataclass(slots=True)
class Disaster:
    """What became of an honest disaster. `faults` is empty when nobody was convicted and the log went on."""

    key: str
    title: str
    steps: str
    remedy: str
    seen: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Run:
    """All of a run. `outcomes`: row key -> system name -> outcome. `errors`: what went wrong with the harness."""

    date: str
    host: str
    systems: dict[str, str]
    """Name and version, in the order of the columns; an absent one says why."""
    rows: Sequence[Attack]
    outcomes: dict[str, dict[str, Outcome]] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    disasters: list[Disaster] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """Why the run failed: rows that Graven should catch and does not, false alarms, disasters that convict."""
        found = list(self.errors)
        for row in self.rows:
            outcome = self.outcomes.get(row.key, {}).get("Graven")
            if outcome is None or outcome.state in (ABSENT, NOT_ACTED):
                continue
            if outcome.discounted:
                found.append(f"{row.key}: alarms before anything was done: {', '.join(outcome.discounted)}")
            if row.control and outcome.state == CAUGHT:
                found.append(f"{row.key}: a false alarm by {', '.join(one.by for one in outcome.catches)}")
            if outcome.state == MISSED and not (row.limit or row.control):
                found.append(f"{row.key}: nobody noticed")
        found += [f"{one.key}: {fault}" for one in self.disasters for fault in one.faults]
        if sum(row.limit for row in self.rows) > LIMITS_MAX:
            found.append(f"more than {LIMITS_MAX} rows are limits")
        return found


def cell(row: Attack, outcome: Outcome | None) -> str:
    """One field of the table, in a few words."""
    if outcome is None:
        return ""
    if outcome.state == ABSENT:
        return "not here"
    if outcome.state == NOT_ACTED:
        return "-"
    first = outcome.first
    if row.control:
        return "quiet" if first is None else f"FALSE ALARM: {first.by}"
    if first is None:
        return "not caught (limit)" if row.limit else "NOT CAUGHT"
    more = len(outcome.catches) - 1
    who = "no effect" if first.by == "no effect" else f"caught: {first.by}"
    return f"{who}{f' +{more}' if more else ''}, {first.seconds:.1f} s"


def as_text(run: Run) -> str:
    """The table for a terminal, then what went wrong."""
    names = list(run.systems)
    lines = ["".join(text.ljust(_WIDTH + 4) for text in ["ATTACK", *names]).rstrip()]
    for row in run.rows:
        cells = [cell(row, run.outcomes.get(row.key, {}).get(name)) for name in names]
        lines.append("".join(_short(text) for text in [row.title, *cells]).rstrip())
    for disaster in run.disasters:
        end = "; ".join(disaster.faults) if disaster.faults else "nobody convicted, the log goes on"
        lines.append(f"{_short(disaster.title)}{end}")
    lines += [f"not here: {name}: {why}" for name, why in run.absent.items()]
    lines += [f"FAULT: {fault}" for fault in run.faults]
    return "\n".join(lines)


def _short(text: str) -> str:
    return (text if len(text) <= _WIDTH + 2 else text[: _WIDTH + 1] + "…").ljust(_WIDTH + 4)


def as_json(run: Run) -> dict[str, object]:
    """Everything, for programs."""
    return {
        "date": run.date,
        "host": run.host,
        "systems": run.systems,
        "absent": run.absent,
        "rows": [
            asdict(row)
            | {
                "remark": run.remarks.get(row.key, ""),
                "outcomes": {name: asdict(one) for name, one in run.outcomes.get(row.key, {}).items()},
            }
            for row in run.rows
        ],
        "disasters": [asdict(one) for one in run.disasters],
        "threats_not_acted": {str(number): why for number, why in THREATS_NOT_ACTED.items()},
        "faults": run.faults,
    }


def read_run(document: Mapping[str, Any]) -> Run:
    """What `as_json` wrote."""
    run = Run(document["date"], document["host"], document["systems"], [BY_KEY[row["key"]] for row in document["rows"]])
    run.absent = document["absent"]
    for row in document["rows"]:
        run.remarks[row["key"]] = row["remark"]
        for name, one in row["outcomes"].items():
            catches = tuple(Catch(**catch) for catch in one["catches"])
            run.outcomes.setdefault(row["key"], {})[name] = Outcome(
                one["state"], catches, one["why"], tuple(one["silent"]), tuple(one["discounted"])
            )
    run.disasters = [Disaster(**one) for one in document["disasters"]]
    return run


def as_page(run: Run) -> str:
    """docs/tamper-matrix.md, whole."""
    systems = "; ".join(f"{name} {version}".strip() for name, version in run.systems.items())
    parts = [
        _HEAD.format(date=run.date, host=run.host, systems=systems),
        _table(["attack", *run.systems], [_summary(row, run) for row in run.rows]),
        _NOTICED,
        _table(["attack", "noticed by", "first words"], [_noticed(row, run) for row in run.rows]),
        "\n## The attacks\n",
        _table(["attack", "threats", "attacker", "powers", "steps"], [_described(row) for row in run.rows]),
        "\n## Not acted out on a system, and why\n",
        _list(_reasons(run)),
        "\n## Observers that were not counted\n",
        _list(_discounted(run)),
        "\n## Threats without a row, and why\n",
        _list([f"**{number}.** {why}" for number, why in THREATS_NOT_ACTED.items()]),
        "\n## Honest disasters\n\n" + _DISASTERS,
        _table(["disaster", "what was done", "remedy", "what was seen"], [_disaster(one) for one in run.disasters]),
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts))


_HEAD = """# The tamper matrix

This page is written by the harness (`make matrix MATRIX_ARGS='--page docs/tamper-matrix.md'`; `--only ROW`,
`--quick` and `--json FILE` for less and for programs): attacks, acted out on a live log and on what people use
today, in one run. An attack is really made, with the attacker's powers, and "caught" means that a command or a door
that anybody can use said so, by its exit code or in words: everybody is asked before the attack and again after it,
and who raised an alarm before anything was done does not count.

Last run: {date}, {host}. Systems: {systems}.

Graven runs as its documentation says: `graven serve`, three witnesses in processes of their own (a quorum of two),
a time authority, a write-once bucket, an auditor, producers who keep receipts, and somebody who keeps a checkpoint.
The others run as their documentation says, with signatures or sealing on, and are judged by their own verifiers;
the chain in PostgreSQL by a client that computes it again. What they are attacked with is what their design leaves
with root on the host.

"caught: X +n": first noticed by X, then by n others; the seconds are from the end of the attack to the answer, the
time the observer takes to look included. "no effect": the attack changed nothing that anybody relies on. "-": not
acted out there; the reason is below. "not caught (limit)": no log of any kind can see it by itself; argued in
[threat-model.md](threat-model.md#limits-of-the-matrix).
"""

_NOTICED = """
## Who noticed, on Graven

Everybody who raised an alarm, with the seconds since the attack was over. Every exit code and word is in the JSON.
"""

_DISASTERS = """\
The other half of the question: an honest operator after a disaster must not be convicted of forking.
After each of these no witness and no auditor holds evidence of a fork, no command ends with exit code 1,
the remedy of [operations.md](operations.md#disasters) works, and the log goes on and verifies.
"""


def _summary(row: Attack, run: Run) -> list[str]:
    return [row.title, *(cell(row, run.outcomes.get(row.key, {}).get(name)) for name in run.systems)]


def _noticed(row: Attack, run: Run) -> list[str]:
    outcome = run.outcomes.get(row.key, {}).get("Graven")
    catches = sorted(outcome.catches, key=lambda one: one.seconds) if outcome is not None else []
    who = ", ".join(f"{one.by} ({one.seconds:.1f} s)" for one in catches)
    words = f"{catches[0].words}" if catches else ""
    remark = run.remarks.get(row.key, "")
    return [
        row.title,
        who or ("nobody, as it should be" if row.control else "nobody"),
        "; ".join(filter(None, [words, remark])),
    ]


def _described(row: Attack) -> list[str]:
    return [row.title, ", ".join(map(str, row.threats)), row.attacker, row.powers, row.steps]


def _reasons(run: Run) -> list[str]:
    """One line a reason and its rows, with all the systems it holds for."""
    rows_of: dict[tuple[str, str], list[str]] = {}
    for row in run.rows:
        for name, outcome in run.outcomes.get(row.key, {}).items():
            if outcome.state in (NOT_ACTED, ABSENT):
                rows_of.setdefault((outcome.why, name), []).append(row.title)
    systems_of: dict[tuple[str, str], list[str]] = {}
    for (why, name), titles in rows_of.items():
        systems_of.setdefault((", ".join(titles), why), []).append(name)
    return [f"**{titles}**: {why} ({'; '.join(names)})" for (titles, why), names in systems_of.items()]


def _discounted(run: Run) -> list[str]:
    """Who cries wolf: an alarm before anything was done."""
    found: dict[str, int] = {}
    for outcomes in run.outcomes.values():
        for name, outcome in outcomes.items():
            for observer in outcome.discounted:
                found[f"**{name}**: {observer}"] = found.get(f"**{name}**: {observer}", 0) + 1
    return [f"{who} raised an alarm before anything was done, in {count} rows" for who, count in found.items()]


def _disaster(one: Disaster) -> list[str]:
    return [one.title, one.steps, one.remedy, "; ".join([*one.seen, *(f"FAULT: {fault}" for fault in one.faults)])]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_safe(text) for text in line) + " |" for line in lines) + "\n"


def _list(items: Sequence[str]) -> str:
    return "".join(f"- {_safe(item)}\n" for item in items) or "None.\n"


def _safe(text: str) -> str:
    """Nothing of what a program printed may become markup, or say where it ran."""
    return text.replace("|", "/").replace("\n", " ").replace("<", "(").replace(">", ")")
