"""`TrailSource`: CloudTrail's files as they come, record by record, and a verdict on each digest.

Files come late and out of order, so each folder is listed again from two days before its newest file, and what was
taken is remembered by name. A large file is taken in pieces; the place says how far. A digest is judged when it is
seen: its chain, its signature, and every log file it lists, read again. The verdict is an event; CloudTrail's word on
the hour before stands in the log beside the records.
"""

import gzip
import io
import logging
import queue
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from hashlib import blake2b, sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from graven.agent.notices import TRAIL_DIGEST, notice
from graven.agent.pull.page import records_of
from graven.agent.source import Taken, in_pieces
from graven.agent.trail.digest import ALGORITHM, Digest, Seen, parse_digest, text_signed, verify_signed
from graven.agent.trail.store import TrailStore
from graven.core.errors import BadInput, Broken, Busy, Disproved, GravenError
from graven.event.model import Outcome

TYPE = "aws-cloudtrail"
CONTENT_BYTES_MAX = 1 << 30
PIECES_QUEUED_MAX = 16
BACK_DAYS = 2
PROBLEMS_MAX = 20
PAUSE_S = 5.0

_DAY = re.compile(r"(\d{4})/(\d{2})/(\d{2})/", re.ASCII)
_DIGEST_FOLDER = "CloudTrail-Digest"
_LOGGER = logging.getLogger("graven.agent")


class TrailSource:
    """One store. A thread lists and reads; `take` gives what came. `keys`: CloudTrail's, by fingerprint."""

    def __init__(
        self,
        name: str,
        store: TrailStore,
        places: Mapping[str, Any],
        *,
        keys: Mapping[str, rsa.RSAPublicKey],
        interval_s: float = 60.0,
        first_day: str = "0000/00/00",
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self.name, self._store, self._keys, self._interval_s = name, store, keys, interval_s
        self._prefix, self._first_day = f"trail:{name}:", first_day
        self._days: dict[str, set[str]] = {}  # place key of a folder's day -> names taken, by their hash
        self._chains: dict[str, Seen] = {}  # folder and trail -> its newest digest
        self._open: dict[str, Any] = dict(places.get(f"{self._prefix}open", {}))
        for key, place in places.items():
            if key.startswith(self._prefix + "day:"):
                self._days[key] = set(place["names"])
            elif key.startswith(self._prefix + "digest:"):
                self._chains[key] = Seen.of_place(place)
        self._queue: queue.Queue[Taken] = queue.Queue(PIECES_QUEUED_MAX)
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._error: GravenError | None = None
        self.rounds = 0
        """How often everything there was has been looked at."""
        self._thread = threading.Thread(target=self._run, name=f"graven-agent-{name}", daemon=True)
        self._thread.start()

    def take(self, bytes_max: int) -> list[Taken]:
        """Records and verdicts that came. Raises what stands in the way, when there is nothing else to give."""
        taken: list[Taken] = []
        while bytes_max > 0 and not self._queue.empty():
            taken.append(self._queue.get_nowait())
            bytes_max -= taken[-1].size_bytes
        if not taken and self._error is not None:
            raise self._error
        return taken

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.is_set():
            pause_s = self._interval_s
            try:
                self._look()
                self._error = None
                self.rounds += 1
            except GravenError as error:
                _LOGGER.warning("%s waits: %s", self.name, error)
                self._error = error
                pause_s = float(max(PAUSE_S, error.retry_after_s if isinstance(error, Busy) else 0))
            except Exception as error:
                _LOGGER.exception("%s failed", self.name)
                self._error = Broken(f"reading the trail failed: {type(error).__name__}")
            self._wait(pause_s)

    def _look(self) -> None:
        folders = self._store.folders()
        # Log files first: a digest is judged by files that are there already.
        for folder in sorted(folders, key=lambda one: (_DIGEST_FOLDER in one.split("/"), one)):
            for name in self._store.names(folder, self._since(folder)):
                if self._stop.is_set():
                    return
                key = self._day_key(folder, name)
                if key is not None and _hash(name) not in self._days.get(key, ()):
                    self._file(folder, name, key)

    def _since(self, folder: str) -> str:
        """From which day on a folder is listed; what is older is forgotten."""
        prefix = f"{self._prefix}day:{folder}:"
        days = sorted(key[len(prefix) :] for key in self._days if key.startswith(prefix))
        if not days:
            return self._first_day
        year, month, day = map(int, days[-1].split("/"))
        try:
            since = (date(year, month, day) - timedelta(days=BACK_DAYS)).strftime("%Y/%m/%d")
        except ValueError:
            return self._first_day
        gone = [prefix + one for one in days if one < since]
        for key in gone:
            del self._days[key]
        if gone:
            self._put(Taken(places=dict.fromkeys(gone)))
        return max(since, self._first_day)

    def _day_key(self, folder: str, name: str) -> str | None:
        found = _DAY.match(name[len(folder) + 1 :])
        if found is None or not name.endswith((".json.gz", ".json")):
            return None
        return f"{self._prefix}day:{folder}:{'/'.join(found.groups())}"

    def _file(self, folder: str, name: str, key: str) -> None:
        try:
            data, signature = self._store.read(name)
        except FileNotFoundError:
            return
        try:
            content = _content(data)
        except BadInput as error:
            self._finish(name, key, [self._verdict(name, "failure", [error.what], {})])
            return
        if _DIGEST_FOLDER in folder.split("/"):
            self._finish(name, key, list(self._judge(folder, name, content, signature)))
        else:
            self._records(name, key, content)

    def _records(self, name: str, key: str, content: bytes) -> None:
        """The records of a log file, a piece at a time."""
        try:
            records = records_of(content, "Records", place=name)
        except Broken as error:
            self._finish(name, key, [self._verdict(name, "failure", [error.what], {})])
            return
        around = {"file.path": f"{self._store.bucket}/{name}".lstrip("/")}
        done = int(self._open["done"]) if self._open.get("name") == name else 0
        open_key = f"{self._prefix}open"
        for piece in in_pieces(records[done:]):
            done += len(piece)
            self._open = {"name": name, "done": done}
            self._put(Taken(TYPE, around, piece, {open_key: self._open}))
        self._finish(name, key, [])

    def _finish(self, name: str, key: str, taken: list[Taken]) -> None:
        """The file is done: its name goes into its day, together with what was still to be given."""
        self._days.setdefault(key, set()).add(_hash(name))
        self._open = {}
        last = taken[-1] if taken else Taken()
        last.places |= {key: {"names": sorted(self._days[key])}, f"{self._prefix}open": None}
        for one in taken or [last]:
            self._put(one)

    def _judge(self, folder: str, name: str, content: bytes, signature: str) -> Iterator[Taken]:
        """The verdict on a digest, and on the one before where only now its signature is known."""
        try:
            digest = parse_digest(content)
        except BadInput as error:
            yield self._verdict(name, "failure", [error.what], {})
            return
        problems: list[str] = []
        chain_key = f"{self._prefix}digest:{folder}:{_trail_of(name)}"
        before = self._chains.get(chain_key)
        if not name.endswith(digest.name) or self._store.bucket not in ("", digest.bucket):
            problems.append("it says that it is another file")
        if digest.algorithm != ALGORITHM:
            problems.append("it is signed by an algorithm that is not known")
        if before is not None:
            if digest.previous_name is None or not before.name.endswith(digest.previous_name):
                problems.append("it does not follow the digest before: one is missing, or the chain was begun anew")
            elif digest.previous_hash != before.content_sha256:
                problems.append("the digest before is not the one it names: that one was changed")
            elif not before.proved:
                yield self._later(before, digest.previous_signature or "")
        problems += self._log_files(digest)
        signed, proved = text_signed(digest, content), False
        data: dict[str, Any] = {
            "from": digest.start,
            "until": digest.end,
            "log_files": len(digest.files),
            "follows": digest.previous_name or "",
            "signature": "with the next digest",
        }
        if signature:
            word = self._signature(signed, signature, digest.fingerprint)
            data["signature"], proved = word, word == "good"
            if word == "bad":
                problems.append("its signature is not CloudTrail's")
        seen = Seen(name, sha256(content).hexdigest(), digest.fingerprint, signed, proved)
        self._chains[chain_key] = seen
        outcome: Outcome = "failure" if problems else "success" if proved else "unknown"
        verdict = self._verdict(name, outcome, problems, data)
        verdict.places[chain_key] = seen.to_place()
        yield verdict

    def _later(self, before: Seen, signature: str) -> Taken:
        word = self._signature(before.signed, signature, before.fingerprint)
        outcome: Outcome = "success" if word == "good" else "failure" if word == "bad" else "unknown"
        problems = ["its signature, as the next digest has it, is not CloudTrail's"] if word == "bad" else []
        return self._verdict(before.name, outcome, problems, {"signature": word})

    def _signature(self, signed: str, signature: str, fingerprint: str) -> str:
        try:
            verify_signed(signed, signature, self._keys, fingerprint)
            return "good"
        except BadInput:
            return "not checked: its key is not known here"
        except Disproved:
            return "bad"

    def _log_files(self, digest: Digest) -> list[str]:
        """What is wrong with the log files a digest lists: each is read again."""
        problems: list[str] = []
        for listed in digest.files:
            name = self._name_here(listed.name, digest)
            try:
                content = _content(self._store.read(name)[0])
            except FileNotFoundError:
                problems.append(f"a log file is missing: {listed.name}")
                continue
            except BadInput:
                content = b""
            if listed.hash_algorithm != "SHA-256" or sha256(content).hexdigest() != listed.hash_value:
                problems.append(f"a log file was changed: {listed.name}")
        return problems

    def _name_here(self, name: str, digest: Digest) -> str:
        """A name as the store has it: the store may begin inside the bucket, or hold several of them."""
        for own in self._store.folders():
            root = own.split("/AWSLogs/")[0] if "/AWSLogs/" in own else ""
            if root and name.startswith("AWSLogs/"):
                return f"{root}/{name}"
        return name

    def _verdict(self, name: str, outcome: Outcome, problems: list[str], data: Mapping[str, Any]) -> Taken:
        shown = {"digest": name, "verdict": outcome, **data}
        if problems:
            shown["problems"], shown["problem_count"] = problems[:PROBLEMS_MAX], len(problems)
        what = "CloudTrail's digest " + (
            "holds" if outcome == "success" else problems[0] if problems else "is open yet"
        )
        return notice(TRAIL_DIGEST, what, shown, outcome=outcome)

    def _put(self, taken: Taken) -> None:
        while not self._stop.is_set() and (taken.records or taken.places):
            try:
                self._queue.put(taken, timeout=0.2)
                return
            except queue.Full:
                continue


def _content(data: bytes) -> bytes:
    """A file, uncompressed. Raises BadInput: cut, damaged or beyond the bound."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(CONTENT_BYTES_MAX + 1)
    except (OSError, EOFError, ValueError):
        raise BadInput("a file that cannot be uncompressed") from None
    if len(content) > CONTENT_BYTES_MAX:
        raise BadInput(f"a file of more than {CONTENT_BYTES_MAX} bytes")
    return content


def _trail_of(name: str) -> str:
    """The trail a digest is of: its file name without the time at its end."""
    return name.rpartition("/")[2].rpartition("_")[0]


def _hash(name: str) -> str:
    return blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
