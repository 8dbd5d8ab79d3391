"""When an event was sequenced, as a check tells it: between which times, by whose word."""

from collections.abc import Sequence

from graven.check.signers import add_signers
from graven.check.verdict import Good, Trust
from graven.check.words import Row, counted
from graven.core.anchored import parse_anchor
from graven.core.bracket import Bound, Bracket, verify_bracket, verify_range_bracket
from graven.core.errors import BadInput
from graven.core.evidence import Verified
from graven.core.policy import open_trusted
from graven.core.range import VerifiedRange
from graven.core.spelling import encode_base64
from graven.core.timestamp import verify_token
from graven.keys.signature import verify_signature
from graven.runtime.clock import rfc3339

ANCHOR = "anchor"
SLACK_US = 5_000_000
"""How far the log's clock may lie outside the bracket before it is worth a word."""


def add_bracket(good: Good, found: Verified, trust: Trust) -> None:
    """The anchors of evidence. Raises Disproved, BadInput as `verify_bracket`."""
    bracket = verify_bracket(found, trust.either, trust.time_roots, verify_signature)
    good.rows += bracket_rows(bracket, found.head.received_us)
    good.fields |= bracket_fields(bracket, found.head.received_us)


def add_range_bracket(good: Good, found: VerifiedRange, trust: Trust) -> None:
    """The anchors of a range: they bound every event in it. Raises as `add_bracket`."""
    bracket = verify_range_bracket(found, trust.either, trust.time_roots, verify_signature)
    received_us = [head.received_us for head in (found.first, found.last) if head is not None]
    good.rows += bracket_rows(bracket, *received_us)
    good.fields |= bracket_fields(bracket, *received_us)


def bracket_rows(bracket: Bracket, *received_us: int) -> list[Row]:
    """For people. `received_us`: what the log's clock said."""
    rows: list[Row] = []
    if bracket.lower is not None:
        rows.append(("sequenced", f"after {_told(bracket.lower)}"))
    if bracket.upper is not None:
        rows.append(("" if rows else "sequenced", f"before {_told(bracket.upper)}"))
    if bracket.contradicts:
        rows.append(("caution", "these cannot both be true: a clock is wrong, or somebody lies"))
    elif not _holds(bracket, received_us):
        rows.append(("caution", "the time the log states for receiving it lies outside"))
    rows += [("not checked", what) for what in bracket.unchecked]
    return rows


def bracket_fields(bracket: Bracket, *received_us: int) -> dict[str, object]:
    """For programs."""
    return {
        "after": [_fields(bound) for bound in bracket.after],
        "before": [_fields(bound) for bound in bracket.before],
        "anchors_not_checked": list(bracket.unchecked),
        "anchors_contradict": bracket.contradicts,
        "received_within": _holds(bracket, received_us),
    }


def check_anchor(data: bytes, trust: Trust) -> Good:
    """A stored anchor alone: a checkpoint, and the time it existed. Raises Disproved, BadInput."""
    anchored = parse_anchor(data)
    if anchored.hashes:
        raise BadInput("an anchor with a proof belongs in evidence")
    signed, witnesses = open_trusted(anchored.checkpoint, trust.either, verify_signature)
    head = signed.checkpoint
    good = Good(ANCHOR, checkpoints=[signed])
    size = counted(head.size, "entry", "entries")
    good.rows = [("proved", f"{head.origin} signed a tree of {size}"), ("root", encode_base64(head.root))]
    if anchored.token is not None:
        if not trust.time_roots:
            raise BadInput("a time stamp is believed by its authority's root", mend="--tsa-root FILE")
        stamp = verify_token(anchored.token, anchored.checkpoint, roots=trust.time_roots, verify=verify_signature)
        good.rows.append(("existed", f"before {rfc3339(stamp.latest_us)}, says {stamp.authority} (under {stamp.root})"))
        good.rows.append(("certificate", f"ends {rfc3339(stamp.expires_us)}"))
        good.fields = {
            "stamped": rfc3339(stamp.time_us), "latest": rfc3339(stamp.latest_us), "authority": stamp.authority,
            "authority_root": stamp.root, "expires": rfc3339(stamp.expires_us),
        }  # fmt: skip
    add_signers(good, signed, witnesses, trust)
    return good


def _holds(bracket: Bracket, received_us: Sequence[int]) -> bool:
    return all(bracket.holds(time_us, slack_us=SLACK_US) for time_us in received_us)


def _told(bound: Bound) -> str:
    what = "a time stamp" if bound.expires_us is not None else "a cosignature"
    if bound.index is not None:
        return f"{rfc3339(bound.time_us)}, by {bound.by} ({what}, in the log as event {bound.index})"
    return f"{rfc3339(bound.time_us)}, by {bound.by} ({what} over a tree of {counted(bound.size, 'entry', 'entries')})"


def _fields(bound: Bound) -> dict[str, object]:
    return {
        "time": rfc3339(bound.time_us), "by": bound.by, "type": bound.type, "size": bound.size, "index": bound.index,
        "expires": None if bound.expires_us is None else rfc3339(bound.expires_us),
    }  # fmt: skip
