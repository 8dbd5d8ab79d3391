"""What every store must do, done to each: a real bucket, and a directory."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from graven.core.errors import BadInput, Broken
from graven.worm.folder import FolderStore, set_immutable
from graven.worm.s3 import MULTIPART_BYTES, S3Settings, S3Store
from graven.worm.store import DAY_S, Part, Store, Taken, end_of_day, versions_of

UNTIL_S = int(time.time()) + 2 * DAY_S


@pytest.fixture(params=["bucket", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "bucket":
        make: Callable[..., str] = request.getfixturevalue("make_bucket")
        return S3Store(f"s3://{make()}/logs/one")
    return FolderStore(f"file://{tmp_path}/store")


@pytest.fixture(autouse=True)
def removable(tmp_path: Path) -> object:
    """Immutable files would stay behind."""
    yield
    for path in tmp_path.rglob("*"):
        if path.is_file():
            try:
                set_immutable(path, on=False)
            except OSError:
                return


def test_an_object_is_put_once(store: Store) -> None:
    store.check()
    store.put("a/b", b"one", until_s=UNTIL_S)
    with pytest.raises(Taken):
        store.put("a/b", b"two", until_s=UNTIL_S)
    (only,) = versions_of(store, "a/b")
    assert (only.name, only.size, only.marker) == ("a/b", 3, False)
    assert store.read(only) == b"one"
    assert store.read(only, 1, 1) == b"n"
    assert store.read(only, 2, 9) == b"e"
    assert store.read(only, 3, 9) == b""


def test_it_is_locked_for_as_long_as_was_asked_and_longer_if_asked(store: Store) -> None:
    store.put("a", b"one", until_s=UNTIL_S)
    (only,) = versions_of(store, "a")
    lock = store.lock(only)
    assert lock is not None and lock.until_s == UNTIL_S
    store.extend(only, UNTIL_S + DAY_S)
    lock = store.lock(only)
    assert lock is not None and lock.until_s == UNTIL_S + DAY_S


def test_a_large_part_of_a_file_is_put_without_the_rest(store: Store, tmp_path: Path) -> None:
    data = os.urandom(MULTIPART_BYTES + 100)
    (tmp_path / "file").write_bytes(b"before" + data + b"behind")
    store.put("large", Part(tmp_path / "file", 6, len(data)), until_s=UNTIL_S)
    (only,) = versions_of(store, "large")
    assert store.read(only) == data
    assert store.read(only, MULTIPART_BYTES - 1, 2) == data[MULTIPART_BYTES - 1 : MULTIPART_BYTES + 1]
    lock = store.lock(only)
    assert lock is not None and lock.until_s == UNTIL_S
    with pytest.raises(Taken):
        store.put("large", Part(tmp_path / "file", 0, len(data)), until_s=UNTIL_S)


def test_a_file_that_became_shorter_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"short")
    for size in (6, MULTIPART_BYTES + 1):
        with pytest.raises(Broken):
            store.put(f"part{size}", Part(tmp_path / "file", 0, size), until_s=UNTIL_S)
        assert versions_of(store, f"part{size}") == []


def test_names_are_listed_by_prefix_and_by_folder(store: Store) -> None:
    names = ["a", "log/tile/0/000", "log/tile/0/001", "log/tile/0/x001/000", "log/tile/entries/000", "other/b"]
    for name in names:
        store.put(name, name.encode(), until_s=UNTIL_S)
    assert [one.name for one in store.list("")] == names
    assert [one.name for one in store.list("log/tile/0/")] == names[1:4]
    assert [one.name for one in store.list("log/tile/0/", deep=False)] == names[1:3]
    assert [one.name for one in store.list("log/tile/0/00")] == names[1:3]
    assert list(store.list("nothing/")) == []
    assert [one.name for one in versions_of(store, "a")] == ["a"]
    assert versions_of(store, "log") == []


def test_what_is_missing_is_broken(store: Store) -> None:
    store.put("a", b"one", until_s=UNTIL_S)
    (only,) = versions_of(store, "a")
    gone = type(only)("b", only.id, 3, only.modified_s)
    with pytest.raises(Broken):
        store.read(gone)
    with pytest.raises(Broken):
        store.lock(gone)


def test_a_listing_longer_than_a_page(make_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The versions of one name may stand on two pages."""
    monkeypatch.setattr("graven.worm.s3._PAGE", 10)
    store = S3Store(f"s3://{make_bucket()}")
    names = [f"n/{number:04d}" for number in range(24)]
    for name in names:
        store.put(name, b"x", until_s=UNTIL_S)
    for size in range(2, 5):
        store.put(names[8], b"x" * size, until_s=UNTIL_S, once=False)
    found = [(one.name, one.size) for one in store.list("n/")]
    expected = [(name, 1) for name in names]
    assert found == [*expected[:9], (names[8], 2), (names[8], 3), (names[8], 4), *expected[9:]]


def test_a_bucket_without_lock_is_refused(make_bucket: Callable[..., str]) -> None:
    store = S3Store(f"s3://{make_bucket(lock=False)}/x")
    with pytest.raises(BadInput, match=r"no versions|no Object Lock"):
        store.check()
    store.client.put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration={"Status": "Enabled"})
    with pytest.raises(BadInput, match="no Object Lock"):
        store.check()


def test_a_bucket_that_is_not_there_is_broken(credentials: object) -> None:
    with pytest.raises(Broken, match="NoSuchBucket"):
        S3Store("s3://nobody-made-this-one").check()


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///x", "s3://B/x", "s3://bucket/../x y", "s3://user:pw@bucket/x", "http://x"]
)
def test_what_is_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        S3Store(url)


@pytest.mark.parametrize("url", ["file://host/x", "file:x", "s3://x", "file:///a%00b"])
def test_what_is_no_directory_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        FolderStore(url)


@pytest.mark.parametrize("name", ["", "/a", "a/../b", "a//b", "../a"])
def test_no_name_leads_out_of_a_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput):
        FolderStore(f"file://{tmp_path}/store").put(name, b"", until_s=UNTIL_S)


def test_a_link_in_a_directory_is_not_followed(tmp_path: Path) -> None:
    store = FolderStore(f"file://{tmp_path}/store")
    store.check()
    (tmp_path / "secret").write_bytes(b"secret")
    (store.path / "a").symlink_to(tmp_path / "secret")
    (found,) = store.list("")
    with pytest.raises(Broken):
        store.read(found)


def test_credentials_are_in_no_word_that_leaves(credentials: object, make_bucket: Callable[..., str], tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    bucket = make_bucket()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-but-secret")
    store = S3Store(f"s3://{bucket}/x")
    said = [store.url, repr(store)]
    for call in (store.check, lambda: store.put("a", b"x", until_s=UNTIL_S), lambda: list(store.list(""))):
        with pytest.raises(Broken) as caught:
            call()
        said += [str(caught.value), repr(caught.value)]
        assert caught.value.__cause__ is None
    assert not any("wrong-but-secret" in word or "auditkey" in word for word in said)


def test_credentials_come_from_a_private_file(
    credentials: object, make_bucket: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = make_bucket()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(BadInput, match="no credentials"):
        S3Store(f"s3://{bucket}/x")
    file = tmp_path / "credentials"
    file.write_text("[copier]\naws_access_key_id = auditkey\naws_secret_access_key = auditsecret12345\n")
    file.chmod(0o644)
    settings = S3Settings(profile="copier", credentials_file=str(file))
    with pytest.raises(BadInput, match="open to others"):
        S3Store(f"s3://{bucket}/x", settings)
    file.chmod(0o600)
    store = S3Store(f"s3://{bucket}/x", settings)
    store.check()
    store.put("a", b"one", until_s=UNTIL_S)
    assert store.read(versions_of(store, "a")[0]) == b"one"


def test_a_day_ends_when_it_ends() -> None:
    assert end_of_day(0, 0) == DAY_S
    assert end_of_day(DAY_S - 1, 7) == 8 * DAY_S
    assert end_of_day(DAY_S, 7) == 9 * DAY_S
