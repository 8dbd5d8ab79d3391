"""The spool: whole after any crash, bounded, shut without its key."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from crash.disk import RecordingFiles
from graven.agent.spool import KEY_FILE, Batch, Spool
from graven.core.errors import Broken, Busy
from graven.runtime.files import Files, LocalFile, LocalFiles


def opened(state: Path, files: Files | None = None, **how: int) -> Spool:
    return Spool(
        files or LocalFiles(), state, bytes_max=how.get("bytes_max", 1 << 30), file_bytes=how.get("file_bytes", 8 << 20)
    )


def batch(number: int, size: int = 20) -> Batch:
    return Batch(b"note %d" % number, os.urandom(size), 1, bytes([number]) * 32, bytes(32), {"a": {"offset": number}})


def drained(spool: Spool) -> list[int]:
    found = []
    while (one := spool.first(wait_s=0)) is not None:
        found.append(one[0])
        spool.settle(one[0])
    return found


def test_what_is_put_comes_back_in_order(tmp_path: Path) -> None:
    spool = opened(tmp_path, file_bytes=500)
    for number in range(1, 30):
        assert spool.put(batch(number)) == number
    spool.close()
    again = opened(tmp_path, file_bytes=500)
    assert (again.sequence, again.digest, again.places) == (29, bytes([29]) * 32, {"a": {"offset": 29}})
    found = again.first(wait_s=0)
    assert found is not None
    assert (found[0], found[1].statement) == (1, b"note 1")
    assert drained(again) == list(range(1, 30))
    assert len(list((tmp_path / "spool").iterdir())) <= 2  # what is settled is gone
    again.put(batch(30))
    again.close()
    last = opened(tmp_path)
    assert (last.sequence, last.places) == (30, {"a": {"offset": 30}})
    last.close()


def test_a_place_that_ends_is_forgotten(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.put(batch(1))
    spool.put(Batch(b"", b"", 0, bytes(32), bytes(32), {"a": None, "b": 1}))
    spool.close()
    again = opened(tmp_path)
    assert again.places == {"b": 1}
    again.close()


def test_cut_at_every_byte_of_the_last_file(tmp_path: Path) -> None:
    """Whatever of the last entry a crash leaves, the ones before it stand, and the next gets the lost one's number."""
    files = RecordingFiles(tmp_path)  # which sync nothing: it is the cutting that counts here
    state = tmp_path / "state"
    state.mkdir()
    spool = opened(state, files)
    sizes = []
    for number in range(1, 4):
        spool.put(batch(number))
        (path,) = (state / "spool").iterdir()
        sizes.append(path.stat().st_size)
    spool.close()
    for size in range(sizes[-1] + 1):
        copy = tmp_path / "copy"
        shutil.copytree(state, copy)
        (path,) = (copy / "spool").iterdir()
        os.truncate(path, size)
        cut = opened(copy, files)
        whole = sum(size >= end for end in sizes)
        assert (cut.sequence, cut.places) == (whole, {"a": {"offset": whole}} if whole else {})
        assert not cut.damaged
        assert cut.put(batch(9)) == whole + 1
        cut.close()
        again = opened(copy, files)
        assert drained(again) == list(range(1, whole + 2))
        again.close()
        shutil.rmtree(copy)


def test_a_flipped_bit_loses_that_entry_and_says_so(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    ends = []
    for number in range(1, 4):
        spool.put(batch(number))
        (path,) = (tmp_path / "spool").iterdir()
        ends.append(path.stat().st_size)
    spool.close()
    data = bytearray(path.read_bytes())
    data[ends[1] - 3] ^= 4  # inside the second
    path.write_bytes(data)
    again = opened(tmp_path)
    assert drained(again) == [1, 3]
    assert len(again.damaged) == 1
    again.close()


def test_nothing_opens_it_without_its_key(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    secret = b"a line that nobody else may read"
    spool.put(Batch(secret, secret, 1, bytes(32), bytes(32), {"path": secret.decode()}))
    spool.close()
    (path,) = (tmp_path / "spool").iterdir()
    assert secret not in path.read_bytes()
    assert [one.stat().st_mode & 0o777 for one in (path, tmp_path / KEY_FILE, path.parent)] == [0o600, 0o600, 0o700]
    (tmp_path / KEY_FILE).write_bytes(os.urandom(32))
    with pytest.raises(Broken, match="key"):
        opened(tmp_path)
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(Broken, match="key"):
        opened(tmp_path)


def test_full_is_said_and_room_comes_back(tmp_path: Path) -> None:
    spool = opened(tmp_path, bytes_max=1000)
    while spool.has_room:
        spool.put(batch(1, 300))
    spool.settle(2)
    assert spool.has_room
    spool.close()


class _FullDisk(LocalFiles):
    """A disk that takes `left` bytes more."""

    left = 1 << 30

    def create(self, path: str) -> LocalFile:
        disk, file = self, super().create(path)

        class Full(LocalFile):
            def write_at(self, offset: int, data: bytes) -> None:
                if len(data) > disk.left:
                    super().write_at(offset, data[: disk.left])
                    raise OSError(errno.ENOSPC, "no space left")
                super().write_at(offset, data)

        made = Full(file._fd)
        file._fd = -1
        return made


def test_a_full_disk_costs_nothing(tmp_path: Path) -> None:
    disk = _FullDisk()
    spool = Spool(disk, tmp_path, bytes_max=1 << 30)
    spool.put(batch(1))
    disk.left = 30
    for _ in range(3):
        with pytest.raises(Busy):
            spool.put(batch(2))
    assert (spool.sequence, spool.places) == (1, {"a": {"offset": 1}})
    disk.left = 1 << 30
    assert spool.put(batch(2)) == 2
    assert drained(spool) == [1, 2]
    spool.close()
    again = opened(tmp_path)
    assert again.sequence == 2
    assert not again.damaged
    again.close()


class _FailingSync(LocalFiles):
    def create(self, path: str) -> LocalFile:
        file = super().create(path)

        class Failing(LocalFile):
            def sync(self) -> None:
                raise OSError(errno.EIO, "the disk is gone")

        made = Failing(file._fd)
        file._fd = -1
        return made


def test_a_failed_sync_is_never_tried_again(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.close()
    spool = Spool(_FailingSync(), tmp_path, bytes_max=1 << 30)
    with pytest.raises(Broken):
        spool.put(batch(1))
    spool.close()
    again = opened(tmp_path)
    assert again.sequence == 0
    again.close()
