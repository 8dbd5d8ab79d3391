"""`graven show`: one event, read from the journal and proved."""

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import click

from graven.app import open_view
from graven.check.times import bracket_fields, bracket_rows
from graven.check.words import Row, head_row, history_rows
from graven.cli.event_lines import event_rows
from graven.cli.options import dir_option, json_option
from graven.cli.output import dump_json, print_fields, print_line, verbatim_json
from graven.core.bracket import Bracket
from graven.core.commitment import NO_RAW
from graven.core.spelling import encode_base64
from graven.event import duplicate_keys
from graven.log.acts import rfc3339
from graven.log.pending import prove_pending
from graven.log.prove import prove
from graven.log.types import Record
from graven.log.view import View


@click.command("show")
@click.argument("index", type=click.IntRange(0), metavar="INDEX")
@dir_option
@json_option
def command(index: int, directory: Path, as_json: bool) -> None:
    """Show the event at INDEX: who did what to what, with what outcome, from where, and how far it is proved.

    The event is opened from the journal, its entry derived again, and that proved against the published checkpoint.
    With --json: `event` is the event as JSON, `event_text` its exact bytes.
    """
    with open_view(directory) as view:
        record = view.read(index)
        source = ""
        if record.head is not None:
            source = view.registers().source_names().get(record.head.source, "")
        proved = _prove(view, record)
        bracket = _bracket(view, record)
        published = index < view.published.checkpoint.size
    if as_json:
        print_line(_as_json(record, source, proved, bracket, published=published))
        return
    print_line(f"event {index}: {_state(record, proved)}")
    print_fields(_rows(record, source, bracket))


@dataclass(frozen=True, slots=True)
class _Proved:
    """Under which root the event was found: of the published checkpoint, or of the frame that holds it."""

    by: str
    size: int
    root: bytes


def _prove(view: View, record: Record) -> _Proved | None:
    """None where there is no entry, because its key is gone. Raises Disproved when the log contradicts itself."""
    if record.entry is None:
        return None
    published = view.published
    if record.index < published.checkpoint.size:
        prove(view.directory, record, published)
        return _Proved("checkpoint", published.checkpoint.size, published.checkpoint.root)
    return _Proved("frame", *prove_pending(view, record))


def _bracket(view: View, record: Record) -> Bracket | None:
    """When it was sequenced, by whose word; None where nothing is published yet, or the key of its entry is gone."""
    if record.head is None or record.index >= view.published.checkpoint.size:
        return None
    return view.bracket(record.index)


def _state(record: Record, proved: _Proved | None) -> str:
    if proved is None:
        return "unreadable: its data key is not in the keyring"
    text = f"proved at size {proved.size}"
    if proved.by == "frame":
        text += ", the end of its frame: committed, not published yet"
    if record.state == "erased":
        return f"erased, as event {record.erasure_index} says; its place is {text}"
    if record.state == "lost":
        return f"lost, as event {record.erasure_index} says; its place is {text}"
    return text


def _rows(record: Record, source: str, bracket: Bracket | None) -> list[Row]:
    rows: list[Row] = []
    if record.event is not None:
        rows += event_rows(record.event)
    if record.head is not None:
        rows.append(head_row(record.head, source))
        rows += history_rows(record.event, record.head) if record.event is not None else []
        rows += bracket_rows(bracket, record.head.received_us) if bracket is not None else []
    rows.append(("class", record.class_name))
    if record.raw is not None:
        rows.append(("raw", f"{len(record.raw)} bytes, as the producer sent them (--json shows them)"))
    elif record.raw_digest not in (None, NO_RAW):
        rows.append(("raw", "erased"))
    rows.append(("entry", record.entry and record.entry.hex()))
    return rows


def _as_json(record: Record, source: str, proved: _Proved | None, bracket: Bracket | None, *, published: bool) -> str:
    """One line of JSON. The event stands in it verbatim: no number is read and written again."""
    head = None
    if record.head is not None:
        head = {
            "source": record.head.source,
            "source_name": source or None,
            "received": rfc3339(record.head.received_us),
            "received_us": record.head.received_us,
        }
    text = None if record.event is None else record.event.decode()
    fields: dict[str, object] = {
        "index": record.index,
        "head": head,
        "event_text": text,
        "duplicate_keys": [] if record.event is None else duplicate_keys(record.event),
        "raw": None if record.raw is None else b64encode(record.raw).decode("ascii"),
        "class": record.class_name,
        "state": "published" if published else "committed",
        "content": record.state,
        "erasure_index": record.erasure_index,
        "entry": None if record.entry is None else record.entry.hex(),
        "bracket": None if bracket is None or record.head is None else bracket_fields(bracket, record.head.received_us),
        "proved": proved and {"by": proved.by, "size": proved.size, "root": encode_base64(proved.root)},
    }
    event = "null" if text is None else verbatim_json(text)
    return f'{dump_json(fields)[:-1]}, "event": {event}}}'
