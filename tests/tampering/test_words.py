"""Tampering with what was signed or noted: the published checkpoint, its history, the marks, the keyring, torn/."""

import base64
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from graven.app import Log, create_log, public_keys
from graven.config import load_config
from graven.core.checkpoint import Checkpoint, format_checkpoint, message_to_sign, parse_checkpoint
from graven.core.note import Note, format_note, make_signature, parse_note
from graven.journal.mark import COMMITTED, Mark, encode_mark
from graven.keys.keyring import Keyring
from graven.keys.rootkeys import HIGHEST_FILE, LOG_ED25519_FILE, LOG_MLDSA44_FILE, SigningKey, load_signing_key
from graven.keys.signer import LogSigner
from graven.runtime.clock import FixedClock
from tampering.logs import ORIGIN, START_US, Tampered, flip, make_log

Tamper = Callable[[Tampered], str]

CHECKPOINT = "log/checkpoint"


def checkpoint(log: Tampered) -> Path:
    return log.directory / CHECKPOINT


def note(log: Tampered) -> Note:
    return parse_note(checkpoint(log).read_bytes())


def history(log: Tampered) -> list[Path]:
    return sorted((log.directory / "checkpoints").glob("*/*"))


def name_of(log: Tampered, path: Path) -> str:
    return str(path.relative_to(log.directory))


def signing(log: Tampered) -> list[SigningKey]:
    keyring = Keyring.open(str(log.keyring))
    files = (LOG_ED25519_FILE, LOG_MLDSA44_FILE)
    return [load_signing_key(keyring.signing_key(file), file, ORIGIN, place="") for file in files]


def sign(log: Tampered, size: int, root: bytes, *, extension: str = "", origin: str = ORIGIN) -> bytes:
    """A checkpoint by the log's own keys, as their thief would make one."""
    text = format_checkpoint(Checkpoint(origin, size, root)) + extension
    lines = []
    for one in signing(log):
        time = 1_790_000_000 if one.key.type != 1 else None
        lines.append(
            make_signature(
                one.key, one.sign(message_to_sign(one.key.type, name=ORIGIN, time=time, text=text)), time=time
            )
        )
    return format_note(Note(text, tuple(lines)))


def flip_in_origin(log: Tampered) -> str:
    flip(checkpoint(log), 1)
    return CHECKPOINT


def flip_in_size(log: Tampered) -> str:
    flip(checkpoint(log), len(ORIGIN) + 2)
    return CHECKPOINT


def flip_in_root(log: Tampered) -> str:
    flip(checkpoint(log), len(ORIGIN) + 10)
    return CHECKPOINT


def flip_in_the_first_signature(log: Tampered) -> str:
    flip(checkpoint(log), checkpoint(log).read_bytes().index(b"\xe2\x80\x94") + 60)
    return CHECKPOINT


def flip_in_the_second_signature(log: Tampered) -> str:
    flip(checkpoint(log), -500)
    return CHECKPOINT


def drop_the_second_signature(log: Tampered) -> str:
    found = note(log)
    checkpoint(log).write_bytes(format_note(Note(found.text, found.signatures[:1])))
    return CHECKPOINT


def drop_the_first_signature(log: Tampered) -> str:
    found = note(log)
    checkpoint(log).write_bytes(format_note(Note(found.text, found.signatures[1:])))
    return CHECKPOINT


def sign_twice(log: Tampered) -> str:
    found = note(log)
    checkpoint(log).write_bytes(format_note(Note(found.text, (*found.signatures, found.signatures[0]))))
    return CHECKPOINT


def sign_with_an_unknown_key_too(log: Tampered) -> str:
    found = note(log)
    stranger = make_signature(log.keys[0], bytes(64))
    line = type(stranger)("stranger.example", b"abcd", stranger.blob)
    checkpoint(log).write_bytes(format_note(Note(found.text, (*found.signatures, line))))
    return CHECKPOINT


def sign_with_another_key(log: Tampered) -> str:
    other = make_log(log.directory.with_name("other"), events=10)
    found = parse_checkpoint(note(log).text)[0]
    checkpoint(log).write_bytes(sign(other, found.size, found.root))
    return CHECKPOINT


def sign_another_tree(log: Tampered) -> str:
    """The log's own keys, a tree that the journal does not lead to."""
    checkpoint(log).write_bytes(sign(log, 3_001, bytes(32)))
    return CHECKPOINT


def sign_an_extension(log: Tampered) -> str:
    found = parse_checkpoint(note(log).text)[0]
    checkpoint(log).write_bytes(sign(log, found.size, found.root, extension="more\n"))
    return CHECKPOINT


def respell_base64(log: Tampered) -> str:
    """The same signature with other unused bits."""
    lines = checkpoint(log).read_text().split("\n")
    at = next(n for n, line in enumerate(lines) if line.startswith("—"))
    word = lines[at].split(" ")[-1]
    assert word.endswith("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    cut = len(word.rstrip("=")) - 1
    other = word[:cut] + alphabet[alphabet.index(word[cut]) + 1] + word[cut + 1 :]
    assert base64.b64decode(other) == base64.b64decode(word)
    lines[at] = lines[at].replace(word, other)
    checkpoint(log).write_text("\n".join(lines))
    return CHECKPOINT


def garble(log: Tampered) -> str:
    checkpoint(log).write_bytes(b"hello\n")
    return CHECKPOINT


def swap_with_an_empty_log(log: Tampered) -> str:
    other = make_log(log.directory.with_name("other"), events=10)
    shutil.copy(checkpoint(other), checkpoint(log))
    return CHECKPOINT


def flip_in_history(log: Tampered) -> str:
    flip(history(log)[3], -700)
    return name_of(log, history(log)[3])


def swap_in_history(log: Tampered) -> str:
    a, b = history(log)[2:4]
    first = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(first)
    return name_of(log, a)


def another_tree_in_history(log: Tampered) -> str:
    path = history(log)[3]
    path.write_bytes(sign(log, int(path.name), bytes(32)))
    return name_of(log, path)


def another_key_in_history(log: Tampered) -> str:
    other = make_log(log.directory.with_name("other"), events=10)
    path = history(log)[3]
    found = parse_checkpoint(parse_note(path.read_bytes()).text)[0]
    path.write_bytes(sign(other, found.size, found.root))
    return name_of(log, path)


def pin_a_checkpoint_of_another_log(log: Tampered) -> str:
    folder = log.directory / "checkpoints" / "predecessor"
    folder.mkdir()
    text = format_checkpoint(Checkpoint("example.com/else", 7, bytes(32)))
    line = make_signature(log.keys[0], bytes(64))
    (folder / f"{7:020d}").write_bytes(format_note(Note(text, (type(line)("example.com/else", b"abcd", line.blob),))))
    return f"checkpoints/predecessor/{7:020d}"


def a_fork_in_the_mark_of_the_keyring(log: Tampered) -> str:
    (log.keyring / HIGHEST_FILE).write_bytes(sign(log, 2_501, bytes(32)))
    return HIGHEST_FILE


def flip_in_the_mark_of_the_keyring(log: Tampered) -> str:
    flip(log.keyring / HIGHEST_FILE, 400)
    return HIGHEST_FILE


def a_fork_in_the_committed_mark(log: Tampered) -> str:
    (log.directory / "state" / "committed").write_bytes(encode_mark(COMMITTED, Mark(2_501, bytes(32))))
    return "state/committed"


def take_a_key_away(log: Tampered) -> str:
    keyring = Keyring.open(str(log.keyring))
    assert keyring.destroy(next(iter(keyring.segment_keys(901))), 901)
    return "segment 901"


def remove_the_keys_of_a_segment(log: Tampered) -> str:
    (log.keyring / "data" / f"{901:020d}.0.json").unlink()
    return "segment 901"


def a_keyring_of_another_log(log: Tampered) -> str:
    other = make_log(log.directory.with_name("other"), events=10)
    shutil.rmtree(log.keyring)
    shutil.copytree(other.keyring, log.keyring)
    return str(log.keyring)


def a_torn_file_that_no_event_names(log: Tampered) -> str:
    (log.directory / "journal" / "torn").mkdir()
    (log.directory / "journal" / "torn" / f"{901:020d}.0000.seg.400.0123456789abcdef").write_bytes(b"hidden")
    return "journal/torn/"


def change_a_torn_file(log: Tampered) -> str:
    flip(tear(log), 5)
    return "journal/torn/"


def exchange_a_torn_file(log: Tampered) -> str:
    tear(log).write_bytes(b"something else")
    return "journal/torn/"


DISPROVED: list[Tamper] = [
    flip_in_origin, flip_in_size, flip_in_root, flip_in_the_first_signature, flip_in_the_second_signature,
    drop_the_second_signature, drop_the_first_signature, sign_twice, sign_with_an_unknown_key_too,
    sign_with_another_key, sign_another_tree, sign_an_extension, respell_base64, garble, swap_with_an_empty_log,
    flip_in_history, swap_in_history, another_tree_in_history, another_key_in_history,
    pin_a_checkpoint_of_another_log, a_fork_in_the_mark_of_the_keyring, flip_in_the_mark_of_the_keyring,
    a_fork_in_the_committed_mark, take_a_key_away, remove_the_keys_of_a_segment, a_keyring_of_another_log,
    a_torn_file_that_no_event_names, change_a_torn_file, exchange_a_torn_file,
]  # fmt: skip


@pytest.mark.parametrize("tamper", DISPROVED, ids=lambda tamper: tamper.__name__)
def test_is_disproved_and_named(log: Tampered, tamper: Tamper) -> None:
    named = tamper(log)
    report = log.judge()
    assert report.exit_code == 1, report.problems
    assert any(named in problem.place for problem in report.problems), report.problems


def remove_the_checkpoint(log: Tampered) -> str:
    checkpoint(log).unlink()
    return CHECKPOINT


def empty_the_checkpoint(log: Tampered) -> str:
    checkpoint(log).write_bytes(b"")
    return CHECKPOINT


def an_older_checkpoint(log: Tampered) -> str:
    shutil.copy(history(log)[3], checkpoint(log))
    return CHECKPOINT


def a_larger_checkpoint(log: Tampered) -> str:
    checkpoint(log).write_bytes(sign(log, 4_000, bytes(32)))
    return CHECKPOINT


def a_larger_committed_mark(log: Tampered) -> str:
    (log.directory / "state" / "committed").write_bytes(encode_mark(COMMITTED, Mark(3_002, bytes(32))))
    return "state/committed"


def a_larger_mark_in_the_keyring(log: Tampered) -> str:
    (log.keyring / HIGHEST_FILE).write_bytes(sign(log, 3_002, bytes(32)))
    return HIGHEST_FILE


def flip_in_a_data_key(log: Tampered) -> str:
    flip(log.keyring / "data" / f"{901:020d}.0.json", 200)
    return f"data/{901:020d}.0.json"


def flip_in_a_signing_key(log: Tampered) -> str:
    flip(log.keyring / LOG_ED25519_FILE, -20)
    return LOG_ED25519_FILE


def remove_a_signing_key(log: Tampered) -> str:
    (log.keyring / LOG_MLDSA44_FILE).unlink()
    return LOG_MLDSA44_FILE


def open_the_keys_to_others(log: Tampered) -> str:
    (log.keyring / LOG_MLDSA44_FILE).chmod(0o644)
    return LOG_MLDSA44_FILE


def remove_the_history(log: Tampered) -> str:
    shutil.rmtree(log.directory / "checkpoints")
    return "checkpoints"


def a_strange_file_in_history(log: Tampered) -> str:
    (log.directory / "checkpoints" / "readme").write_text("hello")
    return "checkpoints/readme"


def remove_the_configuration(log: Tampered) -> str:
    (log.directory / "graven.toml").unlink()
    return "graven.toml"


BROKEN: list[Tamper] = [
    remove_the_checkpoint, empty_the_checkpoint, an_older_checkpoint, a_larger_checkpoint, a_larger_committed_mark,
    a_larger_mark_in_the_keyring, flip_in_a_data_key, flip_in_a_signing_key, remove_a_signing_key,
    open_the_keys_to_others, remove_the_history, a_strange_file_in_history, remove_the_configuration,
]  # fmt: skip


@pytest.mark.parametrize("tamper", BROKEN, ids=lambda tamper: tamper.__name__)
def test_is_broken_and_named(log: Tampered, tamper: Tamper) -> None:
    named = tamper(log)
    report = log.judge()
    assert report.exit_code == 3, report.problems
    assert any(named in problem.place for problem in report.problems), report.problems


def change_state(log: Tampered) -> None:
    for path in (log.directory / "state").iterdir():
        if path.is_file() and path.stat().st_size:
            flip(path, path.stat().st_size // 2)


def remove_state(log: Tampered) -> None:
    for path in (log.directory / "state").iterdir():
        path.unlink()


def remove_the_lock(log: Tampered) -> None:
    (log.directory / "lock").unlink()


def thin_the_history(log: Tampered) -> None:
    history(log)[2].unlink()


def the_signer_was_ahead(log: Tampered) -> None:
    """A crash between signing and publishing: the mark beside the keys is newer than the published checkpoint."""
    shutil.copy(history(log)[-2], checkpoint(log))
    history(log)[-1].unlink()


def remove_a_torn_file(log: Tampered) -> None:
    tear(log).unlink()


def remove_what_was_signed(log: Tampered) -> None:
    (log.keyring / HIGHEST_FILE).unlink()


HARMLESS = [
    change_state, remove_state, remove_the_lock, thin_the_history, the_signer_was_ahead, remove_a_torn_file,
    remove_what_was_signed,
]  # fmt: skip
"""What follows from the rest, or may be gone in good order: nothing in it is believed."""


@pytest.mark.parametrize("tamper", HARMLESS, ids=lambda tamper: tamper.__name__)
def test_is_harmless(log: Tampered, tamper: Callable[[Tampered], None]) -> None:
    tamper(log)
    report = log.judge()
    assert (report.exit_code, report.problems) == (0, ())
    assert report.payloads == "all"


def test_a_whole_torn_file_is_fine(log: Tampered) -> None:
    tear(log)
    assert (log.judge().problems, log.judge().notes) == ((), ())


def test_torn_files_are_not_judged_without_keys(log: Tampered) -> None:
    flip(tear(log), 5)
    report = log.judge(keyless=True)
    assert report.exit_code == 0
    assert any("torn" in text for text in report.notes)


def tear(log: Tampered) -> Path:
    """A crash in the middle of a frame, and the recovery that keeps its bytes in torn/ and names them."""
    with log.segments[-1].open("ab") as file:
        file.write(b"GRVB" + bytes(300))
    with Log.open(log.directory, clock=FixedClock(START_US + 10**12)) as opened:
        opened.publish()
    return next((log.directory / "journal" / "torn").iterdir())


@pytest.fixture
def successor(log: Tampered) -> Tampered:
    """A small log that goes on from a larger one."""
    directory = log.directory.with_name("successor")
    create_log(directory, origin="example.com/after", successor_of=checkpoint(log).read_bytes())
    return Tampered(directory, public_keys(load_config(directory / "graven.toml")))


def test_a_successor_keeps_the_checkpoint_it_goes_on_from(successor: Tampered) -> None:
    report = successor.judge()
    assert (report.exit_code, report.problems, report.size) == (0, (), 1)
    assert successor.judge(keyless=True).exit_code == 0


def test_another_checkpoint_than_the_one_it_goes_on_from_is_disproved(successor: Tampered, log: Tampered) -> None:
    kept = next((successor.directory / "checkpoints" / "predecessor").iterdir())
    kept.write_bytes(history(log)[2].read_bytes())
    report = successor.judge()
    assert (report.exit_code, [problem.place for problem in report.problems]) == (1, [name_of(successor, kept)])


def test_the_log_signs_what_this_file_signs(log: Tampered) -> None:
    """`sign` above makes what the signer makes: otherwise half of these tests would pass for the wrong reason."""
    found = parse_checkpoint(note(log).text)[0]
    checkpoint(log).write_bytes(sign(log, found.size, found.root))
    assert log.judge().exit_code == 0
    assert LogSigner(Keyring.open(str(log.keyring))).keys == log.keys
