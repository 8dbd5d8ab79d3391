"""`graven-verify`: the checks of `graven check` behind a command line that needs the standard library only.

Exit codes: 0 good; 1 disproved; 2 wrong input; 3 something failed here.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from graven.check.receipts import ANSWER_BYTES_MAX
from graven.check.several import Findings, check_files
from graven.check.verdict import Trust
from graven.check.words import dump_json, error_fields, lines_of, shown
from graven.core.errors import BadInput, GravenError
from graven.core.note import parse_vkey
from graven.core.policy import parse_policy
from graven.core.x509 import MAX_PEM_BYTES, parse_certificates
from graven.runtime.files import read_file

_USAGE = (
    "graven-verify FILE... (--vkey VKEY... | --policy FILE) [--tsa-root FILE]... [--auditor VKEY]... "
    "[--handover FILE]... [--events FILE] "
    "[--json]"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the files that the arguments name; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if callable(reconfigure := getattr(stream, "reconfigure", None)):
            reconfigure(errors="backslashreplace")
    asked = _parser().parse_args(arguments)
    try:
        found = check_files(asked.files, lambda name: read_file(Path(name), max_bytes=ANSWER_BYTES_MAX), _trust(asked))
    except GravenError as error:
        _tell(error, as_json=asked.json)
        return error.exit_code
    if asked.json:
        print(dump_json(found.as_json()))
    else:
        _print(found)
    worst = found.worst
    if worst is None:
        return 0
    for one in [worst] if asked.json else found.errors:
        _tell(one, as_json=asked.json)
    return worst.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "graven-verify", usage=_USAGE, allow_abbrev=False,
        description="Check what a log gave you, without the log and without a network. The kind of a FILE is read off "
        "its content; several are also held against each other. Trust comes from --vkey or --policy, never from a file "
        "that is checked.",
    )  # fmt: skip
    parser.add_argument("files", nargs="+", metavar="FILE", help="what to check; - is standard input")
    parser.add_argument("--vkey", action="append", default=[], help="a verifier key you trust; may be given again")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="a tlog-policy file: whom you trust")
    parser.add_argument(
        "--tsa-root", action="append", default=[], type=Path, metavar="FILE",
        help="certificates that a time authority may lead to (PEM); may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--auditor", action="append", default=[], metavar="VKEY", help="the key of an auditor, for what one signed"
    )
    parser.add_argument(
        "--events", type=Path, metavar="FILE", help="what was sent, one event a line, for an opened receipt"
    )
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="the certificate of the receipt key")
    parser.add_argument(
        "--handover", action="append", default=[], type=Path, metavar="FILE",
        help="a hand-over of the log's keys, as it publishes them; oldest first, may be given again",
    )  # fmt: skip
    parser.add_argument("--normalised", action="store_true", help="the log makes events of what is sent")
    parser.add_argument("--json", action="store_true", help="print one JSON object; an error is one, too")
    parser.add_argument("--version", action="version", version=f"graven-verify {_version()}")
    return parser


def _trust(asked: argparse.Namespace) -> Trust:
    if bool(asked.vkey) is (asked.policy is not None):
        raise BadInput(
            "a check needs a key or a policy that you trust, and only one of the two",
            mend="--vkey VKEY, got from the operator by another way than the file, or --policy FILE",
        )
    return Trust(
        keys=tuple(parse_vkey(vkey.strip()) for vkey in asked.vkey),
        policy=parse_policy(read_file(asked.policy, max_bytes=1 << 20)) if asked.policy is not None else None,
        certificate=read_file(asked.certificate, max_bytes=1 << 20) if asked.certificate is not None else None,
        sent=_lines(read_file(asked.events, max_bytes=ANSWER_BYTES_MAX)) if asked.events is not None else None,
        auditors=tuple(parse_vkey(vkey.strip()) for vkey in asked.auditor),
        normalised=asked.normalised,
        time_roots=tuple(
            one for path in asked.tsa_root for one in parse_certificates(read_file(path, max_bytes=MAX_PEM_BYTES))
        ),
    ).with_handovers(read_file(path, max_bytes=1 << 23) for path in asked.handover)


def _lines(data: bytes) -> tuple[bytes, ...]:
    """NDJSON as the events in it, verbatim from { to }. Raises BadInput for anything else."""
    events = tuple(line.strip(b" \t\r") for line in data.split(b"\n") if line.strip(b" \t\r"))
    for number, event in enumerate(events, 1):
        if event[:1] != b"{" or event[-1:] != b"}":
            raise BadInput("not one event a line", place=f"event {number}", mend="NDJSON; `graven check` takes more")
    return events


def _print(found: Findings) -> None:
    for verdict in found.verdicts:
        print(verdict.word)
        if verdict.good is not None:
            print(*lines_of(verdict.good.rows), sep="\n")
    for error in found.conflicts:
        print(shown(f"{error.place}: {error.what}"))


def _tell(error: GravenError, *, as_json: bool) -> None:
    line = dump_json({"error": error_fields(error)}) if as_json else f"graven-verify: {shown(error)}"
    print(line, file=sys.stderr)


def _version() -> str:
    try:
        return version("graven-verify")
    except PackageNotFoundError:  # run from the source tree, or where Graven itself is installed
        return version("graven")
