"""Cosignatures are there before a checkpoint is shown; what dead, slow and lying ones do costs no more than them."""

import json
import logging
import threading
import time
from base64 import b64encode
from pathlib import Path

import pytest
from lab.http import replying

from anchor.hosts import Host, make_host, move, until, witnessed
from graven.anchor import panel
from graven.app import Log
from graven.core.errors import Busy, Disproved
from graven.core.policy import open_trusted
from graven.core.witness_request import parse_add_checkpoint
from graven.keys.signature import verify_signature
from witness.running import InProcess, post

EVENT: list[bytes | dict[str, object]] = [{"action": "door.opened"}]


def counted(host: Host, data: bytes) -> tuple[str, ...]:
    """The witnesses that cosigned, judged as an auditor with the policy does. Raises Disproved below the quorum."""
    _, names = open_trusted(data, host.policy, verify_signature)
    return host.policy.tally(names)[0]


def publish(log: Log) -> bytes:
    log.append(list(EVENT))
    return log.publish().data


def test_what_is_published_meets_the_quorum_with_both_kinds_of_key(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    with witnessed(host), host.open() as log:
        for _ in range(3):
            data = publish(log)
            assert host.shown == data
            assert counted(host, data) == ("w1", "w2", "w3")
        assert len(log.published.signed) == 2 + 3 * 2
        assert "operator-trusted: 3 witnesses, all on this host; 3 of 3 cosigned: w1, w2, w3" in log.trust
        evidence = json.loads(log.view.evidence(1))
        assert "witness.invalid/w2" in json.dumps(evidence, ensure_ascii=False)
    assert host.verify().problems == ()
    sizes = json.loads((host.directory / "state" / "witnesses.json").read_bytes())["sizes"]
    assert sorted(set(sizes.values())) == [log.published.checkpoint.size] and len(sizes) == 3


def test_the_log_goes_on_from_any_size_a_witness_stands_at(tmp_path: Path) -> None:
    """A deleted file of sizes, and a witness that was away for a while: proofs from where each of them is."""
    host = make_host(tmp_path)
    with witnessed(host):
        with host.open() as log:
            publish(log)
        with InProcess(host.witnesses["w3"][0]) as third:
            url = host.witnesses["w3"][2]
            move(host, "w3", "http://127.0.0.1:1")
            host.write_policy()
            with host.open(witness_deadline_ms=60_000) as log:
                for _ in range(5):
                    data = publish(log)
                assert counted(host, data) == ("w1", "w2")
            (host.directory / "state" / "witnesses.json").unlink()
            move(host, "w3", third.url if third.url else url)
            host.write_policy()
            with host.open() as log:
                assert counted(host, publish(log)) == ("w1", "w2", "w3")
    assert host.verify().problems == ()


def test_one_dead_witness_costs_no_time_and_no_publishing(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    with witnessed(host, ["w1", "w2"]), host.open(witness_deadline_ms=3_600_000) as log:
        data = publish(log)  # the deadline is not waited for: it is beyond the time that a test may take
        assert counted(host, data) == ("w1", "w2")
        assert log.publisher.panel is not None
        rows = {str(row["name"]): row for row in log.publisher.panel.status()}
        assert rows["w3-0"]["trouble"] == "cannot be reached" and not rows["w3-0"]["cosigned"]


def test_the_last_cosignature_that_the_quorum_takes_ends_the_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the next time that somebody looks."""
    monkeypatch.setattr(panel, "PAUSE_S", 3_600.0)
    host = make_host(tmp_path)
    with witnessed(host):
        host.write_policy("all")
        with host.open(witness_deadline_ms=7_200_000) as log:
            for _ in range(5):
                assert counted(host, publish(log)) == ("w1", "w2", "w3")


def test_a_slow_witness_is_not_waited_for_and_its_answer_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "GRACE_S", 0.05)
    host = make_host(tmp_path)
    with witnessed(host):
        real = host.witnesses["w3"][2]

        quick = threading.Event()
        quick.set()

        def pass_on(body: bytes) -> tuple[int, bytes]:
            quick.wait(90)
            got = post(real, body)
            return got.status, got.body

        with replying(pass_on) as url:
            move(host, "w3", url)
            host.write_policy()
            with host.open() as log:
                quick.clear()
                log.append(list(EVENT))
                data = log.publish().data  # while the third one says nothing yet
                assert counted(host, data) == ("w1", "w2")
                quick.set()
                until(lambda: counted(host, log.publish().data) == ("w1", "w2", "w3"))
                assert counted(host, host.shown) == ("w1", "w2", "w3")
                assert log.published.checkpoint.size == log.size
    assert host.verify().problems == ()


def publish_at_last(log: Log) -> bytes:
    """What is held back, as soon as its witnesses have answered in time."""
    until(lambda: not _is_held_back(log))
    return log.published.data


def _is_held_back(log: Log) -> bool:
    try:
        log.publish()
    except Busy:
        return True
    return False


def wrong_cosignature(host: Host) -> bytes:
    """Lines as the third witness's, right in form, over nothing."""
    lines = []
    for key in host.witnesses["w3"][1]:
        blob = bytes(7) + b"\x01" + bytes(64 if key.type == 4 else 2420)
        lines.append(f"— {key.name} {b64encode(key.id + blob).decode()}\n")
    return "".join(lines).encode()


@pytest.mark.parametrize(
    "status, body",
    [
        (200, b"wrong cosignature"), (200, b""), (200, b"\xff\x00"), (200, "— x y\n".encode()), (200, b"x" * 300_000),
        (409, b""), (409, b"9223372036854775807\n"), (409, b"0\n"), (409, b"-1\n"), (409, b"1\n1\n"),
        (422, b"a fork, it says"), (404, b""), (403, b"no"), (500, b""), (302, b""),
    ],
)  # fmt: skip
def test_a_lying_witness_adds_nothing_and_stops_nothing(tmp_path: Path, status: int, body: bytes) -> None:
    host = make_host(tmp_path)
    with witnessed(host):
        with host.open() as log:
            publish(log)
        answer = wrong_cosignature(host) if body == b"wrong cosignature" else body
        honest = host.witnesses["w3"][2]
        lying: list[bool] = []

        def reply(request: bytes) -> tuple[int, bytes]:
            if lying:
                return status, answer
            got = post(honest, request)
            return got.status, got.body

        with replying(reply) as url:
            move(host, "w3", url)
            host.write_policy()
            with host.open() as log:
                lying.append(True)
                data = publish(log)
                assert counted(host, data) == ("w1", "w2")
                assert b"witness.invalid/w3" not in data
    assert host.verify().problems == ()


def test_an_answer_that_drips_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graven.anchor.panel.LEARN_TIMEOUT_S", 0.5)
    host = make_host(tmp_path)
    with witnessed(host), host.open() as log:
        publish(log)
    with witnessed(host, ["w1", "w2"]), replying(lambda _: (200, b"x" * 1000), drip_s=1.0) as url:
        move(host, "w3", url)
        host.write_policy()
        with host.open(witness_deadline_ms=3_000, witness_start="go_on") as log:
            assert counted(host, publish(log)) == ("w1", "w2")


def test_short_of_the_quorum_it_is_published_at_the_deadline_with_an_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = make_host(tmp_path)
    with witnessed(host, ["w1"]), host.open(witness_start="go_on", witness_deadline_ms=3_000) as log:
        began_s = time.monotonic()
        own = logging.getLogger("graven")  # which a witness in this process has set up to tell nobody else
        own.addHandler(caplog.handler)
        try:
            data = publish(log)
        finally:
            own.removeHandler(caplog.handler)
        assert time.monotonic() - began_s >= 2.9
        assert host.shown == data and b"witness.invalid/w1" in data
        with pytest.raises(Disproved, match="quorum"):
            counted(host, data)
        assert "published with fewer witnesses than the policy asks for" in caplog.text
        assert log.publisher.panel is not None and log.publisher.panel.numbers == (1, 3, False)
        assert "1 of 3 cosigned: w1, fewer than the policy asks for" in log.trust
        with InProcess(host.witnesses["w2"][0]) as second:  # back, at the address the policy names
            assert second.url
    assert host.verify().problems == ()


def test_required_witnesses_hold_a_tree_back_until_they_are_there(tmp_path: Path) -> None:
    host = make_host(tmp_path, ["w1", "w2"])
    with witnessed(host):
        with host.open() as log:
            before = publish(log)
        gate: list[bool] = []
        real = host.witnesses["w2"][2]

        def reply(request: bytes) -> tuple[int, bytes]:
            if gate:
                return 500, b"not now\n"
            got = post(real, request)
            return got.status, got.body

        with replying(reply) as url:
            move(host, "w2", url)
            host.write_policy()
            log = host.open(witness_require=True, witness_deadline_ms=300)
            gate.append(True)
            done = log.append(list(EVENT))
            size = done.size  # durable, and its receipt is out
            with pytest.raises(Busy, match="held back"):
                log.publish()
            assert log.publisher.trouble is not None
            assert log.published.checkpoint.size < size and f"\n{size}\n".encode() in host.signed
            assert host.shown.split(b"\n\n")[0] == before.split(b"\n\n")[0]
            gate.clear()
            held = host.signed
            shown = publish_at_last(log)
            assert shown.startswith(held) and counted(host, shown) == ("w1", "w2")
            gate.append(True)
            log.append(list(EVENT))
            log.close()  # what is held back does not hang or break the stop
            assert int(host.signed.split(b"\n")[1]) > size and host.shown == shown
            gate.clear()
            with host.open(witness_require=True) as log:
                assert counted(host, log.publish().data) == ("w1", "w2")
                assert log.published.checkpoint.size > size
    assert host.verify().problems == ()


def test_an_unchanged_tree_is_witnessed_again_and_signed_once(tmp_path: Path) -> None:
    host = make_host(tmp_path, ["w1", "w2"])
    with witnessed(host), host.open(witness_refresh_s=1, interval_ms=50, witness_deadline_ms=60_000) as log:
        log.append(list(EVENT), wait="published")
        first = host.shown
        until(lambda: host.shown != first)
        again = host.shown
        assert f"\n{log.published.checkpoint.size}\n".encode() in first and log.size == log.published.checkpoint.size
        assert again.startswith(host.signed) and first.startswith(host.signed)
        old, new = (open_trusted(data, host.policy, verify_signature)[0] for data in (first, again))
        times = [[one.time or 0 for one in data.signed if one.key.name != log.origin] for data in (old, new)]
        assert all(before < after for before, after in zip(*times, strict=True))
    assert host.verify().problems == ()


def test_a_log_without_a_policy_asks_nobody(tmp_path: Path) -> None:
    host = make_host(tmp_path, [])
    with Log.open(host.directory) as log:
        log.append(list(EVENT), wait="published")
        assert log.publisher.panel is None and log.trust == "operator-trusted: 0 witnesses"
    assert not (host.directory / "policies").exists() and not (host.directory / "state" / "witnesses.json").exists()
    assert host.shown == host.signed


def test_the_requests_are_as_the_specification_has_them(tmp_path: Path) -> None:
    host = make_host(tmp_path, ["w1"])
    with witnessed(host):
        seen: list[bytes] = []
        real = host.witnesses["w1"][2]

        def pass_on(body: bytes) -> tuple[int, bytes]:
            seen.append(body)
            got = post(real, body)
            return got.status, got.body

        with replying(pass_on) as url:
            move(host, "w1", url)
            host.write_policy("1")
            with host.open() as log:
                publish(log)
                publish(log)
    read = [parse_add_checkpoint(body) for body in seen]
    sizes = [int(note.text.split("\n")[1]) for _, _, note in read]
    assert sizes[:2] == [1, 1] and sizes[1] < sizes[2] < sizes[3] and len(sizes) == 4
    assert [old for old, _, _ in read] == [1, 0, 1, sizes[2]]  # its own size first; 409 says 0; then from size to size
    assert [len(note.signatures) for _, _, note in read] == [2, 2, 2, 2]
