"""Lines that somebody wrote to deceive, to crash, or to be slow."""

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graven.event import Event, decode_event
from graven.ingest import Pipeline, Record, split_records
from graven.ingest.assemble import RECORD_BYTES_MAX, SHAPES, Assembler
from graven.ingest.normalize import SOURCES
from graven.ingest.protocol.syslog_header import parse_header

PIPELINE = Pipeline()
TEXT_TYPES = ("auditd", "pam", "sshd", "sudo", "su", "cron", "accounts", "syslog", "postgresql", "pgaudit", "cef")
LONG = 200_000
PIECES = (
    " ", "  ", "\t", "a", "0", "=", "a=", ' a="', "'", '"', "(", ")", "[", "]", "{", "}", "<1>", ":", ";", " ; ", "|",
    "\\|", "/", "from 1.2.3.4 port 22", " from a", " port 1", " for x", "user ", "invalid user ",
    "type=A msg=audit(1.0:1): ", "node=a ", "COMMAND=", " ; USER=a", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "41",
    "AUDIT: SESSION,1,1,", '","', ",", "LOG:  ", "DETAIL:  ", "CEF:0|", "LEEF:2.0|", "2026-01-01 00:00:00 UTC ",
    "pam_unix(a:b): ", "\u001d", "\u0000", "audit(", "op=", "old ", "--", "/*", "*", "\n", "é", "‮",
)  # fmt: skip
STARTS = (
    "", "Mar 11 00:00:00 host sshd[3]: ", "Mar 11 00:00:00 host sshd[3]: Failed password for ",
    "<86>Mar 11 00:00:00 host sudo: ", "Mar 11 00:00:00 host sudo: eve : ", "Mar 11 00:00:00 h su: ",
    "Mar 11 00:00:00 h pam: pam_unix(a:b): authentication failure; ",
    "Mar 11 00:00:00 h useradd[1]: change user 'a' ", "Mar 11 00:00:00 h CRON[1]: (root) CMD (",
    "type=SYSCALL msg=audit(1.0:1): ", "type=USER_CMD msg=audit(1.0:1): msg='op=",
    "2026-01-01 00:00:00.000 UTC [1] a@b LOG:  ", "2026-01-01 00:00:00.000 UTC [1] a@b LOG:  AUDIT: SESSION,1,1,",
    "2026-01-01 00:00:00.000 UTC,", "CEF:0|a|b|c|d|e|5|", "LEEF:2.0|a|b|c|d|",
    "<14>1 2026-01-01T00:00:00Z h a p m [x ", "2026-01-01 00:00:00.000 UTC [1] a@b LOG:  statement: ",
)  # fmt: skip


def one(line: str, type_: str = "") -> Event:
    (found,) = PIPELINE.run([Record(line.encode(), type_, {"time": "2026-03-03T00:00:00Z"})])
    assert not found.quarantined, found.quarantined
    return decode_event(found.event)


@given(st.sampled_from(STARTS), st.lists(st.sampled_from(PIECES), max_size=30), st.sampled_from(("", *TEXT_TYPES)))
@settings(max_examples=400)
def test_any_line_becomes_an_event(start: str, pieces: list[str], type_: str) -> None:
    for found in PIPELINE.run([Record((start + "".join(pieces)).encode(), type_)]):
        assert "parser failed" not in found.quarantined
        decode_event(found.event)


@pytest.mark.parametrize("start", STARTS)
def test_long_lines_take_little_time(start: str) -> None:
    """Whatever is repeated: a parser that is not linear takes hours, and meets the time limit."""
    for piece in PIECES:
        line = (start + piece * (LONG // len(piece))).encode()
        for found in PIPELINE.run([Record(line)]):
            decode_event(found.event)


def test_an_address_in_a_user_name_is_not_the_address() -> None:
    event = one(
        "Mar  2 08:14:31 web01 sshd[7]: Failed password for invalid user root from 203.0.113.1 port 1 ssh2"
        " from 198.51.100.9 port 4242 ssh2"
    )
    assert event.origin is not None and event.actor is not None
    assert event.origin.ip == "198.51.100.9"
    assert event.actor.name == "root from 203.0.113.1 port 1 ssh2"


def test_a_user_name_with_a_key_does_not_become_a_login() -> None:
    event = one(
        "Mar  2 08:14:31 web01 sshd[7]: Invalid user Accepted publickey for root from 1.1.1.1 port 1"
        " from 2.2.2.2 port 9"
    )
    assert (event.outcome, event.action) == ("failure", "Invalid user")
    assert event.origin is not None and event.origin.ip == "2.2.2.2"


def test_another_program_cannot_speak_as_sshd() -> None:
    """A message that looks like sshd's is a message of the program that wrote it."""
    event = one("Mar  2 08:14:31 web01 myapp[7]: Accepted password for root from 203.0.113.1 port 1 ssh2")
    assert event.labels is not None and event.labels["graven.type"] == "syslog"
    assert event.outcome is None


def test_a_line_break_in_a_message_forges_no_line() -> None:
    body = b"<14>Mar  2 08:14:31 web01 app: one\n<14>Mar  2 08:14:32 web01 app: two\nwith "
    body += b"<14>Mar  2 08:14:33 web01 sshd[1]: Accepted password for x from 1.1.1.1 port 1\n"
    records = split_records(body)
    assert [record.raw.count(b"\n") for record in records] == [0, 1]
    assert [found.type for found in PIPELINE.run(records)] == ["syslog", "syslog"]


def test_quotes_in_audit_fields_forge_no_field() -> None:
    """auditd writes what could break a line as hexadecimal; a quoted value ends at its quote."""
    event = one(
        "type=USER_LOGIN msg=audit(1.0:1): pid=1 uid=0 auid=4294967295 msg='op=login acct=\"a\" res=failed' res=success"
    )
    assert event.outcome == "failure"
    name = b'x" res=success acct="root'.hex().upper()
    event = one(
        f"type=USER_LOGIN msg=audit(1.0:1): uid=0 auid=4294967295 msg='op=login acct={name} addr=1.2.3.4 res=failed'"
    )
    assert event.actor is not None
    assert (event.actor.name, event.outcome) == ('x" res=success acct="root', "failure")


def test_a_part_of_an_audit_event_has_an_id_of_its_own() -> None:
    path = 'type=PATH msg=audit(1.000:7): item=0 name="/etc/shadow" nametype=NORMAL'
    call = "type=SYSCALL msg=audit(1.000:7): arch=c000003e syscall=257 success=yes exit=3 auid=1000 uid=0 ses=1"
    assert (one(path).id, one(call).id, one(f"{call}\n{path}").id) == ("1.000:7/PATH0", "1.000:7", "1.000:7")


def test_audit_records_are_put_together_however_they_come() -> None:
    def event(serial: int) -> list[bytes]:
        stamp = f"msg=audit(1.000:{serial}): ".encode()
        return [
            b"type=SYSCALL " + stamp + b"syscall=2",
            b"type=CWD " + stamp + b'cwd="/"',
            b"type=PROCTITLE " + stamp + b'proctitle="x"',
        ]

    first, second = event(1), event(2)
    lines = [
        first[0],
        second[0],
        first[1],
        b"type=USER_LOGIN msg=audit(1.000:3): uid=0",
        second[1],
        second[2],
        first[2],
    ]
    assembler = Assembler("auditd")
    assert assembler.feed(lines) == [lines[3], b"\n".join(second), b"\n".join(first)]
    assert not assembler.pending and assembler.flush() == []
    assert assembler.feed([first[0]]) == [] and assembler.pending
    assert assembler.flush() == [first[0]]


def test_audit_events_that_never_end_are_given_up_one_by_one() -> None:
    lines = [f"type=SYSCALL msg=audit(1.000:{serial}): syscall=2".encode() for serial in range(1000)]
    assembler = Assembler("auditd")
    assert [*assembler.feed(lines), *assembler.flush()] == lines


@given(st.sampled_from(SHAPES), st.lists(st.binary(max_size=40), max_size=30))
def test_no_line_is_lost(shape: str, lines: list[bytes]) -> None:
    lines = [line.replace(b"\n", b"").rstrip(b"\r") for line in lines]
    assembler = Assembler(shape)
    records = [*assembler.feed(lines), *assembler.flush()]
    whole = b"".join(line for line in lines if line.strip())  # a blank line means nothing, wherever it stands
    blanks_out = b"".join(line for record in records for line in record.split(b"\n") if line.strip())
    assert blanks_out.strip() == whole.strip() or shape == "auditd"
    assert sum(map(len, lines)) - sum(len(record.replace(b"\n", b"")) for record in records) <= sum(
        len(line) for line in lines if not line.strip()
    )


def test_a_quote_that_never_closes_is_bounded() -> None:
    assembler = Assembler("postgresql-csv")
    lines = [b'2026-01-01 00:00:00.000 UTC,"a","b",1,"', *[b"x" * 1000] * 3000]
    records = [*assembler.feed(lines), *assembler.flush()]
    assert max(map(len, records)) <= RECORD_BYTES_MAX + 1001 and len(records) >= 3


@given(st.text(alphabet=string.printable + "é\u202e\x00", max_size=200))
def test_a_header_never_loses_the_message(text: str) -> None:
    header = parse_header(text)
    assert header.message in text or "\\" in text
    for start in ("<34>", "<34>1 2026-01-01T00:00:00Z h a p m - ", "Mar  2 08:14:31 h a[1]: "):
        parse_header(start + text)


def test_every_text_type_is_in_the_registry() -> None:
    assert set(TEXT_TYPES) <= {source.TYPE for source in SOURCES}
    assert (Path(__file__).parent / "own").is_dir()
