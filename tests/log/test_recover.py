"""Recovery: what is cut, what is refused, what is said about it. Never a silent cut, never a fork."""

import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from crash.disk import read_tree
from graven.app import Log, create_log, open_keyring, open_view
from graven.config import load_config
from graven.core.errors import Broken, Disproved, GravenError
from graven.core.note import Note, format_note, parse_note
from graven.journal import frame
from graven.journal.mark import COMMITTED, Mark, encode_mark
from graven.journal.segment import SegmentReader, list_segments
from graven.keys.signer import LogSigner
from graven.log import acts
from graven.log.admin import create_token
from graven.log.lock import Locked
from graven.runtime.clock import FixedClock
from log.logs import ORIGIN, SEGMENT_AGE_US, START_US, Teller, acts_of, make_log, open_log, verify

PUBLISHED, SIZE = 3, 7


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    return crash(tmp_path)


def crash(root: Path) -> Path:
    """A log whose process was killed: 3 entries published, frames of 1, 2 and 1 entries acknowledged behind them."""
    directory = make_log(root / "living")
    with open_log(directory) as log:
        teller = Teller(log)
        teller.append(("a1", "one"), ("a2", "two"))
        assert log.publish().checkpoint.size == PUBLISHED
        teller.append(("b1", "three"))
        teller.append(("c1", "four"), ("c2", "five"))
        teller.append(("d1", "six"))
        shutil.copytree(root / "living", root / "dead")
    return root / "dead" / "log"


def frames(directory: Path) -> list[tuple[int, int]]:
    """(offset, size) of each block frame of the last segment."""
    with SegmentReader(list_segments(str(directory / "journal"))[-1]) as reader:
        return [(at, one.size) for at, one in reader.walk() if one.count]


def segment(directory: Path) -> Path:
    return Path(list_segments(str(directory / "journal"))[-1].path)


def forget_mark(directory: Path) -> None:
    """As after a power cut: what was acknowledged is not known from the mark."""
    (directory / "state" / "committed").unlink()


def flip(directory: Path, offset: int, bit: int) -> None:
    data = bytearray(segment(directory).read_bytes())
    data[offset] ^= 1 << bit
    segment(directory).write_bytes(data)


def refused(directory: Path, match: str, *, declare_loss: str | None = None) -> Broken:
    """Opening is refused as Broken, and neither the journal, nor what was signed, has changed."""
    before, keys = read_tree(directory / "journal"), read_tree(directory.with_name("log.keys"))
    with pytest.raises(Broken, match=match) as error:
        open_log(directory, declare_loss=declare_loss)
    assert error.value.exit_code == 3
    assert read_tree(directory / "journal") == before
    assert read_tree(directory.with_name("log.keys")) == keys
    return error.value


def cut_and_named(directory: Path, start: int, rest: bytes) -> None:
    """Opening cuts exactly `rest`, keeps it, names it, and goes on from `start`."""
    path = segment(directory)
    offset = path.stat().st_size - len(rest)
    with open_log(directory) as log:
        (data,) = acts_of(log, acts.RECOVERY)
        torn = directory / "journal" / "torn" / str(data["file"])
        assert torn.read_bytes() == rest
        assert data["sha256"] == sha256(rest).hexdigest()
        assert (data["segment"], data["offset"], data["length"]) == (path.name, offset, len(rest))
        assert data["size"] == start
        assert Teller(log).append(("z", "goes on")).first_index == start + 1
    assert verify(directory).exit_code == 0


def test_the_tail_of_an_unacknowledged_frame_is_cut_at_any_length(crashed: Path, tmp_path: Path) -> None:
    _, size = frames(crashed)[-1]
    for length in (1, 3, 79, 80, 81, size // 2, size - 33, size - 1):
        directory = crash(tmp_path / str(length))
        forget_mark(directory)
        path = segment(directory)
        offset = frames(directory)[-1][0]
        whole = path.read_bytes()
        path.write_bytes(whole[: offset + length])
        cut_and_named(directory, SIZE - 1, whole[offset : offset + length])


def test_an_acknowledged_frame_is_never_cut(crashed: Path) -> None:
    path = segment(crashed)
    data = path.read_bytes()
    for offset, size in frames(crashed)[-3:]:
        for end in (offset + size - 1, offset + 40, offset):
            path.write_bytes(data[:end])
            error = refused(crashed, "acknowledged")
            assert path.name in error.place and "graven recover" in error.mend


def test_a_published_frame_is_never_cut(crashed: Path) -> None:
    forget_mark(crashed)
    offset, _ = frames(crashed)[1]
    path = segment(crashed)
    path.write_bytes(path.read_bytes()[: offset + 100])
    assert "successor" in refused(crashed, "published or signed").mend
    refused(crashed, "published or signed", declare_loss="it is gone")
    with open_view(crashed) as view:
        assert view.read(0).event is not None


@pytest.mark.parametrize("acknowledged", [True, False])
def test_every_flipped_bit_of_a_header_in_the_middle(crashed: Path, acknowledged: bool) -> None:
    """Lengths and all else: whole frames follow, so it is no torn tail, whether the mark is there or not."""
    if not acknowledged:
        forget_mark(crashed)
    offset, _ = frames(crashed)[-2]
    for at in range(offset, offset + 80):
        for bit in range(8) if at < offset + 32 else (at % 8,):
            flip(crashed, at, bit)
            error = refused(crashed, "were acknowledged" if acknowledged else "whole frames follow")
            assert f"at byte {offset}" in error.place
            flip(crashed, at, bit)


def test_every_flipped_bit_of_the_last_header(tmp_path: Path) -> None:
    """With the mark it is refused; without, it is what a crash may leave, and cut by the rules."""
    directory = crash(tmp_path)
    offset, size = frames(directory)[-1]
    for at in range(offset, offset + 80):
        flip(directory, at, at % 8)
        refused(directory, "were acknowledged")
        flip(directory, at, at % 8)
    forget_mark(directory)
    start = read_tree(directory.parent)
    for at in range(offset + 16, offset + 32, 3):  # the lengths
        flip(directory, at, 5)
        rest = segment(directory).read_bytes()[offset:]
        assert len(rest) == size
        cut_and_named(directory, SIZE - 1, rest)
        restore(directory.parent, start)


def restore(root: Path, tree: dict[str, bytes | None]) -> None:
    shutil.rmtree(root)
    root.mkdir()
    for path, data in sorted(tree.items()):
        if data is None:
            (root / path).mkdir(mode=0o700)
        else:
            (root / path).write_bytes(data)
            (root / path).chmod(0o600)


def test_a_flipped_bit_anywhere_in_a_frame_is_noticed(crashed: Path) -> None:
    for offset, size in frames(crashed)[-3:]:
        for at in range(offset, offset + size, 41):
            flip(crashed, at, 3)
            assert f"at byte {offset}" in refused(crashed, "acknowledged").place
            flip(crashed, at, 3)


def test_zeros_behind_the_last_frame_are_cut(crashed: Path) -> None:
    path = segment(crashed)
    path.write_bytes(path.read_bytes() + bytes(4096))
    cut_and_named(crashed, SIZE, bytes(4096))


def test_two_unfinished_frames_are_not_a_torn_tail(crashed: Path) -> None:
    forget_mark(crashed)
    (third, _), (last, size) = frames(crashed)[-2:]
    flip(crashed, third + 100, 0)
    path = segment(crashed)
    path.write_bytes(path.read_bytes()[: last + size // 2])
    assert f"at byte {third}" in refused(crashed, "whole frames follow").place


def test_a_header_in_the_cut_bytes_is_refused(crashed: Path) -> None:
    path = segment(crashed)
    data = path.read_bytes()
    offset, size = frames(crashed)[1]
    path.write_bytes(data + b"garbage" + data[offset : offset + 80])
    refused(crashed, "whole frames follow")
    path.write_bytes(data + data[offset : offset + size])  # a whole frame, where it does not belong
    refused(crashed, "out of place")


def test_bytes_kept_before_a_crash_are_not_kept_twice(crashed: Path) -> None:
    """The crash came between the torn file and the cut: the next start does both again, and names it once."""
    forget_mark(crashed)
    offset, size = frames(crashed)[-1]
    rest = segment(crashed).read_bytes()[offset : offset + size - 1]
    segment(crashed).write_bytes(segment(crashed).read_bytes()[:-1])
    torn = crashed / "journal" / "torn"
    torn.mkdir()
    name = f"{segment(crashed).name}.{offset}.{sha256(rest).hexdigest()[:16]}"
    (torn / name).write_bytes(rest)
    (torn / (name + ".tmp")).write_bytes(b"unfinished")
    cut_and_named(crashed, SIZE - 1, rest)


def test_a_torn_file_without_its_event_gets_it_at_the_next_start(crashed: Path) -> None:
    torn = crashed / "journal" / "torn"
    torn.mkdir()
    (torn / f"{segment(crashed).name}.{segment(crashed).stat().st_size}.0123456789abcdef").write_bytes(b"half a frame")
    for _ in range(2):
        with open_log(crashed) as log:
            (data,) = acts_of(log, acts.RECOVERY)
            assert data["sha256"] == sha256(b"half a frame").hexdigest()
            assert (data["length"], data["segment"]) == (12, segment(crashed).name)


@pytest.mark.parametrize("left", [0, 100])
def test_an_unfinished_segment_is_cut_whole(crashed: Path, left: int) -> None:
    with open_log(crashed, now_us=START_US + 2 * SEGMENT_AGE_US) as log:
        Teller(log).append(("e1", "in the second segment"))
        shutil.copytree(crashed.parent, crashed.parent.with_name("again"))
    directory = crashed.parent.with_name("again") / "log"
    path = segment(directory)
    path.write_bytes(path.read_bytes()[:left])
    refused(directory, "were acknowledged")
    forget_mark(directory)
    with open_log(directory) as log:
        (data,) = acts_of(log, acts.RECOVERY)
        assert (data["segment"], data["offset"], data["length"]) == (path.name, 0, left)
        assert Teller(log).append(("e1", "once more")).first_index == SIZE + 1
    assert verify(directory).exit_code == 0


def test_a_declared_loss_cuts_keeps_and_says(crashed: Path) -> None:
    """The frame in the middle is damaged: it goes, with all behind it, and the log says what was known of it."""
    offset, _ = frames(crashed)[-2]
    flip(crashed, offset + 100, 0)
    lost = segment(crashed).read_bytes()[offset:]
    refused(crashed, "acknowledged")
    with open_log(crashed, declare_loss="the disk ate it") as log:
        (data,) = acts_of(log, acts.LOSS)
        assert not acts_of(log, acts.RECOVERY)
        assert (data["size"], data["known_size"], data["reason"]) == (4, SIZE, "the disk ate it")
        assert (data["offset"], data["length"]) == (offset, len(lost))
        assert (crashed / "journal" / "torn" / str(data["file"])).read_bytes() == lost
        answer = Teller(log).append(("d1", "six"), ("b1", "three"))  # d1 was lost, b1 was not
        assert (answer.first_index, answer.duplicates) == (5, ((1, 3),))
    assert (crashed / "state" / "committed").read_bytes()[:8] == COMMITTED
    with open_log(crashed) as log:
        assert len(acts_of(log, acts.LOSS)) == 1
    assert verify(crashed).exit_code == 0


def test_a_declared_loss_of_whole_segments(crashed: Path) -> None:
    with open_log(crashed, now_us=START_US) as log:
        assert isinstance(log.clock, FixedClock)
        for number in range(3):
            log.clock.advance(SEGMENT_AGE_US + 1)
            Teller(log).append((f"s{number}", "one a segment"))
        shutil.copytree(crashed.parent, crashed.parent.with_name("again"))
    directory = crashed.parent.with_name("again") / "log"
    rows = list_segments(str(directory / "journal"))
    assert [one.start for one in rows] == [0, SIZE, SIZE + 1, SIZE + 2]
    Path(rows[1].path).write_bytes(b"no header at all")
    refused(directory, "its header is unfinished")
    with open_log(directory, declare_loss="gone") as log:
        found = acts_of(log, acts.LOSS)
        assert [data["segment"] for data in found] == [one.name for one in (rows[2], rows[3], rows[1])]
        assert {data["known_size"] for data in found} == {SIZE + 3}
        assert log.size == SIZE + 3
    assert len(list_segments(str(directory / "journal"))) == 2
    assert verify(directory).exit_code == 0


def test_a_loss_of_which_nothing_is_left_is_said_too(crashed: Path) -> None:
    offset, _ = frames(crashed)[-1]
    segment(crashed).write_bytes(segment(crashed).read_bytes()[:offset])
    refused(crashed, "acknowledged")
    with open_log(crashed, declare_loss="cut by somebody") as log:
        (data,) = acts_of(log, acts.LOSS)
        assert data == {"size": SIZE - 1, "known_size": SIZE, "reason": "cut by somebody"}
    with open_log(crashed) as log:
        assert len(acts_of(log, acts.LOSS)) == 1
    report = verify(crashed)
    assert report.exit_code == 0 and not any("torn" in note for note in report.notes)


def test_a_declared_loss_whose_event_a_crash_prevented_is_still_called_a_loss(crashed: Path) -> None:
    offset, _ = frames(crashed)[-2]
    rest = segment(crashed).read_bytes()[offset:]
    segment(crashed).write_bytes(segment(crashed).read_bytes()[:offset])
    forget_mark(crashed)
    torn = crashed / "journal" / "torn"
    torn.mkdir()
    (torn / f"{segment(crashed).name}.{offset}.{sha256(rest).hexdigest()[:16]}").write_bytes(rest)
    with open_log(crashed) as log:
        (data,) = acts_of(log, acts.LOSS)
        assert (data["length"], data["reason"]) == (len(rest), "")


def test_nothing_to_declare_is_no_loss(crashed: Path) -> None:
    with open_log(crashed, declare_loss="in vain") as log:
        assert not acts_of(log, acts.LOSS) and not acts_of(log, acts.RECOVERY)
        assert log.size == SIZE


def test_what_was_lost_is_not_in_the_registers(crashed: Path) -> None:
    """A snapshot of the registers never holds an act behind its cursor, so no lost token comes back."""
    with open_log(crashed) as log:
        log.publish()
        create_token(log, "lost", ["read"])
        log._save_registers(log.published)
        shutil.copytree(crashed.parent, crashed.parent.with_name("again"))
    directory = crashed.parent.with_name("again") / "log"
    offset, _ = frames(directory)[-1]
    flip(directory, offset + 100, 0)
    with open_log(directory, declare_loss="gone") as log:
        assert log.registers.tokens == {}


def test_a_second_writer_is_refused_after_its_wait(crashed: Path) -> None:
    with open_log(crashed) as log:
        with pytest.raises(Locked, match="another process is writing") as refused:
            open_log(crashed, lock_wait_s=0.2)
        assert refused.value.exit_code == 3
        Teller(log).append(("e", "the first is not disturbed"))
    with open_log(crashed, lock_wait_s=0):
        pass


def test_an_older_copy_of_the_data_is_refused_before_anything_is_signed(tmp_path: Path) -> None:
    directory = make_log(tmp_path)
    shutil.copytree(directory, tmp_path / "old")
    with open_log(directory) as log:
        Teller(log).append(("a", "published after the copy"))
    newest = (directory / "log" / "checkpoint").read_bytes()
    shutil.rmtree(directory)
    shutil.copytree(tmp_path / "old", directory)
    error = refused(directory, "the journal ends at 1, but a tree of 2 entries was signed")
    assert "successor" in error.mend
    assert newest == (tmp_path / "log.keys" / "highest-checkpoint").read_bytes()
    with open_view(directory) as view:  # readable all the same
        assert view.size == 1 and view.read(0).event is not None and view.evidence(0)
    refused(directory, "was signed", declare_loss="no way")


def test_the_remedy_is_a_successor_that_pins_the_last_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    old = make_log(tmp_path / "first")
    with open_log(old) as log:
        Teller(log).append(("a", "one"))
    last = (old / "log" / "checkpoint").read_bytes()
    new = make_log(tmp_path, successor_of=last)
    with open_log(new) as log:
        (genesis,) = acts_of(log, acts.GENESIS)
        pinned = genesis["successor_of"]
        assert isinstance(pinned, dict)
        assert (pinned["origin"], pinned["size"], pinned["checkpoint"]) == (ORIGIN, 2, last.decode())
    assert any(path.read_bytes() == last for path in (new / "checkpoints").rglob("*") if path.is_file())
    assert verify(new).exit_code == 0


def test_another_tree_of_the_signed_size_is_refused(tmp_path: Path) -> None:
    """Two copies of a log went on apart: the one whose checkpoint the keyring did not sign last is a fork."""
    directory = make_log(tmp_path)
    shutil.copytree(directory, tmp_path / "twin")
    shutil.copytree(tmp_path / "log.keys", tmp_path / "twin.keys")
    for one, text in ((directory, "here"), (tmp_path / "twin", "there")):
        with open_log(one) as log:
            Teller(log).append(("a", text))
    shutil.rmtree(tmp_path / "twin.keys")
    shutil.copytree(tmp_path / "log.keys", tmp_path / "twin.keys")
    error = refused_twin(tmp_path / "twin", tmp_path / "twin.keys")
    assert "another root than the highest checkpoint ever signed" in error.what


def refused_twin(directory: Path, keys: Path) -> Broken:
    before = read_tree(keys)
    with pytest.raises(Broken) as error:
        Log.open(directory, clock=FixedClock(START_US))
    assert read_tree(keys) == before
    return error.value


def test_the_whole_host_rolled_back_is_not_noticed(tmp_path: Path) -> None:
    """The documented limit: files in one snapshot roll back together; only a witness catches it."""
    directory = make_log(tmp_path / "host")
    shutil.copytree(tmp_path / "host", tmp_path / "snapshot")
    with open_log(directory) as log:
        Teller(log).append(("a", "rolled back"))
    with open_log(tmp_path / "snapshot" / "log") as log:
        assert log.size == 1
        Teller(log).append(("a", "another story"))


def test_a_mark_of_another_tree_is_refused(crashed: Path) -> None:
    (crashed / "state" / "committed").write_bytes(encode_mark(COMMITTED, Mark(SIZE, bytes(32))))
    refused(crashed, "another root than the committed mark")
    (crashed / "state" / "committed").write_bytes(b"torn")
    with open_log(crashed) as log:
        assert log.size == SIZE


def test_a_mark_from_outside_with_one_signature_is_enough(tmp_path: Path) -> None:
    """After `keys restore` the operator gives a checkpoint that only one of the log's keys signed."""
    directory = make_log(tmp_path)
    (tmp_path / "log.keys" / "highest-checkpoint").unlink()
    with pytest.raises(Broken, match="not known"):
        open_log(directory)
    seen = parse_note((directory / "log" / "checkpoint").read_bytes())
    LogSigner(open_keyring(directory, load_config(directory / "graven.toml"))).accept_seen(
        format_note(Note(seen.text, seen.signatures[:1]))
    )
    with open_log(directory) as log:
        Teller(log).append(("a", "goes on"))
    assert verify(directory).exit_code == 0


def test_a_checkpoint_by_a_stranger_is_disproved(tmp_path: Path) -> None:
    directory, other = make_log(tmp_path), tmp_path / "other"
    create_log(other / "log", origin=ORIGIN)
    (directory / "log" / "checkpoint").write_bytes((other / "log" / "log" / "checkpoint").read_bytes())
    with pytest.raises(Disproved):
        open_log(directory)
    (directory / "log" / "checkpoint").unlink()
    refused(directory, "published checkpoint cannot be read")


def test_a_keyring_of_another_log_is_refused(tmp_path: Path) -> None:
    directory, other = make_log(tmp_path), tmp_path / "other"
    create_log(other / "log", origin=ORIGIN)
    shutil.rmtree(tmp_path / "log.keys")
    shutil.copytree(other / "log.keys", tmp_path / "log.keys")
    refused(directory, "other signing keys")


def test_a_whole_frame_that_does_not_lead_to_its_root_is_refused(crashed: Path) -> None:
    """Nothing a crash does: somebody wrote it. It is refused even where nothing is known of it."""
    forget_mark(crashed)
    with SegmentReader(list_segments(str(crashed / "journal"))[-1]) as reader:
        offset, header = [one for one in reader.walk() if one[1].count][-1]
        sections = frame.decode_block(reader.frame(offset), header, place="")
    forged = frame.encode_block(start=header.start, count=header.count, root=bytes(32), sections=sections)
    path = segment(crashed)
    path.write_bytes(path.read_bytes()[:offset] + forged)
    assert f"at byte {offset}" in refused(crashed, "does not lead to the root its frame states").place


def test_every_missing_file_of_the_journal_is_refused_or_harmless(crashed: Path) -> None:
    start = read_tree(crashed.parent)
    for name, data in start.items():
        if data is None or not name.startswith("log/journal/"):
            continue
        (crashed.parent / name).unlink()
        with pytest.raises(GravenError):
            open_log(crashed)
        restore(crashed.parent, start)


def test_a_key_that_is_gone_stops_the_replay(crashed: Path) -> None:
    for path in (crashed.parent / "log.keys" / "data").iterdir():
        path.unlink()
    assert "restore the keyring" in refused(crashed, "data key is not in the keyring").mend


def test_damaged_tiles_are_built_again(crashed: Path) -> None:
    for path in sorted((crashed / "log" / "tile").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (crashed / "state" / "synced").unlink()
    with open_log(crashed):
        pass
    assert verify(crashed).exit_code == 0
    with open_view(crashed) as view:
        assert view.evidence(0)
