"""Normalised records in a real log: the raw beside the event, a second copy a duplicate, both read back."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graven.app import LOCAL_SOURCE, Log, create_log
from graven.event import Parsed
from graven.ingest import Normalised, Pipeline, split_records
from graven.log.types import Committed

TRAIL: dict[str, Any] = {
    "eventVersion": "1.11", "eventTime": "2026-03-02T08:14:31Z", "eventSource": "s3.amazonaws.com",
    "eventName": "GetObject", "userIdentity": {"type": "IAMUser", "userName": "mara"},
}  # fmt: skip


def append(log: Log, made: Sequence[Normalised]) -> Committed:
    parsed = Parsed(
        [one.event for one in made], [one.id for one in made], [one.class_ for one in made], [one.raw for one in made]
    )
    return log.commit(log.batch(parsed, source=LOCAL_SOURCE))


def file(*ids: str) -> bytes:
    return json.dumps({"Records": [TRAIL | {"eventID": id_} for id_ in ids]}).encode()


def test_the_same_record_in_two_files_is_one_event(tmp_path: Path) -> None:
    """CloudTrail delivers at least once, and to every trail: the second copy is answered with the first one's index."""
    create_log(tmp_path / "log")
    pipeline = Pipeline()
    with Log.open(tmp_path / "log") as log:
        first = append(log, pipeline.run(split_records(file("a", "b"), "", {"file.path": "one.json.gz"})))
        again = append(log, pipeline.run(split_records(file("b", "c"), "", {"file.path": "two.json.gz"})))
        assert first.accepted == 2 and first.first_index is not None
        assert again.accepted == 1 and again.duplicates == ((0, first.first_index + 1),)
        log.publish()
        record = log.view.read(first.first_index)
    assert record.raw == split_records(file("a"))[0].raw
    assert json.loads(record.event or b"")["id"] == "a"


def test_stages_and_fan_out_are_events_of_their_own(tmp_path: Path) -> None:
    """One auditID a request and one qualifier an activity: neither may swallow what happened."""
    create_log(tmp_path / "log")
    own = Path(__file__).parent / "own"
    pipeline = Pipeline()
    with Log.open(tmp_path / "log") as log:
        stages = append(log, pipeline.run(split_records((own / "kubernetes.json").read_bytes())))
        activities = append(log, pipeline.run(split_records((own / "google-workspace.json").read_bytes())))
        twice = append(log, pipeline.run(split_records((own / "google-workspace.json").read_bytes())))
    assert (stages.accepted, activities.accepted) == (3, 3)
    assert (twice.accepted, len(twice.duplicates)) == (0, 3)
