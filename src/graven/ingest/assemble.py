"""Lines of text put together to records: what belongs to one event arrives as one.

Which lines belong together depends on what wrote them; the first lines show it, unless it is stated:

- audit records: those of one stamp, also when others come between them; done at its end record, or when enough newer
  stamps were seen. The raw record is the lines of the event, in the order they came, joined by line breaks.
- PostgreSQL's csvlog: until quotes balance. Its stderr log: lines that begin with white space go on the one before, and
  so do DETAIL, HINT, STATEMENT, CONTEXT and QUERY, which PostgreSQL writes apart.
- a psql transcript with pgAudit's notices: the notices, and what stands between them.
- lines that begin with a syslog priority or a time: a line without one goes on the one before. A message that holds
  what looks like another header in its midst stays one record: merged text can be read, a forged event cannot be
  undone.
- anything else: a line each; one that begins with white space goes on the one before.

Pure: no clock, no I/O. Bounded: a record is never held beyond `RECORD_BYTES_MAX`, nor more events open than `OPEN_MAX`.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from graven.ingest.normalize.auditd_record import stamp_of

__all__ = ["AUDIT_MANY", "OPEN_MAX", "RECORD_BYTES_MAX", "SHAPES", "Assembler", "assemble_text", "shape_of"]

RECORD_BYTES_MAX = 1 << 20
OPEN_MAX = 64
"""Audit events open at once; the kernel interleaves a handful."""

SHAPES = ("lines", "auditd", "postgresql-csv", "postgresql", "pgaudit-transcript", "syslog")

_LOOK_BYTES = 64 << 10
_AUDIT_LINES_MAX = 1_000
_AUDIT_TYPE = re.compile(rb"(?:node=\S{1,255} )?type=([A-Z_0-9\[\]]{1,64}) msg=audit\(")
AUDIT_MANY = frozenset(
    b"SYSCALL PATH CWD EXECVE PROCTITLE SOCKADDR BPRM_FCAPS EOE MMAP FD_PAIR OBJ_PID IPC CAPSET SOCKETCALL AVC"
    b" NETFILTER_CFG KERN_MODULE BPF SECCOMP OPENAT2 URINGOP CONFIG_CHANGE INTEGRITY_DATA MAC_POLICY_LOAD".split()
)
_PG_STAMP = rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})? [A-Za-z0-9+:-]{1,8}"
_PG_CSV = re.compile(_PG_STAMP + rb',(?:"(?:[^"]|"")*"|[^",]*),(?:"(?:[^"]|"")*"|[^",]*),\d*,')
_PG_LEVEL = rb"(?:LOG|FATAL|ERROR|WARNING|NOTICE|INFO|PANIC|DEBUG[1-5]?)"
_PG_LINE = re.compile(_PG_STAMP + rb"[^\n]{0,300}? " + _PG_LEVEL + rb":  ")
_PG_MORE = re.compile(_PG_STAMP + rb"[^\n]{0,300}? (?:DETAIL|HINT|STATEMENT|CONTEXT|QUERY|LOCATION|BACKTRACE):  ")
_HEADED = re.compile(rb"<\d{1,3}>|[A-Z][A-Za-z]{2} [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")
_NOTICE = re.compile(rb"(?:NOTICE|WARNING|INFO|LOG|DEBUG):  AUDIT: (?:SESSION|OBJECT),")


def assemble_text(body: bytes, type_: str = "") -> list[bytes]:
    """The records of a whole text, none of them empty. A type that is stated says which lines belong together."""
    assembler = Assembler(shape_of(body, type_))
    records = assembler.feed(body.split(b"\n"))
    return [*records, *assembler.flush()]


def shape_of(start: bytes, type_: str = "") -> str:
    """How the lines of a text that starts so belong together: one of SHAPES."""
    if type_ == "auditd":
        return "auditd"
    head = start[:_LOOK_BYTES].lstrip()
    if not type_ and _AUDIT_TYPE.match(head):
        return "auditd"
    if _PG_CSV.match(head):
        return "postgresql-csv"
    if _PG_LINE.match(head) or _PG_MORE.match(head):
        return "postgresql"
    if any(map(_NOTICE.match, head.split(b"\n"))):
        return "pgaudit-transcript"
    return "syslog" if _HEADED.match(head) else "lines"


class Assembler:
    """Puts lines together as they come, for a reader that follows a file. Not safe to share between threads."""

    def __init__(self, shape: str = "lines") -> None:
        self._open: dict[str, list[bytes]] = {}
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._open_bytes: dict[str, int] = {}
        self._ends = self._inside = self._noticed = False
        self._add: Callable[[bytes], Iterator[bytes]] = {
            "lines": self._indented,
            "auditd": self._audit,
            "postgresql-csv": self._quoted,
            "postgresql": self._postgresql,
            "pgaudit-transcript": self._transcript,
            "syslog": self._headed,
        }[shape]

    def feed(self, lines: Iterable[bytes]) -> list[bytes]:
        """The records that these lines (without their line breaks) complete, in order."""
        return [record for line in lines for record in self._add(line.rstrip(b"\r"))]

    def flush(self) -> list[bytes]:
        """What is still open, as it is: at the end of a file, or when nothing has come for a while."""
        left = [b"\n".join(lines) for lines in self._open.values()]
        self._open.clear()
        self._open_bytes.clear()
        self._inside = self._noticed = False
        return [*left, *self._release()]

    @property
    def pending(self) -> bool:
        """Whether lines are held that `flush` would give."""
        return bool(self._open or self._held)

    def _release(self) -> Iterator[bytes]:
        held, self._held, self._held_bytes = self._held, [], 0
        if held and (record := b"\n".join(held)).strip():
            yield record

    def _hold(self, line: bytes) -> Iterator[bytes]:
        if self._held_bytes + len(line) > RECORD_BYTES_MAX:
            self._inside = self._noticed = False
            yield from self._release()
        self._held.append(line)
        self._held_bytes += len(line) + 1

    def _indented(self, line: bytes) -> Iterator[bytes]:
        if not (self._held and line[:1] in (b" ", b"\t") and line.strip()):
            yield from self._release()
        yield from self._hold(line)

    def _headed(self, line: bytes) -> Iterator[bytes]:
        if not self._held or _HEADED.match(line):
            yield from self._release()
        yield from self._hold(line)

    def _audit(self, line: bytes) -> Iterator[bytes]:
        kind = _AUDIT_TYPE.match(line)
        stamp = stamp_of(line[:512].decode("utf-8", "replace"))
        if kind is None or stamp is None or kind[1] not in AUDIT_MANY:
            if line.strip():
                yield line
            return
        lines = self._open.setdefault(stamp, [])
        lines.append(line)
        self._open_bytes[stamp] = size = self._open_bytes.get(stamp, 0) + len(line) + 1
        self._ends |= kind[1] == b"EOE"
        last = b"EOE" if self._ends else b"PROCTITLE"  # auditd leaves the end record out of its files
        if kind[1] == last or size > RECORD_BYTES_MAX or len(lines) == _AUDIT_LINES_MAX:
            yield self._close(stamp)
        elif len(self._open) > OPEN_MAX:
            yield self._close(next(iter(self._open)))

    def _close(self, stamp: str) -> bytes:
        del self._open_bytes[stamp]
        return b"\n".join(self._open.pop(stamp))

    def _quoted(self, line: bytes) -> Iterator[bytes]:
        if not self._inside:
            yield from self._release()
        yield from self._hold(line)
        self._inside ^= line.count(b'"') % 2 == 1

    def _postgresql(self, line: bytes) -> Iterator[bytes]:
        if _PG_LINE.match(line) or not self._held:
            yield from self._release()
        yield from self._hold(line)

    def _transcript(self, line: bytes) -> Iterator[bytes]:
        if not self._inside and _NOTICE.match(line):
            yield from self._release()
            self._noticed = True
        elif self._noticed and not self._inside:
            yield from self._release()
            self._noticed = False
        yield from self._hold(line)
        if self._noticed:
            self._inside ^= line.count(b'"') % 2 == 1
