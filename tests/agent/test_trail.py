"""CloudTrail's files, from a folder and from a bucket: each record once; its digests judged."""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.agents import enrolled, raws, records, run_once, wait_for, write_config
from agent.trails import FINGERPRINT, PUBLIC_KEYS, Trail
from graven.agent.agent import Agent
from graven.agent.trail.digest import load_public_keys, parse_digest, verify_signed
from graven.agent.trail.source import TrailSource
from graven.agent.trail.store import BucketStore, FolderStore, TrailStore
from graven.core.errors import BadInput, Disproved
from server.running import Server
from worm.conftest import credentials, make_bucket, store_server

__all__ = ["credentials", "make_bucket", "store_server"]

KEYS = load_public_keys(PUBLIC_KEYS)


class Reading:
    """A trail source, with the places a spool would keep."""

    def __init__(self, store: TrailStore, **how: Any) -> None:
        self.store, self.how = store, {"keys": KEYS, **how}
        self.places: dict[str, Any] = {}
        self.records: list[bytes] = []
        self.verdicts: list[dict[str, Any]] = []
        self._source: TrailSource | None = None

    @property
    def source(self) -> TrailSource:
        """It begins to read when it is asked for first: a test may change files before, unseen."""
        if self._source is None:
            self._source = TrailSource("trail", self.store, self.places, interval_s=0.01, **self.how)
        return self._source

    def take(self, times: int = 1) -> None:
        for one in self.source.take(1 << 20)[:times]:
            if one.type == "graven":
                self.verdicts += [json.loads(record) for record in one.records]
            else:
                self.records += one.records
            for key, place in one.places.items():
                if place is None:
                    self.places.pop(key, None)
                else:
                    self.places[key] = json.loads(json.dumps(place))

    def round(self) -> None:
        """Until all there is was looked at, and taken."""
        target = self.source.rounds + 2

        def done() -> bool:
            self.take(1000)
            return self.source.rounds >= target

        wait_for(done)
        self.take(1000)

    def restart(self) -> None:
        self.close()
        assert self.source

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source = None

    @property
    def ids(self) -> list[str]:
        return [json.loads(record)["eventID"] for record in self.records]

    @property
    def words(self) -> list[str]:
        return [verdict["outcome"] for verdict in self.verdicts]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "trail"
    made.mkdir()
    return made


@pytest.fixture
def reading(folder: Path) -> Iterator[Reading]:
    made = Reading(FolderStore(str(folder), settle_s=0))
    yield made
    made.close()


def trail_in(folder: Path, **how: Any) -> Trail:
    def put(name: str, data: bytes, signature: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if signature:
            path.with_name(path.name + ".signature").write_text(signature)
        unfinished = path.with_name("unfinished")
        unfinished.write_bytes(data)
        unfinished.rename(path)

    return Trail(put, **how)


def ids(count: int) -> list[str]:
    return [f"id-{number:06d}" for number in range(1, count + 1)]


def test_each_record_once_over_days_and_restarts(folder: Path, reading: Reading) -> None:
    trail = trail_in(folder)
    for number in range(80):  # more than three days
        trail.log_file(3)
        if number % 3 == 2:
            trail.log_file(2)
        trail.digest()
        if number % 20 == 10:
            reading.round()
            reading.restart()
    reading.round()
    reading.restart()
    reading.round()
    assert sorted(reading.ids) == ids(trail.number)
    assert reading.words == ["success"] * 80
    assert len([key for key in reading.places if ":day:" in key]) <= 8  # old days are forgotten


def test_a_restart_in_the_middle_of_a_large_file(folder: Path, reading: Reading) -> None:
    trail = trail_in(folder)
    trail.log_file(20_000)
    trail.log_file(5)
    wait_for(lambda: not reading.source._queue.empty())
    for _ in range(2):
        wait_for(lambda: not reading.source._queue.empty())
        one = reading.source._queue.get()
        reading.records += one.records
        reading.places |= one.places
        reading.restart()
    reading.places = {key: place for key, place in reading.places.items() if place is not None}
    reading.restart()
    reading.round()
    assert reading.ids == ids(20_005)


def test_signatures_come_with_the_next_digest_in_a_copied_folder(folder: Path, reading: Reading) -> None:
    trail = trail_in(folder, signed=False)
    for _ in range(3):
        trail.log_file(2)
        trail.digest()
        reading.round()
        reading.restart()
    assert reading.words == ["unknown", "success", "unknown", "success", "unknown"]


def test_what_is_wrong_is_said(folder: Path, reading: Reading) -> None:
    trail = trail_in(folder)
    trail.log_file(2)
    trail.digest()
    changed, gone = trail.log_file(1), trail.log_file(1)
    (folder / changed).write_bytes(gzip.compress(b'{"Records": []}'))
    (folder / gone).unlink()
    trail.digest()
    trail.log_file(1)
    forged = trail.digest()
    (folder / (forged + ".signature")).write_text("00" * 256)
    trail.digest()
    lost = trail.digest()
    (folder / lost).unlink()
    trail.digest()
    reading.round()
    assert reading.words == ["success", "failure", "failure", "success", "success", "failure"]
    second, third, last = (reading.verdicts[number]["data"]["problems"] for number in (1, 2, 5))
    assert second == [f"a log file was changed: {changed}", f"a log file is missing: {gone}"]
    assert third == ["its signature is not CloudTrail's"]
    assert last == ["it does not follow the digest before: one is missing, or the chain was begun anew"]
    assert reading.verdicts[3]["data"] == {"digest": forged, "verdict": "success", "signature": "good"}


def test_a_changed_digest_is_found_by_the_next(folder: Path, reading: Reading) -> None:
    trail = trail_in(folder)
    trail.log_file(2)
    first = trail.digest()
    content = gzip.decompress((folder / first).read_bytes()).replace(b'"logFiles": [{', b'"logFiles":  [{')
    (folder / first).write_bytes(gzip.compress(content))
    trail.digest()
    reading.round()
    assert reading.words == ["failure", "failure"]
    assert "was changed" in reading.verdicts[1]["data"]["problems"][0]


def test_a_file_that_is_being_written_is_left_for_later(folder: Path) -> None:
    name = trail_in(folder).log_file(1)
    store = FolderStore(str(folder), settle_s=60)
    (found,) = store.folders()
    assert list(store.names(found, "0000/00/00")) == []
    os.utime(folder / name, (1, 1))
    assert list(store.names(found, "0000/00/00")) == [name]


def test_a_digest_under_another_name(folder: Path, reading: Reading) -> None:
    trail = trail_in(folder)
    trail.digest(digestS3Object="AWSLogs/elsewhere.json.gz")
    reading.round()
    assert reading.verdicts[0]["data"]["problems"][0] == "it says that it is another file"


def test_without_keys_nothing_is_called_good(folder: Path) -> None:
    trail = trail_in(folder)
    trail.log_file(1)
    trail.digest()
    made = Reading(FolderStore(str(folder), settle_s=0), keys={})
    try:
        made.round()
    finally:
        made.close()
    assert made.words == ["unknown"]
    assert "not known here" in made.verdicts[0]["data"]["signature"]


def test_files_that_are_none_are_said_and_hold_nothing_up(folder: Path, reading: Reading) -> None:
    trail = trail_in(folder)
    for junk in (b"\x1f\x8bnothing", gzip.compress(b"[1, 2"), gzip.compress(os.urandom(500)), b"{}"):
        (folder / trail.log_file(1)).write_bytes(junk)
    (folder / trail.digest()).write_bytes(gzip.compress(b'{"digestEndTime": 7}'))
    trail.number = 0
    trail.log_file(2)
    reading.round()
    assert reading.ids == ids(2)
    assert reading.words == ["failure"] * 4


def test_a_real_bucket(credentials: Any, make_bucket: Callable[..., str]) -> None:
    import boto3

    bucket = make_bucket(lock=False)
    client = boto3.client("s3", endpoint_url=credentials.endpoint, region_name="us-east-1")

    def put(name: str, data: bytes, signature: str) -> None:
        metadata = {"signature": signature, "signature-algorithm": "SHA256withRSA"} if signature else {}
        client.put_object(Bucket=bucket, Key=f"org/{name}", Body=data, Metadata=metadata)

    trail = Trail(put, bucket=bucket)
    for _ in range(30):
        trail.log_file(2)
        trail.digest()
    store = BucketStore(f"s3://{bucket}/org", endpoint=credentials.endpoint, region="us-east-1", profile=None)
    made = Reading(store)
    try:
        made.round()
        trail.log_file(7)
        trail.digest()
        made.restart()
        made.round()
        deleted = trail.log_file(1)
        client.delete_object(Bucket=bucket, Key=f"org/{deleted}")
        trail.digest()
        made.round()
    finally:
        made.close()
    assert set(made.ids) - {f"id-{trail.number:06d}"} == set(ids(trail.number - 1))
    assert len(made.ids) == len(set(made.ids))
    assert made.words == ["success"] * 31 + ["failure"]


def test_through_the_agent_into_the_log(server: Server, folder: Path, tmp_path: Path) -> None:
    trail = trail_in(folder)
    trail.log_file(40)
    trail.digest()
    for path in folder.rglob("*.gz"):
        os.utime(path, (1, 1))
    keys = tmp_path / "keys.json"
    keys.write_bytes(PUBLIC_KEYS)
    more = f'[[cloudtrail]]\nname = "aws"\nfolder = "{folder}"\npublic_keys_file = "{keys}"\ninterval_s = 1\n'
    config = enrolled(write_config(tmp_path, server.url, more), server)
    for _ in range(2):
        agent = Agent(config)
        try:
            (source,) = agent.sources
            assert isinstance(source, TrailSource)
            wait_for(lambda: source.rounds >= 1)  # noqa: B023
            agent.run(until_sent=True)
        finally:
            agent.close()
    run_once(config)
    stored = [json.loads(raw)["eventID"] for raw in raws(server.directory)]
    assert stored == ids(40)
    found = [event for event, _ in records(server.directory)]
    assert {event.get("id") for event in found} >= set(ids(40))
    (verdict,) = [event for event in found if event["action"] == "graven.agent.cloudtrail_digest"]
    assert (verdict["outcome"], verdict["data"]["signature"]) == ("success", "good")


def test_signatures() -> None:
    with pytest.raises(Disproved):
        verify_signed("text", "00", KEYS, FINGERPRINT)
    with pytest.raises(Disproved):
        verify_signed("text", "no hex", KEYS, FINGERPRINT)
    with pytest.raises(BadInput):
        verify_signed("text", "00", KEYS, "another")
    for data in (b"", b"{}", b'{"PublicKeyList": [{"Value": "AAAA", "Fingerprint": "x"}]}', b'{"PublicKeyList": 7}'):
        with pytest.raises(BadInput):
            load_public_keys(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_digest_or_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        parse_digest(data)


@pytest.mark.parametrize("url", ["http://x", "s3://", "s3://A_b/c", "s3:///x"])
def test_what_is_no_bucket(url: str) -> None:
    with pytest.raises(BadInput):
        BucketStore(url, endpoint=None, region=None, profile=None, client=object())
