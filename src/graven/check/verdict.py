"""What a check is given, and what it finds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from graven.check.words import Row, plain_rows
from graven.core.challenge_answer import Judged
from graven.core.challenge_statement import Statement
from graven.core.checkpoint import SignedCheckpoint
from graven.core.note import Key
from graven.core.policy import Policy
from graven.core.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Trust:
    """What the reader believes in: verifier keys, or a policy. `certificate` and `sent` go with receipts.

    `sent` are the events that were sent, verbatim, to be compared with an opened receipt; `normalised` says that the
    log makes events of what is sent, so the bytes sent are the raws. `rows` shows an event to a person.
    `auditors` are the keys of auditors, who sign challenges and statements.
    """

    keys: tuple[Key, ...] = ()
    policy: Policy | None = None
    certificate: bytes | None = None
    sent: tuple[bytes, ...] | None = None
    normalised: bool = False
    auditors: tuple[Key, ...] = ()
    rows: Callable[[bytes], list[Row]] = plain_rows

    @property
    def either(self) -> Policy | Sequence[Key]:
        return self.policy if self.policy is not None else self.keys

    @property
    def log_keys(self) -> list[Key]:
        return [key for key, _ in self.policy.logs] if self.policy is not None else list(self.keys)


@dataclass(slots=True)
class Good:
    """A file that holds what it claims: what was proved, for people (`rows`) and for programs (`fields`)."""

    kind: str
    rows: list[Row] = field(default_factory=list)
    fields: dict[str, object] = field(default_factory=dict)
    checkpoints: list[SignedCheckpoint] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    judged: Judged | None = None
    statement: Statement | None = None
    data: bytes = b""
