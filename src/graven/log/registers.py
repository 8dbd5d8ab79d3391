"""The registers: sources, tokens, and what else Graven's own events add up to.

A pure function of the events of source 0, in order. `state/registers.json` is a snapshot with a cursor, sealed with a
keyed hash so that whoever can write there cannot slip in a token; it may be deleted.

Values are frozen; `Registers` swaps whole dictionaries, so any thread may read while the writer applies.
"""

import hmac
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from graven.core.errors import BadInput
from graven.core.spelling import encode_base64
from graven.core.statement import NO_BATCH
from graven.journal.files import Files, write_atomic
from graven.journal.mark import Mark
from graven.log import acts

NUMBERS_MAX = (1 << 32) - 1
NUMBERS_STEP = 65_536
"""The room that is left for numbers after a loss; also the step of the rule for a loss too large for the sound one."""

HISTORY_GRADE = "imported history"
GRADES = (
    "signed at the source",
    "sequenced agent",
    "authenticated sender",
    "network",
    "pulled",
    HISTORY_GRADE,
)


ANCHORED_MAX = 1_000
IMPORTS_MAX = 100_000
"""Files of history that are known; beyond it the oldest are forgotten."""


class Source(msgspec.Struct, frozen=True):
    """A registered producer. `classes` are the classes its events may name beside its own."""

    number: int
    name: str
    type: str = "application"
    owner: str = ""
    grade: str = "authenticated sender"
    class_name: str = "default"
    classes: tuple[str, ...] = ()
    retired: bool = False
    expect_s: int | None = None
    """Something is expected of it at least this often; None: nothing is."""


class Token(msgspec.Struct, frozen=True):
    """A bearer token, without its secret. `sources` are the names it may ingest as; the first is the default."""

    id: str
    name: str
    scopes: tuple[str, ...]
    sources: tuple[str, ...]
    owner: str
    sha256: str
    expires_us: int | None = None
    revoked: bool = False


class Agent(msgspec.Struct, frozen=True):
    """An enrolled agent; the source of its name is what it sends as. `sequence` and `digest` are of its last batch."""

    name: str
    vkey: str
    sequence: int = 0
    digest: str = encode_base64(NO_BATCH)
    sent_us: int = 0
    ended: bool = False
    revoked: bool = False


class Imported(msgspec.Struct, frozen=True):
    """How far a file of history is in the log."""

    records: int = 0
    events: int = 0
    quarantined: int = 0
    done: bool = False


class Erasure(msgspec.Struct, frozen=True):
    """A destroyed data key, as its event says."""

    index: int
    segment: int
    class_name: str
    kind: str
    key_id: str


class Handed(msgspec.Struct, frozen=True):
    """A hand-over of the signing keys, and where its event stands."""

    index: int
    note: str


_NOTHING = Imported()


class _Snapshot(msgspec.Struct, frozen=True):
    size: int
    root: str
    sources: tuple[Source, ...]
    tokens: tuple[Token, ...]
    config: dict[str, str]
    config_sha256: str
    running_since: int | None
    torn: dict[str, str]
    erasures: tuple[Erasure, ...]
    kit_segment: int | None = None
    agents: tuple[Agent, ...] = ()
    silent: tuple[str, ...] = ()
    coming: tuple[str, ...] = ()
    handovers: tuple[Handed, ...] = ()
    source_floor: int = 0
    anchored: tuple[str, ...] = ()
    cosigned_us: int = 0
    heard: dict[int, int] = {}
    imports: dict[str, Imported] = {}


class Registers:
    """See the module. `size` is how far the log was taken in: the writer moves it behind the acts of each block."""

    def __init__(self) -> None:
        self.size = 0
        self.saved_size = 0
        """Where the snapshot on disk stands."""
        self.changed = False
        """Whether anything was applied since the last snapshot."""
        self._applied = 0  # one more than the index of the newest act taken in
        self.sources: Mapping[str, Source] = {}
        self.tokens: Mapping[str, Token] = {}
        """By SHA-256 (hex) of the secret."""
        self.agents: Mapping[str, Agent] = {}
        """By name, which is that of their source."""
        self.silent: frozenset[str] = frozenset()
        """Names of sources that were found silent and are not back."""
        self.heard: dict[int, int] = {}
        """Number of a source → when its last event was received, µs; of those that are known to have sent any."""
        self.imports: dict[str, Imported] = {}
        """By number of the source, a slash, and the SHA-256 of the file."""
        self.config: Mapping[str, str] = {}
        self.config_sha256 = ""
        self.running_since: int | None = None
        """Index of a start event without its stop."""
        self.torn: Mapping[str, str] = {}
        """File name in journal/torn/ → SHA-256, as recovery events name them."""
        self.erasures: tuple[Erasure, ...] = ()
        self._source_floor = 0
        self.kit_segment: int | None = None
        """Start of the newest segment that a recovery kit made so far opens."""
        self.anchored: tuple[str, ...] = ()
        """The newest files in anchors/ that an event names, up to ANCHORED_MAX."""
        self.cosigned_us = 0
        """The newest time that a cosignature in the log states."""

        self.coming: tuple[str, ...] = ()
        """The vkeys that sign beside those in office, as the last event about them says."""
        self.handovers: tuple[Handed, ...] = ()

    def source(self, name: str) -> Source:
        """The source of this name. Raises BadInput if there is none or it is retired."""
        found = self.sources.get(name)
        if found is None or found.retired:
            raise BadInput(f"no source is called {name!r}", mend=f"register it: graven source add {name}")
        return found

    def source_names(self) -> dict[int, str]:
        return {0: "graven"} | {source.number: source.name for source in self.sources.values()}

    def next_source_number(self) -> int:
        return max(self._source_floor, self._highest_source() + 1)

    def _highest_source(self) -> int:
        return max((source.number for source in self.sources.values()), default=0)

    def hear(self, source: int, received_us: int) -> None:
        """An event of this source was received then. On the writer's thread."""
        self.heard[source] = received_us

    def apply(self, index: int, event: bytes) -> None:
        """Take in one event of source 0. Anything that is no act of Graven's is passed over."""
        self._applied, self.changed = index + 1, True
        decoded = msgspec.json.decode(event)
        data = decoded.get("data") or {}
        match decoded.get("action"):
            case acts.GENESIS:
                self._set_config(data)
                for row in data.get("sources", ()):
                    self._set_source(row)
            case acts.START:
                self.running_since = index
            case acts.STOP | acts.UNCLEAN_STOP:
                self.running_since = None
            case acts.CONFIG:
                self._set_config(data)
            case acts.SOURCE_CREATE | acts.SOURCE_CHANGE:
                self._set_source(data)
            case acts.AGENT_ENROL:
                self._set_agent(Agent(str(data["name"]), str(data["vkey"])))
            case acts.AGENT_BATCH:
                self._change_agent(
                    data["agent"],
                    sequence=data["sequence"],
                    digest=data["digest"],
                    sent_us=data["sent_us"],
                    ended=False,
                )
            case acts.AGENT_GOODBYE:
                self._change_agent(data["agent"], ended=True)
            case acts.AGENT_REVOKE:
                self._change_agent(data["name"], revoked=True)
            case acts.SOURCE_SILENT:
                self.silent |= {data["source"]}
            case acts.SOURCE_BACK:
                self.silent -= {data["source"]}
            case acts.IMPORT_PART | acts.IMPORT_FILE:
                self._set_import(data, done=decoded["action"] == acts.IMPORT_FILE)
            case acts.TOKEN_CREATE:
                token = msgspec.convert(data, Token)
                self.tokens = {**self.tokens, token.sha256: token}
            case acts.TOKEN_REVOKE:
                self.tokens = {
                    key: msgspec.structs.replace(token, revoked=True) if token.id == data["id"] else token
                    for key, token in self.tokens.items()
                }
            case acts.RECOVERY | acts.LOSS if "file" in data:
                self.torn = {**self.torn, str(data["file"]): str(data["sha256"])}
            case acts.ERASURE:
                erasure = Erasure(index, data["segment"], data["class"], data["kind"], data["key_id"])
                self.erasures = (*self.erasures, erasure)
            case acts.KEYS_ROTATE:
                self.coming = tuple(map(str, data["next_vkeys"]))
            case acts.KEYS_HANDOVER:
                self.coming, self.handovers = (), (*self.handovers, Handed(index, str(data["handover"])))
            case acts.HEAL:
                self._pass_over(sum(int(end) - int(start) for start, end in data["lost"]))
            case acts.ANCHOR_TOKEN | acts.ANCHOR_COSIGNATURE:
                if isinstance(file := data.get("file"), str):
                    self.anchored = (*self.anchored, file)[-ANCHORED_MAX:]
                if decoded["action"] == acts.ANCHOR_COSIGNATURE:
                    self.cosigned_us = max(self.cosigned_us, int(data.get("earliest_us", 0)))
            case acts.KEYS_BACKUP:
                newest = data.get("newest_segment")
                if isinstance(newest, int):
                    self.kit_segment = max(self.kit_segment or 0, newest)
            case _:
                pass

    def _pass_over(self, lost: int) -> None:
        """What was lost may have used numbers, at most one an entry: so many are passed over.

        That holds for an earlier heal within the lost entries as well, which passed over no more than were lost
        then: an old copy that is restored twice gives no number twice. A loss too large for the numbers there are makes
        them go on at the next multiple of NUMBERS_STEP, which is not as sure (docs/operations.md).
        """
        used = self.next_source_number() - 1
        floor = used + lost + 1
        if floor > NUMBERS_MAX - NUMBERS_STEP:
            floor = (used // NUMBERS_STEP + 1) * NUMBERS_STEP
        self._source_floor = floor

    def save(self, files: Files, path: Path, mark: Mark, key: bytes) -> None:
        """Write the snapshot for the log as it is at `mark`. Not synced: it may be lost.

        Nothing is written while an act behind `mark` is in: it would be said to stand where it does not; or while one
        below it may not be: it would be missing for good. Acts are taken in by another thread: the one is looked at
        when all has been gathered, the other before.
        """
        if self.size < mark.size:
            self.changed = True
            return
        self.changed = False
        body = msgspec.json.encode(
            _Snapshot(
                mark.size, mark.root.hex(), tuple(self.sources.values()), tuple(self.tokens.values()),
                dict(self.config), self.config_sha256, self.running_since, dict(self.torn), self.erasures,
                self.kit_segment, tuple(self.agents.values()), tuple(self.silent), self.coming, self.handovers,
                self._source_floor, self.anchored, self.cosigned_us, dict(self.heard), dict(self.imports),
            )
        )  # fmt: skip
        if self._applied > mark.size:
            self.changed = True
            return
        write_atomic(files, str(path), _seal(body, key) + b"\n" + body, sync=False)
        self.saved_size = mark.size

    @classmethod
    def load(cls, path: Path, key: bytes) -> tuple["Registers", Mark] | None:
        """The snapshot and where it stands, or None when there is none that fits its seal."""
        try:
            seal, _, body = path.read_bytes().partition(b"\n")
            if not hmac.compare_digest(seal, _seal(body, key)):
                return None
            saved = msgspec.json.decode(body, type=_Snapshot)
        except (OSError, msgspec.DecodeError):
            return None
        registers = cls()
        registers.size = registers.saved_size = saved.size
        registers.sources = {source.name: source for source in saved.sources}
        registers.tokens = {token.sha256: token for token in saved.tokens}
        registers.config, registers.config_sha256 = saved.config, saved.config_sha256
        registers.running_since, registers.torn, registers.erasures = saved.running_since, saved.torn, saved.erasures
        registers.kit_segment, registers._source_floor = saved.kit_segment, saved.source_floor
        registers.agents = {agent.name: agent for agent in saved.agents}
        registers.silent = frozenset(saved.silent)
        registers.coming, registers.handovers = saved.coming, saved.handovers
        registers.anchored, registers.cosigned_us = saved.anchored, saved.cosigned_us
        registers.heard, registers.imports = saved.heard, saved.imports
        return registers, Mark(saved.size, bytes.fromhex(saved.root))

    def _set_source(self, row: dict[str, Any]) -> None:
        source = msgspec.convert(row, Source)
        self.sources = {**self.sources, source.name: source}

    def imported(self, source: int, sha256: str) -> Imported:
        """How far this file is in the log under this source."""
        return self.imports.get(f"{source}/{sha256}", _NOTHING)

    def _set_import(self, data: dict[str, Any], *, done: bool) -> None:
        key = f"{data['number']}/{data['sha256']}"
        self.imports.pop(key, None)  # the newest stands last
        while len(self.imports) >= IMPORTS_MAX:
            del self.imports[next(iter(self.imports))]
        self.imports[key] = Imported(data["records"], data["events"], data["quarantined"], done)

    def _set_agent(self, agent: Agent) -> None:
        self.agents = {**self.agents, agent.name: agent}

    def _change_agent(self, name: str, **changes: Any) -> None:
        if (agent := self.agents.get(name)) is not None:
            self._set_agent(msgspec.structs.replace(agent, **changes))

    def _set_config(self, data: dict[str, Any]) -> None:
        self.config = data.get("config", {})
        self.config_sha256 = data.get("config_sha256", "")


def _seal(body: bytes, key: bytes) -> bytes:
    return blake2b(body, digest_size=32, key=key, person=b"registers").hexdigest().encode()
