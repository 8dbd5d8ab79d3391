"""The records of a file of any size, one after the other, in bounded memory.

    file ─ clear (gzip, Zstandard) ─ shape, told by its beginning ─ records, each the verbatim slice that holds it

Shapes are those of `split_records`: lines of JSON or text, put together where several make one record; a JSON array,
however long, taken element by element; one JSON document or container, which must fit in `DOCUMENT_BYTES_MAX`; and the
CSV exports of `csv_export`. The same bytes give the same records in the same order, so their count is a place to go on
from. What is too long for a record is kept as its first 64 KiB, with the size and hash of the whole; where an array
stops being JSON, all that follows is one such record. Nothing is left out.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256
from json import JSONDecodeError, JSONDecoder
from typing import Any, Protocol

from graven.core.errors import BadInput
from graven.ingest.assemble import Assembler, shape_of
from graven.ingest.csv_export import CsvRows, is_export
from graven.ingest.record import Record
from graven.ingest.split import unpack
from graven.log.seal import zstd

__all__ = ["DOCUMENT_BYTES_MAX", "RECORD_BYTES_MAX", "Bytes", "open_clear", "stream_records"]

DOCUMENT_BYTES_MAX = 256 << 20
"""A JSON document that is no array: it is read whole."""

RECORD_BYTES_MAX = 4 << 20
KEPT_BYTES = 64 << 10
ZSTD_WINDOW_LOG_MAX = 27

_CHUNK_BYTES = 1 << 20
_LOOK_BYTES = 64 << 10
_SPACE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_TOO_LONG = f"the record is longer than {RECORD_BYTES_MAX} bytes"
_NOT_JSON = "the array stops being JSON here: this and all behind it is kept as one record"
_ELEMENTS = JSONDecoder(parse_float=str, parse_int=str, object_pairs_hook=len)


class Bytes(Protocol):
    """Something to read from, as a file opened for reading bytes."""

    def read(self, size: int = -1, /) -> bytes: ...


def open_clear(file: Bytes) -> Bytes:
    """`file` read clear: gzip (any number of members) and Zstandard (any number of frames) are uncompressed on the
    way.
    """
    start = file.read(4)
    whole: Any = _Chain([start], file.read)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=whole)
    if start == b"\x28\xb5\x2f\xfd":
        return zstd.ZstdFile(whole, options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX})
    return _Chain([start], file.read)


def stream_records(file: Bytes, type_: str = "") -> Iterator[Record]:
    """The records of a clear file, in order.

    Raises BadInput: it cannot be uncompressed to its end, or is one JSON document that is too large. What was given
    before that stands.
    """
    try:
        yield from _records(_Reader(file), type_)
    except (EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError) as error:
        raise BadInput(
            "the file cannot be uncompressed to its end", place=str(error)[:120], mend="it was cut or damaged"
        ) from None


class _Reader:
    """Bytes with a look ahead, in lines or chunks, none longer than asked for."""

    def __init__(self, file: Bytes) -> None:
        self._read = getattr(file, "read1", file.read)  # what there is, also before a place that is damaged
        self._held = b""
        self._ended = False

    def look(self, size: int) -> bytes:
        """The next `size` bytes, or as many as there are, without taking them."""
        while len(self._held) < size and self._fill():
            pass
        return self._held[:size]

    def skip(self, size: int) -> None:
        self._held = self._held[size:]

    def chunk(self) -> bytes:
        """Some bytes; none at the end."""
        if not self._held:
            self._fill()
        held, self._held = self._held, b""
        return held

    def take(self, size: int) -> bytes:
        """The next `size` bytes, or as many as there are."""
        data = self.look(size)
        self.skip(len(data))
        return data

    def line(self, size_max: int) -> tuple[bytes, bool]:
        """(the next line, or its first `size_max` bytes; whether that is all of it). (b"", True) is the end."""
        searched = 0
        while (at := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held)
            if searched >= size_max:
                line, self._held = self._held[:size_max], self._held[size_max:]
                return line, False
            if not self._fill():
                line, self._held = self._held, b""
                return line, True
        if at + 1 > size_max:
            line, self._held = self._held[:size_max], self._held[size_max:]
            return line, False
        line, self._held = self._held[: at + 1], self._held[at + 1 :]
        return line, True

    def lines(self) -> Iterator[list[bytes]]:
        """Whole lines without their ends, a chunk of them at a time; stops before one that is too long."""
        while True:
            at = self._held.rfind(b"\n")
            if at >= 0:
                whole, self._held = self._held[:at], self._held[at + 1 :]
                yield whole.split(b"\n")
            if len(self._held) > RECORD_BYTES_MAX:
                return
            if not self._fill():
                if self._held:
                    last, self._held = self._held, b""
                    yield [last]
                return

    @property
    def at_end(self) -> bool:
        return not self._held and not self._fill()

    def _fill(self) -> bool:
        if self._ended:
            return False
        data = self._read(_CHUNK_BYTES)
        self._ended = not data
        self._held += data
        return bool(data)


def _records(reader: _Reader, type_: str) -> Iterator[Record]:
    head = reader.look(_LOOK_BYTES)
    if head.startswith(_BOM):
        reader.skip(len(_BOM))
        head = reader.look(_LOOK_BYTES)
    first = head.lstrip(_SPACE)[:1]
    if is_export(head, type_):
        yield from _exported(reader, type_)
    elif first == b"[" and not _is_text(head):
        yield from _array(reader, type_)
    elif first == b"{":
        yield from _documents(reader, type_)
    else:
        yield from _text(reader, shape_of(head, type_), type_)


def _is_text(head: bytes) -> bool:
    """Whether a `[` begins a line of text, as `[2026-03-01] …` does, and no array of JSON objects."""
    inside = head.lstrip(_SPACE)[1:].lstrip(_SPACE)
    return not inside.startswith((b"{", b"]", b"null"))


def _text(reader: _Reader, shape: str, type_: str) -> Iterator[Record]:
    found = type_ or ("pgaudit" if shape == "pgaudit-transcript" else "")
    assembler = Assembler(shape)
    while not reader.at_end:
        for lines in reader.lines():
            yield from (Record(piece, found) for one in assembler.feed(lines) if (piece := one.strip(_SPACE)))
        yield from (Record(piece, found) for one in assembler.flush() if (piece := one.strip(_SPACE)))
        if not reader.at_end:
            yield _long_line(reader, found)


def _documents(reader: _Reader, type_: str) -> Iterator[Record]:
    """NDJSON; or one document, written on one line or over several, or a container of records."""
    line, whole = reader.line(DOCUMENT_BYTES_MAX)
    while whole and line and not line.strip(_SPACE):
        line, whole = reader.line(DOCUMENT_BYTES_MAX)
    if not whole:
        raise _too_large()
    text = line.strip(_SPACE)
    if _is_json(text):
        if not reader.at_end:
            yield Record(text, type_)
            yield from _ndjson(reader, type_)
            return
        yield from _document(text, type_)
        return
    parts, size = [line], len(line)
    while data := reader.chunk():
        parts.append(data)
        size += len(data)
        if size > DOCUMENT_BYTES_MAX:  # lines, of which the first is broken
            yield from _ndjson(_Reader(_Chain(parts, lambda _size: reader.chunk())), type_)
            return
    text = b"".join(parts).strip(_SPACE)
    if _is_json(text):
        yield from _document(text, type_)
    else:
        yield from _ndjson(_Reader(io.BytesIO(text)), type_)


def _document(text: bytes, type_: str) -> Iterator[Record]:
    elements = unpack(text)
    for element in [text] if elements is None else elements:
        yield Record(element, type_)


def _ndjson(reader: _Reader, type_: str) -> Iterator[Record]:
    while not reader.at_end:
        for lines in reader.lines():
            yield from (Record(piece, type_) for line in lines if (piece := line.strip(_SPACE)))
        if not reader.at_end:
            yield _long_line(reader, type_)


def _exported(reader: _Reader, type_: str) -> Iterator[Record]:
    rows = CsvRows()
    while not reader.at_end:
        for lines in reader.lines():
            yield from rows.feed(lines, type_)
        if not reader.at_end:
            yield _long_line(reader, type_)
    yield from rows.finish(type_)


def _array(reader: _Reader, type_: str) -> Iterator[Record]:
    """The elements of an array, as they stand in it. An element that is not whole yet is looked at again when there is
    twice as much, so that a long one is looked through a bounded number of times.
    """
    text, at, wanted = _decode(reader.chunk()).lstrip(), 1, _CHUNK_BYTES
    while True:
        at = _skip(text, at, " \t\r\n,")
        if text[at : at + 1] == "]":
            return
        end = _end_of(text, at)
        if end < 0:
            if len(text) - at <= RECORD_BYTES_MAX and (more := _decode(reader.take(wanted))):
                text, at, wanted = text[at:] + more, 0, 2 * wanted
                continue
            if text[at:].strip():
                yield _rest(_encode(text[at:]), reader, type_)
            return
        if (element := text[at:end]) != "null":
            yield _record(_encode(element), type_)
        at, wanted = end, _CHUNK_BYTES
        if at > _CHUNK_BYTES:
            text, at = text[at:], 0


def _end_of(text: str, at: int) -> int:
    """Where the JSON value that begins at `at` ends; -1: not in this text, or it is none."""
    try:
        _, end = _ELEMENTS.raw_decode(text, at)
    except (JSONDecodeError, RecursionError):
        return -1
    return end if end < len(text) else -1  # a number at the very end may go on


def _decode(data: bytes) -> str:
    """Text that `_encode` turns back into these very bytes, also where a character is cut or is none."""
    return data.decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


class _Chain:
    """Parts that were read, then what `more` gives."""

    def __init__(self, parts: list[bytes], more: Callable[[int], bytes]) -> None:
        self._parts, self._more = parts[::-1], more

    def read(self, size: int = -1, /) -> bytes:
        if not self._parts:
            return self._more(size)
        part = self._parts.pop()
        if 0 <= size < len(part):
            self._parts.append(part[size:])
            part = part[:size]
        return part


def _rest(first: bytes, reader: _Reader, type_: str) -> Record:
    """What is left of an array that is none."""
    digest, size, kept = sha256(first), len(first), first[:KEPT_BYTES]
    while data := reader.chunk():
        digest.update(data)
        size += len(data)
        kept = (kept + data)[:KEPT_BYTES] if len(kept) < KEPT_BYTES else kept
    return Record(kept, type_, fault=_NOT_JSON, size_bytes=size, sha256=digest.hexdigest())


def _long_line(reader: _Reader, type_: str) -> Record:
    """A line that is longer than a record may be."""
    digest, size, kept, whole = sha256(), 0, b"", False
    while not whole:
        piece, whole = reader.line(RECORD_BYTES_MAX)
        piece = piece.removesuffix(b"\n") if whole else piece
        digest.update(piece)
        size += len(piece)
        kept = (kept + piece)[:KEPT_BYTES] if len(kept) < KEPT_BYTES else kept
    return Record(kept, type_, fault=_TOO_LONG, size_bytes=size, sha256=digest.hexdigest())


def _record(data: bytes, type_: str) -> Record:
    if len(data) <= RECORD_BYTES_MAX:
        return Record(data, type_)
    return Record(data[:KEPT_BYTES], type_, fault=_TOO_LONG, size_bytes=len(data), sha256=sha256(data).hexdigest())


def _is_json(text: bytes) -> bool:
    return unpack(text) is not None or _decodes(text)


def _decodes(text: bytes) -> bool:
    try:
        _ELEMENTS.decode(text.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _too_large() -> BadInput:
    return BadInput(
        f"one JSON document of more than {DOCUMENT_BYTES_MAX} bytes", mend="split it, or write one record a line"
    )
