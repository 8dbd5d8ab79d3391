"""`graven audit range`: the operator opens every head of a range, so that nobody has to believe a count."""

from hashlib import sha256
from pathlib import Path

import click

from graven.app import open_view
from graven.cli.files import write_private
from graven.cli.options import dir_option, json_option, path_option
from graven.cli.output import counted, print_bytes, print_json, print_line, shown
from graven.cli.writing import open_writing
from graven.core.checkpoint import parse_checkpoint
from graven.core.disclosed import Disclosed
from graven.core.errors import BadInput
from graven.core.note import parse_note
from graven.core.range import Opened, OpenedRange, format_range
from graven.core.spelling import encode_base64
from graven.log.acts import DISCLOSURE
from graven.log.disclose import open_range
from graven.log.view import View

TO_CHARS_MAX = 200


@click.command("range")
@click.argument("start", type=click.IntRange(0), metavar="I")
@click.argument("end", type=click.IntRange(1), metavar="J")
@click.option("--source", metavar="S", help="The source it is about, by name or number: its events are counted.")
@dir_option
@click.option("--bodies", is_flag=True, help="Disclose the text of the source's events, too.")
@click.option("--raws", is_flag=True, help="Disclose the raw records of the source's events, too.")
@click.option("--to", "receiver", default="", metavar="WHO", help="Who gets it: recorded with the disclosure.")
@path_option("-o", "output", "Write to this file (mode 0600) instead of standard output.")
@json_option
def command(
    start: int, end: int, source: str | None, directory: Path, bodies: bool, raws: bool, receiver: str,
    output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Open the heads of all entries from I up to, not including, J: proof of how many events of a source there are.

    The document holds every head of the range and proves that none is left out; text is in it only with --bodies. It is
    checked offline with `graven check`. The disclosure is an event of the log before the document is handed over.
    """
    check_receiver(receiver)
    with open_view(directory) as view:
        number = source_number(view, source)
        if number is None and (bodies or raws):
            raise BadInput("bodies of every source", mend="--source NAME: text is disclosed of one source only")
        found = open_range(view, start, end, source=number, bodies=bodies, raws=raws)
    data = format_range(found)
    head, _ = parse_checkpoint(parse_note(found.checkpoint).text)
    disclosed = _disclosed(found)
    with open_writing(directory) as log:
        act = {
            "what": "range", "start": start, "end": end, "source": number, **disclosed,
            "size": head.size, "root": encode_base64(head.root), "sha256": sha256(data).hexdigest(), "to": receiver,
        }  # fmt: skip
        recorded_at = log.record_act(DISCLOSURE, act)["index"]
    to_file = output is not None and str(output) != "-"
    if to_file:
        assert output is not None
        write_private(output, data)
    if as_json:
        file, text = (str(output), None) if to_file else (None, data.decode())
        print_json({"start": start, "end": end, "source": number, "recorded_at": recorded_at, "file": file,
                    "text": text, "size": head.size, "root": encode_base64(head.root), **disclosed})  # fmt: skip
    elif to_file:
        entries = counted(end - start, "entry", "entries")
        print_line(f"wrote {shown(output)}: {entries}, proved at size {head.size}; recorded at index {recorded_at}")
    else:
        print_bytes(data)


def source_number(view: View, source: str | None) -> int | None:
    """The number of a source given by name or number. Raises BadInput: the log has none of this name."""
    if source is None:
        return None
    numbers = {name: number for number, name in view.registers().source_names().items()}
    if source in numbers:
        return numbers[source]
    if source.isdecimal() and source.isascii() and int(source) in numbers.values():
        return int(source)
    raise BadInput(f"the log has no source {source!r}", mend="its name or number: graven source list")


def check_receiver(receiver: str) -> None:
    """Raises BadInput for what should not stand in an event."""
    if len(receiver) > TO_CHARS_MAX or not receiver.isprintable():
        raise BadInput(f"--to takes at most {TO_CHARS_MAX} printable characters")


def _disclosed(found: OpenedRange) -> dict[str, int]:
    opened = [one for one in found.entries if isinstance(one, Opened)]
    return {
        "heads": len(opened),
        "events": sum(isinstance(one.event, Disclosed) for one in opened),
        "raws": sum(isinstance(one.raw, Disclosed) for one in opened),
    }
