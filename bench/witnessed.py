"""Rows about witnesses: from sending one event until a checkpoint covers it that all witnesses of the policy cosigned.

`graven serve` with a policy of three witnesses, all of which have to cosign, each a `graven witness serve` of its own
on the same machine and cores. Clients send single events with `wait=published` at moments that have nothing to do with
the publisher's, so an event is as likely to come just behind a checkpoint as just before one.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from random import Random
from time import perf_counter, sleep

import msgspec

from bench.events import Feed
from bench.lone import median_ms, percentile_99_ms
from bench.report import Row, limit_row
from bench.rounds import NotMeasuredError
from bench.served import PATH, command, cpu_seconds, graven, listening
from graven.config import CONFIG_NAME, format_config, load_config
from graven.core.checkpoint import open_checkpoint
from graven.core.policy import parse_policy
from graven.keys.signature import verify_signature

WHAT = "witnessed receipt"
WITNESSES = 3
P99_MS_MAX = {1_000: 1_500.0, 50: 150.0}
"""What is asked, by the interval of publishing in milliseconds."""
CLIENTS = 4
ANSWERS_MIN = 10  # of each client


class _Answer(msgspec.Struct):
    state: str
    size: int


def rows(place: Path, seconds: float, told: Callable[[str], None]) -> list[Row]:
    """A row for each interval, each measured for so many seconds, and until every client had its answers.

    Raises NotMeasuredError.
    """
    return [_row(place / f"witnessed-{interval_ms}", interval_ms, seconds, told) for interval_ms in P99_MS_MAX]


def _row(place: Path, interval_ms: int, seconds: float, told: Callable[[str], None]) -> Row:
    told(f"waiting for witnesses, publishing every {interval_ms} ms")
    place.mkdir()
    with ExitStack() as stack:
        directory = place / "log"
        graven("init", str(directory), "--origin", "bench.invalid/witnessed")
        token = graven("token", "create", "--dir", str(directory), "--name", "bench", "--scope", "ingest")
        config = load_config(directory / CONFIG_NAME)
        publish = msgspec.structs.replace(config.publish, interval_ms=interval_ms)
        (directory / CONFIG_NAME).write_text(format_config(msgspec.structs.replace(config, publish=publish)))
        lines = [f"log {config.vkeys[0]}"]
        pids: list[int] = []
        for number in range(WITNESSES):
            folder = place / f"witness-{number}"
            graven("witness", "init", str(folder), "--name", f"bench.invalid/w{number}")
            for vkey in config.vkeys:
                graven("witness", "add-log", str(folder), vkey)
            words = command("witness", "serve", str(folder), "--listen", "127.0.0.1:0")
            witness, host, port = stack.enter_context(listening(words, place / f"witness-{number}.log"))
            pids.append(witness.pid)
            vkey = graven("witness", "vkey", str(folder)).splitlines()[0]
            lines.append(f"witness w{number} {vkey} http://{host}:{port}")
        names = " ".join(f"w{number}" for number in range(WITNESSES))
        lines += [f"group every all {names}", "quorum every"]
        policy = place / "policy"
        policy.write_text("\n".join(lines) + "\n")
        before = {path.name for path in _notes(directory)}
        words = command("serve", "--dir", str(directory), "--listen", "127.0.0.1:0", "--witness-policy", str(policy))
        server, host, port = stack.enter_context(listening(words, place / "server.log"))
        cpu_s = cpu_seconds(server.pid), sum(map(cpu_seconds, pids))
        times_s = _measure(host, port, token, interval_ms / 1000, seconds)
        cpu_s = cpu_seconds(server.pid) - cpu_s[0], sum(map(cpu_seconds, pids)) - cpu_s[1]
        notes = [path for path in _notes(directory) if path.name not in before]
        _check(notes, policy)
    what = f"{WHAT}, {WITNESSES} witnesses, publishing every {interval_ms:,} ms"
    p50, p99 = median_ms(times_s), percentile_99_ms(times_s)
    each = [1000 * one / len(notes) for one in (cpu_s[0], cpu_s[1] / WITNESSES)]
    figure = (
        f"p50 {p50:,.0f} ms, p99 {p99:,.0f} ms over {len(times_s)} events; a checkpoint takes the server {each[0]:.1f} "
        f"CPU ms, a witness {each[1]:.1f}"
    )
    return limit_row(
        what, figure, p99, P99_MS_MAX[interval_ms], "ms p99",
        p50_ms=p50, events=len(times_s), server_cpu_ms=each[0], witness_cpu_ms=each[1],
    )  # fmt: skip


def _measure(host: str, port: int, token: str, interval_s: float, seconds: float) -> list[float]:
    """How long each event took, of clients that rest for some part of an interval between two."""
    found: list[float] = []
    failures: list[str] = []
    began = perf_counter()

    def send(seed: int) -> None:
        random, feed = Random(seed), Feed(seed=seed, pool_events=500)
        connection = HTTPConnection(host, port, timeout=60)
        try:
            count = 0
            while count < ANSWERS_MIN or perf_counter() - began < seconds:
                sleep(random.uniform(0, interval_s))
                event = feed.batch(1)
                started = perf_counter()
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
                connection.request("POST", f"{PATH}?wait=published", event, headers)
                answer = connection.getresponse()
                data = answer.read()
                took_s = perf_counter() - started
                if answer.status != 200 or msgspec.json.decode(data, type=_Answer).state != "published":
                    raise NotMeasuredError(f"an event was answered with {answer.status}: {data[:200]!r}")
                if count:  # the first makes the connection
                    found.append(took_s)
                count += 1
        except (OSError, HTTPException, NotMeasuredError) as error:
            failures.append(f"{type(error).__name__}: {error}")
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(seed,)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise NotMeasuredError(failures[0])
    return found


def _notes(directory: Path) -> list[Path]:
    """The checkpoints of the history, under the names of their sizes."""
    return [path for path in (directory / "checkpoints").rglob("*") if path.is_file() and path.name.isdecimal()]


def _check(notes: Sequence[Path], policy: Path) -> None:
    """Each of these checkpoints has the quorum. Raises Disproved."""
    trust = parse_policy(policy.read_bytes())
    keys = [key for key, _ in trust.logs]
    cosigners = [witness.key for witness in trust.witnesses]
    for path in notes:
        trust.check(open_checkpoint(path.read_bytes(), keys, verify_signature, cosigners=cosigners))
