"""CSV exports whose rows hold a record as JSON in one cell: what Microsoft Purview's audit search downloads, and what
`Search-UnifiedAuditLog | Export-Csv` writes.

Source: "Export, configure, and view audit log records" (Microsoft Purview). The header names a column `AuditData`; its
cell is the record of the unified audit log, a JSON text, its quotes doubled as CSV wants it. The other columns repeat
what stands in it. The record is the text of that cell; a row that has none is kept whole, and quarantined.

Separators are commas, semicolons or tabs, as the header shows; rows may go over several lines within quotes. Pure.
Bounded: an unfinished row is held up to `ROW_BYTES_MAX`.
"""

import re
from collections.abc import Iterable, Iterator

from graven.ingest.record import Record

__all__ = ["ROW_BYTES_MAX", "CsvRows", "export_records", "is_export"]

ROW_BYTES_MAX = 4 << 20
TYPE = "microsoft-365"
COLUMN = b"AuditData"

_HEADER_BYTES_MAX = 4096
_TYPE_LINE = b"#TYPE "
_CELLS = {
    mark: re.compile(rb'(?:"([^"]*(?:""[^"]*)*)"|([^"%b]*))(%b|\Z)' % (mark, mark)) for mark in (b",", b";", b"\t")
}
_COLUMNS_MAX = 64
_BOM = b"\xef\xbb\xbf"


def is_export(head: bytes, type_: str = "") -> bool:
    """Whether a text that begins so is such an export."""
    return type_ in ("", TYPE) and _header(_lines(head)) is not None


def export_records(body: bytes, type_: str = "") -> list[Record]:
    """The records of a whole export."""
    rows = CsvRows()
    return [*rows.feed(body.removeprefix(_BOM).split(b"\n"), type_), *rows.finish(type_)]


class CsvRows:
    """Lines, the header among them, put together to rows, and the record of each."""

    def __init__(self) -> None:
        self._mark = b""
        self._column = -1
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._open = False

    def feed(self, lines: Iterable[bytes], type_: str = "") -> Iterator[Record]:
        """The records that these lines (without their line breaks) complete."""
        for line in lines:
            if not self._held and not line.strip():
                continue
            self._held.append(line)
            self._held_bytes += len(line) + 1
            self._open ^= bool(line.count(b'"') & 1)
            if not self._open or self._held_bytes > ROW_BYTES_MAX:
                yield from self._row(type_)

    def finish(self, type_: str = "") -> Iterator[Record]:
        """What is left at the end: a row that was not closed."""
        if self._held:
            yield from self._row(type_)

    def _row(self, type_: str) -> Iterator[Record]:
        row = b"\n".join(self._held).rstrip(b"\r")
        self._held, self._held_bytes, self._open = [], 0, False
        if self._column < 0:
            if (found := _header([row])) is not None:
                self._mark, self._column = found
            elif not row.startswith(_TYPE_LINE):
                yield _faulty(row, type_)
            return
        cells = _cells(row, self._mark)
        if cells is None or len(cells) <= self._column or not cells[self._column].strip():
            yield _faulty(row, type_)
        else:
            yield Record(cells[self._column].strip(), type_ or TYPE)


def _faulty(row: bytes, type_: str) -> Record:
    return Record(row, type_ or TYPE, fault="the row has no cell AuditData that can be read")


def _lines(head: bytes) -> list[bytes]:
    """The first lines, where the header may be: behind a byte order mark and what PowerShell puts in front."""
    lines = [line.rstrip(b"\r") for line in head[:_HEADER_BYTES_MAX].removeprefix(_BOM).split(b"\n", 2)[:2]]
    return lines[1:] if lines[0].startswith(_TYPE_LINE) else lines[:1]


def _header(lines: list[bytes]) -> tuple[bytes, int] | None:
    """(separator, which column) of a header line; None where there is none."""
    for line in lines:
        if COLUMN not in line or len(line) > _HEADER_BYTES_MAX or line.lstrip()[:1] in (b"{", b"["):
            continue
        for mark in _CELLS:
            cells = [cell.strip() for cell in _cells(line, mark) or ()]
            if COLUMN in cells and len(cells) > 1:
                return mark, cells.index(COLUMN)
    return None


def _cells(row: bytes, mark: bytes) -> list[bytes] | None:
    """The cells of a row, unquoted; None where its quotes do not fit."""
    cells: list[bytes] = []
    at = 0
    while len(cells) < _COLUMNS_MAX:
        found = _CELLS[mark].match(row, at)
        if found is None:
            return None
        quoted, plain, end = found.groups()
        cells.append(plain if quoted is None else quoted.replace(b'""', b'"'))
        if not end:
            return cells
        at = found.end()
    return cells
