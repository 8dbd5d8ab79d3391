"""An event or a raw as documents show it: disclosed with its salt, or as the digest that stands in the entry.

    {"bytes": string, verbatim; "salt": base64}     an event     {"base64", "salt"}     a raw
    {"digest": base64}                              not disclosed: the rest of the entry can still be proved
    null                                            a raw that there is not

Zeros are nobody's digest, and refused.
"""

from dataclasses import dataclass

from graven.core.commitment import NO_RAW, digest
from graven.core.document import as_object, as_text
from graven.core.errors import BadInput
from graven.core.spelling import decode_base64, decode_hash, encode_base64


@dataclass(frozen=True, slots=True)
class Disclosed:
    """The exact bytes and the 32-byte salt they were hashed with."""

    data: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Withheld:
    """The digest alone. Raises BadInput for one of zeros: what is absent is None."""

    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != len(NO_RAW) or self.digest == NO_RAW:
            raise BadInput("a digest is 32 bytes that are not all zero", mend="write null for a raw that is absent")


def digest_of(part: Disclosed | Withheld) -> bytes:
    """d_event or d_raw: recomputed from what is disclosed. Raises BadInput: a salt that is not 32 bytes."""
    return part.digest if isinstance(part, Withheld) else digest(part.salt, part.data)


def parse_event(value: object, place: str = "event") -> Disclosed | Withheld:
    """An event as documents write it. Raises BadInput."""
    if isinstance(value, dict) and "digest" in value:
        return _parse_withheld(value, place)
    fields = as_object(value, place, keys=("bytes", "salt"))
    return Disclosed(
        as_text(fields["bytes"], f"{place}.bytes").encode(), _parse_bytes32(fields["salt"], f"{place}.salt")
    )


def parse_raw(value: object, place: str = "raw") -> Disclosed | Withheld | None:
    """A raw as documents write it; null is None: there is none. Raises BadInput."""
    if value is None:
        return None
    if isinstance(value, dict) and "digest" in value:
        return _parse_withheld(value, place)
    fields = as_object(value, place, keys=("base64", "salt"))
    data = decode_base64(as_text(fields["base64"], f"{place}.base64"), place=f"{place}.base64")
    return Disclosed(data, _parse_bytes32(fields["salt"], f"{place}.salt"))


def format_event(event: Disclosed | Withheld) -> dict[str, str]:
    """What `parse_event` reads. Raises BadInput for bytes that are not UTF-8."""
    if isinstance(event, Withheld):
        return {"digest": encode_base64(event.digest)}
    try:
        return {"bytes": event.data.decode("utf-8"), "salt": encode_base64(event.salt)}
    except UnicodeDecodeError as error:
        raise BadInput("an event that is not UTF-8", place=f"byte {error.start}") from None


def format_raw(raw: Disclosed | Withheld | None) -> dict[str, str] | None:
    """What `parse_raw` reads."""
    if raw is None:
        return None
    if isinstance(raw, Withheld):
        return {"digest": encode_base64(raw.digest)}
    return {"base64": encode_base64(raw.data), "salt": encode_base64(raw.salt)}


def _parse_withheld(value: object, place: str) -> Withheld:
    return Withheld(_parse_bytes32(as_object(value, place, keys=("digest",))["digest"], f"{place}.digest"))


def _parse_bytes32(value: object, place: str) -> bytes:
    return decode_hash(as_text(value, place), place=place)
