"""Files that people name: read bounded, written private, whole, and never over what must stay."""

import os
import stat
import threading
from pathlib import Path

import pytest

from graven.cli.files import read_file, write_private
from graven.core.errors import BadInput


def test_reading_is_bounded() -> None:
    Path("file").write_bytes(b"12345")
    assert read_file(Path("file"), max_bytes=5) == b"12345"
    with pytest.raises(BadInput, match="more than 4 bytes"):
        read_file(Path("file"), max_bytes=4)
    for name in ("missing", "."):
        with pytest.raises(BadInput, match="cannot be read"):
            read_file(Path(name))


def test_writing_is_private_and_leaves_nothing_beside_it() -> None:
    old = os.umask(0)
    try:
        write_private(Path("file"), b"one")
        write_private(Path("file"), b"two")
    finally:
        os.umask(old)
    assert Path("file").read_bytes() == b"two" and stat.S_IMODE(Path("file").stat().st_mode) == 0o600
    assert os.listdir() == ["file"]


def test_nothing_is_written_over_when_it_must_stay() -> None:
    write_private(Path("file"), b"one", replace=False)
    Path("link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(BadInput, match="there already"):
            write_private(Path(name), b"two", replace=False)
    assert Path("file").read_bytes() == b"one" and sorted(os.listdir()) == ["file", "link"]


def test_a_link_is_followed_and_stays() -> None:
    Path("target").write_bytes(b"one")
    Path("link").symlink_to("target")
    write_private(Path("link"), b"two")
    assert Path("link").is_symlink() and Path("target").read_bytes() == b"two"


def test_a_pipe_is_written_to_and_stays() -> None:
    os.mkfifo("fifo")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("fifo").read_bytes()))
    reader.start()
    write_private(Path("fifo"), b"data")
    reader.join()
    assert read == [b"data"] and stat.S_ISFIFO(Path("fifo").stat().st_mode)


def test_where_nothing_can_be_written() -> None:
    for name in ("missing/file", "/proc/file"):
        with pytest.raises(BadInput, match="cannot be written"):
            write_private(Path(name), b"data")
