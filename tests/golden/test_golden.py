"""The golden log of each format version verifies, reads, convicts and goes on, with this version and every later one.

`v1` was made by `make.py` when format version 1 was frozen. It is never made again: a change that fails here breaks the
logs that people have. Its keys are in the repository on purpose, and guard nothing.
"""

import shutil
from pathlib import Path

import pytest

from graven.app import Log, open_keyring, open_view, public_keys
from graven.config import load_config
from graven.core.checkpoint import open_checkpoint
from graven.core.document import parse_document
from graven.core.evidence import parse_evidence, verify_evidence
from graven.core.note import Key
from graven.core.proof import parse_proof, verify_bare_proof
from graven.core.receipt import verify_opened
from graven.core.spelling import encode_base64
from graven.keys.signature import verify_signature
from graven.log.verify import verify_directory

GOLDEN = Path(__file__).parent / "v1"
SIZE = 352
ROOT = "wgC4Yvf+qxKrsHFe58cguKe6+pKgB2A4NBZ9yWbFCes="


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy with the modes a version control system does not keep."""
    shutil.copytree(GOLDEN, tmp_path / "v1")
    for path in (tmp_path / "v1").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return tmp_path / "v1"


@pytest.fixture
def keys(golden: Path) -> tuple[Key, ...]:
    return public_keys(load_config(golden / "log" / "graven.toml"))


def test_it_verifies_with_its_keys_and_without(golden: Path, keys: tuple[Key, ...]) -> None:
    directory = golden / "log"
    keyring = open_keyring(directory, load_config(directory / "graven.toml"))
    since = (golden / "older-checkpoint").read_bytes()
    report = verify_directory(directory, keys=keys, keyring=keyring, since=since)
    assert (report.exit_code, report.problems, report.size, report.events) == (0, (), SIZE, 326)
    report = verify_directory(directory, keys=keys, keyring=None, since=since)
    assert (report.exit_code, report.problems, report.size) == (0, (), SIZE)


def test_its_checkpoint_and_events_read_as_they_were(golden: Path) -> None:
    with open_view(golden / "log") as view:
        assert view.published.checkpoint.size == SIZE
        assert encode_base64(view.published.checkpoint.root) == ROOT
        states = [record.state for record in view.records(0, SIZE)]
        assert states.count("erased") == 26
        assert states.count("readable") == SIZE - 26
        assert view.read(SIZE - 1).event == b'{"action":"after","id":"c0"}'
        raws = [record.raw for record in view.records(0, SIZE) if record.raw is not None]
        assert raws == [b"not json"]


def test_what_it_handed_out_still_counts(golden: Path, keys: tuple[Key, ...]) -> None:
    evidence = parse_evidence((golden / "evidence.json").read_bytes())
    assert verify_evidence(evidence, keys=keys, verify=verify_signature).index == 200
    verify_bare_proof(parse_proof((golden / "event.tlog-proof").read_bytes()), keys, verify_signature)
    answer = parse_document((golden / "answer.json").read_bytes(), max_bytes=1 << 20, what="answer")
    sent = (golden / "sent.ndjson").read_bytes().split(b"\n")
    assert isinstance(answer, dict)
    assert verify_opened(answer, sent, keys[:1], verify_signature).size == 344
    older = open_checkpoint((golden / "older-checkpoint").read_bytes(), keys, verify_signature, require_all=True)
    assert older.checkpoint.size == 43


def test_it_goes_on(golden: Path) -> None:
    with Log.open(golden / "log") as log:
        assert log.append([{"action": "after", "id": "c0"}]).duplicates in (((0, SIZE - 1),), ())
        log.append([{"action": "later"}], wait="published")
        size = log.size
    directory = golden / "log"
    config = load_config(directory / "graven.toml")
    report = verify_directory(directory, keys=public_keys(config), keyring=open_keyring(directory, config))
    assert (report.exit_code, report.size) == (0, size)
