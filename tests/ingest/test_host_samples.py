"""Every file of hosts and databases is read, also where nobody says what it is; none of its records is quarantined."""

from pathlib import Path

import pytest

from graven.event import decode_event
from graven.ingest import Pipeline, split_records

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
