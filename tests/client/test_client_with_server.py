"""`Client` against the real server: the tour, a conviction with `graven check`, kill -9 in the middle of a stream."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.process import ServedLog, run
from client.scripted import TOKEN, VKEY, ScriptedServer
from client.test_client_liars import TRUE, seals_another_text
from graven.app import open_view
from graven.client import Answer, Client, WrongReceipt, read_receipts, with_ids
from graven.core.errors import BadInput
from graven.event import Refusal, decode_event


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedLog]:
    log = ServedLog.create(tmp_path / "log")
    log.start()
    yield log
    log.end()


def ids_in(log: ServedLog) -> list[str]:
    """The ids of every event of ours, in the order of the log."""
    with open_view(log.directory) as view:
        records = list(view.reader.records(0, view.size))
    events = [decode_event(record.event) for record in records if record.event is not None]
    return [event.id for event in events if event.id is not None and event.action == "stream"]


def test_the_tour(served: ServedLog, tmp_path: Path) -> None:
    with Client(served.url, served.token, vkey=served.vkey, receipts=tmp_path / "receipts") as client:
        first = client.append([{"action": "stream", "data": 1.5}, '{ "action":"stream","message":"ü" }'.encode()])
        assert first.accepted == 2 and first.first_index is not None
        proved = client.evidence(first.indexes[1])
        assert proved.verified.event is not None and proved.verified.event.endswith('"message":"ü" }'.encode())
        assert client.get(first.first_index)["event"]["data"] == 1.5
        events = with_ids([{"action": "stream"}] * 3)
        assert client.append(events, wait="published").state == "published"
        again = client.append([*events, {"action": "stream"}])
        assert (again.accepted, len(again.duplicates)) == (1, 3)
        for number in range(700):
            client.send({"action": "stream", "data": number})
        client.flush(30)
        assert client.append({"action": "stream"}, wait="published").state == "published"
        assert client.check_promise(first.receipt).checkpoint.size >= 707
        assert client.status()["size"] >= 707
        with pytest.raises(Refusal, match="may not use the class"):
            client.append([{"action": "stream"}, {"action": "stream", "class": "unknown"}])
        with pytest.raises(BadInput, match="no index"):
            client.get(10_000_000)
    kept = list(read_receipts(tmp_path / "receipts"))
    assert sum(len(one.events) for one in kept) == 2 + 3 + 4 + 700 + 1
    assert all(one.verify(client.keys) for one in kept)
    with Client(served.url, "gvn_wrong", vkey=served.vkey) as stranger, pytest.raises(BadInput, match="token"):
        stranger.append({"action": "stream"})
    answer, sent = tmp_path / "answer.json", tmp_path / "sent"
    answer.write_text(json.dumps(kept[0].answer))
    sent.write_bytes(kept[0].body)
    run("check", str(answer), "--events", str(sent), "--vkey", served.vkey)


def test_a_lying_server_is_convicted_by_what_was_kept(server: ScriptedServer, tmp_path: Path) -> None:
    server.script.append(seals_another_text)
    with (
        Client(server.url, TOKEN, vkey=VKEY, receipts=tmp_path / "receipts") as client,
        pytest.raises(WrongReceipt) as caught,
    ):
        client.append(TRUE)
    verdict = run(
        "check", str(caught.value.answer_file), "--events", str(caught.value.body_file), "--vkey", VKEY, expect=1
    )
    assert "the log did not seal the bytes that were sent" in verdict.stdout + verdict.stderr


def test_kill_9_in_the_middle_of_a_stream_loses_nothing_and_doubles_nothing(served: ServedLog, tmp_path: Path) -> None:
    count, kills = 6000, 3
    answered: list[Answer] = []
    sent: list[str] = []
    with Client(
        served.url, served.token, vkey=served.vkey, receipts=tmp_path / "receipts",
        batch_events=40, linger_ms=1, queue_events_max=500, on_answer=answered.append,
    ) as client:  # fmt: skip
        killed = threading.Semaphore(0)

        def produce() -> None:
            for number in range(count):
                if (number - 700) % (count // (kills + 1)) == 0 and number > 1_000:
                    assert killed.acquire(timeout=90)  # the kill comes before the stream is over
                sent.append(client.send({"action": "stream", "data": number}))

        stream = threading.Thread(target=produce)
        stream.start()
        for kill in range(1, kills + 1):
            while sum(answer.accepted for answer in answered) < kill * count // (kills + 1):
                time.sleep(0.001)
            served.kill()
            assert len(sent) < count
            killed.release()
            served.start()
        stream.join(90)
        client.flush(90)
        client.append({"action": "last"}, wait="published")
        assert client.unsent() == [] and client.backlog.refused == 0
        kept = list(read_receipts(tmp_path / "receipts"))
        promised = [receipt.verify(client.keys) for receipt in kept]
        for receipt in promised[:: len(promised) // 20]:
            client.check_promise(receipt)
    served.end()
    assert len(sent) == count and ids_in(served) == sent, "each once, in the order they were sent"
    indexes = [index for answer in answered for index in answer.indexes]
    assert len(set(indexes)) == len(indexes) == count
    run("verify", "--dir", str(served.directory))
