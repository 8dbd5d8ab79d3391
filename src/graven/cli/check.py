"""`graven check`: judge evidence, tlog-proofs, receipts and checkpoints offline, against a key or a policy."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from graven.check.receipts import ANSWER_BYTES_MAX
from graven.check.several import Findings, check_files
from graven.check.verdict import Trust
from graven.cli.event_lines import event_rows
from graven.cli.files import read_file, read_time_roots
from graven.cli.options import file_argument, json_option, path_option, tsa_root_option
from graven.cli.output import print_error, print_fields, print_json, print_line, shown
from graven.core.errors import BadInput
from graven.core.note import parse_vkey
from graven.core.policy import parse_policy
from graven.event import split_body


@click.command("check")
@file_argument("files", "FILE...", nargs=-1)
@click.option("--vkey", "vkeys", multiple=True, metavar="VKEY", help="A verifier key you trust; may be given again.")
@path_option("--policy", "policy", "A tlog-policy file: whom you trust, and how many witnesses it takes.")
@path_option("--events", "events", "What was sent, to be compared with an opened receipt.")
@path_option("--certificate", "certificate", "The certificate of the receipt key, for a receipt without one.")
@click.option(
    "--auditor", "auditors", multiple=True, metavar="VKEY", help="The key of an auditor, for what one signed."
)
@click.option(
    "--handover", "handovers", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="A hand-over of the log's keys (/log/handover/1 …), oldest first; may be given again.",
)  # fmt: skip
@tsa_root_option
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
    auditors: tuple[str, ...],
    handovers: tuple[Path, ...],
    tsa_roots: tuple[Path, ...],
    normalised: bool,
    as_json: bool,
) -> None:
    """Check what a log gave you, without the log and without a network.

    FILE is evidence, a signed event, a range, a tlog-proof, a receipt (the note, or the whole answer), a certificate,
    a checkpoint, a prefix, an anchor, or what belongs to a challenge; `-` is standard input. Trust comes from --vkey
    or --policy, and for time stamps from --tsa-root, never from a file that is checked. Several files are also held
    against each other: two checkpoints of one size and different roots prove that the log forked, and a checkpoint
    against a receipt that its promise was broken.
    """
    trust = replace(
        read_trust(vkeys, policy),
        certificate=read_file(certificate) if certificate is not None else None,
        sent=tuple(split_body(read_file(events, max_bytes=ANSWER_BYTES_MAX))) if events is not None else None,
        auditors=tuple(parse_vkey(vkey.strip()) for vkey in auditors),
        normalised=normalised,
        time_roots=read_time_roots(tsa_roots),
        rows=event_rows,
    ).with_handovers(map(read_file, handovers))
    found = check_files(map(str, files), lambda name: read_file(Path(name), max_bytes=ANSWER_BYTES_MAX), trust)
    if as_json:
        print_json(found.as_json())
    else:
        _print(found)
    if (worst := found.worst) is not None:
        for error in [worst] if as_json else found.errors:
            print_error(error, as_json=as_json)
        ctx.exit(worst.exit_code)


def read_trust(vkeys: Sequence[str], policy: Path | None) -> Trust:
    """Whom a reader trusts. Raises BadInput: neither a key nor a policy, both, or one that is none."""
    if bool(vkeys) is (policy is not None):
        raise BadInput(
            "a check needs a key or a policy that you trust, and only one of the two",
            mend="--vkey VKEY (what `graven vkey` prints, got from the operator by another way), or --policy FILE",
        )
    return Trust(
        keys=tuple(parse_vkey(vkey.strip()) for vkey in vkeys),
        policy=parse_policy(read_file(policy)) if policy is not None else None,
    )


def _print(found: Findings) -> None:
    for verdict in found.verdicts:
        print_line(verdict.word)
        if verdict.good is not None:
            print_fields(verdict.good.rows)
    for error in found.conflicts:
        print_line(shown(f"{error.place}: {error.what}"))
