"""Two signed trees of one log that stand against each other, kept as files that can be handed to anyone.

    DIR/evidence/fork-<size>-<hash>/a.checkpoint     a tree of this size
                                    b.checkpoint     another one of the same size, or
                                    b.prefix         of a larger size, proved to begin otherwise (core/prefix.py)
    DIR/evidence/shrink-<size>-<hash>/a.checkpoint   the tree that was seen before
                                      b.checkpoint   the smaller one that is shown now

`graven check a… b…` on a fork prints "this log forked", with the log's key and nothing else. A shrink convicts nobody:
a log that came back from an old copy shows one. What was kept is kept once, and at most so many of a kind.
"""

from hashlib import sha256
from pathlib import Path

from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import Broken
from graven.core.prefix import Prefix, format_prefix
from graven.runtime.files import Files, make_dir, write_atomic

KEPT_MAX = 100


def keep_fork(files: Files, directory: Path, a: SignedCheckpoint, b: SignedCheckpoint | Prefix) -> Path:
    """Keep a fork; its folder. Raises Broken when the disk fails."""
    data, name = (format_prefix(b), "b.prefix") if isinstance(b, Prefix) else (b.data, "b.checkpoint")
    text = str((b.size, b.root)) if isinstance(b, Prefix) else b.note.text
    return _keep(files, directory, f"fork-{a.checkpoint.size}", text, {"a.checkpoint": a.data, name: data})


def keep_shrink(files: Files, directory: Path, before: SignedCheckpoint, now: SignedCheckpoint) -> Path:
    """Keep a tree that became smaller; its folder. Raises Broken when the disk fails."""
    notes = {"a.checkpoint": before.data, "b.checkpoint": now.data}
    return _keep(files, directory, f"shrink-{now.checkpoint.size}", now.note.text, notes)


def forks(directory: Path) -> list[Path]:
    """The folders of all forks that were kept."""
    return sorted(path.parent for path in (directory / "evidence").glob("fork-*/b.*") if path.suffix != ".tmp")


def _keep(files: Files, directory: Path, beginning: str, text: str, notes: dict[str, bytes]) -> Path:
    folder = directory / "evidence" / f"{beginning}-{sha256(text.encode()).hexdigest()[:16]}"
    kind = beginning.partition("-")[0]
    if not folder.is_dir() and len(list(folder.parent.glob(f"{kind}-*"))) >= KEPT_MAX:
        return folder.parent
    try:
        for one in (folder.parent, folder):
            make_dir(files, str(one))
        for name, data in notes.items():
            if not (folder / name).exists():
                write_atomic(files, str(folder / name), data)
        files.sync_dir(str(folder))
    except OSError as error:
        raise Broken(f"evidence cannot be kept: {error.strerror}", place=str(folder)) from error
    return folder
