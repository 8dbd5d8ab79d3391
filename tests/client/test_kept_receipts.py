"""Receipts on disk: whole or absent, private, rotated, read back and judged again."""

import errno
import json
import os
from pathlib import Path

import pytest

from core.ledger import Ledger
from core.signers import LOG_KEYS, STRANGER
from graven.client.receipts import KeptReceipt, ReceiptStore, read_receipts
from graven.core.errors import BadInput, Broken, Disproved
from graven.runtime.clock import FixedClock
from graven.runtime.files import LocalFile, LocalFiles

EVENTS = [b'{"action":"a"}', '{"action":"ü ☃ \\u202e"}'.encode()]
BODY = b"\n".join(EVENTS) + b"\n"
URL = "https://audit.example.com"


def answer(ledger: Ledger) -> bytes:
    return json.dumps(ledger.answer(2, [ledger.seal(event) for event in EVENTS])).encode()


class FailingFiles(LocalFiles):
    """Fails as told: `writes` and `syncs` are what the next ones do, None or an errno."""

    def __init__(self) -> None:
        self.writes: list[int | None] = []
        self.syncs: list[int | None] = []
        self.truncates: list[int | None] = []

    def create(self, path: str) -> "FailingFile":  # type: ignore[override]
        return FailingFile(self, super().create(path))


class FailingFile:
    def __init__(self, owner: FailingFiles, file: LocalFile) -> None:
        self.owner, self.file, self.close = owner, file, file.close

    def write_at(self, offset: int, data: bytes) -> None:
        code = self.owner.writes.pop(0) if self.owner.writes else None
        self.file.write_at(offset, data if code is None else data[: len(data) // 2])
        fail(code)

    def truncate(self, size: int) -> None:
        fail(self.owner.truncates.pop(0) if self.owner.truncates else None)
        self.file.truncate(size)

    def sync(self) -> None:
        fail(self.owner.syncs.pop(0) if self.owner.syncs else None)
        self.file.sync()


def fail(code: int | None) -> None:
    if code is not None:
        raise OSError(code, os.strerror(code))


def kept(directory: Path) -> list[KeptReceipt]:
    return list(read_receipts(directory))


def test_what_is_kept_can_be_judged_again(tmp_path: Path) -> None:
    ledger, store = Ledger(), ReceiptStore(tmp_path / "receipts", clock=FixedClock(1_700_000_000_000_000))
    answers = [answer(ledger) for _ in range(3)]
    for one in answers:
        store.keep(one, BODY, url=URL)
    store.close()
    found = kept(tmp_path / "receipts")
    assert [one.answer for one in found] == [json.loads(data) for data in answers]
    assert [one.line for one in found] == [1, 2, 3]
    for receipt in found:
        assert (receipt.kept_us, receipt.url, receipt.body) == (1_700_000_000_000_000, URL, BODY)
        assert receipt.events == EVENTS
        assert receipt.verify(LOG_KEYS).size == receipt.answer["size"]
        with pytest.raises(Disproved):
            receipt.verify([STRANGER.key])


def test_a_kept_receipt_that_was_changed_is_disproved(tmp_path: Path) -> None:
    store = ReceiptStore(tmp_path)
    store.keep(answer(Ledger()), BODY, url=URL)
    store.close()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes().replace(rb"\"a\"", rb"\"b\""))
    with pytest.raises(Disproved, match="did not seal"):
        kept(tmp_path)[0].verify(LOG_KEYS)


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = ReceiptStore(tmp_path / "receipts")
        store.keep(answer(Ledger()), BODY, url=URL)
        store.keep_wrong(b"{}", BODY)
        store.close()
    finally:
        os.umask(before)
    assert (tmp_path / "receipts").stat().st_mode & 0o777 == 0o700
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "receipts").iterdir()}
    assert modes == {0o600}


def test_a_full_file_is_followed_by_another(tmp_path: Path) -> None:
    ledger, clock = Ledger(), FixedClock(1_700_000_000_000_000)
    answers = [answer(ledger) for _ in range(7)]
    line_bytes = len(answers[0]) + len(BODY) + 200
    store = ReceiptStore(tmp_path, file_bytes=3 * line_bytes, clock=clock)
    for one in answers:
        store.keep(one, BODY, url=URL)
        clock.advance(1)
    store.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) >= 3
    assert all(path.stat().st_size <= 3 * line_bytes for path in files)
    assert [one.answer["size"] for one in kept(tmp_path)] == [2, 4, 6, 8, 10, 12, 14], "in order over the files"


def test_a_line_larger_than_a_file_gets_one_of_its_own(tmp_path: Path) -> None:
    store, ledger = ReceiptStore(tmp_path, file_bytes=1), Ledger()
    for _ in range(2):
        store.keep(answer(ledger), BODY, url=URL)
    store.close()
    assert len(list(tmp_path.iterdir())) == 2 and len(kept(tmp_path)) == 2


def test_two_clients_share_a_directory(tmp_path: Path) -> None:
    ledger, stores = Ledger(), [ReceiptStore(tmp_path, clock=FixedClock(5)) for _ in range(2)]
    for store in [*stores, *stores]:
        store.keep(answer(ledger), BODY, url=URL)
    for store in stores:
        store.close()
    assert sorted(int(str(one.answer["size"])) for one in kept(tmp_path)) == [2, 4, 6, 8]


def test_no_space_leaves_whole_lines_and_the_next_one_fits_again(tmp_path: Path) -> None:
    ledger, files = Ledger(), FailingFiles()
    store = ReceiptStore(tmp_path, files=files)
    store.keep(answer(ledger), BODY, url=URL)
    files.writes = [errno.ENOSPC]
    with pytest.raises(Broken, match=r"cannot be kept .*No space left"):
        store.keep(answer(ledger), BODY, url=URL)
    store.keep(answer(ledger), BODY, url=URL)
    store.close()
    assert [one.answer["size"] for one in kept(tmp_path)] == [2, 6]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_line_that_cannot_be_taken_back_ends_its_file(tmp_path: Path) -> None:
    ledger, files = Ledger(), FailingFiles()
    store = ReceiptStore(tmp_path, files=files)
    store.keep(answer(ledger), BODY, url=URL)
    files.writes, files.truncates = [errno.EIO], [errno.EIO]
    with pytest.raises(Broken):
        store.keep(answer(ledger), BODY, url=URL)
    store.keep(answer(ledger), BODY, url=URL)
    store.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert sorted(int(str(one.answer["size"])) for one in kept(tmp_path)) == [2, 6], "the cut line is passed over"


@pytest.mark.parametrize("call", ["sync", "close"])
def test_a_sync_that_fails_is_said_and_not_tried_again_on_the_same_file(tmp_path: Path, call: str) -> None:
    ledger, files = Ledger(), FailingFiles()
    store = ReceiptStore(tmp_path, files=files)
    store.keep(answer(ledger), BODY, url=URL)
    files.syncs = [errno.EIO]
    with pytest.raises(Broken, match="cannot be synced"):
        getattr(store, call)()
    store.keep(answer(ledger), BODY, url=URL)
    store.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_closing_twice_and_syncing_nothing(tmp_path: Path) -> None:
    store = ReceiptStore(tmp_path / "r")
    store.sync()
    store.close()
    store.close()
    assert list((tmp_path / "r").iterdir()) == [], "no file before there is something to keep"


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "no" / "parent", tmp_path / "file"):
        with pytest.raises(BadInput, match="cannot be kept in this directory"):
            ReceiptStore(wrong)


def test_a_crash_in_the_last_line_is_passed_over(tmp_path: Path) -> None:
    store = ReceiptStore(tmp_path)
    ledger = Ledger()
    for _ in range(2):
        store.keep(answer(ledger), BODY, url=URL)
    store.close()
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole), 97):
        file.write_bytes(whole[:cut])
        assert [one.answer["size"] for one in kept(tmp_path)] == [2]


@pytest.mark.parametrize(
    "line",
    [
        b"\n", b"{}\n", b"not JSON\n", b"[]\n",
        b'{"format":"graven-kept/v2","kept_us":1,"url":"","answer":{},"sent":""}\n',
        b'{"format":"graven-kept/v1","kept_us":-1,"url":"","answer":{},"sent":""}\n',
        b'{"format":"graven-kept/v1","kept_us":1,"url":"","answer":[],"sent":""}\n',
        b'{"format":"graven-kept/v1","kept_us":1,"url":"","answer":{},"sent":"","more":1}\n',
    ],
)  # fmt: skip
def test_any_other_line_is_named_with_its_place(tmp_path: Path, line: bytes) -> None:
    store = ReceiptStore(tmp_path)
    store.keep(answer(Ledger()), BODY, url=URL)
    store.close()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes() + line)
    found = read_receipts(tmp_path)
    assert next(found).line == 1
    with pytest.raises(Broken, match=f"{file.name}, line 2"):
        next(found)


def test_an_answer_with_odd_text_is_kept(tmp_path: Path) -> None:
    store = ReceiptStore(tmp_path)
    store.keep(b'{"note":"\\ud800\\n"}', BODY, url=URL)
    store.close()
    assert kept(tmp_path)[0].answer == {"note": "\ud800\n"}
