"""`graven append`: the events of a file, all of them or none."""

import time
from pathlib import Path
from typing import Any

import click

from graven.app import LOCAL_SOURCE
from graven.cli.ndjson import REQUEST_BYTES_MAX, Judged, Piece, judge, pieces, rewindable
from graven.cli.options import dir_option, file_argument, json_option
from graven.cli.output import Refused, print_json
from graven.cli.progress import progress
from graven.cli.writing import Writing, open_writing
from graven.config import CONFIG_NAME, load_config
from graven.core.errors import BadInput, Busy, GravenError

_BUSY_WAIT_S_MAX = 60.0


@click.command("append")
@file_argument("file", "FILE")
@dir_option
@click.option("--source", default=LOCAL_SOURCE, show_default=True, metavar="NAME", help="The source the events are of.")
@click.option(
    "--receipt", type=click.Choice(["text", "full"]), default="text", show_default=True,
    help="full: also what `graven check --events` needs to convict a log that sealed something else.",
)  # fmt: skip
@json_option
def command(file: Path, directory: Path, source: str, receipt: str, as_json: bool) -> None:
    """Append the events of FILE, NDJSON in the event model (`-`: standard input), and print one JSON object.

    Every line is judged before the first is stored: one bad line refuses the file, and all bad lines are named. An
    event whose `id` the log has from this source with the same bytes is a duplicate and not stored again, so a file
    may be sent twice. What is stored is published when the command ends.
    """
    name = "standard input" if str(file) == "-" else str(file)
    request_bytes = min(REQUEST_BYTES_MAX, load_config(directory / CONFIG_NAME).intake.max_request_bytes)
    with rewindable(file) as events:
        size_bytes = events.seek(0, 2)
        events.seek(0)
        with progress("checking", size_bytes) as advance:
            judged = judge(events, name, advance)
        events.seek(0)
        with open_writing(directory) as log, progress("appending", judged.events, unit="events") as advance:
            _check_source(log, source, judged, name)
            summary = _Summary(full=receipt == "full")
            for piece in pieces(events, [], size_bytes=judged.size_bytes, request_bytes=request_bytes):
                if piece.lines:
                    summary.add(_append(log, piece, source, full=summary.full), len(piece.lines))
                    advance(len(piece.lines))
            print_json(summary.answer(_publish(log)))


def _publish(log: Writing) -> int:
    """The size that is published now. An error says that the events are stored all the same."""
    try:
        return int(log.publish()["size"])
    except GravenError as error:
        error.what = f"the events are stored, and not published yet: {error.what}"
        raise


class _Summary:
    """The answers to the requests of one file, as one. Positions count from the first event of the file."""

    def __init__(self, *, full: bool) -> None:
        self.full = full
        self._answers: list[dict[str, Any]] = []
        self._accepted = self._events = 0
        self._first: int | None = None
        self._duplicates: list[dict[str, int]] = []
        self._receipt = ""

    def add(self, answer: dict[str, Any], events: int) -> None:
        self._accepted += answer["accepted"]
        if self._first is None:
            self._first = answer["first_index"]
        for one in answer["duplicates"]:
            self._duplicates.append({"position": self._events + one["position"], "index": one["index"]})
        self._events += events
        self._receipt = answer["receipt"]
        if self.full:
            self._answers.append(answer)

    def answer(self, published: int) -> dict[str, object]:
        fields: dict[str, object] = {
            "accepted": self._accepted,
            "first_index": self._first,
            "size": published,
            "duplicates": self._duplicates,
            "state": "published",
            "receipt": self._receipt,
        }
        if len(self._answers) == 1:
            fields["opened"] = self._answers[0]["opened"]
        elif self._answers:
            fields["requests"] = self._answers
        return fields


def _append(log: Writing, piece: Piece, source: str, *, full: bool) -> dict[str, Any]:
    """One request. While the log is full nothing was stored, and it is asked again."""
    deadline_s = time.monotonic() + _BUSY_WAIT_S_MAX
    while True:
        try:
            return log.append(piece.body, source=source, full=full)
        except Busy as error:
            if time.monotonic() + error.retry_after_s > deadline_s:
                raise
            time.sleep(error.retry_after_s)


def _check_source(log: Writing, source: str, judged: Judged, name: str) -> None:
    """Refuse a source that is not there, and classes it may not use, before anything is stored."""
    if source == LOCAL_SOURCE and not judged.classes:
        return
    row = next((row for row in log.sources() if row["name"] == source and not row["retired"]), None)
    if row is None:
        raise BadInput(f"no source is called {source!r}", mend=f"register it: graven source add {source}")
    faults: list[dict[str, object]] = [
        {
            "line": line,
            "path": "$.class",
            "what": f"source {source!r} may not use the class {class_name!r}",
            "mend": f"leave it out, or let it: graven source change {source} --allow-class {class_name}",
        }
        for class_name, line in judged.classes.items()
        if class_name not in (row["class"], *row["classes"])
    ]
    if faults:
        raise Refused("the file names classes its source may not use; nothing was stored", faults, place=name)
