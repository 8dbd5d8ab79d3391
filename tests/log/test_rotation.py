"""A log whose signing keys are changed: what is recorded and published; it opens and verifies at every step."""

from pathlib import Path

import pytest

from graven.app import Log, open_keyring, public_keys
from graven.config import load_config
from graven.core.errors import Disproved
from graven.core.note import format_vkey
from graven.core.succession import follow
from graven.keys.rotation import begin, promote, read_rotation
from graven.keys.signature import verify_signature
from graven.keys.signer import LogSigner
from graven.log import acts
from graven.log.backup import copy_log
from graven.log.handovers import read_handovers
from graven.log.verify import verify_directory
from log.logs import START_US, Teller, acts_of, make_log, open_log, verify

NOW_S = START_US // 1_000_000


def config_of(directory: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    config = load_config(directory / "graven.toml")
    return config.vkeys, config.next_vkeys


def tell(directory: Path, *texts: str) -> None:
    with open_log(directory) as log:
        Teller(log).append(*[(None, text) for text in texts])
        log.publish()


def keyring_of(directory: Path):  # type: ignore[no-untyped-def]
    return open_keyring(directory, load_config(directory / "graven.toml"))


def rotated(directory: Path) -> None:
    begin(keyring_of(directory))
    tell(directory, "both")
    LogSigner(keyring_of(directory)).hand_over(NOW_S)
    tell(directory, "after")


def test_each_step_is_recorded_once_and_the_log_stays_whole(tmp_path: Path) -> None:
    directory = make_log(tmp_path)
    first = config_of(directory)[0]
    tell(directory, "before")
    rotation = begin(keyring_of(directory))
    coming = tuple(format_vkey(key) for key in rotation.coming)
    assert config_of(directory) == (first, ())
    assert verify(directory).exit_code == verify(directory, with_keys=False).exit_code == 0
    for _ in range(2):
        tell(directory, "both")
        assert config_of(directory) == (first, coming)
        assert verify(directory).exit_code == 0
    note = LogSigner(keyring_of(directory)).hand_over(NOW_S)
    assert verify(directory).exit_code == 0
    for _ in range(2):
        tell(directory, "after")
        assert config_of(directory) == (coming, ())
        report = verify(directory)
        assert (report.exit_code, report.payloads) == (0, "all")
    with open_log(directory) as log:
        assert acts_of(log, acts.KEYS_ROTATE) == [{"vkeys": list(first), "next_vkeys": list(coming)}]
        assert acts_of(log, acts.KEYS_HANDOVER) == [{"handover": note.decode()}]
        assert not log.registers.coming and len(log.registers.handovers) == 1
        changes = acts_of(log, acts.CONFIG)
        assert len(changes) == 2
    assert len(read_handovers(directory / "log")) == 1


def test_the_documents_lead_from_the_first_keys_to_the_last(tmp_path: Path) -> None:
    directory = make_log(tmp_path)
    first = public_keys(load_config(directory / "graven.toml"))
    rotated(directory)
    rotated(directory)
    documents = read_handovers(directory / "log")
    succession, relied = follow(first, documents, verify_signature)
    assert len(relied) == 2 and succession.at(1 << 40) == public_keys(load_config(directory / "graven.toml"))
    with open_log(directory) as log:
        assert [one.index for one in log.registers.handovers] == [one.index for one in relied]
        assert log.published.checkpoint.size > relied[1].handover.last


def test_a_document_that_is_gone_or_damaged_is_told_of_and_a_lost_one_written_again(tmp_path: Path) -> None:
    directory = make_log(tmp_path)
    first = public_keys(load_config(directory / "graven.toml"))
    rotated(directory)
    path = directory / "log" / "handover" / "1"
    data = path.read_bytes()
    path.unlink()
    assert verify(directory).exit_code == 0  # the keyring has the hand-over
    assert verify(directory, with_keys=False).exit_code == 1  # nothing else does
    tell(directory, "again")
    assert path.exists() and follow(first, [path.read_bytes()], verify_signature)[1]
    for old, new in ((b"graven-handover/v1", b"graven-handover/v2"), (b'"index": ', b'"index": 1'), (b"data", b"date")):
        path.write_bytes(data.replace(old, new, 1))
        assert verify(directory).exit_code == 1
    path.write_bytes(data)
    (directory / "log" / "handover" / "x").write_bytes(b"")
    assert verify(directory).exit_code == 3


def test_a_handover_no_event_of_the_log_names_is_disproved(tmp_path: Path) -> None:
    """Somebody with both pairs of keys signs a hand-over beside the log."""
    directory = make_log(tmp_path)
    tell(directory, "before")
    keyring = keyring_of(directory)
    begin(keyring)
    signer = LogSigner(keyring)
    tell(directory, "both")
    published = (directory / "log" / "checkpoint").read_bytes()
    signer = LogSigner(keyring)
    signer.hand_over(NOW_S)
    assert verify(directory).exit_code == 0  # a crash came before the event
    tell(directory, "after")
    other = tmp_path / "other"
    copy_log(directory, other, public_keys(load_config(directory / "graven.toml")))
    assert verify_directory(other, keys=public_keys(load_config(other / "graven.toml")), keyring=None).exit_code == 0
    assert published != (directory / "log" / "checkpoint").read_bytes()


def test_old_and_new_keys_given_by_the_caller_both_do(tmp_path: Path) -> None:
    directory = make_log(tmp_path)
    old = public_keys(load_config(directory / "graven.toml"))
    since = (directory / "log" / "checkpoint").read_bytes()
    rotated(directory)
    new = public_keys(load_config(directory / "graven.toml"))
    keyring = keyring_of(directory)
    for keys in (old, new, old[:1], new[1:]):
        report = verify_directory(directory, keys=keys, keyring=keyring, since=since, processes=1)
        assert report.exit_code == 0, report.problems
    stranger = public_keys(load_config(make_log(tmp_path / "x") / "graven.toml"))
    assert verify_directory(directory, keys=stranger, keyring=keyring, processes=1).exit_code == 1


def test_a_checkpoint_by_the_old_keys_above_their_last_size_is_refused(tmp_path: Path) -> None:
    """A thief of the old keys signs on, on a copy of the log he has brought back to before the hand-over."""
    directory = make_log(tmp_path)
    tell(directory, "before")
    thief = tmp_path / "thief"
    copy_log(directory, thief / "log", public_keys(load_config(directory / "graven.toml")))
    keyring_of(directory).replicate(str(thief / "log.keys"))
    rotated(directory)
    tell(thief / "log", *"abcdef")
    forged = (thief / "log" / "log" / "checkpoint").read_bytes()
    good = (directory / "log" / "checkpoint").read_bytes()
    (directory / "log" / "checkpoint").write_bytes(forged)
    report = verify(directory)
    assert report.exit_code == 1
    with pytest.raises(Disproved, match="no signature by a trusted key"):
        Log.open(directory)
    (directory / "log" / "checkpoint").write_bytes(good)
    assert verify(directory).exit_code == 0


def test_a_copy_carries_the_handovers(tmp_path: Path) -> None:
    directory = make_log(tmp_path)
    old = public_keys(load_config(directory / "graven.toml"))
    rotated(directory)
    copy = tmp_path / "copy"
    copy_log(directory, copy, public_keys(load_config(directory / "graven.toml")))
    assert verify_directory(copy, keys=old, keyring=None, processes=1).exit_code == 0


def test_every_state_a_crash_leaves_opens_and_verifies(tmp_path: Path) -> None:
    """The keyring is ahead of the configuration, the configuration of the events, the events of the document."""
    directory = make_log(tmp_path)
    tell(directory, "before")
    begin(keyring_of(directory))
    config = (directory / "graven.toml").read_text()
    tell(directory, "both")
    (directory / "graven.toml").write_text(config)  # as if it had not been written
    assert verify(directory).exit_code == 0
    tell(directory, "both")
    config = (directory / "graven.toml").read_text()
    LogSigner(keyring_of(directory)).hand_over(NOW_S)
    for _ in range(2):
        (directory / "graven.toml").write_text(config)
        tell(directory, "after")
        assert verify(directory).exit_code == 0
    promote(keyring_of(directory))
    assert read_rotation(keyring_of(directory)).step == "none"
    tell(directory, "last")
    assert verify(directory).exit_code == 0
    with open_log(directory) as log:
        assert len(acts_of(log, acts.KEYS_HANDOVER)) == 1
