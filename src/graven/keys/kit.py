"""The recovery kit: every key of a keyring in one JSON document, to be kept off the host.

    {"format": "graven-recovery-kit/v1", "origin", "made_us", "segments", "newest_segment", "contents"}
    contents   a sealed secret (see passphrase.py) whose purpose holds the fields before it; or, only when asked for,
               {"plain", "sha256"}, the digest being over the other fields and the files. Inside: {file name: text},
               the files of an unsealed keyring without `highest-checkpoint`.

A kit opens the segments that had begun when it was made, and no later one. It restores no mark: what the log has signed
since is not known, so a restored keyring signs nothing until a checkpoint from outside the host is given (`seen`, or
`LogSigner.accept_seen`). A kit also holds data keys that are destroyed afterwards: whoever erases must renew the kits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from graven.core.checkpoint import open_checkpoint, parse_checkpoint
from graven.core.errors import BadInput, Broken
from graven.core.note import Key, parse_note
from graven.core.spelling import MAX_NUMBER
from graven.keys.copies import install
from graven.keys.datafiles import DATA_FILE
from graven.keys.datakey import decode_data_keys
from graven.keys.keyfile import format_document, parse_document, take
from graven.keys.keyring import Keyring
from graven.keys.passphrase import SCRYPT_N, Passphrase, open_sealed, seal
from graven.keys.rewrap import require_no_rewrap
from graven.keys.rootkeys import (
    KEY_FILES,
    KEYRING_FILE,
    RECEIPT_FILE,
    ROTATION_FILE,
    SIGNER_FILE,
    SIGNING_FILES,
    RootKeys,
    format_root_keys,
    load_signing_key,
    parse_keyring_file,
    parse_signing_file,
    signed_elsewhere,
)
from graven.keys.rotation import Rotation, format_rotation, make_tenures, parse_rotation, read_rotation
from graven.keys.signature import verify_signature
from graven.keys.signer import LogSigner
from graven.runtime.files import Files, LocalFiles

KIT_FORMAT = "graven-recovery-kit/v1"

_PLACE = "recovery kit"
_FIELDS = ("format", "origin", "made_us", "segments", "newest_segment", "contents")
_PLAIN_FIELDS = ("plain", "sha256")


@dataclass(frozen=True, slots=True)
class KitLabel:
    """What a kit says of itself in clear. `newest_segment` is the start of the last segment it opens, or None.

    It is proved only when the kit is opened.
    """

    origin: str
    made_us: int
    segments: int
    newest_segment: int | None
    sealed: bool


def backup(
    keyring: Keyring, passphrase: Passphrase | None, *, made_us: int, plain: bool = False, scrypt_n: int = SCRYPT_N
) -> bytes:
    """The recovery kit of a keyring, sealed under `passphrase` (which need not be the keyring's own).

    Without a passphrase only with `plain`: then whoever has the kit has the log. `made_us` is the time now. Raises
    BadInput for neither or both of the two, Broken if a file of the keyring is damaged.
    """
    if (passphrase is not None) is plain:
        raise BadInput("a recovery kit is either sealed by a passphrase or, when explicitly asked for, plain")
    require_no_rewrap(keyring)
    with keyring.locked():  # so that no change of keys is under way
        data = {name: text.decode() for name, text in keyring.data_files()}
        files = {name: text.decode() for name, text in format_root_keys(keyring.root_keys(), None).items()}
        rotation = read_rotation(keyring)
    if keyring.signs_elsewhere:
        files[SIGNER_FILE] = signed_elsewhere(keyring.origin).decode()
    if rotation != Rotation():
        files[ROTATION_FILE] = format_rotation(rotation, keyring.origin).decode()
    starts = keyring.segment_starts()
    label = KitLabel(keyring.origin, made_us, len(starts), starts[-1] if starts else None, not plain)
    contents: dict[str, object] = {"plain": files | data, "sha256": _digest(label, files | data)}
    if passphrase is not None:
        contents = seal(passphrase, format_document(files | data), purpose=_purpose(label), scrypt_n=scrypt_n)
    return format_document(_label_fields(label) | {"contents": contents})


def read_label(kit: bytes) -> KitLabel:
    """What the kit says of itself. Raises BadInput if this is no kit or it is damaged."""
    label, _ = _parse(kit)
    return label


def restore(
    kit: bytes,
    directory: str,
    *,
    passphrase: Passphrase | None = None,
    keyring_passphrase: Passphrase | None = None,
    replicas: Sequence[str] = (),
    seen: bytes | None = None,
    files: Files | None = None,
    scrypt_n: int = SCRYPT_N,
) -> Keyring:
    """Make the keyring of a kit anew in `directory` and every replica, none of which may exist, and open it.

    `passphrase` opens the kit; `keyring_passphrase` seals the new keyring (None: it is not sealed, whatever it was).
    `seen` is the newest checkpoint note known from outside the host: it becomes the mark. Without it the mark is not
    known. Everything is checked before the first directory is made. Raises BadInput for a kit or passphrase that does
    not fit, Disproved for a `seen` this log did not sign, Broken if a disk fails.
    """
    label, contents = _parse(kit)
    keys, data = _open_contents(label, contents, passphrase)
    if seen is not None and SIGNER_FILE in data:
        raise BadInput("this kit has no signing keys", mend="graven signer seen, for the signer's keyring")
    if seen is not None:
        rotation = parse_rotation(data[ROTATION_FILE], keys.origin, place=_PLACE) if ROTATION_FILE in data else None
        tenures = make_tenures(rotation or Rotation(), lambda file: _public(keys, file))
        head = parse_checkpoint(parse_note(seen).text)[0]
        open_checkpoint(seen, tenures.at(head.size)[0], verify_signature)
    files = LocalFiles() if files is None else files
    made = format_root_keys(keys, keyring_passphrase, scrypt_n=scrypt_n) | data
    for place in (directory, *replicas):
        install(files, place.rstrip("/"), made)
    keyring = Keyring.open(directory, passphrase=keyring_passphrase, replicas=replicas, files=files)
    if seen is not None:
        LogSigner(keyring).accept_seen(seen)
    return keyring


def _parse(kit: bytes) -> tuple[KitLabel, object]:
    try:
        form, origin, made_us, segments, newest, contents = take(
            parse_document(kit, place=_PLACE), _FIELDS, place=_PLACE
        )
    except Broken:
        form = None
    if form != KIT_FORMAT:
        raise BadInput(f"this is no recovery kit of format {KIT_FORMAT}, or it is damaged", place=_PLACE)
    if not isinstance(origin, str):
        raise BadInput("this recovery kit is damaged: a value is not of its shape", place=_PLACE)
    sealed = not (isinstance(contents, dict) and tuple(contents) == _PLAIN_FIELDS)
    newest_segment = None if newest is None else _number(newest)
    return KitLabel(origin, _number(made_us), _number(segments), newest_segment, sealed), contents


def _public(keys: RootKeys, file: str) -> Key:
    return load_signing_key(keys.signing[file], file, keys.origin, place=_PLACE).key


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_NUMBER:
        raise BadInput("this recovery kit is damaged: a value is not of its shape", place=_PLACE)
    return value


def _open_contents(
    label: KitLabel, contents: object, passphrase: Passphrase | None
) -> tuple[RootKeys, dict[str, bytes]]:
    """The keys and the files of data keys, all checked."""
    try:
        files = _texts(_unseal(label, contents, passphrase))
        origin, kek, window, _ = parse_keyring_file(files.pop(KEYRING_FILE, b""), None, place=_PLACE)
        signing = {
            file: parse_signing_file(files.pop(file, b""), file, origin, None, place=f"{_PLACE}, {file}")
            for file in ((RECEIPT_FILE,) if SIGNER_FILE in files else SIGNING_FILES)
        }
        signing |= {
            file: parse_signing_file(files.pop(file), file, origin, None, place=f"{_PLACE}, {file}")
            for file in KEY_FILES
            if file in files
        }
        if ROTATION_FILE in files:
            parse_rotation(files[ROTATION_FILE], origin, place=f"{_PLACE}, {ROTATION_FILE}")
        for name, text in files.items():
            if name == ROTATION_FILE or (name == SIGNER_FILE and text == signed_elsewhere(origin)):
                continue
            if not DATA_FILE.fullmatch(name):
                raise BadInput("this recovery kit is damaged: it holds a file no keyring has", place=_PLACE)
            decode_data_keys(text, kek, place=f"{_PLACE}, {name}")
    except Broken as error:
        raise BadInput(
            f"this recovery kit is damaged: {error.what}", place=error.place, mend="take another copy of the kit"
        ) from None
    if origin != label.origin:
        raise BadInput("this recovery kit is damaged: it names another log than its keys do", place=_PLACE)
    return RootKeys(origin, kek, window, signing), files


def _unseal(label: KitLabel, contents: object, passphrase: Passphrase | None) -> object:
    if not label.sealed:
        plain, digest = take(contents, _PLAIN_FIELDS, place=_PLACE)
        if digest != _digest(label, plain):
            raise BadInput("this recovery kit is damaged: its digest is not that of its contents", place=_PLACE)
        return plain
    if passphrase is None:
        raise BadInput("this recovery kit is sealed, and no passphrase was given", place=_PLACE)
    secret = open_sealed(passphrase, contents, purpose=_purpose(label), place=_PLACE)
    return parse_document(secret, place=_PLACE)


def _texts(value: object) -> dict[str, bytes]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise BadInput("this recovery kit is damaged: its contents are not files", place=_PLACE)
    return {name: text.encode("utf-8", "replace") for name, text in value.items()}


def _label_fields(label: KitLabel) -> dict[str, object]:
    return {
        "format": KIT_FORMAT,
        "origin": label.origin,
        "made_us": label.made_us,
        "segments": label.segments,
        "newest_segment": label.newest_segment,
    }


def _digest(label: KitLabel, files: object) -> str:
    return sha256(_purpose(label).encode() + format_document(files)).hexdigest()


def _purpose(label: KitLabel) -> str:
    return format_document(_label_fields(label)).decode()
