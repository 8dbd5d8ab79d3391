"""The files of a history on their way into a log: hashed, looked up, streamed, handed over in parts.

Every file is known by its SHA-256, and the log says how far it is; so a second run, also after a crash of either side,
goes on where the log ends. Files are read twice: once to know them, once for their records. What changed in between is
not imported to its end. Where CloudTrail's digests are among the files, they are judged after the log files.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import rsa

from graven.agent.trail.judge import DIGEST_FOLDER, Judgement, Verdict, content_of
from graven.agent.trail.store import FolderStore
from graven.cli.progress import Advance
from graven.core.errors import BadInput, Busy, GravenError
from graven.event import Actor, Event, encode_event
from graven.ingest.history import PARTS_MAX, POSITIONS_MAX, Part
from graven.ingest.record import Record
from graven.ingest.stream import Bytes, open_clear, stream_records

VERDICT_ACTION = "graven.import.cloudtrail_digest"
REQUEST_RECORDS = 1_000
REQUEST_BYTES = 1 << 20
BUSY_WAIT_S_MAX = 600.0
FILES_MAX = 1_000_000

_CHUNK_BYTES = 1 << 20
_NAME_CHARS_MAX = 1024


class Door(Protocol):
    """Where history is handed over: a log's directory, its server's socket, or a server elsewhere."""

    def import_history(self, source: str, parts: Sequence[Part]) -> dict[str, Any]: ...
    def history_positions(self, source: str, files: Sequence[str]) -> list[dict[str, Any]]: ...


@dataclass(slots=True)
class HistoryFile:
    """One file. `root` is the folder it was found in, if one was named."""

    path: Path
    name: str
    root: Path | None = None
    size_bytes: int = 0
    sha256: str = ""

    @property
    def is_digest(self) -> bool:
        return DIGEST_FOLDER in self.name.split("/")


@dataclass(slots=True)
class Imported:
    """What one run did."""

    files: int = 0
    known: int = 0
    """Files that the log had whole."""
    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    failed: list[tuple[str, GravenError]] = field(default_factory=list)


def find_files(paths: Sequence[Path]) -> list[HistoryFile]:
    """The files named, and those in the folders named, in order of their names; digests behind everything else.

    Raises BadInput: there is none, or what is named cannot be read twice.
    """
    found: list[HistoryFile] = []
    for path in paths:
        if path.is_dir():
            root = path.resolve()
            inside = sorted(one for one in root.rglob("*") if one.is_file() and one.suffix != ".signature")
            found += [HistoryFile(one, _name(f"{root.name}/{one.relative_to(root)}"), root) for one in inside]
        elif path.is_file():
            found.append(HistoryFile(path, _name(path.name)))
        else:
            raise BadInput("not a file or folder", place=str(path), mend="files are read twice: a pipe cannot be")
        if len(found) > FILES_MAX:
            raise BadInput(f"more than {FILES_MAX} files", mend="import them in several runs")
    if not found:
        raise BadInput("there is no file to import", place=", ".join(map(str, paths))[:200])
    return sorted(found, key=lambda one: one.is_digest)  # a sort that keeps the order of the rest


def hash_files(files: Sequence[HistoryFile], advance: Advance) -> list[HistoryFile]:
    """Each file with its size and SHA-256; of several of the same content the first. Raises BadInput."""
    out: dict[str, HistoryFile] = {}
    for one in files:
        digest, size = sha256(), 0
        try:
            with one.path.open("rb") as file:
                while data := file.read(_CHUNK_BYTES):
                    digest.update(data)
                    size += len(data)
                    advance(len(data))
        except OSError as error:
            raise BadInput(f"the file cannot be read: {error.strerror}", place=str(one.path)) from None
        one.size_bytes, one.sha256 = size, digest.hexdigest()
        out.setdefault(one.sha256, one)
    return list(out.values())


class Importer:
    """One run over files that were hashed."""

    def __init__(
        self,
        door: Door,
        source: str,
        *,
        type_: str = "",
        keys: Mapping[str, rsa.RSAPublicKey] | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._door, self._source, self._type, self._keys = door, source, type_, keys or {}
        self._sleep = sleep
        self._judges: dict[Path, tuple[FolderStore, Sequence[str], Judgement]] = {}
        self._waiting: list[Part] = []
        self._waiting_records = self._waiting_bytes = 0
        self.done = Imported()

    def run(self, files: Sequence[HistoryFile], advance: Advance) -> Imported:
        """Import what the log does not have. A file that cannot be read to its end is among `failed`; what was read of
        it stands. Raises what the log answers.
        """
        for start in range(0, len(files), POSITIONS_MAX):
            some = files[start : start + POSITIONS_MAX]
            known = self._door.history_positions(self._source, [one.sha256 for one in some])
            for file, position in zip(some, known, strict=True):
                self.done.files += 1
                try:
                    self._file(file, int(position["records"]), done=bool(position["done"]))
                except _FromLog:
                    raise
                except BadInput as error:
                    self.done.failed.append((file.name, error))
                except OSError as error:
                    self.done.failed.append((file.name, BadInput(f"the file cannot be read: {error.strerror}")))
                advance(file.size_bytes)
        self._send()
        return self.done

    def _file(self, file: HistoryFile, records: int, *, done: bool) -> None:
        if file.is_digest and file.root is not None:
            self._digest(file, file.root, done=done)
        elif done:
            self.done.known += 1
        else:
            self._records(file, records)

    def _records(self, file: HistoryFile, first: int) -> None:
        with file.path.open("rb") as opened:
            watched = _Hashed(opened)
            part = self._part(file, first)
            records = enumerate(stream_records(open_clear(watched), self._type))
            try:
                for number, record in records:
                    if number < first:
                        continue
                    if len(part.records) >= REQUEST_RECORDS or self._waiting_bytes >= REQUEST_BYTES:
                        self._add(part)
                        self._send()
                        part = self._part(file, number)
                    _put(part, record)
                    self._waiting_bytes += len(record.raw)
            except _FromLog:
                raise
            except BadInput:  # it ends too soon: what was there is kept
                if part.records:
                    self._add(part)
                raise
            watched.drain()
        if watched.sha256 != file.sha256:
            raise BadInput("the file changed while it was read", mend="history is what no longer changes: try again")
        part.last = True
        self._add(part)

    def _digest(self, file: HistoryFile, root: Path, *, done: bool) -> None:
        """Judge a digest; its verdict goes in with it. One that the log has is only needed for the next."""
        store, folders, judgement = self._judge(root)
        name = file.path.relative_to(root).as_posix()
        folder = max((one for one in folders if name.startswith(f"{one}/")), key=len, default="")
        data, signature = store.read(name)
        verdicts = list(judgement.judge(folder, name, content_of(data), signature, files=not done))
        if done:
            self.done.known += 1
            return
        for verdict in verdicts:
            self.done.verdicts[verdict.outcome] = self.done.verdicts.get(verdict.outcome, 0) + 1
        part = self._part(file, 0)
        part.said, part.last = [_said(verdict) for verdict in verdicts], True
        self._add(part)

    def _judge(self, root: Path) -> tuple[FolderStore, Sequence[str], Judgement]:
        if root not in self._judges:
            store = FolderStore(str(root), settle_s=0)
            self._judges[root] = store, store.folders(), Judgement(store, self._keys)
        return self._judges[root]

    def _part(self, file: HistoryFile, first: int) -> Part:
        return Part(file.name, file.sha256, file.size_bytes, self._type, first, False, [])

    def _add(self, part: Part) -> None:
        """A part for the next request; several small files share one."""
        self._waiting.append(part)
        self._waiting_records += len(part.records) + len(part.said)
        if (
            len(self._waiting) >= PARTS_MAX
            or self._waiting_records >= REQUEST_RECORDS
            or self._waiting_bytes >= REQUEST_BYTES
        ):
            self._send()

    def _send(self) -> None:
        parts, self._waiting = self._waiting, []
        self._waiting_records = self._waiting_bytes = 0
        if not parts:
            return
        until_s = time.monotonic() + BUSY_WAIT_S_MAX
        while True:
            try:
                answer = self._door.import_history(self._source, parts)
                break
            except Busy as error:
                if time.monotonic() > until_s:
                    raise
                self._sleep(max(1, error.retry_after_s))
            except BadInput as error:
                raise _FromLog(error.what, place=error.place, mend=error.mend) from None
        self.done.records += sum(len(part.records) for part in parts)
        self.done.accepted += answer["accepted"]
        self.done.duplicates += answer["duplicates"]
        self.done.quarantined += answer["quarantined"]


class _FromLog(BadInput):
    """What the log refuses; going on would not help."""


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: Bytes) -> None:
        self._file, self._digest = file, sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        return data

    def drain(self) -> None:
        while self.read(_CHUNK_BYTES):
            pass

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _put(part: Part, record: Record) -> None:
    """A record into a part. Types are one a file."""
    part.type = record.type
    if record.fault:
        size, digest = record.size_bytes or len(record.raw), record.sha256 or sha256(record.raw).hexdigest()
        part.cut[len(part.records)] = (record.fault, size, digest)
    part.records.append(record.raw)


def _said(verdict: Verdict) -> bytes:
    """A verdict as an event of the importer's own."""
    return encode_event(
        Event(
            actor=Actor(type="system", id="graven-import"),
            action=VERDICT_ACTION,
            verb="other",
            category="system",
            outcome=verdict.outcome,
            message=verdict.message,
            data=dict(verdict.data),
        )
    )


def _name(text: str) -> str:
    """A file's name as it can be shown, and bounded."""
    shown = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in shown)[-_NAME_CHARS_MAX:]


def size_of(files: Sequence[HistoryFile]) -> int:
    """How many bytes there are to read."""
    return sum(one.path.stat().st_size for one in files if one.path.exists())
