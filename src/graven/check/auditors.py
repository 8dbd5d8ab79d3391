"""What auditors sign: challenges, what came of them, and what they looked at on a day."""

from collections.abc import Sequence

from graven.check.signers import add_signers
from graven.check.verdict import Good, Trust
from graven.check.words import Row, counted
from graven.core.challenge import Challenge, open_challenge, signed_by
from graven.core.challenge_answer import ERASED, LOST, MISSING, OPENED, judge, parse_answer
from graven.core.challenge_statement import Statement, open_statement
from graven.core.errors import BadInput, Disproved
from graven.core.note import format_vkey, parse_note
from graven.core.spelling import encode_base64
from graven.core.timestamp import verify_token
from graven.core.timestamp_request import is_response, parse_response
from graven.keys.signature import verify_signature

CHALLENGE, CHALLENGE_ANSWER, CHALLENGE_STATEMENT, AUDIT_STATEMENT = (
    "challenge", "challenge answer", "challenge statement", "audit statement",
)  # fmt: skip
_LISTED_MAX = 10


def check_challenge(data: bytes, trust: Trust) -> Good:
    """Who drew how many indexes from which tree."""
    one, auditor, signed, witnesses = open_challenge(data, trust.auditors, trust.either, verify_signature)
    good = Good(CHALLENGE, checkpoints=[signed])
    good.rows = [
        ("proved", f"{auditor.name} drew {counted(one.count, 'index', 'indexes')} of [{one.start}, {one.end})"),
        ("seed", f"{one.seed_from}: {len(one.seed)} bytes, {_seed_is(one, trust)}"),
    ]
    good.fields = {"auditor": format_vkey(auditor), "start": one.start, "end": one.end, "count": one.count,
                   "seed_from": one.seed_from}  # fmt: skip
    add_signers(good, signed, witnesses, trust)
    return good


def check_challenge_answer(data: bytes, trust: Trust) -> Good:
    """Which of the drawn entries the operator opened."""
    judged = judge(parse_answer(data), trust.auditors, trust.either, verify_signature)
    one = judged.challenge
    good = Good(CHALLENGE_ANSWER, checkpoints=[judged.checkpoint], judged=judged)
    counts = {name: judged.count(name) for name in (OPENED, ERASED, LOST, MISSING)}
    drew = counted(one.count, "index", "indexes")
    good.rows = [("answers", f"{judged.auditor.name}, who drew {drew} of [{one.start}, {one.end})")]
    good.rows += [*counts.items(), *missing_rows(sorted(judged.why.items()))]
    good.fields = {**counts, "auditor": format_vkey(judged.auditor), "start": one.start, "end": one.end,
                   "count": one.count, "missing_indexes": sorted(judged.why)}  # fmt: skip
    add_signers(good, judged.checkpoint, judged.witnesses, trust)
    return good


def check_challenge_statement(data: bytes, trust: Trust) -> Good:
    """What the auditor says came of a challenge; the bound is recomputed."""
    one, auditor = open_statement(data, trust.auditors, verify_signature)
    good = Good(CHALLENGE_STATEMENT, statement=one)
    good.rows = [
        ("says", f"{auditor.name}, of {one.tree.origin} at {counted(one.tree.size, 'entry', 'entries')}, {one.time}"),
        ("drawn", f"{one.count} of [{one.start}, {one.end}), by {one.seed_from}"),
        (OPENED, one.opened), (ERASED, one.erased), (LOST, one.lost), (MISSING, len(one.missing)),
        *missing_rows(one.missing),
        ("bound", bound_line(one)),
        ("not shown", "that it is so: give the answer beside it, and it is judged again"),
    ]  # fmt: skip
    good.fields = {
        "auditor": format_vkey(auditor), "origin": one.tree.origin, "size": one.tree.size,
        "root": encode_base64(one.tree.root), "start": one.start, "end": one.end, "count": one.count,
        "seed_from": one.seed_from, OPENED: one.opened, ERASED: one.erased, LOST: one.lost, MISSING: len(one.missing),
        "missing_indexes": [index for index, _ in one.missing], "bound": one.bound, "time": one.time,
    }  # fmt: skip
    return good


def check_audit_statement(data: bytes, trust: Trust) -> Good:
    """What an auditor says of a day: only the signature is checked, the words are the auditor's."""
    lines = parse_note(data).text.split("\n")
    if len(lines) < 6 or lines[0] != "graven-audit-statement/v1":
        raise BadInput("not a statement of a format known here")
    auditor = signed_by(data, trust.auditors, verify_signature, origin=lines[1])
    good = Good(AUDIT_STATEMENT)
    good.rows = [("says", auditor.name), ("log", lines[1]), ("entries", lines[2]), ("root", lines[3])]
    said: list[Row] = [(word[0], word[2]) for word in (line.partition(" ") for line in lines[4:-1])]
    good.rows += said
    good.fields = {"auditor": format_vkey(auditor), "origin": lines[1], "lines": lines[2:-1]}
    return good


def bound_line(one: Statement) -> str:
    """What a statement bounds, in one sentence."""
    among = one.end - one.start
    return (
        f"at most {one.bound} of {among} entries ({100 * one.bound / among:.3g} %) cannot be opened without an erasure "
        "or a loss on record, at 95 % confidence"
    )


def _seed_is(one: Challenge, trust: Trust) -> str:
    """Whether the seed is provably later than the checkpoint: a time stamp over that very note."""
    try:
        token = parse_response(one.seed) if is_response(one.seed) else one.seed
        stamp = verify_token(token, one.checkpoint, roots=trust.time_roots or None, verify=verify_signature)
    except (BadInput, Disproved):
        return "as the auditor says"
    if not trust.time_roots:
        return "a time stamp over this very checkpoint, its authority not checked (--tsa-root)"
    return f"a time stamp over this very checkpoint by {stamp.authority}, so later than it"


def missing_rows(missing: Sequence[tuple[int, str]]) -> list[Row]:
    """The first of those missing, with the reason."""
    rows: list[Row] = [("", f"index {index}: {why}") for index, why in missing[:_LISTED_MAX]]
    return rows + ([("", f"and {len(missing) - _LISTED_MAX} more")] if len(missing) > _LISTED_MAX else [])
