"""What auditors and witnesses keep of other people's logs: copies, notes seen, forks, stamps, refused checkpoints."""

import tempfile
from functools import cache
from pathlib import Path

from audit.logs import NOW_S, POLICY, entries_of, files_of, publish
from crash.deeds import Deed, Promised
from crash.disk import RecordingFiles
from graven.audit.evidence import forks
from graven.audit.follow import Follower, Round
from graven.core.checkpoint import Checkpoint
from graven.core.errors import Broken, Disproved
from graven.runtime.clock import US_PER_S, FixedClock
from graven.witness.evidence import keep, kept

HONEST = ((300, 0), (700, 0))
FORKED = (800, 1)
"""A tree of 800 entries of which only the first 100 are those of the others."""


class Published:
    """A published tree in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def get(self, path: str, size_max: int) -> bytes | None:
        return self.files.get(path)


@cache
def published(size: int, salt: int) -> Published:
    with tempfile.TemporaryDirectory() as folder:
        publish(Path(folder), entries_of(size, salt, shared=100))
        return Published(files_of(Path(folder)))


def look(root: Path, files: RecordingFiles, tree: tuple[int, int]) -> Round:
    clock = FixedClock((NOW_S + tree[0]) * US_PER_S)
    follower = Follower(published(*tree), POLICY, root / "copy", clock=clock, files=files)
    try:
        return follower.round()
    finally:
        follower.close()


def auditor_act(root: Path, files: RecordingFiles) -> None:
    """Two rounds of an honest log, one of a forked one; each in a process of its own."""
    for tree in (*HONEST, FORKED):
        found = look(root, files, tree)
        if tree == FORKED and found.size == HONEST[-1][0]:
            told = [one for one in found.problems if isinstance(one, Disproved) and "this log forked" in one.what]
            assert told, "a fork that is not told"
            if "cannot be kept" not in told[0].place:
                files.promise("fork")
        if not any(isinstance(one, Broken) for one in found.problems):
            files.promise(tree)


def auditor_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    grown = [one[0] for one in promised if isinstance(one, tuple) and one in HONEST]
    before = (root / "copy" / "checkpoint").exists()
    assert before or not grown, "the copy is gone"
    notes = [path.read_bytes() for path in (root / "copy" / "checkpoints").rglob("*.checkpoint")]
    for tree in promised:
        if isinstance(tree, tuple):
            assert published(*tree).files["checkpoint"] in notes, "a note that was seen is gone"
    kept_forks = len(forks(root / "copy"))
    assert kept_forks == 1 or "fork" not in promised, "evidence of a fork is gone"
    found = look(root, files, HONEST[-1])
    expected = [one for one in found.problems if "forked before" not in one.what]
    assert expected == [] and found.size == HONEST[-1][0]
    assert found.exit_code == kept_forks
    files.promise(HONEST[-1])
    again = look(root, files, FORKED)
    assert again.exit_code == 1
    files.promise("fork")


NOTES = (b"example.com/log\n700\nAAAA\n\nlines", b"example.com/log\n700\nBBBB\n\nlines")


def refusal_act(root: Path, files: RecordingFiles) -> None:
    keep(files, root, "fork", Checkpoint("example.com/log", 700, bytes(32)), NOTES)
    files.promise("kept")


def refusal_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    assert len(kept(root)) == 1 or "kept" not in promised
    keep(files, root, "fork", Checkpoint("example.com/log", 700, bytes(32)), NOTES)
    (folder,) = kept(root)
    assert tuple((folder / name).read_bytes() for name in ("cosigned.checkpoint", "refused.checkpoint")) == NOTES
    files.promise("kept")


DEEDS = {
    "auditor": Deed(auditor_act, auditor_judge, cost=6),
    "witness evidence": Deed(refusal_act, refusal_judge, may_raise=(OSError,)),
}
