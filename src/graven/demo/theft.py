"""Who took customers.csv: found in the journal, each line proved before it is shown.

There is no index to ask yet, so the beginning of the journal is read. Nothing of a line is taken from what was found:
it is rendered from evidence, checked as an outsider would with nothing but the log's public keys.
"""

from dataclasses import dataclass
from datetime import datetime

from graven.core.errors import Broken
from graven.core.evidence import parse_evidence, verify_evidence
from graven.demo.records import SOURCES
from graven.demo.sample import STOLEN
from graven.demo.stage import SAMPLE_WITHIN
from graven.event import decode_event
from graven.keys.signature import verify_signature
from graven.log.view import View


@dataclass(frozen=True, slots=True)
class Line:
    """One act of the theft, as proved evidence tells it. `size` is that of the published tree it is proved in."""

    index: int
    size: int
    time: datetime
    who: str
    origin_ip: str
    what: str
    evidence: bytes


def find_theft(view: View) -> list[Line]:
    """The lines of the sample that speak of the stolen file, in the order of their times.

    Raises:
        Disproved: one cannot be proved. Broken: the sample is not in the log.
    """
    size = view.published.checkpoint.size
    numbers = {number for number, name in view.registers().source_names().items() if name in SOURCES}
    found = [
        record.index
        for record in view.records(0, min(size, SAMPLE_WITHIN))
        if record.head is not None and record.head.source in numbers and STOLEN.encode() in (record.event or b"")
    ]
    if not found:
        raise Broken("nobody speaks of the stolen file: the sample is not in this log", place=str(view.directory))
    return sorted((_prove(view, index) for index in found), key=lambda line: line.time)


def _prove(view: View, index: int) -> Line:
    evidence = view.evidence(index)
    verified = verify_evidence(parse_evidence(evidence), keys=view.keys, verify=verify_signature)
    event = decode_event(verified.event or b"")
    if event.time is None or event.actor is None or event.origin is None:
        raise Broken("an event of the sample lacks its time, its actor or its origin", place=f"index {index}")
    who = event.actor.name or ""
    return Line(
        index=verified.index,
        size=verified.checkpoint.checkpoint.size,
        time=event.time,
        who=who,
        origin_ip=event.origin.ip or "",
        what=(event.message or event.action).removeprefix(who).strip(),
        evidence=evidence,
    )
