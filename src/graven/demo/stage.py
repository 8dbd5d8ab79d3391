"""The demonstration's log: made once, filled with the sample through the real writer, and found again.

Its origin begins with `demo.invalid/`, so nothing it signs can pass for a log in use. The sample goes in as four
sources would send it: request by request, each with its own head, one part of the morning after the other.
"""

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore

import msgspec

from graven.app import Log, class_names, create_log, open_view
from graven.config import CONFIG_NAME, ClassConfig, default_config, load_config
from graven.core.errors import BadInput, GravenError
from graven.demo.records import AWS, CRM, KUBERNETES, SSHD
from graven.demo.sample import sample_events
from graven.event import parse_body
from graven.log.admin import add_source
from graven.log.writer import Answer

ORIGIN_PREFIX = "demo.invalid/"
SAMPLE_WITHIN = 20_000
"""The sample stands among the first this many entries: it is the first thing that is appended."""

_PERSONAL = "personal"
_PARTS = 4
_SOURCES = {  # name: what it is, how its events come in, its class
    AWS: ("cloud account", "pulled", "default"),
    KUBERNETES: ("cluster", "authenticated sender", "default"),
    SSHD: ("host", "network", "default"),
    CRM: ("application", "authenticated sender", _PERSONAL),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """The log as this call found or made it. `appended` counts what this call put in."""

    created: bool
    appended: int
    size: int


def set_stage(directory: Path) -> Stage:
    """Make the demonstration's log in `directory` unless it is there, and put in what it lacks of the sample.

    Raises:
        BadInput: something else is there: a log in use, or other files. Broken: the log cannot be written.
    """
    created = not (directory / CONFIG_NAME).exists()
    if created:
        config = default_config(origin="", log_id="", vkeys=())
        classes = {**config.classes, _PERSONAL: ClassConfig(description="what names customers: to be erased by itself")}
        create_log(
            directory,
            origin=ORIGIN_PREFIX + os.urandom(8).hex(),
            config=msgspec.structs.replace(config, classes=classes),
        )
    elif not (origin := load_config(directory / CONFIG_NAME).origin).startswith(ORIGIN_PREFIX):
        raise BadInput(
            f"the log there is {origin!r}, and not one of the demonstration's",
            place=str(directory),
            mend="give the demonstration a directory of its own: graven demo --dir ./graven-demo",
        )
    missing = sample_events() if created else _missing(directory)
    if missing:
        with Log.open(directory) as log:
            _append(log, missing)
            return Stage(created, len(missing), log.size)
    with open_view(directory) as view:
        return Stage(created, 0, view.published.checkpoint.size)


def _missing(directory: Path) -> list[tuple[str, bytes]]:
    """What of the sample is not in the log: all of it is, unless the first run was interrupted."""
    with open_view(directory) as view:
        there = {record.event for record in view.records(0, min(view.size, SAMPLE_WITHIN))}
    return [(source, event) for source, event in sample_events() if event not in there]


def _append(log: Log, sample: list[tuple[str, bytes]]) -> None:
    """Append the sample: parts of the morning in order, in each the four sources side by side. Raises as `append`."""
    for name, (kind, grade, class_name) in _SOURCES.items():
        if name not in log.registers.sources:
            add_source(
                log, name, declared=class_names(log.config),
                type=kind, grade=grade, class_name=class_name, owner="Quillmere (invented)",
            )  # fmt: skip
    size = -(-len(sample) // _PARTS)
    for begin in range(0, len(sample), size):
        requests: defaultdict[str, list[bytes]] = defaultdict(list)
        for source, event in sample[begin : begin + size]:
            requests[source].append(event)
        _send(log, requests)
    log.publish()


def _send(log: Log, requests: dict[str, list[bytes]]) -> None:
    """One request a source, none waiting for the other; return when all are durable."""
    answers: list[Answer] = []
    answered = Semaphore(0)

    def done(answer: Answer) -> None:
        answers.append(answer)
        answered.release()

    for source, events in requests.items():
        log.submit(log.batch(parse_body(b"\n".join(events), "application/x-ndjson"), source=source), done)
    for _ in requests:
        answered.acquire()
    for answer in answers:
        if isinstance(answer, GravenError):
            raise answer
