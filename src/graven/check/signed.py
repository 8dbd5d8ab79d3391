"""An event with the signature of its agent (`core/signed.py`), as a check tells it."""

from graven.check.signers import add_signers
from graven.check.times import add_bracket
from graven.check.verdict import Good, Trust
from graven.check.words import counted, head_row, history_rows
from graven.core.doubled import duplicate_keys
from graven.core.note import format_vkey
from graven.core.signed import parse_signed, verify_signed
from graven.keys.signature import verify_signature

SIGNED = "signed event"


def check_signed(data: bytes, trust: Trust) -> Good:
    """Judge the document. Raises as `parse_signed` and `verify_signed`."""
    found = verify_signed(parse_signed(data), trust.either, verify_signature)
    event, batch = found.event, found.batch
    head = event.checkpoint.checkpoint
    good = Good(SIGNED, checkpoints=[event.checkpoint, found.statement.checkpoint, found.enrolment.checkpoint])
    good.rows = [
        ("proved", f"event {event.index} of {head.origin}, in its tree of {counted(head.size, 'entry', 'entries')}"),
        (
            "signed",
            f"at the source by the agent {batch.agent}: batch {batch.sequence}, record {found.position + 1} of "
            f"{batch.records}",
        ),
        ("by the key", f"{format_vkey(found.key)}, which event {found.enrolment.index} made known"),
        head_row(event.head),
    ]
    if event.event is not None:
        good.rows += trust.rows(event.event)
        good.rows += history_rows(event.event, event.head)
        good.fields["event_text"] = event.event.decode()
        good.fields["duplicate_keys"] = duplicate_keys(event.event)
    else:
        good.rows.append(("event", "withheld: what was signed is its raw"))
    if event.raw is not None:
        good.rows.append(("raw", f"{len(event.raw)} bytes, as they were signed"))
    good.fields |= {
        "index": event.index, "source": event.head.source, "received_us": event.head.received_us,
        "agent": batch.agent, "vkey": format_vkey(found.key), "enrolled": found.enrolment.index,
        "batch": batch.sequence, "position": found.position, "records": batch.records, "signed_us": batch.time_us,
        "statement": found.statement.index,
    }  # fmt: skip
    add_bracket(good, event, trust)
    add_signers(good, event.checkpoint, event.witnesses, trust)
    return good
