"""The three ways a call can fail, because callers act in three ways.

`BadInput`: the caller is wrong; the message says what, where, and how to mend it.
`Disproved`: cryptography says no; the message says what was expected, what was found, and where.
`Broken`: our storage or an invariant failed; stop, lose nothing.

A function that verifies returns the verified value or raises; it never returns a bool.
"""


class GravenError(Exception):
    """The root of every error Graven raises on purpose.

    `what` is a full clause, `place` where it happened (a file and offset, a JSON path, an index), `mend` what to do.
    None of the three may hold a key, a token, or the text of an event.
    """

    exit_code = 3

    def __init__(self, what: str, *, place: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.place = place
        self.mend = mend

    def __str__(self) -> str:
        at = f" ({self.place})" if self.place else ""
        mend = f" Mend: {self.mend}" if self.mend else ""
        return f"{self.what}{at}.{mend}" if mend else f"{self.what}{at}"


class BadInput(GravenError):
    """The caller is wrong. Nothing was done."""

    exit_code = 2


class Disproved(GravenError):
    """Cryptography says no."""

    exit_code = 1

    def __init__(self, what: str, *, expected: str = "", found: str = "", place: str = "", mend: str = "") -> None:
        super().__init__(what, place=place, mend=mend)
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        values = f": expected {self.expected}, found {self.found}" if self.expected or self.found else ""
        at = f" ({self.place})" if self.place else ""
        mend = f". Mend: {self.mend}" if self.mend else ""
        return f"{self.what}{values}{at}{mend}"


class NotSigned(Disproved):
    """A key that is trusted has not signed: others may have, whose keys are not known here."""


class Broken(GravenError):
    """Our own storage or an invariant failed. The log stops rather than lose or forge something."""

    exit_code = 3


class Busy(Broken):
    """Our side cannot take it now; nothing was stored. Ask again after `retry_after_s` seconds."""

    def __init__(self, what: str, *, retry_after_s: int = 1, place: str = "", mend: str = "") -> None:
        super().__init__(what, place=place, mend=mend)
        self.retry_after_s = retry_after_s
