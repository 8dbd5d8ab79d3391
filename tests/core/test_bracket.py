"""Brackets: which words on time count, and what an operator who puts evidence together himself cannot make of them."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.signers import LOG, ORIGIN, WITNESS
from core.tokens import Maker, days, root, seconds, stamper
from graven.core.anchored import (
    COSIGNATURE,
    COSIGNATURE_ACT,
    EVENT,
    RFC3161,
    TOKEN_ACT,
    Anchored,
    format_anchor,
    parse_anchor,
    read_anchor_event,
)
from graven.core.bracket import Bracket, verify_bracket, verify_range_bracket
from graven.core.checkpoint import Checkpoint, format_checkpoint
from graven.core.commitment import NO_RAW, Head, digest, entry_of, format_head
from graven.core.errors import BadInput, Disproved
from graven.core.evidence import Anchor, Disclosed, Evidence, format_evidence, verify_evidence
from graven.core.merkle import hash_leaf, prove_consistency, prove_inclusion, prove_range, root_of
from graven.core.note import Note, Signature, format_note, format_signature, format_vkey
from graven.core.policy import Policy, Trust, parse_policy
from graven.core.proof import TlogProof
from graven.core.range import Opened, OpenedRange, format_range, parse_range, verify_opened_range
from graven.core.spelling import encode_base64
from graven.keys.signature import verify_signature

TSA = root()
MAKER = Maker(stamper(TSA, "Stamper"))
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
POLICY = parse_policy(f"log {format_vkey(LOG.key)}\nwitness w {format_vkey(WITNESS.key)}\nquorum none\n")
SALT = bytes(32)


class Tree:
    """A small log in the test's hand: events of any source, checkpoints and evidence at any size."""

    def __init__(self, *events: tuple[int, bytes], origin: str = ORIGIN) -> None:
        self.origin = origin
        self.events = list(events)
        self.heads = [format_head(Head(source, seconds(NOW) * 1_000_000)) for source, _ in events]
        self.leaves = [
            hash_leaf(entry_of(head, digest(SALT, event), NO_RAW))
            for head, (_, event) in zip(self.heads, events, strict=True)
        ]

    def nodes(self, wanted: object) -> list[bytes]:
        return [root_of(self.leaves[i << h : (i + 1) << h]) for h, i in wanted]  # type: ignore[attr-defined]

    def note(self, size: int, *, time: int | None = None, witnessed: bool = False) -> bytes:
        text = format_checkpoint(Checkpoint(self.origin, size, root_of(self.leaves[:size])))
        lines: list[Signature] = [LOG.line(text)]
        if witnessed:
            lines.append(WITNESS.line(text, time))
        return format_note(Note(text, tuple(lines)))

    def evidence(self, index: int, size: int, *anchors: Anchor, witnessed: bool = False) -> Evidence:
        hashes = prove_inclusion(self.nodes, index=index, size=size)
        return Evidence(
            index, self.heads[index], Disclosed(self.events[index][1], SALT), None,
            TlogProof(None, index, tuple(hashes), self.note(size, witnessed=witnessed)), (), anchors,
        )  # fmt: skip

    def anchored(self, size: int, within: int, note: bytes, token: bytes | None) -> Anchor:
        hashes = prove_consistency(self.nodes, old=size, new=within) if size < within else []
        kind = RFC3161 if token is not None else COSIGNATURE
        return Anchor(kind, format_anchor(Anchored(kind, token, note, tuple(hashes))))


def token_event(note: bytes, token: bytes, *, size: int = 1, root_hash: bytes = bytes(32)) -> bytes:
    stamped = {"size": size, "root": encode_base64(root_hash), "sha256": sha256(note).hexdigest()}
    return json.dumps({"action": TOKEN_ACT, "data": {"checkpoint": stamped, "token": encode_base64(token)}}).encode()


def bracket(evidence: Evidence, trust: Trust = (LOG.key,), *roots: object, strict: bool = True) -> Bracket:
    found = verify_evidence(evidence, trust=trust, verify=verify_signature)
    return verify_bracket(found, trust, [TSA.parsed], verify_signature)


PLAIN = (1, b'{"action":"a"}')
OLD = b"an old note\n"
EARLY = token_event(OLD, MAKER.token(OLD, NOW - days(2)))


def test_between_two_stamps() -> None:
    tree = Tree(PLAIN, (0, EARLY), PLAIN, PLAIN, PLAIN)
    note = tree.note(4)
    evidence = tree.evidence(
        2, 5,
        Anchor(EVENT, format_evidence(tree.evidence(1, 5))),
        tree.anchored(4, 5, note, MAKER.token(note, NOW)),
    )  # fmt: skip
    found = bracket(evidence)
    assert found.lower is not None and (found.lower.index, found.lower.by) == (1, "Stamper")
    assert found.lower.time_us == seconds(NOW - days(2)) * 1_000_000
    assert found.upper is not None and found.upper.time_us == (seconds(NOW) + 1) * 1_000_000
    assert (found.upper.size, found.unchecked, found.contradicts) == (4, (), False)
    assert found.holds(found.lower.time_us) and not found.holds(found.lower.time_us - 1)
    assert not found.holds(found.upper.time_us + 1) and found.holds(found.upper.time_us + 5, slack_us=5)


def test_a_range_is_bounded_as_a_whole() -> None:
    """From below by what stands before its first event, from above by a tree that holds its last."""
    tree = Tree(PLAIN, (0, EARLY), PLAIN, PLAIN, PLAIN, PLAIN)
    proved = Anchor(EVENT, format_evidence(tree.evidence(1, 6)))
    stamps = {size: tree.anchored(size, 6, tree.note(size), MAKER.token(tree.note(size), NOW)) for size in (4, 5)}

    def bounded(start: int, end: int, *anchors: Anchor) -> Bracket:
        entries = tuple(
            Opened(tree.heads[index], Disclosed(tree.events[index][1], SALT), None) for index in range(start, end)
        )
        proof = tuple(prove_range(tree.nodes, start=start, end=end, size=6))
        document = format_range(OpenedRange(start, entries, None, proof, tree.note(6), (), anchors))
        verified = verify_opened_range(parse_range(document), (LOG.key,), verify_signature)
        return verify_range_bracket(verified, (LOG.key,), [TSA.parsed], verify_signature)

    found = bounded(2, 5, proved, stamps[5])
    assert found.lower is not None and found.lower.index == 1
    assert found.upper is not None and found.upper.size == 5
    short = bounded(2, 5, stamps[4])
    assert short.upper is None and "bounds nothing" in short.unchecked[0]
    with pytest.raises(BadInput, match="does not stand below"):
        bounded(1, 5, proved)
    with pytest.raises(BadInput, match="does not stand below"):
        bounded(0, 5, proved)


def test_a_stamp_over_a_tree_without_the_event_bounds_nothing() -> None:
    """An old checkpoint stamped late would make an event look late, if it were taken for a lower bound."""
    tree = Tree(PLAIN, PLAIN, PLAIN)
    note = tree.note(2)
    found = bracket(tree.evidence(2, 3, tree.anchored(2, 3, note, MAKER.token(note, NOW))))
    assert (found.lower, found.upper) == (None, None)
    assert "bounds nothing" in found.unchecked[0]


def test_an_event_of_a_producer_is_no_anchor_whatever_it_says() -> None:
    """A producer can send the very bytes of an anchor's event, with an old token it was given."""
    tree = Tree(PLAIN, (7, EARLY), PLAIN)
    with pytest.raises(Disproved, match="not one of the log's own"):
        bracket(tree.evidence(2, 3, Anchor(EVENT, format_evidence(tree.evidence(1, 3)))))


def test_the_event_of_an_anchor_must_stand_below_in_the_same_tree() -> None:
    tree = Tree(PLAIN, (0, EARLY), PLAIN)
    for index in (0, 1):
        with pytest.raises(BadInput, match="does not stand below"):
            bracket(tree.evidence(index, 3, Anchor(EVENT, format_evidence(tree.evidence(1, 3)))))
    with pytest.raises(Disproved, match="in another tree"):
        bracket(tree.evidence(2, 3, Anchor(EVENT, format_evidence(tree.evidence(1, 2)))))
    other = Tree((0, EARLY), PLAIN, PLAIN)
    with pytest.raises(Disproved, match="in another tree"):
        bracket(tree.evidence(2, 3, Anchor(EVENT, format_evidence(other.evidence(0, 3)))))
    nested = tree.evidence(1, 3, Anchor("x", b""))
    with pytest.raises(BadInput, match="holds anchors itself"):
        bracket(tree.evidence(2, 3, Anchor(EVENT, format_evidence(nested))))
    withheld = replace(tree.evidence(1, 3), event=Tree(PLAIN).evidence(0, 1).event)
    with pytest.raises(Disproved):
        bracket(tree.evidence(2, 3, Anchor(EVENT, format_evidence(withheld))))


def test_a_token_over_something_else_than_its_event_says() -> None:
    event = token_event(b"another note", MAKER.token(OLD, NOW))
    tree = Tree((0, event), PLAIN)
    with pytest.raises(Disproved, match="another checkpoint than its event says"):
        bracket(tree.evidence(1, 2, Anchor(EVENT, format_evidence(tree.evidence(0, 2)))))
    spoiled = token_event(OLD, replace(MAKER, spoil=True).token(OLD, NOW))
    tree = Tree((0, spoiled), PLAIN)
    with pytest.raises(Disproved, match="not good"):
        bracket(tree.evidence(1, 2, Anchor(EVENT, format_evidence(tree.evidence(0, 2)))))


def test_a_checkpoint_of_another_log_or_history_is_refused() -> None:
    tree = Tree(PLAIN, PLAIN, PLAIN)
    fork = Tree(PLAIN, (2, b'{"action":"b"}'), PLAIN)
    note = fork.note(2)
    with pytest.raises(Disproved):
        bracket(tree.evidence(0, 3, fork.anchored(2, 3, note, MAKER.token(note, NOW))))
    foreign = Tree(PLAIN, PLAIN, PLAIN, origin="elsewhere.invalid/log").note(2)
    with pytest.raises(Disproved, match="of another log"):
        bracket(tree.evidence(0, 3, tree.anchored(2, 3, foreign, MAKER.token(foreign, NOW))))
    larger = tree.note(3)
    with pytest.raises(BadInput, match="larger tree"):
        bracket(tree.evidence(0, 2, tree.anchored(3, 3, larger, MAKER.token(larger, NOW))))
    good = tree.note(2)
    with pytest.raises(Disproved, match="over other bytes"):
        bracket(tree.evidence(0, 3, tree.anchored(2, 3, tree.note(2, witnessed=True), MAKER.token(good, NOW))))
    with pytest.raises(BadInput, match="another type than it is called"):
        wrong = replace(tree.anchored(2, 3, good, MAKER.token(good, NOW)), type=COSIGNATURE)
        bracket(tree.evidence(0, 3, wrong))


def test_a_checkpoint_that_nobody_trusted_signed_is_told_and_not_believed() -> None:
    tree = Tree(PLAIN, PLAIN)
    text = format_checkpoint(Checkpoint(ORIGIN, 1, root_of(tree.leaves[:1])))
    note = format_note(Note(text, (WITNESS.line(text),)))
    found = bracket(tree.evidence(0, 2, tree.anchored(1, 2, note, MAKER.token(note, NOW))))
    assert found.before == () and "none of the log's keys" in found.unchecked[0]


def test_authorities_and_types_that_are_not_known_are_told() -> None:
    tree = Tree(PLAIN, PLAIN)
    note = tree.note(1)
    stranger = Maker(stamper(root("Stranger"), "Strange"))
    evidence = tree.evidence(0, 2, tree.anchored(1, 2, note, stranger.token(note, NOW)), Anchor("sundial", b"noon"))
    found = bracket(evidence)
    assert found.before == () and len(found.unchecked) == 2
    verified = verify_evidence(evidence, trust=(LOG.key,), verify=verify_signature)
    assert "give the root certificate" in verify_bracket(verified, (LOG.key,), [], verify_signature).unchecked[0]


def test_cosignatures_count_by_the_readers_policy_only() -> None:
    text = format_checkpoint(Checkpoint(ORIGIN, 1, bytes(32)))
    line = format_signature(WITNESS.line(text, seconds(NOW) - 50)).rstrip("\n")
    data = {"checkpoint": {"size": 1, "root": encode_base64(bytes(32))}, "cosignatures": [line]}
    event = json.dumps({"action": COSIGNATURE_ACT, "data": data}).encode()
    tree = Tree((0, event), PLAIN, PLAIN)
    note = tree.note(2, time=seconds(NOW), witnessed=True)
    evidence = tree.evidence(1, 3, Anchor(EVENT, format_evidence(tree.evidence(0, 3))), tree.anchored(2, 3, note, None))
    found = bracket(evidence, POLICY)
    assert found.lower is not None and (found.lower.by, found.lower.index) == ("witness w", 0)
    assert found.lower.time_us == (seconds(NOW) - 50) * 1_000_000
    assert found.upper is not None and found.upper.time_us == (seconds(NOW) + 1) * 1_000_000
    bare = bracket(evidence)
    assert (bare.after, bare.before) == ((), ()) and "give a policy" in bare.unchecked[0]
    forged = json.dumps({"action": COSIGNATURE_ACT, "data": {**data, "cosignatures": [line.replace("A", "B", 1)]}})
    tree = Tree((0, forged.encode()), PLAIN)
    with pytest.raises((Disproved, BadInput)):
        bracket(tree.evidence(1, 2, Anchor(EVENT, format_evidence(tree.evidence(0, 2)))), POLICY)


def test_words_that_cannot_both_be_true() -> None:
    late = token_event(OLD, MAKER.token(OLD, NOW + days(1)))
    tree = Tree((0, late), PLAIN, PLAIN)
    note = tree.note(2)
    found = bracket(
        tree.evidence(
            1, 3,
            Anchor(EVENT, format_evidence(tree.evidence(0, 3))), tree.anchored(2, 3, note, MAKER.token(note, NOW)),
        )
    )  # fmt: skip
    assert found.contradicts


NOTE = Tree(PLAIN).note(1)
GOOD = format_anchor(Anchored(RFC3161, b"token", NOTE, (bytes(32),)))


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_an_anchor_is_read_in_one_spelling(at: int, by: int) -> None:
    changed = bytearray(GOOD)
    changed[at] ^= by
    try:
        read = parse_anchor(bytes(changed))
    except BadInput:
        return
    assert format_anchor(read) == bytes(changed) and read != parse_anchor(GOOD)


@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: b"graven-anchor/v1\nrfc3161\n" + tail))
def test_arbitrary_bytes_are_no_anchor(data: bytes) -> None:
    for read in (parse_anchor, read_anchor_event):
        with pytest.raises(BadInput):
            read(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
)


@given(st.fixed_dictionaries({"action": st.sampled_from([TOKEN_ACT, COSIGNATURE_ACT]), "data": JSON}))
def test_events_that_are_nearly_anchors(document: object) -> None:
    with pytest.raises(BadInput):
        read_anchor_event(json.dumps(document).encode())


@pytest.mark.parametrize(
    "anchored",
    [
        (RFC3161, None, NOTE), (COSIGNATURE, b"t", NOTE), ("x", b"t", NOTE), (RFC3161, b"", NOTE),
        (RFC3161, b"t", b"x"),
        (RFC3161, bytes(1 << 17), NOTE), (COSIGNATURE, None, NOTE, (b"short",)),
        (COSIGNATURE, None, NOTE, (bytes(32),) * 65),
    ],
)  # fmt: skip
def test_anchors_that_cannot_be(anchored: tuple[object, ...]) -> None:
    with pytest.raises(BadInput):
        Anchored(*anchored)  # type: ignore[arg-type]


def test_the_policy_of_this_file_is_one() -> None:
    assert isinstance(POLICY, Policy) and POLICY.meets(())
