"""Real records of two kinds go in as the `data` of events, byte for byte, come out again, and the log verifies."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from graven.app import Log, create_log, open_keyring, open_view
from graven.config import load_config
from graven.core.evidence import parse_evidence, verify_evidence
from graven.event import split_body
from graven.keys.signature import verify_signature
from graven.log.verify import verify_directory

FOLDERS = {
    "aws-cloudtrail-stratus": ("aws-cloudtrail", "eventName"),
    "kubernetes-audit-falco": ("kubernetes", "verb"),
}


def records(path: Path) -> list[bytes]:
    """The records of a file as they stand there: an object, the elements of an array, or the lines of NDJSON."""
    return split_body(path.read_bytes(), "application/json" if path.read_bytes().lstrip()[:1] == b"[" else "")


def events(folder: Path, action_key: str) -> Iterator[tuple[bytes, bytes]]:
    """(event, the record in it) for each record of each JSON file of a folder."""
    for path in sorted(folder.glob("*.json")):
        for record in records(path):
            action = json.loads(record).get(action_key) or path.stem
            yield b'{"action":%s,"data":%s}' % (json.dumps(action).encode(), record), record


@pytest.mark.parametrize("name", FOLDERS)
def test_every_record_is_sealed_and_proved(name: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "samples" / name
    if not folder.is_dir():
        pytest.skip(f"the sample records are not at {folder}")
    source, action_key = FOLDERS[name]
    sent = list(events(folder, action_key))
    assert len(sent) >= len(list(folder.glob("*.json"))) > 30
    directory = tmp_path / "log"
    create_log(directory, origin=f"example.com/{source}")
    with Log.open(directory) as log:
        done = log.append([event for event, _ in sent], wait="published")
        assert (done.accepted, done.duplicates) == (len(sent), ())
        assert done.first_index == 1
    with open_view(directory) as view:
        for position, (event, record) in enumerate(sent):
            assert view.read(1 + position).event == event
            assert record in event  # verbatim, spaces and all
        for position in range(0, len(sent), 10):
            evidence = parse_evidence(view.evidence(1 + position))
            assert verify_evidence(evidence, keys=view.keys, verify=verify_signature).event == sent[position][0]
        keyring = open_keyring(directory, load_config(directory / "graven.toml"))
        report = verify_directory(directory, keys=view.keys, keyring=keyring)
    assert (report.exit_code, report.problems) == (0, ())
    assert report.events == report.published == 1 + len(sent)
