"""The source type of a record that does not say it. Pure, and cheap: only the types that can fit are asked.

A normaliser may say which records cannot be its own, and is then not asked about them:

    KEYS        an object of its type has at least one of these keys
    LINES       whether it reads lines of text; one that states keys, and not this, reads none
    MARKS       a text of its type holds at least one of these
    PROGRAMS    a line of its type, if its header names a program, names one of these

What this leaves out is exactly what would have answered NO. One that states nothing is always asked.

One that has `event_of`, the event of a line whose header was read, and no MARKS, takes every line whose header names
one of its PROGRAMS, but for those of PAM's modules; without PROGRAMS it takes what nobody else takes. So the type of
most lines of a host follows from the program and a few marks that are not there (`Detector.of_line`).
"""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from graven.event import Event
from graven.ingest.normalize.host_line import HostLine, program_of
from graven.ingest.record import NO, SURE, Document, Normaliser

__all__ = ["Detector", "LineNormaliser"]

_Asked = tuple[Normaliser, tuple[str, ...]]
"""Whom to ask about a text, and what it must hold; nothing: whatever it holds."""
_PAM_MARK = "pam_"


@runtime_checkable
class LineNormaliser(Normaliser, Protocol):
    """A source type of lines whose headers say which program wrote them."""

    def event_of(self, line: HostLine, /) -> Event:
        """The event of a line of its type; `normalise` gives the same."""
        ...


class Detector:
    """The types in the order in which they count. Immutable, safe to share between threads."""

    def __init__(self, sources: Iterable[Normaliser]) -> None:
        self._of_bit: dict[int, Normaliser] = {}
        self._always = 0  # bits of those that are asked about every object
        self._bits: dict[str, int] = {}  # key of an object -> bits of those to ask
        texts: list[tuple[_Asked, frozenset[str]]] = []
        for number, source in enumerate(sources):
            bit = 1 << number
            self._of_bit[bit] = source
            keys: frozenset[str] | None = getattr(source, "KEYS", None)
            if keys is None:
                self._always |= bit
            for key in keys or ():
                self._bits[key] = self._bits.get(key, 0) | bit
            if getattr(source, "LINES", keys is None):
                texts.append(((source, getattr(source, "MARKS", ())), getattr(source, "PROGRAMS", frozenset())))
        known = {program for _, programs in texts for program in programs}
        self._texts = tuple(asked for asked, _ in texts)
        self._unknown = tuple(asked for asked, programs in texts if not programs)
        self._by_program = {
            name: tuple(asked for asked, programs in texts if not programs or name in programs) for name in known
        }
        self._sure_by_program = {name: _sure(asked, by_program=True) for name, asked in self._by_program.items()}
        self._sure_unknown = _sure(self._unknown, by_program=False)

    def find(self, document: Document) -> Normaliser | None:
        """The type that fits best; of equal ones the first. None where none fits."""
        if isinstance(document, str):
            return self._of_text(document)
        asked = self._always
        if isinstance(document, dict):
            bits = self._bits
            for key in document if len(document) <= len(bits) else bits:
                if key in bits and key in document:
                    asked |= bits[key]
        best, best_score = None, NO
        while asked:
            bit = asked & -asked
            asked ^= bit
            source = self._of_bit[bit]
            score = source.recognise(document)
            if score > best_score:
                if score >= SURE:
                    return source
                best, best_score = source, score
        return best

    def of_line(self, program: str) -> tuple[LineNormaliser, tuple[str, ...]] | None:
        """(the type of every line of `program` that holds none of the marks, the marks); None: each is asked about.

        `program`: as `program_of` gives it, not "".
        """
        return self._sure_by_program.get(program, self._sure_unknown)

    def _of_text(self, text: str) -> Normaliser | None:
        program = program_of(text)
        best, best_score = None, NO
        for source, marks in self._by_program.get(program, self._unknown) if program else self._texts:
            for mark in marks:
                if mark in text:
                    break
            else:
                if marks:
                    continue
            score = source.recognise(text)
            if score > best_score:
                if score >= SURE:
                    return source
                best, best_score = source, score
        return best


def _sure(asked: Iterable[_Asked], *, by_program: bool) -> tuple[LineNormaliser, tuple[str, ...]] | None:
    """Whose every line is that holds none of the marks; None where more than marks decide.

    By program: the first that takes every line of it, and the marks of those before; else the only one that takes what
    is left, and the marks of all others.
    """
    marks: list[str] = [_PAM_MARK]
    found: LineNormaliser | None = None
    for source, needed in asked:
        if needed:
            marks += needed
        elif found is None and isinstance(source, LineNormaliser) and hasattr(source, "PROGRAMS") == by_program:
            found = source
            if by_program:
                break
        else:
            return None
    return None if found is None else (found, tuple(dict.fromkeys(marks)))
