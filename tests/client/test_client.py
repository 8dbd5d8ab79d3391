"""`Client` against a server that stumbles: what is stored is stored once, and nothing is lost in silence."""

import gc
import gzip
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.scripted import TOKEN, VKEY, VKEYS, Exchange, ScriptedServer
from core.signers import LOG, LOG_PQ, RECEIPTS, ed25519, seed_of
from graven.client import Answer, Client, NoAnswer, ReceiptNotKept, WrongReceipt, read_receipts, with_ids
from graven.core.errors import BadInput, Broken, Busy, GravenError
from graven.core.note import format_vkey
from graven.event import Refusal, split_body
from graven.runtime import files


def numbered(count: int) -> list[dict[str, object]]:
    return [{"id": f"n-{number}", "action": "count", "data": {"n": number}} for number in range(count)]


def ids_of(events: list[bytes]) -> list[str]:
    return [json.loads(event)["id"] for event in events]


# What goes well


def test_append_returns_what_is_proved_and_keeps_it(server: ScriptedServer, client: Client, tmp_path: Path) -> None:
    answer = client.append([{"action": "a"}, {"action": "b"}])
    assert (answer.accepted, answer.first_index, answer.duplicates, answer.state) == (2, 0, (), "committed")
    assert answer.indexes == (0, 1)
    assert (answer.receipt.size, answer.receipt.root) == (2, server.ledger.root)
    assert split_body(answer.body) == server.events
    assert client.append({"action": "c"}, wait="published").state == "published"
    assert [request.path for request in server.posts] == [
        "/api/v1/events?receipt=full",
        "/api/v1/events?receipt=full&wait=published",
    ]
    client.flush()
    first, second = read_receipts(tmp_path / "receipts")
    assert first.verify(client.keys) == answer.receipt and second.events == server.events[2:]
    assert first.url == server.url


def test_duplicates_are_named_by_index(client: Client) -> None:
    a, b, c, d = with_ids(numbered(4))
    client.append([a, b, c])
    answer = client.append([c, d, a])
    assert (answer.accepted, answer.first_index, answer.duplicates) == (1, 3, ((0, 2), (2, 0)))
    assert answer.indexes == (2, 3, 0)


def test_bytes_arrive_as_they_were_given(server: ScriptedServer, client: Client) -> None:
    events = ['{ "id":"1", "action" : "ü" , "data":1.0}'.encode(), b'{"id":"2",\n"action":"two\\nlines"}']
    client.append(events)
    assert server.events == events


@pytest.mark.parametrize("compress", [True, False])
def test_large_bodies_are_compressed(server: ScriptedServer, compress: bool) -> None:
    with Client(server.url, TOKEN, vkey=VKEYS, compress=compress) as client:
        client.append({"action": "a"})
        client.append({"action": "a", "message": "x" * 5000})
    small, large = server.posts
    assert "Content-Encoding" not in small.headers
    assert (large.headers.get("Content-Encoding") == "gzip") is compress
    assert (gzip.decompress(large.posted) if compress else large.posted) == large.body
    assert (len(large.posted) < 500) is compress


def test_send_batches_in_order(server: ScriptedServer, tmp_path: Path) -> None:
    answers: list[Answer] = []
    with Client(
        server.url,
        TOKEN,
        vkey=VKEY,
        batch_events=10,
        linger_ms=60_000,
        on_answer=answers.append,
        receipts=tmp_path / "r",
    ) as client:
        ids = [client.send(event) for event in numbered(95)]
    assert ids_of(server.events) == ids
    assert [answer.accepted for answer in answers] == [10] * 9 + [5]
    assert [len(split_body(request.body)) for request in server.posts] == [10] * 9 + [5]
    assert [one.verify(client.keys).size for one in read_receipts(tmp_path / "r")] == [*range(10, 91, 10), 95]


def test_a_lone_event_does_not_wait_long(server: ScriptedServer) -> None:
    with Client(server.url, TOKEN, vkey=VKEY, linger_ms=20) as client:
        client.send({"action": "a"})
        until(lambda: not client.unsent())
        assert len(server.events) == 1


def test_threads_share_a_client(server: ScriptedServer, client: Client) -> None:
    def work(number: int) -> None:
        for at in range(20):
            client.append({"action": "a", "data": [number, at]})
            client.send({"action": "s", "data": [number, at]})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.flush(90)
    assert len(set(server.events)) == len(server.events) == 160


# What goes wrong on the way


def commit_then_cut(exchange: Exchange) -> None:
    """Store the events, and lose the answer: the worst moment."""
    exchange.owner.append(split_body(exchange.body))
    exchange.cut()


def commit_then_cut_the_answer(exchange: Exchange) -> None:
    answer = json.dumps(exchange.owner.append(split_body(exchange.body))).encode()
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer[: len(answer) // 2])
    exchange.cut()


def commit_then_stall(exchange: Exchange) -> None:
    exchange.owner.append(split_body(exchange.body))
    time.sleep(5)


def commit_half_then_cut(exchange: Exchange) -> None:
    """No good server does this; even so nothing is doubled."""
    sent = split_body(exchange.body)
    exchange.owner.append(sent[: len(sent) // 2])
    exchange.cut()


def busy(status: int) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.refuse(status, "full", headers={"Retry-After": "0"}, kind="busy")


STUMBLES: dict[str, Callable[[Exchange], None]] = {
    "cut": Exchange.cut,
    "commit, then cut": commit_then_cut,
    "commit, then half an answer": commit_then_cut_the_answer,
    "commit, then silence": commit_then_stall,
    "half a commit, then cut": commit_half_then_cut,
    "429": busy(429),
    "503": busy(503),
    "502 of a proxy": lambda exchange: exchange.reply(502, b"<html>bad gateway"),
}


@pytest.mark.parametrize("stumble", STUMBLES.values(), ids=STUMBLES.keys())
@pytest.mark.parametrize("way", ["append", "send"])
def test_whatever_happens_each_event_is_stored_once(
    server: ScriptedServer, quick: None, way: str, stumble: Callable[[Exchange], None]
) -> None:
    server.script += [stumble, stumble]
    events = [{"action": "a", "data": number} for number in range(6)]
    timeout_s = 1.0 if stumble is commit_then_stall else 90.0
    with Client(server.url, TOKEN, vkey=VKEY, timeout_s=timeout_s) as client:
        if way == "append":
            answer = client.append(events)
            assert sorted(answer.indexes) == list(range(6))
        else:
            for event in events:
                client.send(event)
            client.flush(90)
    assert sorted(json.loads(event)["data"] for event in server.events) == list(range(6))
    assert len({request.body for request in server.posts[:3]}) == 1, "a retry sends the same bytes"


def test_append_gives_up_and_the_same_bytes_may_be_given_again(server: ScriptedServer, quick: None) -> None:
    server.script += [commit_then_cut] * 3
    events = with_ids([{"action": "a"}, {"action": "b"}])
    with Client(server.url, TOKEN, vkey=VKEY, retries=2) as client:
        with pytest.raises(NoAnswer):
            client.append(events)
        assert len(server.posts) == 3
        assert client.append(events).duplicates == ((0, 0), (1, 1))
    assert server.events == events


def test_retry_after_is_honoured(server: ScriptedServer, client: Client) -> None:
    server.script.append(lambda exchange: exchange.refuse(429, "full", headers={"Retry-After": "1"}, kind="busy"))
    started = time.monotonic()
    client.append({"action": "a"})
    assert time.monotonic() - started >= 1.0


def test_busy_for_too_long_is_said(server: ScriptedServer, quick: None) -> None:
    server.script += [busy(429)] * 3
    with (
        Client(server.url, TOKEN, vkey=VKEY, retries=2) as client,
        pytest.raises(Busy, match="full"),
    ):
        client.append({"action": "a"})


def test_closing_ends_a_pause(server: ScriptedServer) -> None:
    server.script.append(lambda exchange: exchange.refuse(429, "full", headers={"Retry-After": "60"}, kind="busy"))
    client = Client(server.url, TOKEN, vkey=VKEY)
    ended: list[GravenError] = []

    def work() -> None:
        with pytest.raises(Busy) as caught:
            client.append({"action": "a"})
        ended.append(caught.value)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: len(server.posts) == 1)
    client.close()
    thread.join(90)
    assert len(ended) == 1


def test_a_server_that_is_away_holds_send_up_and_loses_nothing(server: ScriptedServer, quick: None) -> None:
    gate = threading.Event()

    def held(exchange: Exchange) -> None:
        gate.wait(90)
        exchange.cut()

    server.script.append(held)
    with Client(server.url, TOKEN, vkey=VKEY, queue_events_max=5, batch_events=2, linger_ms=0) as client:
        sent = [client.send(event) for event in numbered(5)]
        with pytest.raises(Busy, match="the queue is full: 5 events"):
            client.send({"action": "b"}, wait_s=0)
        with pytest.raises(Busy):
            client.send({"action": "b"}, wait_s=0.05)
        with pytest.raises(Busy, match="5 events are not sent yet"):
            client.flush(0.05)
        assert client.backlog.waiting == 5
        gate.set()
        sent.append(client.send({"action": "b"}, wait_s=90))
        client.flush(90)
    assert ids_of(server.events) == sent


def test_the_queue_is_bounded_in_bytes(server: ScriptedServer, quick: None) -> None:
    server.script += [busy(503)] * 100_000
    with Client(server.url, TOKEN, vkey=VKEY, queue_bytes_max=10_000, linger_ms=0) as client:
        count = 0
        with pytest.raises(Busy):
            while count < 100:
                client.send({"action": "a", "message": "x" * 1000}, wait_s=0)
                count += 1
        assert count == 9 and client.backlog.size_bytes <= 10_000
        until(lambda: client.backlog.trouble is not None)
        assert isinstance(client.backlog.trouble, Busy)
        with pytest.raises(BadInput, match="larger than the whole queue"):
            client.send({"action": "a", "message": "x" * 10_000})
        server.script.clear()
        client.flush(90)
        assert client.backlog.trouble is None
    assert len(server.events) == 9


# What the server does not take


def refuses_some(exchange: Exchange) -> None:
    """A server of stricter rules, which does not say which event it means."""
    if b'"class":"secret"' in exchange.body:
        exchange.refuse(400, "the source may not use this class")
    else:
        exchange.honest()


def too_large(exchange: Exchange) -> None:
    if len(exchange.body) > 1000:
        exchange.reply(413, b"too large")
    else:
        exchange.honest()


def test_append_of_events_the_server_refuses(server: ScriptedServer, client: Client) -> None:
    server.script.append(refuses_some)
    with pytest.raises(Refusal, match="may not use this class"):
        client.append([{"action": "a"}, {"action": "a", "class": "secret"}])
    assert server.events == [] and len(server.posts) == 1


def test_bad_events_do_not_leave(server: ScriptedServer, client: Client) -> None:
    with pytest.raises(Refusal, match="nonsense"):
        client.append([{"action": "a"}, {"action": "a", "nonsense": 1}])
    with pytest.raises(BadInput, match="nonsense"):
        client.send({"action": "a", "nonsense": 1})
    with pytest.raises(BadInput, match="no such state"):
        client.append({"action": "a"}, wait="witnessed")  # type: ignore[arg-type]
    assert server.requests == []


def test_a_refused_event_does_not_take_its_batch_with_it(server: ScriptedServer, client: Client) -> None:
    server.script += [refuses_some] * 1000
    for number in range(50):
        client.send({"id": str(number), "action": "a", **({"class": "secret"} if number in (7, 8, 49) else {})})
    with pytest.raises(BadInput, match="events the server refused: 3"):
        client.flush(90)
    assert ids_of(server.events) == [str(number) for number in range(50) if number not in (7, 8, 49)]
    assert client.backlog.refused == 3
    refused = client.take_refused()
    assert ids_of([event for event, _ in refused]) == ["7", "8", "49"]
    assert all("may not use this class" in str(error) for _, error in refused)
    assert client.backlog.refused == 0
    client.flush(1)


def test_a_request_that_is_too_large_is_cut_in_pieces(server: ScriptedServer, client: Client) -> None:
    server.script += [too_large] * 1000
    for event in numbered(40):
        client.send(event)
    client.flush(90)
    assert ids_of(server.events) == [f"n-{number}" for number in range(40)]


@pytest.mark.parametrize("status", [401, 403, 404, 415, 308])
def test_a_refusal_of_the_sender_stops_the_sending_and_keeps_the_events(
    server: ScriptedServer, client: Client, status: int
) -> None:
    server.script += [lambda exchange: exchange.refuse(status, "not you")] * 2
    client.send({"action": "a"})
    until(lambda: client.backlog.trouble is not None)
    with pytest.raises(BadInput):
        client.send({"action": "b"})
    with pytest.raises(BadInput):
        client.flush(90)
    assert len(server.posts) == 2 and len(client.unsent()) == 1
    client.flush(90)
    assert len(server.events) == 1


def test_a_400_of_something_else_stops_the_sending(server: ScriptedServer, client: Client) -> None:
    server.script.append(lambda exchange: exchange.reply(400, b"<html>bad request"))
    client.send({"action": "a"})
    with pytest.raises(BadInput, match="400"):
        client.flush(90)
    client.flush(90)
    assert len(server.events) == 1 and client.backlog.refused == 0


def test_a_broken_server_is_not_asked_again_by_itself(server: ScriptedServer, client: Client) -> None:
    server.script.append(lambda exchange: exchange.refuse(500, "the disk is gone", kind="broken"))
    with pytest.raises(Broken, match="the disk is gone"):
        client.append({"action": "a"})
    assert len(server.posts) == 1


@pytest.mark.parametrize("fault", [KeyError, SystemExit])
def test_a_fault_in_on_answer_is_said_and_loses_nothing(
    server: ScriptedServer, quick: None, fault: type[BaseException]
) -> None:
    calls: list[Answer] = []

    def on_answer(answer: Answer) -> None:
        calls.append(answer)
        if len(calls) == 1:
            raise fault("mine")

    with Client(server.url, TOKEN, vkey=VKEY, linger_ms=0, on_answer=on_answer) as client:
        client.send({"action": "a"})
        until(lambda: client.backlog.trouble is not None)
        with pytest.raises(Broken, match=fault.__name__) as caught:
            client.send({"action": "b"})
        assert isinstance(caught.value.__cause__, fault)
        client.flush(90)
        client.send({"action": "b"})
    assert len(server.events) == 2 and len(calls) == 2


# Receipts that cannot be kept


def test_a_receipt_that_cannot_be_kept_is_in_the_error(server: ScriptedServer, tmp_path: Path) -> None:
    client = Client(server.url, TOKEN, vkey=VKEY, receipts=tmp_path / "receipts")
    (tmp_path / "receipts").rmdir()
    with pytest.raises(ReceiptNotKept, match="do not send them anew") as caught:
        client.append({"action": "a"})
    assert caught.value.answer.receipt.size == 1
    client.send({"action": "b"})
    with pytest.raises(ReceiptNotKept):
        client.flush(90)
    (tmp_path / "receipts").mkdir()
    client.close()
    assert len(server.events) == 2, "b went out twice and is stored once"
    (kept,) = read_receipts(tmp_path / "receipts")
    assert kept.verify(client.keys).size == 2 and kept.answer["duplicates"] == [{"position": 0, "index": 1}]


def test_kept_receipts_are_durable_after_flush_and_close(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(files, "_sync_bytes", synced.append)
    client = Client(server.url, TOKEN, vkey=VKEY, receipts=tmp_path / "receipts")
    client.append({"action": "a"})
    assert len(synced) == 0
    client.flush()
    assert len(synced) == 1
    client.close()
    assert len(synced) == 2


# Opening and closing


def test_a_closed_client_is_forgotten(server: ScriptedServer) -> None:
    client = Client(server.url, TOKEN, vkey=VKEY)
    client.send({"action": "a"})
    client.close()
    remembered = weakref.ref(client)
    del client
    gc.collect()
    assert remembered() is None


@pytest.mark.parametrize(
    "fields",
    [
        {"vkey": "nonsense"}, {"vkey": []}, {"vkey": [format_vkey(LOG_PQ.key)]},
        {"vkey": [VKEY, format_vkey(RECEIPTS.key)]}, {"batch_events": 0}, {"batch_bytes": 0}, {"queue_events_max": 0},
        {"queue_bytes_max": -1}, {"linger_ms": -1}, {"retries": -1}, {"timeout_s": 0}, {"timeout_s": float("nan")},
        {"receipts_file_bytes": 0}, {"token_file": "x"}, {"receipts": "/nonexistent/parent/receipts"},
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_used(fields: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Client("http://127.0.0.1:1", TOKEN, **{"vkey": VKEY, **fields})


def test_a_key_of_another_log_believes_nothing(server: ScriptedServer, tmp_path: Path) -> None:
    other = format_vkey(ed25519("other.invalid/log", seed_of("other")).key)
    with (
        Client(server.url, TOKEN, vkey=other, receipts=tmp_path) as client,
        pytest.raises(WrongReceipt, match="key is not trusted"),
    ):
        client.append({"action": "a"})


def test_a_closed_client_does_nothing(server: ScriptedServer) -> None:
    client = Client(server.url, TOKEN, vkey=VKEY)
    client.send({"action": "a"})
    client.close()
    client.close()
    calls: list[Callable[[], object]] = [
        lambda: client.append({"action": "a"}), lambda: client.send({"action": "a"}), client.flush, client.status,
        client.checkpoint, lambda: client.get(0), lambda: client.evidence(0),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(BadInput, match="closed"):
            call()
    assert len(server.events) == 1


def test_what_cannot_be_sent_before_the_end_is_handed_back(server: ScriptedServer, quick: None) -> None:
    server.script += [busy(503)] * 100_000
    client = Client(server.url, TOKEN, vkey=VKEY)
    ids = [client.send(event) for event in numbered(3)]
    until(lambda: client.backlog.trouble is not None)
    with pytest.raises(Busy, match=r"3 events are not sent yet \(full"):
        client.close(0.05)
    assert ids_of(client.unsent()) == ids
    server.script.clear()
    with Client(server.url, TOKEN, vkey=VKEY) as another:
        another.append(client.unsent())
    assert ids_of(server.events) == ids


def test_an_error_in_the_block_is_not_hidden(server: ScriptedServer, quick: None) -> None:
    server.script += [lambda exchange: exchange.refuse(403, "not you")] * 9
    with pytest.raises(ZeroDivisionError) as caught, Client(server.url, TOKEN, vkey=VKEY, linger_ms=60_000) as client:
        client.send({"action": "a"})
        print(1 // 0)
    assert caught.value.__notes__[0].startswith("graven: 1 events are unsent: not you")
    with pytest.raises(BadInput, match="not you"), Client(server.url, TOKEN, vkey=VKEY) as client:
        client.send({"action": "a"})


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_client_is_of_one_process(server: ScriptedServer, client: Client) -> None:
    client.send({"action": "a"})
    client.flush(90)
    child = os.fork()
    if child == 0:
        calls: list[Callable[[], object]] = [lambda: client.send({"action": "b"}), client.unsent, client.flush]
        refused = 0
        for call in calls:
            try:
                call()
            except BadInput as error:
                refused += "another process" in error.what
        client.close()
        os._exit(7 if refused == len(calls) else 8)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


PROGRAM = """
import sys
from graven import Client
client = Client(sys.argv[1], sys.argv[2], vkey=sys.argv[3], linger_ms=60_000, timeout_s=float(sys.argv[4]))
for number in range(10):
    client.send({"action": "a", "data": number})
"""


def run_program(server: ScriptedServer, timeout_s: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, server.url, TOKEN, VKEY, timeout_s]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def test_a_program_that_forgets_to_close_loses_nothing(server: ScriptedServer) -> None:
    done = run_program(server, "30")
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(event)["data"] for event in server.events] == list(range(10))


def test_what_a_forgetful_program_could_not_send_is_said(server: ScriptedServer) -> None:
    server.script += [busy(503)] * 100_000
    done = run_program(server, "0.3")
    assert "10 events are unsent at the end of the program" in done.stderr
    assert TOKEN not in done.stderr


def test_the_keys_are_as_given(server: ScriptedServer) -> None:
    with Client(server.url, vkey=VKEY + "\n") as client:
        assert client.keys == (LOG.key,)
    with Client(server.url, TOKEN, vkey=VKEYS) as client:
        assert client.keys == (LOG.key, LOG_PQ.key)
        assert TOKEN not in repr(client) and server.url in repr(client)


def until(condition: Callable[[], bool], *, within_s: float = 90) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
