"""`graven restore --mirror`: the honest disaster. The same tree goes on, what was lost is named, nobody has forked."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audit.logs import serving
from cli.calls import Run, read_error, read_json
from docs.second_reader import read_log
from graven import app
from graven.config import load_config
from graven.core.checkpoint import parse_checkpoint
from graven.core.errors import Disproved
from graven.core.note import parse_note
from graven.core.tile import bundle_path, parse_path, tile_path
from graven.journal import frame
from graven.journal.frame import LOST, NO_ERASURE, Section, SegmentHeader
from graven.journal.segment import SegmentReader, list_segments, segment_name
from graven.keys.keyring import Keyring
from graven.keys.signer import LogSigner
from graven.keys.signer_server import Signing
from graven.log.erase import erase_class
from keys.test_signer_process import served as served_signer
from log.logs import verify

Lie = Callable[[Path], None]


def append(run: Run, count: int, word: str, directory: str = "log") -> None:
    events = "\n".join(f'{{"action":"{word}{k}","id":"{word}{k}"}}' for k in range(count))
    run("append", "-", "--dir", directory, given=events.encode())


@pytest.fixture
def disaster(run: Run, made: str) -> str:
    """302 entries in a copy, with a kit; 250 more that only an auditor's mirror has; then the host burns."""
    append(run, 300, "a")
    run("keys", "backup", "kit", "--no-passphrase", "--dir", "log")
    run("backup", "copy", "--dir", "log")  # 302 entries: genesis, 300, the kit
    append(run, 250, "b")
    Path("policy").write_text(f"log {made}\nquorum none\n")
    with serving(Path("log/log")) as served:
        run("audit", "follow", served.url, "--policy", "policy", "--state", "auditor", "--once")
    burn()
    return made


def burn() -> None:
    for name in ("log", "log.keys"):
        if Path(name).exists():
            shutil.rmtree(Path(f"gone.{name}"), ignore_errors=True)
            Path(name).rename(f"gone.{name}")


def restored(run: Run, *more: object) -> dict[str, object]:
    done = read_json(run("restore", "copy", "--dir", "log", "--kit", "kit", "--mirror", "auditor", *more, "--json"))
    report = verify(Path("log"))
    assert report.problems == ()
    return done


def heads(directory: str = "log") -> tuple[int, bytes]:
    head, _ = parse_checkpoint(parse_note(Path(directory, "log", "checkpoint").read_bytes()).text)
    return head.size, head.root


def test_the_same_tree_goes_on(run: Run, disaster: str) -> None:
    before = heads("gone.log")
    done = restored(run)
    assert (done["lost"], done["lost_count"], done["size"]) == ([[302, before[0]]], before[0] - 302, before[0] + 1)
    append(run, 20, "c")
    run("verify", "--dir", "log", "--since", "gone.log/log/checkpoint")
    run("check", "gone.log/log/checkpoint", "log/log/checkpoint", "--vkey", disaster)
    with serving(Path("log/log")) as served:  # the auditor who saw the lost tree sees it grow, and no fork
        looked = run("audit", "follow", served.url, "--policy", "policy", "--state", "auditor", "--once", "--json")
    found = read_json(looked)
    assert found["problems"] == [] and found["grown"] == 21
    report = verify(Path("log"))
    assert any(f"{before[0] - 302} events were lost, as the event at index {before[0]} says" in n for n in report.notes)


def test_lost_is_never_erased(run: Run, disaster: str) -> None:
    size = int(str(restored(run)["size"])) - 1
    shown = read_json(run("show", 400, "--dir", "log", "--json"))
    assert (shown["content"], shown["event"], shown["erasure_index"]) == ("lost", None, size)
    assert "lost, as event" in run("show", 400, "--dir", "log").stdout
    assert "lost" in read_error(run("prove", 400, "--dir", "log", "--json", exit_code=2))["what"]
    run("prove", 400, "--dir", "log", "--tlog-proof", "-o", "proof")
    run("check", "proof", "--vkey", disaster)
    act = json.loads(read_json(run("show", size, "--dir", "log", "--json"))["event_text"])
    assert act["action"] == "graven.heal" and act["data"]["lost"] == [[302, size]] and act["data"]["size"] == size
    run("audit", "range", 300, 310, "--source", "local", "--dir", "log", "-o", "range")
    found = read_json(run("check", "range", "--vkey", disaster, "--json"))["files"][0]
    assert (found["at_least"], found["at_most"], found["not_opened"]) == (1, 9, list(range(302, 310)))
    auditor = run("audit", "init-key", "key", "--name", "auditor.example.com/a").stdout.strip()
    run("checkpoint", "--dir", "log")
    Path("cp").write_bytes(run("checkpoint", "--dir", "log").stdout_bytes)
    run("challenge", "draw", "cp", "--count", 40, "--seed", "cd" * 20, "--seed-from", "a lottery", "--key", "key",
        "--vkey", disaster, "-o", "draw")  # fmt: skip
    run("challenge", "answer", "draw", "--dir", "log", "--auditor", auditor, "-o", "answer")
    said = read_json(run("challenge", "judge", "draw", "--answer", "answer", "--key", "key", "--vkey", disaster,
                         "-o", "said", "--json"))  # fmt: skip
    assert said["missing"] == 0 == said["erased"] and said["lost"] > 0 and said["opened"] > 0


def test_a_second_implementation_reads_it(run: Run, disaster: str) -> None:
    size = int(str(restored(run)["size"]))
    log = read_log(Path("log"), Path("log.keys"))
    assert (log.tree.size, log.tree.root()) == heads()
    assert [at for at, slot in enumerate(log.slots) if slot.lost] == list(range(302, size - 1))
    assert {slot.erasure for slot in log.slots if slot.lost} == {size - 1}


def test_numbers_go_on_above_what_was_lost(run: Run, disaster: str) -> None:
    restored(run)
    first = 2 + heads("gone.log")[0] - 302  # each lost entry may have used one
    assert read_json(run("source", "add", "new", "--dir", "log", "--json"))["number"] == first
    Path("log/state/registers.json").unlink()
    assert read_json(run("source", "add", "newer", "--dir", "log", "--json"))["number"] == first + 1
    append(run, 3, "b")  # ids that were used in the gap are new again
    assert heads()[0] > 550


def test_one_copy_restored_twice_gives_no_number_twice(run: Run, disaster: str) -> None:
    restored(run)
    numbers = [read_json(run("source", "add", f"a{n}", "--dir", "log", "--json"))["number"] for n in range(3)]
    append(run, 5, "c")
    with serving(Path("log/log")) as served:
        run("audit", "follow", served.url, "--policy", "policy", "--state", "auditor", "--once")
    burn()  # the copy that is left is the same one, and knows nothing of those sources
    restored(run)
    again = [read_json(run("source", "add", f"a{n}", "--dir", "log", "--json"))["number"] for n in range(3)]
    assert len({*numbers, *again}) == 6 and min(again) > max(numbers)


def test_the_keys_are_with_a_signer(run: Run, made: str) -> None:
    """The host burns, and the signer, on a machine of its own, does not: the tree goes on under its eyes."""
    run("signer", "split", "signer", "--dir", "log")
    toml = Path("log/graven.toml")
    toml.write_text(toml.read_text().replace("[keys]\n", f'[keys]\nsigner = "unix:{Path.cwd()}/sock"\n', 1))
    Path("policy").write_text(f"log {made}\nquorum none\n")

    def signing(folder: str = "signer") -> Signing:
        return Signing(LogSigner(Keyring.open(str(Path(folder).absolute()))))

    with served_signer(signing(), Path("sock").absolute()):
        append(run, 30, "a")
        run("keys", "backup", "kit", "--no-passphrase", "--dir", "log")
        run("backup", "copy", "--dir", "log")
        shutil.copytree("signer", "old-signer")
        append(run, 20, "b")
        with serving(Path("log/log")) as served:
            run("audit", "follow", served.url, "--policy", "policy", "--state", "auditor", "--once")
    burn()
    words = ["restore", "copy", "--dir", "log", "--kit", "kit", "--mirror", "auditor"]
    assert "does not answer" in read_error(run(*words, "--json", exit_code=3))["what"]
    with served_signer(signing("old-signer"), Path("sock").absolute()):  # it came back from a backup of its own
        assert "does not know of the newest tree" in read_error(run(*words, "--json", exit_code=3))["what"]
    assert not Path("log").exists()
    run("signer", "seen", "auditor/checkpoint", "old-signer")
    with served_signer(signing("old-signer"), Path("sock").absolute()):
        done = read_json(run(*words, "--json"))
        assert done["lost_count"] == heads("gone.log")[0] - 33 and done["size"] == heads("gone.log")[0] + 1
        append(run, 5, "c")
    run("verify", "--dir", "log", "--since", "gone.log/log/checkpoint")
    Path("moved").mkdir()
    burn()
    with served_signer(signing("old-signer"), Path("moved/sock").absolute()):
        read_error(run(*words, "--json", exit_code=3))  # the copy's configuration names the old place
        other = f"unix:{Path.cwd()}/moved/sock"
        run("restore", "copy", "--dir", "log", "--mirror", "gone.log", "--signer", other, "--keys", "log.keys")
        append(run, 5, "d")
    assert other in Path("log/graven.toml").read_text()


def test_the_keyring_may_have_survived(run: Run, disaster: str) -> None:
    Path("gone.log.keys").rename("log.keys")
    done = read_json(run("restore", "copy", "--dir", "log", "--mirror", "auditor", "--json"))
    assert done["lost_count"] == heads("gone.log")[0] - 302
    assert verify(Path("log")).problems == ()


def test_by_a_url_and_with_one_mirror_silent(run: Run, disaster: str) -> None:
    with serving(Path("auditor")) as served:
        done = read_json(run("restore", "copy", "--dir", "log", "--kit", "kit", "--mirror", "http://127.0.0.1:9/log",
                             "--mirror", served.url, "--json"))  # fmt: skip
    assert done["lost_count"] == heads("gone.log")[0] - 302
    assert verify(Path("log")).problems == ()


def flip(name: str, at: int = -1) -> Lie:
    def lie(mirror: Path) -> None:
        data = bytearray((mirror / name).read_bytes())
        data[at] ^= 1
        (mirror / name).write_bytes(data)

    return lie


def cut(name: str) -> Lie:
    def lie(mirror: Path) -> None:
        (mirror / name).write_bytes((mirror / name).read_bytes()[:-1])

    return lie


def last_bundle(mirror: Path) -> str:
    return next(str(path.relative_to(mirror)) for path in sorted((mirror / "tile/entries").glob("002.p/*")))


@pytest.mark.parametrize(
    "lie, code",
    [
        (flip(bundle_path(1), 34 * 100 + 5), 1),  # an entry of the gap
        (flip(tile_path(0, 1), 32 * 100 + 5), 1),
        (lambda mirror: flip(last_bundle(mirror))(mirror), 1),
        (cut(bundle_path(1)), 1),
        (lambda mirror: (mirror / bundle_path(1)).unlink(), 3),
        (lambda mirror: flip("checkpoint", 60)(mirror), 1),
    ],
)
def test_a_mirror_that_lies_or_lacks(run: Run, disaster: str, lie: Lie, code: int) -> None:
    assert parse_path(last_bundle(Path("auditor"))).level == "entries"
    lie(Path("auditor"))
    run("restore", "copy", "--dir", "log", "--kit", "kit", "--mirror", "auditor", exit_code=code)
    assert not Path("log").exists() and not list(Path().glob("log.*.new"))


def test_a_lie_about_what_the_copy_has_is_not_asked_for(run: Run, disaster: str) -> None:
    flip(bundle_path(0), 40)(Path("auditor"))
    restored(run)


def test_entries_that_nobody_holds(run: Run, disaster: str) -> None:
    """The mark beside the keys, or a checkpoint somebody kept, is larger than every mirror."""
    shutil.copytree("copy/log", "old")
    for more in (["--seen", "gone.log/log/checkpoint"], []):
        if not more:
            shutil.rmtree("log.keys", ignore_errors=True)
            shutil.copytree("gone.log.keys", "log.keys")
        error = read_error(run("restore", "copy", "--dir", "log", "--kit", "kit", "--mirror", "old", *more, "--json",
                               exit_code=3))  # fmt: skip
        assert "nobody who was asked" in error["what"] and "--successor-of" in error["mend"]
        assert not Path("log").exists()


def test_a_copy_of_another_history(run: Run, disaster: str) -> None:
    """Somebody went on from the copy by himself: his log is no beginning of the tree that was signed."""
    run("restore", "copy", "--dir", "rogue", "--keys", "log.keys")
    run("keys", "restore", "kit", "--dir", "rogue", "--seen", "copy/log/checkpoint")
    append(run, 5, "rogue", "rogue")
    run("backup", "rogue.copy", "--dir", "rogue")
    shutil.rmtree("rogue")
    shutil.rmtree("log.keys")
    result = run("restore", "rogue.copy", "--dir", "log", "--kit", "kit", "--mirror", "auditor", exit_code=1)
    assert "not the beginning of the tree that was signed" in result.stderr or "forked" in result.stderr
    assert not Path("log").exists()


def test_a_kit_older_than_the_copy(run: Run, made: str) -> None:
    """Segments whose keys are in no kit are lost as well, whole."""
    append(run, 10, "a")
    run("keys", "backup", "kit", "--no-passphrase", "--dir", "log")
    roll()
    append(run, 10, "b")
    run("backup", "copy", "--dir", "log")
    append(run, 10, "c")
    shutil.copytree("log/log", "auditor")
    begins = list_segments("log/journal")[-1].start
    size = heads()[0]
    burn()
    assert restored(run)["lost"] == [[begins, size]]
    append(run, 5, "d")
    assert verify(Path("log")).problems == ()
    names = [one.name for one in list_segments("log/journal")]
    assert names == [segment_name(0, 0), segment_name(begins, 0)]


def test_twice(run: Run, disaster: str) -> None:
    """A second disaster, to the same old copy; and to one that was made within the healed slots."""
    first = restored(run)
    append(run, 30, "c")
    run("backup", "second", "--dir", "log")
    shutil.rmtree("auditor")
    shutil.copytree("log/log", "auditor")
    size = heads()[0]
    burn()
    assert restored(run)["lost"] == [[302, size]]
    burn()
    done = read_json(run("restore", "second", "--dir", "log", "--kit", "kit", "--mirror", "auditor", "--json"))
    assert done["lost"] == [[size - 1, size]] and verify(Path("log")).problems == ()  # the act of the copy itself
    append(run, 3, "d")
    numbers = [read_json(run("source", "add", f"s{k}", "--dir", "log", "--json"))["number"] for k in range(2)]
    passed_over = int(str(first["lost_count"])) + 1  # by the two heals that this log knows of
    assert numbers == [2 + passed_over, 3 + passed_over] and first["lost_count"] != 0


def test_a_copy_that_ends_before_its_own_heal_is_said(run: Run, disaster: str) -> None:
    """Killed between the restore and the first event: the next start says it; a copy of that state is healed, too."""
    with unsaid(run):
        report = verify(Path("log"))
        assert report.problems == () and any("the next start says so" in note for note in report.notes)
        shutil.copytree("log", "half")
    append(run, 1, "c")
    size = heads("gone.log")[0]
    act = json.loads(read_json(run("show", size, "--dir", "log", "--json"))["event_text"])
    assert act["action"] == "graven.heal" and act["data"]["lost"] == [[302, size]]
    assert verify(Path("log")).problems == ()
    shutil.rmtree("auditor")
    shutil.copytree("log/log", "auditor")
    burn()
    run("restore", "half", "--dir", "log", "--kit", "kit", "--mirror", "auditor")
    assert read_json(run("show", size, "--dir", "log", "--json"))["content"] == "lost"
    assert verify(Path("log")).problems == ()


@contextmanager
def unsaid(run: Run) -> Iterator[None]:
    """Restored in a process that dies before it opens the log."""
    code = (
        "import os, graven.cli.restoring as r\n"
        "r.Log = type('Dead', (), {'open': staticmethod(lambda *a, **k: os._exit(9))})\n"
        "from graven.cli import graven\n"
        "graven.main(['restore', 'copy', '--dir', 'log', '--kit', 'kit', '--mirror', 'auditor'])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=180, check=False).returncode == 9
    yield


def test_beside_an_erasure(run: Run, disaster: str) -> None:
    restored(run)
    append(run, 3, "c")
    roll()
    with app.Log.open("log") as log:
        certificate = erase_class(log, 0, "default", "event", reason="law")
    assert certificate["class"] == "default"
    report = verify(Path("log"))
    assert report.problems == ()
    assert read_json(run("show", 5, "--dir", "log", "--json"))["content"] == "erased"
    assert read_json(run("show", 400, "--dir", "log", "--json"))["content"] == "lost"


def test_calling_events_lost_does_not_hide_them(run: Run, made: str) -> None:
    """Who has all keys writes a segment anew and says that two events were lost: the verifier asks for the heal."""
    append(run, 10, "a")
    roll()
    append(run, 5, "b")
    assert verify(Path("log")).problems == ()
    rewrite_as_lost(Path("log"), 3, 5)
    found = verify(Path("log"))
    assert any("lost without an event" in one.what for one in found.problems)
    run("verify", "--dir", "log", exit_code=1)


def test_a_heal_that_names_less(run: Run, disaster: str) -> None:
    restored(run)
    roll()
    rewrite_as_lost(Path("log"), 290, 302)
    found = verify(Path("log"))
    assert found.disproved


def rewrite_as_lost(directory: Path, start: int, end: int) -> None:
    """The closed segment 0 under the next generation, each block that touches [start, end) as entries alone."""
    with app.open_view(directory) as view:
        entries = [record.entry for record in view.records(0, view.size)]
    segment = list_segments(str(directory / "journal"))[0]
    with SegmentReader(segment) as reader:
        old, closed = reader.header(), reader.closed()
        assert closed is not None
        new = SegmentHeader(old.origin, old.log_id, old.start, 1, old.created_us, old.root, old.hashes, old.keys)
        data, blocks = frame.encode_segment_header(new), []
        for offset, one in reader.walk():
            if one.kind == frame.BLOCK:
                sections = frame.decode_block(reader.frame(offset, one), one, place="")
                if one.start < end and one.end > start:
                    body = b"".join(entry for entry in entries[one.start : one.end] if entry)
                    sections = [Section(LOST, "lost", None, one.count, bytes(16), bytes(12), closed.end, body)]
                blocks.append((one.start, len(data)))
                data += frame.encode_block(start=one.start, count=one.count, root=one.root, sections=sections)
        data += frame.encode_index(
            segment_start=old.start, end=closed.end, root=closed.root, frames=blocks, offset=len(data)
        )
    (directory / "journal" / segment_name(old.start, 1)).write_bytes(data)
    Path(segment.path).unlink()


def roll(directory: str = "log") -> None:
    """Close the open segment; the next append begins another."""
    with app.Log.open(directory) as log:
        assert log.writer.state.segment.current is not None
        log.writer._limits = type(log.writer._limits)(segment_bytes=log.writer.state.segment.current.offset)
        log.append([{"action": "first of the next"}])


def test_lost_slots_hold_nothing_else() -> None:
    entry = bytes(range(32))
    good = Section(LOST, "lost", None, 1, bytes(16), bytes(12), 1, entry)
    bad = [
        Section(LOST, "lost", None, 1, b"\1" * 16, bytes(12), 1, entry),
        Section(LOST, "lost", None, 1, bytes(16), b"\1" * 12, 1, entry),
        Section(LOST, "lost", None, 1, bytes(16), bytes(12), 1, entry + b"x"),
        Section(LOST, "lost", None, 1, bytes(16), bytes(12), NO_ERASURE, entry),
    ]
    for section in (good, *bad):
        data = frame.encode_block(start=0, count=1, root=bytes(32), sections=[section])
        header = frame.decode_header(data, place="")
        if section is good:
            assert frame.decode_block(data, header, place="") == [good]
        else:
            with pytest.raises(Disproved):
                frame.decode_block(data, header, place="")


def test_what_is_asked_for(run: Run, disaster: str) -> None:
    for words in (("--mirror", "auditor"), ("--kit", "kit"), ("--seen", "gone.log/log/checkpoint"),
                  ("--mirror", "nowhere", "--kit", "kit"), ("--mirror", "ftp://x/y", "--kit", "kit")):  # fmt: skip
        run("restore", "copy", "--dir", "log", *words, exit_code=2)
    assert not Path("log").exists() and not Path("log.keys").exists()
    assert load_config(Path("copy/graven.toml")).origin == "example.com/log"


def test_restored_elsewhere_with_keys_named_at_one_stroke(run: Run, disaster: str) -> None:
    run("restore", "copy", "--dir", "else", "--keys", "other.keys", "--kit", "kit", "--mirror", "auditor")
    assert load_config(Path("else/graven.toml")).keys.dir == str(Path("other.keys").absolute())
    append(run, 2, "c", "else")
    run("verify", "--dir", "else")
    assert not list(Path().glob("*.new"))
