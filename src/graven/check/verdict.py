"""What a check is given, and what it finds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from graven.check.words import Row, plain_rows
from graven.core.challenge_answer import Judged
from graven.core.challenge_statement import Statement
from graven.core.checkpoint import SignedCheckpoint
from graven.core.note import Key
from graven.core.policy import Policy, Succession, log_keys_at
from graven.core.receipt import Receipt
from graven.core.succession import Relied, follow
from graven.core.x509 import Certificate
from graven.keys.signature import verify_signature


@dataclass(frozen=True, slots=True)
class Trust:
    """What the reader believes in: verifier keys, or a policy. `certificate` and `sent` go with receipts.

    `sent` are the events that were sent, verbatim, to be compared with an opened receipt; `normalised` says that the
    log makes events of what is sent, so the bytes sent are the raws. `rows` shows an event to a person. `auditors` are
    the keys of auditors, who sign challenges and statements; `time_roots` certificates that time authorities may lead
    to; `relied` the hand-overs of the log's keys that `with_handovers` found to count.
    """

    keys: tuple[Key, ...] = ()
    policy: Policy | None = None
    certificate: bytes | None = None
    sent: tuple[bytes, ...] | None = None
    normalised: bool = False
    auditors: tuple[Key, ...] = ()
    time_roots: tuple[Certificate, ...] = ()
    rows: Callable[[bytes], list[Row]] = plain_rows
    relied: tuple[Relied, ...] = ()

    @property
    def either(self) -> Policy | Succession | tuple[Key, ...]:
        trust = self.policy if self.policy is not None else self.keys
        return Succession(trust, tuple(one.handover for one in self.relied)) if self.relied else trust

    @property
    def log_keys(self) -> Succession | tuple[Key, ...]:
        either = self.either
        return either if isinstance(either, Succession) else log_keys_at(either, 0)

    def with_handovers(self, documents: Iterable[bytes]) -> "Trust":
        """This trust, led on by the log's hand-overs, oldest first. Raises as `verify_handover`."""
        _, relied = follow(self.either, documents, verify_signature)
        return replace(self, relied=(*self.relied, *relied))


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
