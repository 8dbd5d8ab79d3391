"""`graven challenge`: an auditor draws indexes by lot, the operator opens them, the auditor says what that bounds."""

import datetime
from contextlib import closing
from pathlib import Path

import click

from graven.app import open_view
from graven.audit.statement import StatementKey
from graven.check.auditors import bound_line, missing_rows
from graven.cli.audit_range import check_receiver
from graven.cli.check import read_trust
from graven.cli.files import read_file, write_private
from graven.cli.options import dir_option, file_argument, json_option, path_option
from graven.cli.output import counted, print_fields, print_json, print_line, shown
from graven.cli.writing import open_writing
from graven.client.refusals import error_of
from graven.client.transport import Transport
from graven.config import read_environment
from graven.core.challenge import (
    COUNT_MAX,
    SEED_BYTES_MAX,
    Challenge,
    draw,
    format_challenge,
    open_challenge,
    parse_challenge,
)
from graven.core.challenge_answer import (
    ERASED,
    LOST,
    MAX_ANSWER_BYTES,
    MISSING,
    OPENED,
    ChallengeAnswer,
    Judged,
    format_answer,
    judge,
    parse_answer,
)
from graven.core.challenge_statement import format_statement, make_statement
from graven.core.errors import BadInput, Disproved
from graven.core.note import parse_vkey
from graven.core.policy import open_trusted
from graven.keys.signature import verify_signature
from graven.log.acts import DISCLOSURE
from graven.log.disclose import answer_challenge, challenge_act
from graven.runtime.clock import US_PER_S, SystemClock

ANSWER_S = 120.0
"""How long a server's answer to a challenge is waited for."""

_vkeys = click.option("--vkey", "vkeys", multiple=True, metavar="VKEY", help="A verifier key of the log.")
_policy = path_option("--policy", "policy", "A tlog-policy file: whom you trust, and how many witnesses it takes.")
_key = click.option(
    "--key", type=click.Path(path_type=Path), required=True, metavar="FILE",
    help="The auditor's key (graven audit init-key).",
)  # fmt: skip


@click.group("challenge")
def command() -> None:
    """Can a log still open what it committed to? Indexes are drawn by lot, so that nobody chooses them.

    The auditor draws from a signed checkpoint and a seed that came later, the operator answers, the auditor judges and
    signs what came of it. The three steps pass files, so they work across any gap.
    """


@command.command("draw")
@file_argument("checkpoint", "CHECKPOINT")
@click.option("--count", type=click.IntRange(1, COUNT_MAX), required=True, metavar="K", help="How many to draw.")
@click.option("--seed", "seed_hex", metavar="HEX", help="The seed, in hex.")
@path_option("--seed-file", "seed_file", "The seed: all bytes of this file, a timestamp token say.")
@click.option("--seed-from", required=True, metavar="TEXT", help="Where the seed came from, for others to look up.")
@click.option("--range", "span", nargs=2, type=click.IntRange(0), metavar="I J", help="Draw from [I, J) only.")
@_key
@_vkeys
@_policy
@click.option(
    "-o", "output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="A new file for the draw."
)
@json_option
def draw_(
    checkpoint: Path, count: int, seed_hex: str | None, seed_file: Path | None, seed_from: str,
    span: tuple[int, int] | None, key: Path, vkeys: tuple[str, ...], policy: Path | None, output: Path, as_json: bool,
) -> None:  # fmt: skip
    """Draw K indexes from the tree of CHECKPOINT, and sign the draw.

    The seed must be something that nobody knew when the checkpoint was signed and nobody could choose: a timestamp
    token over that very checkpoint, a public lottery, a beacon. A draw is made once: an existing FILE is refused.
    """
    data = read_file(checkpoint)
    signed, witnesses = open_trusted(data, read_trust(vkeys, policy).either, verify_signature)
    start, end = span or (0, signed.checkpoint.size)
    one = Challenge(start, end, count, _seed(seed_hex, seed_file), seed_from, data)
    signer = _signer(key, one)
    write_private(output, signer.sign(format_challenge(one)), replace=False)
    indexes = draw(one.seed, start=start, end=end, count=count)
    if as_json:
        print_json({"origin": signed.checkpoint.origin, "size": signed.checkpoint.size, "start": start, "end": end,
                    "count": count, "indexes": indexes, "witnesses": list(witnesses), "file": str(output)})  # fmt: skip
    else:
        print_line(f"wrote {shown(output)}: {counted(count, 'index', 'indexes')} of [{start}, {end})")
        print_line(" ".join(map(str, indexes)))


@command.command("answer")
@file_argument("challenge", "CHALLENGE")
@dir_option
@click.option(
    "--auditor", "auditors", multiple=True, required=True, metavar="VKEY",
    help="Whose challenges are answered; may be given again.",
)  # fmt: skip
@click.option("--to", "receiver", default="", metavar="WHO", help="Who gets it: recorded with the disclosure.")
@click.option(
    "-o", "output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Write it here (mode 0600)."
)
@json_option
def answer(
    challenge: Path, directory: Path, auditors: tuple[str, ...], receiver: str, output: Path, as_json: bool
) -> None:
    """Open the entries that CHALLENGE draws, for the operator: event and raw, or their erasure, or their loss.

    The disclosure is an event of the log before the answer is written. What this log cannot open is left out.
    """
    check_receiver(receiver)
    data = read_file(challenge)
    with open_view(directory) as view:
        found = answer_challenge(view, data, [parse_vkey(vkey) for vkey in auditors])
        judged = judge(found, [parse_vkey(vkey) for vkey in auditors], view.keys, verify_signature)
    document = format_answer(found)
    act = challenge_act(found, judged, document, receiver=receiver)
    with open_writing(directory) as log:
        recorded_at = log.record_act(DISCLOSURE, act)["index"]
    write_private(output, document)
    counts = _counts(judged)
    if as_json:
        print_json({**counts, "missing_indexes": sorted(judged.why), "recorded_at": recorded_at, "file": str(output)})
    else:
        print_line(f"wrote {shown(output)}; recorded at index {recorded_at}")
        print_fields([*counts.items(), *missing_rows(sorted(judged.why.items()))])


@command.command("ask")
@file_argument("challenge", "CHALLENGE")
@click.option("--url", required=True, metavar="URL", help="The log's server: https://HOST[:PORT].")
@path_option("--token-file", "token_file", "A file with a token of the scope `challenge`; else GRAVEN_TOKEN.")
@path_option("--ca-file", "ca_file", "PEM file of the only authorities to trust for HTTPS.")
@click.option("--allow-http", is_flag=True, help="Plain HTTP to another machine: token and events travel in clear.")
@click.option(
    "-o", "output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Write it here (mode 0600)."
)
@json_option
def ask(
    challenge: Path, url: str, token_file: Path | None, ca_file: Path | None, allow_http: bool, output: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Send CHALLENGE to the log's server, for the auditor, and keep what it answers. Then judge it.

    The server answers auditors its operator named ([server] auditors), at most 1,000 entries at a time, and has put it
    on record before. No answer at all is judged, too: every index is missing.
    """
    data = read_file(challenge)
    parse_challenge(data)
    token = None if token_file is not None else read_environment().token
    if token is None and token_file is None:
        raise BadInput("no token", mend="--token-file FILE, or GRAVEN_TOKEN")
    transport = Transport(
        url, token=token, token_file=token_file, ca_file=ca_file, timeout_s=ANSWER_S, allow_http=allow_http
    )
    with closing(transport):
        reply = transport.ask(
            "POST", "/api/v1/challenges", body=data, headers={"Content-Type": "text/plain; charset=utf-8"},
            answer_bytes_max=MAX_ANSWER_BYTES,
        )  # fmt: skip
    if reply.status != 200:
        raise error_of(reply, f"POST {transport.url}/api/v1/challenges")
    found = parse_answer(reply.data)
    if found.challenge != data:
        raise Disproved("the answer is to another challenge", place=transport.url)
    write_private(output, reply.data)
    if as_json:
        print_json({"file": str(output), "answers": len(found.answers), "bytes": len(reply.data)})
    else:
        print_line(f"wrote {shown(output)}: {counted(len(found.answers), 'entry', 'entries')}; now judge it")


@command.command("judge")
@file_argument("challenge", "CHALLENGE")
@path_option("--answer", "answer_file", "What the operator answered; without it every index is missing.")
@_key
@_vkeys
@_policy
@click.option(
    "-o", "output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="A new file for the statement."
)
@json_option
def judge_(
    challenge: Path, answer_file: Path | None, key: Path, vkeys: tuple[str, ...], policy: Path | None, output: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Judge the answer to CHALLENGE, and sign a statement of what came of it and what that bounds.

    The statement is written whatever came of it. Ends with 1 when an entry could not be opened and neither its erasure
    nor its loss was on record before the draw.
    """
    data = read_file(challenge)
    trust = read_trust(vkeys, policy)
    signer = StatementKey(key)
    one, _, _, _ = open_challenge(data, [signer.key], trust.either, verify_signature)
    _signer(key, one)
    document = read_file(answer_file, max_bytes=MAX_ANSWER_BYTES) if answer_file is not None else None
    found = parse_answer(document) if document is not None else ChallengeAnswer(data, ())
    if found.challenge != data:
        raise Disproved("the answer is to another challenge", place=str(answer_file))
    judged = judge(found, [signer.key], trust.either, verify_signature)
    now = datetime.datetime.fromtimestamp(SystemClock().now_us() // US_PER_S, datetime.UTC)
    statement = make_statement(judged, challenge=data, answer=document, time=now.strftime("%Y-%m-%dT%H:%M:%SZ"))
    write_private(output, signer.sign(format_statement(statement)), replace=False)
    if as_json:
        print_json({**_counts(judged), "among": one.end - one.start, "count": one.count, "bound": statement.bound,
                    "missing_indexes": [index for index, _ in statement.missing], "file": str(output)})  # fmt: skip
    else:
        print_line(f"wrote {shown(output)}")
        print_fields([*_counts(judged).items(), ("bound", bound_line(statement)), *missing_rows(statement.missing)])
    if statement.missing:
        raise Disproved(
            f"{counted(len(statement.missing), 'drawn entry', 'drawn entries')} could not be opened",
            place=f"index {statement.missing[0][0]}", mend="ask the operator; the statement names each",
        )  # fmt: skip


def _seed(seed_hex: str | None, seed_file: Path | None) -> bytes:
    if (seed_hex is None) is (seed_file is None):
        raise BadInput("a draw needs one seed", mend="--seed HEX or --seed-file FILE")
    if seed_file is not None:
        return read_file(seed_file, max_bytes=SEED_BYTES_MAX)
    assert seed_hex is not None
    try:
        return bytes.fromhex(seed_hex)
    except ValueError:
        raise BadInput("the seed is not hex", mend="--seed-file FILE takes bytes of any kind") from None


def _signer(key: Path, one: Challenge) -> StatementKey:
    signer = StatementKey(key)
    if signer.key.name == one.tree.origin:
        raise BadInput("the auditor's key has the name of the log", mend="make one with a name of your own")
    return signer


def _counts(judged: Judged) -> dict[str, int]:
    return {name: judged.count(name) for name in (OPENED, ERASED, LOST, MISSING)}
