"""CloudTrail's files in a real bucket (SeaweedFS), read by an agent, and everything killed, the store too."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab import AbsentError
from lab.seaweed import weed

from agent.trails import PUBLIC_KEYS, Trail
from senders import ground as grounds
from senders.ground import Ground, Wire
from senders.hosted import Agent
from worm.seaweed import ACCESS, SECRET, Seaweed, client, crash, kill, make_bucket, start

FILES, RECORDS = 20, 5

pytestmark = pytest.mark.slow


def test_cloudtrail_in_a_bucket(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record of every file once, through kills of agent, server and store, and cuts of both wires."""
    monkeypatch.setattr(grounds, "MARKER", re.compile(rb'"eventID": ?"id-0(\d{5})"'))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with serve_store(tmp_path / "store") as stores:
        store = stores[0]
        make_bucket(store, "trail", lock=False)
        host, _, port = store.endpoint.removeprefix("http://").rpartition(":")
        wire = Wire((host, int(port)))
        (ground.folder / "keys.json").write_bytes(PUBLIC_KEYS)
        agent = Agent(
            ground,
            f'[[cloudtrail]]\nname = "aws"\nbucket = "s3://trail/org"\nendpoint = "http://127.0.0.1:{wire.port}"\n'
            f'region = "us-east-1"\npublic_keys_file = "{ground.folder}/keys.json"\ninterval_s = 1\n',
        )

        def put(name: str, data: bytes, signature: str) -> None:
            metadata = {"signature": signature, "signature-algorithm": "SHA256withRSA"} if signature else {}
            client(stores[-1]).put_object(Bucket="trail", Key=f"org/{name}", Body=data, Metadata=metadata)

        trail = Trail(put, bucket="trail")
        for number in range(FILES):
            trail.log_file(RECORDS)
            if number % 5 == 4:
                trail.digest()
            if number in (FILES // 4, FILES // 2):
                agent.kill()
            if number == FILES // 3:
                ground.kill_server()
            if number == 2 * FILES // 3:
                stores.append(crash(stores[-1]))
            if number in (FILES // 5, 3 * FILES // 4):
                wire.cut()
                ground.http.down(0.3)
            time.sleep(0.1)
        ground.wait_for_all(FILES * RECORDS)
        wire.close()
    verdict = ground.judge(FILES * RECORDS + 1)  # the trail counts from 1
    assert (verdict.missing, verdict.doubled) == ([0], [])


@contextmanager
def serve_store(folder: Path) -> Iterator[list[Seaweed]]:
    """A store of our own; the last of the list is the one that runs."""
    try:
        weed()
    except AbsentError as why:
        pytest.skip(str(why))
    folder.mkdir()
    stores = [start(folder)]
    try:
        yield stores
    finally:
        kill(stores[-1].pid)
