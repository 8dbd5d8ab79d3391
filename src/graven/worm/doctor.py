"""Is the store write-once? Every forbidden call is tried, on probe objects, and what happened is said plainly.

The probes lie under `probe/`, locked for one day; nothing else in the store is touched, but the bucket's own settings,
which a good store refuses to change: suspending versions, deleting the bucket. What a bad store let pass is put back
where that can be done.

A store is write-once if nothing that is forbidden was let pass. Whether it honours `If-None-Match` is told, too:
without it a name may get a second version, which costs space and no truth.
"""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import urllib3

from graven.core.errors import BadInput, GravenError
from graven.worm import layout
from graven.worm.folder import FolderStore, is_immutable, set_immutable
from graven.worm.s3 import MULTIPART_BYTES, S3Store
from graven.worm.store import DAY_S, Store, Taken, Version, versions_of

PROBE_S = DAY_S
SIDE_DOOR_PORTS = (8888,)
"""Ports on the store's host where SeaweedFS's filer answers by default, past the lock."""

_TIMEOUT_S = 3.0

Outcome = Literal["refused", "let pass", "yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing tried. `bad`: this outcome makes the store not write-once."""

    what: str
    outcome: Outcome
    bad: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was tried. `write_once`: nothing forbidden was let pass, as far as it could be tried."""

    store: str
    trials: tuple[Trial, ...]
    conditional_put: bool | None
    notes: tuple[str, ...] = ()

    @property
    def write_once(self) -> bool:
        return not any(trial.bad for trial in self.trials)

    @property
    def failed(self) -> list[str]:
        return [trial.what for trial in self.trials if trial.bad]


def diagnose(store: Store, *, now_s: int, side_doors: Sequence[str] = ()) -> Diagnosis:
    """Try everything. `side_doors` are base URLs of other doors of the same store, as a filer's.

    Raises BadInput: a store whose lock cannot be asked for at all. Broken: it does not answer.
    """
    if isinstance(store, S3Store):
        return _Bucket(store, now_s).run(side_doors)
    if isinstance(store, FolderStore):
        return _folder(store, now_s)
    raise BadInput("a store of a kind that the doctor does not know", place=store.url)


class _Bucket:
    def __init__(self, store: S3Store, now_s: int) -> None:
        self._store, self._client, self._bucket = store, store.client, store.bucket
        self._until_s = now_s + PROBE_S
        self._trials: list[Trial] = []
        self._notes: list[str] = []
        self._folder = f"{layout.PROBES}{now_s}-{os.urandom(4).hex()}/"

    def run(self, side_doors: Sequence[str]) -> Diagnosis:
        locked = self._store.lock_configuration() is not None
        self._say("Object Lock is on", locked)
        versioning = self._client.get_bucket_versioning(Bucket=self._bucket).get("Status") == "Enabled"
        self._say("every version is kept", versioning)
        if not (locked and versioning):
            return Diagnosis(self._store.url, tuple(self._trials), None, ("nothing else was tried",))
        probe = self._put("locked")
        self._deletions(probe)
        self._locks(probe)
        self._overwriting(probe)
        self._multipart()
        self._bucket_itself()
        self._doors(probe, side_doors)
        self._still(probe)
        conditional = self._conditional()
        if not conditional:
            self._notes.append("If-None-Match is not honoured: a name may get more versions; the oldest is the object")
        return Diagnosis(self._store.url, tuple(self._trials), conditional, tuple(self._notes))

    def _put(self, name: str) -> Version:
        full = self._folder + name
        self._store.put(full, b"a probe of graven worm doctor\n", until_s=self._until_s)
        found = versions_of(self._store, full)
        if not found:
            raise BadInput("the store took an object and does not list it", place=self._store.url)
        return found[0]

    def _where(self, version: Version) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._store.key(version.name), "VersionId": version.id}

    def _deletions(self, probe: Version) -> None:
        where = self._where(probe)
        self._forbid("delete a locked version", lambda: self._client.delete_object(**where))
        self._forbid(
            "delete it with governance bypass",
            lambda: self._client.delete_object(**where, BypassGovernanceRetention=True),
        )
        one = {"Objects": [{"Key": where["Key"], "VersionId": where["VersionId"]}]}

        def many() -> bool:
            answer = self._client.delete_objects(Bucket=self._bucket, Delete=one, BypassGovernanceRetention=True)
            return not answer.get("Errors")

        self._forbid("delete it among several", many)

    def _locks(self, probe: Version) -> None:
        where = self._where(probe)

        def retention(what: str, mode: str, until_s: float, **extra: object) -> None:
            value = {"Mode": mode, "RetainUntilDate": datetime.fromtimestamp(until_s, UTC)}
            self._forbid(what, lambda: self._client.put_object_retention(**where, Retention=value, **extra))

        sooner = self._until_s - PROBE_S / 2
        retention("shorten its lock", "COMPLIANCE", sooner)
        retention("shorten it with governance bypass", "COMPLIANCE", sooner, BypassGovernanceRetention=True)
        retention("make it a governance lock", "GOVERNANCE", self._until_s)
        retention("the same with bypass", "GOVERNANCE", self._until_s, BypassGovernanceRetention=True)
        self._forbid(
            "remove its lock",
            lambda: self._client.put_object_retention(**where, Retention={}, BypassGovernanceRetention=True),
        )
        lock = self._store.lock(probe)
        self._say("it is locked in compliance mode, to the second asked for",
                  lock is not None and lock.firm and abs(lock.until_s - self._until_s) <= 1)  # fmt: skip
        try:
            self._store.extend(probe, self._until_s + 60)
            self._say("its lock can be lengthened", (found := self._store.lock(probe)) is not None
                      and found.until_s >= self._until_s + 59)  # fmt: skip
        except GravenError as error:
            self._trials.append(Trial("its lock can be lengthened", "no", True, error.what))

    def _overwriting(self, probe: Version) -> None:
        """Writing over a name is allowed, and must leave the first version alone; so must deleting without one."""
        key = self._store.key(probe.name)
        before = self._store.read(probe)
        self._client.put_object(Bucket=self._bucket, Key=key, Body=b"written over\n")
        self._client.delete_object(Bucket=self._bucket, Key=key)
        versions = versions_of(self._store, probe.name)
        kept = [one for one in versions if not one.marker and one.id == probe.id]
        self._say("what is written over, or deleted by name, stays as a version",
                  bool(kept) and self._store.read(kept[0]) == before)  # fmt: skip
        oldest = next((one for one in versions if not one.marker), None)
        self._say("versions are listed oldest last", oldest is not None and oldest.id == probe.id)

    def _multipart(self) -> None:
        name = self._folder + "parts"
        self._store.put(name, bytes(MULTIPART_BYTES + 1), until_s=self._until_s)
        found = versions_of(self._store, name)
        lock = self._store.lock(found[0]) if found else None
        self._say("a large object, in parts, is locked as well", lock is not None and lock.firm)
        if found:
            where = self._where(found[0])
            self._forbid("delete such an object", lambda: self._client.delete_object(**where))

    def _bucket_itself(self) -> None:
        suspended = {"Status": "Suspended"}
        if self._forbid(
            "stop keeping versions",
            lambda: self._client.put_bucket_versioning(Bucket=self._bucket, VersioningConfiguration=suspended),
        ):
            with contextlib.suppress(Exception):
                self._client.put_bucket_versioning(Bucket=self._bucket, VersioningConfiguration={"Status": "Enabled"})
        self._forbid("delete the bucket", lambda: self._client.delete_bucket(Bucket=self._bucket))

    def _doors(self, probe: Version, given: Sequence[str]) -> None:
        """Other doors of the same store, past the lock: SeaweedFS's filer, where it is open."""
        host = urlsplit(str(self._client.meta.endpoint_url)).hostname or ""
        aws = host.endswith("amazonaws.com")
        doors = list(given) or ([] if aws else [f"http://{_bracketed(host)}:{port}" for port in SIDE_DOOR_PORTS])
        for door in doors:
            self._door(probe, door.rstrip("/"))

    def _door(self, probe: Version, door: str) -> None:
        what = f"delete a locked version through the filer at {door}"
        pool = urllib3.PoolManager(timeout=urllib3.Timeout(_TIMEOUT_S), retries=False)
        key = quote(f"/buckets/{self._bucket}/{self._store.key(probe.name)}.versions")
        try:
            pool.request("DELETE", f"{door}{key}/v_{probe.id}")
        except (urllib3.exceptions.ReadTimeoutError, urllib3.exceptions.ProtocolError):
            pass  # somebody is there, and may have done it
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            self._trials.append(Trial(what, "refused", False, f"nobody answers: {type(error).__name__}"))
            return
        finally:
            pool.clear()
        time.sleep(0.1)
        kept = any(one.id == probe.id for one in versions_of(self._store, probe.name))
        if kept:
            with contextlib.suppress(GravenError):
                kept = bool(self._store.read(probe))
        self._trials.append(Trial(what, "refused" if kept else "let pass", not kept))

    def _still(self, probe: Version) -> None:
        """Whether the probe is still there and locked, whatever the answers were."""
        kept = any(one.id == probe.id for one in versions_of(self._store, probe.name))
        lock = None
        with contextlib.suppress(GravenError):
            lock = self._store.lock(probe) if kept else None
        firm = lock is not None and lock.firm and lock.until_s >= self._until_s - 1
        self._say("after all that the probe is there, and locked as before", firm)

    def _conditional(self) -> bool:
        name = self._folder + "once"
        self._store.put(name, b"first\n", until_s=self._until_s)
        try:
            self._store.put(name, b"second\n", until_s=self._until_s)
        except Taken:
            return True
        return False

    def _forbid(self, what: str, call: Callable[[], Any]) -> bool:
        """Try something forbidden; whether it was let pass."""
        try:
            passed = call() is not False
            detail = ""
        except Exception as error:
            response = getattr(error, "response", None)
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(response, dict) else 0
            code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else type(error).__name__
            if not 400 <= status < 500 and not isinstance(error, TypeError | ValueError):
                self._trials.append(Trial(what, "unknown", False, f"the store answered {status or code}"))
                return False
            passed, detail = False, str(code)[:60]
        self._trials.append(Trial(what, "let pass" if passed else "refused", passed, detail))
        return passed

    def _say(self, what: str, good: bool) -> None:
        self._trials.append(Trial(what, "yes" if good else "no", not good))


def _folder(store: FolderStore, now_s: int) -> Diagnosis:
    """A directory: what we, who own it, can undo. The immutable attribute is tried by lifting it, and set again."""
    store.check()
    name = f"{layout.PROBES}{now_s}-{os.urandom(4).hex()}"
    store.put(name, b"a probe of graven worm doctor\n", until_s=now_s + PROBE_S)
    path = store.path / name
    trials: list[Trial] = []

    def forbid(what: str, call: Callable[[], object], undo: Callable[[], object] = lambda: None) -> None:
        try:
            call()
        except OSError as error:
            trials.append(Trial(what, "refused", False, error.strerror or ""))
            return
        trials.append(Trial(what, "let pass", True))
        with contextlib.suppress(OSError):
            undo()

    try:
        store.put(name, b"other\n", until_s=now_s)
        conditional = False
    except Taken:
        conditional = True
    held = is_immutable(path)
    moved = path.with_name(path.name + ".moved")
    forbid("make it writable", lambda: path.chmod(0o644), lambda: path.chmod(0o444))
    forbid("shorten its lock", lambda: os.utime(path, (now_s, now_s)))
    forbid("move it away", lambda: path.rename(moved), lambda: moved.rename(path))
    forbid("write over it", lambda: _write_over(path))
    forbid("delete it", path.unlink)
    if held and path.exists():
        forbid("lift the immutable attribute", lambda: set_immutable(path, on=False),
               lambda: set_immutable(path, on=True))  # fmt: skip
    trials.append(Trial("the immutable attribute is set", "yes" if held else "no", False))
    note = (
        "root of the machine that holds the directory can undo all of it: keep it on another machine, or on a NAS that \
keeps retention dates itself"
    )
    return Diagnosis(store.url, tuple(trials), conditional, (note,))


def _write_over(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"x")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
