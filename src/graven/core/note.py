"""Signed notes, verifier keys and signer keys: C2SP signed-note.

A note is a text that ends in a newline, a blank line, and one or more lines `— <key name> <base64(key id ‖ blob)>`.
The text means nothing until a trusted key has been found good over it: `parse_note` gives an unverified `Note`,
`open_note` the keys that signed it. Three kinds of key are known: 0x01 Ed25519 over the text, and the two cosignatures
of C2SP tlog-cosignature, 0x04 Ed25519 and 0x06 ML-DSA-44, whose blobs begin with a u64 time in POSIX seconds and whose
messages `core/checkpoint.py` makes.

Strict: what is parsed is formatted again and must be the same bytes. Bounded: 1 MiB and 100 signatures. Not here:
signing (the signer holds the seed) and the cryptography of verifying, which is handed in as a `VerifySignature`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from graven.core.errors import BadInput, Disproved, NotSigned
from graven.core.spelling import check_number, decode_base64, encode_base64

ED25519 = 0x01
COSIG_ED25519 = 0x04
COSIG_MLDSA44 = 0x06

MAX_NOTE_BYTES = 1 << 20
MAX_SIGNATURES = 100
SEED_BYTES = 32
TIME_BYTES = 8

_DASH = "\N{EM DASH} "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_HEX8 = re.compile(r"[0-9a-f]{8}", re.ASCII)
_SKEY_PREFIX = "PRIVATE+KEY+"

VerifySignature = Callable[[str, bytes, bytes, bytes], None]
"""(algorithm "ed25519" or "ml-dsa-44", public key, signature, message): returns when good, else raises Disproved."""


@dataclass(frozen=True, slots=True)
class KeyType:
    """What one signature type byte fixes. `signature_bytes` is the bare signature, without the time before it."""

    algorithm: str
    public_bytes: int
    signature_bytes: int
    timed: bool


KEY_TYPES = {
    ED25519: KeyType("ed25519", 32, 64, timed=False),
    COSIG_ED25519: KeyType("ed25519", 32, 64, timed=True),
    COSIG_MLDSA44: KeyType("ml-dsa-44", 1312, 2420, timed=True),
}


@dataclass(frozen=True, slots=True)
class Key:
    """A public key under a name. Raises BadInput for a name, type or length that no vkey can have."""

    name: str
    type: int
    public: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        wanted = _key_type(self.type).public_bytes
        if len(self.public) != wanted:
            raise BadInput(
                f"a public key of type 0x{self.type:02x} has {wanted} bytes, not {len(self.public)}", place=self.name
            )

    @property
    def id(self) -> bytes:
        """SHA-256(name ‖ 0x0A ‖ type ‖ public)[:4]: tells keys apart, does not stop a collision made on purpose."""
        return sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public).digest()[:4]


@dataclass(frozen=True, slots=True)
class SecretKey:
    """What an skey line holds: a 32-byte seed. `id` is as written; whoever derives the public key compares it."""

    name: str
    type: int
    seed: bytes = field(repr=False)
    id: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        _key_type(self.type)
        if len(self.seed) != SEED_BYTES or len(self.id) != 4:
            raise BadInput("a signer key has a seed of 32 bytes and an id of 4", place=self.name)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line, unverified.

    `blob` follows the key id: 64 bytes for 0x01, u64 time ‖ signature for 0x04 and 0x06.
    """

    name: str
    key_id: bytes
    blob: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed, unverified note. `text` includes its final newline."""

    text: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that was found good: by which key, and the signer's own time (POSIX seconds; None for 0x01)."""

    key: Key
    time: int | None


MessageToSign = Callable[[Key, int | None, str], bytes]
"""(key, time, note text) -> the exact bytes that key signs."""


def parse_note(data: bytes, *, lenient_base64: bool = False) -> Note:
    """Read a note, believing nothing. `lenient_base64` is for notes a witness is sent: unused bits in signature lines
    are ignored.

    Raises BadInput: too large, not UTF-8, a control character, no signature, a line that is not a signature line, more
    than 100.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise BadInput(f"a note of more than {MAX_NOTE_BYTES} bytes")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput("a note that is not UTF-8", place=f"byte {error.start}") from None
    if (control := _CONTROL.search(whole)) is not None:
        raise BadInput("a note with a control character", place=f"character {control.start()}")
    text_end = whole.rfind("\n\n")
    if text_end < 0 or not whole.endswith("\n") or text_end + 2 == len(whole):
        raise BadInput("a note without signatures", mend="a note is a text, a blank line, and signature lines")
    lines = whole[text_end + 2 : -1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise BadInput(f"a note with more than {MAX_SIGNATURES} signatures")
    signatures = tuple(
        _parse_line(line, place=f"signature {number}", lenient_base64=lenient_base64)
        for number, line in enumerate(lines, 1)
    )
    note = Note(whole[: text_end + 1], signatures)
    if not lenient_base64 and format_note(note) != data:
        raise BadInput("a note that is not spelled as this log spells it")
    return note


def format_note(note: Note) -> bytes:
    """The bytes of a note. Raises BadInput for a note that `parse_note` would refuse or read differently."""
    if not note.text.endswith("\n") or _CONTROL.search(note.text) is not None:
        raise BadInput("a note text that does not end in a newline or holds a control character")
    if not 1 <= len(note.signatures) <= MAX_SIGNATURES:
        raise BadInput(f"a note with {len(note.signatures)} signatures", mend=f"1 to {MAX_SIGNATURES}")
    data = _utf8(note.text + "\n" + "".join(map(format_signature, note.signatures)), "a note text")
    if len(data) > MAX_NOTE_BYTES:
        raise BadInput(f"a note of more than {MAX_NOTE_BYTES} bytes")
    return data


def format_signature(signature: Signature) -> str:
    """One signature line with its newline. Raises BadInput."""
    check_key_name(signature.name)
    if len(signature.key_id) != 4 or not signature.blob:
        raise BadInput("a signature needs a key id of 4 bytes and at least one byte", place=signature.name)
    return f"{_DASH}{signature.name} {encode_base64(signature.key_id + signature.blob)}\n"


def make_signature(key: Key, raw: bytes, *, time: int | None = None) -> Signature:
    """The signature line of `raw`, a bare signature by `key`; `time` (POSIX seconds) is what the signed message said.

    Raises BadInput when the length is not the algorithm's, or when a time is missing or not wanted.
    """
    kind = KEY_TYPES[key.type]
    if len(raw) != kind.signature_bytes or kind.timed is (time is None):
        raise BadInput(f"not a signature of type 0x{key.type:02x}", place=key.name)
    prefix = b"" if time is None else check_number(time, place="time").to_bytes(TIME_BYTES, "big")
    return Signature(key.name, key.id, prefix + raw)


def parse_vkey(text: str) -> Key:
    """`<name>+<key id, 8 hex>+<base64(type ‖ public)>`.

    Raises BadInput, also when the key id is not that of the key.
    """
    name, key_id, material = _parse_key_line(text, "a verifier key")
    key = Key(name, material[0], material[1:])
    if key.id != key_id:
        raise BadInput(
            "a verifier key whose key id is not that of its name, type and key",
            place=name,
            mend="copy the whole line again",
        )
    return key


def format_vkey(key: Key) -> str:
    """The vkey line of `key`, without a newline."""
    return f"{key.name}+{key.id.hex()}+{encode_base64(bytes([key.type]) + key.public)}"


def parse_skey(text: str) -> SecretKey:
    """`PRIVATE+KEY+<name>+<key id>+<base64(type ‖ seed)>`, as Go writes it.

    Raises BadInput, which never holds the seed.
    """
    if not text.startswith(_SKEY_PREFIX):
        raise BadInput("a signer key begins with PRIVATE+KEY+")
    name, key_id, material = _parse_key_line(text.removeprefix(_SKEY_PREFIX), "a signer key")
    return SecretKey(name, material[0], material[1:], key_id)


def format_skey(key: SecretKey) -> str:
    """The skey line of `key`, without a newline: a secret."""
    return f"{_SKEY_PREFIX}{key.name}+{key.id.hex()}+{encode_base64(bytes([key.type]) + key.seed)}"


def check_key_name(name: str) -> str:
    """`name` itself when it is not empty and has no Unicode space, `+` or control character. Raises BadInput."""
    if not name or "+" in name or any(map(str.isspace, name)) or _CONTROL.search(name) is not None:
        raise BadInput(
            "a key name that is empty or holds a space, a plus or a control character", place=repr(name[:80])
        )
    _utf8(name, "a key name")
    return name


def message_of_text(key: Key, time: int | None, text: str) -> bytes:
    """The message of a plain note: its text, for 0x01 only.

    Raises BadInput for cosignature keys, which sign checkpoints.
    """
    if key.type != ED25519:
        raise BadInput(f"a key of type 0x{key.type:02x} signs checkpoints only", place=key.name)
    return text.encode()


def open_note(
    note: Note,
    keys: Sequence[Key],
    verify: VerifySignature,
    *,
    require_all: bool = False,
    only_known: bool = False,
    message: MessageToSign = message_of_text,
) -> tuple[Signed, ...]:
    """The trusted `keys` that signed `note`, each once, in the order of the note's lines.

    `require_all` demands a good signature by *each* of `keys`; `only_known` demands that every line is by one of them
    and none repeats. Lines by other keys are ignored otherwise, also if they share a name or an id (not both) with a
    known one. Raises Disproved: a known key's signature fails, no known key signed, or a demand is not met. BadInput:
    no keys given, or two different keys that share name and id.
    """
    known = _by_name_and_id(keys)
    signed: dict[tuple[str, bytes], Signed] = {}
    for number, line in enumerate(note.signatures, 1):
        place = f"signature {number}, {line.name}+{line.key_id.hex()}"
        key = known.get((line.name, line.key_id))
        if key is None:
            if only_known:
                raise Disproved("a signature by a key that is not known here", place=place)
            continue
        if only_known and (line.name, line.key_id) in signed:
            raise Disproved("a second signature by the same key", place=place)
        good = _verify_line(key, line, note.text, verify, message, place)
        signed.setdefault((line.name, line.key_id), good)
    if not signed:
        raise NotSigned(
            "no signature by a trusted key", expected=_names(known.values()), found=_names_of_lines(note.signatures)
        )
    if require_all and len(signed) < len(known):
        missing = [key for name_and_id, key in known.items() if name_and_id not in signed]
        raise NotSigned(
            "a key that must sign has not signed", expected=_names(missing), found=_names_of_lines(note.signatures)
        )
    return tuple(signed.values())


def _verify_line(
    key: Key, line: Signature, text: str, verify: VerifySignature, message: MessageToSign, place: str
) -> Signed:
    kind = KEY_TYPES[key.type]
    time_bytes = TIME_BYTES if kind.timed else 0
    if len(line.blob) != time_bytes + kind.signature_bytes:
        raise Disproved(
            "a signature of the wrong length",
            expected=f"{time_bytes + kind.signature_bytes} bytes",
            found=f"{len(line.blob)} bytes",
            place=place,
        )
    time = int.from_bytes(line.blob[:TIME_BYTES], "big") if kind.timed else None
    if time is not None and time >= 2**63:
        raise Disproved("a cosignature with a time beyond 2^63-1 seconds", place=place)
    try:
        verify(kind.algorithm, key.public, line.blob[time_bytes:], message(key, time, text))
    except Disproved as error:
        raise Disproved("the signature of a trusted key does not match this text", place=place) from error
    return Signed(key, time)


def _parse_line(line: str, *, place: str, lenient_base64: bool) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise BadInput("not a signature line", place=place, mend="— <key name> <base64>")
    check_key_name(name)
    data = decode_base64(encoded, place=place, ignore_unused_bits=lenient_base64)
    if len(data) < 5:
        raise BadInput("a signature shorter than 5 bytes", place=place)
    return Signature(name, data[:4], data[4:])


def _parse_key_line(text: str, what: str) -> tuple[str, bytes, bytes]:
    parts = text.split("+", 2)  # base64 may hold a plus, a name never does
    if len(parts) != 3 or _HEX8.fullmatch(parts[1]) is None:
        raise BadInput(f"not {what}", mend="<name>+<8 hex digits>+<base64>, on one line without spaces around it")
    material = decode_base64(parts[2], place=f"{what} {parts[0][:80]!r}")
    if len(material) < 2:
        raise BadInput(f"{what} without key bytes")
    return parts[0], bytes.fromhex(parts[1]), material


def _key_type(number: int) -> KeyType:
    if number not in KEY_TYPES:
        raise BadInput(
            f"a key of type 0x{number:02x}, which is not supported",
            mend="0x01 (Ed25519), 0x04 (Ed25519 cosignature) or 0x06 (ML-DSA-44 cosignature)",
        )
    return KEY_TYPES[number]


def _by_name_and_id(keys: Sequence[Key]) -> dict[tuple[str, bytes], Key]:
    if not keys:
        raise BadInput("no trusted key was given", mend="give a verifier key or a policy")
    known: dict[tuple[str, bytes], Key] = {}
    for key in keys:
        if known.setdefault((key.name, key.id), key) != key:
            raise BadInput("two different keys share a name and a key id", place=f"{key.name}+{key.id.hex()}")
    return known


def _names(keys: Iterable[Key]) -> str:
    return ", ".join(f"{key.name}+{key.id.hex()}" for key in keys)


def _names_of_lines(lines: Sequence[Signature]) -> str:
    return ", ".join(f"{line.name}+{line.key_id.hex()}" for line in lines)


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadInput(f"{what} that is not valid Unicode") from None
