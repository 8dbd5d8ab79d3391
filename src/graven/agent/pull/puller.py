"""`PullSource`: a service's audit log, page by page, each record once.

    window [high − overlap, until) ─ first page ─ next … last page ─► high = until, and again after the interval

Each page is one step: its records, what tells them apart, and where the next page is are spooled together, so a restart
goes on with the page behind the last that was spooled. Windows overlap, because services show records late and out of
order; what was seen within the overlap is remembered and not taken again. A page that the service no longer knows
begins its window anew. When it is asked too often, it is left alone for as long as it says.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from graven.agent.notices import PULL_GAP, notice
from graven.agent.pull.auth import Auth
from graven.agent.pull.exchange import Answer, Exchange, Refused
from graven.agent.pull.page import identity_of, next_url, records_of, value_at
from graven.agent.pull.preset import Preset, fill
from graven.agent.source import Taken, in_pieces
from graven.agent.threaded import ThreadedSource
from graven.core.errors import BadInput, Broken, Busy, GravenError

PAGES_QUEUED_MAX = 8
PAUSE_S, PAUSE_S_MAX = 1.0, 300.0
FAILED_S = 60.0

_US = 1_000_000
_LOGGER = logging.getLogger("graven.agent")


class State(msgspec.Struct):
    """Where a puller stands; its place is this. Times in µs since the Unix epoch; `url` "" between two windows."""

    high_us: int = 0
    until_us: int = 0
    url: str = ""
    first: str = ""
    last: str = ""
    begun: bool = False


class PullSource(ThreadedSource):
    """One service. A thread asks; `take` gives what came.

    Raises:
        BadInput: values, secret or addresses that cannot be used.
    """

    def __init__(
        self,
        name: str,
        preset: Preset,
        values: Mapping[str, str],
        places: Mapping[str, Any],
        *,
        secret_file: Path | None = None,
        interval_s: float = 60.0,
        history_s: int = 86_400,
        overlap_s: int | None = None,
        ca_file: str | None = None,
        timeout_s: float = 60.0,
        now_s: Callable[[], float] = time.time,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        super().__init__(name, queued_max=PAGES_QUEUED_MAX, wait=wait)
        preset.check(values, name)
        self._preset, self._now_s = preset, now_s
        self._values = {**preset.values, **values}
        self._values = {key: fill(value, self._values) for key, value in self._values.items()}
        self._interval_s = interval_s
        self._overlap_us = (preset.time.overlap_s if overlap_s is None else overlap_s) * _US
        self._key, self._seen_prefix = f"pull:{name}", f"pull:{name}:seen:"
        self._seen: dict[str, str] = {}  # identity -> key of the place that remembers it
        self._buckets: dict[str, int] = {}  # that key -> until when it is wanted
        self._restore(places, history_s)
        url = fill(preset.request.url, self._values)
        hosts = {urlsplit(one).netloc for one in (url, fill(preset.auth.token_url, self._values)) if one}
        self._exchange = Exchange(
            hosts | {fill(host, self._values) for host in preset.hosts},
            ca_file=ca_file, timeout_s=timeout_s, now_s=now_s,
        )  # fmt: skip
        self._exchange.check(url)
        self._auth = Auth(preset.auth, self._values, self._exchange, secret_file=secret_file, now_s=now_s)
        self._asked_s = 0.0
        self.start()

    def close(self) -> None:
        super().close()
        self._exchange.close()

    def _restore(self, places: Mapping[str, Any], history_s: int) -> None:
        place = places.get(self._key)
        self._state = State(high_us=int((self._now_s() - history_s) * _US))
        if place is not None:
            self._state = msgspec.convert(place, State)
        for key, bucket in places.items():
            if key.startswith(self._seen_prefix):
                self._buckets[key] = bucket["until_us"]
                self._seen |= dict.fromkeys(bucket["ids"], key)

    def run(self) -> None:
        failures = 0
        while not self.stopped.is_set():
            try:
                pause_s = self._step()
                failures, self.error = 0, None
            except Busy as error:
                failures += 1
                pause_s = max(float(error.retry_after_s), min(PAUSE_S_MAX, PAUSE_S * 2.0 ** min(failures, 10)))
                _LOGGER.warning("%s waits: %s", self.name, error)
                if failures > 5:
                    self.error = error
            except GravenError as error:
                failures += 1
                pause_s = self._after(error, failures)
            except Exception as error:  # a fault in here: said, and tried again
                _LOGGER.exception("%s failed", self.name)
                self.error, pause_s = Broken(f"pulling failed: {type(error).__name__}"), FAILED_S
            if pause_s > 0:
                self.wait(pause_s)

    def _after(self, error: GravenError, failures: int) -> float:
        """What to do about a refusal: seconds to wait."""
        if isinstance(error, Refused) and error.status == 401 and failures == 1 and self._auth.forget():
            return 0.0
        if isinstance(error, Refused) and self._state.url and self._state.url != self._state.first and failures < 3:
            self._state.url = ""  # the service forgot this page: the window begins anew, what was seen is known
            return PAUSE_S
        _LOGGER.error("%s is refused: %s", self.name, error)
        self.error = error
        return FAILED_S

    def _step(self) -> float:
        """Ask for one page. Returns how long to wait before the next."""
        state = self._state
        if not state.begun and self._preset.request.begin:
            self._begin()
        state.begun = True
        if not state.url:
            wait_s = self._open_window()
            if wait_s > 0:
                return wait_s
        answer = self._ask(state.url)
        empty = True
        for records in self._lists(answer):
            empty = empty and not records
            for piece in in_pieces(records):
                self.put(self._fresh(piece))
        following = next_url(answer, self._preset.paging, first=state.first, last=state.last, empty=empty)
        if following == state.url:
            following = ""  # a service that names a page as its own next has no other
        if following:
            self._exchange.check(following)
            state.url = following
        else:
            state.high_us, state.url = max(state.high_us, state.until_us), ""
        self.put(Taken(places={self._key: msgspec.to_builtins(state)}))
        return 0.0

    def _open_window(self) -> float:
        """Decide on the next window; > 0: it is not time for it yet."""
        state, part, now_s = self._state, self._preset.time, self._now_s()
        ready_us = int((now_s - part.delay_s) * _US)
        behind = state.high_us + part.window_s * _US < ready_us
        due_s = self._asked_s + self._interval_s - now_s
        if not behind and due_s > 0 and self._asked_s:
            return due_s
        if state.high_us >= ready_us:
            return max(1.0, (state.high_us - ready_us) / _US)
        self._asked_s = now_s
        start_us = state.high_us - self._overlap_us
        oldest_us = int((now_s - part.history_s_max) * _US)
        if start_us < oldest_us:
            if state.high_us < oldest_us:
                data = {"source": self.name, "from": _rfc3339(state.high_us), "until": _rfc3339(oldest_us)}
                self.put(notice(PULL_GAP, f"{self.name} no longer gives what was not asked for in time", data))
            start_us = oldest_us
        state.until_us = min(ready_us, max(state.high_us, start_us) + part.window_s * _US)
        self._drop_seen(start_us)
        said = {**self._values, "from": self._time(start_us, up=False), "until": self._time(state.until_us, up=True)}
        request = self._preset.request
        query = {key: fill(value, said) for key, value in request.query.items()}
        url = fill(request.url, said)
        state.first = state.url = url + ("?" + urlencode(query) if query else "")
        if self._preset.paging.kind == "last" and state.last:
            state.url = next_url(
                Answer(b"", {}, url), self._preset.paging, first=state.first, last=state.last, empty=False
            )
        return 0.0

    def _begin(self) -> None:
        """What a service wants once before it gives anything; that it is refused may mean that it was done before."""
        try:
            url = fill(self._preset.request.begin, self._values)
            self._exchange.ask("POST", url, headers=self._auth.headers(), body=b"")
        except Refused as error:
            _LOGGER.info("%s: %s", self.name, error)

    def _ask(self, url: str) -> Answer:
        request = self._preset.request
        headers = {name: fill(value, self._values) for name, value in request.headers.items()}
        body = fill(request.body, self._values).encode() if request.body else None
        return self._exchange.ask(request.method, url, headers={**headers, **self._auth.headers()}, body=body)

    def _lists(self, answer: Answer) -> Iterator[list[bytes]]:
        """The records of a page; where it only names lists of them, one list after the other."""
        part = self._preset.records
        records = records_of(answer.data, part.path, place=answer.place)
        if not part.follow:
            yield records
            return
        for record in records:
            found = value_at(msgspec.json.decode(record), part.follow)
            if not isinstance(found, str):
                raise Broken("the answer is not what the preset says", place=f"{self.name}: {part.follow}")
            url = answer.absolute(found)
            inner = self._exchange.ask("GET", url, headers=self._auth.headers())
            yield records_of(inner.data, "", place=url.partition("?")[0])

    def _fresh(self, records: list[bytes]) -> Taken:
        """Those not seen before, and what they are remembered by."""
        key = f"{self._seen_prefix}{os.urandom(6).hex()}"
        fresh: list[bytes] = []
        ids: list[str] = []
        for record in records:
            identity, shown = identity_of(record, self._preset.records.id)
            self._state.last = shown or self._state.last
            if identity not in self._seen:
                self._seen[identity] = key
                ids.append(identity)
                fresh.append(record)
        if not fresh:
            return Taken()
        until_us = self._state.until_us
        self._buckets[key] = until_us
        around = {"pull.source": self.name}
        return Taken(self._preset.type, around, fresh, {key: {"until_us": until_us, "ids": ids}})

    def _drop_seen(self, start_us: int) -> None:
        """Forget what no window can show again."""
        gone = [key for key, until_us in self._buckets.items() if until_us < start_us]
        if not gone:
            return
        for key in gone:
            del self._buckets[key]
        self._seen = {identity: key for identity, key in self._seen.items() if key in self._buckets}
        self.put(Taken(places=dict.fromkeys(gone)))

    def _time(self, time_us: int, *, up: bool) -> str:
        """A time as the service writes it, never narrowing the window."""
        whole = -(-time_us // _US) if up else time_us // _US
        kind = self._preset.time.format
        if kind == "epoch_s":
            return str(whole)
        if kind == "epoch_ms":
            return str(-(-time_us // 1000) if up else time_us // 1000)
        if kind == "seconds":
            return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def open_puller(
    name: str, preset: Preset, values: Mapping[str, str], places: Mapping[str, Any], **how: Any
) -> PullSource:
    """A puller that is running. Raises BadInput."""
    try:
        return PullSource(name, preset, values, places, **how)
    except msgspec.ValidationError as error:
        raise BadInput("the place kept of this source cannot be read", place=f"{name}: {error}") from None


def _rfc3339(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // _US, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
