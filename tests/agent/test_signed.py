"""An agent's signature, checked years later from one file: what it shows, and what makes it fail."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.test_doors import Sender
from agent.test_doors import sender as sender
from cli.calls import Run
from cli.conftest import run as run
from graven.app import open_view
from graven.check.command import main
from graven.check.documents import check_document
from graven.check.verdict import Trust
from graven.core.errors import BadInput, Disproved
from graven.core.evidence import parse_evidence
from graven.core.signed import format_signed, parse_signed, verify_signed
from graven.core.spelling import decode_hash
from graven.core.statement import NO_BATCH
from graven.keys.signature import verify_signature
from graven.log.signed import signed_document

RECORDS = [b"one", b"two", b'{"action":"native","id":"n-1"}', b"two", b"one"]


@pytest.fixture
def trust(sender: Sender) -> Trust:
    return Trust(keys=tuple(sender.server.keys))


@pytest.fixture
def batches(sender: Sender) -> Sender:
    """Two batches of five and of one record: events 3… of the log."""
    _, said = sender.send(1, NO_BATCH, RECORDS)
    sender.send(2, said.digest, [b"three"])
    sender.server.control.publish()
    return sender


def document(sender: Sender, index: int, **how: bool) -> bytes:
    with open_view(sender.server.directory) as view:
        return signed_document(view, index, **how)


def of_raw(sender: Sender, raw: bytes, number: int = 0) -> int:
    """The index of an event by its raw, or by its own bytes."""
    with open_view(sender.server.directory) as view:
        found = [one.index for one in view.records(0, view.size) if raw in (one.raw, one.event)]
    return found[number]


def test_each_record_of_a_batch_is_shown_as_signed(batches: Sender, trust: Trust) -> None:
    seen = set()
    for raw, number, position in ((b"one", 0, 0), (b"two", 0, 1), (RECORDS[2], 0, 2), (b"two", 1, 3), (b"one", 1, 4)):
        good = check_document(document(batches, of_raw(batches, raw, number)), trust)
        said = dict(good.rows)
        assert said["signed"] == f"at the source by the agent host-1: batch 1, record {position + 1} of 5"
        assert (good.fields["batch"], good.fields["position"], good.fields["agent"]) == (1, position, "host-1")
        seen.add(good.fields["index"])
    assert len(seen) == 5
    alone = check_document(document(batches, of_raw(batches, b"three")), trust)
    assert (alone.fields["batch"], alone.fields["records"]) == (2, 1)
    withheld = document(batches, of_raw(batches, b"one"), event=False)
    assert b'"bytes"' not in json.dumps(json.loads(withheld)["event"]["event"]).encode()
    assert check_document(withheld, trust).fields["position"] == 0


def test_what_is_no_event_of_an_agent_has_no_signature(batches: Sender) -> None:
    for index in (0, 1):
        with pytest.raises(BadInput, match="signed batch"):
            document(batches, index)
    statement = of_raw(batches, b"three") + 1
    with pytest.raises(BadInput, match="signed batch"):
        document(batches, statement)


def test_records_that_were_changed_are_not_claimed(batches: Sender) -> None:
    _, said = batches.send(3, _digest(batches), [b"fresh", b"x" * (2 << 20)])
    batches.server.control.publish()
    assert said.sequence == 3
    with pytest.raises(BadInput, match="cannot be put together"):  # the second was cut
        document(batches, of_raw(batches, b"fresh"))


def _digest(sender: Sender) -> bytes:
    with open_view(sender.server.directory) as view:
        return decode_hash(view.registers().agents["host-1"].digest)


Change = Callable[[dict[str, Any], dict[str, Any]], None]


def _position(mine: dict[str, Any], _: dict[str, Any]) -> None:
    mine["position"] = 3


def _hashes(mine: dict[str, Any], other: dict[str, Any]) -> None:
    mine["hashes"] = [mine["hashes"][1], mine["hashes"][0], mine["hashes"][2]]


def _event(mine: dict[str, Any], other: dict[str, Any]) -> None:
    mine["event"] = other["event"]


def _statement(mine: dict[str, Any], other: dict[str, Any]) -> None:
    mine["statement"] = other["statement"]


def _enrolment(mine: dict[str, Any], other: dict[str, Any]) -> None:
    mine["enrolment"] = mine["statement"]


def _raw(mine: dict[str, Any], other: dict[str, Any]) -> None:
    mine["event"]["raw"]["base64"] = "b25l"


def _no_raw(mine: dict[str, Any], other: dict[str, Any]) -> None:
    mine["statement"]["raw"] = {"digest": mine["hashes"][0]}


@pytest.mark.parametrize("change", [_position, _hashes, _event, _statement, _enrolment, _raw, _no_raw])
def test_whatever_is_changed_is_refused(batches: Sender, trust: Trust, change: Change) -> None:
    mine = json.loads(document(batches, of_raw(batches, b"two")))
    other = json.loads(document(batches, of_raw(batches, b"three")))
    check_document(json.dumps(mine).encode(), trust)
    change(mine, other)
    with pytest.raises((Disproved, BadInput)):
        check_document(json.dumps(mine).encode(), trust)


def test_a_log_cannot_pass_off_another_record(batches: Sender, trust: Trust) -> None:
    """Whoever holds the log's keys can seal what he likes, but no event of his fits the agent's signature."""
    token = batches.server.token("ingest:host-1", name="insider")
    batches.server.append(b'{"action":"planted"}', token)
    batches.server.control.publish()
    planted = of_raw(batches, b'{"action":"planted"}')
    with pytest.raises(BadInput):
        document(batches, planted)
    mine = parse_signed(document(batches, of_raw(batches, b"two")))
    with open_view(batches.server.directory) as view:
        forged = replace(mine, event=parse_evidence(view.evidence(planted)))
    with pytest.raises(Disproved):
        verify_signed(forged, trust.either, verify_signature)


def test_from_the_command_line(batches: Sender, run: Run, tmp_path: Path) -> None:
    index, path = of_raw(batches, b"two"), tmp_path / "signed.json"
    directory = batches.server.directory
    run("prove", index, "--dir", directory, "--signed", "-o", path)
    vkey = run("vkey", "--dir", directory).stdout.strip()
    assert "at the source by the agent host-1: batch 1, record 2 of 5" in run("check", path, "--vkey", vkey).stdout
    assert main([str(path), "--vkey", vkey]) == 0
    run("prove", index, "--dir", directory, "--signed", "--no-raw", exit_code=2)


@given(st.binary(max_size=300) | st.dictionaries(
    st.sampled_from(["format", "position", "hashes", "event", "statement", "enrolment"]),
    st.none() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=20),
).map(lambda fields: json.dumps({"format": "graven-signed/v1", **fields}).encode()))  # fmt: skip
def test_any_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    with pytest.raises((BadInput, Disproved)):
        parse_signed(data)


def test_a_document_is_bounded() -> None:
    with pytest.raises(BadInput):
        format_signed(0, (), event=json.dumps("x" * (25 << 20)).encode(), statement=b"{}", enrolment=b"{}")
