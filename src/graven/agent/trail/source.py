"""`TrailSource`: CloudTrail's files as they come, record by record, and a verdict on each digest.

Files come late and out of order, so each folder is listed again from two days before its newest file, and what was
taken is remembered by name. A large file is taken in pieces; the place says how far. A digest is judged when it is
seen: its chain, its signature, and every log file it lists, read again. The verdict is an event; CloudTrail's word on
the hour before stands in the log beside the records.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from hashlib import blake2b
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from graven.agent.notices import TRAIL_DIGEST, notice
from graven.agent.pull.page import records_of
from graven.agent.source import Taken, in_pieces
from graven.agent.threaded import ThreadedSource
from graven.agent.trail.digest import Seen
from graven.agent.trail.judge import DIGEST_FOLDER, Judgement, Verdict, content_of, verdict_of
from graven.agent.trail.store import TrailStore
from graven.core.errors import BadInput, Broken, Busy, GravenError

TYPE = "aws-cloudtrail"
PIECES_QUEUED_MAX = 16
BACK_DAYS = 2
PAUSE_S = 5.0

_DAY = re.compile(r"(\d{4})/(\d{2})/(\d{2})/", re.ASCII)
_LOGGER = logging.getLogger("graven.agent")


class TrailSource(ThreadedSource):
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
        super().__init__(name, queued_max=PIECES_QUEUED_MAX, wait=wait)
        self._store, self._interval_s = store, interval_s
        self._prefix, self._first_day = f"trail:{name}:", first_day
        self._days: dict[str, set[str]] = {}  # place key of a folder's day -> names taken, by their hash
        self._open: dict[str, Any] = dict(places.get(f"{self._prefix}open", {}))
        for key, place in places.items():
            if key.startswith(self._prefix + "day:"):
                self._days[key] = set(place["names"])
        digests = f"{self._prefix}digest:"
        chains = {key[len(digests) :]: Seen.of_place(place) for key, place in places.items() if key.startswith(digests)}
        self._judgement = Judgement(store, keys, chains)
        self.rounds = 0
        """How often everything there was has been looked at."""
        self.start()

    def run(self) -> None:
        while not self.stopped.is_set():
            pause_s = self._interval_s
            try:
                self._look()
                self.error = None
                self.rounds += 1
            except GravenError as error:
                _LOGGER.warning("%s waits: %s", self.name, error)
                self.error = error
                pause_s = float(max(PAUSE_S, error.retry_after_s if isinstance(error, Busy) else 0))
            except Exception as error:
                _LOGGER.exception("%s failed", self.name)
                self.error = Broken(f"reading the trail failed: {type(error).__name__}")
            self.wait(pause_s)

    def _look(self) -> None:
        folders = self._store.folders()
        # Log files first: a digest is judged by files that are there already.
        for folder in sorted(folders, key=lambda one: (DIGEST_FOLDER in one.split("/"), one)):
            for name in self._store.names(folder, self._since(folder)):
                if self.stopped.is_set():
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
            self.put(Taken(places=dict.fromkeys(gone)))
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
            content = content_of(data)
        except BadInput as error:
            self._finish(name, key, [self._notice(verdict_of(name, "failure", [error.what], {}))])
            return
        if DIGEST_FOLDER in folder.split("/"):
            self._finish(name, key, list(self._judge(folder, name, content, signature)))
        else:
            self._records(name, key, content)

    def _records(self, name: str, key: str, content: bytes) -> None:
        """The records of a log file, a piece at a time."""
        try:
            records = records_of(content, "Records", place=name)
        except Broken as error:
            self._finish(name, key, [self._notice(verdict_of(name, "failure", [error.what], {}))])
            return
        around = {"file.path": f"{self._store.bucket}/{name}".lstrip("/")}
        done = int(self._open["done"]) if self._open.get("name") == name else 0
        open_key = f"{self._prefix}open"
        for piece in in_pieces(records[done:]):
            done += len(piece)
            self._open = {"name": name, "done": done}
            self.put(Taken(TYPE, around, piece, {open_key: self._open}))
        self._finish(name, key, [])

    def _finish(self, name: str, key: str, taken: list[Taken]) -> None:
        """The file is done: its name goes into its day, together with what was still to be given."""
        self._days.setdefault(key, set()).add(_hash(name))
        self._open = {}
        last = taken[-1] if taken else Taken()
        last.places |= {key: {"names": sorted(self._days[key])}, f"{self._prefix}open": None}
        for one in taken or [last]:
            self.put(one)

    def _judge(self, folder: str, name: str, content: bytes, signature: str) -> Iterator[Taken]:
        """The verdicts on a digest, as events, and what is needed of it for the next."""
        for verdict in self._judgement.judge(folder, name, content, signature):
            yield self._notice(verdict)

    def _notice(self, verdict: Verdict) -> Taken:
        taken = notice(TRAIL_DIGEST, verdict.message, verdict.data, outcome=verdict.outcome)
        if verdict.seen is not None:
            taken.places[f"{self._prefix}digest:{verdict.chain}"] = verdict.seen.to_place()
        return taken


def _hash(name: str) -> str:
    return blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
