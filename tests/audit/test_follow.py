"""A follower over real HTTP: growth, restarts, damage, forks, a log that shrinks or stops, peers that lie."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from audit.logs import (
    NOW_S,
    POLICY_TEXT,
    VKEY,
    entries_of,
    files_of,
    following,
    look,
    publish,
    serving,
)
from cli.calls import read_json
from core.signers import LOG, LOG_PQ, STRANGER, TIME_S, WITNESS, sign_text
from graven.app import Log
from graven.audit import mirror
from graven.cli import graven
from graven.core.checkpoint import Checkpoint, format_checkpoint
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.merkle import EMPTY_ROOT
from graven.core.note import Note, format_note, format_vkey, parse_note
from graven.core.policy import parse_policy
from tampering.logs import batch_of, flip, make_log

SIZES = (1, 255, 256, 257, 700, 1024)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def what(found: object) -> str:
    return "; ".join(str(one) for one in found.problems)  # type: ignore[attr-defined]


def check(*files: Path) -> tuple[int, str]:
    result = CliRunner().invoke(graven, ["check", *map(str, files), "--vkey", VKEY], prog_name="graven")
    return result.exit_code, result.stdout


def evidence(state: Path) -> list[Path]:
    return sorted((state / "evidence").glob("*"))


def test_growth_is_copied_file_by_file(log: Path, state: Path) -> None:
    entries = entries_of(SIZES[-1])
    before = 0
    with serving(log) as served, following(served.url, state) as follower:
        for size in SIZES:
            publish(log, entries[:size])
            found = follower.round()
            assert (found.exit_code, found.size, found.grown) == (0, size, size - before), what(found)
            before = size
    kept, published = files_of(state), files_of(log)
    assert {path for path in published if ".p/" not in path} <= set(kept)
    assert all(published[path] == data for path, data in kept.items())
    assert len(list((state / "checkpoints").glob("*/*"))) == len(SIZES)


def test_an_empty_log(log: Path, state: Path) -> None:
    publish(log, [])
    assert (look(log, state).exit_code, look(log, state).size) == (0, 0)
    publish(log, entries_of(3))
    assert (look(log, state).exit_code, look(log, state).size) == (0, 3)


def test_a_real_log_and_its_growth(tmp_path: Path, state: Path) -> None:
    made = make_log(tmp_path / "real", events=600)
    policy = parse_policy("".join(f"log {format_vkey(key)}\n" for key in made.keys) + "quorum none\n")
    found = look(made.directory / "log", state, policy=policy)
    assert (found.exit_code, found.size) == (0, 601), what(found)
    with Log.open(made.directory) as writing:
        writing.commit(batch_of(range(1000, 1400), NOW_S * 1_000_000))
        writing.publish()
    found = look(made.directory / "log", state, policy=policy)
    assert found.exit_code == 0 and found.size > 1000, what(found)
    assert found.checked[0].startswith("own copy of 601")


def test_nothing_is_asked_for_twice(log: Path, state: Path) -> None:
    publish(log, entries_of(700))
    with serving(log) as served:
        for _ in range(2):
            with following(served.url, state) as follower:
                assert follower.round().exit_code == 0
        assert len([path for path in served.asked if "entries" in path]) == 3
        publish(log, entries_of(1000))
        served.asked.clear()
        with following(served.url, state) as follower:
            assert follower.round().size == 1000
        assert sorted(path for path in served.asked if "entries" in path) == [
            "tile/entries/002", "tile/entries/003.p/232",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("tile/entries/001", "tile/0/001"),
        ("tile/entries/002.p/188", "tile/0/002.p/188"),
        ("tile/0/001", "tile/0/001"),
        ("tile/1/000.p/2", "tile/1/000.p/2"),
        ("checkpoint", ""),
    ],
)
def test_what_is_tampered_with_is_disproved_and_not_kept(log: Path, state: Path, name: str, place: str) -> None:
    publish(log, entries_of(700))
    flip(log / name, 40)
    found = look(log, state)
    assert found.exit_code == 1 and found.size == 0
    assert place in found.problems[0].place
    assert not (state / "checkpoint").exists() and not evidence(state)
    publish(log, entries_of(700))
    assert look(log, state).size == 700, "what was kept of the bad answers does no harm"


def test_runs_in_processes_of_their_own_find_the_same(
    log: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "APART_RUNS", 1)
    monkeypatch.setattr(mirror, "RUN_BUNDLES", 2)
    publish(log, entries_of(256 * 5 + 9))
    assert look(log, state).size == 256 * 5 + 9
    good = files_of(state)
    flip(state / "tile/entries/003", 40)
    found = look(log, state)
    assert found.exit_code == 3 and "was damaged" in what(found) and files_of(state) == good
    flip(log / "tile/entries/001", 40)
    found = look(log, tmp_path / "other")
    assert found.exit_code == 1 and "tile/0/001" in found.problems[0].place
    (log / "tile/0/004").unlink()
    found = look(log, tmp_path / "third")
    assert found.exit_code in (1, 3) and not (tmp_path / "third/checkpoint").exists()


def test_a_missing_file_is_broken(log: Path, state: Path) -> None:
    publish(log, entries_of(700))
    (log / "tile/entries/001").unlink()
    found = look(log, state)
    assert found.exit_code == 3 and "tile/entries/001" in found.problems[0].place


def test_a_partial_file_that_became_full(log: Path, state: Path) -> None:
    note = publish(log, entries_of(300))
    for path in [*log.rglob("*.p/*")]:
        path.unlink()
    publish(log, entries_of(600))
    (log / "checkpoint").write_bytes(note)
    found = look(log, state)
    assert found.exit_code == 3 and "tile/1/000.p/1" in found.problems[0].place, "level 1 has no full tile yet"
    publish(log, entries_of(300))
    (log / "tile/entries/001.p/44").unlink()
    (log / "tile/0/001.p/44").unlink()
    found = look(log, state)
    assert found.exit_code == 0 and (state / "tile/entries/001.p/44").stat().st_size == 34 * 44


def test_the_copy_is_checked_at_each_start(log: Path, state: Path) -> None:
    publish(log, entries_of(700))
    assert look(log, state).exit_code == 0
    good = files_of(state)
    for name in ("tile/entries/001", "tile/0/002.p/188", "tile/1/000.p/2"):
        flip(state / name, 77 % (state / name).stat().st_size)
        found = look(log, state)
        assert found.exit_code == 3 and "was damaged" in what(found)
        assert files_of(state) == good
        assert look(log, state).exit_code == 0
    (state / "tile/entries/000").unlink()
    assert look(log, state).exit_code == 0 and files_of(state) == good
    for path in (state / "tile/entries/000", state / "tile/0/000"):  # a forger changes both alike
        other = tuple((log.parent / "other" / path.relative_to(state)).parts)
        publish(log.parent / "other", entries_of(700, salt=1))
        path.write_bytes(Path(*other).read_bytes())
    found = look(log, state)
    assert found.exit_code == 3 and "another root" in what(found) and files_of(state) == good


def test_a_lying_server_does_not_get_at_the_copy(log: Path, state: Path) -> None:
    """A damaged copy is mended only by files that lead to the root it had."""
    publish(log, entries_of(700))
    assert look(log, state).exit_code == 0
    good = files_of(state)
    publish(log.parent / "other", entries_of(700, salt=1))
    for name in ("tile/entries/000", "tile/0/000"):
        (state / name).write_bytes((log.parent / "other" / name).read_bytes())
    damaged = files_of(state)
    assert look(log.parent / "other", state).exit_code == 1
    assert files_of(state) == damaged
    assert look(log, state).exit_code == 3 and files_of(state) == good


@pytest.mark.parametrize("size", [700, 900])
def test_a_fork_is_evidence_that_convicts_by_itself(log: Path, state: Path, size: int) -> None:
    """Of the same size, or of a larger one that does not begin with the tree seen before."""
    publish(log, entries_of(700))
    assert look(log, state).exit_code == 0
    publish(log.parent / "forked", entries_of(size, salt=1, shared=300))
    found = look(log.parent / "forked", state)
    assert found.exit_code == 1 and "this log forked" in what(found)
    assert found.size == 700, "the copy stays on the tree seen first"
    (folder,) = evidence(state)
    assert folder.name.startswith("fork-700-")
    code, printed = check(*sorted(folder.iterdir()))
    assert code == 1 and "this log forked" in printed
    again = look(log, state)
    assert again.exit_code == 1 and "forked before" in what(again), "a conviction is not forgotten"
    assert len(evidence(state)) == 1


def test_a_smaller_fork_is_a_fork(log: Path, state: Path) -> None:
    publish(log, entries_of(700))
    assert look(log, state).exit_code == 0
    publish(log.parent / "forked", entries_of(500, salt=1, shared=300))
    found = look(log.parent / "forked", state)
    assert found.exit_code == 1
    (folder,) = evidence(state)
    code, printed = check(*sorted(folder.iterdir()))
    assert code == 1 and "this log forked" in printed


def test_a_log_that_shrinks_convicts_nobody_and_is_told(log: Path, state: Path) -> None:
    publish(log, entries_of(700))
    assert look(log, state).exit_code == 0
    publish(log.parent / "restored", entries_of(500))
    found = look(log.parent / "restored", state)
    assert found.exit_code == 3 and "older tree" in what(found) and isinstance(found.problems[0], Broken)
    (folder,) = evidence(state)
    assert folder.name.startswith("shrink-500-") and check(*sorted(folder.iterdir()))[0] == 0
    assert look(log, state).exit_code == 0, "the log is back, nothing is held against it"
    publish(log.parent / "empty", [])
    assert "older tree: 0" in what(look(log.parent / "empty", state)).replace("older tree than before", "older tree")


def test_tiles_that_lead_nowhere_are_no_fork(log: Path, state: Path) -> None:
    publish(log, entries_of(700))
    assert look(log, state).exit_code == 0
    publish(log, entries_of(900))
    flip(log / "tile/0/003.p/132", 5)
    found = look(log, state)
    assert found.exit_code == 1 and "tiles served do not lead" in what(found) and not evidence(state)


def test_the_quorum_of_the_policy(log: Path, state: Path) -> None:
    policy = parse_policy(f"{POLICY_TEXT.replace('quorum none', '')}witness w {format_vkey(WITNESS.key)}\nquorum w\n")
    publish(log, entries_of(10))
    found = look(log, state, policy=policy)
    assert found.exit_code == 1 and "quorum" in what(found) and found.size == 0
    assert len(list((state / "checkpoints").glob("*/*"))) == 1, "what the log signed is kept all the same"
    publish(log, entries_of(10), (LOG, LOG_PQ, WITNESS))
    found = look(log, state, policy=policy)
    assert (found.exit_code, found.witnesses, found.size) == (0, ("w",), 10)


def test_a_stranger_signed(log: Path, state: Path) -> None:
    publish(log, entries_of(10), (STRANGER,))
    assert look(log, state).exit_code == 1
    assert not (state / "checkpoints").exists()


def test_a_log_that_stopped(log: Path, state: Path) -> None:
    publish(log, entries_of(10))  # signed at TIME_S, as its ML-DSA-44 line says
    for now_s, code in ((TIME_S + 100, 0), (TIME_S + 101, 3)):
        with serving(log) as served, following(served.url, state, max_age_s=100, now_s=now_s) as follower:
            found = follower.round()
            assert (found.exit_code, found.age_s) == (code, now_s - TIME_S), what(found)
    assert "has stopped" in what(found)


def test_without_a_time_in_it_a_checkpoint_is_as_old_as_it_was_seen(log: Path, state: Path) -> None:
    publish(log, entries_of(10), (LOG,))
    for now_s, code in ((NOW_S, 0), (NOW_S + 50, 0), (NOW_S + 101, 3)):
        with serving(log) as served, following(served.url, state, max_age_s=100, now_s=now_s) as follower:
            assert follower.round().exit_code == code


def test_a_log_that_signs_the_future_gains_nothing(log: Path, state: Path) -> None:
    text = format_checkpoint(Checkpoint(LOG.key.name, 0, EMPTY_ROOT))
    note = sign_text(text, LOG)
    future = parse_note(note)
    line = LOG_PQ.line(text, NOW_S + 10**6)
    log.mkdir()
    (log / "checkpoint").write_bytes(format_note(Note(text, (*future.signatures, line))))
    for now_s, code in ((NOW_S, 0), (NOW_S + 101, 3)):
        with serving(log) as served, following(served.url, state, max_age_s=100, now_s=now_s) as follower:
            assert follower.round().exit_code == code


def test_peers(log: Path, state: Path, tmp_path: Path) -> None:
    publish(log, entries_of(700))
    peers = {}
    for name, size in (("same", 700), ("behind", 400), ("ahead", 900), ("lower", 0)):
        publish(tmp_path / name, entries_of(size))
        with serving(tmp_path / name) as peer:
            found = look(log, state, peers=[peer.url])
            assert (found.exit_code, found.peers_agreed) == (0, 1), (name, what(found))
            peers[name] = peer.url
    found = look(log, state, peers=[peers["same"]])
    assert found.exit_code == 3 and found.peers_agreed == 0, "a dead peer"
    assert "does not answer" in what(found) and peers["same"] in found.problems[0].place
    publish(tmp_path / "stranger", entries_of(700, salt=1), (STRANGER,))
    publish(tmp_path / "liar", entries_of(900))
    flip(tmp_path / "liar/tile/0/003.p/132", 5)
    for name in ("stranger", "liar"):
        with serving(tmp_path / name) as peer:
            found = look(log, state, peers=[peer.url])
        assert found.exit_code == 3 and not evidence(state), "a lying peer convicts no log"


@pytest.mark.parametrize("size", [500, 700, 900])
def test_a_peer_that_was_shown_another_tree(log: Path, state: Path, tmp_path: Path, size: int) -> None:
    publish(log, entries_of(700))
    publish(tmp_path / "peer", entries_of(size, salt=1, shared=100))
    with serving(tmp_path / "peer") as peer:
        found = look(log, state, peers=[peer.url])
    assert found.exit_code == 1 and isinstance(found.problems[0], Disproved)
    (folder,) = evidence(state)
    code, printed = check(*sorted(folder.iterdir()))
    assert code == 1 and "this log forked" in printed


def test_a_follower_has_its_directory_alone(log: Path, state: Path) -> None:
    publish(log, entries_of(3))
    with serving(log) as served, following(served.url, state) as follower:
        with pytest.raises(BadInput, match="another follower"), following(served.url, state):
            pass
        assert follower.round().exit_code == 0
    other = parse_policy(f"log {format_vkey(STRANGER.key)}\nquorum none\n")
    with pytest.raises(BadInput, match="not one that this policy trusts"):
        look(log, state, policy=other)


def test_the_report_of_the_command(log: Path, state: Path, tmp_path: Path) -> None:
    publish(log, entries_of(300))
    (tmp_path / "policy").write_text(POLICY_TEXT)
    with serving(log) as served:
        words = ["audit", "follow", served.url, "--policy", str(tmp_path / "policy"), "--state", str(state), "--once"]
        plain = CliRunner().invoke(graven, words, prog_name="graven")
        result = CliRunner().invoke(graven, [*words, "--json"], prog_name="graven")
    assert plain.exit_code == 0 and "300 entries, 300 of them new" in plain.stdout
    fields = read_json(result)
    assert (fields["size"], fields["grown"], fields["problems"], fields["exit_code"]) == (300, 0, [], 0)
