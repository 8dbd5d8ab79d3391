"""What a process that serves for months asks of its allocator and its garbage collector.

Process-wide, so it is for programs of our own (`graven serve`), never for a library that somebody embeds.
"""

import ctypes
import gc

_M_MMAP_THRESHOLD = -3  # <malloc.h> of glibc
_LARGE_BYTES = 1 << 20
_YOUNG_OBJECTS = 10_000


def return_large_buffers() -> bool:
    """Give buffers of 1 MiB and more back to the system as soon as they are freed; whether that could be asked.

    By itself glibc keeps what was freed once, of ever larger sizes: under load some 50 MB that nobody uses.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES))
    except (OSError, AttributeError):  # another C library
        return False


def settle_collector() -> None:
    """Take everything that lives now for lasting, and look for cycles among the young less often.

    Requests leave hardly any cycle behind; without this each of them pays for looking through all that does not change.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)
