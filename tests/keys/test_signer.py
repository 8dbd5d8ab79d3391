"""The signers: nothing below the mark, no second tree of one size, the mark durable before the signature leaves."""

from pathlib import Path

import pytest

from graven.core.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.note import COSIG_MLDSA44, ED25519, Note, format_note, open_note, parse_note
from graven.core.receipt import Certificate, Receipt, open_certificate, open_receipt
from graven.keys.keyring import Keyring
from graven.keys.receipts import ReceiptSigner
from graven.keys.signature import verify_signature
from graven.keys.signer import LogSigner
from recording import Recorder

ORIGIN = "example.com/log"
MARK = "highest-checkpoint"


def make(tmp_path: Path, name: str = "a.keys", *, replicas: int = 0, files: Recorder | None = None) -> Keyring:
    places = [str(tmp_path / f"replica{n}") for n in range(replicas)]
    return Keyring.create(str(tmp_path / name), origin=ORIGIN, replicas=places, files=files)


def tree(size: int, root: int = 0, origin: str = ORIGIN) -> Checkpoint:
    return Checkpoint(origin, size, bytes([root]) * 32)


def opened(data: bytes, signer: LogSigner) -> SignedCheckpoint:
    return open_checkpoint(data, signer.keys, verify_signature, require_all=True, only_known=True)


def test_a_checkpoint_has_both_lines_in_order(tmp_path: Path) -> None:
    signer = LogSigner(make(tmp_path))
    assert [(key.name, key.type) for key in signer.keys] == [(ORIGIN, ED25519), (ORIGIN, COSIG_MLDSA44)]
    data = signer.sign_checkpoint(tree(5), 1_700_000_000)
    signed = opened(data, signer)
    assert signed.checkpoint == tree(5)
    assert [(one.key.type, one.time) for one in signed.signed] == [(ED25519, None), (COSIG_MLDSA44, 1_700_000_000)]


def test_the_mark_grows_and_outlives_the_process(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    signer = LogSigner(keyring)
    assert signer.highest() is None
    assert signer.mark_known
    for size in (0, 1, 7):
        data = signer.sign_checkpoint(tree(size), 10)
        assert signer.highest() == data == Path(keyring.directory, MARK).read_bytes()
    assert LogSigner(Keyring.open(keyring.directory)).highest() == data


def test_rollback_and_fork_are_refused(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    LogSigner(keyring).sign_checkpoint(tree(7), 10)
    for signer in (LogSigner(keyring), LogSigner(Keyring.open(keyring.directory))):
        before = signer.highest()
        with pytest.raises(Broken, match="size 7 was signed before, and this one has size 6"):
            signer.sign_checkpoint(tree(6), 11)
        with pytest.raises(Broken, match="another tree of size 7 was signed before"):
            signer.sign_checkpoint(tree(7, 1), 11)
        with pytest.raises(BadInput, match="signs for"):
            signer.sign_checkpoint(tree(8, origin="example.com/other"), 11)
        assert signer.highest() == before
        assert opened(signer.sign_checkpoint(tree(7), 11), signer).checkpoint == tree(7)
    assert LogSigner(keyring).sign_checkpoint(tree(8), 12)


def test_an_old_size_is_never_signed_again(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    data = LogSigner(keyring).sign_checkpoint(tree(7), 10)
    signer = LogSigner(keyring)
    assert [signer.sign_checkpoint(tree(7), time_s) for time_s in (11, 12)] == [data, data]


def test_two_signers_of_one_keyring_do_not_sign_past_each_other(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    first, second = LogSigner(keyring), LogSigner(Keyring.open(keyring.directory))
    data = first.sign_checkpoint(tree(7), 10)
    assert second.sign_checkpoint(tree(7), 11) == data
    second.sign_checkpoint(tree(9), 12)
    with pytest.raises(Broken, match="size 9 was signed before"):
        first.sign_checkpoint(tree(8), 13)


def test_a_mark_that_was_found_is_made_durable_before_its_note_is_used_again(tmp_path: Path) -> None:
    """A crash between the rename and the sync of the directory leaves a mark that a power failure may undo."""
    recorder = Recorder()
    data = LogSigner(make(tmp_path)).sign_checkpoint(tree(7), 10)
    again = LogSigner(Keyring.open(str(tmp_path / "a.keys"), files=recorder))
    recorder.steps.clear()
    assert again.sign_checkpoint(tree(7), 11) == data
    assert recorder.steps[-1] == "sync_dir"
    recorder.steps.clear()
    assert again.sign_checkpoint(tree(7), 12) == data
    assert recorder.steps == []


def test_the_mark_is_durable_in_every_copy_before_the_return(tmp_path: Path) -> None:
    recorder = Recorder()
    keyring = make(tmp_path, replicas=1, files=recorder)
    signer = LogSigner(keyring)
    recorder.steps.clear()
    data = signer.sign_checkpoint(tree(7), 10)
    one = [f"create {MARK}.tmp", f"write {MARK}.tmp", f"sync {MARK}.tmp", f"rename {MARK}.tmp {MARK}", "sync_dir"]
    assert recorder.steps == one * 2
    assert {Path(place, MARK).read_bytes() for place in (keyring.directory, *keyring.replicas)} == {data}
    recorder.steps.clear()
    signer.sign_checkpoint(tree(7), 11)
    assert recorder.steps == []


@pytest.mark.parametrize("step", ["create {}.tmp", "write {}.tmp", "sync {}.tmp", "rename {}.tmp {}", "sync_dir"])
def test_a_failed_write_of_the_mark_gives_no_signature_and_stops_the_signer(tmp_path: Path, step: str) -> None:
    recorder = Recorder()
    keyring = make(tmp_path, files=recorder)
    signer = LogSigner(keyring)
    signer.sign_checkpoint(tree(7), 10)
    recorder.fail_at = step.format(MARK, MARK)
    with pytest.raises(Broken, match="no space"):
        signer.sign_checkpoint(tree(8), 11)
    recorder.fail_at = ""
    with pytest.raises(Broken, match="an earlier write"):
        signer.sign_checkpoint(tree(9), 12)
    again = LogSigner(keyring)
    with pytest.raises(Broken, match="signed before"):
        again.sign_checkpoint(tree(6), 13)
    assert again.sign_checkpoint(tree(9), 13)


def test_a_replica_that_is_away_stops_signing(tmp_path: Path) -> None:
    keyring = make(tmp_path, replicas=1)
    signer = LogSigner(keyring)
    Path(keyring.replicas[0]).rename(tmp_path / "away")
    with pytest.raises(Broken, match="cannot be reached"):
        signer.sign_checkpoint(tree(1), 10)
    assert LogSigner(keyring).highest() is None
    (tmp_path / "away").rename(keyring.replicas[0])
    assert signer.sign_checkpoint(tree(1), 10), "nothing was written, so the signer goes on"


def test_the_newest_mark_of_all_copies_counts(tmp_path: Path) -> None:
    keyring = make(tmp_path, replicas=1)
    signer = LogSigner(keyring)
    old = signer.sign_checkpoint(tree(7), 10)
    new = signer.sign_checkpoint(tree(8), 11)
    for place in (keyring.directory, keyring.replicas[0]):
        Path(place, MARK).write_bytes(old)
        assert LogSigner(keyring).highest() == new
        Path(place, MARK).write_bytes(new)


def test_marks_of_two_histories_are_a_fork(tmp_path: Path) -> None:
    keyring = make(tmp_path, replicas=1)
    mark = Path(keyring.directory, MARK)
    nothing = mark.read_bytes()
    LogSigner(keyring).sign_checkpoint(tree(7), 10)
    other = mark.read_bytes()
    for place in (keyring.directory, keyring.replicas[0]):
        Path(place, MARK).write_bytes(nothing)
    LogSigner(keyring).sign_checkpoint(tree(7, 1), 10)
    mark.write_bytes(other)
    with pytest.raises(Disproved, match="this log forked"):
        LogSigner(keyring)


def test_a_mark_that_is_missing_is_not_known(tmp_path: Path) -> None:
    keyring = make(tmp_path, replicas=1)
    seen = LogSigner(keyring).sign_checkpoint(tree(7), 10)
    Path(keyring.directory, MARK).unlink()
    signer = LogSigner(keyring)
    assert not signer.mark_known
    for size in (0, 7, 8, 1000):
        with pytest.raises(Broken, match="not known") as caught:
            signer.sign_checkpoint(tree(size), 11)
        assert "--seen" in caught.value.mend
    signer.accept_seen(seen)
    assert signer.mark_known
    assert signer.highest() == seen == Path(keyring.directory, MARK).read_bytes()
    assert opened(LogSigner(keyring).sign_checkpoint(tree(8), 11), signer)


def test_what_is_seen_is_verified_and_never_lowers_the_mark(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    signer = LogSigner(keyring)
    old = signer.sign_checkpoint(tree(7), 10)
    new = signer.sign_checkpoint(tree(8), 11)
    signer.accept_seen(old)
    assert signer.highest() == new
    stranger = LogSigner(make(tmp_path, "b.keys")).sign_checkpoint(tree(99), 12)
    with pytest.raises(Disproved, match="no signature by a trusted key"):
        signer.accept_seen(stranger)
    with pytest.raises(Disproved):
        signer.accept_seen(new.replace(b"\n8\n", b"\n9\n"))
    with pytest.raises(BadInput):
        signer.accept_seen(b"not a note")
    assert signer.highest() == new


def test_a_seen_checkpoint_with_foreign_lines_and_one_of_ours(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    note = parse_note(LogSigner(keyring).sign_checkpoint(tree(7), 10))
    foreign = parse_note(LogSigner(make(tmp_path, "b.keys")).sign_checkpoint(tree(7), 10)).signatures
    Path(keyring.directory, MARK).unlink()
    signer = LogSigner(keyring)
    signer.accept_seen(format_note(Note(note.text, (*foreign, note.signatures[0]))))
    data = signer.sign_checkpoint(tree(7), 11)
    assert [one.time for one in opened(data, signer).signed] == [None, 11]
    assert parse_note(data).signatures[0] == note.signatures[0]
    assert signer.sign_checkpoint(tree(7), 12) == data


def test_a_changed_mark_is_refused(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    LogSigner(keyring).sign_checkpoint(tree(7), 10)
    path = Path(keyring.directory, MARK)
    whole = path.read_bytes()
    for at in [*range(120), *range(120, len(whole), 211), len(whole) - 1]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(Broken, match="mark of what was signed is damaged"):
            LogSigner(keyring)
    for cut in (0, 1, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(Broken, match="damaged"):
            LogSigner(keyring)


def test_a_damaged_replica_mark_is_noted(tmp_path: Path) -> None:
    keyring = make(tmp_path, replicas=1)
    LogSigner(keyring).sign_checkpoint(tree(7), 10)
    Path(keyring.replicas[0], MARK).write_bytes(b"damage")
    again = Keyring.open(keyring.directory, replicas=keyring.replicas)
    assert LogSigner(again).sign_checkpoint(tree(8), 10)
    assert "replica0" in again.notes[0]
    assert Path(keyring.replicas[0], MARK).read_bytes() == LogSigner(again).highest()


def test_texts(tmp_path: Path) -> None:
    signer = LogSigner(make(tmp_path))
    note = parse_note(signer.sign_text("some text\nof two lines\n"))
    assert open_note(note, signer.keys[:1], verify_signature, only_known=True)
    for refused in (f"{ORIGIN}\n3\nAAAA\n", f"{ORIGIN}\n", "cosignature/v1\ntime 1\nx\n", "no newline", ""):
        with pytest.raises(BadInput):
            signer.sign_text(refused)


def test_receipts(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    log = LogSigner(keyring)
    signer = ReceiptSigner(keyring, log)
    with pytest.raises(Broken, match="no certificate"):
        signer.sign(5, bytes(32))
    certificate = signer.certificate(3, 1000)
    assert certificate == ReceiptSigner(keyring, log).certificate(3, 1000)
    opened_certificate = open_certificate(certificate, log.keys, verify_signature)
    assert (opened_certificate.origin, opened_certificate.first, opened_certificate.last) == (ORIGIN, 3, 1000)
    assert isinstance(opened_certificate, Certificate)
    assert opened_certificate.key == signer.key
    for size in (3, 500, 1000):
        receipt = signer.sign(size, bytes([size % 256]) * 32)
        assert format_note(parse_note(receipt)) == receipt
        found = open_receipt(receipt, certificate, log.keys, verify_signature)
        assert found == Receipt(ORIGIN, size, bytes([size % 256]) * 32)
    for size in (2, 1001):
        with pytest.raises(Broken, match="no certificate covers"):
            signer.sign(size, bytes(32))
    with pytest.raises(BadInput):
        signer.certificate(5, 4)
    assert signer.sign(5, bytes(32)), "a refused certificate changes nothing"
    assert log.highest() is None, "receipts do not move the mark"


def test_signers_show_no_secret(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    secret = keyring.signing_key("log.ed25519").split("+", 4)[4]
    signer = LogSigner(keyring)
    shown = repr(signer) + repr(signer._signing) + repr(keyring.root_keys()) + repr(keyring)
    assert secret not in shown
    assert "PRIVATE" not in shown
