"""`graven restore --from`: a log that is gone with its host comes back from a write-once copy, a kit and a mirror."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from graven.app import open_view
from graven.cli import graven
from graven.core.checkpoint import parse_checkpoint
from graven.core.note import parse_note
from graven.journal import frame
from graven.journal.segment import SegmentFile, SegmentReader, list_segments
from graven.worm import layout
from graven.worm.folder import set_immutable
from graven.worm.store import end_of_day
from log.logs import verify
from worm.logs import append, copy, make_log, store_of


@pytest.fixture(autouse=True)
def removable(tmp_path: Path) -> Iterator[None]:
    yield
    for path in tmp_path.rglob("*"):
        if path.is_file():
            with contextlib.suppress(OSError):
                set_immutable(path, on=False)


def run(*words: object, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(graven, [str(word) for word in words], prog_name="graven")
    assert result.exit_code == exit_code, f"{words}: {result.stdout}\n{result.stderr}"
    return result


def lose(root: Path, store: str) -> tuple[Path, Path, int]:
    """A log with a copy and a kit; 120 more events that only a mirror of the tree has; then the host is gone. Its
    directory, the mirror, and the size of the copy."""
    directory = make_log(root, store, events=500)
    run("keys", "backup", root / "kit", "--no-passphrase", "--dir", directory)
    copy(directory)
    size = size_of(directory / "log")
    append(directory, 120)
    mirror = root / "mirror"
    shutil.copytree(directory / "log", mirror)
    directory.rename(root / "gone")
    directory.with_name("log.keys").rename(root / "gone.keys")
    return directory, mirror, size


def size_of(folder: Path) -> int:
    return parse_checkpoint(parse_note((folder / "checkpoint").read_bytes()).text)[0].size


def goes_on(directory: Path, mirror: Path, kept: int, done: dict[str, object]) -> None:
    size = size_of(mirror)
    assert done["lost"] == [[kept, size]] and done["size"] == size + 1
    assert verify(directory).problems == ()
    with open_view(directory) as view:
        assert view.read(kept - 1).event is not None
        assert view.read(kept).state == "lost" and view.read(size).event is not None
    append(directory, 30)
    run("verify", "--dir", directory, "--since", mirror / "checkpoint")


def test_from_a_directory(tmp_path: Path) -> None:
    directory, mirror, kept = lose(tmp_path, f"file://{tmp_path}/copy")
    words = ("restore", "--from", f"file://{tmp_path}/copy", "--dir", directory, "--kit", tmp_path / "kit", "--json")
    refused = run(*words, exit_code=3)  # nobody says how far the log had come
    assert "could fork the log" in refused.stderr and not directory.exists()
    goes_on(directory, mirror, kept, json.loads(run(*words, "--mirror", mirror).stdout))
    copy(directory)  # the copy goes on, too, in the same store
    found = run("verify", "--from", f"file://{tmp_path}/copy", "--dir", directory)
    assert "whole" in found.stdout


def test_from_a_bucket_that_was_attacked(tmp_path: Path, make_bucket: Callable[..., str]) -> None:
    url = f"s3://{make_bucket()}/logs/one"
    directory, mirror, kept = lose(tmp_path, url)
    store = store_of(tmp_path / "gone")
    segment = list_segments(str(tmp_path / "gone" / "journal"))[-1]
    junk = frame.Section(frame.EVENTS, "default", None, 1, bytes(16), bytes(12), frame.NO_ERASURE, os.urandom(9))
    forged = frame.encode_block(start=kept, count=1, root=os.urandom(32), sections=[junk])
    name = layout.piece_name(segment.name, end_of(segment, kept), bytes(32))
    store.put(name, forged, until_s=end_of_day(0, 30_000))
    words = ("restore", "--from", url, "--dir", directory, "--kit", tmp_path / "kit", "--mirror", mirror, "--json")
    goes_on(directory, mirror, kept, json.loads(run(*words).stdout))


def end_of(segment: SegmentFile, size: int) -> int:
    """The byte behind the block that ends at `size`."""
    with SegmentReader(segment) as reader:
        return next(at + one.size for at, one in reader.walk() if one.kind == frame.BLOCK and one.end == size)


def test_with_the_keyring_that_survived_and_nothing_lost(tmp_path: Path) -> None:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy", events=300)
    copy(directory)
    size = size_of(directory / "log")
    directory.rename(tmp_path / "gone")
    done = json.loads(run("restore", "--from", f"file://{tmp_path}/copy", "--dir", directory, "--json").stdout)
    assert (done["lost"], done["size"]) == ([], size)
    assert verify(directory).problems == ()
    append(directory, 10)


def test_a_mark_that_nobody_reaches(tmp_path: Path) -> None:
    directory, mirror, kept = lose(tmp_path, f"file://{tmp_path}/copy")
    (tmp_path / "gone.keys").rename(directory.with_name("log.keys"))
    words = ("restore", "--from", f"file://{tmp_path}/copy", "--dir", directory, "--json")
    assert "nobody who was asked" in run(*words, exit_code=3).stderr
    assert not directory.exists()
    goes_on(directory, mirror, kept, json.loads(run(*words, "--mirror", mirror).stdout))


def test_what_is_asked_for(tmp_path: Path) -> None:
    here = f"file://{tmp_path}"
    for words in ((), (tmp_path, "--from", here), ("--from", "ftp://x"), ("--from", here)):
        run("restore", *words, "--dir", tmp_path / "new", exit_code=2)
    assert not (tmp_path / "new").exists()
