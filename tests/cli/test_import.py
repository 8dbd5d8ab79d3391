"""History: imported once, whatever is killed in between, and marked as what it is."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.agents import acts, check_log, records
from agent.trails import PUBLIC_KEYS, Trail
from cli.calls import Run, read_error, read_json
from graven.cli.history import Importer, find_files, hash_files
from graven.cli.writing import HeldLog, open_writing
from graven.core.errors import BadInput, Broken
from graven.ingest.history import Part, decode_parts, encode_parts
from graven.log.registers import IMPORTS_MAX, Registers
from graven.log.seal import zstd
from server.running import Server

LOG = Path("log")
SSHD = b"<38>Oct 11 22:14:%02d web sshd[%d]: Accepted password for ann from 192.0.2.7 port 22 ssh2\n"


@pytest.fixture
def old() -> Path:
    """A folder of history: two thousand and five hundred records, in four ways of writing them."""
    folder = Path("old")
    folder.mkdir()
    native = b"".join(json.dumps({"action": "x.y", "id": f"n-{n}"}).encode() + b"\n" for n in range(1_000))
    (folder / "native.jsonl").write_bytes(native)
    (folder / "auth.log.gz").write_bytes(gzip.compress(b"".join(SSHD % (n % 60, n) for n in range(1_000))))
    rows = [{"eventVersion": "1.08", "eventName": "GetObject", "eventSource": "s3.amazonaws.com", "eventID": f"c-{n}",
             "eventTime": "2024-03-01T00:00:00Z", "userIdentity": {"type": "Root"}} for n in range(400)]  # fmt: skip
    (folder / "trail.json.zst").write_bytes(zstd.compress(json.dumps({"Records": rows}).encode()))
    (folder / "list.json").write_bytes(json.dumps([{"action": "l", "id": f"l-{n}"} for n in range(100)]).encode())
    return folder


def distinct(directory: Path = LOG, source: str = "old") -> Counter[bytes]:
    """The raws there are, and how often."""
    return Counter(raw for _, raw in records(directory, source) if raw is not None)


def test_every_shape_once_and_marked(run: Run, made: str, old: Path) -> None:
    first = read_json(run("import", "--history", old, "--source", "old", "--dir", LOG, "--json"))
    assert (first["files"], first["known"], first["records"], first["accepted"]) == (4, 0, 2_500, 2_500)
    again = read_json(run("import", "--history", old, "--source", "old", "--dir", LOG, "--json"))
    assert (again["known"], again["records"], again["accepted"]) == (4, 0, 0)
    found = distinct()
    assert len(found) == 2_500 and set(found.values()) == {1}
    for event, _ in records(LOG, "old"):
        assert event["labels"]["graven.history"] == "imported; integrity before that is not claimed"
    whole = {row["file"]: row for row in acts(LOG, "graven.import.file")}
    assert whole["old/native.jsonl"]["records"] == 1_000
    assert whole["old/auth.log.gz"]["size_bytes"] == (old / "auth.log.gz").stat().st_size
    assert whole["old/trail.json.zst"] | {"sha256": ""} == {
        "source": "old", "number": 2, "file": "old/trail.json.zst", "sha256": "", "records": 400, "events": 400,
        "size_bytes": (old / "trail.json.zst").stat().st_size, "quarantined": 0,
    }  # fmt: skip
    row = read_json(run("source", "show", "old", "--dir", LOG, "--json"))
    assert (row["grade"], row["state"]) == ("imported history", "seen")
    shown = run("show", 3, "--dir", LOG).stdout
    assert "integrity before that is not claimed" in shown
    run("prove", 3, "--dir", LOG, "-o", "evidence.json")
    checked = run("check", "evidence.json", "--vkey", made)
    assert "history     imported at " in checked.stdout
    assert read_json(run("check", "evidence.json", "--vkey", made, "--json"))["files"][0]["history"] is True
    check_log(LOG.absolute())


class Cut(Exception):
    """The wire is cut."""


class Flaky:
    """A door that fails at one request, before or after it was done."""

    def __init__(self, log: Any, at: int, *, after: bool) -> None:
        self._log, self._at, self._after, self._number = log, at, after, 0

    def history_positions(self, source: str, files: Sequence[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._log.history_positions(source, files)
        return found

    def import_history(self, source: str, parts: Sequence[Part]) -> dict[str, Any]:
        self._number += 1
        if self._number == self._at and not self._after:
            raise Cut
        done: dict[str, Any] = self._log.import_history(source, parts)
        if self._number == self._at:
            raise Cut
        return done


def test_cut_anywhere_and_run_again(run: Run, made: str, old: Path) -> None:
    run("source", "add", "old", "--dir", LOG, "--grade", "imported history")
    files = hash_files(find_files([old]), lambda _: None)
    with open_writing(LOG) as log:
        assert isinstance(log, HeldLog)
        for at in (1, 2, 2, 3):
            for after in (False, True):
                try:
                    Importer(Flaky(log, at, after=after), "old").run(files, lambda _: None)
                except Cut:
                    continue
        done = Importer(log, "old").run(files, lambda _: None)
        assert not done.failed
    found = distinct()
    assert len(found) == 2_500 and set(found.values()) == {1}
    run("import", "--history", old, "--source", "old", "--dir", LOG)
    assert sum(distinct().values()) == 2_500


STOP_AFTER_ONE = """
import signal
from graven.cli import main
from graven.cli.writing import HeldLog
imported = HeldLog.import_history
def once(self, source, parts):
    imported(self, source, parts)
    while True:
        signal.pause()
HeldLog.import_history = once
main()
"""


@pytest.mark.parametrize("tries", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_killed_in_the_middle(run: Run, made: str, tries: int) -> None:
    """The process that imports is killed with -9, again and again; each record is in the log once."""
    lines = [b'{"action":"k","id":"k-%d","pad":0}\n' % n for n in range(3_000)]
    Path("big.jsonl").write_bytes(b"".join(lines).replace(b',"pad":0', b""))
    run("source", "add", "old", "--dir", LOG, "--grade", "imported history")
    words = ["import", "--history", "big.jsonl", "--source", "old", "--dir", "log"]
    for number in range(tries):
        before = (LOG / "state" / "committed").read_bytes()
        command = [sys.executable, "-c", STOP_AFTER_ONE if number == 0 else "from graven.cli import main; main()"]
        process = subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and (LOG / "state" / "committed").read_bytes() == before:
            time.sleep(0.001)
        assert number or process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    run("import", "--history", "big.jsonl", "--source", "old", "--dir", LOG)
    found = distinct()
    assert len(found) == 3_000 and set(found.values()) == {1}
    (whole,) = acts(LOG, "graven.import.file")
    assert whole["records"] == 3_000
    check_log(LOG.absolute())


@pytest.mark.slow
def test_the_server_is_killed(run: Run, made: str) -> None:
    """The server that takes it is killed with -9 in the middle; the command says so, and goes on when run again."""
    Path("big.jsonl").write_bytes(b"".join(b'{"action":"k","id":"k-%d"}\n' % n for n in range(60_000)))
    run("source", "add", "old", "--dir", LOG, "--grade", "imported history")
    mark, said = LOG / "state" / "committed", Path("served.txt")
    words = [sys.executable, "-m", "graven"]
    ends = []
    for tries in range(3):
        with said.open("wb") as out:
            server = subprocess.Popen(
                [*words, "serve", "--dir", "log", "--listen", "127.0.0.1:0"], stdout=out, stderr=subprocess.DEVNULL
            )
        while b"listening" not in said.read_bytes():
            time.sleep(0.02)
        time.sleep(0.3)
        before = mark.read_bytes()
        process = subprocess.Popen(
            [*words, "import", "--history", "big.jsonl", "--source", "old", "--dir", "log"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while mark.read_bytes() == before and process.poll() is None:
            time.sleep(0.001)
        time.sleep(0.1 * tries)
        server.send_signal(signal.SIGKILL)
        server.wait()
        ends.append(process.wait())
    assert set(ends) <= {0, 3} and 3 in ends
    run("import", "--history", "big.jsonl", "--source", "old", "--dir", LOG)
    found = distinct()
    assert len(found) == 60_000 and set(found.values()) == {1}
    check_log(LOG.absolute())


@pytest.fixture
def served() -> Iterator[Server]:
    with Server(Path("served").absolute()) as server:
        yield server


def test_through_a_running_server(run: Run, old: Path, served: Server) -> None:
    with open_writing(served.directory) as log:
        log.add_source("old", grade="imported history")
    secret = str(served.control.create_token("history", ["ingest:old"])["secret"])
    Path("token").write_text(secret)
    Path("token").chmod(0o600)
    first = read_json(
        run("import", "--history", old / "auth.log.gz", "--source", "old", "--server", served.url, "--token-file",
            "token", "--json")
    )  # fmt: skip
    assert first["accepted"] == 1_000
    rest = read_json(run("import", "--history", old, "--source", "old", "--dir", served.directory, "--json"))
    assert (rest["known"], rest["accepted"]) == (1, 1_500)
    found = distinct(served.directory)
    assert len(found) == 2_500 and set(found.values()) == {1}
    row = next(row for row in served.control.sources() if row["name"] == "old")
    assert (row["state"], row["activity"]["events"]) == ("seen", 2_500)
    assert served.ask("GET", "/metrics").body.count(b'graven_events_accepted_total{source="old"} 2500.0') == 1


def part(**changes: Any) -> Part:
    fields: dict[str, Any] = {"name": "f", "sha256": "a" * 64, "size_bytes": 1, "type": "", "first": 0, "last": False,
              "records": [b'{"action":"a"}']} | changes  # fmt: skip
    return Part(**fields)


def test_what_the_door_refuses(served: Server) -> None:
    with open_writing(served.directory) as log:
        log.add_source("old", grade="imported history")
        log.add_source("web")
    mine, other = served.token("ingest:old", name="mine"), served.token("ingest", name="other")

    def send(parts: list[Part], token: str = mine, source: str = "old", body: bytes | None = None) -> Any:
        sent = encode_parts(parts) if body is None else body
        return served.ask("POST", f"/api/v1/history/{source}", sent, token=token)

    assert send([part()], token=other).status == 403
    assert served.ask("POST", "/api/v1/history/old", encode_parts([part()])).status == 401
    web = served.token("ingest:web", name="for-web")
    refused = send([part()], token=web, source="web")
    assert refused.status == 400 and "source of its own" in refused.error["what"]
    size = served.size
    assert send([part(first=5)]).status == 409
    assert send([part(type="nothing-known")]).status == 400
    assert send([part(), part()]).status == 400
    assert send([part(sha256="A" * 64)]).status == 400
    assert send([part(name="evil\x1b[2J")]).status == 400
    assert send([part(said=[b"not an event"])]).status == 400
    assert send([]).status == 400
    assert send([], body=b"nonsense").status == 400
    assert send([], body=zstd.compress(bytes(64 << 20))).status == 413
    assert served.size == size
    assert send([part()]).json() == {"accepted": 1, "duplicates": 0, "quarantined": 0, "size": size + 2}
    assert send([part()]).status == 409  # its answer was lost: it is in
    assert send([part(first=1, last=True, records=[])]).json()["accepted"] == 0
    assert send([part(first=1)]).status == 409
    body = json.dumps({"files": ["a" * 64, "b" * 64]}).encode()
    known = served.ask("POST", "/api/v1/history/old/positions", body, token=mine).json()["positions"]
    assert [(one["records"], one["done"]) for one in known] == [(1, True), (0, False)]
    assert served.ask("POST", "/api/v1/history/old/positions", b'{"files":["x"]}', token=mine).status == 400


def test_digests_of_cloudtrail_are_judged(run: Run, made: str) -> None:
    folder = Path("trail")

    def put(name: str, data: bytes, _signature: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    trail = Trail(put, signed=False)
    for _ in range(3):
        trail.log_file(7)
        trail.digest()
    Path("keys.json").write_bytes(PUBLIC_KEYS)
    words = ("import", "--history", folder, "--source", "aws", "--dir", LOG, "--cloudtrail-keys", "keys.json", "--json")
    done = read_json(run(*words))
    assert (done["files"], done["records"]) == (6, 21)
    assert done["digests"] == {"success": 2, "unknown": 3}  # each is decided by the one behind it
    changed = trail.log_file(7)
    (folder / changed).write_bytes(gzip.compress(b'{"Records":[]}'))
    trail.digest()
    result = run(*words, exit_code=1)
    assert json.loads(result.stdout)["known"] == 6
    assert json.loads(result.stdout)["digests"] == {"success": 1, "failure": 1}
    verdicts = [event for event, _ in records(LOG, "aws") if event["action"] == "graven.import.cloudtrail_digest"]
    assert [one["outcome"] for one in verdicts].count("failure") == 1
    assert all("graven.history" not in (one.get("labels") or {}) for one in verdicts)
    assert "was changed" in verdicts[-1]["data"]["problems"][0]


def test_what_cannot_be_imported_is_said(run: Run, made: str, old: Path) -> None:
    whole = (old / "auth.log.gz").read_bytes()
    (old / "auth.log.gz").write_bytes(whole[: len(whole) - 40])
    done = run("import", "--history", old, "--source", "old", "--dir", LOG, "--json", exit_code=2)
    assert json.loads(done.stdout)["failed"][0]["file"] == "old/auth.log.gz"
    assert json.loads(done.stdout)["records"] > 1_500  # what could be read is in
    assert read_error(run("import", old, "--source", "old", "--dir", LOG, "--json", exit_code=2))["mend"]
    run("import", "--history", "nowhere", "--source", "old", "--dir", LOG, exit_code=2)
    run("import", "--history", old, "--source", "old", exit_code=2)
    run("import", "--history", old, "--source", "local", "--dir", LOG, exit_code=2)
    os.mkfifo("pipe")
    run("import", "--history", "pipe", "--source", "old", "--dir", LOG, exit_code=2)


def test_a_file_that_changes_is_not_said_to_be_whole(run: Run, made: str) -> None:
    run("source", "add", "old", "--dir", LOG, "--grade", "imported history")
    Path("live.log").write_bytes(b"one\n")
    files = hash_files(find_files([Path("live.log")]), lambda _: None)
    Path("live.log").write_bytes(b"one\ntwo\n")
    with open_writing(LOG) as log:
        done = Importer(log, "old").run(files, lambda _: None)
        assert "changed" in str(done.failed[0][1])
    assert acts(LOG, "graven.import.file") == []


def test_files_that_are_known_are_bounded() -> None:
    registers = Registers()
    for number in range(IMPORTS_MAX + 10):
        data = {"number": 1, "sha256": f"{number:064x}", "records": 1, "events": 1, "quarantined": 0}
        registers._set_import(data, done=True)
    assert len(registers.imports) == IMPORTS_MAX
    assert not registers.imported(1, f"{0:064x}").done
    assert registers.imported(1, f"{IMPORTS_MAX + 9:064x}").done


def test_bodies_that_are_none() -> None:
    for body in (b"", b"\x00", b"\x91\x90", zstd.compress(b"x")):
        with pytest.raises(BadInput):
            decode_parts(body)


def test_what_stops_the_log_stops_the_import(run: Run, made: str, old: Path) -> None:
    class Stopped(Flaky):
        def import_history(self, source: str, parts: Sequence[Part]) -> dict[str, Any]:
            raise Broken("the disk is gone")

    files = hash_files(find_files([old]), lambda _: None)
    run("source", "add", "old", "--dir", LOG, "--grade", "imported history")
    with open_writing(LOG) as log, pytest.raises(Broken):
        Importer(Stopped(log, 0, after=False), "old").run(files, lambda _: None)
