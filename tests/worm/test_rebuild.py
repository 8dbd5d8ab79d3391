"""A directory rebuilt from a copy: what the product's own verifier says of it, and that the log goes on in it."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from graven.app import Log, open_view, public_keys
from graven.core.errors import BadInput, Broken, Disproved
from graven.journal import frame
from graven.journal.segment import list_segments
from graven.keys.keyring import Keyring
from graven.keys.receipts import ReceiptSigner
from graven.keys.signer import LogSigner
from graven.log.verify import Report, verify_directory
from graven.worm import layout
from graven.worm.certificates import NO_CERTIFICATE
from graven.worm.folder import set_immutable
from graven.worm.rebuild import rebuild
from graven.worm.s3 import S3Store
from graven.worm.store import end_of_day
from worm.logs import append, config_of, copy, make_log, objects, store_of


@pytest.fixture(autouse=True)
def removable(tmp_path: Path) -> Iterator[None]:
    yield
    for path in tmp_path.rglob("*"):
        if path.is_file():
            with contextlib.suppress(OSError):
                set_immutable(path, on=False)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy")
    copy(directory)
    return directory


def verdict(directory: Path, original: Path) -> Report:
    keyring = Keyring.open(f"{original}.keys")
    return verify_directory(directory, keys=public_keys(config_of(directory)), keyring=keyring, processes=1)


def test_a_rebuilt_log_is_whole_and_goes_on(log: Path, tmp_path: Path) -> None:
    keys = public_keys(config_of(log))
    with open_view(log) as view:
        event = view.read(500).event
    found = rebuild(store_of(log), tmp_path / "new", keys)
    assert found.report.problems == ()
    report = verdict(tmp_path / "new", log)
    assert report.problems == ()
    assert (report.size, report.payloads) == (701, "all")
    for segment in list_segments(str(log / "journal")):
        assert (tmp_path / "new" / "journal" / segment.name).read_bytes() == Path(segment.path).read_bytes()
    assert (tmp_path / "new" / "log" / "checkpoint").read_bytes() == (log / "log" / "checkpoint").read_bytes()
    shutil.rmtree(log)
    shutil.move(tmp_path / "new", log)
    append(log, 10)
    with open_view(log) as view:
        assert view.size == 711
        assert view.read(500).event == event
    assert verdict(log, log).problems == ()
    copy(log)


def test_certificates_of_the_receipt_key_come_back(log: Path, tmp_path: Path) -> None:
    kept = {path.name: path.read_bytes() for path in (log / "certificates").iterdir()}
    keys, store = public_keys(config_of(log)), store_of(log)
    names = [one.name for one in store.list(layout.CERTIFICATES)]
    assert kept and names == [layout.certificate_name(file, note) for file, note in sorted(kept.items())]
    until_s = end_of_day(0, 40_000)
    other = Keyring.create(str(tmp_path / "thief.keys"), origin=config_of(log).origin)
    forged = ReceiptSigner(other, LogSigner(other)).certificate(1, 9)
    file = f"{1:020d}-{9:020d}"
    good = next(iter(kept.values()))
    for (
        name,
        data,
    ) in (  # whoever can write there: a forged one, a true one under another name, rubbish
        (layout.certificate_name(file, forged), forged),
        (layout.certificate_name(file, good), good),
        (f"{layout.CERTIFICATES}nonsense", b"x"),
    ):
        store.put(name, data, until_s=until_s)
    found = rebuild(store, tmp_path / "new", keys)
    assert {one.what for one in found.report.problems} >= {NO_CERTIFICATE}
    assert len([one for one in found.report.problems if one.what == NO_CERTIFICATE]) == 3
    assert {path.name: path.read_bytes() for path in (tmp_path / "new" / "certificates").iterdir()} == kept
    assert verdict(tmp_path / "new", log).problems == ()


def test_what_was_committed_and_not_published_is_rebuilt_if_wanted(log: Path, tmp_path: Path) -> None:
    with Log.open(log) as open_log:
        open_log.publisher.halt()
        open_log.append([{"action": "t.late"}])
        copy(log)
        keys = public_keys(config_of(log))
        rebuild(store_of(log), tmp_path / "all", keys)
        rebuild(store_of(log), tmp_path / "published", keys, unpublished=False)
    all_, published = verdict(tmp_path / "all", log), verdict(tmp_path / "published", log)
    assert (all_.size, all_.published) == (702, 701)
    assert (published.size, published.published) == (701, 701)
    assert [one.what for one in published.problems if "journal ends" not in one.what] == []


def test_attempts_on_the_bucket_do_not_keep_a_log_from_coming_back(
    tmp_path: Path, make_bucket: Callable[..., str]
) -> None:
    directory = make_log(tmp_path, f"s3://{make_bucket()}/logs/one")
    copy(directory)
    store = store_of(directory)
    assert isinstance(store, S3Store)
    for name, (original,) in objects(store).items():
        store.client.put_object(Bucket=store.bucket, Key=store.key(name), Body=os.urandom(original.size))
        store.client.delete_object(Bucket=store.bucket, Key=store.key(name))
    for name in (
        f"checkpoints/{9**19:020d}.{'0' * 16}",
        f"config/{'0' * 64}.toml",
        "log/handover/1",
        "journal/00000000000000000000.0003.seg",
    ):
        store.client.put_object(Bucket=store.bucket, Key=store.key(name), Body=b"junk")
    found = rebuild(store, tmp_path / "new", public_keys(config_of(directory)))
    assert found.report.exit_code == 1 and found.data_problems == ()
    assert verdict(tmp_path / "new", directory).problems == ()


def test_forged_frames_behind_the_signed_tree_can_be_left_out(tmp_path: Path, make_bucket: Callable[..., str]) -> None:
    directory = make_log(tmp_path, f"s3://{make_bucket()}/logs/one")
    copy(directory)
    store = store_of(directory)
    segment = list_segments(str(directory / "journal"))[-1]
    at = Path(segment.path).stat().st_size
    section = frame.Section(frame.EVENTS, "default", None, 1, bytes(16), bytes(12), frame.NO_ERASURE, b"junk")
    forged = frame.encode_block(start=701, count=1, root=bytes(32), sections=[section])
    store.put(layout.piece_name(segment.name, at, bytes(32)), forged, until_s=end_of_day(0, 30_000))
    keys = public_keys(config_of(directory))
    rebuild(store, tmp_path / "with", keys)
    assert verdict(tmp_path / "with", directory).exit_code == 1
    rebuild(store, tmp_path / "without", keys, unpublished=False)
    assert verdict(tmp_path / "without", directory).problems == ()


def test_a_copy_that_is_not_whole_is_refused_and_nothing_is_left(log: Path, tmp_path: Path) -> None:
    segment = sorted((tmp_path / "copy" / "journal").iterdir())[0]
    with contextlib.suppress(OSError):
        set_immutable(segment, on=False)
    segment.unlink()
    shutil.rmtree(tmp_path / "copy" / "open", ignore_errors=True)
    with pytest.raises(Broken, match="missing"):
        rebuild(store_of(log), tmp_path / "new", public_keys(config_of(log)))
    bundle = tmp_path / "copy" / "log/tile/entries/000"
    with contextlib.suppress(OSError):
        set_immutable(bundle, on=False)
    bundle.chmod(0o600)
    bundle.write_bytes(bytes(34 * 256))
    with pytest.raises((Disproved, Broken)):
        rebuild(store_of(log), tmp_path / "new", public_keys(config_of(log)))
    assert not list(tmp_path.glob("new*"))


def test_something_in_the_way_is_refused(log: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "file").write_text("x")
    with pytest.raises(BadInput, match="something is there"):
        rebuild(store_of(log), tmp_path / "new", public_keys(config_of(log)))


def test_history_and_configuration_come_back(log: Path, tmp_path: Path) -> None:
    append(log, 1)
    copy(log)
    text = (log / "graven.toml").read_text()
    rebuild(store_of(log), tmp_path / "new", public_keys(config_of(log)))
    assert (tmp_path / "new" / "graven.toml").read_text() == text
    kept = {path.name for path in (tmp_path / "new" / "checkpoints").rglob("*") if path.is_file()}
    assert {f"{701:020d}", f"{702:020d}"} <= kept
    assert json.loads((log / "state" / "worm.json").read_text())["size"] == 702
