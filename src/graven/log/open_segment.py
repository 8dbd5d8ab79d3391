"""The segment that is written: its data keys, and the one that follows it.

A segment ends when it is full, by size or by age, or when a class is written that it holds no key for. Rolling: the
next one's keys durable in the keyring → its file → its directory → its first frame.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.merkle import CompactRange
from graven.journal.files import Files
from graven.journal.frame import EVENTS, RAWS, SegmentHeader
from graven.journal.segment import SegmentWriter
from graven.keys.keyring import Keyring
from graven.log.block import SectionKeys
from graven.log.seal import DataKey

_KINDS = {"event": EVENTS, "raw": RAWS}


class OpenSegment:
    """Appends frames to the newest segment. `current` is None until the first, if recovery found none to go on with."""

    def __init__(
        self,
        files: Files,
        journal: Path,
        keyring: Keyring,
        *,
        origin: str,
        log_id: bytes,
        classes: Sequence[str],
        current: SegmentWriter | None,
    ) -> None:
        self._files, self._journal, self._keyring = files, journal, keyring
        self._origin, self._log_id, self._classes = origin, log_id, tuple(classes)
        self.current = current
        """Where frames go now."""
        self.keys: SectionKeys = {} if current is None else _open_keys(keyring, current.header)
        """The data keys of the segment that is written."""

    def make_ready(
        self, names: Collection[str], tree: CompactRange, now_us: int, *, size_max: int, age_max_us: int
    ) -> None:
        """Roll, if the next frame, of the classes `names` behind the tree `tree`, belongs into a new segment."""
        if self.current is None or self._is_full(self.current, now_us, size_max, age_max_us) or not self._holds(names):
            self.roll(tree, now_us)

    def append(self, data: bytes, start: int, meanwhile: Callable[[], None]) -> None:
        """As `SegmentWriter.append`, to the segment that `make_ready` left."""
        assert self.current is not None
        self.current.append(data, start, meanwhile)

    def roll(self, tree: CompactRange, now_us: int) -> None:
        """Close the open segment and begin the next.

        An open segment without a block is begun again, as a higher generation of the same start.
        """
        empty = self.current if self.current is not None and not self.current.blocks else None
        generated = self._keyring.new_data_keys(tree.size, list(self._classes))
        header = SegmentHeader(
            self._origin, self._log_id, tree.size, empty.header.generation + 1 if empty else 0, now_us,
            tree.root(), tree.hashes,
            tuple((name, _KINDS[kind], key_id) for (name, kind), (key_id, _) in generated.items()),
        )  # fmt: skip
        if self.current is not None and empty is None:
            self.current.finish(tree.size, tree.root())
            self.current = None
        self.current = SegmentWriter.create(self._files, str(self._journal), header)
        if empty is not None:
            empty.close()
            self._files.remove(empty.path)
        self.keys = {
            (name, _KINDS[kind]): DataKey(key_id, AESGCM(key)) for (name, kind), (key_id, key) in generated.items()
        }

    def close(self) -> None:
        if self.current is not None:
            self.current.close()

    def _is_full(self, segment: SegmentWriter, now_us: int, size_max: int, age_max_us: int) -> bool:
        if not segment.blocks:
            return False
        return segment.offset >= size_max or now_us - segment.header.created_us >= age_max_us

    def _holds(self, names: Collection[str]) -> bool:
        """Whether there are keys for these classes; one that was declared later has none."""
        return all((name, kind) in self.keys for name in names for kind in (EVENTS, RAWS))


def _open_keys(keyring: Keyring, header: SegmentHeader) -> SectionKeys:
    keys: dict[tuple[str, int], DataKey] = {}
    for class_name, kind, key_id in header.keys:
        key = keyring.data_key(key_id, header.start)
        if key is not None:
            keys[class_name, kind] = DataKey(key_id, AESGCM(key))
    return keys
