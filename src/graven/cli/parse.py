"""`graven parse`: what would be stored of a file of other programs' records, without storing it."""

import sys
from pathlib import Path

import click

from graven.app import build_pipeline
from graven.cli.files import READ_BYTES_MAX, read_file
from graven.cli.options import file_argument, json_option, path_option
from graven.cli.output import counted, dump_json, print_bytes, print_line, shown, verbatim_json
from graven.config import load_config
from graven.core.errors import BadInput
from graven.core.spelling import encode_base64
from graven.ingest import Normalised, Pipeline, Record, split_records
from graven.ingest.protocol.compressed import decompress

_ENCODINGS = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_RUN_RECORDS = 1000


@click.command("parse")
@file_argument("file", "FILE")
@click.option("--type", "type_", default="", metavar="TYPE", help="The source type; detected where it is not stated.")
@path_option("--config", "config_file", "A graven.toml: its mappings and its rules of redaction count.")
@json_option
def command(file: Path, type_: str, config_file: Path | None, as_json: bool) -> None:
    """Print the events that would be stored of FILE, one a line, and store nothing (`-`: standard input).

    FILE holds records of other programs: NDJSON, a JSON array, lines of text, or what producers put records into
    (CloudTrail's Records, a Kubernetes EventList, a CSV export of Purview, …), compressed with gzip or Zstandard or
    not. A record that cannot be read shows as the quarantined event that would be stored. How many there are, and of
    which types, goes to standard error.
    """
    pipeline = build_pipeline(load_config(config_file) if config_file is not None else None)
    if type_ and type_ not in pipeline.types:
        raise BadInput(f"the source type {type_[:64]!r} is not known", mend="one of " + ", ".join(pipeline.types))
    body = _clear(read_file(file))
    records = split_records(body, type_)
    if not records:
        raise BadInput("the file holds no record", place=str(file))
    if as_json:
        made = [one for piece in _pieces(records) for one in pipeline.run(piece)]
        print_line(dump_json({"records": len(records), "events": [_fields(one) for one in made]}))
        return
    _print(records, pipeline)


def _print(records: list[Record], pipeline: Pipeline) -> None:
    types: dict[str, int] = {}
    events = quarantined = 0
    terminal = sys.stdout.isatty()
    for piece in _pieces(records):
        for one in pipeline.run(piece):
            events += 1
            quarantined += bool(one.quarantined)
            types[one.type] = types.get(one.type, 0) + 1
            if terminal:
                print_line(verbatim_json(one.event.decode()))
            else:
                print_bytes(one.event + b"\n")
    told = ", ".join(f"{name} {count}" for name, count in types.items())
    counts = f"{counted(len(records), 'record')}, {counted(events, 'event')}, {quarantined} quarantined"
    click.echo(shown(f"graven: {counts}: {told}"), err=True)


def _fields(one: Normalised) -> dict[str, object]:
    """An event as a program wants to see it; `event_text` is the bytes that would be committed to."""
    return {
        "type": one.type,
        "id": one.id,
        "quarantined": one.quarantined or None,
        "redacted": one.redacted,
        "event_text": one.event.decode(),
        "raw": None if one.raw is None else encode_base64(one.raw),
    }


def _pieces(records: list[Record]) -> list[list[Record]]:
    return [records[at : at + _RUN_RECORDS] for at in range(0, len(records), _RUN_RECORDS)]


def _clear(data: bytes) -> bytes:
    encoding = next((name for start, name in _ENCODINGS if data.startswith(start)), None)
    if encoding is None:
        return data
    clear = decompress(data, encoding, bytes_max=READ_BYTES_MAX)
    if clear is None:
        raise BadInput(f"the file has more than {READ_BYTES_MAX} bytes, decompressed")
    return clear
