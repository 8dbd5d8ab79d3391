"""Cutting the journal's end: when it may be done, and how nothing is lost by it.

Bytes are only ever cut where nothing signed needs them, and are kept in `journal/torn/` before they go; the event that
names them is the writer's business. The rules are those of docs/format.md, "Recovery".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from graven.core.errors import Broken, Disproved
from graven.journal import frame
from graven.journal.files import Files
from graven.journal.segment import SegmentFile, write_torn

REMEDY = (
    "bring back the newest copy of the journal; or heal a copy with what a mirror has: `graven restore --mirror`; or, "
    "where no published checkpoint is lost, `graven recover --declare-loss`; or a successor: `graven init NEW_DIR "
    "--successor-of CHECKPOINT_FILE`"
)


@dataclass(frozen=True, slots=True)
class Cut:
    """Bytes that recovery took from the journal's end, for the event that must name them."""

    file: str
    segment: str
    offset: int
    length: int
    sha256: str
    declared: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cut must leave: sizes of trees that the world was told of.

    `published` lies in `log/checkpoint`; `shown` is the largest a checkpoint was ever signed for; `signed` the largest
    anything was, answers to producers included. `declare_loss`: the operator gives up what is above `shown`.
    """

    published: int
    shown: int
    signed: int
    declare_loss: bool = False


def check_cut(
    segment: SegmentFile, offset: int, rest: bytes, start: int, later: Sequence[SegmentFile], limits: Limits, why: str
) -> None:
    """Whether `rest`, the bytes of a segment from `offset` on, and the `later` segments may go; `start` is the size of
    the tree that stays.

    The one permitted cut: the last frame, unfinished, nothing signed above it, no other frame behind it. Raises
    Broken; `why` says what is wrong with what lies there.
    """
    place = f"{segment.path} at byte {offset} (index {start})"
    if start < limits.shown:
        raise Broken(
            f"{why}, and a published or signed checkpoint of {limits.shown} entries needs what lies there",
            place=place,
            mend=REMEDY,
        )
    if limits.declare_loss:
        return
    if start < limits.signed:
        raise Broken(f"{why}, and events up to {limits.signed} were acknowledged", place=place, mend=REMEDY)
    if later or holds_whole_frame(rest):
        raise Broken(f"{why}, and whole frames follow", place=place, mend=REMEDY)


def holds_whole_frame(rest: bytes) -> bool:
    """Whether cut bytes hold more than one unfinished frame: another header behind the first, or a frame with its
    digest. No start cuts those by itself."""
    if frame.find_header(rest, 1) >= 0:
        return True
    try:
        size = frame.decode_header(rest, place="").size
        if size <= len(rest):
            frame.check_digest(rest[:size], place="")
            return True
    except Disproved:
        pass
    return False


def cut(
    files: Files,
    journal: str,
    segment: SegmentFile,
    offset: int,
    rest: bytes,
    later: Sequence[SegmentFile],
    *,
    declared: bool,
) -> list[Cut]:
    """Keep what is to go, all of it, then cut it: later segments, and the segment's bytes from `offset` on."""
    cuts = [_keep(files, journal, one, 0, Path(one.path).read_bytes(), True) for one in later]
    if rest or not offset:
        cuts.append(_keep(files, journal, segment, offset, rest, declared))
    for one in reversed(later):
        files.remove(one.path)
    if not offset:
        files.remove(segment.path)
    elif rest:
        file = files.open(segment.path)
        file.truncate(offset)
        file.sync()
        file.close()
    files.sync_dir(journal)
    return cuts


def _keep(files: Files, journal: str, segment: SegmentFile, offset: int, rest: bytes, declared: bool) -> Cut:
    digest = sha256(rest).hexdigest()
    name = write_torn(files, journal, segment.name, offset, rest, digest)
    return Cut(name, segment.name, offset, len(rest), digest, declared)
