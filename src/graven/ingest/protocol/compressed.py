"""Compressed bodies, taken apart within a bound: gzip and zstd, in one member or frame or several.

Piece by piece, never further than the limit: a small body cannot become a large one, nor one of very many members take
very long. Nothing is trusted that a header says of the clear length.
"""

import zlib

from graven.core.errors import BadInput
from graven.log.seal import zstd

__all__ = ["ENCODINGS", "MEMBERS_MAX", "ZSTD_WINDOW_LOG_MAX", "decompress"]

ENCODINGS = ("gzip", "zstd")
ZSTD_WINDOW_LOG_MAX = 23  # 8 MiB: what RFC 8878 asks every reader to support
MEMBERS_MAX = 4096

_STEP_BYTES = 256 << 10


def decompress(data: bytes, encoding: str, *, bytes_max: int) -> bytes | None:
    """The clear body; None when it is longer than `bytes_max`. Needs memory for that much, and no more.

    Raises:
        BadInput: not in this encoding (one of ENCODINGS), cut short, bytes behind it, or in more than 4096 members.
    """
    parts: list[bytes] = []
    size = at = 0
    try:
        for _ in range(MEMBERS_MAX):
            unpacker = _Gzip() if encoding == "gzip" else _Zstd()
            while not unpacker.eof:
                piece = data[at : at + _STEP_BYTES] if unpacker.is_hungry else b""
                at += len(piece)
                part = unpacker.feed(piece, min(_STEP_BYTES, bytes_max + 1 - size))
                if not part and not piece and unpacker.is_hungry and not unpacker.eof:
                    raise EOFError("it ends too soon")
                parts.append(part)
                size += len(part)
                if size > bytes_max:
                    return None
            at -= unpacker.unused_bytes
            if at == len(data):
                return b"".join(parts)
        raise EOFError(f"it has more than {MEMBERS_MAX} members")
    except (zlib.error, zstd.ZstdError, EOFError) as error:
        mend = "compress the whole body as one member" if encoding == "gzip" else "use a window of at most 8 MiB"
        raise BadInput(f"the body is not {encoding}: {error}", place="body", mend=mend) from None


class _Gzip:
    def __init__(self) -> None:
        self._unpacker = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._unpacker.eof

    @property
    def is_hungry(self) -> bool:
        return not self._unpacker.unconsumed_tail

    @property
    def unused_bytes(self) -> int:
        return len(self._unpacker.unused_data)

    def feed(self, data: bytes, bytes_max: int) -> bytes:
        """At most so many clear bytes; what of `data` could not be read for that is kept for the next call."""
        return self._unpacker.decompress(data or self._unpacker.unconsumed_tail, bytes_max)


class _Zstd:
    def __init__(self) -> None:
        self._unpacker = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX}
        )

    @property
    def eof(self) -> bool:
        return self._unpacker.eof

    @property
    def is_hungry(self) -> bool:
        return self._unpacker.needs_input

    @property
    def unused_bytes(self) -> int:
        return len(self._unpacker.unused_data)

    def feed(self, data: bytes, bytes_max: int) -> bytes:
        """As `_Gzip.feed`."""
        return self._unpacker.decompress(data, bytes_max)
