"""The follower: what is copied and what never is, its cursor, crashes between any two puts, alarms."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from graven.app import Log, open_follower
from graven.core.errors import BadInput, Broken
from graven.core.tile import WIDTH
from graven.journal.segment import list_segments
from graven.log.admin import change_source
from graven.runtime.clock import SystemClock
from graven.worm import layout
from graven.worm.folder import FolderStore, set_immutable
from graven.worm.opening import begin_full_lock
from graven.worm.state import read_state
from graven.worm.store import DAY_S, Part, Version, end_of_day
from worm.logs import append, config_of, copy, following, make_log, objects, store_of, verify


@pytest.fixture(autouse=True)
def removable(tmp_path: Path) -> Iterator[None]:
    yield
    for path in (tmp_path / "copy").rglob("*"):
        if path.is_file():
            try:
                set_immutable(path, on=False)
            except OSError:
                return


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of 701 entries in closed segments and an open one, to be copied to a directory."""
    return make_log(tmp_path, f"file://{tmp_path}/copy")


@pytest.fixture
def bucket_log(tmp_path: Path, make_bucket: Callable[..., str]) -> Path:
    return make_log(tmp_path, f"s3://{make_bucket()}/logs/one")


def alarms(directory: Path) -> list[str]:
    state = read_state(directory)
    assert state is not None
    return [one.what for one in state.alarms]


def test_all_that_is_needed_is_copied_and_no_key_and_no_partial_tile(bucket_log: Path) -> None:
    state = copy(bucket_log).state
    found = objects(store_of(bucket_log))
    size = state.size
    closed = [one.name for one in list_segments(str(bucket_log / "journal"))][:-1]
    assert closed
    assert size > 2 * WIDTH
    names = set(found)
    assert {layout.JOURNAL + name for name in closed} == {name for name in names if name.startswith(layout.JOURNAL)}
    full = range(size // WIDTH)
    tiles = {f"log/tile/0/{at:03d}" for at in full} | {f"log/tile/entries/{at:03d}" for at in full}
    assert tiles == {name for name in names if name.startswith(layout.TREE)}
    assert layout.edge_name(size) in names
    assert layout.COPY in names
    assert sum(name.startswith(layout.CHECKPOINTS) for name in names) == 1
    assert sum(name.startswith(layout.CONFIGS) for name in names) == 1
    assert not any(".p/" in name or "key" in name for name in names)
    assert all(len(versions) == 1 for versions in found.values())
    copied = b"".join(store_of(bucket_log).read(versions[0]) for versions in found.values())
    keyring = bucket_log.with_name("log.keys")
    for path in (keyring / "data").iterdir():
        for row in json.loads(path.read_text()):
            assert row["wrapped"].encode() not in copied
    assert (keyring / "log.ed25519").read_bytes().strip() not in copied


def test_a_second_round_copies_only_what_is_new(bucket_log: Path) -> None:
    before = set(objects(store_of(bucket_log)))
    assert before == set()
    with following(bucket_log) as follower:
        assert follower.round()
        first = objects(store_of(bucket_log))
        put = follower.state.objects
        assert follower.round()
        assert follower.state.objects == put
    append(bucket_log, 3)
    with following(bucket_log) as follower:
        assert follower.round()
        assert follower.state.size == 704
    second = objects(store_of(bucket_log))
    new = sorted(set(second) - set(first))
    assert [name.split("/")[0] for name in new] == ["checkpoints", "edges", "open"]
    assert all(second[name] == first[name] for name in first)


def test_what_is_committed_and_not_published_is_copied_as_frames(log: Path) -> None:
    with Log.open(log) as open_log:
        open_log.publisher.halt()
        open_log.append([{"action": "t.late"}])
        state = copy(log).state
        assert (state.size, state.covered, state.committed) == (701, 702, 702)


def test_locks_are_short_in_a_trial_and_by_class_after_it(bucket_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, now_s = store_of(bucket_log), int(time.time())
    monkeypatch.setattr(SystemClock, "now_us", lambda _: now_s * 1_000_000)  # no midnight in between
    copy(bucket_log)
    trial = end_of_day(now_s, 7)
    for versions in objects(store).values():
        lock = store.lock(versions[0])
        assert lock is not None and lock.firm and lock.until_s == trial
    assert begin_full_lock(store, now_s, end_of_day(now_s, 90))
    assert not begin_full_lock(store, now_s, end_of_day(now_s, 90))
    state = copy(bucket_log).state
    assert state.full and state.swept
    for name, versions in objects(store).items():
        lock = store.lock(versions[0])
        days = 7 if name.startswith(layout.OPEN) else 30 if name.startswith(layout.JOURNAL) else 90
        assert lock is not None and lock.until_s == end_of_day(now_s, days), name
    append(bucket_log, 300)
    copy(bucket_log)
    last = [versions[0] for name, versions in objects(store).items() if name.startswith(layout.JOURNAL)][-1]
    lock = store.lock(last)
    assert lock is not None and lock.until_s == end_of_day(now_s, 30)


def test_the_longest_class_in_a_segment_counts(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, now_s = store_of(log), int(time.time())
    monkeypatch.setattr(SystemClock, "now_us", lambda _: now_s * 1_000_000)  # no midnight in between
    begin_full_lock(store, 0, end_of_day(now_s, 90))
    with Log.open(log) as open_log:
        change_source(open_log, "local", classes=["audit"], declared=config_of(log).classes)
        open_log.append([{"action": "t.audit", "class": "audit"}])
    append(log, 600)
    copy(log)
    days = {
        (store.lock(versions[0]).until_s - now_s) // DAY_S  # type: ignore[union-attr]
        for name, versions in objects(store).items()
        if name.startswith(layout.JOURNAL)
    }
    assert {one // 30 for one in days} == {1, 3}


class _Flaky(FolderStore):
    """Dies after so many puts, before or behind the last."""

    def __init__(self, url: str, after: int, *, behind: bool) -> None:
        super().__init__(url)
        self.left, self._behind = after, behind

    def put(self, name: str, data: bytes | Part, *, until_s: int, once: bool = True) -> None:
        if self.left == 0 and not self._behind:
            raise Broken("the store went away")
        super().put(name, data, until_s=until_s, once=once)
        if self.left == 0:
            raise Broken("the answer was lost")
        self.left -= 1


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("keep_state", [False, True])
def test_a_follower_that_dies_at_any_put_goes_on(log: Path, behind: bool, keep_state: bool) -> None:
    config = config_of(log)
    assert config.worm.store is not None
    for after in range(0, 14, 3):
        store = _Flaky(config.worm.store, after, behind=behind)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("graven.app.pieces.open_store", lambda *_args, store=store: store)
            try:
                with following(log) as follower:
                    follower.round()
            except Broken:
                pass  # before the first round
        if not keep_state:
            (log / "state" / "worm.json").unlink(missing_ok=True)
        append(log, 3)
    copy(log)
    assert alarms(log) == []
    found = verify(log)
    assert found.report.problems == ()
    assert found.end == 716


def test_a_forgotten_state_makes_no_second_version_and_no_alarm(bucket_log: Path) -> None:
    copy(bucket_log)
    before = objects(store_of(bucket_log))
    (bucket_log / "state" / "worm.json").unlink()
    copy(bucket_log)
    assert objects(store_of(bucket_log)) == before
    assert alarms(bucket_log) == []


def test_a_log_that_was_rolled_back_is_an_alarm_and_nothing_is_copied(log: Path, tmp_path: Path) -> None:
    copy(log)
    shutil.copytree(log, tmp_path / "old")
    append(log, 5)
    copy(log)
    state = (log / "state" / "worm.json").read_bytes()
    shutil.rmtree(log)
    shutil.move(tmp_path / "old", log)
    (log / "state" / "worm.json").write_bytes(state)
    before = objects(store_of(log))
    with following(log) as follower:
        assert not follower.round()
        assert "back at 701" in follower.state.trouble
    assert any("back at 701" in what for what in alarms(log))
    assert objects(store_of(log)) == before


def test_another_tree_is_an_alarm(log: Path, tmp_path: Path) -> None:
    copy(log)
    state = json.loads((log / "state" / "worm.json").read_bytes())
    state["root"] = "00" * 32
    (log / "state" / "worm.json").write_text(json.dumps(state))
    told: list[str] = []
    with open_follower(log, config_of(log), tell=lambda what, _fields: told.append(what)) as follower:
        assert not follower.round()
        assert not follower.round()
    assert len(told) == 1 and "is not this log's" in told[0]
    assert alarms(log) == told


def test_other_bytes_under_a_name_are_an_alarm_and_the_true_ones_are_put_over_them(bucket_log: Path) -> None:
    store = store_of(bucket_log)
    name = "log/tile/entries/001"
    store.put(name, b"junk", until_s=end_of_day(time.time(), 1))
    with following(bucket_log) as follower:
        assert follower.round()
    assert any("who else" in what for what in alarms(bucket_log))
    assert [one.size for one in objects(store)[name]] == [4, 34 * 256]


def test_short_locks_are_lengthened_until_the_segment_is_there(
    bucket_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(bucket_log)
    copy(bucket_log)
    (piece,) = (one for one in objects(store) if one.startswith(layout.OPEN))
    later = time.time() + 5 * DAY_S
    monkeypatch.setattr("graven.runtime.clock.SystemClock.now_us", lambda _self: int(later * 1e6))
    copy(bucket_log)
    lock = store.lock(objects(store)[piece][0])
    assert lock is not None and lock.until_s == end_of_day(later, 7)
    append(bucket_log, 400)
    copy(bucket_log)
    monkeypatch.setattr("graven.runtime.clock.SystemClock.now_us", lambda _self: int((later + 5 * DAY_S) * 1e6))
    copy(bucket_log)
    assert store.lock(objects(store)[piece][0]) == lock


def test_one_follower_a_log_and_one_log_a_prefix(log: Path, tmp_path: Path) -> None:
    with following(log), pytest.raises(BadInput, match="another follower"), following(log):
        pass
    other = make_log(tmp_path / "other", f"file://{tmp_path}/copy", events=1)
    with pytest.raises(BadInput, match="copy of another log"), following(other):
        pass


def test_a_bucket_without_lock_is_not_followed(tmp_path: Path, make_bucket: Callable[..., str]) -> None:
    directory = make_log(tmp_path, f"s3://{make_bucket(lock=False)}", events=1)
    with pytest.raises(BadInput), following(directory):
        pass


def test_a_store_that_does_not_answer_is_trouble_and_told(tmp_path: Path, bucket_log: Path) -> None:
    with following(bucket_log) as follower:
        assert follower.round()
        append(bucket_log, 1)
        follower._store = follower._placing._store = follower._segments._store = _Gone()  # type: ignore[assignment]
        assert not follower.round()
        assert "went away" in follower.state.trouble
    state = read_state(bucket_log)
    assert state is not None and state.trouble and not state.alarms


class _Gone:
    url = "s3://gone"

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[Version]:
        raise Broken("the store went away")

    def put(self, name: str, data: bytes | Part, *, until_s: int, once: bool = True) -> None:
        raise Broken("the store went away")


def test_a_damaged_state_counts_as_none(log: Path) -> None:
    copy(log)
    for junk in (b"", b"{", b"[]", b'{"store": 1}'):
        (log / "state" / "worm.json").write_bytes(junk)
        assert read_state(log) is None
        copy(log)
        assert alarms(log) == []
