"""Answers and the bytes they answer to, kept on disk: a promise is worth what its holder can show.

A directory (mode 0700) of files (mode 0600) that are only ever appended to. Each client makes files of its own, so
several may share a directory:

    receipts-<µs>-<random>.ndjson    one line for each request whose answer held; a new file after `file_bytes`
    wrong-<µs>-<random>.answer.json  an answer that did not hold, exactly as it came
    wrong-<µs>-<random>.sent         the body it answered to, exactly as it was sent (before compression)

A line is one JSON object: `format` "graven-kept/v1", `kept_us` (when, µs since the Unix epoch), `url`, `answer` (the
server's object) and `sent` (the body as a string). It shows what was promised as long as it exists, also about events
the log has erased since: keep it as the events themselves would be kept. A line is written at once, so it outlives the
process; it is synced when its file is full, at `sync` and at `close`, so the last ones may not outlive the machine.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graven.core.document import as_number, as_object, as_text, parse_document
from graven.core.errors import BadInput, Broken
from graven.core.note import Key
from graven.core.receipt import Receipt, verify_opened
from graven.event import split_body
from graven.keys.signature import verify_signature
from graven.runtime.clock import Clock, SystemClock
from graven.runtime.files import File, Files, LocalFiles, make_dir

FORMAT = "graven-kept/v1"
FILE_BYTES = 64 << 20
LINE_BYTES_MAX = 1 << 30

_PATTERN = "receipts-*.ndjson"


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """One kept line. `answer` is the server's object, `body` what was sent; `file` and `line` (from 1) say where."""

    kept_us: int
    url: str
    answer: Mapping[str, object]
    body: bytes
    file: Path
    line: int

    @property
    def events(self) -> list[bytes]:
        """The events that were sent, in order, byte for byte."""
        return split_body(self.body)

    def verify(self, keys: Sequence[Key]) -> Receipt:
        """The promise, judged again with the log's keys. Raises Disproved, and BadInput for an answer that is none."""
        return verify_opened(self.answer, self.events, keys, verify_signature)


class ReceiptStore:
    """Where one client keeps receipts. Threads may share it.

    Raises:
        BadInput: the directory cannot be made or written to.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        file_bytes: int = FILE_BYTES,
        files: Files | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.directory = Path(directory).absolute()
        self._file_bytes = file_bytes
        self._files, self._clock = files or LocalFiles(), clock or SystemClock()
        self._lock = threading.Lock()
        self._file: File | None = None
        self._size = 0
        try:
            make_dir(self._files, str(self.directory))
        except OSError as error:
            raise _no_directory(self.directory, error.strerror or "") from None
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise _no_directory(self.directory, "this user may not write there")

    def keep(self, answer: bytes, body: bytes, *, url: str) -> None:
        """Append one line. `answer` is JSON, `body` is UTF-8.

        Raises Broken when it cannot be written; what was kept before stays whole, and the next call tries again.
        """
        fields = {
            "format": FORMAT,
            "kept_us": self._clock.now_us(),
            "url": url,
            "answer": json.loads(answer),
            "sent": body.decode(),
        }
        line = json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"
        with self._lock:
            try:
                if self._file is not None and self._size + len(line) > self._file_bytes and self._size:
                    self._finish()
                if self._file is None:
                    self._begin()
                self._write(line)
            except OSError as error:
                raise Broken(
                    "a receipt cannot be kept", place=f"{self.directory}: {error.strerror}", mend="make room there"
                ) from None

    def keep_wrong(self, answer: bytes, body: bytes) -> tuple[Path, Path]:
        """Write an answer that did not hold and the body it answered to, durably. Raises OSError."""
        stem = self._name("wrong", "")
        paths = (f"{stem}answer.json", f"{stem}sent")
        for path, data in zip(paths, (answer, body), strict=True):
            file = self._files.create(path)
            try:
                file.write_at(0, data)
                file.sync()
            finally:
                file.close()
        self._files.sync_dir(str(self.directory))
        return Path(paths[0]), Path(paths[1])

    def sync(self) -> None:
        """Return when every line kept so far is durable. Raises Broken; a file whose sync failed is not used again."""
        with self._lock:
            try:
                if self._file is not None:
                    self._file.sync()
            except OSError as error:
                self._drop()
                raise Broken("receipts cannot be synced", place=f"{self.directory}: {error.strerror}") from None

    def close(self) -> None:
        """Make everything durable and let go of the file. Raises Broken. The next `keep` starts a new file."""
        with self._lock:
            try:
                self._finish()
            except OSError as error:
                raise Broken("receipts cannot be synced", place=f"{self.directory}: {error.strerror}") from None

    def _begin(self) -> None:
        self._file, self._size = self._files.create(self._name("receipts", "ndjson")), 0
        try:
            self._files.sync_dir(str(self.directory))
        except OSError:
            self._drop()  # its name may not last, so nothing is kept in it
            raise

    def _write(self, line: bytes) -> None:
        file = self._file
        assert file is not None
        try:
            file.write_at(self._size, line)
        except OSError:
            try:
                file.truncate(self._size)
            except OSError:
                self._drop()  # its last line stays cut; the next one goes into a new file
            raise
        self._size += len(line)

    def _finish(self) -> None:
        if self._file is None:
            return
        try:
            self._file.sync()
        finally:
            self._drop()

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _name(self, kind: str, ending: str) -> str:
        return str(self.directory / f"{kind}-{self._clock.now_us():016d}-{os.urandom(4).hex()}.{ending}")


def read_receipts(directory: str | Path) -> Iterator[KeptReceipt]:
    """Every kept line in a directory, oldest file first. Nothing is judged: see `KeptReceipt.verify`.

    What a crash leaves of lines that were not durable yet is passed over: a last line without its end, and lines with
    zeros in them, where the disk has a place for bytes that never came. Raises Broken, with file and line, for any
    other line that is not one.
    """
    for path in sorted(Path(directory).glob(_PATTERN)):
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n") and b"\0" not in line:
                    yield _parse_line(line, path, number)


def _no_directory(directory: Path, why: str) -> BadInput:
    mend = "make its parent, and let this user write there"
    return BadInput("receipts cannot be kept in this directory", place=f"{directory}: {why}", mend=mend)


def _parse_line(line: bytes, path: Path, number: int) -> KeptReceipt:
    try:
        document = parse_document(line, max_bytes=LINE_BYTES_MAX, what="a kept receipt")
        fields = as_object(document, "line", keys=("format", "kept_us", "url", "answer", "sent"))
        if fields["format"] != FORMAT:
            raise BadInput("a format that is not known here", place="format", mend=f"this version reads {FORMAT}")
        answer = as_object(fields["answer"], "answer", keys=(), more=None)
        sent = as_text(fields["sent"], "sent").encode()
        url = as_text(fields["url"], "url")
        return KeptReceipt(as_number(fields["kept_us"], "kept_us"), url, answer, sent, path, number)
    except BadInput as error:
        place = f"{path}, line {number}" + (f", {error.place}" if error.place else "")
        raise Broken(f"this line is no kept receipt: {error.what}", place=place) from None
