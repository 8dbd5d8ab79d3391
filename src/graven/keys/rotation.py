"""Changing the log's signing keys: what the keyring keeps of it, and the steps.

    begin     next.ed25519 and next.mldsa44 are made           → rotation.json says "begun": both pairs sign
    hand over the signer signs the hand-over with all four     → rotation.json says "handed": only the new pair signs
    promote   log.ed25519 and log.mldsa44 become the new pair, the old bytes are overwritten
              → rotation.json says "none" → next.* removed

    rotation.json   {"format": "graven-rotation/v1", "origin", "step", "coming": [vkey], "handovers": [note]}

One file, replaced at one stroke and durable in every copy, says which keys sign; so a crash between any two writes
leaves a keyring of the step before or of the step after. The hand-overs stay in it for ever: by them the log's own
files of every age are believed. Without the file no key was ever changed.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from graven.core.errors import BadInput, Broken, GravenError
from graven.core.handover import MAX_HANDOVERS, Handover, Tenures, open_handover
from graven.core.note import Key, SecretKey, format_skey, format_vkey, parse_vkey
from graven.keys.datakey import KEY_BYTES
from graven.keys.keyfile import RECOVER, format_document, parse_document, take
from graven.keys.keyring import Keyring
from graven.keys.rewrap import require_no_rewrap
from graven.keys.rootkeys import (
    KEY_FILES,
    LOG_ED25519_FILE,
    LOG_MLDSA44_FILE,
    NEXT_ED25519_FILE,
    NEXT_MLDSA44_FILE,
    RECEIPT_FILE,
    ROTATION_FILE,
    key_name,
    load_signing_key,
    make_signing_key,
)
from graven.keys.signature import verify_signature
from graven.keys.token_key import is_token_line, parse_line, token_line
from graven.keys.token_uri import TokenUri

ROTATION_FORMAT = "graven-rotation/v1"
LOG_FILES = (LOG_ED25519_FILE, LOG_MLDSA44_FILE)
NEXT_FILES = (NEXT_ED25519_FILE, NEXT_MLDSA44_FILE)

Step = Literal["none", "begun", "handed"]

_FIELDS = ("format", "origin", "step", "coming", "handovers")


@dataclass(frozen=True, slots=True)
class Rotation:
    """How far a change of keys is. `coming`: the new public keys, unless "none"; `handovers`: every note there was."""

    step: Step = "none"
    coming: tuple[Key, ...] = ()
    handovers: tuple[bytes, ...] = ()

    def opened(self) -> tuple[Handover, ...]:
        """What the hand-overs say, each with all its signatures verified. Raises Broken."""
        try:
            return tuple(open_handover(note, verify_signature) for note in self.handovers)
        except GravenError as error:
            raise Broken(
                f"a hand-over in the keyring is damaged: {error.what}", place=ROTATION_FILE, mend=RECOVER
            ) from None


def read_rotation(keyring: Keyring) -> Rotation:
    """The state of the keyring. Raises Broken for a damaged file."""
    found = keyring.read_file(ROTATION_FILE, lambda data, place: parse_rotation(data, keyring.origin, place=place))
    return Rotation() if found is None else found


def parse_rotation(data: bytes, origin: str, *, place: str) -> Rotation:
    """The state a `rotation.json` holds. Raises Broken."""
    form, named, found, coming, handovers = take(parse_document(data, place=place), _FIELDS, place=place)
    step: Step | None = next((one for one in get_args(Step) if one == found), None)
    if form != ROTATION_FORMAT or named != origin or step is None:
        raise Broken("this file of key changes is damaged, or of another log", place=place, mend=RECOVER)
    texts = [_texts(value, place) for value in (coming, handovers)]
    if (step == "none") is not (not texts[0]) or len(texts[1]) > MAX_HANDOVERS:
        raise Broken("this file of key changes is damaged", place=place, mend=RECOVER)
    try:
        keys = tuple(map(parse_vkey, texts[0]))
    except BadInput:
        raise Broken("this file of key changes is damaged: not a vkey", place=place, mend=RECOVER) from None
    return Rotation(step, keys, tuple(text.encode() for text in texts[1]))


def format_rotation(rotation: Rotation, origin: str) -> bytes:
    """The bytes of `rotation.json`."""
    return format_document(
        {
            "format": ROTATION_FORMAT,
            "origin": origin,
            "step": rotation.step,
            "coming": [format_vkey(key) for key in rotation.coming],
            "handovers": [note.decode() for note in rotation.handovers],
        }
    )


def write_rotation(keyring: Keyring, rotation: Rotation) -> None:
    """Make `rotation` the state, durably in every copy. Raises Busy, Broken."""
    keyring.write_file(ROTATION_FILE, format_rotation(rotation, keyring.origin))


def load_tenures(keyring: Keyring) -> Tenures:
    """Which of the log's keys are in office at which size. Raises Broken for keys or hand-overs that are damaged."""
    return make_tenures(read_rotation(keyring), lambda file: _public(keyring, file))


def make_tenures(rotation: Rotation, public: Callable[[str], Key]) -> Tenures:
    """As `load_tenures`; `public` gives the key in a signing file, and is only asked where no hand-over names them."""
    handovers = rotation.opened()
    keys = handovers[-1].new if handovers else tuple(map(public, LOG_FILES))
    return Tenures(keys, handovers, rotation.coming if rotation.step == "begun" else ())


def begin(keyring: Keyring, to: TokenUri | None = None, *, make: bool = False) -> Rotation:
    """Make the next pair of keys; from now on both pairs sign. Nothing happens where that is begun already.

    `to` is the token in which the next Ed25519 key is; with `make` it is made there, else it must be there. Raises
    BadInput while a hand-over is not finished, or after 64 of them, or for another `to` than it was begun with;
    BadInput, Busy, Broken for a token that does not sign.
    """
    require_no_rewrap(keyring)
    if keyring.signs_elsewhere:
        raise BadInput("the signing keys are with the signer", mend="graven signer rotate begin SIGNER_DIR")
    with keyring.locked():
        rotation = read_rotation(keyring)
        if rotation.step == "begun":
            if to is not None and token_uri(keyring, NEXT_ED25519_FILE) != to:
                raise BadInput("a change to another key is begun already", mend="graven keys rotate finish --dir DIR")
            return rotation
        if rotation.step == "handed":
            raise BadInput("the last change of keys is not finished", mend="graven keys rotate finish --dir DIR")
        if len(rotation.handovers) >= MAX_HANDOVERS:
            raise BadInput("this log has changed its keys as often as readers follow", mend="begin a successor log")
        coming = []
        for file in NEXT_FILES:
            line = _new_line(file, keyring.origin)
            if to is not None and file == NEXT_ED25519_FILE:
                line = token_line(to, keyring.origin, keyring.access, make=make)
                _check_new(line, keyring)
            keyring.write_file(file, keyring.seal_signing_file(file, line), wipe=True)
            coming.append(load_signing_key(line, file, keyring.origin, place=file).key)
        begun = Rotation("begun", tuple(coming), rotation.handovers)
        write_rotation(keyring, begun)
        return begun


def promote(keyring: Keyring) -> None:
    """After the hand-over: put the new pair in the old one's place, and the old one out of the world.

    Nothing happens where no hand-over waits, but that leftovers of a crash are removed. It can be called again after
    one. Raises Busy, Broken.
    """
    with keyring.locked():
        rotation = read_rotation(keyring)
        if rotation.step == "begun":
            return
        if rotation.step == "handed":
            for file, next_file in zip(LOG_FILES, NEXT_FILES, strict=True):
                line = keyring.signing_key(next_file)
                keyring.write_file(file, keyring.seal_signing_file(file, line), wipe=True)
            write_rotation(keyring, Rotation("none", (), rotation.handovers))
        for file in NEXT_FILES:
            keyring.remove_file(file)


def renew_receipt_key(keyring: Keyring) -> Key:
    """A new receipt key in the place of the old, whose bytes are overwritten; the next start certifies it."""
    require_no_rewrap(keyring)
    with keyring.locked():
        line = _new_line(RECEIPT_FILE, keyring.origin)
        keyring.write_file(RECEIPT_FILE, keyring.seal_signing_file(RECEIPT_FILE, line), wipe=True)
        return load_signing_key(line, RECEIPT_FILE, keyring.origin, place=RECEIPT_FILE).key


def token_uri(keyring: Keyring, file: str = LOG_ED25519_FILE) -> TokenUri | None:
    """Which key in which token a signing file stands for, as the keyring says; None where it holds the key itself."""
    line = keyring.signing_key(file)
    return parse_line(line)[1] if is_token_line(line) else None


def _check_new(line: str, keyring: Keyring) -> None:
    """Raises BadInput for a key that is, or was, the log's: nothing would be changed by changing to it."""
    if parse_line(line)[0] in load_tenures(keyring).every:
        raise BadInput("this key signs for the log already, or did before", mend="another key; --make-key makes one")


def _public(keyring: Keyring, file: str) -> Key:
    return keyring.load_key(file).key


def _new_line(file: str, origin: str) -> str:
    seed = os.urandom(KEY_BYTES)
    key = make_signing_key(key_name(file, origin), KEY_FILES[file], seed).key
    return format_skey(SecretKey(key.name, key.type, seed, key.id))


def _texts(value: object, place: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Broken("this file of key changes is damaged", place=place, mend=RECOVER)
    return list(value)
