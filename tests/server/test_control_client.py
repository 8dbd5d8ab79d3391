"""Asking a server over its control socket."""

import socket
import threading
from pathlib import Path

import msgspec
import pytest

from graven.core.errors import BadInput, Broken, Busy, Disproved, GravenError
from graven.event import Refusal
from graven.server.answers import Full, Refused, format_error, status_of
from graven.server.control_client import ControlClient, NoServer, error_of
from graven.server.sockets import bind_control
from server.running import Server


def test_appending_as_the_local_source(server: Server) -> None:
    said = server.control.append(b'{"action":"a"}\n{"action":"b"}')
    assert (said["accepted"], said["state"]) == (2, "committed")
    token = server.token("read")
    stored = server.ask("GET", f"/api/v1/events/{said['first_index']}", token=token).json()
    assert stored["head"]["source_name"] == "local"
    server.control.add_source("batch-job")
    said = server.control.append(b'[{"action":"c"}]', source="batch-job", content_type="application/json", full=True)
    assert said["opened"]["events"]
    with pytest.raises(BadInput, match="not registered"):
        server.control.append(b'{"action":"a"}', source="nobody")


def test_errors_come_back_as_what_they_were(server: Server) -> None:
    with pytest.raises(Refusal) as caught:
        server.control.append(b'{"action":"a"}\n{"action":7}')
    assert [one["position"] for one in caught.value.errors] == [1]


def test_publishing_now(server: Server) -> None:
    said = server.control.append(b'{"action":"a"}')
    shown = server.control.publish()
    assert shown["size"] == said["size"]
    assert shown["checkpoint"].encode() == server.ask("GET", "/log/checkpoint").body


def test_recording_what_was_done_beside_the_server(server: Server) -> None:
    done = server.control.record_act("graven.backup", {"size": 3, "root": "r"}, message="nightly")
    token = server.token("read")
    stored = server.ask("GET", f"/api/v1/events/{done['index']}", token=token).json()["event"]
    assert (stored["action"], stored["message"], stored["data"]) == (
        "graven.backup",
        "nightly",
        {"size": 3, "root": "r"},
    )
    assert server.control.record_act("graven.keys.backup", {"data_keys": 2})["size"] > done["size"]
    for action in ("graven.erasure", "graven.genesis", "graven.token.create", "anything"):
        with pytest.raises(BadInput, match="not recorded this way"):
            server.control.record_act(action, {})


def test_status_says_what_an_operator_needs(server: Server) -> None:
    status = server.control.status()
    assert status["published"]["state"] == "operator-trusted: 0 witnesses"
    assert "witness" in status["note"]
    assert status["queue"] == {"events": 0, "bytes": 0, "events_max": 200_000, "bytes_max": 256 << 20}
    assert status["window"]["ids_max"] == 1_000_000
    assert status["journal"]["segments"] == 1
    assert status["journal"]["bytes"] > 500


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(NoServer):
        ControlClient(tmp_path / "nowhere").status()
    (tmp_path / "state").mkdir()
    with pytest.raises(NoServer):
        ControlClient(tmp_path).status()


def test_a_server_that_goes_away_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    listener = bind_control(tmp_path / "state")

    def hang_up() -> None:
        for answer in (
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\n{}",
        ):
            connection, _ = listener.accept()
            asked = b""
            while not asked.endswith(b'{"action":"x"}'):
                asked += connection.recv(65536)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    try:
        for words in ("went away", "no JSON", "without saying why"):
            with pytest.raises(Broken, match=words):
                ControlClient(tmp_path).append(b'{"action":"x"}')
    finally:
        thread.join(90)
        listener.close()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadInput("bad", place="here", mend="mend it"), 400),
        (Refusal([{"position": 3, "path": "$.a", "what": "w", "mend": "m"}]), 400),
        (Refused(404, "gone", reason="x", mend="look"), 404),
        (Disproved("no", expected="a", found="b", place="p"), 500),
        (Broken("broken", place="disk", mend="replace it"), 500),
        (Busy("later", retry_after_s=7), 503),
        (Full("slower", retry_after_s=3), 429),
    ],
)
def test_every_error_survives_the_way_over_the_socket(error: GravenError, status: int) -> None:
    body, headers = format_error(error)
    back = error_of(msgspec.json.decode(body))
    assert status_of(error) == status
    assert back.exit_code == error.exit_code
    assert str(back) == str(error)
    for key in ("errors", "expected", "found", "retry_after_s"):
        assert getattr(back, key, None) == getattr(error, key, None)
    assert ("Retry-After" in headers) == isinstance(error, Busy)
