"""The registers' snapshot: believed only with its seal and on this journal, never ahead of its cursor."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from graven.app import Log, open_view
from graven.core.errors import BadInput
from graven.journal.mark import Mark
from graven.log.admin import add_source, create_token, retire_source, revoke_token
from graven.log.registers import Registers
from graven.runtime.files import File, LocalFile, LocalFiles
from log.logs import Teller, make_log, open_log, verify


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A log with two tokens (one revoked), three sources (one retired), and its snapshot."""
    directory = make_log(tmp_path)
    with open_log(directory, serve=True) as log:
        create_token(log, "shop", ["ingest", "read"])
        create_token(log, "gone", ["read"])
        revoke_token(log, "gone")
        add_source(log, "ward", declared=("default", "pii"), classes=("pii",))
        add_source(log, "old", declared=("default",))
        retire_source(log, "old")
        log.publish()
    return directory


def told(registers: Registers) -> tuple[object, ...]:
    return (
        registers.sources, registers.tokens, registers.config, registers.config_sha256, registers.running_since,
        registers.torn, registers.erasures, registers.kit_segment,
    )  # fmt: skip


def snapshot(directory: Path) -> Path:
    return directory / "state" / "registers.json"


def frames_read(directory: Path) -> tuple[int, tuple[object, ...]]:
    """How many events of Graven's own were read again at an opening, and what the registers say then."""
    seen: list[int] = []
    apply = Registers.apply

    def counting(self: Registers, index: int, event: bytes) -> None:
        seen.append(index)
        apply(self, index, event)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registers, "apply", counting)
        with open_log(directory) as log:
            return len(seen), told(log.registers)


def test_what_they_say(directory: Path) -> None:
    with open_view(directory) as view:
        registers = view.registers()
    assert {row.name: row.number for row in registers.sources.values()} == {"local": 1, "shop": 2, "ward": 3, "old": 4}
    assert {row.name: row.revoked for row in registers.tokens.values()} == {"shop": False, "gone": True}
    assert registers.source("ward").classes == ("pii",)
    assert registers.running_since is None
    assert registers.next_source_number() == 5
    for name in ("old", "nobody"):
        with pytest.raises(BadInput):
            registers.source(name)


def test_the_snapshot_spares_reading_the_journal(directory: Path) -> None:
    read, with_snapshot = frames_read(directory)
    assert read == 0
    snapshot(directory).unlink()
    read, without = frames_read(directory)
    assert read > 8
    assert with_snapshot == without


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def with_a_token_slipped_in(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"name":"shop"', b'"name":"evil"'))


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("tamper", [flipped, with_a_token_slipped_in, torn, emptied])
def test_a_snapshot_without_its_seal_is_rebuilt(directory: Path, tamper: Callable[[Path], None]) -> None:
    good = frames_read(directory)[1]
    tamper(snapshot(directory))
    read, registers = frames_read(directory)
    assert read > 8 and registers == good
    with open_view(directory) as view:
        assert told(view.registers()) == good


def test_an_old_snapshot_is_brought_up_to_date(directory: Path) -> None:
    old = snapshot(directory).read_bytes()
    with open_log(directory) as log:
        create_token(log, "later", ["read"])
        revoke_token(log, "shop")
    newest = frames_read(directory)[1]
    snapshot(directory).write_bytes(old)
    read, registers = frames_read(directory)
    assert read == 2 and registers == newest


def test_a_snapshot_of_another_story_is_not_believed(directory: Path, tmp_path: Path) -> None:
    """The same keys, the same size, another tree: the cursor's root is not the journal's."""
    shutil.copytree(directory, tmp_path / "twin")
    shutil.copytree(tmp_path / "log.keys", tmp_path / "twin.keys")
    with open_log(directory) as log:
        create_token(log, "here", ["read"])
    with open_log(tmp_path / "twin") as log:
        create_token(log, "there", ["read"])
    shutil.copy(snapshot(tmp_path / "twin"), snapshot(directory))
    with open_log(directory) as log:
        assert {row.name for row in log.registers.tokens.values()} == {"shop", "gone", "here"}


def test_no_snapshot_is_ahead_of_its_cursor(directory: Path) -> None:
    with open_log(directory) as log:
        shown = log.publish()
        before = snapshot(directory).read_bytes()
        create_token(log, "later", ["read"])
        log._save_registers(shown)
        assert snapshot(directory).read_bytes() == before
        log.publish()
        assert b'"later"' in snapshot(directory).read_bytes()


def test_a_quiet_register_is_saved_now_and_then(directory: Path) -> None:
    """Runs that append no act of Graven's own, each too short to be noticed, do not add up."""
    for turn in range(4):
        with open_log(directory) as log:
            Teller(log).append(*((None, f"{turn} {number}") for number in range(900)))
    found = Registers.load(snapshot(directory), keyring_of(directory))
    assert found is not None and found[1].size > 1_800


def keyring_of(directory: Path) -> bytes:
    with open_log(directory) as log:
        return log.keyring.window_key


def test_saving_before_an_act_writes_nothing(tmp_path: Path) -> None:
    registers = Registers()
    registers.apply(5, b'{"action":"graven.start"}')
    assert registers.changed and registers.running_since == 5
    path = tmp_path / "registers.json"
    registers.size = 6
    for size in (5, 7):  # an act behind it is in; one below it may not be
        registers.save(LocalFiles(), path, Mark(size, bytes(32)), bytes(32))
        assert not path.exists() and registers.changed
    registers.save(LocalFiles(), path, Mark(6, bytes(32)), bytes(32))
    assert path.exists() and not registers.changed


def test_an_unclean_stop_is_noticed_by_the_next_start(directory: Path) -> None:
    with open_log(directory, serve=True) as log:
        start = log.registers.running_since
        assert start is not None
        shutil.copytree(directory.parent, directory.parent.with_name("killed"))
    directory = directory.parent.with_name("killed") / "log"
    with open_log(directory) as log:
        assert log.registers.running_since is None
        assert names(log)[-1] == "graven.unclean_stop"
    with open_log(directory) as log:
        assert names(log).count("graven.unclean_stop") == 1
    assert verify(directory).exit_code == 0


def names(log: Log) -> list[str]:
    return [msgspec.json.decode(record.event or b"{}")["action"] for record in log.view.records(0, log.size)]


class _MarkWatched(LocalFiles):
    """`seen` is called once, when the committed mark has been written: what the block holds is not taken in yet."""

    def __init__(self) -> None:
        self.seen: Callable[[], None] | None = None

    def create(self, path: str) -> LocalFile:
        return _Watched(super().create(path), self) if path.endswith("state/committed") else super().create(path)

    def open(self, path: str) -> LocalFile:
        return _Watched(super().open(path), self) if path.endswith("state/committed") else super().open(path)


class _Watched(LocalFile):
    def __init__(self, inner: File, files: _MarkWatched) -> None:
        self._inner, self._files = inner, files

    def write_at(self, offset: int, data: bytes) -> None:
        self._inner.write_at(offset, data)
        seen, self._files.seen = self._files.seen, None
        if seen is not None:
            seen()

    def sync(self) -> None:
        self._inner.sync()

    def close(self) -> None:
        self._inner.close()


def test_an_act_published_before_it_is_taken_in_is_in_no_snapshot_without_it(directory: Path) -> None:
    """A publisher that is quicker than the writer, and then a crash: a revoked token must not come back."""
    files, crashed = _MarkWatched(), directory.parent / "crashed"
    with Log.open(directory, files=files) as log:

        def publish_and_crash() -> None:
            log.publish()
            shutil.copytree(directory, crashed / "log")
            shutil.copytree(directory.with_name("log.keys"), crashed / "log.keys")

        create_token(log, "new", ["read"])  # there is something to save
        files.seen = publish_and_crash
        revoke_token(log, "shop")
        log.publish()
    for left in (crashed / "log", directory):
        with Log.open(left) as log:
            revoked = {token.name for token in log.registers.tokens.values() if token.revoked}
            assert revoked == {"shop", "gone"}
