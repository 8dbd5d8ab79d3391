"""The certificates of the receipt key are kept, and go on counting."""

from pathlib import Path

import pytest

from graven.app import Log, create_log, open_view
from graven.core.errors import Broken
from graven.core.receipt import open_certificate, open_receipt
from graven.keys.signature import verify_signature
from graven.log import certificates
from graven.log.certificates import FOLDER, find_certificates, read_certificates

EVENT = b'{"action":"a"}'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    create_log(tmp_path / "log", origin="example.com/log")
    return tmp_path / "log"


def test_one_counts_over_many_starts(directory: Path) -> None:
    receipts = []
    for _ in range(3):
        with Log.open(directory) as log:
            receipts.append(log.append([EVENT]).receipt)
    ((first, last, note),) = read_certificates(directory)
    with open_view(directory) as view:
        found = open_certificate(note, view.keys, verify_signature)
        assert (found.first, found.last) == (first, last)
        assert [open_receipt(one, note, view.keys, verify_signature).size for one in receipts] == [2, 3, 4]


def test_each_is_kept_when_the_next_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "SPAN", 2)
    directory = tmp_path / "short"
    create_log(directory, origin="example.com/log")
    receipts = {}
    with Log.open(directory) as log:
        for _ in range(7):
            answer = log.append([EVENT])
            receipts[answer.size] = answer.receipt
    assert len(list(read_certificates(directory))) > 2
    with open_view(directory) as view:
        for size, receipt in receipts.items():
            (note,) = find_certificates(directory, size)
            assert open_receipt(receipt, note, view.keys, verify_signature).size == size
    assert find_certificates(directory, 10**9) == []


def test_a_lost_or_foreign_one_is_made_anew(directory: Path) -> None:
    with Log.open(directory) as log:
        log.append([EVENT])
    (path,) = (directory / FOLDER).iterdir()
    path.write_bytes(path.read_bytes().replace(b"example", b"exampel"))
    (directory / FOLDER / "notes.txt").write_text("not ours")
    (directory / FOLDER / "x.tmp").write_text("unfinished")
    with Log.open(directory) as log:
        receipt = log.append([EVENT]).receipt
    with open_view(directory) as view:
        newest = find_certificates(directory, 3)[0]
        assert open_receipt(receipt, newest, view.keys, verify_signature).size == 3


def test_no_receipt_leaves_before_its_certificate_is_kept(directory: Path) -> None:
    with Log.open(directory) as log:
        log.append([EVENT])
    for path in (directory / FOLDER).iterdir():
        path.unlink()
    (directory / FOLDER).rmdir()
    (directory / FOLDER).write_text("in the way")
    with pytest.raises(Broken, match="certificate of the receipt key"), Log.open(directory) as log:
        log.append([EVENT])
