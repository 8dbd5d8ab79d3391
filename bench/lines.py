"""Lines of sshd as a host sends them by syslog: RFC 5424, octet-counted, no two alike."""

import itertools

LINES_A_PIECE = 2_000

_MICROS_EACH = 25
_START_S = 8 * 3600 + 14 * 60 + 31


class SshdLines:
    """An endless supply. Names and addresses are invented; the clock goes on by 25 microseconds a line."""

    def __init__(self) -> None:
        self._number = itertools.count()

    def piece(self, count: int = LINES_A_PIECE) -> bytes:
        """The next `count` lines, about 125 bytes each."""
        lines = []
        for _ in range(count):
            number = next(self._number)
            seconds, micros = divmod(number * _MICROS_EACH, 1_000_000)
            minutes, second = divmod(_START_S + seconds, 60)
            said = b"Failed password for invalid user u%d from 203.0.113.%d port %d ssh2"
            said = said % (number, number % 250, 1024 + number % 60_000)
            when = b"2026-03-02T%02d:%02d:%02d.%06dZ" % (*divmod(minutes, 60), second, micros)
            line = b"<86>1 %b web1 sshd %d - - %b" % (when, number % 30_000, said)
            lines.append(b"%d %b" % (len(line), line))
        return b"".join(lines)
