"""The seam to the disk: what is written is all there, private, and replaced whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from graven.journal.files import LocalFiles, write_atomic
from recording import Recorder


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_and_directories_are_private(tmp_path: Path) -> None:
    files = LocalFiles()
    files.mkdir(str(tmp_path / "d"))
    files.create(str(tmp_path / "d" / "f")).close()
    assert mode_of(tmp_path / "d") == 0o700
    assert mode_of(tmp_path / "d" / "f") == 0o600


def test_create_refuses_a_taken_name_and_open_a_missing_one(tmp_path: Path) -> None:
    files = LocalFiles()
    files.create(str(tmp_path / "f")).close()
    with pytest.raises(FileExistsError):
        files.create(str(tmp_path / "f"))
    with pytest.raises(FileNotFoundError):
        files.open(str(tmp_path / "g"))
    with pytest.raises(FileExistsError):
        files.mkdir(str(tmp_path / "f"))


def test_write_truncate_sync_reopen(tmp_path: Path) -> None:
    files, path = LocalFiles(), tmp_path / "f"
    file = files.create(str(path))
    file.write_at(0, b"hello world")
    file.write_at(6, b"there")
    file.truncate(8)
    file.sync()
    file.close()
    file.close()
    again = files.open(str(path))
    again.write_at(8, b"!")
    again.close()
    files.sync_dir(str(tmp_path))
    files.sync_all(str(tmp_path))
    assert path.read_bytes() == b"hello th!"


def test_a_file_follows_the_file_and_not_the_name(tmp_path: Path) -> None:
    files = LocalFiles()
    write_atomic(files, str(tmp_path / "f"), b"old")
    held = files.open(str(tmp_path / "f"))
    write_atomic(files, str(tmp_path / "f"), b"new")
    held.write_at(0, b"xxx")
    held.close()
    assert (tmp_path / "f").read_bytes() == b"new"


def test_short_writes_are_written_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    calls: list[int] = []

    def short(fd: int, data: memoryview, offset: int) -> int:
        calls.append(len(data))
        return real(fd, data[:3], offset)

    monkeypatch.setattr(os, "pwrite", short)
    file = LocalFiles().create(str(tmp_path / "f"))
    file.write_at(2, b"0123456789")
    file.close()
    assert calls == [10, 7, 4, 1]
    assert (tmp_path / "f").read_bytes() == b"\0\x000123456789"


def test_a_write_that_makes_no_progress_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: 0)
    file = LocalFiles().create(str(tmp_path / "f"))
    with pytest.raises(OSError, match="no more bytes"):
        file.write_at(0, b"x")
    file.close()


def test_a_full_disk_is_told() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    file = LocalFiles().open("/dev/full")
    with pytest.raises(OSError) as caught:
        file.write_at(0, b"x")
    file.close()
    assert caught.value.errno == errno.ENOSPC


def test_sync_all_tells_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LocalFiles().sync_all(str(tmp_path / "nowhere"))


def test_write_atomic_order(tmp_path: Path) -> None:
    recorder = Recorder()
    write_atomic(recorder, str(tmp_path / "f"), b"data")
    assert recorder.steps == ["create f.tmp", "write f.tmp", "sync f.tmp", "rename f.tmp f", "sync_dir"]
    recorder.steps.clear()
    write_atomic(recorder, str(tmp_path / "f"), b"more", sync=False)
    assert recorder.steps == ["create f.tmp", "write f.tmp", "rename f.tmp f"]
    assert (tmp_path / "f").read_bytes() == b"more"
    assert mode_of(tmp_path / "f") == 0o600


def test_write_atomic_replaces_what_a_crash_left(tmp_path: Path) -> None:
    (tmp_path / "f.tmp").write_bytes(b"left by a crash, and longer than what comes")
    write_atomic(LocalFiles(), str(tmp_path / "f"), b"data")
    assert (tmp_path / "f").read_bytes() == b"data"
    assert not (tmp_path / "f.tmp").exists()


@pytest.mark.parametrize("where", ["create f.tmp", "write f.tmp", "sync f.tmp", "rename f.tmp f"])
def test_write_atomic_that_fails_leaves_the_old_file(tmp_path: Path, where: str) -> None:
    write_atomic(LocalFiles(), str(tmp_path / "f"), b"old")
    with pytest.raises(OSError, match="no space"):
        write_atomic(Recorder(fail_at=where), str(tmp_path / "f"), b"new")
    assert (tmp_path / "f").read_bytes() == b"old"


def test_write_atomic_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomic(LocalFiles(), "f", b"data")
    assert (tmp_path / "f").read_bytes() == b"data"
