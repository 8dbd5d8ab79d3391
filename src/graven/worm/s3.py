"""A bucket of an S3-compatible store, with versioning and Object Lock in compliance mode.

Many small objects go through obstore (a tenth of boto3's work for each), everything about locks, versions and large
objects through boto3. Both are loaded when a bucket is opened: `pip install graven[s3]`.

Every object is put with its lock, with SHA-256 as checksum, and under `If-None-Match: *`. Whether a store honours that
condition, the doctor finds out; a store that does not only keeps one more version, and readers take the oldest.

Credentials are those of boto3: environment, profile, a credentials file, the machine's own role. They are in no URL,
no error and no log line.
"""

import contextlib
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from graven.core.errors import BadInput, Broken, GravenError
from graven.worm.store import COMPLIANCE, Lock, Part, Taken, Version, versions_of

MULTIPART_BYTES = 16 << 20
"""Larger objects go in parts of this size."""

CONNECTIONS = 32
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 60
ATTEMPTS = 5
_STORES_MAX = 8
_PAGE = 1000
_URL = re.compile(
    r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/((?:[A-Za-z0-9_.=-]+/)*[A-Za-z0-9_.=-]+)/?|/)?", re.ASCII
)
_GONE = ("NoSuchKey", "NoSuchVersion", "404", "NotFound")
_STATUS = re.compile(r"status code: ([0-9]{3})", re.ASCII)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where a bucket is and who asks. None: what boto3 finds in the environment and its files."""

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    credentials_file: str | None = None


class S3Store:
    """One bucket, below one prefix."""

    def __init__(self, url: str, settings: S3Settings | None = None) -> None:
        """Raises BadInput: no such URL, no credentials, or the extra `s3` is not installed. Nothing is asked yet."""
        found = _URL.fullmatch(url)
        if found is None:
            raise BadInput("not the URL of a bucket", place=url[:200], mend="s3://BUCKET/PREFIX")
        self.bucket, self._prefix = found[1], f"{found[2]}/" if found[2] else ""
        self._settings = settings or S3Settings()
        self._url = f"s3://{self.bucket}/{self._prefix}".rstrip("/")
        self._session = _session(self._settings)
        self.client: Any = _client(self._session, self._settings)
        """The boto3 client, for whoever asks what the seam does not offer: the doctor."""
        self._stores: dict[int, Any] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self._url

    def key(self, name: str) -> str:
        """The whole name of an object in its bucket."""
        return self._prefix + name

    def check(self) -> None:
        versioning = self._ask("versioning", lambda: self.client.get_bucket_versioning(Bucket=self.bucket))
        if versioning.get("Status") != "Enabled":
            raise BadInput(
                "the bucket keeps no versions", place=self.url, mend="a bucket made with Object Lock has them"
            )
        if self.lock_configuration() is None:
            raise BadInput(
                "the bucket has no Object Lock, so what is put there can be deleted", place=self.url,
                mend="make a bucket with Object Lock: aws s3api create-bucket --object-lock-enabled-for-bucket",
            )  # fmt: skip

    def lock_configuration(self) -> dict[str, Any] | None:
        """The bucket's Object Lock configuration; None if it has none."""
        try:
            found = self.client.get_object_lock_configuration(Bucket=self.bucket).get("ObjectLockConfiguration")
        except Exception as error:
            if _code(error) in ("ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration"):
                return None
            raise self._broken(error, "its lock configuration") from None
        return found if found and found.get("ObjectLockEnabled") == "Enabled" else None

    def put(self, name: str, data: bytes | Part, *, until_s: int, once: bool = True) -> None:
        if isinstance(data, Part) and data.size <= MULTIPART_BYTES:
            data = _read_part(data, 0, data.size)
        if isinstance(data, Part) or len(data) > MULTIPART_BYTES:
            self._put_parts(name, data, until_s, once)
        else:
            self._put_one(name, data, until_s, once)

    def read(self, version: Version, offset: int = 0, size: int | None = None) -> bytes:
        size = version.size - offset if size is None else min(size, version.size - offset)
        if size <= 0:
            return b""
        import obstore

        options: Any = {"range": (offset, offset + size)}
        if version.id:
            options["version"] = version.id
        try:
            data = bytes(obstore.get(self._store(0), version.name, options=options).bytes())
        except Exception as error:
            raise self._broken(error, version.name) from None
        if len(data) != size:
            raise Broken("an object is shorter than its listing says", place=f"{self.url}/{version.name}")
        return data

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[Version]:
        more: dict[str, Any] = {} if deep else {"Delimiter": "/"}
        held: list[Version] = []
        while True:
            page = self._ask(
                f"the versions of {prefix}",
                lambda more=dict(more): self.client.list_object_versions(  # type: ignore[misc]
                    Bucket=self.bucket, Prefix=self.key(prefix), MaxKeys=_PAGE, **more
                ),
            )
            rows = [self._version(row, marker=False) for row in page.get("Versions", ())]
            rows += [self._version(row, marker=True) for row in page.get("DeleteMarkers", ())]
            rows.sort(key=lambda one: one.name)  # stable: newest first within versions, then markers
            last = page.get("NextKeyMarker") if page.get("IsTruncated") else None
            held += rows
            done = [one for one in held if last is None or one.name != last.removeprefix(self._prefix)]
            held = held[len(done) :] if last is not None else []
            yield from _oldest_first(done)
            if last is None:
                return
            more |= {"KeyMarker": last, "VersionIdMarker": page.get("NextVersionIdMarker") or ""}
            if not more["VersionIdMarker"]:
                del more["VersionIdMarker"]

    def lock(self, version: Version) -> Lock | None:
        try:
            found = self.client.get_object_retention(
                Bucket=self.bucket, Key=self.key(version.name), **_versioned(version)
            )["Retention"]
        except Exception as error:
            if _code(error) in ("NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"):
                return None
            raise self._broken(error, version.name) from None
        mode = str(found.get("Mode", "")).lower()
        return Lock(mode, int(found["RetainUntilDate"].timestamp()), firm=mode == COMPLIANCE)

    def extend(self, version: Version, until_s: int) -> None:
        self._ask(
            version.name,
            lambda: self.client.put_object_retention(
                Bucket=self.bucket, Key=self.key(version.name), **_versioned(version),
                Retention={"Mode": "COMPLIANCE", "RetainUntilDate": datetime.fromtimestamp(until_s, UTC)},
            ),
        )  # fmt: skip

    def _put_one(self, name: str, data: bytes, until_s: int, once: bool) -> None:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            obstore.put(self._store(until_s), name, data, mode="create" if once else "overwrite", use_multipart=False)
        except AlreadyExistsError:
            raise Taken("an object of this name is there already", place=f"{self.url}/{name}") from None
        except Exception as error:
            raise self._broken(error, name) from None

    def _put_parts(self, name: str, data: bytes | Part, until_s: int, once: bool) -> None:
        if once and versions_of(self, name):
            raise Taken("an object of this name is there already", place=f"{self.url}/{name}")
        where = {"Bucket": self.bucket, "Key": self.key(name)}
        size = data.size if isinstance(data, Part) else len(data)
        upload = self._ask(
            name,
            lambda: self.client.create_multipart_upload(
                **where, ChecksumAlgorithm="SHA256", ObjectLockMode="COMPLIANCE",
                ObjectLockRetainUntilDate=datetime.fromtimestamp(until_s, UTC),
            ),
        )["UploadId"]  # fmt: skip
        parts: list[dict[str, object]] = []
        try:
            for number, at in enumerate(range(0, size, MULTIPART_BYTES), 1):
                piece = (
                    _read_part(data, at, MULTIPART_BYTES) if isinstance(data, Part) else data[at : at + MULTIPART_BYTES]
                )
                digest = b64encode(sha256(piece).digest()).decode()
                answer = self._ask(
                    name,
                    lambda piece=piece, number=number, digest=digest: self.client.upload_part(  # type: ignore[misc]
                        **where, UploadId=upload, PartNumber=number, Body=piece, ChecksumSHA256=digest
                    ),
                )
                parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": digest})
            extra = {"IfNoneMatch": "*"} if once else {}
            try:
                self.client.complete_multipart_upload(
                    **where, UploadId=upload, MultipartUpload={"Parts": parts}, **extra
                )
            except Exception as error:
                if _code(error) in ("PreconditionFailed", "412"):
                    raise Taken("an object of this name is there already", place=f"{self.url}/{name}") from None
                raise self._broken(error, name) from None
        except BaseException:
            with contextlib.suppress(Exception):
                self.client.abort_multipart_upload(**where, UploadId=upload)
            raise

    def _store(self, until_s: int) -> Any:
        """obstore's view of the prefix; what it puts is locked until `until_s` (0: for reading)."""
        with self._lock:
            if until_s not in self._stores:
                if len(self._stores) >= _STORES_MAX:
                    self._stores = {0: self._stores[0]} if 0 in self._stores else {}
                self._stores[until_s] = self._make_store(until_s)
            return self._stores[until_s]

    def _make_store(self, until_s: int) -> Any:
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store as Obstore

        endpoint = str(self.client.meta.endpoint_url)
        headers: dict[str, str] = {}
        if until_s:
            until = datetime.fromtimestamp(until_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            headers = {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": until}
        options: Any = {
            "default_headers": headers, "allow_http": endpoint.startswith("http://"),
            "connect_timeout": f"{CONNECT_TIMEOUT_S}s", "timeout": f"{READ_TIMEOUT_S}s",
            "pool_max_idle_per_host": str(CONNECTIONS),
        }  # fmt: skip
        region: Any = self.client.meta.region_name or "us-east-1"
        named = self._settings.endpoint is not None or "amazonaws.com" not in endpoint
        # under this name, or a variable of the environment would go before it
        where: dict[str, Any] = {"aws_endpoint_url_s3": endpoint, "virtual_hosted_style_request": False}
        return Obstore(
            self.bucket, prefix=self._prefix or None, region=region, checksum_algorithm="SHA256",
            credential_provider=Boto3CredentialProvider(self._session),
            client_options=options, retry_config={"max_retries": ATTEMPTS}, **(where if named else {}),
        )  # fmt: skip

    def _version(self, row: dict[str, Any], *, marker: bool) -> Version:
        return Version(
            str(row["Key"]).removeprefix(self._prefix), str(row.get("VersionId") or ""), int(row.get("Size") or 0),
            row["LastModified"].timestamp(), marker, str(row.get("ETag") or ""),
        )  # fmt: skip

    def _ask(self, what: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except Exception as error:
            raise self._broken(error, what) from None

    def _broken(self, error: Exception, what: str) -> GravenError:
        """What a library raised, without anything that it may quote of a request."""
        if isinstance(error, GravenError):
            return error
        code = _code(error)
        place = f"{self.url}: {what}"
        if code in _GONE or type(error).__name__ == "NotFoundError":
            return Broken("an object of the copy is missing", place=place)
        if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
            return BadInput("there are no credentials for the bucket", place=self.url, mend="docs/write-once.md")
        status = _STATUS.search(str(error)) if not code else None
        said = code or (f"status {status[1]}" if status else type(error).__name__)
        return Broken(f"the store says no: {said}", place=place)


def _oldest_first(versions: list[Version]) -> Iterator[Version]:
    at = 0
    while at < len(versions):
        end = at
        while end < len(versions) and versions[end].name == versions[at].name:
            end += 1
        group = versions[at:end]
        yield from reversed([one for one in group if not one.marker])
        yield from (one for one in group if one.marker)
        at = end


def _session(settings: S3Settings) -> Any:
    try:
        import boto3
        import botocore.session
        import obstore  # noqa: F401 - said now rather than in the middle of a round
    except ImportError as error:
        raise BadInput(
            f"buckets need the extra `s3`: {error.name} is not installed", mend="pip install 'graven[s3]'"
        ) from None
    core = botocore.session.Session(profile=settings.profile)
    if settings.credentials_file is not None:
        _check_private(Path(settings.credentials_file))
        core.set_config_variable("credentials_file", settings.credentials_file)
    try:
        session = boto3.Session(botocore_session=core, region_name=settings.region)
        if session.get_credentials() is None:
            raise BadInput(
                "there are no credentials for the bucket",
                mend="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or [worm] profile or credentials_file",
            )
    except GravenError:
        raise
    except Exception as error:
        what = f"the credentials for the bucket cannot be read: {type(error).__name__}"
        raise BadInput(what, mend="see [worm] profile and credentials_file") from None
    return session


def _client(session: Any, settings: S3Settings) -> Any:
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": ATTEMPTS}, connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S, max_pool_connections=CONNECTIONS,
        s3={"addressing_style": "path" if settings.endpoint else "auto"},
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
    )  # fmt: skip
    try:
        region = settings.region or session.region_name or "us-east-1"
        return session.client("s3", endpoint_url=settings.endpoint, region_name=region, config=config)
    except ValueError:
        raise BadInput("not an endpoint", place=(settings.endpoint or "")[:200], mend="https://HOST:PORT") from None


def _check_private(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise BadInput("the credentials file cannot be read", place=f"{path}: {error.strerror}") from None
    if mode & 0o077:
        raise BadInput("the credentials file is open to others", place=str(path), mend=f"chmod 600 {path}")


def _read_part(part: Part, offset: int, size: int) -> bytes:
    size = min(size, part.size - offset)
    try:
        with part.path.open("rb") as file:
            file.seek(part.offset + offset)
            data = file.read(size)
    except OSError as error:
        raise Broken("a file cannot be read", place=f"{part.path}: {error.strerror}") from None
    if len(data) != size:
        raise Broken("a file became shorter while it was copied", place=str(part.path))
    return data


def _versioned(version: Version) -> dict[str, str]:
    return {"VersionId": version.id} if version.id else {}


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    found = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    return re.sub(r"[^A-Za-z0-9.]", "", str(found))[:60]
