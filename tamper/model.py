"""The words of the matrix: what an attack is, what somebody said when asked, what became of it.

Nothing here knows a system. A verdict is made from what observers answered before and after the attack, and from
nothing else: an observer that raised the alarm before anything was done does not count.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

State = Literal["caught", "not caught", "not acted out", "not here"]
CAUGHT: State = "caught"
MISSED: State = "not caught"
NOT_ACTED: State = "not acted out"
ABSENT: State = "not here"


class WentWrongError(Exception):
    """The harness could not do what a row says: no verdict follows, and the run fails."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command or a door answered. `code` is an exit code, or an HTTP status where no command was run."""

    code: int
    text: str
    alarm: bool
    """Whether its reader would be alarmed: for commands, an exit code other than 0."""

    @property
    def line(self) -> str:
        """The line that says it."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        lines = [line.partition("/outside/")[2] or line for line in lines]
        telling = [line for word in _TELLING for line in lines if word in line.lower()]
        return (telling or lines or [f"exit {self.code}"])[0].removeprefix("graven: ")[:WORDS_MAX]


WORDS_MAX = 160
_TELLING = (
    "forked", "older tree", "broken promise", "expected", "no signature", "alarm", "caution", "does not", "is not",
    "cosigned", "refused", "mismatch", "fail", "gone", "error", "wrong", "missing", "disproved", "not good", "broken",
)  # fmt: skip
"""What makes a line the one to quote, the most telling first."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Somebody who looks: who, what they run, and how long they go on looking where nothing was found at once."""

    name: str
    ask: Callable[[], Said]
    patience_s: float = 0.0
    last: bool = False
    """Asked when all others are done: it stops what runs."""


@dataclass(frozen=True, slots=True)
class Catch:
    """Who noticed, how many seconds after the attack was over, in what words."""

    by: str
    seconds: float
    code: int
    words: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attack on one system. `why` says why it was not acted out, or cannot be."""

    state: State
    catches: tuple[Catch, ...] = ()
    why: str = ""
    silent: tuple[str, ...] = ()
    """Observers who were asked and saw nothing wrong."""
    discounted: tuple[str, ...] = ()
    """Observers who raised the alarm before anything was done."""

    @property
    def first(self) -> Catch | None:
        return min(self.catches, key=lambda one: one.seconds, default=None)


@dataclass(frozen=True, slots=True)
class Attack:
    """A row. `threats` are the rows of docs/threat-model.md it acts out; `limit` says that Graven cannot catch it.

    `control`: nothing is done, and whoever raises an alarm cries wolf.
    """

    key: str
    title: str
    threats: tuple[int, ...]
    attacker: str
    powers: str
    steps: str
    limit: bool = False
    control: bool = False


@dataclass(slots=True)
class Scene:
    """One living instance of a system, for one attack: who looks at it, and how it is put away."""

    observers: list[Observer] = field(default_factory=list)
    subject: object = None


Act = Callable[[Scene], None]


@dataclass(frozen=True, slots=True)
class System:
    """A column: how an instance is made, and what each attack does to it.

    `stage` is a context manager factory. A row that is in `reasons` is not acted out there, and the text says why.
    """

    name: str
    stage: Callable[[Attack], "object"]
    acts: Mapping[str, Act]
    reasons: Mapping[str, str]
    version: Callable[[], str]
