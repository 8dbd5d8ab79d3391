"""`kill -9` under load: what a process answered before it died holds, every time."""

import base64
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from crash import child
from crash.story import ORIGIN
from graven.app import Log, create_log, open_keyring, public_keys
from graven.config import default_config, load_config
from graven.config.model import JournalConfig, PublishConfig
from graven.core.merkle import compact_range_at
from graven.core.note import parse_note
from graven.core.receipt import parse_receipt
from graven.log.verify import verify_directory

Answer = dict[str, object]


def test_five_kills(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, rounds=5)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_kills(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, rounds=100)


def kill_again_and_again(tmp_path: Path, rounds: int) -> None:
    directory = tmp_path / "log"
    config = msgspec.structs.replace(
        default_config(origin=ORIGIN, log_id="0" * 32, vkeys=("replaced",)),
        journal=JournalConfig(segment_bytes=64 << 10),
        publish=PublishConfig(interval_ms=10),
    )
    create_log(directory, origin=ORIGIN, config=config)
    answers: list[Answer] = []
    for seed in range(rounds):
        new = list(run_and_kill(directory, seed))
        assert new, "the process died before it answered at all"
        answers += new
        hold(directory, answers[-2_000:])
    keyring = open_keyring(directory, load_config(directory / "graven.toml"))
    report = verify_directory(
        directory, keys=public_keys(load_config(directory / "graven.toml")), keyring=keyring, processes=1
    )
    assert report.exit_code == 0, report.problems


def run_and_kill(directory: Path, seed: int) -> Iterator[Answer]:
    """Let the child run for a random time after its first answer; everything it printed whole."""
    process = subprocess.Popen(
        [sys.executable, child.__file__, str(directory), "3", str(seed)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    time.sleep(random.Random(seed).uniform(0.0, 0.4))
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.read().splitlines(keepends=True)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    return (json.loads(line) for line in lines if line.endswith("\n"))


def hold(directory: Path, answers: list[Answer]) -> None:
    with Log.open(directory) as log:
        nodes = log.writer.state.tail.nodes(log.size)
        for answer in answers:
            first, events = answer["first"], answer["events"]
            assert isinstance(first, int) and isinstance(events, list)
            found = [record.event for record in log.view.records(first, first + len(events))]
            assert found == [event.encode() for event in events]
            receipt = parse_receipt(parse_note(base64.b64decode(str(answer["receipt"]))).text)
            assert compact_range_at(nodes, receipt.size).root() == receipt.root
        last = answers[-1]
        assert isinstance(last["events"], list)
        again = log.append("\n".join(last["events"]).encode(), content_type="application/x-ndjson")
        assert (again.accepted, again.duplicates[0]) == (0, (0, last["first"]))
