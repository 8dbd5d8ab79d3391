"""`graven check`: judge evidence, tlog-proofs, receipts and checkpoints offline, against a key or a policy."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from graven.cli.documents import ANSWER_BYTES_MAX, Good, Trust, check_document
from graven.cli.files import read_file
from graven.cli.options import file_argument, json_option, path_option
from graven.cli.output import error_fields, print_error, print_fields, print_json, print_line, shown
from graven.core.checkpoint import SignedCheckpoint, conflicting
from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.note import parse_vkey
from graven.core.policy import parse_policy
from graven.core.receipt import Receipt, check_promise
from graven.core.spelling import encode_base64


@dataclass(slots=True)
class _Verdict:
    """What became of one file: `good`, or why not."""

    name: str
    good: Good | None = None
    error: GravenError | None = None


@click.command("check")
@file_argument("files", "FILE...", nargs=-1)
@click.option("--vkey", "vkeys", multiple=True, metavar="VKEY", help="A verifier key you trust; may be given again.")
@path_option("--policy", "policy", "A tlog-policy file: whom you trust, and how many witnesses it takes.")
@path_option("--events", "events", "What was sent, to be compared with an opened receipt.")
@path_option("--certificate", "certificate", "The certificate of the receipt key, for a receipt without one.")
@click.option("--normalised", is_flag=True, help="The log makes events of what is sent: compare the raws.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    vkeys: tuple[str, ...],
    policy: Path | None,
    events: Path | None,
    certificate: Path | None,
    normalised: bool,
    as_json: bool,
) -> None:
    """Check what a log gave you, without the log and without a network.

    FILE is evidence, a tlog-proof, a receipt (the note, or the whole answer), a certificate or a checkpoint; `-` is
    standard input. Trust comes from --vkey or --policy, never from a file that is checked. Several files are also held
    against each other: two checkpoints of one size and different roots prove that the log forked, and a checkpoint
    against a receipt that its promise was broken.
    """
    trust = _trust(vkeys, policy, events, certificate, normalised)
    verdicts = [_judge(path, trust) for path in files]
    conflicts = _conflicts(verdicts)
    errors: list[GravenError] = [verdict.error for verdict in verdicts if verdict.error is not None]
    errors += conflicts
    if as_json:
        print_json(_as_json(verdicts, conflicts))
    else:
        _print(verdicts, conflicts)
    if errors:
        worst = next((error for error in errors if isinstance(error, Disproved)), errors[0])
        for error in [worst] if as_json else errors:
            print_error(error, as_json=as_json)
        ctx.exit(worst.exit_code)


def _trust(
    vkeys: tuple[str, ...], policy: Path | None, events: Path | None, certificate: Path | None, normalised: bool
) -> Trust:
    if bool(vkeys) is (policy is not None):
        raise BadInput(
            "a check needs a key or a policy that you trust, and only one of the two",
            mend="--vkey VKEY (what `graven vkey` prints, got from the operator by another way), or --policy FILE",
        )
    return Trust(
        keys=tuple(parse_vkey(vkey.strip()) for vkey in vkeys),
        policy=parse_policy(read_file(policy)) if policy is not None else None,
        certificate=read_file(certificate) if certificate is not None else None,
        sent=read_file(events, max_bytes=ANSWER_BYTES_MAX) if events is not None else None,
        normalised=normalised,
    )


def _judge(path: Path, trust: Trust) -> _Verdict:
    name = "standard input" if str(path) == "-" else str(path)
    try:
        return _Verdict(name, good=check_document(read_file(path, max_bytes=ANSWER_BYTES_MAX), trust))
    except GravenError as error:
        error.place = f"{name}: {error.place}" if error.place and error.place != name else name
        return _Verdict(name, error=error)


def _conflicts(verdicts: list[_Verdict]) -> list[Disproved]:
    """What the files prove against each other, each with the names of the two files as its place."""
    found: list[Disproved] = []
    trees: dict[tuple[str, int], tuple[str, SignedCheckpoint]] = {}
    promises: dict[tuple[str, int], tuple[str, Receipt]] = {}
    for name, good in ((verdict.name, verdict.good) for verdict in verdicts if verdict.good is not None):
        for signed in good.checkpoints:
            head = signed.checkpoint
            before = trees.setdefault((head.origin, head.size), (name, signed))
            with _collected(found, before[0], name):
                conflicting(before[1], signed)
        for receipt in good.receipts:
            first = promises.setdefault((receipt.origin, receipt.size), (name, receipt))
            if first[1].root != receipt.root:
                with _collected(found, first[0], name):
                    raise Disproved(
                        f"this log made two promises that cannot both be kept: two trees of size {receipt.size}",
                        expected=f"root {encode_base64(first[1].root)}",
                        found=f"root {encode_base64(receipt.root)}",
                    )
    for tree, (name, receipt) in promises.items():
        if tree in trees:
            with _collected(found, name, trees[tree][0]):
                check_promise(receipt, trees[tree][1])
    return found


@contextmanager
def _collected(found: list[Disproved], one: str, other: str) -> Iterator[None]:
    try:
        yield
    except Disproved as error:
        error.place = f"{one} and {other}"
        found.append(error)


def _print(verdicts: list[_Verdict], conflicts: list[Disproved]) -> None:
    for verdict in verdicts:
        if verdict.good is not None:
            print_line(f"{shown(verdict.name)}: good {verdict.good.kind}")
            print_fields(verdict.good.rows)
        elif isinstance(verdict.error, Disproved):
            print_line(f"{shown(verdict.name)}: NOT GOOD")
        else:
            print_line(f"{shown(verdict.name)}: not checked")
    for error in conflicts:
        print_line(shown(f"{error.place}: {error.what}"))


def _as_json(verdicts: list[_Verdict], conflicts: list[Disproved]) -> dict[str, object]:
    files: list[dict[str, object]] = []
    for verdict in verdicts:
        row: dict[str, object] = {"file": verdict.name, "good": verdict.good is not None}
        if verdict.good is not None:
            row |= {"kind": verdict.good.kind, **verdict.good.fields}
        if verdict.error is not None:
            row["error"] = error_fields(verdict.error)
        files.append(row)
    good = not conflicts and all(verdict.good is not None for verdict in verdicts)
    return {"good": good, "files": files, "conflicts": [error_fields(error) for error in conflicts]}
