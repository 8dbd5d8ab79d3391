"""JSON that is nothing but brackets: a body of megabytes that packs to a few kilobytes and decodes to a gigabyte.

An object or list costs a reader sixty bytes and more, however few it has in the body, so how many there may be goes by
the body's size. Real ones have one for every 15 bytes at the densest: events that say an action and nothing else.
"""

import re

__all__ = ["CONTAINERS_FREE", "CONTAINER_BYTES_MIN", "is_too_dense"]

CONTAINERS_FREE = 100_000
CONTAINER_BYTES_MIN = 12

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def is_too_dense(body: bytes) -> bool:
    """Whether JSON has more objects and lists than CONTAINERS_FREE and one for every CONTAINER_BYTES_MIN bytes.

    What stands in strings does not count. Cost: a look at the bytes; only where there are that many brackets, strings
    and all, a second that knows strings. Linear in either case.
    """
    most = CONTAINERS_FREE + len(body) // CONTAINER_BYTES_MIN
    if len(body) <= most or _count(body) <= most:
        return False
    return _count(_STRING.sub(b"", body)) > most


def _count(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[")
