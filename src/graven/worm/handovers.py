"""The hand-overs of a log's signing keys that a copy holds, followed by who knows some of its keys, old or new.

Who can write to the bucket can add versions; of each hand-over the oldest version counts that is one: it is signed by
all it names, and proved under keys that are trusted.
"""

from collections.abc import Sequence

from graven.core.errors import Disproved, GravenError
from graven.core.evidence import MAX_EVIDENCE_BYTES
from graven.core.handover import MAX_HANDOVERS
from graven.core.note import Key
from graven.core.policy import Succession
from graven.core.succession import follow, with_past
from graven.keys.signature import verify_signature
from graven.log.verify.report import Findings
from graven.worm import layout
from graven.worm.originals import Originals
from graven.worm.store import Store, Version

NO_HANDOVER = "an object where a hand-over of the signing keys belongs is none"
"""Anybody who can write to the store can put one there, and it hands over nothing."""


def follow_copy(store: Store, keys: Sequence[Key], findings: Findings) -> tuple[Succession, list[bytes]]:
    """Whom to trust at which size of the copy, and the hand-overs that say so. What counts for none is told."""
    trust, documents = Succession(tuple(keys)), list[bytes]()
    originals = Originals(store, findings)
    for number in range(1, MAX_HANDOVERS + 1):
        name = f"{layout.HANDOVERS}{number}"
        candidates = originals.of(name)
        refused: GravenError | None = None
        for version in candidates:
            try:
                data = _read(store, version)
                with_past(trust, [data], verify_signature)  # is it one at all?
                trust, _ = follow(trust, [data], verify_signature)
            except GravenError as error:
                refused = refused or error
                continue
            documents.append(data)
            break
        else:
            if refused is not None:
                findings.disprove(NO_HANDOVER, f"{name}: {refused.what}")
            break
    return with_past(trust, documents, verify_signature), documents


def _read(store: Store, version: Version) -> bytes:
    if version.size > MAX_EVIDENCE_BYTES:
        raise Disproved("a hand-over that is too long for one")
    return store.read(version)
