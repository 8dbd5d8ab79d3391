"""The tour: one screen that shows, on a log of invented events, what Graven claims, and that it holds.

    the log made or found → who took customers.csv, proved → the log and tampered copies of it, judged by the real
    `graven verify` → evidence written, and checked by the shell alone → what it takes, where it is, how to go on

Everything shown is done: nothing is printed that was not run. What does not behave as claimed is named, and raised when
the screen is finished.
"""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from graven.anchor.policies import describe_trust
from graven.app import VERSION, keys_dir, open_view
from graven.config import CONFIG_NAME, load_config
from graven.core.errors import Disproved
from graven.demo.by_hand import SCRIPT, ByHand, check_by_hand, lacking_tool
from graven.demo.footprint import measure, memory_mib
from graven.demo.sample import OPENS, STOLEN
from graven.demo.screen import Screen
from graven.demo.stage import SAMPLE_WITHIN, Stage, set_stage
from graven.demo.theft import Line, find_theft
from graven.demo.trials import ENTRIES_MAX, Trial, hold_trials
from graven.runtime.clock import US_PER_S, Clock, SystemClock

TRUST = describe_trust(None, ())

_LINES = 4


class Tour:
    """One showing. `told` is what was shown, for programs; `wrong` names what did not behave as claimed."""

    def __init__(
        self, log: Path, screen: Screen, *, listen: str | None = None, passing: bool = False, clock: Clock | None = None
    ) -> None:
        """`log` is made if there is none. `listen`: where it is served afterwards. `passing`: it is removed afterwards.

        Paths are shown as seen from the working directory.
        """
        self._log, self._screen, self._listen, self._passing = log, screen, listen, passing
        self._clock = clock or SystemClock()
        self._evidence = log.absolute().with_name(log.absolute().name + ".evidence")  # beside the log, not in it
        self.told: dict[str, object] = {}
        self.wrong: list[str] = []

    def show(self) -> None:
        """All of it, in order.

        Raises:
            Disproved: something did not behave as claimed; the screen says where. BadInput, Broken: as `set_stage`.
        """
        begun_us = self._clock.now_us()
        stage = set_stage(self._log)
        self._show_banner(stage)
        lines = self._show_theft()
        self._hand_out(stage, lines[-2])
        self._show_trials(lines)
        self._show_by_hand()
        self._show_cost()
        self._show_places(lines[-2].index)
        took_s = (self._clock.now_us() - begun_us) / US_PER_S
        self._screen.line(f"All this took {took_s:.1f} s, apart from setting up.")
        self.told |= {"took_s": round(took_s, 1), "wrong": self.wrong}
        if self.wrong:
            raise Disproved(f"the tour did not go as it should: {'; '.join(self.wrong)}", place=str(self._log))

    def _show_banner(self, stage: Stage) -> None:
        origin = load_config(self._log / CONFIG_NAME).origin
        self._screen.banner(f"DEMO    Graven {VERSION}, on a log of invented events    DEMO")
        what = f"new log, {stage.appended:,} events" if stage.created else f"same log, {stage.size:,} events"
        if stage.appended and not stage.created:
            what += f" ({stage.appended:,} of the sample were missing)"
        self._screen.line(f"{origin}: {what} from AWS, Kubernetes, SSH and a CRM")
        self._screen.line(f"{TRUST} (nobody but this machine vouches for it)")
        self.told |= {
            "origin": origin, "dir": str(self._log.absolute()), "new": stage.created, "appended": stage.appended,
            "size": stage.size, "trust": TRUST,
        }  # fmt: skip

    def _show_theft(self) -> list[Line]:
        with open_view(self._log) as view:
            lines = find_theft(view)
        self._screen.title(f"Who took {STOLEN}?   {OPENS:%d %B %Y}, UTC. Each line was proved before it is shown.")
        for line in lines:
            told = f"{line.time:%H:%M:%S} {line.who} {line.origin_ip} {line.what}"
            self._screen.line(told, f"proved at size {line.size}")
        if len(lines) != _LINES:
            self.wrong.append(f"{len(lines)} lines tell of the theft, not {_LINES}")
        self.told["theft"] = [
            {"index": line.index, "proved_at_size": line.size, "time": line.time.isoformat().replace("+00:00", "Z"),
             "who": line.who, "from": line.origin_ip, "what": line.what}
            for line in lines
        ]  # fmt: skip
        return lines

    def _hand_out(self, stage: Stage, line: Line) -> None:
        """Put down what an auditor would be given. A checkpoint kept at an earlier run of this log is left as it is."""
        folder = self._evidence
        folder.mkdir(exist_ok=True)
        (folder / "evidence.json").write_bytes(line.evidence)
        (folder / "log.vkey").write_text(f"{self._vkey()}\n")
        shutil.copyfile(SCRIPT, folder / SCRIPT.name)
        if stage.created or not (folder / "checkpoint").exists():
            shutil.copyfile(self._log / "log" / "checkpoint", folder / "checkpoint")

    def _show_trials(self, lines: Sequence[Line]) -> None:
        screen = self._screen
        screen.title(
            "Is the log whole, and what if somebody changes it?   What graven verify says; copies were changed."
        )
        if lines[0].size > ENTRIES_MAX:
            screen.line(f"not shown: this log has grown beyond {ENTRIES_MAX:,} entries; graven demo without --dir does")
            return
        kept = self._evidence / "checkpoint"
        trials = hold_trials(self._log, lines, vkey=self._vkey(), kept=kept, now_us=self._clock.now_us())
        for trial in trials:
            self._show_trial(trial)
        self.wrong += [
            f"{one.story}: verify ended with {one.verdict.exit_code}, {one.verdict.problem or 'no problem'}"
            for one in trials
            if not one.fits
        ]
        self.told["trials"] = [
            {"what": one.story, "exit_code": one.verdict.exit_code, "problem": one.verdict.problem,
             "place": one.verdict.place, "as_claimed": one.fits}
            for one in trials
        ]  # fmt: skip

    def _show_trial(self, trial: Trial) -> None:
        said = trial.verdict
        option = f"{trial.option} …  " if trial.option else ""
        self._screen.line(trial.story, f"{option}exit {said.exit_code}", good=trial.fits)
        if not said.problem:
            derived = f"{said.events:,} events derived again from their own bytes, nothing is wrong"
            self._screen.line(trial.note or derived, indent=2)
            return
        at = [said.place] if said.place else []
        if said.indexes:
            at.append(f"events {said.indexes[0]} to {said.indexes[-1]}")
        self._screen.line(said.problem, indent=2)
        self._screen.line(f"where: {'; '.join(at)}", indent=3)

    def _show_by_hand(self) -> None:
        screen, folder = self._screen, self._evidence
        screen.title("One event checked without Graven: coreutils and openssl.   docs/verify-by-hand.md explains it.")
        screen.command(f'$ cd {_short(folder)} && bash {SCRIPT.name} evidence.json "$(cat log.vkey)"')
        if (lacking := lacking_tool()) is not None:
            screen.line(f"not run: there is no {lacking} here")
            return
        found = check_by_hand(folder / "evidence.json", self._vkey())
        for step in found.steps:
            screen.command(step.line, indent=2)
            for number, printed in enumerate(step.printed):
                levels = f"   ({step.levels} levels)" if step.levels and not number else ""
                screen.line(printed.partition(", as in")[0] + levels, good=not found.refusal, indent=3)
        self._judge_by_hand(found)

    def _judge_by_hand(self, found: ByHand) -> None:
        self.told["by_hand"] = {"proved": not found.refusal, "printed": [one for s in found.steps for one in s.printed]}
        if found.refusal:
            self._screen.line(found.refusal, good=False)
            self.wrong.append("the evidence did not check by hand")

    def _show_cost(self) -> None:
        with open_view(self._log) as view:
            size = view.published.checkpoint.size
            sent = [len(record.event or b"") for record in view.records(0, min(size, SAMPLE_WITHIN))]
        took, memory = measure(self._log, entries=size, event_bytes=sum(sent) / len(sent)), memory_mib()
        self._screen.title("What it takes")
        journal, tree = f"{took.journal_bytes:.0f} in the journal", f"{took.tile_bytes:.0f} in the tree"
        self._screen.line(f"bytes an event: {journal}, {tree}, of {took.event_bytes:.0f} as sent")
        month = f"{took.month_gb:,.0f} GB a month at 50 million events a day like these"
        self._screen.line(f"{month}; memory {memory:.0f} MiB" if memory is not None else month)
        self.told |= {
            "bytes_per_event": {
                "sent": round(took.event_bytes), "journal": round(took.journal_bytes, 1),
                "tree": round(took.tile_bytes, 1),
            },
            "gb_per_month": round(took.month_gb, 1),
            "memory_mib": memory and round(memory),
        }  # fmt: skip

    def _show_places(self, index: int) -> None:
        screen, log, evidence = self._screen, _short(self._log), _short(self._evidence)
        graven, keys = _command(), _short(keys_dir(self._log))
        screen.title("Where it is, and how to go on" + (", in another shell" if self._listen else ""))
        if self._passing:
            screen.line("in a temporary place, which is removed now; to keep it and look around:")
            screen.command(f"{graven} demo --dir ./graven-demo --serve")
            return
        screen.line(f"data {log}   keys {keys}   for an auditor {evidence}")
        if self._listen:
            screen.line(f"http://{self._listen}: /api/v1, /log (the tree), /metrics, /health/ready   stop: Ctrl-C")
        screen.command(f"{graven} show {index} --dir {log}")
        screen.command(f"{graven} verify --dir {log} --since {_short(self._evidence / 'checkpoint')}")
        if self._listen:
            screen.command(f"TOKEN=$({graven} token create --dir {log} --name me --scope ingest,read)")
            screen.command(
                f'curl -H "Authorization: Bearer $TOKEN" http://{self._listen}/api/v1/events/{index}/evidence'
            )
        screen.command(f"rm -r {log} {keys} {evidence}    # removes all of it")

    def _vkey(self) -> str:
        return load_config(self._log / CONFIG_NAME).vkeys[0]


def _short(path: Path) -> str:
    """A path as one would type it: from the working directory if it lies there."""
    absolute = path.absolute()
    inside = absolute.is_relative_to(Path.cwd())
    return shlex.quote(str(absolute.relative_to(Path.cwd()) if inside else absolute))


def _command() -> str:
    """How `graven` was called, or can be."""
    called = Path(sys.argv[0])
    if shutil.which("graven") is not None or called.name != "graven":
        return "graven"
    return _short(called)
