"""Trust policies: C2SP tlog-policy. Which logs, which witnesses, and how many of them must have seen a checkpoint.

    log <vkey> [<url>]                      any one of these may sign
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <name>...      of names defined above it
    quorum <name>|none                      exactly once; none: the log's signature is enough

Fields are separated by spaces and tabs; lines that are empty or begin with # are ignored. Names are opaque octets
(kept here as text with surrogate escapes). A name is a member at most once, so that a witness counts in one way only,
and no key stands twice. Bounded: 1 MiB, 1,024 lines with content. Not here: fetching anything; a URL is kept as
written.

`Succession` is a policy, or bare keys, together with the hand-overs that were found to hold: up to a hand-over's last
size the old log keys are trusted, above it the new ones in their place.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from graven.core.checkpoint import LOG_KEY_TYPES, SignedCheckpoint, open_checkpoint, parse_checkpoint
from graven.core.errors import BadInput, Disproved, NotSigned
from graven.core.handover import Handover
from graven.core.note import COSIG_ED25519, COSIG_MLDSA44, KEY_TYPES, Key, VerifySignature, parse_note, parse_vkey

MAX_POLICY_BYTES = 1 << 20
MAX_LINES = 1024
NO_QUORUM = "none"
WITNESS_KEY_TYPES = (COSIG_ED25519, COSIG_MLDSA44)

_FORBIDDEN = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_COUNT = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Witness:
    """One witness line. `name` means something within the policy only."""

    name: str
    key: Key
    url: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """One group line: it has seen a checkpoint when at least `threshold` of `members` have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy; groups stand in the order of the file, so a group's members stand before it."""

    logs: tuple[tuple[Key, str | None], ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    def check(self, signed: SignedCheckpoint) -> tuple[str, ...]:
        """The names of all witnesses whose cosignature on `signed` counts, when one of the logs signed and the quorum
        is met.

        `signed` must have been opened with this policy's keys (`open_trusted` does): a cosignature nobody checked
        never counts. Raises Disproved when a listed log did not sign or the quorum is not met, BadInput when the
        policy lists no log.
        """
        if not self.logs:
            raise BadInput("a policy without a log", mend="add a line: log <vkey>")
        good = {one.key for one in signed.signed}
        origin = signed.checkpoint.origin
        if not any(key in good and key.name == origin for key, _ in self.logs):
            raise Disproved("no log of the policy has signed this checkpoint", found=origin)
        seen = {witness.name for witness in self.witnesses if witness.key in good}
        counted = tuple(witness.name for witness in self.witnesses if witness.name in seen)
        if not self.meets(seen):
            raise Disproved(
                f"the quorum of the policy is not met: {len(counted)} of {len(self.witnesses)} witnesses",
                expected=f"quorum {shown(self.quorum)}",
                found=", ".join(map(shown, counted)) or "none",
            )
        return counted

    def meets(self, names: Collection[str]) -> bool:
        """Whether these witnesses, by name, meet the quorum."""
        return self.quorum == NO_QUORUM or self.quorum in self._seen(names)

    def tally(self, names: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(members of the quorum that have seen what the witnesses `names` saw, all its members), as may be printed.

        The members are those of the quorum's group, so that a witness with two keys in a group counts once; without a
        group, they are the one witness, or all.
        """
        seen = self._seen(names)
        members: tuple[str, ...] = tuple(witness.name for witness in self.witnesses)
        if self.quorum != NO_QUORUM:
            members = next((group.members for group in self.groups if group.name == self.quorum), (self.quorum,))
        return tuple(shown(name) for name in members if name in seen), tuple(map(shown, members))

    def _seen(self, names: Collection[str]) -> set[str]:
        """The witnesses and groups that have seen a checkpoint when these witnesses have."""
        seen = {witness.name for witness in self.witnesses if witness.name in names}
        for group in self.groups:
            if len(seen.intersection(group.members)) >= group.threshold:
                seen.add(group.name)
        return seen


@dataclass(frozen=True, slots=True)
class Succession:
    """`trust` as it was given, and the hand-overs believed under it, oldest first (`core/succession.py` adds one).

    `before` are hand-overs that led to the keys given, newest first, for readers who hold all trees against each other:
    up to the last size of each, its old keys count.
    """

    trust: "Policy | tuple[Key, ...]"
    handovers: tuple[Handover, ...] = ()
    before: tuple[Handover, ...] = ()

    def at(self, size: int) -> "Policy | tuple[Key, ...]":
        """Whom to trust about a tree of `size` entries."""
        trust = self.trust
        for handover in self.before:
            if size <= handover.last:
                trust = succeed(trust, Handover(handover.origin, handover.last, handover.new, handover.old))
        for handover in self.handovers:
            if size > handover.last:
                trust = succeed(trust, handover)
        return trust


Trust = Policy | Sequence[Key] | Succession
"""What a reader believes in."""


def succeed(trust: "Policy | Sequence[Key]", handover: Handover) -> "Policy | tuple[Key, ...]":
    """`trust` with the new keys of a hand-over in the place of the old ones. Where none of the old is, as it was."""
    if isinstance(trust, Policy):
        urls = [url for key, url in trust.logs if key in handover.old]
        if not urls:
            return trust
        kept = [(key, url) for key, url in trust.logs if key not in handover.old and key not in handover.new]
        return replace(trust, logs=(*kept, *((key, urls[0]) for key in handover.new)))
    if not set(trust).intersection(handover.old):
        return tuple(trust)
    return (*(key for key in trust if key not in handover.old and key not in handover.new), *handover.new)


def log_keys_at(trust: Trust, size: int) -> tuple[Key, ...]:
    """The log keys (for bare keys: all of them) that count for a tree of `size` entries."""
    if isinstance(trust, Succession):
        trust = trust.at(size)
    return tuple(key for key, _ in trust.logs) if isinstance(trust, Policy) else tuple(trust)


def parse_policy(data: str | bytes) -> Policy:
    """Read a policy file. Raises BadInput with the number of the line and what to write instead."""
    try:
        data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    except UnicodeEncodeError:
        raise BadInput("a policy that is not valid Unicode") from None
    if len(data) > MAX_POLICY_BYTES:
        raise BadInput(f"a policy of more than {MAX_POLICY_BYTES} bytes")
    if (control := _FORBIDDEN.search(data)) is not None:
        number = data.count(b"\n", 0, control.start()) + 1
        raise BadInput(
            "a control character in a policy",
            place=f"policy line {number}",
            mend="only tab, space and newline are allowed",
        )
    draft = _Draft()
    for number, line in enumerate(data.split(b"\n"), 1):
        content = line.strip(b" \t")
        if content and not content.startswith(b"#"):
            words = content.replace(b"\t", b" ").decode("utf-8", "surrogateescape").split(" ")
            draft.add([word for word in words if word], f"policy line {number}")
    if draft.quorum is None:
        raise BadInput("a policy without a quorum", mend="add a line: quorum <name>, or quorum none")
    return Policy(tuple(draft.logs), tuple(draft.witnesses), tuple(draft.groups), draft.quorum)


def open_trusted(data: bytes, trust: Trust, verify: VerifySignature) -> tuple[SignedCheckpoint, tuple[str, ...]]:
    """Believe a checkpoint by a policy or by keys; the second value names the witnesses of the policy that count.

    With a `Succession`, by what it trusts at the checkpoint's size: old keys count up to their last size, new ones
    above.

    With bare keys, each of those named as the checkpoint's origin must have signed (a reader who gives two keys of a
    log wants both), and the others are taken as cosigners. Raises BadInput and Disproved as `open_checkpoint` and
    `Policy.check` do.
    """
    if isinstance(trust, Succession):
        return _open_in_succession(data, trust, verify)
    if isinstance(trust, Policy):
        keys = [key for key, _ in trust.logs]
        if not keys:
            raise BadInput("a policy without a log", mend="add a line: log <vkey>")
        signed = open_checkpoint(data, keys, verify, cosigners=[witness.key for witness in trust.witnesses])
        return signed, trust.check(signed)
    origin = parse_checkpoint(parse_note(data).text)[0].origin
    own = [key for key in trust if key.name == origin and key.type in LOG_KEY_TYPES]
    if not own:
        return open_checkpoint(data, trust, verify), ()
    others = [key for key in trust if key not in own]
    return open_checkpoint(data, own, verify, cosigners=others, require_all=True), ()


def _open_in_succession(
    data: bytes, trust: Succession, verify: VerifySignature
) -> tuple[SignedCheckpoint, tuple[str, ...]]:
    head = parse_checkpoint(parse_note(data).text)[0]
    try:
        return open_trusted(data, trust.at(head.size), verify)
    except NotSigned as error:
        passed = [one for one in trust.handovers if one.origin == head.origin and one.last < head.size]
        if passed:
            what = (
                f"the log's old keys sign nothing above {passed[-1].last} entries, and its new ones did not sign this"
            )
            raise NotSigned(what, expected=error.expected, found=error.found, place=error.place) from None
        raise


def shown(name: str) -> str:
    """A name as it may be printed: octets that are not UTF-8 are replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@dataclass(slots=True)
class _Draft:
    logs: list[tuple[Key, str | None]] = field(default_factory=list)
    witnesses: list[Witness] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    quorum: str | None = None
    names: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    keys: set[tuple[str, bytes]] = field(default_factory=set)
    lines: int = 0

    def add(self, words: list[str], place: str) -> None:
        self.lines += 1
        if self.lines > MAX_LINES:
            raise BadInput(f"a policy of more than {MAX_LINES} lines", place=place)
        if words[0] not in _LINES or not _LINES[words[0]][0] <= len(words) <= _LINES[words[0]][1]:
            usage = _LINES[words[0]][2] if words[0] in _LINES else "a line begins with log, witness, group or quorum"
            raise BadInput("not a line of a policy", place=place, mend=usage)
        if words[0] == "log":
            self.logs.append((self._key(words[1], LOG_KEY_TYPES, place), words[2] if len(words) == 3 else None))
        elif words[0] == "witness":
            self._define(words[1], place)
            key = self._key(words[2], WITNESS_KEY_TYPES, place)
            self.witnesses.append(Witness(words[1], key, words[3] if len(words) == 4 else None))
        elif words[0] == "group":
            self.groups.append(self._group(words[1], words[2], tuple(words[3:]), place))
            self._define(words[1], place)
        else:
            self._set_quorum(words[1], place)

    def _define(self, name: str, place: str) -> None:
        if name == NO_QUORUM or name in self.names:
            raise BadInput(
                f"the name {shown(name)} is taken", place=place, mend="give every witness and group its own name"
            )
        self.names.add(name)

    def _key(self, vkey: str, types: Sequence[int], place: str) -> Key:
        try:
            key = parse_vkey(vkey)
        except BadInput as error:
            raise BadInput(error.what, place=place, mend=error.mend) from None
        if key.type not in types:
            wanted = " or ".join(f"0x{number:02x}" for number in types)
            raise BadInput(
                f"a key of type 0x{key.type:02x} on this line", place=place, mend=f"use a key of type {wanted}"
            )
        if (identity := (KEY_TYPES[key.type].algorithm, key.public)) in self.keys:
            raise BadInput("a public key that stands in the policy already", place=place, mend="list every key once")
        self.keys.add(identity)
        return key

    def _group(self, name: str, rule: str, members: tuple[str, ...], place: str) -> Group:
        for member in members:
            if member not in self.names:
                raise BadInput(f"the name {shown(member)} is not defined above", place=place)
            if member in self.members:
                raise BadInput(
                    f"{shown(member)} is a member of a group already", place=place, mend="list every name once"
                )
            self.members.add(member)
        counts: Mapping[str, int] = {"all": len(members), "any": 1}
        threshold = counts.get(rule, int(rule) if _COUNT.fullmatch(rule) else 0)
        if not 1 <= threshold <= len(members):
            raise BadInput(
                "a group with an impossible threshold", place=place, mend=f"all, any, or 1 to {len(members)}"
            )
        return Group(name, threshold, members)

    def _set_quorum(self, name: str, place: str) -> None:
        if self.quorum is not None:
            raise BadInput("a second quorum", place=place, mend="a policy has exactly one quorum line")
        if name != NO_QUORUM and name not in self.names:
            raise BadInput(f"the name {shown(name)} is not defined above", place=place)
        self.quorum = name


_LINES = {
    "log": (2, 3, "log <vkey> [<url>]"),
    "witness": (3, 4, "witness <name> <vkey> [<url>]"),
    "group": (4, MAX_LINES + 3, "group <name> all|any|<k> <name>..."),
    "quorum": (2, 2, "quorum <name>|none"),
}
