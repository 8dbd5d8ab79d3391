"""Audit records that come as messages: those of one event leave as one, whoever sends what between them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from graven.ingest import Pipeline, Record
from graven.ingest.audit_messages import HELD_BYTES_MAX, LINES_MAX, OPEN_MAX, WAIT_S, AuditMessages, Held

AROUND = {"syslog.peer": "192.0.2.1"}
BODIES = {
    b"SYSCALL": b'arch=c000003e syscall=2 success=no exit=-13 ppid=1 auid=1000 uid=1000 comm="cat" exe="/bin/cat"',
    b"CWD": b'cwd="/root"',
    b"PATH": b'item=0 name="/etc/shadow" inode=1 mode=0100600 ouid=0 ogid=0',
    b"PROCTITLE": b"proctitle=636174",
    b"EOE": b"",
}


def message(kind: bytes, serial: int, host: bytes = b"web") -> bytes:
    stamp = b"audit(1364481363.243:%d)" % serial
    return b"<13>Nov 22 05:00:00 %b audispd: type=%b msg=%b: %b" % (host, kind, stamp, BODIES[kind])


def fed(waiting: AuditMessages, *messages: bytes, now_s: float = 0.0, around: dict[str, str] = AROUND) -> list[bytes]:
    out = []
    for one in messages:
        found = waiting.feed(one, around, "syslog", now_s)
        assert found is not None
        out += [held.raw for held in found]
    return out


def test_the_records_of_an_event_leave_as_one() -> None:
    waiting = AuditMessages()
    one = [message(kind, 7) for kind in BODIES]
    other = [message(kind, 8) for kind in BODIES]
    mixed = [each for pair in zip(one, other, strict=True) for each in pair]
    assert fed(waiting, *mixed) == [b"\n".join(one), b"\n".join(other)]
    assert not waiting and waiting.held_bytes == 0
    (event,) = Pipeline().run([Record(b"\n".join(one), "", AROUND, "", "syslog")])
    read = json.loads(event.event)
    assert (event.type, event.quarantined, read["outcome"]) == ("auditd", "", "denied")
    assert read["targets"][0]["id"] == "/etc/shadow"
    assert event.raw == b"\n".join(one)


def test_without_end_records_a_pause_ends_it_and_is_learnt() -> None:
    waiting = AuditMessages()
    one = [message(kind, 7) for kind in BODIES if kind != b"EOE"]
    assert fed(waiting, *one) == []
    assert waiting.due(WAIT_S / 2) == []
    assert [held.raw for held in waiting.due(WAIT_S)] == [b"\n".join(one)]
    two = [message(kind, 9) for kind in BODIES if kind != b"EOE"]
    assert fed(waiting, *two, now_s=10) == [b"\n".join(two)]  # at its command line, at once
    assert waiting.feed(message(b"EOE", 9), AROUND, "syslog", 11) is None  # so it sends them: a record of its own
    three = [message(kind, 10) for kind in BODIES]
    assert fed(waiting, *three, now_s=12) == [b"\n".join(three)]


def test_hosts_and_peers_are_kept_apart() -> None:
    waiting = AuditMessages()
    a, b = message(b"SYSCALL", 7, b"web"), message(b"SYSCALL", 7, b"db")
    fed(waiting, a, b)
    fed(waiting, a, around={"syslog.peer": "192.0.2.2"})
    fed(waiting, a, around={"syslog.peer": "192.0.2.1", "syslog.uid": "1000"})  # a user beside the daemon
    assert [held.raw for held in waiting.flush()] == [a, b, a, a]


def test_what_does_not_wait_passes() -> None:
    waiting = AuditMessages()
    for passing in (
        b"<13>Nov 22 05:00:00 web sshd[1]: Accepted password",
        b"<13>Nov 22 05:00:00 web audispd: type=USER_LOGIN msg=audit(1.1:1): pid=1",
        b"type=audit( nonsense", b"", b"\xff" * 100, b"x" * 2_000 + message(b"SYSCALL", 1),
    ):  # fmt: skip
        assert waiting.feed(passing, AROUND, "syslog", 0) is None
    kernel = b"<5>Nov 22 05:00:00 web kernel: audit: type=1300 audit(1364481363.243:7): arch=c000003e syscall=2"
    assert waiting.feed(kernel, AROUND, "syslog", 0) == []


def test_it_is_bounded_and_drops_nothing() -> None:
    waiting = AuditMessages()
    out: list[Held] = []
    for serial in range(OPEN_MAX + 500):
        out += waiting.feed(message(b"SYSCALL", serial), AROUND, "syslog", 0) or []
    assert len(out) == 500
    large = message(b"SYSCALL", 1) + b" pad=" + b"x" * 700_000
    for number in range(60):
        out += waiting.feed(large.replace(b":1)", b":%d)" % (10**9 + number)), AROUND, "syslog", 0) or []
        assert waiting.held_bytes <= HELD_BYTES_MAX
    out += waiting.flush()
    assert sum(len(held.messages) for held in out) == OPEN_MAX + 500 + 60
    many = [message(b"PATH", 5)] * (LINES_MAX + 5)
    assert len(fed(waiting, *many)) == 1


@given(st.lists(st.tuples(st.sampled_from(list(BODIES)), st.integers(0, 3), st.floats(0, 5)), max_size=40))
def test_every_message_leaves_once(steps: list[tuple[bytes, int, float]]) -> None:
    waiting, now_s, out, sent = AuditMessages(), 0.0, list[bytes](), list[bytes]()
    for kind, serial, pause_s in steps:
        now_s += pause_s
        out += [held.raw for held in waiting.due(now_s)]
        one = message(kind, serial)
        sent.append(one)
        found = waiting.feed(one, AROUND, "syslog", now_s)
        out += [one] if found is None else [held.raw for held in found]
    out += [held.raw for held in waiting.flush()]
    assert sorted(one for raw in out for one in raw.split(b"\n")) == sorted(sent)
    assert waiting.held_bytes == 0


@given(st.binary(max_size=200), st.sampled_from([b"", b"type=SYSCALL msg=audit(", b"<13>x type=1300 audit(1.1:2): "]))
def test_any_bytes_pass_or_wait(data: bytes, start: bytes) -> None:
    waiting = AuditMessages()
    found = waiting.feed(start + data, AROUND, "syslog", 0)
    assert found is None or len(waiting.flush()) + len(found) == 1
