"""A batch of records on its way to the log: taken apart, recognised, normalised, redacted, encoded, within the
model's limits.

    record ─ an event already? ─ too long? ─ text, or JSON ─ container? ─ envelope? ─ type ─ normalise ─ label ─ redact
           ─ encode

What is plainly the line of a host's program goes a shorter way to the same bytes (`host_lines`), unless it is to be
redacted.

Invariants: the order is kept; every record gives at least one event; no record ever raises or harms its neighbours:
what cannot be read, by whichever fault, becomes one quarantined event (docs/event-model.md), its bytes kept. The same
record gives the same bytes every time, so that sending it again is a duplicate. Immutable, safe to share between
threads; no clock, no I/O.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from graven.core.errors import BadInput
from graven.event import (
    DEPTH_MAX,
    ID_BYTES_MAX,
    MAX_EVENT_BYTES,
    QUARANTINE_ACTION,
    Event,
    Fault,
    decode_event,
    encode_event,
    quarantine,
)
from graven.event.decode import check_event
from graven.ingest.around import Around, Labels
from graven.ingest.detect import Detector
from graven.ingest.envelope import unwrap
from graven.ingest.host_lines import HostLines
from graven.ingest.normalize import OF_DOORS, SOURCES, plain
from graven.ingest.record import (
    HISTORY,
    UNKNOWN_TYPE,
    Document,
    Normalised,
    Normaliser,
    Record,
    Unparsed,
)
from graven.ingest.split import unpack
from graven.ingest.times import read_time

__all__ = ["NATIVE_TYPE", "Pipeline", "Redactor"]

NATIVE_TYPE = "graven"
"""The type of a record that already is an event of the model: kept verbatim, without a raw."""

_SPACE = b" \t\r\n"
_JSON_STARTS = b"{[ \t\r\n"
_EVENT_MARK = b'"action"'
_ELEMENTS_MAX = 50_000  # of one record that is a list
_EVENTS_MAX = 10_000  # of one record
_LONG_BYTES = 40_000  # shorter bytes cannot hold too many keys

_DECODE = msgspec.json.Decoder().decode
_DECODE_EVENT = msgspec.json.Decoder(Event).decode


class Redactor(Protocol):
    """What may take secrets out before anything is sealed."""

    def apply(self, event: Event, raw: bytes) -> tuple[Event, bytes]:
        """The event and raw to seal: the same objects where nothing was found."""
        ...

    def apply_raw(self, raw: bytes) -> bytes:
        """The raw to seal of a record that could not be read."""
        ...


class Pipeline:
    """Built once from configuration. `sources` are asked in order, a user's own mappings first."""

    def __init__(self, sources: Sequence[Normaliser] = SOURCES, *, redactor: Redactor | None = None) -> None:
        self._sources = tuple(sources)
        detector = Detector(self._sources)
        self._find = detector.find
        every = (*self._sources, *OF_DOORS)
        self._by_type = {source.TYPE: source for source in reversed(every)}
        self._redactor = redactor
        self._about = {source.TYPE: (source.TYPE, f"{source.TYPE}/{source.VERSION}") for source in every}
        self._host_lines = HostLines(detector, self._about) if redactor is None else None

    @property
    def types(self) -> tuple[str, ...]:
        """The source types that may be stated."""
        return (NATIVE_TYPE, *dict.fromkeys(source.TYPE for source in (*self._sources, *OF_DOORS)))

    def run(self, records: Sequence[Record]) -> list[Normalised]:
        """The events of `records`, in order."""
        out: list[Normalised] = []
        around = Around()
        lines = self._host_lines.reader() if self._host_lines is not None else None
        for position, record in enumerate(records):
            if lines is None or record.raw[:1] == b"{" or (line := lines.take(record, position)) is None:
                self._take(record, position, out, around, unpacked=False)
            else:
                out.append(line)
        return out

    def _take(self, record: Record, position: int, out: list[Normalised], around: Around, *, unpacked: bool) -> None:
        start = len(out)
        try:
            raw = record.raw
            if record.fault:
                raise Unparsed(record.fault)
            if not record.type and _EVENT_MARK in raw and (event := _event(raw)) is not None:
                out.append(self._native(record, raw, event, position))
                return
            if len(raw) > MAX_EVENT_BYTES:
                document, elements = None, None if unpacked else unpack(raw)
                if elements is None:
                    raise Unparsed(f"the record is longer than {MAX_EVENT_BYTES} bytes", mend="send less in one record")
            else:
                document = _document(raw)
                elements = None if unpacked or not _may_hold_records(document) else unpack(raw)
            if elements is not None:
                if len(elements) > _ELEMENTS_MAX:
                    raise Unparsed(f"the record holds more than {_ELEMENTS_MAX} records", mend="send fewer in one")
                for number, one in enumerate(elements):
                    inner_id = f"{record.id}/{number}" if record.id else ""
                    inner = Record(one, record.type, record.around, inner_id, record.otherwise)
                    self._take(inner, position, out, around, unpacked=True)
                return
            self._read(record, document, position, out, around)
        except Unparsed as unparsed:
            del out[start:]
            out.append(self._quarantine(record, position, unparsed))
        except BadInput as refused:
            del out[start:]
            bad = Unparsed(refused.what, path=refused.place, mend=refused.mend)
            out.append(self._quarantine(record, position, bad))
        except Exception as fault:  # a parser's own fault must not cost the record or its neighbours
            del out[start:]
            bad = Unparsed(f"the parser failed: {type(fault).__name__}", mend="report it, with the record if you may")
            out.append(self._quarantine(record, position, bad))

    def _read(self, record: Record, document: Document, position: int, out: list[Normalised], around: Around) -> None:
        said: Mapping[str, str] = record.around
        if isinstance(document, dict):
            inside, more = unwrap(document)
            if inside is not document:
                document = inside
                said = {**said, **more} if more else said
        source = self._source(record, document)
        if source is None:
            piece = record.raw.strip(_SPACE)
            out.append(self._native(record, piece, decode_event(piece), position))
            return
        events = source.normalise(record, document)
        if not events or len(events) > _EVENTS_MAX:
            raise Unparsed("the record holds no event" if not events else "the record holds too many events")
        labels, about = around.labels(said), self._about[source.TYPE]
        for number, event in enumerate(events):
            if event.id is None and record.id:
                event.id = record.id if len(events) == 1 else f"{record.id}/{number}"
            out.append(self._finish(event, record.raw, about, labels, position))

    def _source(self, record: Record, document: Document) -> Normaliser | None:
        """None: the record is an event of the model already."""
        if record.type:
            if record.type == NATIVE_TYPE:
                return None
            if (source := self._by_type.get(record.type)) is None:
                raise Unparsed("the stated source type is not known", mend="`graven parse --help` lists the types")
            return source
        found = self._find(document)
        if found is None:
            if isinstance(document, dict) and isinstance(document.get("action"), str):
                return None
            if (source := self._by_type.get(record.otherwise)) is not None:
                return source
            if isinstance(document, str):
                return plain
            raise Unparsed("no source type recognises the record", mend="state its type, or add a mapping for it")
        return found

    def _native(self, record: Record, piece: bytes, event: Event, position: int) -> Normalised:
        """An event of the model as it came; one of a history is marked, and kept as it came beside that."""
        if event.action == QUARANTINE_ACTION:
            raise Unparsed("the record says itself that it was quarantined", path="$.action")
        if HISTORY in record.around:
            event.labels = {**(event.labels or {}), HISTORY: record.around[HISTORY]}
            marked, raw = event, piece
            if self._redactor is not None:
                marked, raw = self._redactor.apply(event, piece)
            changed = marked is not event or raw is not piece
            return Normalised(_encode(marked), raw, event.id, NATIVE_TYPE, "", event.class_, changed, position)
        if self._redactor is not None:
            redacted, _ = self._redactor.apply(event, b"")
            if redacted is not event:
                sealed = encode_event(redacted)
                return Normalised(sealed, None, event.id, NATIVE_TYPE, "", event.class_, True, position)
        return Normalised(piece, None, event.id, NATIVE_TYPE, "", event.class_, False, position)

    def _finish(self, event: Event, raw: bytes, about: tuple[str, str], said: Labels, position: int) -> Normalised:
        type_, parser = about
        labels = {"graven.type": type_, "graven.parser": parser}
        if event.labels:
            labels.update(event.labels)
        for key, value in said.all if event.id is None else said.lasting:
            if key not in labels:
                labels[key] = value
        if event.time is None and said.time:
            event.time = read_time(said.time)
        event.labels = labels
        if event.id is not None:
            event.id = _bounded_id(event.id)
        sealed, redacted = raw, False
        if self._redactor is not None:
            changed, sealed = self._redactor.apply(event, raw)
            redacted, event = changed is not event or sealed is not raw, changed
        return Normalised(_encode(event), sealed, event.id, type_, "", event.class_, redacted, position)

    def _quarantine(self, record: Record, position: int, bad: Unparsed) -> Normalised:
        raw = record.raw
        tried = record.type if record.type in self._by_type else UNKNOWN_TYPE
        labels = {"graven.type": tried}
        for key, value in Labels(record.around).all:
            labels.setdefault(key, value)
        fault: Fault = {"position": position, "path": bad.path, "what": bad.reason, "mend": bad.mend}
        whole = (record.size_bytes, record.sha256) if record.sha256 else None
        event, kept = quarantine(raw, position=position, fault=fault, labels=labels, whole=whole)
        sealed = self._redactor.apply_raw(kept) if self._redactor is not None else kept
        if sealed is not kept:  # the hash of the whole would let a short secret be guessed
            told = decode_event(event)
            told.data = {key: value for key, value in told.data.items() if key != "sha256"}
            told.redacted = ["raw"]
            event = encode_event(told)
        return Normalised(event, sealed, None, tried, bad.reason, None, sealed is not kept, position)


def _event(raw: bytes) -> Event | None:
    """The record as an event of the model, which it is if it fits: the model is closed. None where it is none."""
    if len(raw) > MAX_EVENT_BYTES or raw[:1] != b"{" or raw[-1:] != b"}":
        return None
    try:
        if not raw.isascii():
            raw.decode()
        event = _DECODE_EVENT(raw)
        check_event(event, raw)
    except (ValueError, RecursionError, BadInput):  # cheaper than `decode_event`, which looks for words
        return None
    return event


def _document(raw: bytes) -> Document:
    """JSON if it is an object, an array or a JSON text; else the text of the record."""
    if raw[:1] in _JSON_STARTS and raw.lstrip(_SPACE)[:1] in (b"{", b"["):
        try:
            return _DECODE(raw)
        except UnicodeDecodeError:
            pass
        except (ValueError, RecursionError) as error:
            if raw.lstrip()[:1] == b"{":
                raise Unparsed("the record begins as a JSON object and is none", mend="send valid JSON") from error
    return raw.decode("utf-8", "backslashreplace")


def _may_hold_records(document: Document) -> bool:
    """Whether it is worth looking for records inside: few keys, and a list or the `data` of a hook among the values."""
    if not isinstance(document, dict):
        return isinstance(document, list)
    return len(document) <= 8 and (
        any(isinstance(one, list) for one in document.values()) or isinstance(document.get("data"), dict)
    )


def _bounded_id(id_: str) -> str | None:
    """An id that fits the model: a longer one is replaced by its digest."""
    if len(id_) <= ID_BYTES_MAX and (id_.isascii() or len(id_.encode()) <= ID_BYTES_MAX):
        return id_ or None
    return f"sha256:{hashlib.sha256(id_.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _encode(event: Event) -> bytes:
    """The bytes, within the model's limits; what does not fit under `data` is in the raw record alone, and said so."""
    encoded = encode_event(event)
    size = len(encoded)
    if size <= _LONG_BYTES and (
        (event.data is None and not event.changes)  # free JSON can be deep; the rest of the model cannot
        or size - len(encoded.replace(b"{", b"").replace(b"[", b"")) <= DEPTH_MAX  # three times as fast as count()
    ):
        return encoded
    try:
        decode_event(encoded)
        return encoded
    except BadInput:
        event.data = event.changes = None
        event.labels = {**(event.labels or {}), "graven.data": "in the raw record only"}
        encoded = encode_event(event)
        decode_event(encoded)
        return encoded
