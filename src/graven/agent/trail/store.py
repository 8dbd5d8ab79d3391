"""Where CloudTrail's files are: a folder that they are copied to, or an S3-compatible bucket.

Only what a reader needs: the folders that hold days, the names in them from a day on, and one file. Credentials of a
bucket are those of boto3: environment, profile, a credentials file, the machine's role.
"""

import os
import re
from collections.abc import Iterator
from typing import Any, Protocol

from graven.core.errors import BadInput, Broken, Busy
from graven.runtime.clock import SystemClock

FILE_BYTES_MAX = 256 << 20
DEPTH_MAX = 8

_YEAR = re.compile(r"\d{4}", re.ASCII)


class TrailStore(Protocol):
    """Names are paths below the store's root, with slashes."""

    bucket: str

    def folders(self) -> list[str]:
        """The folders whose folders are years."""

    def names(self, folder: str, day: str) -> Iterator[str]:
        """The files of a folder from this day on (`YYYY/MM/DD`), in order."""

    def read(self, name: str) -> tuple[bytes, str]:
        """A file as it is stored, and its signature from the metadata ("": none). Raises FileNotFoundError, Busy."""


class FolderStore:
    """A folder, as `aws s3 sync` leaves it. A file may have its signature beside it, in `<name>.signature`.

    A file that was written to within `settle_s` seconds is left for later: it may not be whole.
    """

    def __init__(self, root: str, *, settle_s: float = 5.0) -> None:
        self._root, self.bucket, self._settle_s = root.rstrip("/"), "", settle_s
        self._clock = SystemClock()

    def folders(self) -> list[str]:
        found: list[str] = []
        self._walk("", 0, found)
        return sorted(found)

    def names(self, folder: str, day: str) -> Iterator[str]:
        for path in self._files(folder, 0):
            if path[len(folder) + 1 :] >= day:
                yield path

    def read(self, name: str) -> tuple[bytes, str]:
        path = f"{self._root}/{name}"
        if ".." in name.split("/"):  # digests name files: none outside the folder is looked at
            raise FileNotFoundError(path)
        try:
            with open(path, "rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Busy(f"a file cannot be read: {error.strerror}", place=path) from None
        if len(data) > FILE_BYTES_MAX:
            raise Broken(f"a file of more than {FILE_BYTES_MAX} bytes", place=path)
        try:
            with open(path + ".signature") as file:
                return data, file.read(8192).strip()
        except (OSError, UnicodeDecodeError):
            return data, ""

    def _walk(self, folder: str, depth: int, found: list[str]) -> None:
        try:
            names = sorted(entry.name for entry in os.scandir(f"{self._root}/{folder}") if entry.is_dir())
        except OSError:
            return
        if any(_YEAR.fullmatch(name) for name in names):
            found.append(folder)
        elif depth < DEPTH_MAX:
            for name in names:
                self._walk(f"{folder}/{name}".lstrip("/"), depth + 1, found)

    def _files(self, folder: str, depth: int) -> Iterator[str]:
        try:
            entries = sorted(os.scandir(f"{self._root}/{folder}"), key=lambda entry: entry.name)
        except OSError:
            return
        for entry in entries:
            path = f"{folder}/{entry.name}"
            if entry.is_dir() and depth < DEPTH_MAX:
                yield from self._files(path, depth + 1)
            elif entry.is_file() and not entry.name.endswith(".signature") and self._is_settled(entry):
                yield path

    def _is_settled(self, entry: "os.DirEntry[str]") -> bool:
        try:
            return not self._settle_s or abs(self._clock.now_us() / 1e6 - entry.stat().st_mtime) >= self._settle_s
        except OSError:
            return False


class BucketStore:
    """A bucket, below a prefix. Needs the extra `s3`. Raises BadInput."""

    def __init__(
        self, url: str, *, endpoint: str | None, region: str | None, profile: str | None, client: Any = None
    ) -> None:
        found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", url, re.ASCII)
        if found is None:
            raise BadInput("not the URL of a bucket", place=url[:200], mend="s3://BUCKET/PREFIX")
        self.bucket, prefix = found[1], (found[2] or "").strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = client or _client(endpoint, region, profile)

    def folders(self) -> list[str]:
        found: list[str] = []
        self._walk("", 0, found)
        return sorted(found)

    def names(self, folder: str, day: str) -> Iterator[str]:
        start = self._prefix + folder + "/"
        for page in self._pages(Prefix=start, StartAfter=start + day):
            for row in page.get("Contents", ()):
                yield str(row["Key"])[len(self._prefix) :]

    def read(self, name: str) -> tuple[bytes, str]:
        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=self._prefix + name)
            data = answer["Body"].read(FILE_BYTES_MAX + 1)
        except Exception as error:
            if getattr(error, "response", {}).get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                raise FileNotFoundError(name) from None
            raise self._busy(error) from None
        if len(data) > FILE_BYTES_MAX:
            raise Broken(f"an object of more than {FILE_BYTES_MAX} bytes", place=name)
        metadata = {str(key).lower(): str(value) for key, value in answer.get("Metadata", {}).items()}
        return data, metadata.get("signature", "")

    def _walk(self, folder: str, depth: int, found: list[str]) -> None:
        prefix = self._prefix + (f"{folder}/" if folder else "")
        names = [
            str(row["Prefix"])[len(prefix) :].rstrip("/")
            for page in self._pages(Prefix=prefix, Delimiter="/")
            for row in page.get("CommonPrefixes", ())
        ]
        if any(_YEAR.fullmatch(name) for name in names):
            found.append(folder)
        elif depth < DEPTH_MAX:
            for name in names:
                self._walk(f"{folder}/{name}".lstrip("/"), depth + 1, found)

    def _pages(self, **how: str) -> Iterator[dict[str, Any]]:
        try:
            yield from self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **how)
        except Exception as error:
            raise self._busy(error) from None

    def _busy(self, error: Exception) -> Busy:
        code = getattr(error, "response", {}).get("Error", {}).get("Code", type(error).__name__)
        return Busy(f"the bucket cannot be read: {code}", place=self.bucket, retry_after_s=5)


def _client(endpoint: str | None, region: str | None, profile: str | None) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise BadInput("buckets need boto3", mend="pip install graven[s3]") from None
    session = boto3.session.Session(profile_name=profile)
    settings = Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 3, "mode": "standard"})
    return session.client("s3", endpoint_url=endpoint, region_name=region, config=settings)
