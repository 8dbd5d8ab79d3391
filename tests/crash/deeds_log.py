"""What goes on over several calls and lives: a signer of its own, a successor, history, a second reading, a copy."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import msgspec

from core import oracle
from crash.deeds import Deed, Promised
from crash.deeds_state import unlock
from crash.disk import RecordingFiles, Tree, read_tree
from crash.story import START_US, small_config
from graven.app import Log, build_pipeline, create_log, open_keyring, open_view, public_keys
from graven.cli.history import Importer, find_files, hash_files
from graven.cli.writing import HeldLog
from graven.config import Config, load_config
from graven.config.model import MappingsConfig
from graven.core.checkpoint import Checkpoint
from graven.core.errors import BadInput, GravenError
from graven.ingest import Record
from graven.keys.keyring import Keyring
from graven.keys.signer import LogSigner
from graven.keys.signer_protocol import Hello, Sign
from graven.keys.signer_server import Signing
from graven.keys.split import split
from graven.log.admin import add_source
from graven.log.history import PREDECESSOR
from graven.log.registers import HISTORY_GRADE
from graven.log.types import Batch
from graven.log.verify import verify_directory
from graven.runtime.clock import FixedClock
from graven.worm.folder import FolderStore
from graven.worm.follow import Follower
from graven.worm.verify import Verified, verify_copy

ORIGIN = "example.com/lives"
LEAVES, FORKED = oracle.leaves(12), oracle.leaves(12, first=500)
HISTORY = {"0.log": 5, "1.log": 1, "2.log": 7}
"""Files of plain lines, and how many each has; three go into a request."""
MAPPING = 'type = "acme"\n[match]\nhas = ["deed", "by"]\n[fields]\naction = "deed"\nactor.name = "by"\n'
UNREAD = (b'{"deed":"void","by":"mara"}', b'{"deed":"open","by":"leon"}')


def clock() -> FixedClock:
    return FixedClock(START_US + 1_000_000)


def lay(root: Path, tree: Tree) -> None:
    for path, data in sorted(tree.items()):
        if data is None:
            (root / path).mkdir(mode=0o700)
        else:
            (root / path).write_bytes(data)
            (root / path).chmod(0o600)


def laid(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """A `prepare` that makes what there is once, and lays it out each time."""

    @cache
    def tree() -> Tree:
        with TemporaryDirectory() as folder:
            make(Path(folder))
            return read_tree(Path(folder))

    return lambda root: lay(root, tree())


@laid
def signed_keyring(root: Path) -> None:
    keyring = Keyring.create(str(root / "k"), origin=ORIGIN, scrypt_n=1024)
    LogSigner(keyring).sign_checkpoint(Checkpoint(ORIGIN, 3, oracle.root(LEAVES[:3])), 10)


def signer_act(root: Path, files: RecordingFiles) -> None:
    """The signing keys go to a keyring of their own, which signs two larger trees."""
    signing = signer_apart(root, files)
    for size in (4, 6):
        grow(signing, size, files)


def signer_apart(root: Path, files: RecordingFiles) -> Signing:
    keyring = Keyring.open(str(root / "k"), files=files)
    split(keyring, root / "s", None, files=files, scrypt_n=1024)  # done already: nothing
    files.promise("split")
    return Signing(LogSigner(Keyring.open(str(root / "s"), files=files)), clock())


def signed_size(signing: Signing) -> int:
    highest = signing.answer(Hello())["highest"]
    assert isinstance(highest, str)
    return int(highest.split("\n")[1])


def grow(signing: Signing, size: int, files: RecordingFiles) -> None:
    old = signed_size(signing)
    signing.answer(Sign(size, oracle.root(LEAVES[:size]), tuple(oracle.consistency(old, LEAVES[:size]))))
    files.promise(size)


def signer_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    """No signing key is lost or left behind, and nothing is signed that does not grow from what was signed last."""
    signing = signer_apart(root, files)
    assert Keyring.open(str(root / "k")).signs_elsewhere
    assert not [path for path in (root / "k").iterdir() if path.name in ("log.ed25519", "log.mldsa44")]
    top = signed_size(signing)
    assert top >= max((one for one in promised if isinstance(one, int)), default=3), "a signed tree was forgotten"
    for size, leaves in ((top, FORKED), (top - 1, LEAVES), (top + 1, FORKED)):
        proof = oracle.consistency(top, leaves[:size]) if size > top else []
        try:
            signing.answer(Sign(size, oracle.root(leaves[:size]), tuple(proof)))
        except GravenError:
            continue
        raise AssertionError(f"a tree of {size} entries was signed that does not grow from {top}")
    grow(signing, top + 1, files)


@laid
def predecessor(root: Path) -> None:
    create_log(root / "old", origin=ORIGIN, config=small_config(), clock=FixedClock(START_US))


def successor_act(root: Path, files: RecordingFiles) -> None:
    note = (root / "old" / "log" / "checkpoint").read_bytes()
    create_log(root / "next", origin=f"{ORIGIN}2", config=small_config(), successor_of=note, clock=clock(), files=files)
    files.promise("made")


def successor_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    """There is a whole log that pins its predecessor, or none; then it is made again."""
    assert (root / "next").exists() or not promised, "a log is gone"
    if not (root / "next").exists():
        if (root / "next.keys").exists():  # finished, and used by nobody: init says to move it away
            files.rename(str(root / "next.keys"), str(root / "moved.keys"))
        successor_act(root, files)
    log = root / "next"
    with Log.open(log, clock=clock(), files=files) as opened:
        opened.append([{"action": "after"}])
    with open_view(log) as view:
        genesis = json.loads(view.read(0).event or b"")
    assert genesis["data"]["successor_of"]["origin"] == ORIGIN
    assert [path.read_bytes() for path in (log / "checkpoints" / PREDECESSOR).iterdir()] == [
        (root / "old" / "log" / "checkpoint").read_bytes()
    ]
    verified(log)


@laid
def history(root: Path) -> None:
    create_log(root / "log", origin=ORIGIN, config=small_config(), clock=FixedClock(START_US))
    with Log.open(root / "log", clock=FixedClock(START_US)) as log:
        add_source(log, "old", type="history", grade=HISTORY_GRADE, declared=("default",))
    (root / "history").mkdir()
    for name, count in HISTORY.items():
        (root / "history" / name).write_bytes(b"".join(b"line %d of %s\n" % (n, name.encode()) for n in range(count)))


def history_act(root: Path, files: RecordingFiles) -> None:
    with patch("graven.cli.history.REQUEST_RECORDS", 3), Log.open(root / "log", clock=clock(), files=files) as log:
        found = hash_files(find_files([root / "history"]), lambda _: None)
        done = Importer(HeldLog(log), "old").run(found, lambda _: None)
        assert done.failed == []
        files.promise("imported")


def history_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    """The same command again: every record is in the log once, in the order of its file."""
    if promised:
        with Log.open(root / "log", clock=clock(), files=files):
            pass  # how far it is, is known when it was opened
        assert len(imported(root)) == sum(HISTORY.values()), "records are gone"
    history_act(root, files)
    found = imported(root)
    for name, count in HISTORY.items():
        of_it = [raw for raw in found if raw.endswith(name.encode())]
        assert of_it == [b"line %d of %s" % (n, name.encode()) for n in range(count)]
    assert len(found) == sum(HISTORY.values())
    verified(root / "log")


def imported(root: Path) -> list[bytes]:
    with open_view(root / "log") as view:
        return [one.raw for one in view.records(0, view.size) if one.raw is not None]


@laid
def quarantine(root: Path) -> None:
    config = msgspec.structs.replace(small_config(), mappings=MappingsConfig(dir="mappings"))
    create_log(root / "log", origin=ORIGIN, config=config, clock=FixedClock(START_US))
    with Log.open(root / "log", clock=FixedClock(START_US)) as log:
        made = build_pipeline().run([Record(raw) for raw in UNREAD])
        assert all(one.quarantined for one in made)
        events, ids, raws = ([getattr(one, part) for one in made] for part in ("event", "id", "raw"))
        log.commit(Batch(events, ids, 1, log.clock.now_us(), raws=raws))
    (root / "log" / "mappings").mkdir()
    (root / "log" / "mappings" / "acme.toml").write_text(MAPPING)


def retry_act(root: Path, files: RecordingFiles) -> None:
    with Log.open(root / "log", clock=clock(), files=files) as log:
        done = HeldLog(log).retry_quarantined()
        assert done["left"] == []
        files.promise("read again")


def retry_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    """The same command again: each record was read again once."""
    for again in range(2):
        with Log.open(root / "log", clock=FixedClock(START_US + (again + 2) * 86_400_000_000), files=files) as log:
            assert HeldLog(log).retry_quarantined()["read"] == {} or not (promised or again)
    with open_view(root / "log") as view:
        read = [json.loads(one.event or b"") for one in view.records(0, view.size) if one.raw in UNREAD]
    assert [one["action"] for one in read if "derived_from" in one] == ["void", "open"]
    verified(root / "log")
    files.promise("read again")


@laid
def copied(root: Path) -> None:
    config = small_config()
    create_log(root / "log", origin=ORIGIN, config=config, clock=FixedClock(START_US))
    with Log.open(root / "log", clock=FixedClock(START_US)) as log:
        for minute in range(1, 4):
            log.append([{"action": f"t.{minute}"}])
            assert isinstance(log.clock, FixedClock)
            log.clock.advance(61_000_000)
        log.publish()


def copy_act(root: Path, files: RecordingFiles) -> None:
    """Two lives of a follower."""
    for _ in range(2):
        try:
            with follower(root, files) as following:
                whole = following.round()
                following.wait_for_sweep()
        except GravenError:
            continue
        if whole:
            files.promise(following.state.size)


def copy_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    """Whatever is left is no sign of tampering, and the next round makes it whole without an alarm."""
    store = FolderStore(f"file://{root}/copy", files)
    keys = public_keys(config_of(root))
    try:
        found: Verified | None = verify_copy(store, keys=keys)
    except BadInput:  # nothing says yet that it is a copy
        found = None
    assert found is None or found.report.exit_code != 1, found
    if promised:
        assert found is not None and found.newest is not None and found.report.problems == ()
        assert found.newest.checkpoint.size == promised[-1]
    with follower(root, files) as following:
        assert following.round(), following.state.trouble
        following.wait_for_sweep()
        assert following.state.alarms == []
        files.promise(following.state.size)
    found = verify_copy(store, keys=keys)
    assert found.report.problems == () and found.newest is not None
    assert found.newest.checkpoint.size == following.state.size
    unlock(root / "copy")


def follower(root: Path, files: RecordingFiles) -> Follower:
    config = config_of(root)
    store = FolderStore(f"file://{root}/copy", files)
    return Follower(root / "log", store, public_keys(config), log_id=config.log_id, clock=clock(), files=files)


def config_of(root: Path) -> Config:
    return load_config(root / "log" / "graven.toml")


def verified(log: Path) -> None:
    config = load_config(log / "graven.toml")
    keyring = open_keyring(log, config)
    assert verify_directory(log, keys=public_keys(config), keyring=keyring, processes=1).problems == ()


DEEDS = {
    "signer apart": Deed(signer_act, signer_judge, signed_keyring, may_raise=(OSError,), cost=3),
    "successor": Deed(successor_act, successor_judge, predecessor, cost=30),
    "history": Deed(history_act, history_judge, history, cost=16),
    "read again": Deed(retry_act, retry_judge, quarantine, cost=16),
    "write-once copy": Deed(copy_act, copy_judge, copied, cost=12),
}
