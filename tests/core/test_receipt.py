"""Receipts: whose word they are, for which sizes, and that a log which seals another text convicts itself."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import oracle
from core.ledger import Ledger
from core.signers import (
    LOG,
    LOG_KEYS,
    LOG_PQ,
    ORIGIN,
    RECEIPTS,
    STRANGER,
    WITNESS,
    ed25519,
    seed_of,
    sign_certificate,
    sign_checkpoint,
    sign_receipt,
    sign_text,
)
from graven.core.checkpoint import open_checkpoint
from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.note import ED25519, Key, format_vkey
from graven.core.receipt import (
    Certificate,
    Receipt,
    check_promise,
    format_certificate,
    format_receipt,
    open_certificate,
    open_receipt,
    parse_certificate,
    parse_receipt,
    verify_opened,
)
from graven.core.spelling import MAX_NUMBER, encode_base64
from graven.keys.signature import verify_signature

ROOT = bytes(range(32))
VKEY = format_vkey(RECEIPTS.key)
CERTIFICATE = sign_certificate(VKEY, 5, 9)
RECEIPT = sign_receipt(7, ROOT)

origins = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters="+"), min_size=1, max_size=9
)
numbers = st.integers(0, MAX_NUMBER)


@given(origins, st.integers(1, MAX_NUMBER), st.binary(min_size=32, max_size=32))
def test_receipts_round_trip(origin: str, size: int, root: bytes) -> None:
    receipt = Receipt(origin, size, root)
    assert format_receipt(receipt) == f"graven-receipt/v1\n{origin}\n{size}\n{encode_base64(root)}\n"
    assert parse_receipt(format_receipt(receipt)) == receipt


@given(origins, numbers, numbers)
def test_certificates_round_trip(origin: str, a: int, b: int) -> None:
    vkey = format_vkey(Key(origin + "/receipt", ED25519, RECEIPTS.key.public))
    certificate = Certificate(origin, vkey, min(a, b), max(a, b))
    assert format_certificate(certificate) == f"graven-receipt-key/v1\n{origin}\n{vkey}\n{min(a, b)}\n{max(a, b)}\n"
    assert parse_certificate(format_certificate(certificate)) == certificate


TEXT = format_receipt(Receipt(ORIGIN, 7, ROOT))


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "more\n",
        TEXT.replace("/v1", "/v2"),
        TEXT.replace("\n7\n", "\n07\n"),
        TEXT.replace("\n7\n", "\n0\n"),
        TEXT.replace("\n7\n", "\n"),
        TEXT.replace("=\n", "\n"),
        TEXT.replace(ORIGIN, ""),
        TEXT.partition("\n")[2],
    ],
)
def test_what_is_not_a_receipt(text: str) -> None:
    with pytest.raises(BadInput):
        parse_receipt(text)


BOUNDS = format_certificate(Certificate(ORIGIN, VKEY, 5, 9))


@pytest.mark.parametrize(
    "text",
    [
        "",
        BOUNDS[:-1],
        BOUNDS + "\n",
        BOUNDS.replace("/v1", "/v2"),
        BOUNDS.replace("\n5\n9\n", "\n9\n5\n"),
        BOUNDS.replace("\n5\n9\n", "\n5\n"),
        BOUNDS.replace("\n5\n", "\n05\n"),
        BOUNDS.replace(f"\n{ORIGIN}\n", "\nother\n"),
        BOUNDS.replace(VKEY, format_vkey(LOG.key)),
        BOUNDS.replace(VKEY, VKEY + "="),
        BOUNDS.replace(VKEY, format_vkey(ed25519(ORIGIN + "/receipt", seed_of("x"), 4).key)),
        TEXT,
    ],
)
def test_what_is_not_a_certificate(text: str) -> None:
    with pytest.raises(BadInput):
        parse_certificate(text)


@pytest.mark.parametrize("size", range(1, 12))
def test_receipts_count_within_the_sizes_of_their_certificate(size: int) -> None:
    receipt = sign_receipt(size, ROOT)
    if 5 <= size <= 9:
        assert open_receipt(receipt, CERTIFICATE, LOG_KEYS, verify_signature) == Receipt(ORIGIN, size, ROOT)
    else:
        with pytest.raises(Disproved, match="not certified for") as outside:
            open_receipt(receipt, CERTIFICATE, LOG_KEYS, verify_signature)
        assert (outside.value.expected, outside.value.found) == ("5 to 9", str(size))


def test_only_the_certified_key_signs_receipts() -> None:
    thief = ed25519(ORIGIN + "/receipt", seed_of("thief"))
    for signer in (thief, LOG, STRANGER):
        with pytest.raises(Disproved, match="no signature by a trusted key"):
            open_receipt(sign_receipt(7, ROOT, signer), CERTIFICATE, LOG_KEYS, verify_signature)
    log_as_receipt_key = ed25519(ORIGIN + "/receipt", seed_of("log ed25519"))
    with pytest.raises(Disproved, match="no signature by a trusted key"):
        open_receipt(sign_receipt(7, ROOT, log_as_receipt_key), CERTIFICATE, LOG_KEYS, verify_signature)


def test_only_the_logs_ed25519_key_certifies() -> None:
    for signer in (STRANGER, RECEIPTS):
        with pytest.raises(Disproved, match="no signature by a trusted key"):
            open_certificate(sign_certificate(VKEY, 5, 9, signer), LOG_KEYS, verify_signature)
    for keys in ([LOG_PQ.key], [WITNESS.key], []):
        with pytest.raises(BadInput, match="no Ed25519 log key"):
            open_certificate(CERTIFICATE, keys, verify_signature)
    with pytest.raises(Disproved, match="not trusted"):
        open_certificate(CERTIFICATE, [ed25519("other.invalid", seed_of("other")).key], verify_signature)
    assert open_certificate(CERTIFICATE, [LOG.key], verify_signature).key == RECEIPTS.key


def test_a_receipt_and_its_certificate_are_of_one_log() -> None:
    other = ed25519("other.invalid/receipt", seed_of("receipts"))
    foreign = sign_receipt(7, ROOT, other, origin="other.invalid")
    with pytest.raises(Disproved, match="another log than its certificate"):
        open_receipt(foreign, CERTIFICATE, LOG_KEYS, verify_signature)


def test_no_text_of_one_kind_passes_for_another() -> None:
    checkpoint = sign_checkpoint(7, ROOT, (LOG,))
    for data in (RECEIPT, CERTIFICATE):
        with pytest.raises(GravenError):
            open_checkpoint(data, [LOG.key, RECEIPTS.key], verify_signature)
    for receipt, certificate in ((checkpoint, CERTIFICATE), (RECEIPT, checkpoint), (CERTIFICATE, RECEIPT)):
        with pytest.raises(GravenError):
            open_receipt(receipt, certificate, LOG_KEYS, verify_signature)


@given(st.integers(0, len(RECEIPT) + len(CERTIFICATE) - 1), st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_no_byte_of_a_receipt_or_certificate_may_change(position: int, mask: int) -> None:
    changed = bytearray(RECEIPT + CERTIFICATE)
    changed[position] ^= mask
    with pytest.raises(GravenError):
        open_receipt(bytes(changed[: len(RECEIPT)]), bytes(changed[len(RECEIPT) :]), LOG_KEYS, verify_signature)


def test_a_checkpoint_keeps_or_breaks_a_promise() -> None:
    receipt = Receipt(ORIGIN, 7, ROOT)

    def checkpoint(size: int, root: bytes) -> Any:
        return open_checkpoint(sign_checkpoint(size, root), LOG_KEYS, verify_signature)

    assert check_promise(receipt, checkpoint(7, ROOT)) == "kept"
    assert check_promise(receipt, checkpoint(8, ROOT)) == "undecided"
    with pytest.raises(Disproved, match="broke its promise"):
        check_promise(receipt, checkpoint(7, bytes(32)))
    with pytest.raises(BadInput, match=r"other\.invalid"):
        check_promise(Receipt("other.invalid", 7, ROOT), checkpoint(7, ROOT))


SENT = [b'{"action":"a%d"}' % number for number in range(5)]


def ledger() -> Ledger:
    """Three old events, then the request's: positions 0, 2, 4 new; 1 and 3 duplicates of index 0 and of position 0."""
    log = Ledger()
    log.seal(SENT[1], source=3)
    log.seal(b"{}")
    log.seal(b"{}")
    for position in (0, 2, 4):
        log.seal(SENT[position])
    log.seal(b"{}")
    return log


REQUEST = [SENT[0], SENT[1], SENT[2], SENT[0], SENT[4]]
DUPLICATES = [(1, 0), (3, 3)]


def honest() -> dict[str, Any]:
    return ledger().answer(5, [3, 4, 5], DUPLICATES)


def test_an_honest_answer_is_believed() -> None:
    log = ledger()
    receipt = verify_opened(honest(), REQUEST, LOG_KEYS, verify_signature)
    assert receipt == Receipt(ORIGIN, 7, log.root)
    as_json = json.loads(json.dumps(honest()))
    assert verify_opened(as_json | {"new key": 1}, REQUEST, [LOG.key], verify_signature) == receipt


def test_only_new_and_only_duplicate_events() -> None:
    log = ledger()
    new = log.answer(3, [3, 4, 5])
    assert verify_opened(new, [SENT[0], SENT[2], SENT[4]], LOG_KEYS, verify_signature).size == 7
    old = log.answer(1, [], [(0, 0)])
    assert (old["first_index"], old["opened"]["proof"]) == (None, [])
    assert verify_opened(old, [SENT[1]], LOG_KEYS, verify_signature).size == 7


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_a_request_anywhere_in_the_tree(count: int, before: int, after: int) -> None:
    log = Ledger()
    for number in range(before + count + after):
        log.seal(b'{"n":%d}' % number)
    sent = [log.slots[index].event for index in range(before, before + count)]
    answer = log.answer(count, range(before, before + count))
    assert verify_opened(answer, sent, LOG_KEYS, verify_signature).size == before + count + after
    for position in {0, count - 1}:
        lied_about = [*sent]
        lied_about[position] += b" "
        with pytest.raises(Disproved, match="did not seal the bytes that were sent"):
            verify_opened(answer, lied_about, LOG_KEYS, verify_signature)


def test_a_server_that_seals_another_text_is_convicted() -> None:
    """It may make up salts, heads, indexes and proofs as it likes: what it signed does not hold what was sent."""
    log = ledger()
    sent = [b'{"action":"theft"}']
    index = log.seal(b'{"action":"lunch"}')
    answer = log.answer(1, [index])
    with pytest.raises(Disproved, match="did not seal the bytes that were sent") as caught:
        verify_opened(answer, sent, LOG_KEYS, verify_signature)
    assert caught.value.place == "event at position 0"
    for first in range(len(log.slots)):
        for salt in (ROOT, log.slots[first].event_salt):
            made_up = copy.deepcopy(answer)
            made_up["first_index"] = made_up["opened"]["first_index"] = first
            made_up["opened"]["events"] = [{"salt": encode_base64(salt)}]
            made_up["opened"]["proof"] = list(map(encode_base64, oracle.range_proof(first, first + 1, log.leaves)))
            with pytest.raises(Disproved):
                verify_opened(made_up, sent, LOG_KEYS, verify_signature)


def test_a_server_that_swaps_two_events_or_answers_another_request_is_convicted() -> None:
    with pytest.raises(Disproved, match="positions 0 to 4"):
        verify_opened(honest(), [SENT[2], SENT[1], SENT[0], SENT[0], SENT[4]], LOG_KEYS, verify_signature)
    with pytest.raises(Disproved, match="does not hold the bytes that were sent") as caught:
        verify_opened(honest(), [SENT[0], SENT[2], SENT[2], SENT[0], SENT[4]], LOG_KEYS, verify_signature)
    assert caught.value.place == "event at position 1, a duplicate of index 0"


def test_raws_are_opened_for_those_who_send_raws() -> None:
    log = ledger()
    first = log.seal(b'{"action":"normalised"}', b"<14>raw line")
    answer = log.answer(2, [first], [(1, first)])
    sent = [b"<14>raw line"] * 2
    assert verify_opened(answer, sent, LOG_KEYS, verify_signature, normalised=True).size == 8
    for position in (0, 1):
        changed = [*sent]
        changed[position] = b"<14>raw lime"
        with pytest.raises(Disproved, match=f"position {position}"):
            verify_opened(answer, changed, LOG_KEYS, verify_signature, normalised=True)
    with pytest.raises(Disproved, match="event of its own making") as caught:
        verify_opened(answer, sent, LOG_KEYS, verify_signature)
    assert caught.value.place == "event at position 0"


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda a: a.update(accepted=2), "open every event it accepted"),
        (lambda a: a["opened"]["events"].pop(), "open every event it accepted"),
        (lambda a: (a.update(accepted=2), a["opened"]["events"].pop()), "account for every event"),
        (lambda a: a.update(duplicates=a["duplicates"][:1]), "open every duplicate"),
        (lambda a: a["duplicates"][0].update(index=1), "open every duplicate"),
        (lambda a: (a["duplicates"].reverse(), a["opened"]["duplicates"].reverse()), "not in order"),
        (
            lambda a: [one.update(position=5) for one in (a["duplicates"][1], a["opened"]["duplicates"][1])],
            "among those",
        ),
        (
            lambda a: [one.update(position=1) for one in (a["duplicates"][1], a["opened"]["duplicates"][1])],
            "not in order",
        ),
        (lambda a: a.update(first_index=4), "two different first indexes"),
        (lambda a: (a.update(first_index=None), a["opened"].update(first_index=None)), "new events without one"),
        (lambda a: (a.update(first_index=5), a["opened"].update(first_index=5)), "do not fit"),
        (lambda a: (a.update(first_index=2), a["opened"].update(first_index=2)), "did not seal"),
        (lambda a: a.update(size=6), "smaller tree than its receipt"),
        (lambda a: a["opened"]["proof"].pop(), "did not seal"),
        (lambda a: a["opened"]["proof"].reverse(), "did not seal"),
        (lambda a: a["opened"].update(head="graven/1 7 1700000000000001\n"), "did not seal"),
        (lambda a: a["opened"]["duplicates"][0].update(head="graven/1 7 1700000000000000\n"), "does not hold"),
        (lambda a: a["opened"]["duplicates"][0]["proof"].pop(), "does not hold"),
        (
            lambda a: [one.update(index=9) for one in (a["duplicates"][1], a["opened"]["duplicates"][1])],
            "duplicate beyond the tree",
        ),
        (lambda a: a.update(receipt=sign_receipt(7, ROOT).decode()), "does not hold"),
        (lambda a: a.update(receipt=sign_receipt(7, ledger().root, STRANGER).decode()), "no signature"),
        (lambda a: a["opened"].update(certificate=sign_certificate(VKEY, 8, 9).decode()), "not certified for"),
        (lambda a: a["opened"].update(certificate=sign_certificate(VKEY, 0, 9, STRANGER).decode()), "no signature"),
    ],
)
def test_an_answer_that_lies_is_disproved(change: Change, what: str) -> None:
    answer = honest()
    change(answer)
    with pytest.raises(Disproved, match=what):
        verify_opened(answer, REQUEST, LOG_KEYS, verify_signature)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda a: a.pop("opened"), "without opened"),
        (lambda a: a.update(opened=None), "not an object"),
        (lambda a: a.update(accepted=True), "whole number"),
        (lambda a: a.update(accepted="3"), "whole number"),
        (lambda a: a.update(first_index=-3), "whole number"),
        (lambda a: a.update(duplicates={}), "not a list"),
        (lambda a: a["duplicates"][0].update(more=1), "does not belong"),
        (lambda a: a.update(receipt=7), "not a string"),
        (lambda a: a.update(receipt="no note"), "without signatures"),
        (lambda a: a.update(receipt=sign_text("no receipt\n", RECEIPTS).decode()), "not a receipt"),
        (lambda a: a["opened"].update(more=1), "does not belong"),
        (lambda a: a["opened"].pop("head"), "without head"),
    ],
)
def test_an_answer_of_another_shape_is_bad_input(change: Change, what: str) -> None:
    answer = honest()
    change(answer)
    with pytest.raises(BadInput, match=what):
        verify_opened(answer, REQUEST, LOG_KEYS, verify_signature)


def test_nothing_sent_is_nothing_to_check() -> None:
    with pytest.raises(BadInput, match="nothing was sent"):
        verify_opened(honest(), [], LOG_KEYS, verify_signature)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_byte_of_an_answer_may_change_its_meaning(data: st.DataObject) -> None:
    """Flip one byte anywhere in the JSON: it is refused, or it is the same answer (layout, `state`)."""
    text = bytearray(json.dumps(HONEST).encode())
    text[data.draw(st.integers(0, len(text) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        changed = json.loads(text)
        verify_opened(changed, REQUEST, LOG_KEYS, verify_signature)
    except (GravenError, ValueError):
        return
    assert all(changed[key] == HONEST[key] for key in HONEST.keys() - {"state", "size"})


HONEST = honest()
