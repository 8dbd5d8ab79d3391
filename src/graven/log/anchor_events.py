"""The log's own events about anchors: each rides on the next block that somebody else's event makes.

    graven.anchor.token, .cosignature    an anchor that was obtained, by the name of its file: never twice in the tree
    graven.anchor.outage, .back          an authority gave no stamp; it stamps again
    graven.anchor.clock                  the host's clock disagrees with an anchor, or agrees again

Nothing here makes a block, asks anybody or judges a clock; what the events say is in docs/time.md.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from graven.anchor.policies import kept_witness_keys
from graven.anchor.stored import StoredName
from graven.core.anchored import Anchored
from graven.core.checkpoint import Checkpoint, message_to_sign
from graven.core.note import Key, format_signature, open_note, parse_note
from graven.core.spelling import encode_base64
from graven.core.timestamp import Stamp
from graven.keys.signature import verify_signature
from graven.log import acts
from graven.runtime.clock import US_PER_S, Clock

Ride = Callable[[str, bytes], None]
"""(key, event): the event goes into the next block, once a key."""


class AnchorEvents:
    """Writes them for one log."""

    def __init__(self, directory: Path, ride: Ride, clock: Clock) -> None:
        self._directory, self._ride, self._clock = directory, ride, clock

    def token(self, anchored: Anchored, stamp: Stamp, by: str, stored: StoredName) -> None:
        """A stamp of the authority `by`, kept in the file `stored`."""
        head = anchored.head
        data: dict[str, object] = {
            "authority": by,
            "time": acts.rfc3339(stamp.time_us),
            "earliest_us": stamp.earliest_us,
            "latest_us": stamp.latest_us,
            "expires_us": stamp.expires_us,
            "checkpoint": {
                "size": head.size, "root": encode_base64(head.root), "sha256": sha256(anchored.checkpoint).hexdigest(),
            },
            "token": encode_base64(stamp.token),
            "file": stored.path,
        }  # fmt: skip
        self.tell(stored.path, acts.ANCHOR_TOKEN, data)

    def cosignatures(self, head: Checkpoint, lines: Sequence[str], time_us: int, stored: StoredName | None) -> None:
        """Signature lines of witnesses under a checkpoint; `stored` where they came by file."""
        data: dict[str, object] = {
            "time": acts.rfc3339(time_us),
            "earliest_us": time_us,
            "checkpoint": {"size": head.size, "root": encode_base64(head.root)},
            "cosignatures": [line.rstrip("\n") for line in lines],
            "file": stored.path if stored is not None else None,
        }
        self.tell(stored.path if stored is not None else f"cosigned {head.size}", acts.ANCHOR_COSIGNATURE, data)

    def stored_cosignatures(self, anchored: Anchored, stored: StoredName) -> None:
        """Those in a file that are good by a witness of a policy the log was ever run with. Raises Disproved."""
        note = parse_note(anchored.checkpoint)
        keys = kept_witness_keys(self._directory)
        signed = open_note(note, keys, verify_signature, message=_message)
        good = {(one.key.name, one.key.id): one.time for one in signed}
        lines = [format_signature(line) for line in note.signatures if (line.name, line.key_id) in good]
        time_s = max(time_s for time_s in good.values() if time_s is not None)
        self.cosignatures(anchored.head, lines, time_s * US_PER_S, stored)

    def tell(self, key: str, action: str, data: Mapping[str, object]) -> None:
        """Any act about anchors, once a key."""
        self._ride(key, acts.act(action, now_us=self._clock.now_us(), data=data))


def _message(key: Key, time_s: int | None, text: str) -> bytes:
    return message_to_sign(key.type, name=key.name, time=time_s, text=text)
