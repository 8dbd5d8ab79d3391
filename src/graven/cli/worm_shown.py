"""The write-once copy as `graven status` and `graven worm status` tell it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graven.cli.output import counted
from graven.config import Config
from graven.worm.state import describe, read_state


def worm_status(directory: Path, config: Config, committed: int) -> dict[str, Any] | None:
    """How far the copy of a log of `committed` entries is; None where none is set up."""
    state = read_state(directory)
    if state is not None and state.store:
        return describe(state, committed, int(time.time()))
    if config.worm.store is None:
        return None
    return {"store": config.worm.store, "trouble": "nothing was copied yet", "alarms": []}


def worm_rows(document: Mapping[str, Any]) -> list[tuple[str, object]]:
    """The same for people."""
    rows: list[tuple[str, object]] = [("copy", document["store"])]
    if "covered" in document:
        age = "no round was whole yet" if document["lag_s"] is None else f"a whole round {document['lag_s']} s ago"
        rows += [
            ("lock", document["lock"]),
            ("copied", f"{counted(document['covered'], 'entry', 'entries')}, {document['lag_events']} behind; {age}"),
            ("put", f"{counted(document['objects'], 'object')}, {document['bytes']} bytes"),
        ]
    rows.append(("trouble", document["trouble"]))
    return rows + [("ALARM", f"{one['what']} ({one['place']})") for one in document["alarms"]]
