"""`graven receipts`: what a log promised, held against what it publishes today."""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from graven.audit.promises import Verdict, judge
from graven.cli.files import read_file
from graven.cli.options import file_argument, json_option, path_option
from graven.cli.output import counted, print_json, print_line, shown
from graven.core.checkpoint import SignedCheckpoint, open_checkpoint, parse_checkpoint
from graven.core.document import as_object, as_text, parse_document
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.note import MAX_NOTE_BYTES, parse_note, parse_vkey
from graven.core.policy import Succession, log_keys_at
from graven.core.prefix import format_prefix
from graven.core.receipt import Receipt, open_receipt
from graven.core.succession import follow, served
from graven.keys.signature import verify_signature
from graven.runtime.site import FolderSite, HttpSite, Site

_LINE_BYTES_MAX = 256 << 20


@click.group("receipts")
def command() -> None:
    """Hold a log to what it promised."""


@command.command("check")
@file_argument("file", "FILE")
@click.option("--url", metavar="URL", help="Where the log is published: the prefix of `checkpoint` and `tile/`.")
@path_option("--dir", "folder", "A copy of what is published: an auditor's, or a log's `log/`.", metavar="DIR")
@click.option("--vkey", "vkeys", multiple=True, required=True, metavar="VKEY", help="A log key you trust.")
@json_option
@click.pass_context
def check(
    ctx: click.Context, file: Path, url: str | None, folder: Path | None, vkeys: tuple[str, ...], as_json: bool
) -> None:
    """Check that the log published today still keeps every promise in FILE.

    FILE is an answer with `opened`, several of them one a line, or a file that the client keeps. A broken promise is
    printed as proof: the receipt, its certificate, and what the published tree begins with instead.
    """
    if (url is None) is (folder is None):
        raise BadInput("where is the log published?", mend="--url URL or --dir DIR, one of them")
    site: Site = HttpSite(url) if url is not None else FolderSite(folder or Path())
    keys, relied = follow([parse_vkey(vkey.strip()) for vkey in vkeys], served(site.get), verify_signature)
    answers = list(_answers(read_file(file)))
    signed = _published(site, keys)
    tally = {"kept": 0, "undecided": 0, "broken": 0}
    proofs: list[dict[str, object]] = []
    for number, (note, certificate) in enumerate(answers, 1):
        try:
            receipt = open_receipt(note, certificate, keys, verify_signature)
            verdict = judge(receipt, signed, site)
        except (BadInput, Disproved) as error:
            error.place = f"receipt {number}" + (f": {error.place}" if error.place else "")
            raise
        tally[{True: "kept", None: "undecided", False: "broken"}[verdict.kept]] += 1
        if verdict.kept is False:
            proofs.append(_proof(number, receipt, note, certificate, verdict, signed))
    head = signed.checkpoint
    if as_json:
        last_sizes = [one.handover.last for one in relied]
        print_json({"origin": head.origin, "size": head.size, **tally, "proofs": proofs, "handovers": last_sizes})
    else:
        for proof in proofs:
            _print_proof(proof)
        print_line(f"{shown(head.origin)}, {counted(head.size, 'entry', 'entries')}: {tally['kept']} promises kept")
        for one in relied:
            print_line(f"relied on the hand-over of the log's keys at {counted(one.handover.last, 'entry', 'entries')}")
        if tally["undecided"]:
            print_line(f"{tally['undecided']} not decided: the published tree has not reached their size")
    if proofs:
        raise Disproved(f"this log broke {counted(len(proofs), 'promise')}", place=str(file))
    if tally["undecided"]:
        raise Broken("the published tree is smaller than what was promised", place=f"size {head.size}")


def _answers(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The receipt and the certificate of each answer. Raises BadInput."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    try:
        json.loads(lines[0] if lines else b"")
    except ValueError:
        lines = [data]  # one answer on several lines
    for number, line in enumerate(lines, 1):
        place = f"answer {number}"
        document = parse_document(line, max_bytes=_LINE_BYTES_MAX, what=place)
        fields = as_object(document, place, keys=(), more=None)
        answer = as_object(fields.get("answer", fields), place, keys=("receipt", "opened"), more=None)
        opened = as_object(answer["opened"], f"{place}.opened", keys=("certificate",), more=None)
        yield as_text(answer["receipt"], "receipt").encode(), as_text(opened["certificate"], "certificate").encode()


def _published(site: Site, keys: Succession) -> SignedCheckpoint:
    data = site.get("checkpoint", MAX_NOTE_BYTES)
    if data is None:
        raise Broken("no checkpoint is published there", place="checkpoint")
    return open_checkpoint(data, log_keys_at(keys, parse_checkpoint(parse_note(data).text)[0].size), verify_signature)


def _proof(
    number: int, receipt: Receipt, note: bytes, certificate: bytes, verdict: Verdict, signed: SignedCheckpoint
) -> dict[str, object]:
    published = signed.data if verdict.proof is None else format_prefix(verdict.proof)
    return {
        "receipt_number": number,
        "size": receipt.size,
        "receipt": note.decode(),
        "certificate": certificate.decode(),
        "published": published.decode(),
    }


def _print_proof(proof: dict[str, object]) -> None:
    print_line(f"BROKEN PROMISE: receipt {proof['receipt_number']}, of a tree of {proof['size']} entries")
    for name in ("receipt", "certificate", "published"):
        print_line(f"--- {name}")
        for line in str(proof[name]).splitlines():
            print_line(shown(line))
