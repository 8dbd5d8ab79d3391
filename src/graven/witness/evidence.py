"""Refused checkpoints that stand against a cosigned one, kept as files that anyone can be handed.

    DIR/evidence/<kind>-<hex origin hash, 16>-<size>-<hex text hash, 16>/cosigned.checkpoint
                                                                         refused.checkpoint

Both are notes with the log's own good signatures: `graven check` judges a fork from the two, without the witness. What
was kept is kept once, and never more than so many of a kind and log: who can send requests cannot fill the disk.
"""

from hashlib import sha256
from pathlib import Path

from graven.core.checkpoint import Checkpoint
from graven.runtime.files import Files, make_dir, write_atomic
from graven.witness.judge import Kind

EVIDENCE_DIR = "evidence"
KEPT_MAX = 100


def keep(files: Files, directory: Path, kind: Kind, refused: Checkpoint, notes: tuple[bytes, bytes]) -> Path | None:
    """Keep `notes` (cosigned, refused) durably; the folder they are in, None if it was there or there are too many.

    Raises OSError.
    """
    beginning = f"{kind}-{sha256(refused.origin.encode()).hexdigest()[:16]}-"
    text_hash = sha256(notes[1].rpartition(b"\n\n")[0]).hexdigest()[:16]
    folder = directory / EVIDENCE_DIR / f"{beginning}{refused.size}-{text_hash}"
    if (folder / "refused.checkpoint").exists() or len(list(folder.parent.glob(f"{beginning}*"))) >= KEPT_MAX:
        return None
    for place in (folder.parent, folder):
        make_dir(files, str(place))
    for name, note in zip(("cosigned.checkpoint", "refused.checkpoint"), notes, strict=True):
        write_atomic(files, str(folder / name), note)
    return folder


def kept(directory: Path) -> list[Path]:
    """The folders of all evidence."""
    return sorted(path.parent for path in (directory / EVIDENCE_DIR).glob("*/refused.checkpoint"))
