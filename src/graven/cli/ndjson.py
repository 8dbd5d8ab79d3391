"""A file of NDJSON, read twice: first to judge every line, then to hand them on in requests. Memory is bounded.

A line is what the HTTP door takes for one: an event in the event model, white space around it, blank lines ignored.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from graven.cli.output import Refused
from graven.cli.progress import Advance
from graven.core.errors import BadInput
from graven.event import FAULTS_MAX, MAX_EVENT_BYTES, Refusal, parse_body

REQUEST_EVENTS_MAX = 4_000
REQUEST_BYTES_MAX = 8 << 20
_LINE_BYTES_MAX = MAX_EVENT_BYTES + (64 << 10)  # with white space around it
_IN_MEMORY_BYTES_MAX = 8 << 20
_SPACE = b" \t\r\n"
_NDJSON = "application/x-ndjson"


@dataclass(slots=True)
class Piece:
    """Some lines of the file that make one request. `numbers` are the 1-based numbers of the lines."""

    lines: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def body(self) -> bytes:
        return b"\n".join(self.lines)


@dataclass(frozen=True, slots=True)
class Judged:
    """A file whose every line is an event. `classes` maps each class an event names to the first line that names it."""

    events: int
    size_bytes: int
    classes: dict[str, int]


@contextmanager
def rewindable(path: Path) -> Iterator[BinaryIO]:
    """The file, such that it can be read twice: standard input (`-`) and pipes are spooled to a private file first.

    Raises BadInput when it cannot be read.
    """
    try:
        if str(path) != "-" and S_ISREG(path.stat().st_mode):
            with path.open("rb") as file:
                yield file
            return
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES_MAX) as spool:
            if str(path) == "-":
                shutil.copyfileobj(sys.stdin.buffer, spool)
            else:
                with path.open("rb") as pipe:
                    shutil.copyfileobj(pipe, spool)
            spool.seek(0)
            yield spool  # type: ignore[misc]
    except OSError as error:
        raise BadInput(f"the file cannot be read: {error.strerror}", place=str(path)) from None


def judge(file: BinaryIO, name: str, advance: Advance) -> Judged:
    """Read the whole file and validate every event.

    Raises Refused with every fault found, at most 100, each with the number of its line.
    """
    faults: list[dict[str, object]] = []
    classes: dict[str, int] = {}
    events = size_bytes = 0
    for piece in pieces(file, faults):
        size_bytes += piece.size_bytes
        advance(piece.size_bytes)
        events += len(piece.lines)
        if not piece.lines:
            continue
        try:
            parsed = parse_body(piece.body, _NDJSON)
        except Refusal as refusal:
            for fault in refusal.errors:
                at = fault["position"]
                line = piece.numbers[at] if at is not None else piece.numbers[0]
                faults.append({"line": line, "path": fault["path"], "what": fault["what"], "mend": fault["mend"]})
        else:
            for at, class_name in enumerate(parsed.classes):
                if class_name is not None:
                    classes.setdefault(class_name, piece.numbers[at])
        if len(faults) >= FAULTS_MAX:
            break
    if faults:
        faults.sort(key=_line)
        count = f"{len(faults)} or more" if len(faults) >= FAULTS_MAX else str(len(faults))
        what = f"{count} of the lines {'is no event' if len(faults) == 1 else 'are no events'}; nothing was stored"
        raise Refused(what, faults[:FAULTS_MAX], place=name, mend="each line is one event: docs/event-model.md")
    if not events:
        raise BadInput("the file holds no event", place=name, mend="NDJSON: one JSON object a line")
    return Judged(events, size_bytes, classes)


def pieces(
    file: BinaryIO,
    faults: list[dict[str, object]],
    *,
    size_bytes: int | None = None,
    request_bytes: int = REQUEST_BYTES_MAX,
) -> Iterator[Piece]:
    """The file's first `size_bytes`, in requests of at most `request_bytes` and 4,000 events.

    A line longer than an event may be goes to `faults`, and is left out.
    """
    piece = Piece()
    number = read = 0
    while size_bytes is None or read < size_bytes:
        line = file.readline(_LINE_BYTES_MAX)
        if not line:
            break
        number += 1
        length = len(line)
        if length == _LINE_BYTES_MAX and line[-1:] != b"\n":
            what, mend = f"the line is longer than {MAX_EVENT_BYTES} bytes", "leave large content out, or keep its hash"
            faults.append({"line": number, "path": "$", "what": what, "mend": mend})
            while line and line[-1:] != b"\n":
                line = file.readline(_LINE_BYTES_MAX)
                length += len(line)
            line = b""
        read += length
        line = line.strip(_SPACE)
        if piece.lines and (len(piece.lines) == REQUEST_EVENTS_MAX or piece.size_bytes + length > request_bytes):
            yield piece
            piece = Piece()
        piece.size_bytes += length
        if line:
            piece.lines.append(line)
            piece.numbers.append(number)
    if piece.size_bytes:
        yield piece


def _line(fault: dict[str, object]) -> int:
    line = fault["line"]
    return line if isinstance(line, int) else 0
