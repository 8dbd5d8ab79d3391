"""Signed notes: one spelling, known keys only, and no byte that may change."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.signers import LOG, LOG_PQ, ORIGIN, RECEIPTS, STRANGER, WITNESS, ed25519, seed_of, sign_text
from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.note import (
    COSIG_ED25519,
    COSIG_MLDSA44,
    ED25519,
    KEY_TYPES,
    MAX_NOTE_BYTES,
    Key,
    Note,
    SecretKey,
    Signature,
    Signed,
    format_note,
    format_skey,
    format_vkey,
    make_signature,
    open_note,
    parse_note,
    parse_skey,
    parse_vkey,
)
from graven.core.spelling import encode_base64
from graven.keys.signature import verify_signature

TEXT = "some text\n\nwith an empty line\n"
SIGNED = sign_text(TEXT, LOG)
SPEC_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"  # C2SP signed-note
GO_SKEY = "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg"  # a test key

names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters="+"), min_size=1, max_size=9
)
signatures = st.builds(Signature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=70))
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), max_size=40).map(
    lambda t: t + "\n"
)
notes = st.builds(Note, texts, st.lists(signatures, min_size=1, max_size=3).map(tuple))


@given(notes)
def test_notes_round_trip(note: Note) -> None:
    assert parse_note(format_note(note)) == note


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
@settings(max_examples=400)
def test_no_byte_of_a_note_may_change(position: int, mask: int) -> None:
    changed = bytearray(SIGNED)
    changed[position] ^= mask
    with pytest.raises(GravenError):
        open_note(parse_note(bytes(changed)), [LOG.key], verify_signature)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_notes_in_their_one_spelling_or_refused(data: bytes) -> None:
    for candidate in (data, b"t\n\n\xe2\x80\x94 n " + data + b"\n"):
        try:
            note = parse_note(candidate)
        except BadInput:
            continue
        assert format_note(note) == candidate


def test_the_text_ends_at_the_last_empty_line() -> None:
    note = parse_note(SIGNED)
    assert note.text == TEXT
    assert [line.name for line in note.signatures] == [ORIGIN]


LINE = SIGNED.decode().rpartition("\n\n")[2]


@pytest.mark.parametrize(
    "data",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n" + LINE,
        "text\n\n" + LINE[:-1],
        "text\r\n\n" + LINE,
        "te\x00xt\n\n" + LINE,
        "te\txt\n\n" + LINE,
        "text\n\n" + LINE + "more\n",
        "text\n\n" + LINE.replace("\u2014", "-"),
        "text\n\n" + LINE.replace("\u2014 ", "\u2014"),
        "text\n\n" + LINE.replace(" test", "  test"),
        "text\n\n" + LINE.replace("test", "te+st"),
        "text\n\n" + LINE.replace("test", "te\u00a0st"),
        "text\n\n" + LINE.replace("test", "te\u2028st"),
        "text\n\n" + LINE[:-1] + " \n",
        "text\n\n\u2014 name AAAAAA==\n",
        "text\n\n\u2014 name \n",
        "text\n\n\u2014 name\n",
        "text\n\n" + LINE.replace("=", ""),
        "text\n\n" + LINE * 101,
    ],
)
def test_what_is_not_a_note(data: str) -> None:
    with pytest.raises(BadInput):
        parse_note(data.encode())


def test_bounds() -> None:
    assert len(parse_note(("text\n\n" + LINE * 100).encode()).signatures) == 100
    with pytest.raises(BadInput, match="1048576 bytes"):
        parse_note(b"t" * MAX_NOTE_BYTES + b"\n\n" + LINE.encode())
    with pytest.raises(BadInput, match="UTF-8"):
        parse_note(b"\xff" + SIGNED)
    with pytest.raises(BadInput, match="1048576 bytes"):
        format_note(Note("t" * MAX_NOTE_BYTES + "\n", (LOG.line(TEXT),)))


@pytest.mark.parametrize(
    "note",
    [
        Note("no newline", (LOG.line(TEXT),)),
        Note("tab\t\n", (LOG.line(TEXT),)),
        Note("lone \ud800\n", (LOG.line(TEXT),)),
        Note(TEXT, ()),
        Note(TEXT, (LOG.line(TEXT),) * 101),
        Note(TEXT, (Signature("a name", bytes(4), b"x"),)),
        Note(TEXT, (Signature("", bytes(4), b"x"),)),
        Note(TEXT, (Signature("a\n", bytes(4), b"x"),)),
        Note(TEXT, (Signature("name", bytes(3), b"x"),)),
        Note(TEXT, (Signature("name", bytes(4), b""),)),
    ],
)
def test_what_cannot_be_written(note: Note) -> None:
    with pytest.raises(BadInput):
        format_note(note)


def test_lenient_base64_ignores_unused_bits_of_signature_lines_only() -> None:
    padded = sign_text(TEXT, ed25519("n", seed_of("padded")))  # 68 bytes: the last character holds two unused bits
    assert padded.endswith(b"=\n")
    other = padded[:-3] + bytes([padded[-3] + 1]) + padded[-2:]
    with pytest.raises(BadInput, match="unused bits"):
        parse_note(other)
    assert parse_note(other, lenient_base64=True) == parse_note(padded)
    for bad in (other[:-1], other + b"\n", other.replace(b"=\n", b"\n"), other.replace(b"=\n", b"-\n")):
        with pytest.raises(BadInput):
            parse_note(bad, lenient_base64=True)


def test_vkeys_of_the_specification_and_of_go() -> None:
    key = parse_vkey(SPEC_VKEY)
    assert (key.name, key.type, key.id.hex()) == ("example.com/foo", ED25519, "530d903a")
    assert format_vkey(key) == SPEC_VKEY
    secret = parse_skey(GO_SKEY)
    assert format_skey(secret) == GO_SKEY
    assert ed25519(secret.name, secret.seed).key.id == secret.id
    assert encode_base64(secret.seed) not in repr(secret)
    assert repr(secret.seed) not in repr(secret)


@given(names, st.sampled_from(sorted(KEY_TYPES)), st.data())
def test_vkeys_and_skeys_round_trip(name: str, key_type: int, data: st.DataObject) -> None:
    public = data.draw(st.binary(min_size=32, max_size=32)) * (KEY_TYPES[key_type].public_bytes // 32)
    key = Key(name, key_type, public)
    assert parse_vkey(format_vkey(key)) == key
    secret = SecretKey(name, key_type, public[:32], key.id)
    assert parse_skey(format_skey(secret)) == secret


@given(st.integers(0, len(SPEC_VKEY) - 1), st.integers(1, 127))
def test_no_character_of_a_vkey_may_change(position: int, mask: int) -> None:
    changed = SPEC_VKEY[:position] + chr(ord(SPEC_VKEY[position]) ^ mask) + SPEC_VKEY[position + 1 :]
    with pytest.raises(BadInput):
        parse_vkey(changed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        SPEC_VKEY + "\n",
        " " + SPEC_VKEY,
        SPEC_VKEY.replace("530d903a", "530D903A"),
        SPEC_VKEY.replace("530d903a", "530d903"),
        SPEC_VKEY[: SPEC_VKEY.rindex("+")] + "+",
        SPEC_VKEY[: SPEC_VKEY.rindex("+")] + "+AQ==",
        GO_SKEY,
        f"name+00000000+{encode_base64(bytes([2]) + bytes(32))}",
        f"name+00000000+{encode_base64(bytes([1]) + bytes(33))}",
    ],
)
def test_what_is_not_a_vkey(text: str) -> None:
    with pytest.raises(BadInput):
        parse_vkey(text)


@pytest.mark.parametrize("text", ["", SPEC_VKEY, GO_SKEY[:-4], GO_SKEY + "AAAA", GO_SKEY.replace("+Aeym", "+Auym")])
def test_what_is_not_an_skey_and_the_seed_is_not_told(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_skey(text)
    assert "ymY/SZAX0j" not in str(refused.value) + repr(refused.value.__cause__)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Key("", ED25519, bytes(32)),
        lambda: Key("a b", ED25519, bytes(32)),
        lambda: Key("a\x1fb", ED25519, bytes(32)),
        lambda: Key("a\x00b", ED25519, bytes(32)),
        lambda: Key("\ud800", ED25519, bytes(32)),
        lambda: Key("name", ED25519, bytes(31)),
        lambda: Key("name", COSIG_MLDSA44, bytes(32)),
        lambda: Key("name", 5, bytes(32)),
        lambda: SecretKey("name", ED25519, bytes(31), bytes(4)),
        lambda: SecretKey("name", ED25519, bytes(32), bytes(3)),
        lambda: make_signature(LOG.key, bytes(63)),
        lambda: make_signature(LOG.key, bytes(64), time=1),
        lambda: make_signature(WITNESS.key, bytes(64)),
        lambda: make_signature(WITNESS.key, bytes(64), time=2**63),
    ],
)
def test_impossible_keys_and_signatures_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(BadInput):
        make()


def test_timed_blobs_begin_with_the_time() -> None:
    assert make_signature(WITNESS.key, b"s" * 64, time=258).blob == bytes(6) + b"\x01\x02" + b"s" * 64


def test_a_known_key_is_found_among_strangers() -> None:
    note = parse_note(sign_text(TEXT, STRANGER, RECEIPTS, LOG))
    assert open_note(note, [LOG.key], verify_signature) == (Signed(LOG.key, None),)
    assert open_note(note, [LOG.key, RECEIPTS.key], verify_signature, require_all=True) == (
        Signed(RECEIPTS.key, None),
        Signed(LOG.key, None),
    )


def test_what_is_demanded_is_demanded() -> None:
    note = parse_note(sign_text(TEXT, STRANGER, LOG))
    with pytest.raises(Disproved, match="no signature by a trusted key"):
        open_note(note, [RECEIPTS.key], verify_signature)
    with pytest.raises(Disproved, match="must sign has not signed"):
        open_note(note, [LOG.key, RECEIPTS.key], verify_signature, require_all=True)
    with pytest.raises(Disproved, match="not known here"):
        open_note(note, [LOG.key], verify_signature, only_known=True)
    with pytest.raises(BadInput, match="no trusted key"):
        open_note(note, [], verify_signature)
    twice = parse_note(sign_text(TEXT, LOG, LOG))
    assert open_note(twice, [LOG.key], verify_signature) == (Signed(LOG.key, None),)
    with pytest.raises(Disproved, match="second signature"):
        open_note(twice, [LOG.key], verify_signature, only_known=True)


def test_one_bad_signature_of_a_known_key_spoils_the_note() -> None:
    good, other = LOG.line(TEXT), LOG.line("another text\n")
    for lines in ((good, other), (other, good), (other,)):
        with pytest.raises(Disproved, match="does not match"):
            open_note(Note(TEXT, lines), [LOG.key], verify_signature)
    short = Signature(good.name, good.key_id, good.blob[:-1])
    with pytest.raises(Disproved, match="wrong length"):
        open_note(Note(TEXT, (good, short)), [LOG.key], verify_signature)


def test_a_stranger_under_a_known_name_or_id_is_ignored() -> None:
    good = LOG.line(TEXT)
    same_name = Signature(good.name, b"\0\0\0\0", b"nonsense")
    same_id = Signature("other.invalid", good.key_id, b"nonsense")
    assert open_note(Note(TEXT, (same_name, same_id, good)), [LOG.key], verify_signature) == (Signed(LOG.key, None),)


def test_two_keys_that_cannot_be_told_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Key, "id", property(lambda self: b"same"))
    note = Note(TEXT, (Signature(ORIGIN, b"same", bytes(64)),))
    with pytest.raises(BadInput, match="share a name and a key id"):
        open_note(note, [LOG.key, STRANGER.key], verify_signature)


def test_plain_notes_take_no_cosignature() -> None:
    checkpoint_text = "o\n1\n" + encode_base64(bytes(32)) + "\n"
    for signer in (WITNESS, LOG_PQ):
        note = Note(checkpoint_text, (signer.line(checkpoint_text),))
        with pytest.raises(BadInput, match="signs checkpoints only"):
            open_note(note, [signer.key], verify_signature)
    assert WITNESS.key.type == COSIG_ED25519
