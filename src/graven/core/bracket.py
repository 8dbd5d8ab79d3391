"""When an event was sequenced: between which times, by whose word. Pure; from evidence and what the reader trusts.

    before   the earliest word on a tree that holds the event: a time stamp or cosignature over a checkpoint whose size
             is larger than its index, and whose tree the evidence's tree begins with
    after    the latest word that is **in the log** below it: an event of source 0 at a smaller index that holds a time
             stamp or cosignatures. Their bytes did not exist earlier, so the event behind them was sequenced later

A range has one bracket: `after` of its first event, `before` of its last, so of every one in it.

An old checkpoint can be stamped late: a stamp over a tree that does not hold the event is no lower bound, and moves
nothing. Stamps count under the roots the reader gives, cosignatures by the witnesses of the reader's policy; anything
else is told in `unchecked`, and believed by nobody. A stamp that is trusted and wrong raises.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from graven.core.anchored import COSIGNATURE, EVENT, RFC3161, Anchored, parse_anchor, read_anchor_event
from graven.core.checkpoint import Checkpoint, SignedCheckpoint, format_checkpoint, message_to_sign, open_checkpoint
from graven.core.errors import BadInput, Disproved, NotSigned
from graven.core.evidence import Anchor, Verified, parse_evidence, verify_evidence
from graven.core.merkle import verify_consistency
from graven.core.note import Key, Note, VerifySignature, open_note, parse_note
from graven.core.policy import Policy, Succession, Trust, log_keys_at, shown
from graven.core.range import VerifiedRange
from graven.core.timestamp import Stamp, verify_stamped, verify_token
from graven.core.timestamp_token import parse_token
from graven.core.x509 import Certificate, NotTrusted

SECOND_US = 1_000_000
SELF_SOURCE = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """One word on time. `time_us` is what it bounds by: of `after` the earliest moment it can mean, of `before` the
    latest. `size` is of the tree it is over; `index` that of the event that holds it (of `after` only)."""

    time_us: int
    by: str
    type: str
    size: int
    index: int | None = None
    expires_us: int | None = None
    """When the certificate of a stamp ends."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """All words found, the tightest first; and what could not be checked, and why."""

    after: tuple[Bound, ...]
    before: tuple[Bound, ...]
    unchecked: tuple[str, ...]

    @property
    def lower(self) -> Bound | None:
        return self.after[0] if self.after else None

    @property
    def upper(self) -> Bound | None:
        return self.before[0] if self.before else None

    @property
    def contradicts(self) -> bool:
        """Whether the words cannot all be true: somebody's clock is wrong, or somebody lies."""
        return bool(self.after and self.before) and self.after[0].time_us > self.before[0].time_us

    def holds(self, time_us: int, *, slack_us: int = 0) -> bool:
        """Whether a moment lies within, give or take `slack_us`."""
        return not (
            (self.after and time_us < self.after[0].time_us - slack_us)
            or (self.before and time_us > self.before[0].time_us + slack_us)
        )


def verify_bracket(found: Verified, trust: Trust, roots: Sequence[Certificate], verify: VerifySignature) -> Bracket:
    """When the event of `found` was sequenced. `trust` is what it was verified by; `roots` are of time authorities.

    Raises Disproved: an anchor of somebody trusted does not hold. BadInput: one that cannot be read.
    """
    return _verify(_Span(found.index, found.index, found.checkpoint, found.anchors), trust, roots, verify)


def verify_range_bracket(
    found: VerifiedRange, trust: Trust, roots: Sequence[Certificate], verify: VerifySignature
) -> Bracket:
    """When the events of a range were sequenced, all of them. Otherwise as `verify_bracket`."""
    return _verify(_Span(found.start, found.end - 1, found.checkpoint, found.anchors), trust, roots, verify)


@dataclass(frozen=True, slots=True)
class _Span:
    """What is bounded: the events `first` to `last`, proved under a checkpoint, and the anchors that came along."""

    first: int
    last: int
    checkpoint: SignedCheckpoint
    anchors: tuple[Anchor, ...]


def _verify(span: _Span, trust: Trust, roots: Sequence[Certificate], verify: VerifySignature) -> Bracket:
    judge = _Judge(span, trust, roots, verify)
    judge.take_cosignatures(span.checkpoint.checkpoint, span.checkpoint.note, None)
    for number, anchor in enumerate(span.anchors):
        try:
            judge.take(anchor.type, anchor.data)
        except (BadInput, Disproved) as error:
            place = f"anchors[{number}]"
            error.place = f"{place}: {error.place}" if error.place else place
            raise
    after = sorted(set(judge.after), key=lambda bound: (-bound.time_us, bound.by))
    before = sorted(set(judge.before), key=lambda bound: (bound.time_us, bound.by))
    return Bracket(tuple(after), tuple(before), tuple(dict.fromkeys(judge.unchecked)))


class _Judge:
    def __init__(self, span: _Span, trust: Trust, roots: Sequence[Certificate], verify: VerifySignature) -> None:
        self._span, self._trust, self._roots, self._verify = span, trust, roots, verify
        given = trust.trust if isinstance(trust, Succession) else trust
        self._witnesses: dict[Key, str] = {}
        if isinstance(given, Policy):
            self._witnesses = {witness.key: witness.name for witness in given.witnesses}
        self.after: list[Bound] = []
        self.before: list[Bound] = []
        self.unchecked: list[str] = []

    def take(self, kind: str, data: bytes) -> None:
        if kind == EVENT:
            self._take_event(data)
        elif kind in (RFC3161, COSIGNATURE):
            self._take_anchored(kind, parse_anchor(data))
        else:
            self.unchecked.append("an anchor of a type that is not known here")

    def take_cosignatures(self, head: Checkpoint, note: Note, index: int | None) -> None:
        """The good lines by witnesses of the policy over a tree; within an event at `index` they bound from below."""
        if not self._witnesses:
            return
        keys = list(self._witnesses)
        lines = [line for line in note.signatures if any((k.name, k.id) == (line.name, line.key_id) for k in keys)]
        if not lines:
            return
        for signed in open_note(Note(note.text, tuple(lines)), keys, self._verify, message=_message):
            if signed.time is None:
                continue
            by = f"witness {shown(self._witnesses[signed.key])}"
            if index is not None:
                self.after.append(Bound(signed.time * SECOND_US, by, COSIGNATURE, head.size, index))
            else:
                self.before.append(Bound((signed.time + 1) * SECOND_US, by, COSIGNATURE, head.size))

    def _take_anchored(self, kind: str, anchored: Anchored) -> None:
        head, tree = anchored.head, self._span.checkpoint.checkpoint
        if anchored.type != kind:
            raise BadInput("an anchor that is of another type than it is called")
        if head.origin != tree.origin:
            raise Disproved("an anchor of another log", expected=tree.origin, found=head.origin)
        if head.size <= self._span.last:
            self.unchecked.append("an anchor over a tree that does not hold the event: it bounds nothing")
            return
        if head.size > tree.size:
            raise BadInput("an anchor over a larger tree than the evidence is proved in")
        try:
            open_checkpoint(anchored.checkpoint, log_keys_at(self._trust, head.size), self._verify)
        except NotSigned:
            self.unchecked.append("an anchor over a checkpoint that none of the log's keys trusted here signed")
            return
        verify_consistency(anchored.hashes, old=head.size, new=tree.size, old_root=head.root, new_root=tree.root)
        if anchored.token is None:
            if not self._witnesses:
                self.unchecked.append("cosignatures: give a policy that names the witnesses")
            self.take_cosignatures(head, parse_note(anchored.checkpoint), None)
            return
        stamp = self._stamp(anchored.token, anchored.checkpoint)
        if stamp is not None:
            self.before.append(Bound(stamp.latest_us, stamp.authority, RFC3161, head.size, expires_us=stamp.expires_us))

    def _take_event(self, data: bytes) -> None:
        evidence = parse_evidence(data)
        if evidence.anchors:
            raise BadInput("the evidence of an anchor's event holds anchors itself")
        if evidence.index >= self._span.first:
            raise BadInput("the event of an anchor that does not stand below the event it is to bound")
        found = verify_evidence(evidence, trust=self._trust, verify=self._verify)
        if found.checkpoint.checkpoint != self._span.checkpoint.checkpoint:
            raise Disproved("the event of an anchor is proved in another tree than the event it is to bound")
        if found.head.source != SELF_SOURCE or found.event is None:
            raise Disproved("an anchor's event that is not one of the log's own, or not shown")
        held = read_anchor_event(found.event)
        if held.token is None:
            text = format_checkpoint(Checkpoint(found.checkpoint.checkpoint.origin, held.size, held.root))
            if not self._witnesses:
                self.unchecked.append("cosignatures: give a policy that names the witnesses")
            elif held.lines:
                note = parse_note("".join((text, "\n", *(f"{line}\n" for line in held.lines))).encode())
                self.take_cosignatures(
                    Checkpoint(found.checkpoint.checkpoint.origin, held.size, held.root), note, found.index
                )
            return
        stamp = self._stamp(held.token, None, held.sha256)
        if stamp is not None:
            self.after.append(
                Bound(stamp.earliest_us, stamp.authority, RFC3161, held.size, found.index, stamp.expires_us)
            )

    def _stamp(self, token: bytes, note: bytes | None, imprint: bytes | None = None) -> Stamp | None:
        """A stamp under the roots; None where none of them leads to it."""
        if not self._roots:
            self.unchecked.append("time stamps: give the root certificate of their authority")
            return None
        try:
            if note is not None:
                return verify_token(token, note, roots=self._roots, verify=self._verify)
            read = parse_token(token)
            if read.info.digest != "sha256" or read.info.imprint != imprint:
                raise Disproved("the time stamp in the log is over another checkpoint than its event says")
            return verify_stamped(read, roots=self._roots, verify=self._verify)
        except NotTrusted as error:
            self.unchecked.append(f"a time stamp of {error.place or 'an authority'}: {error.what}")
            return None


def _message(key: Key, time_s: int | None, text: str) -> bytes:
    return message_to_sign(key.type, name=key.name, time=time_s, text=text)
