"""What a follower remembers between rounds, and what others read of it: `state/worm.json` in the log's directory.

It may be deleted: the follower then compares everything with what the store holds, once. Nobody is convinced by it;
`graven verify --from` reads the store.
"""

from pathlib import Path

import msgspec
from msgspec import Struct, field

from graven.core.errors import GravenError
from graven.runtime.files import Files, write_atomic

STATE_FILE, LOCK_FILE = "worm.json", "worm.lock"
ALARMS_MAX = 20
_BYTES_MAX = 64 << 20


class Held(Struct, frozen=True, array_like=True):
    """An object under a short lock that is lengthened while it is needed."""

    name: str
    until_s: int


class Alarm(Struct, frozen=True):
    """Something that must not be: another tree, bytes under a name that are not ours."""

    time_s: int
    what: str
    place: str = ""


class State(Struct):
    """The cursor is (`size`, `root`): everything up to there is in the store. `next_segment` is the start of the first
    segment that is not, whole; of the later ones, all bytes before the offset in `pieces` are. `size`, `committed` and
    `at_s` are as of the last whole round; `covered` is how many committed entries the copied frames hold.
    """

    store: str
    origin: str
    size: int = 0
    root: str = ""
    committed: int = 0
    covered: int = 0
    next_segment: int = 0
    rewritten: list[str] = field(default_factory=list)
    pieces: dict[str, int] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    note: str = ""
    kept_hour: int = -1
    full: bool = False
    swept: bool = False
    objects: int = 0
    bytes: int = 0
    at_s: int = 0
    trouble: str = ""
    alarms: list[Alarm] = field(default_factory=list)

    def alarm(self, time_s: int, what: str, place: str = "") -> bool:
        """Keep an alarm; False if it is known already."""
        if any((one.what, one.place) == (what, place) for one in self.alarms):
            return False
        self.alarms = [*self.alarms, Alarm(time_s, what, place)][-ALARMS_MAX:]
        return True


def read_state(directory: Path) -> State | None:
    """The state in a log's directory; None if there is none, or none that can be read."""
    try:
        with (directory / "state" / STATE_FILE).open("rb") as file:
            data = file.read(_BYTES_MAX + 1)
        return msgspec.json.decode(data, type=State) if len(data) <= _BYTES_MAX else None
    except (OSError, msgspec.MsgspecError):
        return None


def write_state(files: Files, directory: Path, state: State) -> None:
    """Raises OSError."""
    write_atomic(files, str(directory / "state" / STATE_FILE), msgspec.json.encode(state), sync=False)


def describe(state: State, committed: int, now_s: int) -> dict[str, object]:
    """The state as people and programs are told: how far the copy is behind a log of `committed` entries."""
    return {
        "store": state.store,
        "lock": "full" if state.full and state.swept else "full, being lengthened" if state.full else "trial",
        "published": state.size,
        "covered": max(state.covered, state.size),
        "lag_events": lag_events(state, committed),
        "lag_s": max(0, now_s - state.at_s) if state.at_s else None,
        "objects": state.objects,
        "bytes": state.bytes,
        "trouble": state.trouble or None,
        "alarms": [msgspec.to_builtins(alarm) for alarm in state.alarms],
    }


def lag_events(state: State, committed: int) -> int:
    """Committed entries whose frames are not in the store yet."""
    return max(0, committed - max(state.covered, state.size))


def trouble_of(error: GravenError) -> str:
    """One line, without what to do about it."""
    return f"{error.what} ({error.place})" if error.place else error.what
