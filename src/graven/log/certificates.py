"""The certificates of the receipt key: `DIR/certificates/<first size>-<last size>`, one note a file, kept for ever.

A receipt that came without its certificate can be judged as long as somebody has the one of its time. So each is
durable before the first receipt under it leaves, and a start goes on under the newest as long as that holds: one file
for many million entries, not one a start. Nothing here is trusted: whoever takes a certificate checks its signature.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from graven.journal.files import Files, make_dir, write_atomic
from graven.keys.receipts import ReceiptSigner

FOLDER = "certificates"
SPAN = 1 << 24
"""How many sizes one certificate covers: what a thief of the receipt key could sign."""
NOTE_BYTES_MAX = 4_096

_NAME = re.compile(r"([0-9]{20})-([0-9]{20})", re.ASCII)


class Certificates:
    """Those of one log. One owner: the writer."""

    def __init__(self, files: Files, directory: Path, receipts: ReceiptSigner) -> None:
        self._files, self._folder, self._receipts = files, directory / FOLDER, receipts
        self._first, self._last = 0, -1
        self.note: bytes | None = None
        """The one in force; None before the first receipt."""

    def cover(self, smallest: int, largest: int) -> None:
        """See to it that receipts of the trees of these sizes, and those between, are certified.

        Raises OSError if a new one cannot be kept; Busy while nobody signs one.
        """
        if not self._first <= smallest <= largest <= self._last:
            self._first, self._last, self.note = self._kept(smallest, largest) or self._make(smallest)

    def _kept(self, smallest: int, largest: int) -> tuple[int, int, bytes] | None:
        """The newest that covers them, if the keys of today make the same one."""
        for first, last, note in sorted(read_certificates(self._folder.parent), reverse=True):
            if first <= smallest and largest < last:
                if self._receipts.certificate(first, last) != note:
                    return None
                make_dir(self._files, str(self._folder))
                self._files.sync_dir(str(self._folder))  # whoever wrote it may not have come to that
                return first, last, note
        return None

    def _make(self, size: int) -> tuple[int, int, bytes]:
        last = size + SPAN
        note = self._receipts.certificate(size, last)
        make_dir(self._files, str(self._folder))
        write_atomic(self._files, str(self._folder / certificate_name(size, last)), note)
        return size, last, note


def read_certificates(directory: Path) -> Iterator[tuple[int, int, bytes]]:
    """(first size, last size, note) of each kept in a log's directory."""
    folder = directory / FOLDER
    for path in folder.iterdir() if folder.is_dir() else ():
        named = _NAME.fullmatch(path.name)
        if named is not None and path.is_file():
            with path.open("rb") as file:
                yield int(named[1]), int(named[2]), file.read(NOTE_BYTES_MAX)


def certificate_paths(directory: Path) -> list[Path]:
    """Every file among the certificates of a log's directory, but for unfinished writes."""
    folder = directory / FOLDER
    return sorted(path for path in folder.iterdir() if path.suffix != ".tmp") if folder.is_dir() else []


def certificate_name(first: int, last: int) -> str:
    return f"{first:020d}-{last:020d}"


def find_certificates(directory: Path, size: int) -> list[bytes]:
    """Every kept certificate that covers receipts of this size, the newest first: more than one after a new log key."""
    return [note for first, last, note in sorted(read_certificates(directory), reverse=True) if first <= size <= last]
