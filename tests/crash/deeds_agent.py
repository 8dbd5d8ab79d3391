"""What runs beside the log's host: the agent's spool and identity, kept receipts, a program's recorder."""

from pathlib import Path

from crash.deeds import Deed, Promised
from crash.disk import RecordingFiles
from graven.agent.identity import IDENTITY_FILE, load_identity, make_identity
from graven.agent.spool import Batch, Spool
from graven.client.receipts import ReceiptStore, read_receipts
from graven.core.errors import GravenError
from graven.runtime.clock import FixedClock

FILE_BYTES = 700
"""A few batches a file, so that files begin, end and go."""


def spool_act(root: Path, files: RecordingFiles) -> None:
    """Batches put and settled over several files; one more life of the spool in between."""
    number = 0
    for _ in range(2):
        spool = Spool(files, root, bytes_max=1 << 20, file_bytes=FILE_BYTES)
        try:
            for _ in range(4):
                number += 1
                try:
                    sequence = spool.put(_batch(spool, number))
                except GravenError:
                    spool.close()  # as the agent does: after a failure the spool is opened anew
                    spool = Spool(files, root, bytes_max=1 << 20, file_bytes=FILE_BYTES)
                    continue
                files.promise(("put", sequence, number))
            waiting = spool.first(wait_s=0)
            if waiting is not None:
                files.promise(("settling", waiting[0]))
                spool.settle(waiting[0])
        finally:
            spool.close()


def spool_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    """Every batch that was put and not settled comes out once, in order, under its number; the places fit."""
    spool = Spool(files, root, bytes_max=1 << 20, file_bytes=FILE_BYTES)
    assert spool.damaged == []
    put = {one[1]: one[2] for one in promised if isinstance(one, tuple) and one[0] == "put"}
    settled = max((one[1] for one in promised if isinstance(one, tuple) and one[0] == "settling"), default=0)
    assert spool.sequence >= max(put, default=0), "a number given out is given again"
    last = spool.sequence
    held = {}
    while (one := spool.first(wait_s=0)) is not None:
        held[one[0]] = int(one[1].statement)
        if one[0] == last:  # believed from now on, as what moved the places is
            files.promise(("put", last, held[last]))
            break
        files.promise(("settling", one[0]))
        spool.settle(one[0])
    assert list(held) == sorted(held)  # what was settled may be back; the server knows it
    assert [one for one in held if one > settled] == list(range(settled + 1, last + 1))
    for sequence, number in put.items():
        assert sequence <= settled or held.get(sequence) == number, f"batch {sequence} is gone"
    if last in put:
        assert spool.places == {"a": {"offset": put[last]}}
    assert spool.put(_batch(spool, 99)) == last + 1
    files.promise(("put", last + 1, 99))
    spool.close()


def _batch(spool: Spool, number: int) -> Batch:
    return Batch(b"%d" % number, bytes(150), 1, bytes([number]) * 32, spool.digest, {"a": {"offset": number}})


def identity_act(root: Path, files: RecordingFiles) -> None:
    identity = make_identity("host-1")
    identity.save(files, root)
    files.promise(identity.key)
    identity.enrolled("example.com/log", ("v",)).save(files, root)
    files.promise("enrolled")


def identity_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    if not promised and not (root / IDENTITY_FILE).exists():
        return
    identity = load_identity(root)
    assert not promised or identity.key == promised[0]
    assert "enrolled" not in promised or identity.origin == "example.com/log"


def receipts_act(root: Path, files: RecordingFiles) -> None:
    store = ReceiptStore(root / "receipts", file_bytes=300, files=files, clock=FixedClock(1_000))
    for number in range(6):
        try:
            store.keep(b'{"accepted":%d}' % number, b'{"action":"a"}\n', url="https://example.com")
            store.sync()
        except GravenError:
            continue
        files.promise(number)
    store.close()


def receipts_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    kept = [one.answer["accepted"] for one in read_receipts(root / "receipts")]
    assert set(promised) <= set(kept)
    store = ReceiptStore(root / "receipts", files=files, clock=FixedClock(2_000))
    store.keep(b'{"accepted":77}', b"{}", url="https://example.com")
    store.close()
    files.promise(77)


DEEDS = {
    "agent spool": Deed(spool_act, spool_judge),
    "agent identity": Deed(identity_act, identity_judge, may_raise=(OSError,)),
    "kept receipts": Deed(receipts_act, receipts_judge),
}
