"""Senders who write for the eyes and the parsers of others: one record stays one event, and no screen obeys it.

The evil stands in every place that a sender fills: the message, the host, names and values of labels, an event's own
fields. What is stored is what came; what is shown, on a real terminal, is escaped.
"""

import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.running import Server
from server.test_syslog import configured, send

EVIL = {
    "line": "bob\n<86>Mar 11 22:55:30 web1 sshd[1]: Accepted password for root from 203.0.113.9 port 1 ssh2",
    "json": 'bob"}\n{"action":"graven.token.create","actor":{"id":"root"}}',
    "screen": "bob\x1b[2J\x1b[1;1H\x1b]0;owned\x07\x9b31m",
    "bidi": "bob\u202egnp.exe\u2066\u200b",
    "formula": '=HYPERLINK("http://x","ok")',
    "overwrite": "bob\rok  \x08\x08",
    "nul": "bob\x00root",
}
FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "log", configured(tmp_path / "log")) as running:
        yield running


def test_one_record_is_one_event_at_every_door_and_no_screen_obeys_it(server: Server) -> None:
    token, before, sent = server.token("ingest", "read"), server.size, 0
    before = server.size
    for evil in EVIL.values():
        text = json.dumps(evil)
        fields = (
            f'{{"event":{{"message":{text},"user":{text}}},"host":{text},"source":{text},"fields":{{{text}:{text}}}}}'
        )
        assert server.ask("POST", "/services/collector", fields.encode(), token=token).status == 200
        stream = f'{{"streams":[{{"stream":{{"a":{text}}},"values":[["1700000000000000001",{text}]]}}]}}'
        push = server.ask(
            "POST", "/loki/api/v1/push", stream.encode(), token=token, headers={"Content-Type": "application/json"}
        )
        assert push.status == 204, push.body
        attribute = f'{{"key":{text},"value":{{"stringValue":{text}}}}}'
        record = f'{{"body":{{"stringValue":{text}}},"attributes":[{attribute}]}}'
        logs = f'{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}'
        otlp = server.ask("POST", "/v1/logs", logs.encode(), token=token, headers={"Content-Type": "application/json"})
        assert otlp.status == 200, otlp.body
        event = json.dumps({"action": "file.read", "actor": {"id": evil, "name": evil}, "labels": {"a": evil}})
        assert server.ask("POST", "/ingest", event.encode(), token=token).status == 200
        sent += 4
        message = f"<86>Mar 11 22:55:30 web1 sshd[1]: Invalid user {evil} from 203.0.113.9 port 1".encode()
        if b"\0" not in message:  # with octet counting a line break is a character like any other
            send(server, b"%d %b" % (len(message), message))
            sent += 1
        server.wait_for(before + sent)
    assert server.size == before + sent
    for one in server.stored(token, before):
        assert one["event"]["action"] != "graven.token.create"
        assert one["head"]["source_name"] in ("web", "syslog")
        if "graven.type" in (one["event"].get("labels") or {}) and one["event"]["labels"]["graven.type"] == "sshd":
            assert one["event"]["outcome"] == "failure"
    shown = [("show", str(index)) for index in range(before, before + sent, 2)]
    screen = on_a_terminal(server, *shown, ("quarantine", "list"), ("source", "list"), ("status",))
    assert screen.count("file.read") >= len(EVIL) // 2
    assert FORBIDDEN.search(screen) is None, FORBIDDEN.search(screen)
    assert not re.search(r"^<86>|^\{.*graven\.token\.create|^root", screen, re.M)  # nothing forged begins a line


ALL = """
import json, sys
from graven.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["graven", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words
"""


def on_a_terminal(server: Server, *commands: tuple[str, ...]) -> str:
    """What commands write to a real terminal, without the colours that are our own."""
    leader, follower = pty.openpty()
    words = [[*one, "--dir", str(server.directory)] for one in commands]
    arguments = [sys.executable, "-c", ALL, json.dumps(words)]
    process = subprocess.Popen(arguments, stdin=follower, stdout=follower, stderr=follower, close_fds=True)
    os.close(follower)
    found = b""
    while True:
        ready, _, _ = select.select([leader], [], [], 90)
        assert ready, "the command hangs"
        try:
            data = os.read(leader, 65_536)
        except OSError:  # it ended
            break
        if not data:
            break
        found += data
    os.close(leader)
    assert process.wait(90) == 0, found.decode(errors="replace")[-500:]
    text = found.decode("utf-8", "strict").replace("\r\n", "\n")
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
