"""Copies of a log and what comes back from them: an honest operator who crashes in the middle of it begins again.

The disaster: a log of which a backup and a write-once copy hold the beginning, a mirror all that was signed; its
directory is gone. The keyring is there still, or a kit is.
"""

import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from crash.deeds import Deed, Promised
from crash.deeds_state import unlock
from crash.disk import RecordingFiles, Tree, read_tree
from crash.story import ORIGIN, SEGMENT_AGE_US, START_US, small_config
from graven.app import Log, create_log, open_follower, open_keyring, open_view, public_keys
from graven.cli.restoring import Asked, Backup, StoreCopy, restore_healed
from graven.config import WormConfig, load_config
from graven.core.checkpoint import parse_checkpoint
from graven.core.merkle import CompactRange, hash_leaves
from graven.core.note import parse_note
from graven.keys import kit
from graven.log import acts
from graven.log.backup import copy_log
from graven.log.verify import verify_directory
from graven.runtime.clock import FixedClock

COPIED, SIGNED = 9, 13
"""How many entries the copies hold, and how many were signed."""


@cache
def disaster() -> Tree:
    with TemporaryDirectory() as folder:
        root, clock = Path(folder), FixedClock(START_US)
        log = root / "log"
        config = msgspec.structs.replace(small_config(), worm=WormConfig(store=f"file://{root}/store"))
        create_log(log, origin=ORIGIN, config=config, clock=clock)
        with Log.open(log, clock=clock) as opened:
            _append(opened, 5)
            clock.advance(SEGMENT_AGE_US + 1)
            _append(opened, COPIED - opened.size)
            opened.publish()
        copy_log(log, root / "backup", public_keys(load_config(log / "graven.toml")))
        with open_follower(log, load_config(log / "graven.toml")) as follower:
            assert follower.round(), follower.state.trouble
        unlock(root / "store")
        (root / "kit").write_bytes(kit.backup(open_keyring(log, config), None, made_us=START_US, plain=True))
        with Log.open(log, clock=clock) as opened:
            _append(opened, SIGNED - opened.size)
            opened.publish()
        shutil.copytree(log / "log", root / "mirror")
        log.rename(root / "gone")
        return read_tree(root)


def _append(log: Log, count: int) -> None:
    for number in range(count):
        log.append([{"action": f"t.{log.size}.{number}"}])


def prepare(root: Path, *parts: str) -> None:
    for path, data in sorted(disaster().items()):
        if path.split("/")[0] in parts:
            if data is None:
                (root / path).mkdir(mode=0o700)
            else:
                (root / path).write_bytes(data)
                (root / path).chmod(0o600)


def from_backup(root: Path, asked: Asked) -> Backup:
    return Backup(root / "backup", load_config(root / "backup" / "graven.toml"), root / "log.keys", None, True)


def from_store(root: Path, asked: Asked) -> StoreCopy:
    return StoreCopy(f"file://{root}/store", asked, None)


Source = Callable[[Path, Asked], Backup | StoreCopy]


def restore_act(source: Source, root: Path, files: RecordingFiles) -> None:
    kit_file = root / "kit" if (root / "kit").exists() else None
    asked = Asked(root / "log", (str(root / "mirror"),), kit_file, None, None, None, True)
    done = restore_healed(asked, source(root, asked), files)
    assert (done.healed.end, done.size) == (SIGNED, SIGNED + 1)
    files.promise((root / "log" / "log" / "checkpoint").read_bytes())


def restore_judge(source: Source, root: Path, files: RecordingFiles, promised: Promised) -> None:
    """The same command again, or the log it left; then the same tree, whole, with everything lost named once."""
    log = root / "log"
    left = {path.name for path in root.iterdir()} - {"backup", "store", "mirror", "kit", "log", "log.keys"}
    assert all(name.endswith((".new", ".partial")) for name in left), left
    assert log.exists() or not promised
    if not log.exists():
        restore_act(source, root, files)
    with Log.open(log, clock=FixedClock(START_US + 10 * SEGMENT_AGE_US), files=files) as opened:
        assert opened.registers.source("local") is not None
        opened.append([{"action": "after"}])
        files.promise(opened.publish().data)
    report = _verify(log)
    assert report == (), report
    with open_view(log) as view:
        at = CompactRange.EMPTY
        roots = [at.root()]
        records = list(view.records(0, view.size))
        for leaf in hash_leaves([record.entry for record in records if record.entry is not None]):
            at, _ = at.extend([leaf])
            roots.append(at.root())
        for note in [*promised, (root / "mirror" / "checkpoint").read_bytes(), view.published.data]:
            assert isinstance(note, bytes)
            head = parse_checkpoint(parse_note(note).text)[0]
            assert roots[head.size] == head.root, "the log forked"
        lost = [record.index for record in records if record.state == "lost"]
        said = [msgspec.json.decode(record.event) for record in records[SIGNED:] if record.event is not None]
        heals = [one["data"]["lost"] for one in said if one["action"] == acts.HEAL]
        assert heals == [[[COPIED, SIGNED]]] and lost == list(range(COPIED, SIGNED))


def backup_act(root: Path, files: RecordingFiles) -> None:
    keys = public_keys(load_config(root / "gone" / "graven.toml"))
    copy_log(root / "gone", root / "copies" / "monday", keys, files=files)
    files.promise("copied")


def backup_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    """There is a whole copy, or none; then it is made again."""
    copy = root / "copies" / "monday"
    assert copy.exists() or not promised, "the backup is gone"
    if not copy.exists():
        backup_act(root, files)
    assert _verify(copy, root / "log.keys") == ()


def _verify(log: Path, keys: Path | None = None) -> tuple[object, ...]:
    config = load_config(log / "graven.toml")
    if keys is not None:
        config = msgspec.structs.replace(config, keys=msgspec.structs.replace(config.keys, dir=str(keys)))
    keyring = open_keyring(log, config)
    return verify_directory(log, keys=public_keys(config), keyring=keyring, processes=1).problems


def _restore(source: Source, *parts: str) -> Deed:
    return Deed(
        partial(restore_act, source), partial(restore_judge, source), lambda root: prepare(root, "mirror", *parts),
        cost=40,
    )  # fmt: skip


DEEDS = {
    "backup": Deed(backup_act, backup_judge, lambda root: prepare(root, "gone", "log.keys"), cost=12),
    "restore, keyring there": _restore(from_backup, "backup", "log.keys"),
    "restore, from a kit": _restore(from_backup, "backup", "kit"),
    "restore, from a write-once copy": _restore(from_store, "store", "kit"),
}
