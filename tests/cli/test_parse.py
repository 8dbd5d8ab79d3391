"""`graven parse`: the events of a file, nothing stored; whatever the file is wrapped in."""

import base64
import gzip
import json
from pathlib import Path

from cli.calls import Run, read_error, read_json
from graven.log.seal import zstd

RECORD = {
    "eventVersion": "1.10",
    "eventID": "e-1",
    "eventTime": "2026-03-02T08:14:31Z",
    "eventSource": "s3.amazonaws.com",
    "eventName": "GetObject",
    "userIdentity": {"type": "IAMUser", "userName": "mara"},
}


def test_events_one_a_line_and_the_counts_beside_them(run: Run) -> None:
    Path("trail.json").write_text(json.dumps({"Records": [RECORD, RECORD | {"eventID": "e-2"}]}))
    found = run("parse", "trail.json")
    events = [json.loads(line) for line in found.stdout.splitlines()]
    assert [event["id"] for event in events] == ["e-1", "e-2"]
    assert events[0]["action"] == "s3:GetObject" and events[0]["labels"]["graven.type"] == "aws-cloudtrail"
    assert found.stderr == "graven: 2 records, 2 events, 0 quarantined: aws-cloudtrail 2\n"


def test_zstandard_and_exports_of_purview(run: Run, tmp_path: Path) -> None:
    cell = json.dumps({"Id": "1", "CreationTime": "2026-03-02T08:15:02", "Operation": "UserLoggedIn", "Workload": "X"})
    body = 'CreationDate,AuditData\nx,"' + cell.replace('"', '""') + '"\n'
    (tmp_path / "export.csv.zst").write_bytes(zstd.compress(body.encode()))
    (event,) = read_json(run("parse", tmp_path / "export.csv.zst", "--json"))["events"]
    assert (event["type"], event["id"], base64.b64decode(event["raw"])) == ("microsoft-365", "1", cell.encode())


def test_gzip_and_standard_input(run: Run) -> None:
    packed = gzip.compress(json.dumps(RECORD).encode())
    assert json.loads(run("parse", "-", given=packed).stdout)["id"] == "e-1"
    error = read_error(run("parse", "-", "--json", given=packed[:-9], exit_code=2))
    assert "gzip" in error["what"]


def test_what_is_printed_can_be_appended(run: Run, made: str) -> None:
    Path("record.json").write_text(json.dumps(RECORD))
    Path("events").write_text(run("parse", "record.json").stdout)
    assert read_json(run("append", "events", "--dir", "log"))["accepted"] == 1


def test_as_json(run: Run) -> None:
    Path("mixed").write_text(json.dumps(RECORD) + '\n{"nothing":"known"}\n' + '{"action":"a"}\n')
    answer = read_json(run("parse", "mixed", "--json"))
    first, bad, native = answer["events"]
    assert answer["records"] == 3
    assert json.loads(base64.b64decode(first["raw"])) == RECORD and first["quarantined"] is None
    assert "recognises" in bad["quarantined"] and base64.b64decode(bad["raw"]) == b'{"nothing":"known"}'
    assert native == {
        "type": "graven", "id": None, "quarantined": None, "redacted": False,
        "event_text": '{"action":"a"}', "raw": None,
    }  # fmt: skip


def test_a_type_that_is_stated_counts_and_an_unknown_one_is_refused(run: Run) -> None:
    Path("record").write_text('{"eventName":"X"}')
    assert json.loads(run("parse", "record", "--type", "aws-cloudtrail").stdout)["action"] == "X"
    error = read_error(run("parse", "record", "--type", "aws", "--json", exit_code=2))
    assert "aws-cloudtrail" in error["mend"]


def test_an_empty_file_is_refused(run: Run) -> None:
    Path("none").write_text(" \n")
    assert "no record" in read_error(run("parse", "none", "--json", exit_code=2))["what"]


def test_the_configuration_is_read(run: Run) -> None:
    Path("record").write_text(json.dumps(RECORD))
    Path("graven.toml").write_text("[nonsense]\n")
    assert "nonsense" in read_error(run("parse", "record", "--config", "graven.toml", "--json", exit_code=2))["place"]
