"""What goes to a verifying process and what comes back: plain values, small enough to send."""

from dataclasses import dataclass, field

from graven.core.merkle import CompactRange
from graven.log.verify.report import Findings
from graven.log.verify.tree import TreePlace


@dataclass(frozen=True, slots=True)
class State:
    """Where a walk stands: the next frame's offset and first index, and the tree so far (None: not known)."""

    offset: int
    index: int
    range: CompactRange | None


@dataclass(frozen=True, slots=True)
class Task:
    """What a process needs to verify a chunk. `path` is empty when there is no journal, only bundles to go by.

    `state.range` None asks for the tiles' claim. The walk ends at the first frame that begins at or behind `limit`.
    Before it, events up to `fill_to` are taken from the bundles: the journal is known to lack them. `keys` are the
    segment's data keys, empty where payloads are not opened; `named` the (class, kind, key id) of its header, None
    where nothing may be concluded from a key that is not there.
    `wanted` are the sizes whose roots the caller asks for, ascending.
    """

    path: str
    name: str
    size: int
    segment_start: int
    log_id: bytes
    keys: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    named: frozenset[tuple[str, int, bytes]] | None
    header_bad: bool
    state: State
    limit: int
    fill_to: int
    tree: TreePlace
    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots that share a data key and a fate: erased (`erasure` is the index of the event named), or not readable; or
    lost (`kind` "lost", `erasure` the event that says so)."""

    segment: int
    class_name: str
    kind: str
    key_id: bytes
    erasure: int | None
    first: int
    last: int
    count: int


@dataclass(frozen=True, slots=True)
class Act:
    """An event of Graven's own that says something about the files."""

    index: int
    action: str
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Rest:
    """Bytes at a segment's end that are no whole frame, with no frame behind them. `short`: the file ends too soon.

    `end` is the index the frame would have reached, as far as its own header says, else None.
    """

    offset: int
    length: int
    why: str
    short: bool
    end: int | None


@dataclass(slots=True)
class Result:
    """What a chunk came to. `frames` and `index_frame` are packed (start - segment start, offset) pairs: those walked,
    and those the segment's index names (None: no index frame was met, `index_offset` says where it was)."""

    start: State
    end: State
    findings: Findings
    opened: int = 0
    unfollowed: int = 0
    frames: bytes = b""
    index_frame: bytes | None = None
    index_offset: int = 0
    rest: Rest | None = None
    roots: dict[int, bytes] = field(default_factory=dict)
    acts: list[Act] = field(default_factory=list)
    slots: list[Slots] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
