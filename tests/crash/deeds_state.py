"""What stands beside a log and follows from it, and what commands write for people: hints, a copy's objects, kits."""

from pathlib import Path

from crash.deeds import Deed, Promised
from crash.disk import RecordingFiles
from graven.cli.files import write_private
from graven.core.anchored import COSIGNATURE, COSIGNATURE_ACT, RFC3161, TOKEN_ACT
from graven.core.errors import BadInput
from graven.log import acts
from graven.log.anchorings import Anchorings, best_below
from graven.runtime.files import make_dirs
from graven.worm.folder import FolderStore, set_immutable
from graven.worm.store import Part, Taken, versions_of

EVENTS = [
    acts.act({"t": TOKEN_ACT, "c": COSIGNATURE_ACT, "-": acts.START}[kind], now_us=0, data={"earliest_us": time_us})
    for kind, time_us in (("t", 5), ("-", 0), ("c", 7), ("t", 3), ("t", 9), ("c", 8), ("-", 0), ("t", 11), ("c", 9))
]
"""The log's own events, in order: stamps, cosignatures, and others."""
BEST = {RFC3161: (None, 0, 0, 0, 0, 4, 4, 4, 7, 7), COSIGNATURE: (None, None, None, 2, 2, 2, 5, 5, 5, 8)}
"""By kind, and by size of the log: the index of the best anchor."""


def anchorings_act(root: Path, files: RecordingFiles) -> None:
    """Two lives of the writer; the events are durable in the journal before they come here."""
    for start, end in ((0, 4), (5, 9)):
        try:
            anchorings = Anchorings(files, root)
            anchorings.open(start, lambda first, last: list(enumerate(EVENTS))[first:last])
        except OSError:
            continue
        for index in range(start, end):
            anchorings.apply(index, EVENTS[index])
            if index % 2:
                try:
                    anchorings.save(index + 1)
                except OSError:
                    continue
                for kind, best in BEST.items():
                    assert best_below(root, kind, index + 1) == best[index + 1]


def anchorings_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    """Whatever is left, every start finds what the journal has."""
    Anchorings(files, root).open(len(EVENTS), lambda first, last: list(enumerate(EVENTS))[first:last])
    for kind, best in BEST.items():
        assert [best_below(root, kind, size) for size in range(len(EVENTS) + 1)] == list(best)
    files.promise("opened")


OBJECTS = {"a": b"1" * 50, "journal/00.seg": b"2" * 300, "journal/01.seg": b"3" * 200, "tree/tile/0/000": b"4" * 40}
UNTIL_S = 4_000_000_000


def copy_act(root: Path, files: RecordingFiles) -> None:
    store = FolderStore(f"file://{root}/copies/one", files)
    source = root / "source"
    store.check()
    for name, data in OBJECTS.items():
        source.write_bytes(data)  # a segment of the log, whose bytes last
        store.put(name, Part(source, 0, len(data)) if name.endswith(".seg") else data, until_s=UNTIL_S)
        files.promise(name)
        unlock(root / "copies")


def copy_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    """What was put is there, whole; what is there is whole, and a follower that puts it again finds it taken."""
    store = FolderStore(f"file://{root}/copies/one", files)
    store.check()
    found = {version.name: version for version in store.list("")}
    for name in promised:
        assert name in found, "an object of the copy is gone"
    for name, version in found.items():
        assert store.read(version) == OBJECTS[name], "a torn object of the copy"
    for name, data in OBJECTS.items():
        try:
            store.put(name, data, until_s=UNTIL_S)
        except Taken:
            assert name in found
        (version,) = versions_of(store, name)
        assert store.read(version) == data
        store.extend(version, UNTIL_S)
        held = store.lock(version)
        assert held is not None and held.until_s == UNTIL_S
        unlock(root / "copies")
        files.promise(name)


def unlock(folder: Path) -> None:
    """So that the files of a copy can be removed."""
    for path in folder.rglob("*"):
        if path.is_file():
            try:
                set_immutable(path, on=False)
            except OSError:
                return


def files_act(root: Path, files: RecordingFiles) -> None:
    """A recovery kit that takes nobody's place, an evidence that does."""
    make_dirs(files, str(root / "kits" / "of" / "2026"))
    for number in range(2):
        kit = root / "kits" / "of" / "2026" / f"kit-{number}"
        write_private(kit, b"kit %d" % number, replace=False, files=files)
        files.promise(number)
        write_private(root / "evidence", b"evidence %d" % number, files=files)
        files.promise("evidence")


def files_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    for number in range(2):
        kit = root / "kits" / "of" / "2026" / f"kit-{number}"
        assert not kit.exists() or kit.read_bytes() == b"kit %d" % number
        assert kit.exists() or number not in promised, "a kit is gone"
    written = promised.count("evidence")
    assert not written or (root / "evidence").read_bytes() in [b"evidence %d" % n for n in range(written - 1, 2)]
    make_dirs(files, str(root / "kits" / "of"))
    write_private(root / "evidence", b"evidence 1", files=files)
    files.promise("evidence")


DEEDS = {
    "where anchors stand": Deed(anchorings_act, anchorings_judge),
    "copy in a directory": Deed(copy_act, copy_judge, may_raise=(BadInput,)),
    "files for people": Deed(files_act, files_judge, may_raise=(OSError,)),
}
