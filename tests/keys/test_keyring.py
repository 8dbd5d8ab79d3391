"""The keyring: keys are durable everywhere before they are used, gone everywhere when destroyed, and never wrong."""

import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from graven.core.errors import BadInput, Broken, GravenError
from graven.core.note import COSIG_MLDSA44, ED25519, parse_skey
from graven.keys.datakey import Kind
from graven.keys.keyring import Keyring
from graven.keys.passphrase import Passphrase
from recording import Recorder

ORIGIN = "example.com/log"
WORDS = "correct horse"
SIGNING = ["log.ed25519", "log.mldsa44", "receipt.ed25519"]
ROOT_FILES = ["keyring.json", *SIGNING]


def make(tmp_path: Path, replicas: int = 0, *, sealed: bool = False, files: Recorder | None = None) -> Keyring:
    places = [str(tmp_path / f"replica{n}") for n in range(replicas)]
    passphrase = Passphrase(WORDS) if sealed else None
    return Keyring.create(
        str(tmp_path / "a.keys"), origin=ORIGIN, passphrase=passphrase, replicas=places, files=files, scrypt_n=2
    )


def reopen(keyring: Keyring, *, sealed: bool = False) -> Keyring:
    return Keyring.open(keyring.directory, passphrase=Passphrase(WORDS) if sealed else None, replicas=keyring.replicas)


def everything(keyring: Keyring, ids: Sequence[bytes] = ()) -> list[object]:
    """All that the keyring yields, with the data keys of segment 0: to be the same after reopening, or refused."""
    keys = keyring.root_keys()
    data = [keyring.find_data_key(key_id, 0) for key_id in ids]
    return [keys.origin, keys.kek, keys.window, dict(keys.signing), data]


def ids_of(made: Mapping[tuple[str, Kind], tuple[bytes, bytes]]) -> list[bytes]:
    return [key_id for key_id, _ in made.values()]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("sealed", [False, True])
def test_create_then_open(tmp_path: Path, sealed: bool) -> None:
    made = make(tmp_path, sealed=sealed)
    ids = ids_of(made.new_data_keys(0, ["default"]))
    again = reopen(made, sealed=sealed)
    assert again.origin == ORIGIN
    assert again.sealed is sealed
    assert again.notes == ()
    assert len(again.window_key) == 32
    assert everything(again, ids) == everything(made, ids)
    kinds = [(parse_skey(again.signing_key(file)).name, parse_skey(again.signing_key(file)).type) for file in SIGNING]
    assert kinds == [(ORIGIN, ED25519), (ORIGIN, COSIG_MLDSA44), (f"{ORIGIN}/receipt", ED25519)]


def test_all_is_private(tmp_path: Path) -> None:
    keyring = make(tmp_path, replicas=1)
    keyring.new_data_keys(7, ["default"])
    for top in (keyring.directory, *keyring.replicas):
        paths = list(Path(top).rglob("*"))
        assert len(paths) == 7
        for path in [Path(top), *paths]:
            wanted = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_a_passphrase_leaves_no_key_in_clear(tmp_path: Path) -> None:
    keyring = make(tmp_path, sealed=True)
    for path in Path(keyring.directory).rglob("*.*"):
        text = path.read_text()
        assert "PRIVATE" not in text
        assert '"plain"' not in text


@pytest.mark.parametrize("file", [*ROOT_FILES, "data/00000000000000000000.0.json"])
def test_a_file_open_to_others_is_refused(tmp_path: Path, file: str) -> None:
    keyring = make(tmp_path)
    ((key_id, _), *_) = keyring.new_data_keys(0, ["default"]).values()
    for mode in (0o640, 0o604, 0o620):
        Path(keyring.directory, file).chmod(mode)
        with pytest.raises(BadInput, match="open to others") as caught:
            opened = reopen(keyring)
            opened.root_keys()
            opened.data_key(key_id, 0)
        assert "chmod 600" in caught.value.mend


def test_a_directory_others_may_change_is_refused(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    Path(keyring.directory).chmod(0o770)
    with pytest.raises(BadInput, match="changed by others"):
        reopen(keyring)


def test_passphrase_missing_wrong_or_not_needed(tmp_path: Path) -> None:
    keyring = make(tmp_path, sealed=True)
    with pytest.raises(BadInput, match="none was given") as caught:
        Keyring.open(keyring.directory)
    assert "GRAVEN_PASSPHRASE_FILE" in caught.value.mend
    with pytest.raises(BadInput, match="passphrase is wrong"):
        Keyring.open(keyring.directory, passphrase=Passphrase("horse correct"))
    plain = Keyring.create(str(tmp_path / "plain.keys"), origin=ORIGIN)
    assert "not needed" in Keyring.open(plain.directory, passphrase=Passphrase(WORDS)).notes[0]


def test_nothing_is_created_implicitly_or_written_over(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no keyring"):
        Keyring.open(str(tmp_path / "none.keys"))
    assert not (tmp_path / "none.keys").exists()
    make(tmp_path)
    before = (tmp_path / "a.keys" / "keyring.json").read_bytes()
    with pytest.raises(BadInput, match="never written over"):
        make(tmp_path)
    assert (tmp_path / "a.keys" / "keyring.json").read_bytes() == before
    with pytest.raises(BadInput, match="different directories"):
        Keyring.create(str(tmp_path / "b"), origin=ORIGIN, replicas=[str(tmp_path / "b") + "/"])
    with pytest.raises(BadInput, match="origin"):
        Keyring.create(str(tmp_path / "c"), origin="no spaces")


def test_a_creation_that_was_cut_opens_as_nothing(tmp_path: Path) -> None:
    recorder = Recorder()
    make(tmp_path, files=recorder)
    steps = recorder.steps
    assert [step.split()[0] for step in steps[-3:]] == ["sync_all", "rename", "sync_dir"]
    assert steps[-2].endswith(".new a.keys")
    for n, step in enumerate(dict.fromkeys(steps[1:-2])):
        place = tmp_path / str(n)
        place.mkdir()
        with pytest.raises(Broken, match="no space"):
            make(place, files=Recorder(fail_at=step))
        with pytest.raises(BadInput, match="no keyring"):
            Keyring.open(str(place / "a.keys"))
        assert list(place.iterdir()) == [], "keys were left"
        make(place)


@pytest.mark.parametrize("sealed", [False, True])
def test_any_changed_byte_is_refused_and_never_another_key(tmp_path: Path, sealed: bool) -> None:
    keyring = make(tmp_path, sealed=sealed)
    ids = ids_of(keyring.new_data_keys(0, ["default"]))
    right = everything(keyring, ids)
    for file in [*ROOT_FILES, "data/00000000000000000000.0.json"]:
        path = Path(keyring.directory, file)
        whole = path.read_bytes()
        for at in range(len(whole)):
            flip(path, at)
            with pytest.raises((BadInput, Broken)) as caught:
                everything(reopen(keyring, sealed=sealed), ids)
            assert not any(part in str(caught.value) for part in secrets_of(right)), "an error shows a key"
            path.write_bytes(whole)
        for cut in (0, 1, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:cut])
            with pytest.raises((BadInput, Broken)):
                everything(reopen(keyring, sealed=sealed), ids)
            path.write_bytes(whole)
    assert everything(reopen(keyring, sealed=sealed), ids) == right


def secrets_of(found: list[object]) -> list[str]:
    signing = found[3]
    assert isinstance(signing, dict)
    return [text.split("+", 4)[4] for text in signing.values()]


def test_files_in_each_others_place_are_refused(tmp_path: Path) -> None:
    keyring, other = make(tmp_path), Keyring.create(str(tmp_path / "b"), origin="example.com/other")
    directory = Path(keyring.directory)
    (directory / "receipt.ed25519").write_bytes((directory / "log.ed25519").read_bytes())
    with pytest.raises(Broken, match="another log or of another kind"):
        keyring.signing_key("receipt.ed25519")
    (directory / "log.ed25519").write_bytes(Path(other.directory, "log.ed25519").read_bytes())
    with pytest.raises(Broken, match="another log"):
        keyring.signing_key("log.ed25519")
    (directory / "log.mldsa44").unlink()
    with pytest.raises(Broken, match="is not there"):
        keyring.signing_key("log.mldsa44")


def test_data_keys(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    made = keyring.new_data_keys(12, ["default", "payroll"])
    assert set(made) == {(name, kind) for name in ("default", "payroll") for kind in ("event", "raw")}
    assert len({key_id for key_id, _ in made.values()}) == len({key for _, key in made.values()}) == 4
    for (name, kind), (key_id, key) in made.items():
        assert (len(key_id), len(key)) == (16, 32)
        for opened in (keyring, reopen(keyring)):
            assert opened.data_key(key_id, 12) == opened.data_key(key_id) == key
            assert opened.data_key(key_id, 13) is None
            found = opened.find_data_key(key_id, 12)
            assert found is not None
            assert (found.class_name, found.kind) == (name, kind)
            assert key.hex() not in repr(found)
            assert repr(key) not in repr(found)
    assert keyring.data_key(bytes(16), 12) is None
    assert keyring.segment_starts() == [12]


def test_a_second_set_of_keys_for_a_start_leaves_the_first(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    first, second = (keyring.new_data_keys(5, ["default"]) for _ in range(2))
    for key_id, key in [*first.values(), *second.values()]:
        assert reopen(keyring).data_key(key_id, 5) == key
    names = sorted(path.name for path in Path(keyring.directory, "data").iterdir())
    assert names == [f"{5:020d}.0.json", f"{5:020d}.1.json"]


@pytest.mark.parametrize("classes", [[], ["a", "a"], ["A"], [""], ["x" * 33], ["a/b"], ["default\n"]])
def test_class_names(tmp_path: Path, classes: list[str]) -> None:
    keyring = make(tmp_path)
    with pytest.raises(BadInput, match="class names"):
        keyring.new_data_keys(0, classes)
    assert keyring.segment_starts() == []


def test_data_keys_are_durable_in_every_copy_before_they_are_handed_out(tmp_path: Path) -> None:
    recorder = Recorder()
    keyring = make(tmp_path, replicas=2, files=recorder)
    recorder.steps.clear()
    keyring.new_data_keys(0, ["default"])
    name = f"{0:020d}.0.json"
    one = [f"create {name}.tmp", f"write {name}.tmp", f"sync {name}.tmp", f"rename {name}.tmp {name}", "sync_dir"]
    assert recorder.steps == one * 3
    copies = {Path(place, "data", name).read_bytes() for place in (keyring.directory, *keyring.replicas)}
    assert len(copies) == 1
    recorder.fail_at = f"sync {1:020d}.0.json.tmp"
    with pytest.raises(Broken, match="no space"):
        keyring.new_data_keys(1, ["default"])


def gone(path: Path) -> None:
    path.rename(path.with_name("away"))


def emptied(path: Path) -> None:
    gone(path)
    path.mkdir(0o700)


def foreign(path: Path) -> None:
    gone(path)
    Keyring.create(str(path), origin=ORIGIN)


@pytest.mark.parametrize("trouble", [gone, emptied, foreign])
def test_a_replica_that_is_away_stops_new_keys_and_not_reading(tmp_path: Path, trouble: Callable[[Path], None]) -> None:
    keyring = make(tmp_path, replicas=1)
    ((key_id, key), *_) = keyring.new_data_keys(0, ["default"]).values()
    trouble(tmp_path / "replica0")
    opened = reopen(keyring)
    assert opened.data_key(key_id, 0) == key
    for write in (
        lambda: opened.new_data_keys(1, ["default"]),
        lambda: opened.destroy(key_id, 0),
        lambda: opened.write_mark(b"x"),
    ):
        with pytest.raises(Broken) as caught:
            write()
        assert str(tmp_path / "replica0") in caught.value.place
        assert "[keys] replicas" in caught.value.mend
    assert opened.has(key_id, 0)
    assert opened.segment_starts() == [0]


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("file", [*ROOT_FILES, "data/00000000000000000000.0.json"])
def test_reading_falls_back_to_a_replica_and_says_so(tmp_path: Path, file: str, sealed: bool) -> None:
    keyring = make(tmp_path, replicas=2, sealed=sealed)
    ids = ids_of(keyring.new_data_keys(0, ["default"]))
    right = everything(keyring, ids)
    for place, how in (("a.keys", "damaged"), ("replica0", "missing"), ("a.keys", "unreadable")):
        path = tmp_path / place / file
        if how == "damaged":
            flip(path, 30)
        else:
            path.unlink()
        if how == "unreadable":
            path.mkdir()
        opened = reopen(keyring, sealed=sealed)
        assert everything(opened, ids) == right
        assert len(opened.notes) == 1
        assert f"a.keys/{file}" in opened.notes[0]
        assert "replica" in opened.notes[0]


def test_a_primary_that_is_gone_is_read_from_the_replica_and_not_written(tmp_path: Path) -> None:
    keyring = make(tmp_path, replicas=1)
    ((key_id, key), *_) = keyring.new_data_keys(0, ["default"]).values()
    gone(tmp_path / "a.keys")
    opened = reopen(keyring)
    assert opened.data_key(key_id, 0) == opened.data_key(key_id) == key
    with pytest.raises(Broken, match="cannot be written"):
        opened.new_data_keys(1, ["default"])
    assert not (tmp_path / "a.keys").exists()


def test_destroy(tmp_path: Path) -> None:
    keyring = make(tmp_path, replicas=1)
    made = keyring.new_data_keys(3, ["default"])
    (event_id, event_key), (raw_id, raw_key) = made["default", "event"], made["default", "raw"]
    beside = reopen(keyring)
    assert beside.data_key(raw_id, 3) == raw_key
    assert keyring.destroy(raw_id, 3) is True
    for opened in (keyring, beside, reopen(keyring)):
        assert not opened.has(raw_id, 3)
        assert not opened.has(raw_id)
        assert opened.data_key(event_id, 3) == event_key
    for place in (keyring.directory, *keyring.replicas):
        assert all(raw_id.hex() not in path.read_text() for path in Path(place).rglob("*.json*"))
    assert keyring.destroy(raw_id, 3) is False
    assert keyring.destroy(event_id) is True
    assert Path(keyring.directory, "data", f"{3:020d}.0.json").read_bytes() == b"[]\n"
    assert keyring.new_data_keys(3, ["default"]).keys() == made.keys()
    assert Path(keyring.directory, "data", f"{3:020d}.1.json").exists()


def test_destroy_overwrites_the_old_bytes_after_the_new_file_lasts(tmp_path: Path) -> None:
    recorder = Recorder()
    keyring = make(tmp_path, files=recorder)
    ((key_id, _), *_) = keyring.new_data_keys(0, ["default"]).values()
    name = f"{0:020d}.0.json"
    with Path(keyring.directory, "data", name).open("rb") as held:
        recorder.steps.clear()
        keyring.destroy(key_id, 0)
        old = held.read()
    assert recorder.steps == [
        f"open {name}",
        f"create {name}.tmp",
        f"write {name}.tmp",
        f"sync {name}.tmp",
        f"rename {name}.tmp {name}",
        "sync_dir",
        f"write {name}",
        f"sync {name}",
    ]
    assert old == bytes(len(old))
    assert old


def test_a_destruction_that_was_cut_is_not_done_and_can_be_made_again(tmp_path: Path) -> None:
    recorder = Recorder()
    keyring = make(tmp_path, replicas=1, files=recorder)
    made = keyring.new_data_keys(0, ["default"])
    (event_id, event_key), (raw_id, _) = made["default", "event"], made["default", "raw"]
    recorder.fail_at = f"rename {0:020d}.0.json.tmp {0:020d}.0.json"
    with pytest.raises(Broken, match="no space"):
        keyring.destroy(raw_id, 0)
    assert reopen(keyring).has(raw_id, 0)
    recorder.fail_at = ""
    Path(keyring.replicas[0], "data", f"{0:020d}.0.json").write_bytes(b"damaged")
    assert keyring.destroy(raw_id, 0) is True
    opened = reopen(keyring)
    assert not opened.has(raw_id, 0)
    assert opened.data_key(event_id, 0) == event_key
    a, b = (Path(place, "data", f"{0:020d}.0.json").read_bytes() for place in (keyring.directory, keyring.replicas[0]))
    assert a == b


def test_a_destroyed_key_a_replica_brings_back_is_destroyed_again(tmp_path: Path) -> None:
    keyring = make(tmp_path, replicas=1)
    ((key_id, _), *_) = keyring.new_data_keys(0, ["default"]).values()
    replica = Path(keyring.replicas[0], "data", f"{0:020d}.0.json")
    old = replica.read_bytes()
    keyring.destroy(key_id, 0)
    replica.write_bytes(old)
    assert not keyring.has(key_id, 0)
    assert keyring.destroy(key_id, 0) is True
    assert key_id.hex() not in replica.read_text()


def test_replicate(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    made = keyring.new_data_keys(0, ["default"])
    replica = str(tmp_path / "r")
    assert keyring.replicate(replica) == 6
    both = Keyring.open(keyring.directory, replicas=[replica])
    assert both.replica_gaps() == {}
    later = keyring.new_data_keys(9, ["default"])
    keyring.destroy(made["default", "raw"][0], 0)
    assert both.replica_gaps() == {replica: 2}
    assert keyring.replicate(replica) == 2
    assert both.replica_gaps() == {}
    alone = Keyring.open(replica)
    assert not alone.has(made["default", "raw"][0], 0)
    assert alone.data_key(*[later["default", "raw"][0], 9]) == later["default", "raw"][1]  # type: ignore[arg-type]
    both.new_data_keys(20, ["default"])
    (tmp_path / "other").mkdir(0o700)
    with pytest.raises(BadInput, match="no replica of this keyring"):
        keyring.replicate(str(tmp_path / "other"))


def test_replicate_copies_no_damage(tmp_path: Path) -> None:
    keyring = make(tmp_path, replicas=1)
    ((key_id, key), *_) = keyring.new_data_keys(0, ["default"]).values()
    flip(Path(keyring.directory, "data", f"{0:020d}.0.json"), 40)
    assert reopen(keyring).replicate(keyring.replicas[0]) == 0
    assert reopen(keyring).data_key(key_id, 0) == key


def test_the_cache_is_bounded_and_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graven.keys.datafiles.SEGMENTS_CACHED_MAX", 3)
    keyring = make(tmp_path)
    made = {start: keyring.new_data_keys(start, ["default"])["default", "raw"] for start in range(8)}
    for _ in range(2):
        for start, (key_id, key) in made.items():
            assert keyring.data_key(key_id, start) == key
    assert len(keyring._data._cache) == 3


def test_errors_are_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.keys"
    path.write_bytes(b"a file, not a directory")
    with pytest.raises(GravenError):
        Keyring.open(str(path))
    with pytest.raises(BadInput, match="never written over"):
        make(tmp_path)
