"""Lines of a followed file: whole ones at once, a long one in pieces, the last one when nothing will come behind it."""

from collections.abc import Mapping
from hashlib import sha256

from graven.agent.followed import CHUNK_BYTES, LINE_BYTES_MAX, LINE_KEPT_BYTES, Followed, Long

IDLE_S = 2.0
"""An open record of several lines is complete when nothing came behind it for so long."""

LINES_MAX = 20_000
"""Lines taken at once: a batch has a bound in records, too."""

MOVED_S = 10.0
"""A last line without its end is taken as it is, so long after its file got another name."""


def take_lines(followed: Followed, *, now_s: float) -> tuple[list[bytes], Mapping[str, str]]:
    """(records, what is to be said of them): about a megabyte of them at most. Raises Truncated, OSError."""
    if followed.long is not None:
        return _take_long(followed, now_s)
    if followed.at_end or (not followed.zipped and followed.size() == followed.offset):
        return _rest(followed, b"", now_s), {}
    data = followed.read(CHUNK_BYTES)
    end = data.rfind(b"\n") + 1
    if not end:
        if len(data) >= LINE_BYTES_MAX:
            followed.long = Long(b"", 0, sha256(), followed.offset)
            return _take_long(followed, now_s)
        followed.at_end = followed.zipped
        return _rest(followed, data, now_s), {}
    whole = data if end == len(data) else data[:end]
    found = whole.split(b"\n", LINES_MAX)
    if rest := found.pop():
        whole = whole[: -len(rest)]
    start = followed.offset
    followed.advance(whole)
    followed.grown_s = now_s
    if followed.framer is not None:
        return followed.framer.feed(found, start), {}
    return [line for line in found if line] if b"" in found else found, {}


def is_at_end(followed: Followed, now_s: float) -> bool:
    """Whether nothing more can be expected of a file that has no name any more."""
    read = followed.at_end if followed.zipped else followed.offset >= followed.size()
    return read and followed.long is None and now_s - followed.grown_s >= IDLE_S


def _rest(followed: Followed, partial: bytes, now_s: float) -> list[bytes]:
    """What is open, if its time has come: records of several lines, and a last line without an end."""
    quiet_s = now_s - followed.grown_s
    done: list[bytes] = []
    if partial and _is_final(followed, now_s):
        start = followed.offset
        followed.advance(partial)
        done += followed.framer.feed([partial], start) if followed.framer is not None else [partial]
        if followed.framer is not None:
            done += followed.framer.flush()
            followed.framer.safe = followed.offset
    elif followed.framer is not None and quiet_s >= IDLE_S:
        done += followed.framer.flush()
    return done


def _is_final(followed: Followed, now_s: float) -> bool:
    """Whether nothing will come behind a last line without its end."""
    quiet_s = now_s - followed.grown_s
    return followed.zipped or (followed.is_gone and quiet_s >= IDLE_S) or (followed.moved and quiet_s >= MOVED_S)


def _take_long(followed: Followed, now_s: float) -> tuple[list[bytes], Mapping[str, str]]:
    """More of a line that is longer than a record may be: its beginning is kept, with its size and hash."""
    long = followed.long
    assert long is not None
    followed.file.seek(long.end)
    data = followed.file.read(CHUNK_BYTES)
    end = data.find(b"\n")
    piece = data if end < 0 else data[:end]
    long.sha256.update(piece)
    long.kept = (long.kept + piece)[:LINE_KEPT_BYTES]
    long.size_bytes += len(piece)
    long.end += len(piece)
    followed.grown_s = now_s if data else followed.grown_s
    if end < 0 and not (not data and _is_final(followed, now_s)):
        return [], {}
    followed.long = None
    followed.resume(long.end + (end >= 0))
    if followed.framer is not None:
        followed.framer.safe = followed.offset
    return [long.kept], {
        "graven.cut": "true",
        "graven.size_bytes": str(long.size_bytes),
        "graven.sha256": long.sha256.hexdigest(),
    }
