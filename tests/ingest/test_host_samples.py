"""Every file of hosts and databases is read, also where nobody says what it is; none of its records is quarantined."""

import json
from pathlib import Path

import pytest

from graven.event import decode_event
from graven.ingest import Pipeline, Record, split_records

SAMPLES = {
    "auditd-golibaudit/*": {"auditd"},
    "plaso/selinux.log": {"auditd"},
    "pgaudit/*": {"pgaudit"},
    "plaso/postgresql.log": {"postgresql"},
    "plaso/syslog_ssh.log": {"sshd"},
    "sshd-crowdsec/*": {"sshd"},
    "plaso/syslog_cron.log": {"cron"},
    "plaso/syslog": {"syslog", "cron"},
    "plaso/syslog_*": {"syslog", "cron", "sshd"},
}
OWN = {
    "accounts.log": {"accounts"},
    "cef.log": {"cef"},
    "ecs.jsonl": {"ecs"},
    "ocsf.jsonl": {"ocsf"},
    "pam.log": {"pam"},
    "pam-written.log": {"pam"},
    "postgresql.csv": {"postgresql", "pgaudit"},
    "postgresql.jsonl": {"postgresql", "pgaudit"},
    "postgresql.log": {"postgresql", "pgaudit"},
    "su.log": {"su"},
    "su-written.log": {"su"},
    "sudo.log": {"sudo"},
    "sudo-written.log": {"sudo"},
    "windows.jsonl": {"windows"},
}


def check(path: Path, types: set[str]) -> int:
    records = split_records(path.read_bytes())
    found = Pipeline().run(records)
    assert len(found) >= len(records) > 0
    for one in found:
        assert (one.quarantined, one.type in types) == ("", True), (path.name, one.raw, one.type)
        decode_event(one.event)
    return len(found)


@pytest.mark.parametrize("pattern", SAMPLES)
def test_published_samples(pattern: str, shared: Path) -> None:
    paths = sorted((shared / "samples").glob(pattern))
    assert paths
    assert sum(check(path, SAMPLES[pattern]) for path in paths) > 0


@pytest.mark.parametrize("name", OWN)
def test_own_samples(name: str) -> None:
    assert check(Path(__file__).parent / "own" / name, OWN[name]) >= 4


def test_lines_of_a_file_stand_in_some_event(shared: Path) -> None:
    """Putting lines together loses none: every line is in the raw of an event."""
    for path in sorted((shared / "samples" / "auditd-golibaudit").glob("*.log")):
        raws = b"\n".join(record.raw for record in split_records(path.read_bytes()))
        assert sorted(raws.split(b"\n")) == sorted(path.read_bytes().rstrip(b"\n").split(b"\n"))


def journal(message: str, **fields: str) -> bytes:
    entry = {
        "__CURSOR": "s=1;i=2", "__REALTIME_TIMESTAMP": "1772439271204000", "_HOSTNAME": "web01", "_PID": "77",
        "_TRANSPORT": "syslog", "_UID": "0", "_BOOT_ID": "b1", "MESSAGE": message,
    }  # fmt: skip
    return json.dumps(entry | fields).encode()


@pytest.mark.parametrize(
    ("program", "message", "type_", "action"),
    [
        ("sshd", "Accepted password for mara from 203.0.113.7 port 50212 ssh2", "sshd", "Accepted password"),
        ("sudo", "pam_unix(sudo:session): session closed for user root", "pam", "session closed"),
        ("userdel", "delete user 'eve'", "accounts", "delete user"),
        ("nginx", "reloading", "syslog", "nginx"),
    ],
)  # fmt: skip
def test_the_journal(program: str, message: str, type_: str, action: str) -> None:
    """journald's JSON is read as the line of the program it holds, with the journal's own time and id."""
    (found,) = Pipeline().run([Record(journal(message, SYSLOG_IDENTIFIER=program, _SYSTEMD_UNIT=f"{program}.service"))])
    event = json.loads(found.event)
    assert (found.type, found.quarantined, found.id) == (type_, "", "s=1;i=2")
    assert (event["action"], event["time"], event["message"]) == (action, "2026-03-02T08:14:31.204000Z", message)
    assert event["labels"]["journald.unit"] == f"{program}.service" and event["labels"]["syslog.hostname"] == "web01"


def test_enriched_audit_records_name_their_users() -> None:
    line = (
        b"type=SYSCALL msg=audit(1772439271.204:9): arch=c000003e syscall=257 success=no exit=-13 items=1"
        b" auid=1000 uid=1000 ses=3"
        b' comm="cat" exe="/usr/bin/cat" key="secrets"\x1dARCH=x86_64 SYSCALL=openat AUID="mara" UID="mara"'
    )
    path = b'type=PATH msg=audit(1772439271.204:9): item=0 name="/etc/shadow" ouid=0 nametype=NORMAL\x1dOUID="root"'
    (found,) = Pipeline().run(split_records(line + b"\n" + path + b"\n"))
    event = json.loads(found.event)
    assert event["actor"] == {"type": "user", "id": "1000", "name": "mara", "session": "3"}
    assert (event["action"], event["outcome"], event["reason"]) == ("SYSCALL openat", "denied", "EACCES")
    assert event["targets"] == [{"type": "file", "id": "/etc/shadow", "name": "/etc/shadow", "owner": "0"}]
