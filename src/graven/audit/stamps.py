"""Time stamps that a log shows: verified by the auditor's own roots, over trees of the log that is followed.

    <log>/anchor         the newest stamp the log has: an anchored checkpoint, `graven-anchor/v1`
    DIR/anchor           the newest one that was good
    DIR/anchors/<day>/…  every one that was good

A stamp says that a checkpoint existed at a time, by the word of an authority. Its checkpoint must be the log's, and its
tree one of those the copy holds: a stamp over another tree convicts the log of a fork like any other checkpoint.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graven.anchor.stored import keep_anchor
from graven.core.anchored import MAX_ANCHOR_BYTES, Anchored, format_anchor, parse_anchor
from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.timestamp import Stamp, verify_token
from graven.core.x509 import Certificate
from graven.keys.signature import verify_signature
from graven.runtime.clock import US_PER_S, rfc3339
from graven.runtime.files import Files, write_atomic
from graven.runtime.site import Site

NAME = "anchor"
AHEAD_S_MAX = 300
"""How far a stamp may be ahead of the auditor's own clock."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A good stamp: its checkpoint, what the token shows, and its age by the auditor's clock, in seconds."""

    anchored: Anchored
    signed: SignedCheckpoint
    stamp: Stamp
    age_s: int

    @property
    def told(self) -> str:
        """As a round and a statement say it."""
        size = self.signed.checkpoint.size
        return f"time stamp of {rfc3339(self.stamp.time_us)} over {size} entries, by {self.stamp.authority}"


def look(
    site: Site, roots: Sequence[Certificate], open_own: Callable[[bytes], SignedCheckpoint], now_s: int
) -> Stamped:
    """The newest stamp that `site` shows, believed by `roots`; `open_own` opens a checkpoint of the log followed.

    Raises Broken: there is none, or it is later than this clock. Disproved: it is not good.
    """
    anchored = _read(site)
    assert anchored.token is not None
    try:
        stamp = verify_token(anchored.token, anchored.checkpoint, roots=roots, verify=verify_signature)
        signed = open_own(anchored.checkpoint)
    except (BadInput, Disproved) as error:
        error.place = f"{NAME}: {error.place}" if error.place else NAME
        raise error if isinstance(error, Disproved) else Disproved(error.what, place=error.place) from None
    age_s = now_s - stamp.time_us // US_PER_S
    if age_s < -AHEAD_S_MAX:
        raise Broken(
            f"the newest time stamp is {-age_s} s later than the clock here", place=NAME, mend="set this clock"
        )
    return Stamped(anchored, signed, stamp, max(0, age_s))


def keep(files: Files, directory: Path, stamped: Stamped) -> None:
    """Keep a stamp that was good, durably. Raises OSError."""
    data, path = format_anchor(stamped.anchored), directory / NAME
    if not path.exists() or path.read_bytes() != data:
        keep_anchor(files, directory, stamped.anchored, time_s=stamped.stamp.time_us // US_PER_S)
        write_atomic(files, str(path), data)


def _read(site: Site) -> Anchored:
    data = site.get(NAME, MAX_ANCHOR_BYTES)
    if data is None:
        raise Broken("the log shows no time stamp", place=NAME, mend="ask its operator for [authorities]")
    try:
        anchored = parse_anchor(data)
    except BadInput as error:
        raise Disproved(f"what is served as a time stamp is none: {error.what}", place=NAME) from None
    if anchored.token is None or anchored.hashes:
        raise Disproved("what is served as a time stamp is another anchor", place=NAME)
    return anchored
