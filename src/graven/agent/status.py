"""What an agent last said of itself, in `status.json` of its state: for people and probes; nothing depends on it."""

import contextlib
from pathlib import Path
from typing import Any

import msgspec

from graven.agent.delivery import Delivery
from graven.agent.spool import Spool
from graven.runtime.clock import Clock
from graven.runtime.files import Files, write_atomic

STATUS_FILE = "status.json"
STATUS_S = 5.0


def write_status(files: Files, state: Path, spool: Spool, delivery: Delivery, clock: Clock) -> None:
    """Write it, if that can be. Not synced."""
    trouble = delivery.failure or delivery.trouble
    row = {
        "time_us": clock.now_us(),
        "last_batch": spool.sequence,
        "waiting_bytes": spool.waiting_bytes,
        "spool_bytes": spool.size_bytes,
        "sent_batches": delivery.sent_batches,
        "sent_records": delivery.sent_records,
        "places": len(spool.places),
        "trouble": "" if trouble is None else str(trouble),
    }
    with contextlib.suppress(OSError):
        write_atomic(files, str(state / STATUS_FILE), msgspec.json.encode(row), sync=False)


def read_status(state: Path) -> dict[str, Any] | None:
    """What was last written, None if nothing was."""
    try:
        return msgspec.json.decode((state / STATUS_FILE).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return None
