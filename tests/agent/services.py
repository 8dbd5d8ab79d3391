"""A service that gives its audit log page by page, as services do: late, twice, out of order, with errors."""

import json
import random
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

PAGE = 7


def seconds(text: str) -> float:
    """A time as presets write it."""
    if text.isdecimal():
        return float(text)
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@dataclass
class Entry:
    number: int
    time_s: float
    shown_s: float
    """When the service first shows it: later than it happened."""


@dataclass
class Service:
    """One service of a kind that a preset describes. `now_s` moves by hand."""

    preset: str
    chance: random.Random
    now_s: float = 1_700_000_000.0
    entries: list[Entry] = field(default_factory=list)
    trouble: float = 0.0
    """How often a request fails, by chance."""
    token: str = "token-1"
    tokens_given: int = 0
    forms: list[dict[str, list[str]]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    begun: bool = False
    evil_next: str = ""

    def __enter__(self) -> "Service":
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service._answer(self)

            def do_POST(self) -> None:
                service._answer(self)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def happen(self, count: int, *, over_s: float, late_s: float) -> None:
        """`count` things happen in the next `over_s` seconds, each shown up to `late_s` later."""
        for _ in range(count):
            at_s = self.now_s + self.chance.uniform(0, over_s)
            self.entries.append(Entry(len(self.entries), at_s, at_s + self.chance.uniform(0, late_s)))

    def record(self, entry: Entry) -> dict[str, Any]:
        iso = datetime.fromtimestamp(entry.time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        name = f"id-{entry.number:05d}"
        shapes: dict[str, dict[str, Any]] = {
            "okta": {"uuid": name, "published": iso, "eventType": "user.session.start"},
            "okta-oauth": {"uuid": name, "published": iso, "eventType": "user.session.start"},
            "github": {"_document_id": name, "@timestamp": int(entry.time_s * 1000), "action": "repo.create"},
            "google-workspace": {"id": {"time": iso, "uniqueQualifier": name, "applicationName": "login"}},
            "microsoft-365": {"Id": name, "CreationTime": iso, "Operation": "UserLoggedIn"},
            "slack": {"id": name, "date_create": int(entry.time_s), "action": "user_login"},
            "auth0": {"log_id": name, "date": iso, "type": "s"},
            "salesforce-setup": {"Id": name, "CreatedDate": iso, "Action": "x"},
            "salesforce-login": {"Id": name, "LoginTime": iso, "Status": "Success"},
        }
        return shapes[self.preset]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        self.requests.append(handler.path)
        if "token" in url.path:
            self.forms.append(parse_qs(body.decode()))
            self.tokens_given += 1
            self.token = f"token-{self.tokens_given}"
            _send(handler, {"access_token": self.token, "expires_in": 3600})
            return
        if self.chance.random() < self.trouble:
            self._fail(handler)
            return
        shown = handler.headers.get("Authorization", "")
        if not shown.endswith(self.token):
            _send(handler, {"error": "who are you"}, 401)
            return
        if url.path.endswith("/start"):
            self.begun = True
            _send(handler, {}, 400)  # it is on already
            return
        self._page(handler, url.path, query)

    def _fail(self, handler: BaseHTTPRequestHandler) -> None:
        how = self.chance.randint(0, 3)
        if how == 0:
            _send(handler, {"error": "broken"}, 500)
        elif how == 1:
            _send(handler, {"error": "slow down"}, 429, {"Retry-After": "2"})
        elif how == 2:
            handler.close_connection = True
            handler.connection.close()
        else:
            _send(handler, {"error": "away"}, 503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})

    def _visible(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.shown_s <= self.now_s]

    def _between(self, start: str, end: str) -> list[Entry]:
        first_s, last_s = seconds(start), seconds(end)
        found = [entry for entry in self._visible() if first_s <= entry.time_s < last_s]
        return sorted(found, key=lambda entry: entry.time_s)

    def _page(self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, str]) -> None:
        kind = self.preset
        if kind == "auth0":
            shown = sorted(self._visible(), key=lambda entry: entry.shown_s)  # its ids are given as they are shown
            if "from" in query:
                after = next(n for n, entry in enumerate(shown) if self.record(entry)["log_id"] == query["from"]) + 1
            else:
                after = 0
            _send(handler, [self.record(entry) for entry in shown[after : after + PAGE]])
            return
        if kind == "microsoft-365" and "/blob/" in path:
            numbers = [int(number) for number in path.rpartition("/")[2].split("-")]
            _send(handler, [self.record(self.entries[number]) for number in numbers])
            return
        if "page" in query:  # the service's own names for a page: window and place
            start, end, at = query["page"].split("|")
        else:
            at = "0"
            if kind == "github":
                start, _, end = query["phrase"].removeprefix("created:").partition("..")
            elif kind.startswith("salesforce"):
                words = query["q"].split() if "q" in query else []
                start, end = words[words.index(">=") + 1], words[words.index("<") + 1]
            elif kind == "slack":
                start, end = query["oldest"], query["latest"]
            elif kind.startswith("okta"):
                start, end = query["since"], query["until"]
            else:
                start, end = query["startTime"], query["endTime"]
        cursor = query.get("pageToken") or query.get("cursor")
        if cursor:
            start, end, at = cursor.split("|")
        found = self._between(start, end)
        place = int(at)
        some = found[place : place + PAGE]
        records = [self.record(entry) for entry in some]
        if kind in ("google-workspace", "slack"):
            records.reverse()
        if records and self.chance.random() < 0.3:
            records.append(records[0])  # twice in a page
        more = f"{start}|{end}|{place + PAGE - 1}" if place + PAGE < len(found) else ""  # pages overlap by one
        self._send_page(handler, path, records, some, more)

    def _send_page(
        self, handler: BaseHTTPRequestHandler, path: str, records: list[Any], some: list[Entry], more: str
    ) -> None:
        kind = self.preset
        following = f"{self.base}{path}?{urlencode({'page': more})}" if more else ""
        if self.evil_next:
            following = more = self.evil_next
        headers: dict[str, str] = {}
        answer: Any
        if kind.startswith("okta") or kind == "github":
            answer = records
            if following:
                headers["Link"] = f'<{self.base}/first>; rel="self", <{following}>; rel="next"'
        elif kind == "google-workspace":
            answer = {"kind": "x", "items": records} | ({"nextPageToken": more} if more else {})
            if not records:
                del answer["items"]
        elif kind == "slack":
            answer = {"entries": records, "response_metadata": {"next_cursor": more}}
        elif kind == "microsoft-365":
            names = "-".join(str(entry.number) for entry in some)
            answer = [{"contentUri": f"{self.base}/blob/{names}"}] if some else []
            if following:
                headers["NextPageUri"] = following
        else:
            answer = {"done": not more, "records": records}
            if following:
                answer["nextRecordsUrl"] = following if self.evil_next else following.removeprefix(self.base)
        _send(handler, answer, 200, headers)


def _send(
    handler: BaseHTTPRequestHandler, answer: Any, status: int = 200, headers: dict[str, str] | None = None
) -> None:
    data = json.dumps(answer).encode()
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
