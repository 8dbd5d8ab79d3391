"""Servers that lie: each is caught, and the two files kept convict it for anyone who trusts the log's key."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.scripted import TOKEN, VKEY, Exchange, ScriptedServer
from core.signers import (
    LOG,
    ORIGIN,
    RECEIPTS,
    STRANGER,
    ed25519,
    seed_of,
    sign_certificate,
    sign_receipt,
)
from graven.client import Client, WrongReceipt
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.note import format_vkey
from graven.core.receipt import verify_opened
from graven.core.spelling import MAX_NUMBER, encode_base64
from graven.event import split_body
from graven.keys.signature import verify_signature

TRUE = {"id": "e-1", "action": "salary.change", "reason": "promotion", "data": {"to": 5000}}


def seals_another_text(exchange: Exchange) -> None:
    sent = split_body(exchange.body)
    exchange.answer(exchange.owner.append([event.replace(b"5000", b"9000") for event in sent]))


def seals_one_event_too_few(exchange: Exchange) -> None:
    answer = exchange.owner.append(split_body(exchange.body)[:-1])
    exchange.answer(answer)


def calls_it_a_duplicate_of_another(exchange: Exchange) -> None:
    count = len(split_body(exchange.body))
    index = exchange.owner.ledger.seal(b'{"action":"nothing.happened"}')
    exchange.answer(exchange.owner.ledger.answer(count, [], [(position, index) for position in range(count)]))


def pairs_it_with_an_event_of_its_own(exchange: Exchange) -> None:
    sent = split_body(exchange.body)
    ledger = exchange.owner.ledger
    new = [ledger.seal(b'{"action":"nothing.happened"}', event) for event in sent]
    exchange.answer(ledger.answer(len(sent), new))


def swaps_two_events(exchange: Exchange) -> None:
    sent = split_body(exchange.body)
    exchange.answer(exchange.owner.append([sent[1], sent[0], *sent[2:]]))


def changed(change: Callable[[dict[str, Any], ScriptedServer], None]) -> Callable[[Exchange], None]:
    """An honest answer, changed before it is sent."""

    def step(exchange: Exchange) -> None:
        answer = exchange.owner.append(split_body(exchange.body))
        change(answer, exchange.owner)
        exchange.answer(answer)

    step.__qualname__ = change.__qualname__
    return step


def wrong_root(answer: dict[str, Any], server: ScriptedServer) -> None:
    answer["receipt"] = sign_receipt(len(server.ledger.slots), seed_of("another root")).decode()


def promises_a_larger_tree(answer: dict[str, Any], server: ScriptedServer) -> None:
    answer["size"] = len(server.ledger.slots) + 1
    answer["receipt"] = sign_receipt(len(server.ledger.slots) + 1, server.ledger.root).decode()


def outside_its_certificate(answer: dict[str, Any], server: ScriptedServer) -> None:
    size = len(server.ledger.slots)
    answer["opened"]["certificate"] = sign_certificate(format_vkey(RECEIPTS.key), size + 1, MAX_NUMBER).decode()


def certified_by_a_stranger(answer: dict[str, Any], server: ScriptedServer) -> None:
    answer["opened"]["certificate"] = sign_certificate(format_vkey(RECEIPTS.key), 0, MAX_NUMBER, STRANGER).decode()


def signed_with_a_stolen_old_key(answer: dict[str, Any], server: ScriptedServer) -> None:
    thief = ed25519(ORIGIN + "/receipt", seed_of("thief"))
    answer["receipt"] = sign_receipt(len(server.ledger.slots), server.ledger.root, thief).decode()


def signed_by_the_log_key(answer: dict[str, Any], server: ScriptedServer) -> None:
    answer["receipt"] = sign_receipt(len(server.ledger.slots), server.ledger.root, LOG).decode()


def another_salt(answer: dict[str, Any], server: ScriptedServer) -> None:
    answer["opened"]["events"][0] = {"salt": encode_base64(seed_of("another salt"))}


def another_first_index(answer: dict[str, Any], server: ScriptedServer) -> None:
    answer["first_index"] = answer["opened"]["first_index"] = answer["first_index"] - 1


def two_first_indexes(answer: dict[str, Any], server: ScriptedServer) -> None:
    answer["first_index"] += 1


def another_receiving_time(answer: dict[str, Any], server: ScriptedServer) -> None:
    answer["opened"]["head"] = "graven/1 7 1\n"


LIES = [
    seals_another_text,
    seals_one_event_too_few,
    calls_it_a_duplicate_of_another,
    pairs_it_with_an_event_of_its_own,
    swaps_two_events,
    *map(
        changed,
        (
            wrong_root,
            promises_a_larger_tree,
            outside_its_certificate,
            certified_by_a_stranger,
            signed_with_a_stolen_old_key,
            signed_by_the_log_key,
            another_salt,
            another_first_index,
            two_first_indexes,
            another_receiving_time,
        ),
    ),
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__qualname__)
def test_every_lie_is_caught_and_its_evidence_convicts(
    server: ScriptedServer, client: Client, tmp_path: Path, lie: Callable[[Exchange], None]
) -> None:
    client.append({"action": "before"})
    server.script.append(lie)
    with pytest.raises(WrongReceipt) as caught:
        client.append([TRUE, {"action": "b"}, {"action": "c"}])
    wrong = caught.value
    assert len(server.posts) == 2, "a lie is not asked for again"
    assert wrong.answer_file is not None and wrong.body_file is not None
    assert wrong.answer_file.parent == tmp_path / "receipts"
    assert str(wrong.answer_file) in str(wrong) and str(wrong.body_file) in str(wrong)
    assert wrong.body_file.read_bytes() == server.posts[1].body == wrong.body
    with pytest.raises(Disproved) as again:  # as `graven check ANSWER --events SENT` does
        verify_opened(
            json.loads(wrong.answer_file.read_bytes()),
            split_body(wrong.body_file.read_bytes()),
            client.keys,
            verify_signature,
        )
    assert (again.value.what, again.value.expected) == (wrong.what, wrong.expected)
    assert {path.stat().st_mode & 0o777 for path in (wrong.answer_file, wrong.body_file)} == {0o600}


def test_an_answer_to_an_earlier_request_is_no_answer(server: ScriptedServer, client: Client) -> None:
    replayed = client.append(TRUE).data
    server.script.append(lambda exchange: exchange.reply(200, replayed))
    with pytest.raises(WrongReceipt, match="did not seal the bytes"):
        client.append({**TRUE, "id": "e-2"})


def test_without_a_directory_for_receipts_the_evidence_is_kept_all_the_same(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    server.script.append(seals_another_text)
    with (
        Client(server.url, TOKEN, vkey=VKEY) as client,
        pytest.raises(WrongReceipt) as caught,
    ):
        client.append(TRUE)
    assert caught.value.answer_file is not None and caught.value.answer_file.read_bytes() == caught.value.answer
    assert caught.value.answer_file.parent.stat().st_mode & 0o777 == 0o700


def test_evidence_that_cannot_be_written_is_in_the_error(
    server: ScriptedServer, client: Client, tmp_path: Path
) -> None:
    server.script.append(seals_another_text)
    (tmp_path / "receipts").rmdir()
    with pytest.raises(WrongReceipt, match="the evidence could not be kept") as caught:
        client.append(TRUE)
    assert caught.value.answer_file is None
    assert b"5000" in caught.value.body and json.loads(caught.value.answer)["accepted"] == 1


def test_a_lie_stops_the_sending_until_flush(server: ScriptedServer, client: Client, tmp_path: Path) -> None:
    server.script += [seals_another_text, seals_another_text]
    client.send(TRUE)
    for _ in range(2):
        with pytest.raises(WrongReceipt):
            client.flush(5)
    with pytest.raises(WrongReceipt):
        client.send({"action": "later"})
    assert len(client.unsent()) == 1 and isinstance(client.backlog.trouble, WrongReceipt)
    assert len(list((tmp_path / "receipts").glob("wrong-*.answer.json"))) == 2
    client.flush(5)  # honest again: what was sent stands in the log, once
    assert client.unsent() == []
    assert [event for event in server.events if b"5000" in event] == [json.dumps(TRUE, separators=(",", ":")).encode()]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not JSON"),
        (b'{"accepted":1', "not JSON"),
        (b"[]", "not an object"),
        (b'{"accepted":1}', "without first_index, size, duplicates"),
        (b"<html>welcome to the hotel</html>", "not JSON"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested too deeply"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"accepted":1,"accepted":1}', "same key twice"),
    ],
)
def test_what_is_no_answer_proves_nothing_and_convicts_nobody(
    server: ScriptedServer, client: Client, tmp_path: Path, data: bytes, what: str
) -> None:
    server.script.append(lambda exchange: exchange.reply(200, data))
    with pytest.raises(Broken, match=what) as caught:
        client.append(TRUE)
    assert not isinstance(caught.value, BadInput)
    assert list((tmp_path / "receipts").iterdir()) == []


@pytest.mark.parametrize("key", ["accepted", "first_index", "size", "duplicates", "state", "receipt", "opened"])
@pytest.mark.parametrize("value", [None, -1, "x", [1], {}, 2**63, 0.5, True])
def test_an_answer_with_a_field_of_another_shape_is_never_believed(
    server: ScriptedServer, client: Client, key: str, value: object
) -> None:
    client.append({"action": "before"})
    server.script.append(changed(lambda answer, _: answer.update({key: value})))
    with pytest.raises((Broken, WrongReceipt)):
        client.append(TRUE)
