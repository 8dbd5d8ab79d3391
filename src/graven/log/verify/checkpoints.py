"""The trees that were stated: by the published checkpoint, its history, the high-water mark, the marks in `state/`, and
the checkpoint an auditor kept. Each is a size and a root; whether the journal leads to them is decided at the end.

On a log's own directory every checkpoint must be signed by each of the log's keys in office at its size, and by nobody
unknown: the other lines are good cosignatures of witnesses of a policy the log kept (`anchor/policies.py`), or one the
caller gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graven.core.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint, parse_checkpoint
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.handover import Tenures
from graven.core.merkle import EMPTY_ROOT
from graven.core.note import MAX_NOTE_BYTES, Key, parse_note
from graven.core.policy import Succession, log_keys_at
from graven.core.receipt import open_certificate, parse_certificate
from graven.core.spelling import encode_base64
from graven.core.succession import follow
from graven.journal.mark import COMMITTED, MARK_SIZE, SYNCED, Mark, decode_mark
from graven.keys.keyring import Keyring
from graven.keys.rootkeys import HIGHEST_FILE, nothing_signed
from graven.keys.signature import verify_signature
from graven.log.certificates import FOLDER, NOTE_BYTES_MAX, certificate_name, certificate_paths
from graven.log.verify.reading import is_blank, read_bounded
from graven.log.verify.report import Findings

HISTORY_NOTES_A_TASK = 200
SINCE_PLACE = "--since"


@dataclass(frozen=True, slots=True)
class Stated:
    """A tree that something states. `proven`: the log's keys signed it."""

    what: str
    place: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class HistoryTask:
    """Some notes of the history: (path relative to the log's directory)."""

    directory: str
    paths: tuple[str, ...]
    tenures: Tenures
    witnesses: tuple[Key, ...] = ()


@dataclass(slots=True)
class HistoryResult:
    """What these notes state."""

    stated: list[Stated] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)


def read_published(
    directory: Path, tenures: Tenures, findings: Findings, witnesses: Sequence[Key] = ()
) -> tuple[Stated | None, bool]:
    """The published checkpoint, and whether it was signed as it must be. None where not even its text can be read."""
    place = "log/checkpoint"
    data = _read(directory / place, place, findings)
    if not data:
        if data is not None:
            findings.fail("the published checkpoint is empty", place)
        return None, False
    stated = _as_stated(data, "the published checkpoint", place)
    try:
        open_own(data, tenures, witnesses)
    except GravenError as error:
        findings.error(as_disproved(error, "the published checkpoint"), place)
        return stated, False
    return stated, True


def read_highest(keyring: Keyring, tenures: Tenures, findings: Findings) -> Stated | None:
    """The largest tree ever signed, as the mark beside the signing keys has it."""
    highest: Stated | None = None
    try:
        marks = keyring.marks()
    except GravenError as error:
        findings.fail(error.what, error.place)
        return None
    if not keyring.signs_elsewhere and not any(path.startswith(f"{keyring.directory}/") for path, _ in marks):
        findings.note(f"what was signed before is not known: {keyring.directory} has no {HIGHEST_FILE}")
    for path, data in marks:
        if data == nothing_signed(keyring.origin):
            continue
        try:
            checkpoint = open_own(data, tenures).checkpoint
        except GravenError as error:
            findings.error(as_disproved(error, f"the mark {HIGHEST_FILE}"), path)
            continue
        if highest is None or checkpoint.size > highest.size:
            highest = Stated("the highest checkpoint ever signed", path, checkpoint.size, checkpoint.root)
    return highest


def read_marks(directory: Path) -> tuple[Mark | None, Mark | None]:
    """(committed mark, synced cursor). Both may be deleted; half a record is none."""
    found = []
    for name, magic in (("committed", COMMITTED), ("synced", SYNCED)):
        try:
            data = read_bounded(str(directory / "state" / name), MARK_SIZE)
        except (Broken, Disproved):
            data = None
        found.append(decode_mark(magic, data) if data else None)
    return found[0], found[1]


def open_since(data: bytes, trust: Tenures | Succession, findings: Findings) -> Stated:
    """The checkpoint an auditor kept: one of the keys that were in office at its size signed it.

    Raises BadInput when it is none, or of another log.
    """
    checkpoint, _ = parse_checkpoint(parse_note(data).text)
    size = checkpoint.size
    keys = trust.at(size)[0] if isinstance(trust, Tenures) else log_keys_at(trust, size)
    if all(key.name != checkpoint.origin for key in keys):
        raise BadInput(f"the older checkpoint is of another log: {checkpoint.origin!r}", mend="give one of this log")
    what, place = "the older checkpoint given", SINCE_PLACE
    try:
        open_checkpoint(data, keys, verify_signature)
    except GravenError as error:
        findings.error(as_disproved(error, what), place)
    return Stated(what, place, checkpoint.size, checkpoint.root)


def check_certificates(directory: Path, tenures: Tenures, findings: Findings) -> list[tuple[int, int]]:
    """Every kept certificate of the receipt key was signed by the log's key of its time, and is called by its sizes.

    Returns the (first, last) sizes of the good ones.
    """
    good: list[tuple[int, int]] = []
    for path in certificate_paths(directory):
        place = f"{FOLDER}/{path.name}"
        try:
            note = read_bounded(str(path), NOTE_BYTES_MAX)
            if note is None:
                continue  # gone since it was listed
            parsed = parse_note(note)
            keys = tenures.at(parse_certificate(parsed.text).first)[0]
            found = open_certificate(note, keys, verify_signature)
            ours = {(key.name, key.id) for key in tenures.every}
            if any((line.name, line.key_id) not in ours for line in parsed.signatures) or path.name != certificate_name(
                found.first, found.last
            ):
                raise Disproved("its name says other sizes, or somebody else signed it, too")
            good.append((found.first, found.last))
        except GravenError as error:
            findings.error(as_disproved(error, "a certificate of the receipt key"), place)
    return good


def check_covered(directory: Path, certified: Sequence[tuple[int, int]], end: int, findings: Findings) -> None:
    """Whether a certificate is kept for receipts of the newest tree, of `end` entries. A crash may come before it was
    written, so that none is there is only told. Logs that keep none at all are older than the folder."""
    if (directory / FOLDER).is_dir() and not any(first <= end <= last for first, last in certified):
        findings.note(
            f"no certificate in {FOLDER}/ covers receipts of the tree of {end} entries: whoever has such a receipt "
            "without its certificate cannot have it judged"
        )


def verify_history(task: HistoryTask) -> HistoryResult:
    """Read and judge some notes of the history."""
    result = HistoryResult()
    for path in task.paths:
        data = _read(Path(task.directory, path), path, result.findings, missing_is_fine=True)
        if data is None:
            continue  # thinned since it was listed
        if is_blank(data):
            result.findings.note(f"a checkpoint of the history is empty, as a power cut may leave it: {path}")
            continue
        try:
            signed = open_own(data, task.tenures, task.witnesses)
        except GravenError as error:
            result.findings.error(as_disproved(error, "a checkpoint of the history"), path)
            continue
        size = signed.checkpoint.size
        if path.rpartition("/")[2] != f"{size:020d}":
            what = f"a checkpoint of the history is of another size ({size}) than its name says"
            result.findings.disprove(what, path)
        result.stated.append(Stated("a checkpoint of the history", path, size, signed.checkpoint.root))
    return result


def check_handovers(documents: Sequence[bytes], tenures: Tenures, findings: Findings) -> None:
    """Whether each published hand-over is proof for those who know the first keys."""
    try:
        follow(tenures.first_keys, documents, verify_signature)
    except GravenError as error:
        findings.error(as_disproved(error, "a hand-over of the signing keys"), "log/handover")


def check_stated(stated: Stated, roots: dict[int, bytes], end: int, findings: Findings) -> None:
    """Whether the tree of the journal, which ends at index `end`, is the one stated."""
    root = roots.get(stated.size) if stated.size else EMPTY_ROOT
    if stated.size > end:
        what = f"the journal ends at {end}, but {stated.what} is of {stated.size} entries"
        findings.fail(what, stated.place, end, stated.size)
        if root is None:
            return
    if root is None:
        what = f"whether the journal leads to {stated.what}, of {stated.size} entries, cannot be told"
        findings.fail(what, stated.place)
    elif root != stated.root:
        findings.disprove(
            f"the journal's tree of {stated.size} entries is not that of {stated.what}:"
            f" expected root {encode_base64(stated.root)}, found {encode_base64(root)}",
            stated.place, 0, max(stated.size, 1),
        )  # fmt: skip


def check_history(history: Sequence[Stated], roots: dict[int, bytes], end: int, findings: Findings) -> None:
    """As `check_stated` for the notes of the history, of which there may be very many: told in one line a kind."""
    beyond = [one for one in history if one.size > end]
    within = [one for one in history if one.size <= end]
    untold = [one for one in within if one.size and one.size not in roots]
    forked = [one for one in within if one not in untold and one.root != roots.get(one.size, EMPTY_ROOT)]
    if beyond:
        what = f"the journal ends at {end}, but {len(beyond)} checkpoints of its history are of more entries"
        findings.fail(what, _span(beyond), end, max(one.size for one in beyond))
    if untold:
        findings.fail(
            f"whether the journal leads to {len(untold)} checkpoints of its history cannot be told", _span(untold)
        )
    if forked:
        first = min(one.size for one in forked)
        what = f"the journal's tree is not that of {len(forked)} checkpoints of its history, from size {first} on"
        findings.disprove(what, _span(forked), 0, first)


def open_own(data: bytes, tenures: Tenures, witnesses: Sequence[Key] = ()) -> SignedCheckpoint:
    """A checkpoint from the log's own directory. Raises BadInput, Disproved."""
    return tenures.open(data, verify_signature, cosigners=witnesses, only_known=True)


def as_disproved(error: GravenError, subject: str) -> GravenError:
    """The refusal of a checkpoint, told as a finding about `subject`; an error of the storage stays what it is."""
    found = f": {error.found}" if isinstance(error, Disproved) and error.found else ""
    if isinstance(error, Broken):
        return error
    at = f" ({error.place})" if error.place else ""
    return Disproved(f"{subject} is not the log's: {error.what}{at}{found}")


def _span(stated: Sequence[Stated]) -> str:
    return stated[0].place if len(stated) == 1 else f"{stated[0].place} … {stated[-1].place}"


def _read(path: Path, place: str, findings: Findings, *, missing_is_fine: bool = False) -> bytes | None:
    try:
        data = read_bounded(str(path), MAX_NOTE_BYTES)
    except GravenError as error:
        findings.error(error, place)
        return None
    if data is None and not missing_is_fine:
        findings.fail("a file of the log is missing", place)
    return data


def _as_stated(data: bytes, what: str, place: str) -> Stated | None:
    try:
        checkpoint: Checkpoint = parse_checkpoint(parse_note(data).text)[0]
    except BadInput:
        return None
    return Stated(what, place, checkpoint.size, checkpoint.root)
