"""A witness on a disk that refuses: nothing is cosigned that is not stored, and nothing answered is forgotten."""

import shutil
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path

import pytest

from core.signers import LOG, ORIGIN
from graven.core.checkpoint import open_checkpoint
from graven.keys.signature import verify_signature
from mounting import mounted
from witness.logs import Tree, made
from witness.running import InProcess, InThread, ask, post

TREE, OTHER = Tree(), Tree(3)
PATH = f"/{sha256(ORIGIN.encode()).hexdigest()}/checkpoint"
SMALL_FILES = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, 70_000))
"""
"""A file that would grow beyond that is refused by the system; no full disk, so for SQLite an error of it."""
REQUESTS_MAX = 60


def cosigned(url: str) -> int:
    """The size of the tree that the witness remembers, 0 for none."""
    got = ask(url, "GET", PATH)
    if got.status == 404:
        return 0
    return open_checkpoint(got.body, [LOG.key], verify_signature).checkpoint.size


def goes_on(directory: Path, answered: int) -> None:
    """Started again: at or above what it answered, cosigning no fork of that, and the log's growth."""
    with InThread(directory) as running:
        size = cosigned(running.url)
        assert size >= answered
        if size:
            assert post(running.url, OTHER.request(size, size + 1)).status == 422
        assert post(running.url, TREE.request(size, size + 1)).status == 200


def test_a_full_disk_is_waited_out(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with mounted(small, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        directory = made(small / "w")
        filler = small / "filler"
        with InThread(directory) as running:
            assert post(running.url, TREE.request(0, 1)).status == 200
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    file.write(bytes(4096))
            size, got = 1, post(running.url, TREE.request(1, 2))
            while got.status == 200 and size < REQUESTS_MAX:  # there may be room in files that are there
                size, got = size + 1, post(running.url, TREE.request(size + 1, size + 2))
            assert got.status == 503 and b"no space is left" in got.body
            assert post(running.url, TREE.request(size, size + 2)).status == 503
            assert cosigned(running.url) == size
            filler.unlink()
            assert post(running.url, OTHER.request(size, size + 1)).status == 422
            assert post(running.url, TREE.request(size, size + 1)).status == 200
        goes_on(directory, size + 1)


def stops(running: InProcess) -> int:
    """Requests until the disk fails: the size answered last. The process ends with exit code 3, and says why."""
    answered = 0
    try:
        got = post(running.url, TREE.request(0, 1))
        while got.status == 200 and answered < REQUESTS_MAX:
            answered += 1
            got = post(running.url, TREE.request(answered, answered + 1))
        assert got.status == 500 and b"nothing was cosigned" in got.body
    except (OSError, HTTPException):  # it stops while it answers
        pass
    _, words = running.process.communicate(timeout=60)
    assert running.process.returncode == 3 and "the database of this witness failed" in words, words
    return answered


def test_a_write_that_fails_stops_it(tmp_path: Path) -> None:
    directory = made(tmp_path / "w")
    with InProcess(directory, SMALL_FILES) as running:
        answered = stops(running)
    assert 0 < answered < REQUESTS_MAX
    goes_on(directory, answered)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("nth", [2, *(pytest.param(nth, marks=pytest.mark.slow) for nth in (1, 3, 4, 5, 8, 12))])
def test_a_sync_that_fails_stops_it(tmp_path: Path, nth: int) -> None:
    """The n-th sync of the write-ahead log fails, as a disk does."""
    directory = made(tmp_path / "w")
    under = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-P", str(directory / "witness.db-wal"),
             "-e", "trace=fsync,fdatasync", "-e", f"inject=fsync,fdatasync:error=EIO:when={nth}"]  # fmt: skip
    with InProcess(directory, under=under) as running:
        if not running.url:
            _, words = running.process.communicate(timeout=60)
            if "ptrace" in words.lower() or "strace" in words.lower():
                pytest.skip(f"strace may not trace here: {words.strip()}")
            raise AssertionError(words)
        answered = stops(running)
    assert "INJECTED" in (tmp_path / "trace").read_text()
    goes_on(directory, answered)
