"""Checkpoints: one spelling, the right message for each kind of key, and whose word counts."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.signers import (
    LOG,
    LOG_KEYS,
    LOG_PQ,
    ORIGIN,
    STRANGER,
    TIME_S,
    WITNESS,
    WITNESS_PQ,
    ed25519,
    mldsa44,
    seed_of,
    sign_checkpoint,
    sign_text,
)
from graven.core.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    check_origin,
    check_same_log,
    conflicting,
    format_checkpoint,
    message_to_sign,
    open_checkpoint,
    parse_checkpoint,
)
from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.note import COSIG_ED25519, COSIG_MLDSA44, ED25519, Note, Signature, format_note, parse_note
from graven.core.spelling import MAX_NUMBER, encode_base64
from graven.keys.signature import verify_signature

ROOT = sha256(b"root").digest()
TEXT = format_checkpoint(Checkpoint(ORIGIN, 7, ROOT))
SIGNED = sign_checkpoint(7, ROOT)

origins = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1, max_size=12)
checkpoints = st.builds(Checkpoint, origins, st.integers(0, MAX_NUMBER), st.binary(min_size=32, max_size=32))


def believed(data: bytes) -> SignedCheckpoint:
    return open_checkpoint(data, LOG_KEYS, verify_signature, cosigners=[WITNESS.key, WITNESS_PQ.key])


@given(checkpoints, st.lists(origins, max_size=2))
def test_checkpoints_round_trip(checkpoint: Checkpoint, extensions: list[str]) -> None:
    text = format_checkpoint(checkpoint) + "".join(line + "\n" for line in extensions)
    assert parse_checkpoint(text) == (checkpoint, tuple(extensions))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "\next\n",
        TEXT.replace("\n7\n", "\n07\n"),
        TEXT.replace("\n7\n", "\n\n"),
        TEXT.replace("\n7\n", "\n+7\n"),
        TEXT.replace("\n7\n", f"\n{2**63}\n"),
        TEXT.replace("\n7\n", "\nfive\n"),
        TEXT.replace(ORIGIN, ""),
        TEXT.replace("=\n", "\n"),
        "o\n7\n" + encode_base64(bytes(31)) + "\n",
        "o\n7\n" + encode_base64(bytes(33)) + "\n",
        "o\n7\n" + ROOT.hex() + "\n",
        "o\n7\n",
    ],
)
def test_what_is_not_a_checkpoint(text: str) -> None:
    with pytest.raises(BadInput):
        parse_checkpoint(text)


@pytest.mark.parametrize(("origin", "size", "root"), [("", 1, ROOT), ("a\nb", 1, ROOT), ("a", -1, ROOT), ("a", 1, b"")])
def test_impossible_checkpoints(origin: str, size: int, root: bytes) -> None:
    with pytest.raises(BadInput):
        Checkpoint(origin, size, root)


def test_the_messages_that_are_signed() -> None:
    """Written out by hand after C2SP signed-note and tlog-cosignature."""
    text = "o/é\n258\n" + encode_base64(ROOT) + "\n"
    assert message_to_sign(ED25519, name="o/é", time=None, text=text) == text.encode()
    assert message_to_sign(COSIG_ED25519, name="w", time=99, text=text + "ext\n") == (
        b"cosignature/v1\ntime 99\n" + text.encode() + b"ext\n"
    )
    assert message_to_sign(COSIG_MLDSA44, name="w/ö", time=0x0102, text=text) == (
        b"subtree/v1\n\x00"
        + b"\x04w/\xc3\xb6"
        + b"\x00\x00\x00\x00\x00\x00\x01\x02"
        + b"\x04o/\xc3\xa9"
        + b"\x00\x00\x00\x00\x00\x00\x00\x00"
        + b"\x00\x00\x00\x00\x00\x00\x01\x02"
        + ROOT
    )


@pytest.mark.parametrize(
    ("key_type", "name", "time", "text"),
    [
        (ED25519, "n", 1, TEXT),
        (COSIG_ED25519, "n", None, TEXT),
        (COSIG_MLDSA44, "n", None, TEXT),
        (COSIG_MLDSA44, "n", 2**63, TEXT),
        (COSIG_ED25519, "n", -1, TEXT),
        (COSIG_MLDSA44, "n" * 256, 1, TEXT),
        (COSIG_MLDSA44, "", 1, TEXT),
        (COSIG_MLDSA44, "n", 1, TEXT.replace(ORIGIN, "o" * 256)),
        (5, "n", 1, TEXT),
        (ED25519, "n", None, "not a checkpoint\n"),
    ],
)
def test_what_cannot_be_signed(key_type: int, name: str, time: int | None, text: str) -> None:
    with pytest.raises(BadInput):
        message_to_sign(key_type, name=name, time=time, text=text)


def test_a_name_and_an_origin_of_255_bytes_fit() -> None:
    text = TEXT.replace(ORIGIN, "o" * 255)
    message = message_to_sign(COSIG_MLDSA44, name="n" * 255, time=1, text=text)
    assert len(message) == 12 + 256 + 8 + 256 + 8 + 8 + 32


def test_the_log_signs_with_all_its_keys() -> None:
    signed = open_checkpoint(SIGNED, LOG_KEYS, verify_signature, require_all=True, only_known=True)
    assert signed.checkpoint == Checkpoint(ORIGIN, 7, ROOT)
    assert signed.data == SIGNED
    assert [(one.key, one.time) for one in signed.signed] == [(LOG.key, None), (LOG_PQ.key, TIME_S)]


@pytest.mark.parametrize("left_out", [LOG, LOG_PQ])
def test_each_of_the_logs_keys_can_be_demanded(left_out: object) -> None:
    one = sign_checkpoint(7, ROOT, [signer for signer in (LOG, LOG_PQ, WITNESS) if signer is not left_out])
    assert open_checkpoint(one, LOG_KEYS, verify_signature).checkpoint.size == 7
    with pytest.raises(Disproved, match="must sign has not signed"):
        open_checkpoint(one, LOG_KEYS, verify_signature, require_all=True, cosigners=[WITNESS.key])


def test_cosigners_are_counted_but_never_stand_in_for_the_log() -> None:
    full = sign_checkpoint(7, ROOT, (LOG, LOG_PQ, WITNESS, WITNESS_PQ))
    assert [one.key for one in believed(full).signed] == [LOG.key, LOG_PQ.key, WITNESS.key, WITNESS_PQ.key]
    only_witnesses = sign_checkpoint(7, ROOT, (WITNESS, WITNESS_PQ))
    with pytest.raises(Disproved, match="no signature by a trusted key of this log"):
        believed(only_witnesses)
    with pytest.raises(Disproved, match="no signature by a trusted key of this log"):
        open_checkpoint(only_witnesses, [WITNESS.key], verify_signature)
    impostor = mldsa44(ORIGIN, seed_of("a witness named as the log"))
    with pytest.raises(Disproved, match="no signature by a trusted key of this log"):
        open_checkpoint(sign_checkpoint(7, ROOT, (impostor,)), LOG_KEYS, verify_signature, cosigners=[impostor.key])


def test_a_log_key_counts_for_its_own_origin_only() -> None:
    other = sign_checkpoint(7, ROOT, (LOG,), origin="other.invalid/log")
    with pytest.raises(Disproved, match="no signature by a trusted key of this log"):
        open_checkpoint(other, LOG_KEYS, verify_signature)
    as_cosigner = ed25519(ORIGIN, seed_of("x"), COSIG_ED25519)
    with pytest.raises(Disproved, match="no signature by a trusted key of this log"):
        open_checkpoint(sign_checkpoint(7, ROOT, (as_cosigner,)), [as_cosigner.key], verify_signature)


def test_canonical_means_nothing_unknown_and_no_extensions() -> None:
    with pytest.raises(Disproved, match="not known here"):
        open_checkpoint(sign_checkpoint(7, ROOT, (LOG, LOG_PQ, STRANGER)), LOG_KEYS, verify_signature, only_known=True)
    extended = sign_text(TEXT + "extension\n", LOG)
    assert open_checkpoint(extended, [LOG.key], verify_signature).checkpoint.size == 7
    with pytest.raises(Disproved, match="extension"):
        open_checkpoint(extended, [LOG.key], verify_signature, only_known=True)


def test_no_key_is_bad_input_even_with_cosigners() -> None:
    with pytest.raises(BadInput, match="no trusted log key"):
        open_checkpoint(SIGNED, [], verify_signature, cosigners=[WITNESS.key])


def test_a_time_beyond_the_format_is_refused() -> None:
    good = WITNESS.line(TEXT)
    late = Signature(good.name, good.key_id, b"\xff" + good.blob[1:])
    with pytest.raises(Disproved, match="beyond"):
        believed(format_note(Note(TEXT, (LOG.line(TEXT), late))))


def test_a_changed_time_spoils_a_cosignature() -> None:
    for signer in (WITNESS, WITNESS_PQ, LOG_PQ):
        good = signer.line(TEXT)
        moved = Signature(good.name, good.key_id, good.blob[:7] + bytes([good.blob[7] ^ 1]) + good.blob[8:])
        with pytest.raises(Disproved, match="does not match"):
            believed(format_note(Note(TEXT, (LOG.line(TEXT), moved))))


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_no_byte_of_a_logs_own_checkpoint_may_change(position: int, mask: int) -> None:
    changed = bytearray(SIGNED)
    changed[position] ^= mask
    with pytest.raises(GravenError):
        open_checkpoint(bytes(changed), LOG_KEYS, verify_signature, require_all=True, only_known=True)


def test_two_trees_of_one_size_are_a_fork() -> None:
    a, b = believed(SIGNED), believed(sign_checkpoint(7, sha256(b"other").digest()))
    with pytest.raises(Disproved, match="this log forked") as forked:
        conflicting(a, b)
    assert encode_base64(ROOT) in str(forked.value)
    assert "size 7" in str(forked.value)
    assert conflicting(a, believed(sign_checkpoint(7, ROOT, (LOG,)))) == "same"
    assert conflicting(a, believed(sign_checkpoint(8, ROOT))) == "undecided"


def test_two_logs_are_not_compared() -> None:
    elsewhere = ed25519("other.invalid/log", seed_of("elsewhere"))
    other = open_checkpoint(
        sign_checkpoint(7, bytes(32), (elsewhere,), origin="other.invalid/log"), [elsewhere.key], verify_signature
    )
    for compare in (conflicting, check_same_log):
        with pytest.raises(BadInput, match="two different logs"):
            compare(believed(SIGNED), other)
    assert check_same_log(believed(SIGNED), believed(SIGNED)) == ORIGIN


@pytest.mark.parametrize("origin", ["a", "example.com/log", "é" * 120, "o" * 240, "graven.invalid/0", "日本/監査"])
def test_origins_a_log_may_bear(origin: str) -> None:
    assert check_origin(origin) == origin


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "o" * 241,
        "é" * 121,
        "a b",
        "a\u00a0b",
        "a\u2003b",
        "a\nb",
        "a\tb",
        "a\x00",
        "a\x7f",
        "a\x85",
        "a\x9f",
        "a+b",
        "graven-receipt",
        "graven-receipt/v1",
        "graven-receipts.example.com",
        "\ud800",
    ],
)
def test_origins_a_log_may_not_bear(origin: str) -> None:
    with pytest.raises(BadInput):
        check_origin(origin)


@given(st.text(max_size=260))
def test_an_accepted_origin_reads_back_from_every_text_it_stands_in(origin: str) -> None:
    try:
        check_origin(origin)
    except BadInput:
        return
    text = format_checkpoint(Checkpoint(origin, 1, ROOT))
    data = sign_text(text, ed25519(origin, seed_of("any")))
    assert parse_checkpoint(parse_note(data).text)[0].origin == origin
    message_to_sign(COSIG_MLDSA44, name=origin + "/receipt", time=1, text=text)
