"""A copy verified by itself, and everything that somebody with the bucket's write credentials can do to it."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graven.app import Log, create_log, public_keys
from graven.core.errors import BadInput
from graven.journal import frame
from graven.worm import layout
from graven.worm.folder import set_immutable
from graven.worm.s3 import S3Store
from graven.worm.verify import Verified, verify_copy
from worm.logs import append, config_of, copy, make_log, objects, store_of, verify

PREFIXES = [
    layout.TREE, layout.JOURNAL, layout.CHECKPOINTS, layout.EDGES, layout.COPY, layout.OPEN, layout.CONFIGS,
]  # fmt: skip


@pytest.fixture
def fresh_log(tmp_path: Path, make_bucket: Callable[..., str]) -> Path:
    """A log of 701 entries, copied to a bucket."""
    directory = make_log(tmp_path, f"s3://{make_bucket()}/logs/one")
    copy(directory)
    return directory


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory, make_bucket: Callable[..., str]) -> Path:
    """The same, for all attacks: none takes away what another needs, since nobody can."""
    directory = make_log(tmp_path_factory.mktemp("attacked"), f"s3://{make_bucket()}/logs/one")
    copy(directory)
    return directory


@pytest.fixture(scope="module")
def store(log: Path) -> S3Store:
    found = store_of(log)
    assert isinstance(found, S3Store)
    return found


def words(found: Verified) -> str:
    return " | ".join(str(problem) for problem in found.report.problems)


def put(store: S3Store, name: str, data: bytes, **more: Any) -> None:
    store.client.put_object(Bucket=store.bucket, Key=store.key(name), Body=data, **more)


def delete(store: S3Store, name: str) -> None:
    store.client.delete_object(Bucket=store.bucket, Key=store.key(name))


def names(store: S3Store, prefix: str) -> list[str]:
    return [name for name in objects(store) if name.startswith(prefix)]


def whole(found: Verified, size: int = 701) -> bool:
    """The verdict about the log stands, whatever was told about the store."""
    newest = found.newest
    return newest is not None and newest.checkpoint.size == size and found.end == size


def test_a_copy_is_whole(fresh_log: Path) -> None:
    log = fresh_log
    found = verify(log)
    assert found.report.problems == ()
    assert whole(found)
    assert found.full_lock_s is None
    assert "trial" in " ".join(found.report.notes)
    append(log, 300)
    copy(log)
    found = verify(log)
    assert found.report.problems == () and whole(found, 1001)


def test_a_large_tree_with_two_levels_of_tiles(tmp_path: Path) -> None:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy", events=0)
    with Log.open(directory) as open_log:
        for _ in range(18):
            open_log.append([{"action": "t.x"}] * 4000)
        open_log.publish()
    copy(directory)
    found = verify(directory)
    assert found.report.problems == () and whole(found, 72_001)
    tile = tmp_path / "copy" / "log/tile/1/000"
    data = tile.read_bytes()
    _write(tile, data[:-1] + bytes([data[-1] ^ 1]))
    assert "a tile is not the signed tree's" in words(verify(directory))
    _write(tile, None)
    assert "a tile is missing" in words(verify(directory))
    bundle = tmp_path / "copy" / "log/tile/entries/200"
    data = bundle.read_bytes()
    _write(bundle, data[:100] + bytes([data[100] ^ 1]) + data[101:])
    said = words(verify(directory))
    assert "disproved" in said and "200" in said


def _write(path: Path, data: bytes | None) -> None:
    with contextlib.suppress(OSError):
        set_immutable(path, on=False)
    path.chmod(0o600)
    path.unlink()
    if data is not None:
        path.write_bytes(data)


def test_what_was_deleted_or_overwritten_is_named_and_the_original_counts(log: Path, store: S3Store) -> None:
    before = {name: [one for one in found if not one.marker] for name, found in objects(store).items()}
    told: list[str] = []
    for prefix in PREFIXES:
        name, *_, last = [*names(store, prefix), *names(store, prefix)]
        delete(store, name)
        told.append(f"an object was deleted; its original is still there ({name}, version {before[name][0].id})")
        put(store, last, os.urandom(before[last][0].size))
        told.append(f"an object was overwritten; its original is still there ({last}, version {before[last][0].id})")
    found = verify(log)
    assert whole(found)
    assert found.report.exit_code == 1
    assert [one for one in told if one not in words(found)] == []


def test_everything_deleted_at_once_changes_no_verdict(fresh_log: Path) -> None:
    log, store = fresh_log, store_of(fresh_log)
    assert isinstance(store, S3Store)
    for name in objects(store):
        delete(store, name)
    found = verify(log)
    assert whole(found)
    assert found.report.disproved == len(objects(store))


def test_bytes_put_before_the_copys_own_are_told_and_the_true_ones_found(
    tmp_path: Path, make_bucket: Callable[..., str]
) -> None:
    directory = make_log(tmp_path, f"s3://{make_bucket()}/logs/one")
    store = store_of(directory)
    assert isinstance(store, S3Store)
    taken = ["log/tile/entries/001", "log/tile/0/000", "journal/00000000000000000000.0000.seg", layout.edge_name(701)]
    for name in taken:
        put(store, name, b"junk")
    copy(directory)
    found = verify(directory)
    assert whole(found)
    for name in taken:
        true = objects(store)[name][1]
        assert f"({name}, version {true.id})" in words(found) or name.startswith(layout.EDGES)


def test_a_forged_higher_generation_does_not_stand(log: Path, store: S3Store) -> None:
    name = names(store, layout.JOURNAL)[0]
    data = bytearray(store.read(objects(store)[name][0]))
    forged = name.replace(".0000.", ".0007.")
    put(store, forged, bytes(data))
    found = verify(log)
    assert whole(found)
    assert forged in words(found)


def test_forged_frames_behind_the_published_tree_are_only_frames(log: Path, store: S3Store) -> None:
    """Nothing signed says what is there: whoever restores a copy opens them with the keys."""
    name = names(store, layout.OPEN)[-1]
    put(store, name[:-29] + f"{10**11:012d}." + "0" * 16, b"GRV" + os.urandom(500))
    assert whole(verify(log))


def test_junk_checkpoints_of_any_size_are_told_and_passed_over(log: Path, store: S3Store) -> None:
    for number in range(70):
        put(store, f"checkpoints/{10**18 + number:020d}.{number:016x}", b"junk")
    found = verify(log)
    assert whole(found)
    assert found.report.disproved >= 1


def test_a_true_checkpoint_of_another_log_is_not_taken(
    log: Path, store: S3Store, tmp_path: Path, make_bucket: Callable[..., str]
) -> None:
    other = make_log(tmp_path / "other", f"s3://{make_bucket()}/x", events=900)
    copy(other)
    theirs = store_of(other)
    for name, versions in objects(theirs).items():
        if name.startswith((layout.CHECKPOINTS, layout.EDGES)):
            put(store, name, theirs.read(versions[0]))
    found = verify(log)
    assert whole(found)
    assert found.report.disproved >= 1


def test_a_copy_of_another_log_with_the_same_name_is_disproved(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "again" / "log"
    create_log(other, origin=config_of(log).origin)
    found = verify_copy(store_of(log), keys=public_keys(config_of(other)))
    assert found.newest is None
    assert found.report.exit_code != 0


def test_no_copy_of_this_log_is_a_wrong_question(log: Path, make_bucket: Callable[..., str], tmp_path: Path) -> None:
    other = tmp_path / "again" / "log"
    create_log(other, origin="example.com/other")
    with pytest.raises(BadInput, match="there is no copy"):
        verify_copy(store_of(log), keys=public_keys(config_of(other)))
    with pytest.raises(BadInput, match="there is no copy"):
        verify_copy(S3Store(f"s3://{make_bucket()}"), keys=public_keys(config_of(log)))
    with pytest.raises(BadInput, match="no key"):
        verify_copy(store_of(log), keys=())


def test_since_binds_the_copy(fresh_log: Path) -> None:
    log = fresh_log
    kept = (log / "log" / "checkpoint").read_bytes()
    append(log, 200)
    copy(log)
    keys = public_keys(config_of(log))
    assert verify_copy(store_of(log), keys=keys, since=kept).report.problems == ()
    append(log, 200)
    newer = (log / "log" / "checkpoint").read_bytes()
    found = verify_copy(store_of(log), keys=keys, since=newer)
    assert "the copy ends at 901" in words(found)


def test_frames_that_were_never_copied_are_missed(tmp_path: Path) -> None:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy")
    copy(directory)
    segments = sorted((tmp_path / "copy" / "journal").iterdir())
    _write(segments[0], None)
    for path in (tmp_path / "copy" / "open").rglob("*"):
        if path.is_file():
            _write(path, None)
    found = verify(directory)
    assert "frames are missing from the copy" in words(found)
    assert found.report.exit_code == 3


@pytest.mark.parametrize("at", [0, 40, 90, 5_000, -30])
def test_a_flipped_byte_of_a_segment_is_found(tmp_path: Path, at: int) -> None:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy")
    copy(directory)
    segment = sorted((tmp_path / "copy" / "journal").iterdir())[0]
    data = bytearray(segment.read_bytes())
    data[at] ^= 1
    _write(segment, bytes(data))
    for path in (tmp_path / "copy" / "open").rglob("*"):
        if path.is_file():
            _write(path, None)
    found = verify(directory)
    assert found.report.exit_code == 1
    assert segment.name in words(found)


def test_a_segment_rolled_over_is_replaced_by_its_frames(tmp_path: Path) -> None:
    """A follower that put frames of a segment before it was closed: either is enough."""
    directory = make_log(tmp_path, f"file://{tmp_path}/copy", events=150)
    copy(directory)
    append(directory, 600)
    copy(directory)
    assert verify(directory).report.problems == ()


def test_a_forged_frame_cannot_pass_over_the_newest_checkpoint(log: Path, store: S3Store) -> None:
    """It states no root that a signed tree could contradict, and stands where true frames stand."""
    first = next(name for name in names(store, layout.OPEN) if f"/{0:012d}." in name)
    start = int(first.split("/")[1][:20])
    true = store.read(objects(store)[first][0])
    header = frame.decode_header(true, place="")
    section = frame.Section(frame.EVENTS, "default", None, 900_000, bytes(16), bytes(12), frame.NO_ERASURE, b"junk")
    block = frame.encode_block(start=start, count=900_000, root=bytes(32), sections=[section])
    end = start + 900_000
    index = frame.encode_index(
        segment_start=start, end=end, root=bytes(32), frames=[(start, header.size)], offset=header.size + len(block)
    )
    put(store, f"journal/{start:020d}.0000.seg", true[: header.size] + block + index)
    put(store, f"open/{start:020d}.0000.seg/{0:012d}.{'0' * 16}", true[: header.size] + block)
    found = verify(log)
    assert whole(found)
    assert "passes over the newest checkpoint" in words(found) + " ".join(found.report.notes)
