"""What a client reads back: believed only where it is proved."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from client.scripted import TOKEN, VKEY, VKEYS, Exchange, ScriptedServer
from core.ledger import Ledger
from core.signers import LOG, LOG_PQ, ORIGIN, STRANGER, ed25519, seed_of, sign_checkpoint
from graven.client import Client, NoAnswer
from graven.core.errors import BadInput, Broken, Busy, Disproved, GravenError
from graven.core.evidence import Disclosed, format_evidence, parse_evidence, verify_evidence
from graven.core.note import format_vkey
from graven.core.receipt import Receipt
from graven.keys.signature import verify_signature


def fill(server: ScriptedServer, count: int) -> None:
    for number in range(count):
        server.ledger.seal(b'{"action":"a","data":%d}' % number)


def says(data: bytes, status: int = 200) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.reply(status, data)


def test_the_servers_words(server: ScriptedServer, client: Client) -> None:
    fill(server, 2)
    assert client.status() == {"size": 2}
    assert client.get(1) == {"index": 1, "event": '{"action":"a","data":1}'}
    with pytest.raises(BadInput, match="no such event"):
        client.get(2)
    with pytest.raises(BadInput, match="index is 0 or more"):
        client.get(-1)


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b"{}x", b"\xff", b"[" * 5000])
def test_words_that_are_none(server: ScriptedServer, client: Client, data: bytes) -> None:
    server.script += [says(data)] * 2
    for call in (client.status, lambda: client.get(0)):
        with pytest.raises(Broken, match="no JSON object"):
            call()


def test_reading_asks_again(server: ScriptedServer, client: Client) -> None:
    server.script += [Exchange.cut, lambda exchange: exchange.refuse(503, "starting", headers={"Retry-After": "0"})]
    assert client.status() == {"size": 0}
    server.script += [Exchange.cut] * 8
    with pytest.raises(NoAnswer):
        client.status()


def test_evidence_is_checked(server: ScriptedServer, client: Client) -> None:
    fill(server, 3)
    proved = client.evidence(1)
    assert proved.verified.index == 1 and proved.verified.event == b'{"action":"a","data":1}'
    again = verify_evidence(parse_evidence(proved.data), keys=client.keys, verify=verify_signature)
    assert again == proved.verified, "the bytes are what was checked, to hand on"


def test_evidence_comes_once_it_is_published(server: ScriptedServer, client: Client) -> None:
    fill(server, 1)
    not_yet = lambda exchange: exchange.refuse(409, "not published yet", headers={"Retry-After": "0"})  # noqa: E731
    server.script += [not_yet, not_yet]
    assert client.evidence(0).verified.index == 0
    server.script += [not_yet] * 8
    with pytest.raises(Busy, match="not published yet"):
        client.evidence(0)


def another_text(ledger: Ledger) -> bytes:
    evidence = ledger.evidence(1)
    assert isinstance(evidence.event, Disclosed)
    return format_evidence(replace(evidence, event=replace(evidence.event, data=b'{"action":"another"}')))


EVIDENCE_LIES: dict[str, Callable[[Ledger], bytes]] = {
    "another event": lambda ledger: format_evidence(ledger.evidence(2)),
    "another text": another_text,
    "signed by a stranger": lambda ledger: format_evidence(
        replace(ledger.evidence(1), proof=ledger.proof(1, signers=(STRANGER,)))
    ),
}


@pytest.mark.parametrize("lie", EVIDENCE_LIES.values(), ids=EVIDENCE_LIES.keys())
def test_evidence_that_lies(server: ScriptedServer, client: Client, lie: Callable[[Ledger], bytes]) -> None:
    fill(server, 3)
    server.script.append(says(lie(server.ledger)))
    with pytest.raises(Disproved):
        client.evidence(1)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"format":"graven-evidence/v9"}'])
def test_evidence_that_is_none(server: ScriptedServer, client: Client, data: bytes) -> None:
    server.script.append(says(data))
    with pytest.raises(Broken, match="evidence cannot be read"):
        client.evidence(0)


def test_the_checkpoint_is_signed_by_every_key_given(server: ScriptedServer, client: Client) -> None:
    fill(server, 5)
    assert client.checkpoint().checkpoint.size == 5
    with Client(server.url, TOKEN, vkey=VKEYS) as both:
        assert len(both.checkpoint().signed) == 2
        server.script.append(says(server.ledger.checkpoint([LOG])))
        with pytest.raises(Disproved, match="must sign"):
            both.checkpoint()


@pytest.mark.parametrize(
    ("note", "error"),
    [
        (sign_checkpoint(3, seed_of("root"), [STRANGER]), Disproved),
        (sign_checkpoint(3, seed_of("root"), [LOG_PQ]), Disproved),
        (sign_checkpoint(3, seed_of("root"), [ed25519("other.invalid", seed_of("o"))], "other.invalid"), Disproved),
        (sign_checkpoint(3, seed_of("root"), [LOG], "other.invalid"), Disproved),
        (b"", Broken),
        (b"<html>", Broken),
        (sign_checkpoint(3, seed_of("root")).replace(b"\n3\n", b"\n03\n"), Broken),
        (sign_checkpoint(3, seed_of("root")).replace(b"\n3\n", b"\n4\n"), Disproved),
    ],
)
def test_a_checkpoint_that_is_not_the_logs(
    server: ScriptedServer, client: Client, note: bytes, error: type[GravenError]
) -> None:
    server.script.append(says(note))
    with pytest.raises(error) as caught:
        client.checkpoint()
    assert not isinstance(caught.value, BadInput)


def test_two_trees_of_one_size_are_a_fork(server: ScriptedServer, client: Client) -> None:
    fill(server, 4)
    client.checkpoint()
    server.script.append(says(sign_checkpoint(4, seed_of("another root"))))
    with pytest.raises(Disproved, match="forked"):
        client.checkpoint()
    assert client.checkpoint().checkpoint.size == 4


@pytest.mark.parametrize("before", [1, 5, 255, 256, 257])
@pytest.mark.parametrize("more", [0, 1, 60])
def test_a_promise_that_is_kept(server: ScriptedServer, client: Client, before: int, more: int) -> None:
    fill(server, before - 1)
    answer = client.append({"action": "a"})
    fill(server, more)
    assert client.check_promise(answer.receipt).checkpoint.size == before + more


def test_a_promise_that_is_broken(server: ScriptedServer, client: Client) -> None:
    fill(server, 2)
    receipt = client.append({"action": "fire.someone", "reason": "none"}).receipt
    fill(server, 3)
    client.check_promise(receipt)
    slot = server.ledger.slots[2]
    server.ledger.slots[2] = replace(slot, event=slot.event.replace(b"none", b"good"))
    with pytest.raises(Disproved, match="forked"):
        client.check_promise(receipt)
    with Client(server.url, TOKEN, vkey=VKEY) as another, pytest.raises(Disproved):
        another.check_promise(receipt)
    del server.ledger.slots[3:]
    with Client(server.url, TOKEN, vkey=VKEY) as another, pytest.raises(Disproved, match="broke its promise"):
        another.check_promise(receipt)


def test_a_promise_is_waited_for_until_it_is_published(server: ScriptedServer) -> None:
    fill(server, 2)
    with Client(server.url, TOKEN, vkey=VKEY, retries=1) as client:
        earlier = server.ledger.checkpoint()
        receipt = client.append({"action": "a"}).receipt
        server.script.append(says(earlier))
        assert client.check_promise(receipt).checkpoint.size == 3
        with pytest.raises(Busy, match="published 3 entries, not 4 yet"):
            client.check_promise(Receipt(ORIGIN, 4, seed_of("root")))


@pytest.mark.parametrize(
    ("tile", "error"), [(b"", Disproved), (b"x" * 31, Disproved), (b"x" * 160, Disproved), (None, Broken)]
)
def test_tiles_that_do_not_hold(
    server: ScriptedServer, client: Client, tile: bytes | None, error: type[GravenError]
) -> None:
    fill(server, 4)
    receipt = client.append({"action": "a"}).receipt
    fill(server, 3)
    missing = [says(b"", 404)] * 2
    server.script += [Exchange.honest, *([says(tile)] if tile is not None else missing)]
    with pytest.raises(error):
        client.check_promise(receipt)


def test_a_key_of_another_log_reads_nothing(server: ScriptedServer) -> None:
    fill(server, 1)
    other = format_vkey(ed25519("other.invalid/log", seed_of("other")).key)
    with Client(server.url, TOKEN, vkey=other) as client:
        for call in (client.checkpoint, lambda: client.evidence(0)):
            with pytest.raises(Disproved):
                call()


def test_a_token_that_may_not_read(server: ScriptedServer) -> None:
    with Client(server.url, "gvn_other", vkey=VKEY) as client, pytest.raises(BadInput, match="not known"):
        client.get(0)


def test_a_huge_answer_is_bounded(server: ScriptedServer, client: Client) -> None:
    server.script.append(says(json.dumps({"x": "y" * (5 << 20)}).encode()))
    with pytest.raises(Broken, match="more than"):
        client.status()
