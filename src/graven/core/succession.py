"""Following a log to its new keys: when a hand-over moves the trust of a reader.

A hand-over counts when all of this holds; nothing less does:

    the evidence discloses an event of source 0, the log itself, whose action is `graven.keys.handover`
    → its `data.handover` is a note that every key it names signed, and no other
    → every log key of that origin the reader trusts is among its old keys
    → the evidence is proved against a checkpoint that each of the new keys signed, and that meets the quorum of the
      reader's policy, with the new keys in the place of the old
    → the event stands at or behind the last size of the old keys

So a thief of the old keys who makes a hand-over to keys of his own has to have it witnessed, in the one tree that the
witnesses follow. A reader with bare keys has no quorum: the old keys' word is enough there, as it is for a checkpoint.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from graven.core.checkpoint import LOG_KEY_TYPES, SignedCheckpoint, open_checkpoint
from graven.core.document import as_object, as_text, parse_document
from graven.core.errors import BadInput, Disproved
from graven.core.evidence import MAX_EVIDENCE_BYTES, Disclosed, Evidence, parse_evidence, verify_evidence
from graven.core.handover import MAX_HANDOVERS, Handover, open_handover, parse_handover
from graven.core.note import Key, VerifySignature, parse_note
from graven.core.policy import Policy, Succession, Trust, log_keys_at, succeed

ACTION = "graven.keys.handover"
MAX_EVENT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Relied:
    """A hand-over that counts: what it says, where it stands, the checkpoint it is proved against, and the witnesses of
    the policy that cosigned that."""

    handover: Handover
    index: int
    checkpoint: SignedCheckpoint
    witnesses: tuple[str, ...]


def handover_in(event: bytes) -> bytes | None:
    """The note that an event of the log itself carries as a hand-over; None if the event is none. Nothing is verified.

    Raises BadInput for one that carries no note as it should.
    """
    try:
        document = parse_document(event, max_bytes=MAX_EVENT_BYTES, what="an event")
        fields = as_object(document, "event", keys=("action", "data"), more=None)
    except BadInput:
        return None
    if fields["action"] != ACTION:
        return None
    return as_text(as_object(fields["data"], "data", keys=("handover",), more=None)["handover"], "handover").encode()


def handover_of(evidence: Evidence) -> bytes | None:
    """The note of a hand-over that evidence discloses; None where it is evidence of something else."""
    if not isinstance(evidence.event, Disclosed) or not evidence.head.startswith(b"graven/1 0 "):
        return None
    return handover_in(evidence.event.data)


def may_hand_over(note: bytes, trust: Trust) -> bool:
    """Whether a hand-over note claims to be by keys that are trusted up to its last size. Nothing is verified.

    Raises BadInput when it is none.
    """
    handover = parse_handover(parse_note(note).text)
    return bool(set(log_keys_at(trust, handover.last)).intersection(handover.old))


def verify_handover(data: bytes, trust: Trust, verify: VerifySignature) -> Relied:
    """The hand-over that the evidence `data` shows to someone who trusts `trust`, when it counts (see the module).

    A `Succession` is followed from where it stands. Raises BadInput when `data` is no evidence of a hand-over,
    Disproved when it does not count.
    """
    evidence = parse_evidence(data)
    note = handover_of(evidence)
    if note is None:
        raise BadInput("this is no evidence of a hand-over", mend="the log serves them: /log/handover/1 and so on")
    handover = open_handover(note, verify)
    if isinstance(trust, Succession):
        if trust.handovers and handover.last <= trust.handovers[-1].last:
            raise Disproved("a hand-over that does not come after the one before it")
        trust = trust.at(handover.last)
    _check_trusted(trust, handover)
    found = verify_evidence(evidence, trust=succeed(trust, handover), verify=verify)
    head = found.checkpoint.checkpoint
    if head.origin != handover.origin:
        raise Disproved("a hand-over of another log than its proof", expected=head.origin, found=handover.origin)
    if found.index < handover.last:
        raise Disproved(
            "a hand-over that stands in a tree its old keys still sign",
            expected=f"index {handover.last} or above",
            found=str(found.index),
        )
    signed = open_checkpoint(
        found.checkpoint.data,
        handover.new,
        verify,
        cosigners=[one.key for one in found.signed if one.key not in handover.new],
        require_all=True,
    )
    return Relied(handover, found.index, signed, found.witnesses)


def served(get: Callable[[str, int], bytes | None], *, after: int = 0) -> Iterator[bytes]:
    """The documents a log serves beside its checkpoint, `handover/<n>` for n > `after`, as `get(path, size_max)` gets
    them (None: not there)."""
    for number in range(after + 1, MAX_HANDOVERS + 1):
        data = get(f"handover/{number}", MAX_EVIDENCE_BYTES)
        if data is None:
            return
        yield data


def follow(trust: Trust, documents: Iterable[bytes], verify: VerifySignature) -> tuple[Succession, tuple[Relied, ...]]:
    """`trust`, led on by evidence of hand-overs, oldest first; and what was relied on.

    Those before the first that comes from a key trusted here are passed over: they led to that key. Raises as
    `verify_handover`; BadInput for more than 64.
    """
    succession = trust if isinstance(trust, Succession) else Succession(_frozen(trust))
    relied: list[Relied] = []
    for document in documents:
        if len(succession.handovers) >= MAX_HANDOVERS:
            raise BadInput(f"more than {MAX_HANDOVERS} hand-overs")
        note = handover_of(parse_evidence(document))
        if note is not None and not relied and not may_hand_over(note, succession):
            continue
        one = verify_handover(document, succession, verify)
        succession = replace(succession, handovers=(*succession.handovers, one.handover))
        relied.append(one)
    return succession, tuple(relied)


def with_past(succession: Succession, documents: Iterable[bytes], verify: VerifySignature) -> Succession:
    """`succession` with the hand-overs that led to the keys it began with, as those keys themselves say.

    Only for who holds every tree against one that the keys in office signed: keys of the past may have been stolen
    since. Raises BadInput, Disproved for a document that is no hand-over, or not signed by all it names.
    """
    notes = [handover_of(parse_evidence(document)) for document in documents]
    own, before = set(log_keys_at(succession.trust, 0)), list[Handover]()
    for note in reversed([note for note in notes if note is not None]):
        handover = open_handover(note, verify)
        if own.intersection(handover.new):
            before.append(handover)
            own = set(handover.old)
    return replace(succession, before=tuple(before))


def _check_trusted(trust: Policy | Sequence[Key], handover: Handover) -> None:
    own = [key for key in log_keys_at(trust, 0) if key.name == handover.origin and key.type in LOG_KEY_TYPES]
    if not own:
        raise Disproved("a hand-over of a log that is not trusted here", found=handover.origin)
    for key in own:
        if key not in handover.old:
            raise Disproved(
                "a hand-over by other keys than those trusted",
                expected=f"{key.name}+{key.id.hex()}",
                found=", ".join(f"{one.name}+{one.id.hex()}" for one in handover.old),
            )


def _frozen(trust: Policy | Sequence[Key]) -> Policy | tuple[Key, ...]:
    return trust if isinstance(trust, Policy) else tuple(trust)
