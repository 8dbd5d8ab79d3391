"""What is committed and not published yet is proved against the root of its frame."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from graven.app import Log, create_log, open_view
from graven.core.errors import Disproved
from graven.core.merkle import EMPTY_ROOT, CompactRange, hash_leaves
from graven.log.pending import prove_pending
from graven.log.publish import Publisher
from graven.log.view import View

PUBLISHED = 301


@pytest.fixture
def view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    """301 entries published, then three frames of 2, 300 and 1 that are not."""
    create_log(tmp_path / "log", origin="example.com/log")
    monkeypatch.setattr(Publisher, "wake", lambda _: None)  # it publishes when it is asked to, and at the end
    with Log.open(tmp_path / "log") as log:
        log.append([b'{"action":"a"}'] * (PUBLISHED - 1))
        log.publish()
        for count in (2, 300, 1):
            log.append([b'{"action":"b"}'] * count)
        with open_view(tmp_path / "log") as found:
            assert found.published.checkpoint.size == PUBLISHED
            yield found


def test_each_is_found_under_its_frames_root(view: View) -> None:
    entries = [record.entry or b"" for record in view.records(0, 604)]
    for index, end in ((301, 303), (302, 303), (303, 603), (602, 603), (603, 604)):
        size, root = prove_pending(view, view.read(index))
        tree, _ = CompactRange.EMPTY.extend(hash_leaves(entries[:end]))
        assert (size, root) == (end, tree.root())
    assert view.published.checkpoint.root != EMPTY_ROOT


def test_another_entry_is_refused(view: View) -> None:
    record = view.read(303)
    other = type(record)(record.index, record.class_name, record.state, entry=bytes(32))
    with pytest.raises(Disproved, match="not the one in its frame"):
        prove_pending(view, other)


def test_tiles_that_are_not_the_published_tree_are_refused(view: View) -> None:
    for path in (view.directory / "log" / "tile" / "0").rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[3] ^= 1
            path.write_bytes(data)
    with pytest.raises(Disproved, match="do not lead to the published root"):
        prove_pending(view, view.read(303))
