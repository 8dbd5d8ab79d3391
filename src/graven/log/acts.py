"""Graven's own acts: the events of source 0, in the event model.

Every act has a name under `graven.`; `ACTS` lists them all with what `data` holds, and docs/self-audit.md is checked
against it. They are sealed in the class `graven`, under keys of their own, so no erasure of a producer's class can
take them along.
"""

from collections.abc import Mapping, Sequence

import msgspec

from graven.core.anchored import COSIGNATURE_ACT, TOKEN_ACT
from graven.core.signed import ENROL_ACTION
from graven.runtime.clock import rfc3339 as rfc3339

SELF_SOURCE = 0
SELF_CLASS = "graven"

GENESIS = "graven.genesis"
START = "graven.start"
STOP = "graven.stop"
UNCLEAN_STOP = "graven.unclean_stop"
RECOVERY = "graven.recovery"
LOSS = "graven.loss"
CONFIG = "graven.config"
TOKEN_CREATE = "graven.token.create"  # noqa: S105 - the name of an act
TOKEN_REVOKE = "graven.token.revoke"  # noqa: S105 - the name of an act
SOURCE_CREATE = "graven.source.create"
SOURCE_CHANGE = "graven.source.change"
KEYS_BACKUP = "graven.keys.backup"
BACKUP = "graven.backup"
KEYS_ROTATE = "graven.keys.rotate"
KEYS_HANDOVER = "graven.keys.handover"
ID_CONFLICT = "graven.id_conflict"
CLOCK_FALL = "graven.clock_fall"
ERASURE = "graven.erasure"
AGENT_ENROL = ENROL_ACTION
AGENT_REVOKE = "graven.agent.revoke"
AGENT_BATCH = "graven.agent.batch"
AGENT_GAP = "graven.agent.gap"
AGENT_REFUSED = "graven.agent.refused"
AGENT_GOODBYE = "graven.agent.goodbye"
AGENT_SKEW = "graven.agent.skew"
SOURCE_SILENT = "graven.source.silent"
SOURCE_BACK = "graven.source.back"
SYSLOG_LOST = "graven.syslog.lost"
ANCHOR_TOKEN = TOKEN_ACT
ANCHOR_COSIGNATURE = COSIGNATURE_ACT
ANCHOR_OUTAGE = "graven.anchor.outage"
ANCHOR_BACK = "graven.anchor.back"
ANCHOR_RENEWAL = "graven.anchor.renewal"
ANCHOR_CLOCK = "graven.anchor.clock"
DISCLOSURE = "graven.disclosure"
QUARANTINE_RETRY = "graven.quarantine.retry"
IMPORT_PART = "graven.import.part"
IMPORT_FILE = "graven.import.file"
WORM_ENABLE = "graven.worm.enable"
WORM_LOCK = "graven.worm.lock"
WORM_DOCTOR = "graven.worm.doctor"
WORM_ALARM = "graven.worm.alarm"
HEAL = "graven.heal"

ACTS: dict[str, str] = {
    GENESIS: "first event of every log: origin, log id, public keys, configuration hash, sources; what it succeeds",
    START: "a server took up the log: version, configuration hash, the checkpoint it found",
    STOP: "a server stopped in order: reason",
    UNCLEAN_STOP: "the start before had no stop: the index of that start",
    RECOVERY: "bytes of an unfinished frame were cut: file, segment, offset, length, SHA-256, the size before them",
    LOSS: "an operator declared frames lost: as a recovery, and the size known before, and the reason",
    CONFIG: "the configuration changed: hash before and after; each change in `changes`",
    TOKEN_CREATE: "a token was made: id, name, scopes, sources, owner, expiry, SHA-256 of its secret",
    TOKEN_REVOKE: "a token was revoked: id, name",
    SOURCE_CREATE: "a source was registered: number, name, type, owner, grade, class, classes",
    SOURCE_CHANGE: "a source was changed: the whole new row",
    KEYS_BACKUP: "a recovery kit was made: how many segments it opens, the newest of them, whether it is sealed",
    KEYS_ROTATE: "new signing keys sign beside the old from now on: both pairs' vkeys",
    KEYS_HANDOVER: "the old signing keys hand over: the hand-over note, which names their last size",
    BACKUP: "a copy of the log was made: its size and root, the published size",
    ID_CONFLICT: "an id came again with other bytes: source, both indexes",
    CLOCK_FALL: "the log's clock fell by more than a second: received-µs before and after",
    AGENT_ENROL: "an agent was made known: name, vkey, which token let it in",
    AGENT_REVOKE: "an agent's key was revoked: name",
    AGENT_BATCH: "an agent's batch was taken: agent, sequence, digest of its statement, records, the agent's time",
    AGENT_GAP: "batches of an agent are missing: agent, the last that came, the one that came next",
    AGENT_REFUSED: "something said to be an agent's was refused: agent, why, how often since the last such event",
    AGENT_GOODBYE: "an agent said that it will not come back: agent, its last sequence",
    AGENT_SKEW: "an agent's clock is off: agent, by how many milliseconds it is ahead of this log's",
    SOURCE_SILENT: "nothing came from an expected source within its time: source, seconds, when it was last heard",
    SOURCE_BACK: "a silent source is heard again: source",
    SYSLOG_LOST: "datagrams of syslog were lost: how many in the kernel, how many the log could not take, since when",
    ERASURE: "a data key is to be destroyed: segment, class, kind, key id, first and last index, reason",
    HEAL: "a restored log got back the entries of events that were lost: which, and the size and root it goes on from",
    QUARANTINE_RETRY: "quarantined records were read again: their indexes, how many events came of them, the first",
    IMPORT_PART: "part of a file of history was imported: source, file, size, SHA-256, records and events of it so far",
    IMPORT_FILE: "a file of history was imported whole: source, file, size, SHA-256, records, events, quarantined",
    DISCLOSURE: "entries were opened for somebody outside: what, which, how far, to whom, the document's SHA-256",
    WORM_ENABLE: "a write-once copy was set up, under a trial lock: store",
    WORM_LOCK: "the copy's full lock began: store, days by class, objects and bytes there were",
    WORM_DOCTOR: "the forbidden calls were tried on the copy's store: store, verdict, what was not refused",
    WORM_ALARM: "the copy's follower found what must not be: what, place",
    ANCHOR_TOKEN: "a time stamp over a published checkpoint: the token, by whom, when, the checkpoint",
    ANCHOR_COSIGNATURE: "witnesses cosigned a published checkpoint: their lines, the checkpoint",
    ANCHOR_OUTAGE: "a time authority gave no good stamp: which, why, since when",
    ANCHOR_BACK: "a time authority stamps again: which, since when it had not, how often it was asked",
    ANCHOR_RENEWAL: "the newest stamp's certificate ends soon, so the log is stamped anew: authority, end",
    ANCHOR_CLOCK: "the host's clock and an anchor disagree, or agree again: by whom, by how much",
}

_VERBS = {
    TOKEN_CREATE: ("grant", "permission"),
    TOKEN_REVOKE: ("revoke", "permission"),
    SOURCE_CREATE: ("create", "configuration"),
    SOURCE_CHANGE: ("update", "configuration"),
    CONFIG: ("configure", "configuration"),
    KEYS_BACKUP: ("export", "admin"),
    BACKUP: ("export", "admin"),
    DISCLOSURE: ("export", "data"),
    QUARANTINE_RETRY: ("create", "data"),
    IMPORT_PART: ("create", "data"),
    IMPORT_FILE: ("create", "data"),
    KEYS_ROTATE: ("update", "admin"),
    KEYS_HANDOVER: ("update", "admin"),
    ERASURE: ("delete", "admin"),
    WORM_ENABLE: ("configure", "configuration"),
    WORM_LOCK: ("configure", "configuration"),
    WORM_DOCTOR: ("access", "admin"),
    AGENT_ENROL: ("grant", "permission"),
    AGENT_REVOKE: ("revoke", "permission"),
    LOSS: ("delete", "admin"),
    HEAL: ("delete", "admin"),
}


def act(
    action: str,
    *,
    now_us: int,
    data: Mapping[str, object],
    actor: Mapping[str, object] | None = None,
    message: str = "",
    changes: Sequence[Mapping[str, object]] = (),
) -> bytes:
    """One event of source 0, as bytes. `actor` is who asked for it; Graven itself if nobody did."""
    if action not in ACTS:
        raise AssertionError(f"undocumented act {action}")
    verb, category = _VERBS.get(action, ("other", "system"))
    event: dict[str, object] = {
        "time": rfc3339(now_us),
        "actor": actor or {"type": "system", "id": "graven"},
        "action": action,
        "verb": verb,
        "category": category,
        "outcome": "success",
    }
    if message:
        event["message"] = message
    if changes:
        event["changes"] = list(changes)
    event["data"] = dict(data)
    return msgspec.json.encode(event)
