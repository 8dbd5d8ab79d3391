"""Who looks at a live Graven log, and by which public command. Each answer is judged by its exit code, or its words."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from tamper import calls
from tamper.house import House, size_of
from tamper.model import Observer, Said

ALARMING_METRICS = ("graven_witnesses_short", "graven_clock_alarm", "graven_worm_alarms")
"""What docs/operations.md says to alarm on when it is not 0."""

ALARMING_EVENTS = (
    "graven.id_conflict", "graven.source.silent", "graven.clock_fall", "graven.anchor.clock", "graven.worm.alarm",
    "graven.agent.gap", "graven.agent.refused",
)  # fmt: skip

SLOW_S = 8.0
LAST_EVENTS = 40


def everybody(house: House) -> list[Observer]:
    """All who look at every attack, in the order they are asked."""
    found = [
        Observer("auditor", house.audit),
        Observer("witnesses", _witnesses(house)),
        Observer("holder of a checkpoint", lambda: _since(house)),
        Observer("holder of receipts", lambda: receipts(house)),
        Observer("who asks for a quorum", lambda: quorum(house)),
        Observer("verify", lambda: verify(house)),
    ]
    if house.store:
        found += [
            Observer("write-once copy", lambda: copy(house)),
            Observer("copier", lambda: house.ask("worm", "status", "--dir", house.directory), SLOW_S),
        ]
    return [
        *found,
        Observer("monitoring", _monitoring(house), SLOW_S),
        Observer("the log's own events", _events(house), SLOW_S),
    ]


def next_start(house: House) -> Observer:
    """The honest program's next start over what is on the disk. The last to be asked: it stops what runs there."""

    def ask() -> Said:
        house.vacate()
        before = len(_text(house.root / "server.errors"))
        server = house.start(expect=False)
        said = server.url
        if said:
            return Said(0, said, False)
        code = server.stop()
        house.server = None
        return Said(code, _text(house.root / "server.errors")[before:], True)

    return Observer("next start", ask, last=True)


def verify(house: House) -> Said:
    """The operator's or a visitor's `graven verify` on the host, by the key he got elsewhere."""
    return house.ask("verify", "--dir", house.directory, "--vkey", house.vkeys[0], "--policy", house.policy)


def copy(house: House) -> Said:
    """The write-once copy verified by itself, and against what the log shows today, where that is no longer.

    What was published after the copier's last round is not in the copy yet, which is no alarm.
    """
    alone = house.ask("verify", "--from", house.store, "--vkey", house.vkeys[0])
    if alone.alarm:
        return alone
    status, note = calls.http(f"{house.url}/log/checkpoint")
    if status != 200:
        return alone
    (house.outside / "shown.checkpoint").write_bytes(note)
    held = house.ask(
        "verify", "--from", house.store, "--vkey", house.vkeys[0], "--since", house.outside / "shown.checkpoint"
    )  # fmt: skip
    return Said(held.code, held.text, held.code == 1)


def _witnesses(house: House) -> Callable[[], Said]:
    """Evidence that witnesses keep about this log: refused checkpoints with the log's own signatures."""

    def kept() -> set[str]:
        found: set[str] = set()
        for witness in house.witnesses:
            said = house.ask("witness", "list", witness.directory, "--json")
            for folder in json.loads(said.text.splitlines()[0])["evidence"]:
                note = Path(folder) / "refused.checkpoint"
                if note.read_text().split("\n", 1)[0] == f"example.com/{house.root.name}":
                    found.add(folder)
        return found

    def ask() -> Said:
        found = sorted(kept())
        if not found:
            return Said(0, "no evidence", False)
        kinds = sorted({Path(folder).name.split("-")[0] for folder in found})
        return Said(1, f"refused, evidence kept: {', '.join(kinds)}", True)

    return ask


def _since(house: House) -> Said:
    kept = house.outside / "kept.checkpoint"
    return _answered(house.ask("verify", f"{house.url}/log", "--vkey", house.vkeys[0], "--since", kept))


def receipts(house: House) -> Said:
    """The producer holds the log to every answer it kept."""
    answers = house.outside / "answers"
    return _answered(house.ask("receipts", "check", answers, "--url", f"{house.url}/log", "--vkey", house.vkeys[0]))


def _answered(said: Said) -> Said:
    """A log that does not answer is a matter for monitoring and the auditor; these two have found nothing then."""
    return Said(said.code, said.text, said.alarm and "does not answer" not in said.text)


def quorum(house: House) -> Said:
    """A reader who is given today's checkpoint and has the policy."""
    status, note = calls.http(f"{house.url}/log/checkpoint")
    if status != 200:
        return Said(status, "the log shows no checkpoint", False)
    path = house.outside / "today.checkpoint"
    path.write_bytes(note)
    return house.ask("check", path, "--policy", house.policy)


def _monitoring(house: House) -> Callable[[], Said]:
    """What docs/operations.md says to watch: alive, ready, a published size that fell, alarms in the metrics."""
    largest = [0]

    def ask() -> Said:
        for path in ("/health/live", "/health/ready"):
            status, body = calls.http(house.url + path, timeout_s=5)
            if status != 200:
                return Said(status, f"{path} failed: {body[:120].decode(errors='replace')}", True)
        text = calls.http(f"{house.url}/metrics")[1].decode()
        values = {name: float(value) for name, value in re.findall(r"^(graven_\w+) ([0-9.e+-]+)$", text, re.MULTILINE)}
        size = int(values.get("graven_published_size", 0))
        if size < largest[0]:
            return Said(1, f"alarm: graven_published_size fell from {largest[0]} to {size}", True)
        largest[0] = size
        for name in ALARMING_METRICS:
            if values.get(name, 0.0) > 0:
                return Said(1, f"alarm: {name} is {values[name]:g}", True)
        return Said(0, "ready", False)

    return ask


def _events(house: House) -> Callable[[], Said]:
    """Somebody who reads what the log says of itself, from the time he began to look."""
    first: list[int] = []

    def ask() -> Said:
        status, note = calls.http(f"{house.url}/log/checkpoint")
        if status != 200:
            return Said(0, "nothing to read", False)
        size = size_of(note)
        if not first:
            first.append(size)
        for index in range(max(first[0], size - LAST_EVENTS), size):
            status, body = calls.http(f"{house.url}/api/v1/events/{index}", token=house.token)
            if status != 200:
                continue
            event = json.loads(body)
            action = str((event.get("event") or {}).get("action"))
            if event["head"] and event["head"]["source"] == 0 and action in ALARMING_EVENTS:
                return Said(1, f"alarm: event {index} is {action}", True)
        return Said(0, "nothing", False)

    return ask


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
