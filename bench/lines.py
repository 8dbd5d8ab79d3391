"""Lines of sshd as a host sends them by syslog: RFC 5424, octet-counted, no two alike."""

import itertools

LINES_A_PIECE = 2_000


class SshdLines:
    """An endless supply. Names and addresses are invented."""

    def __init__(self) -> None:
        self._number = itertools.count()

    def piece(self, count: int = LINES_A_PIECE) -> bytes:
        """The next `count` lines, about 125 bytes each."""
        lines = []
        for _ in range(count):
            number = next(self._number)
            said = b"Failed password for invalid user u%d from 203.0.113.%d port %d ssh2"
            said = said % (number, number % 250, 1024 + number % 60_000)
            line = b"<86>1 2026-03-02T08:14:31.204Z web1 sshd %d - - %b" % (number % 30_000, said)
            lines.append(b"%d %b" % (len(line), line))
        return b"".join(lines)
