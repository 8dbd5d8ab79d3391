"""Snappy's block format, decompressed within a bound: what Loki's clients send.

A block names its clear length first, so a bomb is seen before anything is unpacked.

Source: https://github.com/google/snappy/blob/main/format_description.txt
"""

from graven.core.errors import BadInput

__all__ = ["unpack_snappy"]

_VARINT_BYTES_MAX = 5


def unpack_snappy(block: bytes, *, bytes_max: int) -> bytes | None:
    """The clear bytes; None when there are more than `bytes_max`. Raises BadInput for what is no snappy block."""
    from cramjam import snappy  # a native library that only this door needs

    size = _clear_size(block)
    if size > bytes_max:
        return None
    buffer = bytearray(size)
    try:
        written = snappy.decompress_raw_into(block, buffer)
    except Exception as error:  # cramjam has one class of its own, and raises others
        raise _broken(str(error)[:80]) from None
    if written != size:
        raise _broken("it has another length than it says")
    return bytes(buffer)


def _clear_size(block: bytes) -> int:
    size = 0
    for position, byte in enumerate(block[:_VARINT_BYTES_MAX]):
        size |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            return size
    raise _broken("it does not begin with a length")


def _broken(what: str) -> BadInput:
    return BadInput(f"the body is no snappy block: {what}", place="body", mend="compress it as one block, not framed")
