"""The keyring with its replica and mark, through a change of every key; and what is kept beside a log for ever."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from crash.deeds import Deed, Promised
from crash.disk import RecordingFiles, Tree, read_tree
from graven.anchor.policies import current_policy, keep_policy, load_policy, read_kept
from graven.anchor.stored import keep_anchor, list_anchors, read_anchor
from graven.core.anchored import COSIGNATURE, Anchored
from graven.core.checkpoint import Checkpoint, parse_checkpoint
from graven.core.errors import Broken
from graven.core.note import format_vkey, parse_note
from graven.keys.keyring import Keyring
from graven.keys.receipts import ReceiptSigner
from graven.keys.rewrap import finish_rewrap, rewrap
from graven.keys.rotation import begin, promote, renew_receipt_key
from graven.keys.signer import LogSigner
from graven.log.certificates import SPAN, Certificates, find_certificates

ORIGIN = "example.com/log"
CLASSES = ("default", "graven")


@cache
def made() -> Tree:
    """A keyring that signed a tree of one entry, with keys of one segment."""
    with TemporaryDirectory() as folder:
        keyring = Keyring.create(f"{folder}/k", origin=ORIGIN, replicas=[f"{folder}/r"], scrypt_n=1024)
        keyring.new_data_keys(0, CLASSES)
        LogSigner(keyring).sign_checkpoint(tree(1), 10)
        return read_tree(Path(folder))


def tree(size: int, root: int = 0) -> Checkpoint:
    return Checkpoint(ORIGIN, size, bytes([root]) * 32)


def prepare(root: Path) -> None:
    for path, data in sorted(made().items()):
        if data is None:
            (root / path).mkdir(mode=0o700)
        else:
            (root / path).write_bytes(data)
            (root / path).chmod(0o600)


def opened(root: Path, files: RecordingFiles) -> Keyring:
    return Keyring.open(str(root / "k"), replicas=[str(root / "r")], files=files)


def keyring_act(root: Path, files: RecordingFiles) -> None:
    keyring = opened(root, files)
    files.promise(("keys", 0, keyring.segment_keys(0)))
    sign(keyring, 2, files)
    begin(keyring)
    signer = sign(keyring, 3, files)
    files.promise(("handover", signer.hand_over(11)))
    promote(keyring)
    renew_receipt_key(keyring)
    new_keys(keyring, 7, files)
    rewrap(keyring, None, scrypt_n=1024)
    keyring = opened(root, files)
    gone = next(iter(keyring.segment_keys(7)))
    files.promise(("going", gone))
    keyring.destroy(gone, 7)
    files.promise(("gone", gone))
    sign(keyring, 4, files)


def keyring_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    keyring = opened(root, files)
    finish_rewrap(keyring)  # what a start does
    promote(keyring)
    said = {kind: [one[1:] for one in promised if isinstance(one, tuple) and one[0] == kind] for kind in KINDS}
    signer, top = LogSigner(keyring), 1
    for size, note in said["signed"]:
        top = max(top, size)
        if size == top and signer.highest() != note:  # else it is the newest, as it was
            highest = signer.highest()
            assert highest is not None and _size(highest) >= size, "a signed tree was forgotten"
    for (note,) in said["handover"]:
        assert note in signer.handovers, "a hand-over was forgotten"
    for forked in (tree(top, 1), tree(top - 1)):
        try:
            signer.sign_checkpoint(forked, 20)
        except Broken:
            continue
        raise AssertionError("a fork was signed")
    going, gone = ([one[0] for one in said[kind]] for kind in ("going", "gone"))
    for start, keys in said["keys"]:
        found = keyring.segment_keys(start)
        assert {one: key for one, key in keys.items() if one not in going}.items() <= found.items()
        assert not any(one in found for one in gone), "a destroyed key is back"
    sign(keyring, _size(signer.highest() or b"") + 1, files)
    new_keys(keyring, 9, files)


KINDS = ("keys", "signed", "handover", "going", "gone")


def sign(keyring: Keyring, size: int, files: RecordingFiles) -> LogSigner:
    signer = LogSigner(keyring)
    files.promise(("signed", size, signer.sign_checkpoint(tree(size), 10 + size)))
    return signer


def new_keys(keyring: Keyring, start: int, files: RecordingFiles) -> None:
    made_now = dict(keyring.new_data_keys(start, CLASSES).values())
    files.promise(("keys", start, made_now))


def _size(note: bytes) -> int:
    return parse_checkpoint(parse_note(note).text)[0].size


def kept_prepare(root: Path) -> None:
    prepare(root)
    (root / "log").mkdir(mode=0o700)


def kept_act(root: Path, files: RecordingFiles) -> None:
    """A witness policy, anchors of two days, certificates of two spans: each durable before it is spoken of."""
    keyring = Keyring.open(str(root / "k"))
    signer, log = LogSigner(keyring), root / "log"
    texts = [f"log {format_vkey(signer.keys[0])}\nquorum none\n".encode(), b""]
    texts[1] = b"# another\n" + texts[0]
    for text in texts:
        (root / "policy").write_bytes(text)  # the operator's own file
        keep_policy(files, log, load_policy(root / "policy", signer.keys))
        files.promise(("policy", text))
    note = signer.highest()
    assert note is not None
    for day in (0, 1, 1):
        anchored = Anchored(COSIGNATURE, None, note)
        files.promise(("anchor", keep_anchor(files, log, anchored, time_s=1_790_000_000 + day * 86_400)))
    certificates = Certificates(files, log, ReceiptSigner(keyring, signer))
    for size in (1, 2, SPAN + 2):
        certificates.cover(size, size)
        files.promise(("certificate", size, certificates.note))


def kept_judge(root: Path, files: RecordingFiles, promised: Promised) -> None:
    log = root / "log"
    last = None
    for one in promised:
        assert isinstance(one, tuple)
        if one[0] == "policy":
            last = one[1]
            assert last in [data for _, data in read_kept(log)], "a policy is gone"
        elif one[0] == "anchor":
            assert one[1] in list_anchors(log), "an anchor is gone"
        else:
            assert one[2] in find_certificates(log, one[1]), "a certificate is gone"
    current = current_policy(log)
    assert last is None or (current is not None and current.read_bytes().endswith(last.removeprefix(b"# another\n")))
    for name in list_anchors(log):
        read_anchor(log, name)
    kept_act(root, files)


DEEDS = {
    "keyring": Deed(keyring_act, keyring_judge, prepare, may_raise=(OSError,), cost=12),
    "kept beside the log": Deed(kept_act, kept_judge, kept_prepare, may_raise=(OSError,), cost=4),
}
