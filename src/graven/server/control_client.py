"""Asking a running server over its control socket: what the command line does while a server holds the log.

HTTP over the Unix socket `DIR/state/control.sock` (mode 0600). The server lets in its own user and root, and knows the
caller by what the kernel says of the other end; there is no token. Errors come back as the classes they were raised as.

Not here: waiting. `NoServer` says that nobody listens, and the caller decides whether to try the lock, or again.
"""

import contextlib
import http.client
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from graven.core.errors import BadInput, Broken, Busy, Disproved, GravenError
from graven.core.spelling import encode_base64
from graven.event import Refusal
from graven.ingest.history import Part, encode_parts
from graven.log.acts import rfc3339

SOCKET_NAME = "control.sock"
TIMEOUT_S = 120.0

_ANSWER_BYTES_MAX = 256 << 20

Answer = dict[str, Any]


class NoServer(Broken):
    """No server listens on this log's control socket."""


class ControlClient:
    """One log directory's running server. Each call is one request; nothing is kept open between them.

    Every method raises what the server answered (BadInput, Disproved, Busy, Broken), `NoServer` when nobody listens,
    and Broken when the server went away before it answered: what was asked may or may not have been done.
    """

    def __init__(self, directory: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._state, self._timeout_s = directory.absolute() / "state", timeout_s

    def append(
        self,
        body: bytes,
        *,
        source: str = "local",
        content_type: str = "application/x-ndjson",
        wait: str = "committed",
        full: bool = False,
        on_invalid: str = "refuse",
    ) -> Answer:
        """Append the events of a body, as `POST /api/v1/events` does: the answer, with `accepted`, `receipt` and so on.

        One call is one request: keep it below the server's `max_request_bytes`.
        """
        asked = {"source": source, "wait": wait, "on_invalid": on_invalid} | ({"receipt": "full"} if full else {})
        return self._call("POST", f"/api/v1/events?{urlencode(asked)}", body, content_type)

    def status(self) -> Answer:
        """What `GET /api/v1/status` answers."""
        return self._call("GET", "/api/v1/status")

    def publish(self) -> Answer:
        """Publish the committed tree now: `size`, `root`, and `checkpoint`, the whole signed note."""
        return self._call("POST", "/control/v1/publish")

    def record_act(self, action: str, data: Mapping[str, object], *, message: str = "") -> Answer:
        """Append an act that was done beside the server, such as `graven.backup`: `index` and `size`."""
        return self._send("POST", "/control/v1/acts", {"action": action, "data": data, "message": message})

    def stamp(self, authority: str | None = None) -> Answer:
        """Have the published checkpoint stamped now: `stamps`, a row for each authority asked."""
        return self._send("POST", "/control/v1/stamp", {"authority": authority})

    def take_anchor(self, data: bytes, *, request: bytes | None = None, checkpoint: bytes | None = None) -> Answer:
        """Take an anchor that came by file: `file`, `type`, `size`, `time`, `by`."""
        parts = {"data": data, "request": request, "checkpoint": checkpoint}
        asked = {name: None if part is None else encode_base64(part) for name, part in parts.items()}
        return self._send("POST", "/control/v1/anchors", asked)

    def retry_quarantined(self, *, indexes: Sequence[int] = (), since: int = 0) -> Answer:
        """Read quarantined records again: `read`, `left`, `before`."""
        return self._send("POST", "/control/v1/quarantine/retry", {"indexes": list(indexes), "since": since})

    def import_history(self, source: str, parts: Sequence[Part]) -> Answer:
        """Take parts of files of history: `accepted`, `duplicates`, `quarantined`, `size`."""
        return self._call(
            "POST", f"/api/v1/history/{quote(source, safe='')}", encode_parts(parts), "application/msgpack"
        )

    def history_positions(self, source: str, files: Sequence[str]) -> list[Answer]:
        """How far files, by their SHA-256, are in the log: `records`, `events`, `quarantined`, `done`."""
        target = f"/api/v1/history/{quote(source, safe='')}/positions"
        found: list[Answer] = self._send("POST", target, {"files": list(files)})["positions"]
        return found

    def tokens(self) -> list[Answer]:
        """Every token, without secrets, with its last use."""
        found: list[Answer] = self._call("GET", "/api/v1/tokens")["tokens"]
        return found

    def create_token(
        self, name: str, scopes: Sequence[str], *, owner: str = "", expires_us: int | None = None
    ) -> Answer:
        """A new token: `secret`, shown this once, and `token`, its row."""
        expires = None if expires_us is None else rfc3339(expires_us)
        asked = {"name": name, "scopes": list(scopes), "owner": owner, "expires": expires}
        return self._send("POST", "/api/v1/tokens", asked)

    def revoke_token(self, name_or_id: str) -> Answer:
        """The row of the token that is now revoked."""
        return self._call("DELETE", f"/api/v1/tokens/{quote(name_or_id, safe='')}")

    def sources(self) -> list[Answer]:
        """Every source, page by page."""
        found: list[Answer] = []
        after: int | None = 0
        while after is not None:
            page = self._call("GET", f"/api/v1/sources?after={after}")
            found += page["sources"]
            after = page["next"]
        return found

    def add_source(self, name: str, **fields: object) -> Answer:
        """Register a source; `fields` are `type`, `owner`, `grade`, `class`, `classes`. The new row."""
        return self._send("POST", "/api/v1/sources", {"name": name, **fields})

    def change_source(self, name: str, **fields: object) -> Answer:
        """Change a source; `fields` as in `add_source`, and `expect_s`. The new row."""
        return self._send("PATCH", f"/api/v1/sources/{quote(name, safe='')}", fields)

    def retire_source(self, name: str) -> Answer:
        """The row of the source that is now retired."""
        return self._call("DELETE", f"/api/v1/sources/{quote(name, safe='')}")

    def revoke_agent(self, name: str) -> Answer:
        """The row of the agent that is now revoked."""
        return self._call("DELETE", f"/api/v1/agents/{quote(name, safe='')}")

    def _send(self, method: str, target: str, document: Mapping[str, object]) -> Answer:
        return self._call(method, target, msgspec.json.encode(document), "application/json")

    def _call(self, method: str, target: str, body: bytes | None = None, content_type: str = "") -> Answer:
        connection = _UnixConnection(self._state, self._timeout_s)
        headers = {"Content-Type": content_type} if content_type else {}
        try:
            with contextlib.suppress(BrokenPipeError):  # it refused before it had read all: its answer is there
                connection.request(method, target, body, headers)
            response = connection.getresponse()
            data = response.read(_ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise Broken(
                "the server went away before it answered; it may have done what it was asked",
                place=f"{self._state / SOCKET_NAME}: {type(error).__name__}",
                mend="look at graven status; events sent again with the same ids are stored once",
            ) from None
        finally:
            connection.close()
        try:
            answer: Answer = msgspec.json.decode(data, type=dict[str, Any])
        except msgspec.DecodeError:
            raise Broken("the server's answer is no JSON", place=f"{method} {target.partition('?')[0]}") from None
        if response.status >= 400:
            raise error_of(answer)
        return answer


def connect_control(state: Path) -> socket.socket:
    """A connection to the control socket in `state`, however long its path.

    Raises:
        NoServer: nobody listens there. BadInput: this user may not use it.
    """
    try:
        folder = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NoServer("no server runs over this log", place=f"{state}: {error.strerror}") from None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
    except PermissionError:
        connection.close()
        raise BadInput(
            "the control socket belongs to another user",
            place=str(state / SOCKET_NAME),
            mend="run this as the user the server runs as, or as root",
        ) from None
    except OSError as error:
        connection.close()
        raise NoServer("no server runs over this log", place=f"{state / SOCKET_NAME}: {error.strerror}") from None
    finally:
        os.close(folder)
    return connection


def error_of(answer: Mapping[str, Any]) -> GravenError:
    """The error an answer spells, as the class it was raised as."""
    row = answer.get("error")
    if not isinstance(row, dict):
        return Broken("the server refused without saying why")
    what, place, mend = (str(row.get(key, "")) for key in ("what", "place", "mend"))
    match row.get("kind"):
        case "bad_input" if row.get("errors"):
            return Refusal(row["errors"])
        case "bad_input":
            return BadInput(what, place=place, mend=mend)
        case "disproved":
            expected, found = str(row.get("expected", "")), str(row.get("found", ""))
            return Disproved(what, expected=expected, found=found, place=place, mend=mend)
        case "busy":
            return Busy(what, retry_after_s=int(row.get("retry_after_s", 1)), place=place, mend=mend)
        case _:
            return Broken(what, place=place, mend=mend)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, state: Path, timeout_s: float) -> None:
        super().__init__("graven", timeout=timeout_s)
        self._state = state

    def connect(self) -> None:
        self.sock = connect_control(self._state)
        self.sock.settimeout(self.timeout)
