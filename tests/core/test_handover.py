"""Hand-overs: one spelling, signed by all they name; which keys are in office when; and when a reader follows."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ledger import Ledger
from core.signers import (
    LOG,
    LOG_PQ,
    ORIGIN,
    STRANGER,
    TIME_S,
    WITNESS,
    Signer,
    ed25519,
    mldsa44,
    seed_of,
    sign_certificate,
    sign_checkpoint,
    sign_receipt,
)
from graven.core.errors import BadInput, Disproved, GravenError, NotSigned
from graven.core.evidence import format_evidence
from graven.core.handover import (
    Handover,
    Tenures,
    format_handover,
    message_of_handover,
    open_handover,
    parse_handover,
)
from graven.core.note import ED25519, Note, format_note, format_vkey, make_signature
from graven.core.policy import Policy, Succession, open_trusted, parse_policy
from graven.core.receipt import open_receipt
from graven.core.succession import follow, handover_in, verify_handover
from graven.keys.signature import verify_signature

NEW = (ed25519(ORIGIN, seed_of("second ed25519")), mldsa44(ORIGIN, seed_of("second ml-dsa")))
THIRD = (ed25519(ORIGIN, seed_of("third ed25519")), mldsa44(ORIGIN, seed_of("third ml-dsa")))
THIEF = (ed25519(ORIGIN, seed_of("thief ed25519")), mldsa44(ORIGIN, seed_of("thief ml-dsa")))
OLD = (LOG, LOG_PQ)
RECEIPTS = ed25519(f"{ORIGIN}/receipt", seed_of("receipts"))


def keys(signers: Sequence[Signer]) -> tuple:  # type: ignore[type-arg]
    return tuple(one.key for one in signers)


def handover(last: int = 3, old: Sequence[Signer] = OLD, new: Sequence[Signer] = NEW) -> Handover:
    return Handover(ORIGIN, last, keys(old), keys(new))


def signed(one: Handover, signers: Sequence[Signer]) -> bytes:
    text = format_handover(one)
    lines = []
    for signer in signers:
        time = None if signer.key.type == ED25519 else TIME_S
        lines.append(make_signature(signer.key, signer.sign(message_of_handover(signer.key, time, text)), time=time))
    return format_note(Note(text, tuple(lines)))


def event_of(note: bytes, action: str = "graven.keys.handover") -> bytes:
    return json.dumps({"action": action, "data": {"handover": note.decode()}}).encode()


def documented(
    note: bytes, *, before: int = 3, behind: int = 1, source: int = 0, action: str = "graven.keys.handover",
    signers: Sequence[Signer] = NEW,
) -> bytes:  # fmt: skip
    """Evidence of the event with `note`, in a log of `before` others, `behind` it some more, under a checkpoint."""
    ledger = Ledger()
    for number in range(before):
        ledger.seal(b'{"action":"a%d"}' % number)
    index = ledger.seal(event_of(note, action), source=source)
    for _ in range(behind):
        ledger.seal(b"{}")
    found = replace(ledger.evidence(index), proof=ledger.proof(index, bare=True, signers=signers), vkeys=())
    return format_evidence(found)


NOTE = signed(handover(), (*OLD, *NEW))
DOCUMENT = documented(NOTE)


def test_text_and_note_are_read_as_they_were_written() -> None:
    text = format_handover(handover())
    assert text.splitlines()[:3] == ["graven-handover/v1", ORIGIN, "3"]
    assert parse_handover(text) == handover() == open_handover(NOTE, verify_signature)
    lonely = Handover(ORIGIN, 0, (LOG.key,), keys(NEW))
    assert parse_handover(format_handover(lonely)) == lonely


@given(st.data())
def test_no_other_text_is_one(data: st.DataObject) -> None:
    text = format_handover(handover())
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.characters(codec="utf-8")) + text[at + data.draw(st.integers(0, 2)) :]
    if changed != text:
        try:
            other = parse_handover(changed)
        except BadInput:
            return
        assert other != handover() and format_handover(other) == changed


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_rubbish_is_refused_in_words(data: bytes) -> None:
    for judge in (lambda: open_handover(data, verify_signature), lambda: handover_in(data)):
        with contextlib.suppress(BadInput, Disproved):
            judge()
    with pytest.raises(BadInput):
        verify_handover(data, keys(OLD), verify_signature)


@pytest.mark.parametrize(
    "make",
    [
        lambda: handover(old=OLD, new=OLD),
        lambda: handover(new=(NEW[1], NEW[0])),
        lambda: handover(new=(NEW[1],)),
        lambda: handover(new=()),
        lambda: handover(new=(*NEW, THIRD[0])),
        lambda: handover(last=-1),
        lambda: handover(new=(WITNESS,)),
        lambda: Handover("example.com/other", 3, keys(OLD), keys(NEW)),
    ],
)
def test_what_cannot_be_a_handover(make: object) -> None:
    with pytest.raises(BadInput):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    "signers",
    [OLD, NEW, (*OLD, NEW[0]), (LOG, *NEW), (*OLD, *NEW, STRANGER), (*OLD, *NEW, LOG), (*THIEF, *NEW)],
)
def test_all_named_keys_sign_and_nobody_else(signers: Sequence[Signer]) -> None:
    with pytest.raises(Disproved):
        open_handover(signed(handover(), signers), verify_signature)


@given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_refused(at: int, flip: int) -> None:
    changed = NOTE[:at] + bytes([NOTE[at] ^ flip]) + NOTE[at + 1 :]
    with pytest.raises((BadInput, Disproved)):
        open_handover(changed, verify_signature)


def test_no_signature_of_one_kind_of_text_passes_for_another() -> None:
    """The ML-DSA line of a hand-over is none of a checkpoint: their messages begin with other words."""
    message = message_of_handover(LOG_PQ.key, TIME_S, format_handover(handover()))
    assert message.startswith(b"graven-handover/v1\n\0") and not message.startswith(b"subtree/v1")
    with pytest.raises(BadInput):
        message_of_handover(LOG.key, TIME_S, "x\n")
    with pytest.raises(BadInput):
        message_of_handover(WITNESS.key, TIME_S, "x\n")


def test_tenures_say_who_signs_what() -> None:
    second = handover(9, NEW, THIRD)
    office = Tenures(keys(THIRD), (handover(3), second), keys(THIEF))
    assert office.first_keys == keys(OLD)
    assert [office.at(size) for size in (0, 3)] == [(keys(OLD), keys(NEW))] * 2
    assert [office.at(size) for size in (4, 9)] == [(keys(NEW), keys(THIRD))] * 2
    assert office.at(10) == (keys(THIRD), keys(THIEF))
    assert set(office.every) == {*keys(OLD), *keys(NEW), *keys(THIRD), *keys(THIEF)}
    root = bytes(32)
    both, late = (*OLD, *NEW), (*NEW, *THIRD)
    good: list[tuple[int, Sequence[Signer]]] = [(3, OLD), (3, both), (4, NEW), (9, late), (10, THIRD)]
    for size, signers in [*good, (11, (*THIRD, *THIEF))]:
        note = sign_checkpoint(size, root, signers)
        assert office.open(note, verify_signature, only_known=True).checkpoint.size == size
    bad: list[tuple[int, Sequence[Signer]]] = [(3, NEW), (4, OLD), (4, both), (10, NEW), (10, late), (3, (LOG, *NEW))]
    for size, signers in bad:
        with pytest.raises(Disproved):
            office.open(sign_checkpoint(size, root, signers), verify_signature, only_known=True)


def test_tenures_that_do_not_follow_one_another_are_refused() -> None:
    wrong: list[tuple[Sequence[Signer], tuple[Handover, ...]]] = [
        (OLD, (handover(3),)),
        (THIRD, (handover(3), handover(3, NEW, THIRD))),
        (THIRD, (handover(3), handover(9, OLD, THIRD))),
    ]
    for signers, handovers in wrong:
        with pytest.raises(Disproved):
            Tenures(keys(signers), handovers)


@pytest.mark.parametrize("trust", [keys(OLD), keys((LOG,)), (WITNESS.key, LOG.key)])
def test_a_reader_of_old_keys_follows(trust: Sequence[object]) -> None:
    relied = verify_handover(DOCUMENT, trust, verify_signature)  # type: ignore[arg-type]
    assert (relied.handover, relied.index) == (handover(), 3)
    succession, all_relied = follow(trust, [DOCUMENT], verify_signature)  # type: ignore[arg-type]
    assert len(all_relied) == 1
    for size, signers, good in ((3, OLD, True), (4, NEW, True), (3, NEW, False), (4, OLD, False), (9, OLD, False)):
        note = sign_checkpoint(size, bytes(32), signers)
        if good:
            assert open_trusted(note, succession, verify_signature)[0].checkpoint.size == size
        else:
            with pytest.raises(NotSigned):
                open_trusted(note, succession, verify_signature)
    with pytest.raises(NotSigned, match="old keys sign nothing above 3 entries"):
        open_trusted(sign_checkpoint(4, bytes(32), OLD), succession, verify_signature)


def policy(quorum: str = "w") -> Policy:
    lines = f"log {format_vkey(LOG.key)}\nwitness w {format_vkey(WITNESS.key)}\nquorum {quorum}\n"
    return parse_policy(lines)


def test_under_a_policy_it_takes_the_quorum() -> None:
    with pytest.raises(Disproved, match="quorum of the policy is not met"):
        verify_handover(DOCUMENT, policy(), verify_signature)
    witnessed = documented(NOTE, signers=(*NEW, WITNESS))
    assert verify_handover(witnessed, policy(), verify_signature).witnesses == ("w",)
    succession, _ = follow(policy(), [witnessed], verify_signature)
    good = sign_checkpoint(8, bytes(32), (*NEW, WITNESS))
    assert open_trusted(good, succession, verify_signature)[1] == ("w",)
    for signers in (NEW, (*OLD, WITNESS)):
        with pytest.raises(Disproved):
            open_trusted(sign_checkpoint(8, bytes(32), signers), succession, verify_signature)


FORGED = signed(handover(new=THIEF), (*OLD, *THIEF))


@pytest.mark.parametrize(
    "document",
    [
        documented(NOTE, source=7),  # a producer's event
        documented(NOTE, action="graven.keys.rotate"),
        documented(NOTE, before=2),  # within a tree that the old keys still sign
        documented(NOTE, signers=OLD),
        documented(NOTE, signers=(NEW[0],)),
        documented(NOTE, signers=THIEF),
        documented(signed(handover(), NEW)),
        documented(signed(handover(old=THIEF), (*THIEF, *NEW))),
        documented(signed(handover(old=(LOG, THIEF[1])), (LOG, THIEF[1], *NEW))),
        documented(FORGED, signers=NEW),
        DOCUMENT.replace(b'"index": 3', b'"index": 2'),
    ],
)
def test_nothing_less_moves_the_trust(document: bytes) -> None:
    with pytest.raises(GravenError):
        verify_handover(document, keys(OLD), verify_signature)


def test_a_thief_of_the_old_keys_needs_the_witnesses() -> None:
    """He can convince who asks for no witness, as with any checkpoint; not who asks for a quorum."""
    document = documented(FORGED, signers=THIEF)
    assert verify_handover(document, keys(OLD), verify_signature).handover.new == keys(THIEF)
    with pytest.raises(Disproved, match="quorum"):
        verify_handover(document, policy(), verify_signature)
    forged_witness = documented(FORGED, signers=(*THIEF, ed25519(WITNESS.key.name, seed_of("x"), WITNESS.key.type)))
    with pytest.raises(Disproved, match="quorum"):
        verify_handover(forged_witness, policy(), verify_signature)


def test_handovers_are_followed_one_after_the_other() -> None:
    second = documented(signed(handover(9, NEW, THIRD), (*NEW, *THIRD)), before=9, signers=THIRD)
    succession, relied = follow(keys(OLD), [DOCUMENT, second], verify_signature)
    assert [one.handover.last for one in relied] == [3, 9]
    assert [succession.at(size) for size in (3, 9, 10)] == [keys(OLD), keys(NEW), keys(THIRD)]
    from_the_middle, relied = follow(keys(NEW), [DOCUMENT, second], verify_signature)
    assert [one.handover.last for one in relied] == [9] and from_the_middle.at(9) == keys(NEW)
    assert follow(keys(THIRD), [DOCUMENT, second], verify_signature) == (Succession(keys(THIRD)), ())
    for wrong in ([DOCUMENT, DOCUMENT], [DOCUMENT, documented(FORGED, signers=THIEF)]):
        with pytest.raises(Disproved):
            follow(keys(OLD), wrong, verify_signature)


def test_certificates_of_old_keys_say_nothing_of_larger_trees() -> None:
    succession, _ = follow((LOG.key,), [DOCUMENT], verify_signature)
    vkey = format_vkey(RECEIPTS.key)
    old, new = sign_certificate(vkey, 0, 1000, LOG), sign_certificate(vkey, 4, 1000, NEW[0])
    root = bytes(32)
    assert open_receipt(sign_receipt(3, root), old, succession, verify_signature).size == 3
    assert open_receipt(sign_receipt(4, root), new, succession, verify_signature).size == 4
    for size, certificate in ((4, old), (3, new)):
        with pytest.raises(Disproved):
            open_receipt(sign_receipt(size, root), certificate, succession, verify_signature)
