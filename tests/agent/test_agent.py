"""An agent and a real server: every line once, signed, in order; refusals; outages."""

import json
import shutil
from pathlib import Path

import pytest

from agent.agents import Running, acts, check_log, enrolled, raws, records, run_once, wait_for, write_config
from graven.agent.agent import Agent
from graven.agent.delivery import OutOfStep
from graven.agent.identity import load_identity
from graven.core.errors import BadInput
from graven.core.statement import open_batch
from graven.keys.signature import verify_signature
from server.running import Server

FILES = '[[files]]\nname = "app"\npaths = ["{}/*.log"]\n'


def lines(first: int, last: int) -> list[bytes]:
    return [b"line %d of the application" % number for number in range(first, last)]


def write(path: Path, some: list[bytes]) -> None:
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in some))


def caught_up(agent: Agent, path: Path) -> bool:
    """Whether all of a file is in the spool, or beyond."""
    size = path.stat().st_size
    return any(
        place.get("path") == str(path) and place["offset"] == size for place in list(agent.spool.places.values())
    )


def test_lines_arrive_once_in_order_and_signed(server: Server, tmp_path: Path) -> None:
    write(tmp_path / "a.log", lines(0, 500))
    config = enrolled(write_config(tmp_path, server.url, FILES.format(tmp_path)), server)
    with Running(config):
        wait_for(lambda: len(raws(server.directory)) >= 500)
        write(tmp_path / "a.log", lines(500, 700))
        wait_for(lambda: len(raws(server.directory)) >= 700)
    assert raws(server.directory) == lines(0, 700)
    key = load_identity(Path(config.state)).key
    waiting: list[bytes] = []
    sequence = 0
    for event, raw in records(server.directory):
        if event["action"] != "graven.agent.statement":
            waiting.append(raw if raw is not None else json.dumps(event, separators=(",", ":")).encode())
            continue
        assert raw is not None
        statement = open_batch(raw, key, verify_signature)
        sequence += 1
        assert (statement.sequence, event["data"]["records"]) == (sequence, len(waiting))
        statement.verify_records(waiting)
        waiting.clear()
    assert not waiting
    assert sequence >= 2


def test_nothing_is_lost_or_doubled_while_the_server_is_away(tmp_path: Path) -> None:
    directory = tmp_path / "served"
    with Server(directory) as server:
        config = enrolled(write_config(tmp_path, server.url, FILES.format(tmp_path)), server)
        write(tmp_path / "a.log", lines(0, 10))
        run_once(config)
    config = write_config(tmp_path, "http://127.0.0.1:1", FILES.format(tmp_path))  # nobody else's port meanwhile
    with Running(config) as running:
        write(tmp_path / "a.log", lines(10, 300))
        wait_for(lambda: caught_up(running.agent, tmp_path / "a.log"))
        assert running.agent.spool.waiting_bytes
    with Running(config) as running:  # a restart in the middle of the outage
        write(tmp_path / "a.log", lines(300, 400))
        wait_for(lambda: caught_up(running.agent, tmp_path / "a.log"))
    with Server(directory) as server:
        moved = write_config(tmp_path, server.url, FILES.format(tmp_path))
        run_once(moved)
    assert raws(directory) == lines(0, 400)
    check_log(directory)


def test_an_answer_that_was_lost_is_no_second_batch(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.log", lines(0, 50))
    config = enrolled(write_config(tmp_path, server.url, FILES.format(tmp_path)), server)
    agent = Agent(config)
    settle = agent.spool.settle
    forgotten: list[int] = []

    def forget(sequence: int) -> None:
        if not forgotten:
            forgotten.append(sequence)  # the answer never reached the spool
        else:
            settle(sequence)

    monkeypatch.setattr(agent.spool, "settle", forget)
    try:
        agent.run(until_sent=True)
    finally:
        agent.close()
    assert forgotten
    assert raws(server.directory) == lines(0, 50)


def test_a_state_restored_from_a_copy_sends_nothing_more(server: Server, tmp_path: Path) -> None:
    write(tmp_path / "a.log", lines(0, 5))
    config = enrolled(write_config(tmp_path, server.url, FILES.format(tmp_path)), server)
    run_once(config)
    shutil.copytree(config.state, tmp_path / "copy")
    write(tmp_path / "a.log", lines(5, 10))
    run_once(config)
    shutil.rmtree(config.state)
    shutil.copytree(tmp_path / "copy", config.state)
    write(tmp_path / "a.log", lines(10, 15))
    with pytest.raises(OutOfStep):
        run_once(config)
    assert raws(server.directory) == lines(0, 10)


def test_two_agents_with_one_key_are_found_out(server: Server, tmp_path: Path) -> None:
    write(tmp_path / "a.log", lines(0, 5))
    config = enrolled(write_config(tmp_path, server.url, FILES.format(tmp_path)), server)
    run_once(config)
    twin_folder = tmp_path / "twin"
    twin_folder.mkdir()
    twin = write_config(twin_folder, server.url, FILES.format(tmp_path))
    shutil.copytree(config.state, twin.state)
    write(tmp_path / "a.log", lines(5, 7))
    run_once(config)
    with pytest.raises(OutOfStep):
        run_once(twin)


def test_a_name_is_enrolled_once_and_a_revoked_key_is_refused(server: Server, tmp_path: Path) -> None:
    config = enrolled(write_config(tmp_path, server.url, FILES.format(tmp_path)), server)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(BadInput, match="already"):
        enrolled(write_config(other, server.url), server)
    write(tmp_path / "a.log", lines(0, 3))
    run_once(config)
    server.control.revoke_agent("host-1")
    write(tmp_path / "a.log", lines(3, 6))
    with Running(config) as running:
        wait_for(lambda: running.agent.delivery.trouble)
        assert "no agent in use" in str(running.agent.delivery.trouble)
    shutil.rmtree(other / "state")
    again = enrolled(write_config(other, server.url), server)
    run_once(again)
    assert raws(server.directory) == lines(0, 3)
    assert len(acts(server.directory, "graven.agent.enrol")) == 2


def test_very_many_short_lines_are_more_than_one_batch(server: Server, tmp_path: Path) -> None:
    """A batch has a bound in records: a megabyte of one-byte lines is beyond it."""
    (tmp_path / "a.log").write_bytes(b"x\n" * 250_000 + b"last\n")
    config = enrolled(write_config(tmp_path, server.url, FILES.format(tmp_path)), server)
    agent = Agent(config)
    try:
        gathered: list[bytes] = []
        while len(gathered) < 250_001:
            taken = agent.sources[0].take(4 << 20)
            assert max(one.count for one in taken) <= 20_000
            gathered += [record for one in taken for record in one.records]
    finally:
        agent.close()
    assert gathered[-1] == b"last"
