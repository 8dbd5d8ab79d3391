"""The history of checkpoints: `checkpoints/<day>/<size>`, one note a file, and `checkpoints/pinned/<size>`.

Kept: all for 7 days, one a minute for a year, one an hour for ever, and every pinned one (those an anchor or an event
names). The time of a checkpoint is the one its ML-DSA-44 line states, so no file date is believed.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from graven.core.checkpoint import parse_checkpoint
from graven.core.errors import BadInput
from graven.core.note import parse_note
from graven.journal.files import Files, write_atomic

DAY_S = 86_400
KEEP_ALL_S = 7 * DAY_S
KEEP_MINUTES_S = 365 * DAY_S
PINNED = "pinned"
PREDECESSOR = "predecessor"


class CheckpointHistory:
    """One log's past checkpoints. One owner: the publisher."""

    def __init__(self, files: Files, directory: Path) -> None:
        self._files, self._directory = files, directory

    def add(self, size: int, data: bytes, time_s: int) -> None:
        """Keep a published note. Not synced: the published checkpoint itself is the durable one."""
        folder = self._directory / datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d")
        self._write(folder, size, data)

    def pin(self, size: int, data: bytes) -> None:
        """Keep a note for ever, because an anchor or an event names it."""
        self._write(self._directory / PINNED, size, data)

    def pin_kept(self, size: int) -> None:
        """Pin the note of this size, if the history still has it."""
        for path, data in read_history(self._directory):
            if path.name == f"{size:020d}" and path.parent.name not in (PINNED, PREDECESSOR):
                self.pin(size, data)
                return

    def keep_predecessor(self, size: int, data: bytes) -> None:
        """Keep the last note of the log that this one goes on from, for ever."""
        self._write(self._directory / PREDECESSOR, size, data)

    def thin(self, now_s: int) -> int:
        """Drop what need not be kept any more; returns how many notes went."""
        gone = 0
        for folder in sorted(self._directory.iterdir()):
            if folder.name in (PINNED, PREDECESSOR) or not folder.is_dir():
                continue
            try:
                day_s = int(datetime.strptime(folder.name, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
            except ValueError:
                continue  # not ours; `verify` names it
            age_s = now_s - day_s - DAY_S  # of the day's last second
            step_s = 0 if age_s < KEEP_ALL_S else 60 if age_s < KEEP_MINUTES_S else 3600
            if not step_s:
                continue
            kept: set[int] = set()
            for path in sorted(folder.iterdir()):
                time_s = checkpoint_time_s(path.read_bytes())
                slot = (time_s if time_s is not None else day_s) // step_s
                if slot in kept:
                    self._files.remove(str(path))
                    gone += 1
                kept.add(slot)
        return gone

    def notes(self) -> Iterator[tuple[Path, bytes]]:
        """Every kept note with its path, oldest day first; pinned ones last."""
        yield from read_history(self._directory)

    def _write(self, folder: Path, size: int, data: bytes) -> None:
        with contextlib.suppress(FileExistsError):
            self._files.mkdir(str(folder))
        write_atomic(self._files, str(folder / f"{size:020d}"), data, sync=False)


def read_history(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """(path, note) of every kept checkpoint."""
    for folder in sorted(directory.iterdir()) if directory.is_dir() else ():
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if not path.name.endswith(".tmp"):
                    yield path, path.read_bytes()


def checkpoint_time_s(data: bytes) -> int | None:
    """The time the log itself put on a note (its ML-DSA-44 line), POSIX seconds; None if there is none."""
    try:
        note = parse_note(data)
        checkpoint, _ = parse_checkpoint(note.text)
    except BadInput:
        return None
    for line in note.signatures:
        if line.name == checkpoint.origin and len(line.blob) == 8 + 2420:
            return int.from_bytes(line.blob[:8], "big")
    return None
