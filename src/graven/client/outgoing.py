"""From what a program gives to the exact bytes that are sent.

Every event leaves with an id: its own, or a random one given here. The log stores an event with a known id and the same
bytes once, so a request that is sent again, because the answer was lost, adds nothing.

Bytes are sent as given, but for an id where there is none. Mappings and `Event`s are encoded here, once: a retry sends
the same bytes. Everything is validated before it is queued or sent, so that one bad event does not take the others of
its batch with it.
"""

import gzip
import uuid
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from graven.core.errors import BadInput
from graven.event import FAULTS_MAX, Event, Fault, Refusal, decode_event, encode_event, split_body

COMPRESS_BYTES_MIN = 1 << 10  # below this a packet is not saved
_COMPRESS_LEVEL = 1  # most of the gain for a fifth of the time
_SPACE = b" \t\r\n"

OneEvent = bytes | Mapping[str, object] | Event
"""An event as JSON bytes from { to }, as a mapping in the event model, or as the model itself."""


def with_ids(events: OneEvent | Iterable[OneEvent]) -> list[bytes]:
    """The bytes that will be sent for `events`, in order, each with an id.

    `events` is one event, or several, or a whole body of bytes (one object, an array, or NDJSON). Keep the answer to be
    able to call `append` again after an error: the same bytes are stored once.

    Raises:
        Refusal (a BadInput): no event, or some that are not in the event model, each named with its position.
    """
    prepared: list[bytes] = []
    faults: list[Fault] = []
    for position, one in enumerate(_each(events)):
        try:
            prepared.append(prepare(one)[0])
        except BadInput as bad:
            faults.append({"position": position, "path": bad.place, "what": bad.what, "mend": bad.mend})
            if len(faults) == FAULTS_MAX:
                break
    if not faults and not prepared:
        faults.append({"position": None, "path": "", "what": "there is no event", "mend": "give at least one event"})
    if faults:
        raise Refusal(faults)
    return prepared


def prepare(one: OneEvent) -> tuple[bytes, str]:
    """The bytes that will be sent for one event, and its id. Raises BadInput with the JSON path as its place."""
    if isinstance(one, Event):
        data = encode_event(one if one.id is not None else msgspec.structs.replace(one, id=str(uuid.uuid4())))
    elif isinstance(one, Mapping):
        data = _encode({"id": str(uuid.uuid4()), **{key: value for key, value in one.items() if value is not None}})
    elif isinstance(one, bytes):
        data = one.strip(_SPACE)
    else:
        raise BadInput(
            f"a {type(one).__name__} is not an event",
            place="$",
            mend="give JSON bytes, a mapping, or a graven.event.Event",
        )
    event = decode_event(data)
    if event.id is None:
        data = b'{"id":"%s",%s' % (str(uuid.uuid4()).encode("ascii"), data[1:])
        event = decode_event(data)
    if event.id is None:  # a null in the bytes stands behind the id put in front, and the last one counts
        raise BadInput("the id is null", place="$.id", mend="leave it out, or give a string")
    return data, event.id


def body_of(events: Sequence[bytes]) -> tuple[bytes, str]:
    """The body that carries `events` verbatim, and its content type: NDJSON, or an array if one has a line break."""
    if any(b"\n" in event for event in events):
        return b"[" + b",".join(events) + b"]", "application/json"
    return b"\n".join(events) + b"\n", "application/x-ndjson"


def compressed(body: bytes) -> bytes:
    """`body` in gzip; the same bytes each time."""
    return gzip.compress(body, _COMPRESS_LEVEL, mtime=0)


def _each(events: OneEvent | Iterable[OneEvent]) -> Iterable[OneEvent]:
    if isinstance(events, bytes):
        return split_body(events)
    if isinstance(events, (Mapping, Event)):
        return [events]
    if isinstance(events, (str, bytearray, memoryview)) or not isinstance(events, Iterable):
        raise BadInput(
            f"events in a {type(events).__name__}",
            mend="give bytes, a mapping, a graven.event.Event, or several of them",
        )
    return events


def _encode(fields: Mapping[str, object]) -> bytes:
    try:
        return msgspec.json.encode(fields)
    except (TypeError, ValueError, RecursionError) as error:
        what = "the event cannot be written as JSON"
        raise BadInput(what, place="$", mend=f"{type(error).__name__}: use text, numbers, lists, mappings") from None
