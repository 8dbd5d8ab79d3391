"""Syslog to an agent's own doors: over UDP, TCP and a Unix socket, into the log; full, flooded, hostile."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.agents import Running, enrolled, raws, records, wait_for, write_config
from graven.agent.agent import Agent
from graven.agent.config import parse_agent_config
from graven.agent.doors.door import Inlet
from graven.agent.doors.listening import OpenDoor
from graven.agent.source import Taken
from graven.core.errors import BadInput
from server.running import Server

SSHD = b"<86>Mar 11 22:55:%02d web1 sshd[%d]: Failed password for root from 188.124.3.41 port %d ssh2"
DOORS = """
[[syslog]]
name = "ports"
listen = "127.0.0.1:0"
max_message_bytes = 2000
labels = { zone = "a" }

[[syslog]]
name = "unix"
socket = "log.sock"
mode = "0600"
"""


def lines(count: int) -> list[bytes]:
    return [SSHD % (number % 60, number, number % 60_000) for number in range(count)]


def address(agent: Agent, name: str) -> str:
    door = next(one for one in agent.doors if one.name == name)
    assert isinstance(door, OpenDoor)
    return door.addresses[0]


def connect(agent: Agent, name: str = "ports") -> socket.socket:
    host, _, port = address(agent, name).rpartition(":")
    return socket.create_connection((host, int(port)), timeout=180)


@pytest.fixture
def running(server: Server, tmp_path: Path) -> Iterator[Running]:
    config = enrolled(write_config(tmp_path, server.url, DOORS), server)
    with Running(config) as agent:
        yield agent


def test_every_transport_reaches_the_log(server: Server, running: Running, tmp_path: Path) -> None:
    agent, sent = running.agent, lines(300)
    with connect(agent) as stream:
        stream.sendall(b"".join(one + b"\n" for one in sent[:100]))
    with connect(agent) as stream:
        stream.sendall(b"".join(b"%d %b" % (len(one), one) for one in sent[100:200]))
    host, _, port = address(agent, "ports").rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for one in sent[200:250]:
            sender.sendto(one, (host, int(port)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(tmp_path / "log.sock"))
        for one in sent[250:]:
            sender.send(one + b"\0")
        sender.send(b"<13>app: nothing knows this")
    wait_for(lambda: len(raws(server.directory)) == 301)
    assert sorted(raws(server.directory)) == sorted([*sent, b"<13>app: nothing knows this"])
    events = [event for event, raw in records(server.directory) if raw in sent]
    assert {event["labels"]["graven.type"] for event in events} == {"sshd"}
    assert {event["labels"]["syslog.transport"] for event in events} == {"tcp", "udp", "unix"}
    assert not [name for event in events for name in event["labels"] if name in ("graven.otherwise", "graven.key")]
    unix = [event["labels"] for event in events if event["labels"]["syslog.transport"] == "unix"]
    assert {(one["syslog.uid"], one["syslog.pid"]) for one in unix} == {(str(os.getuid()), str(os.getpid()))}
    assert {event["labels"]["zone"] for event in events if event["labels"]["syslog.transport"] == "tcp"} == {"a"}
    fallback = next(event for event, raw in records(server.directory) if raw == b"<13>app: nothing knows this")
    assert fallback["labels"]["graven.type"] == "syslog"


def test_what_cannot_be_framed_is_quarantined_with_its_size(server: Server, running: Running) -> None:
    long = b"<13>" + b"A" * 100_000
    with connect(running.agent) as stream:
        stream.sendall(b"9 <13>first" + b"no count\n" + b"%d %b" % (len(long), long) + b"8 <13>last")
    wait_for(lambda: len(raws(server.directory)) == 4)
    assert raws(server.directory) == [b"<13>first", b"no count", long[: 64 << 10], b"<13>last"]
    kept = [event for event, _ in records(server.directory) if event["action"] == "graven.quarantined"]
    assert [one["data"]["size_bytes"] for one in kept] == [8, len(long)]


def test_a_forged_line_inside_a_message_stays_inside(server: Server, running: Running) -> None:
    evil = SSHD % (1, 1, 1) + b"\n<86>Mar 11 22:55:30 web1 sshd[1]: Accepted password for root from 203.0.113.9"
    with connect(running.agent) as stream:
        stream.sendall(b"%d %b" % (len(evil), evil))
    wait_for(lambda: raws(server.directory))
    time.sleep(0.1)
    assert raws(server.directory) == [evil]


def test_audit_records_of_one_event_are_one_event(server: Server, running: Running, tmp_path: Path) -> None:
    head = b"<13>Nov 22 05:00:00 web audispd: type=%b msg=audit(1364481363.243:7): %b"
    sent = [head % (b"SYSCALL", b"syscall=2 auid=1000"), head % (b"PATH", b'name="/etc/shadow"'), head % (b"EOE", b"")]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(tmp_path / "log.sock"))
        for one in sent:
            sender.send(one)
    wait_for(lambda: raws(server.directory))
    assert raws(server.directory) == [b"\n".join(sent)]


def test_a_full_spool_holds_the_senders_up_and_loses_nothing(server: Server, tmp_path: Path) -> None:
    config = enrolled(write_config(tmp_path, server.url, DOORS), server)
    door = Agent(config)
    try:
        inlet = next(one for one in door.doors if one.name == "ports")
        assert isinstance(inlet, OpenDoor)
        sent = 0
        with connect(door) as stream:
            stream.settimeout(0.5)
            data = b"".join(b"<13>app: %07d " % number + b"x" * 500 + b"\n" for number in range(60_000))
            with pytest.raises(TimeoutError):  # nobody takes: it ends at the sender's own buffer
                while sent < len(data):
                    sent += stream.send(data[sent : sent + 65_536])
            assert sent < len(data)
            stream.settimeout(0.05)
            got: list[bytes] = []
            while sent < len(data):
                got += [record for one in inlet.take(4 << 20) for record in one.records]
                with contextlib.suppress(TimeoutError):
                    sent += stream.send(data[sent : sent + 65_536])
        while len(got) < 60_000:
            got += [record for one in inlet.take(8 << 20) for record in one.records]
        assert [int(one[9:16]) for one in got] == list(range(60_000))
    finally:
        door.close()


def test_too_many_connections_are_turned_away_and_quiet_ones_make_way(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = enrolled(
        write_config(tmp_path, server.url, DOORS.replace("max_mess", "max_connections = 2\nmax_mess", 1)), server
    )
    with Running(config) as running:
        held = [connect(running.agent) for _ in range(2)]
        for one in held:
            one.sendall(b"<13>app: x\n")
        wait_for(lambda: len(raws(server.directory)) == 2)
        with connect(running.agent) as third, contextlib.suppress(ConnectionError):
            assert third.recv(1) == b""
        monkeypatch.setattr("graven.agent.doors.syslog.IDLE_S", 0.0)
        with connect(running.agent) as third:
            third.sendall(b"<13>app: third\n")
            wait_for(lambda: b"<13>app: third" in raws(server.directory))
        for one in held:
            one.close()


def test_lost_datagrams_become_an_event(server: Server, running: Running) -> None:
    door = next(one for one in running.agent.doors if one.name == "ports")
    assert isinstance(door, OpenDoor)
    inner: Any = door._door

    def lose() -> None:
        inner._datagrams.lost += 7
        inner._read_datagrams()
        inner._tell_lost()

    door._thread.soon(lose)
    wait_for(lambda: [event for event, _ in records(server.directory) if event["action"] == "graven.agent.syslog_lost"])
    (told,) = [event for event, _ in records(server.directory) if event["action"] == "graven.agent.syslog_lost"]
    assert told["data"] == {"source": "ports", "count": 7}


def test_the_socket_is_its_owners_and_goes_with_the_agent(server: Server, running: Running, tmp_path: Path) -> None:
    path = tmp_path / "log.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    running.__exit__()
    assert not path.exists()


def test_a_socket_left_behind_goes_but_nothing_else(server: Server, tmp_path: Path) -> None:
    config = enrolled(write_config(tmp_path, server.url, DOORS), server)
    path = tmp_path / "log.sock"
    left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.bind(str(path))
    with pytest.raises(BadInput, match="listens there"):
        Agent(config)
    left.close()
    Agent(config).close()
    path.write_text("a file of somebody's")
    with pytest.raises(BadInput, match="cannot listen"):
        Agent(config)
    assert path.read_text() == "a file of somebody's"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[syslog]]\nname = "x"\nlisten = "0.0.0.0:5514"', "not this host's own"),
        ('[[syslog]]\nname = "x"\nlisten = "10.0.0.1:5514"', "not this host's own"),
        ('[[syslog]]\nname = "x"\nlisten = "host:5514"', "not an address"),
        ('[[syslog]]\nname = "x"\nlisten = "127.0.0.1:99999"', "not an address"),
        ('[[syslog]]\nname = "x"', "a port or a socket"),
        ('[[syslog]]\nname = "x"\nlisten = "127.0.0.1:1"\nsocket = "/a"', "a port or a socket"),
        ('[[syslog]]\nname = "x"\nsocket = "/a"\nmode = "666"', "cannot be used"),
        ('[[http]]\nname = "x"\nlisten = "127.0.0.1:1"', "every user of the host"),
        ('[[http]]\nname = "x"\nlisten = "[::2]:1"\ntoken_file = "t"', "not this host's own"),
        ('[[http]]\nname = "x"\nsocket = "a"\n[[syslog]]\nname = "x"\nsocket = "b"', "the same name"),
    ],
)
def test_doors_that_are_not_well_configured(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parse_agent_config(f'server = "https://x"\nstate = "s"\n{text}\n')


def test_an_inlet_is_bounded_and_says_when_there_is_room_again() -> None:
    told: list[str] = []
    inlet = Inlet(rouse=lambda: told.append("came"), emptied=lambda: told.append("room"), bytes_max=1_000)
    taken = [Taken(records=[bytes(300)]) for _ in range(3)]
    for one in taken:
        inlet.put(one)
    assert not inlet.has_room and told == ["came"] * 3
    assert inlet.withdraw(taken[1]) and not inlet.withdraw(taken[1])
    assert inlet.take(1) == [taken[0]] and inlet.has_room and told[3:] == ["room"]
    assert inlet.take(1 << 20) == [taken[2]] and inlet.take(1 << 20) == []
