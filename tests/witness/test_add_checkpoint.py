"""Requests and answers without HTTP: statuses, what is stored, what is kept, and the time."""

import stat
from hashlib import sha256
from pathlib import Path

import pytest

from core.signers import LOG, LOG_PQ, ORIGIN, STRANGER, WITNESS, sign_checkpoint, sign_text
from graven.core.checkpoint import Checkpoint, format_checkpoint, open_checkpoint
from graven.core.errors import BadInput, Broken
from graven.core.note import COSIG_ED25519, COSIG_MLDSA44
from graven.core.witness_request import format_add_checkpoint
from graven.keys.signature import verify_signature
from graven.runtime.clock import US_PER_S
from graven.witness import evidence
from graven.witness.witness import GROWTHS_BURST, GROWTHS_PER_S, SIZE, Witness, make_witness
from witness.logs import NAME, NOW_S, Tree, cosignatures, evidence_of, fixed_clock, made

TREE, OTHER = Tree(), Tree(salt=7)
HASH = sha256(ORIGIN.encode()).hexdigest()


def test_growth_is_cosigned_by_both_keys_and_served(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    for old, size in ((0, 3), (3, 3), (3, 8)):
        answer = witness.add_checkpoint(TREE.request(old, size))
        assert answer.status == 200
        found = cosignatures(witness.cosigner.keys, TREE.note(size, (LOG,)), answer.body)
        assert [(one.key.type, one.key.name, one.time) for one in found] == [
            (COSIG_ED25519, NAME, NOW_S), (COSIG_MLDSA44, NAME, NOW_S),
        ]  # fmt: skip
    served = witness.checkpoint(HASH)
    assert served is not None
    signed = open_checkpoint(
        served, [LOG.key], verify_signature, cosigners=witness.cosigner.keys, require_all=True, only_known=True
    )
    assert signed.checkpoint.size == 8 and len(signed.signed) == 3
    assert witness.checkpoint(HASH.upper()) is None and witness.checkpoint("0" * 64) is None


def test_a_log_with_two_keys(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w", LOG.key, LOG_PQ.key), fixed_clock())
    assert witness.add_checkpoint(TREE.request(0, 2, (LOG_PQ,))).status == 200
    assert witness.add_checkpoint(TREE.request(2, 3, (LOG,))).status == 200
    assert witness.add_checkpoint(TREE.request(3, 4, (LOG, STRANGER, LOG_PQ, WITNESS, LOG))).status == 200
    served = witness.checkpoint(HASH)
    assert served is not None and served.count("\N{EM DASH}".encode()) == 4  # no stranger's line, none twice


def test_who_is_not_the_log(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    elsewhere = format_add_checkpoint(0, (), TREE.note(3, origin="elsewhere.invalid/log"))
    assert witness.add_checkpoint(elsewhere).status == 404
    assert witness.add_checkpoint(TREE.request(0, 3, (STRANGER,))).status == 403
    assert witness.add_checkpoint(TREE.request(0, 3, (LOG_PQ,))).status == 403
    assert witness.checkpoint(HASH) is None
    forged = bytearray(TREE.request(0, 3, (LOG,)))
    forged[-20] ^= 1
    assert witness.add_checkpoint(bytes(forged)).status in (400, 403)


@pytest.mark.parametrize("body", [b"", b"old 0\n", b"old 00\n\n", b"old 0\n\nx\n", b"\xff", b"old -1\n\n"])
def test_what_is_no_request(tmp_path: Path, body: bytes) -> None:
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    assert witness.add_checkpoint(body).status == 400
    assert witness.add_checkpoint(body + TREE.note(3)).status == 400
    assert witness.add_checkpoint(TREE.request(0, 3)[:-1]).status == 400


def test_an_old_size_beyond_the_checkpoints(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    assert witness.add_checkpoint(b"old 4\n\n" + TREE.note(3)).status == 400


def test_409_names_the_size(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    assert witness.add_checkpoint(TREE.request(0, 5)).status == 200
    answer = witness.add_checkpoint(TREE.request(0, 7))
    assert (answer.status, answer.body, answer.content_type) == (409, b"5\n", SIZE)
    assert evidence_of(witness) == []


def test_a_restart_keeps_the_promise(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    assert witness.add_checkpoint(TREE.request(0, 5)).status == 200
    before = witness.checkpoint(HASH)
    witness.close()
    witness = Witness(tmp_path / "w", fixed_clock(NOW_S + 9))
    assert witness.checkpoint(HASH) == before
    assert witness.add_checkpoint(OTHER.request(0, 5)).status == 409
    assert witness.add_checkpoint(OTHER.request(5, 5)).status == 422
    assert witness.add_checkpoint(TREE.request(5, 6)).status == 200


def test_refusals_are_kept(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    assert witness.add_checkpoint(TREE.request(0, 5)).status == 200
    cosigned = witness.checkpoint(HASH)
    for _ in range(3):  # the same ones again are kept once
        assert witness.add_checkpoint(OTHER.request(5, 5)).status == 422
        assert witness.add_checkpoint(OTHER.request(5, 9)).status == 422
        assert witness.add_checkpoint(OTHER.request(2, 4)).status == 409
    assert evidence_of(witness) == ["fork", "smaller", "unproved"]
    assert witness.checkpoint(HASH) == cosigned
    for folder in evidence.kept(witness.directory):
        assert (folder / "cosigned.checkpoint").read_bytes() == cosigned
        refused = (folder / "refused.checkpoint").read_bytes()
        assert open_checkpoint(refused, [LOG.key], verify_signature, only_known=True).checkpoint.size in (4, 5, 9)


def test_what_nobody_signed_is_not_kept(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    assert witness.add_checkpoint(TREE.request(0, 5)).status == 200
    assert witness.add_checkpoint(OTHER.request(5, 5, (STRANGER,))).status == 403
    assert evidence_of(witness) == []


def test_evidence_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "KEPT_MAX", 4)
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    assert witness.add_checkpoint(TREE.request(0, 5)).status == 200
    for salt in range(1, 8):
        assert witness.add_checkpoint(Tree(salt).request(5, 5)).status == 422
        assert witness.add_checkpoint(Tree(salt).request(2, 4)).status == 409
    assert evidence_of(witness) == ["fork"] * 4 + ["smaller"] * 4


def test_evidence_that_cannot_be_kept_changes_no_answer(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    assert witness.add_checkpoint(TREE.request(0, 5)).status == 200
    (witness.directory / "evidence").write_text("in the way")
    assert witness.add_checkpoint(OTHER.request(5, 5)).status == 422


def test_time_never_falls(tmp_path: Path) -> None:
    clock = fixed_clock()
    witness = Witness(made(tmp_path / "w"), clock)
    times = []
    for old, size, at_s in ((0, 3, 0), (3, 3, 10), (3, 4, -5000), (4, 4, -9000), (4, 5, 11)):
        clock.set((NOW_S + at_s) * US_PER_S)
        answer = witness.add_checkpoint(TREE.request(old, size))
        times += [one.time for one in cosignatures(witness.cosigner.keys, TREE.note(size, (LOG,)), answer.body)]
    assert times == [NOW_S + at_s for at_s in (0, 0, 10, 10, 10, 10, 10, 10, 11, 11)]


def test_the_same_tree_in_one_second_is_answered_from_the_store(tmp_path: Path) -> None:
    clock = fixed_clock()
    witness = Witness(made(tmp_path / "w"), clock)
    first = witness.add_checkpoint(TREE.request(0, 3))
    assert witness.add_checkpoint(TREE.request(3, 3)) == first
    clock.advance(US_PER_S)
    assert witness.add_checkpoint(TREE.request(3, 3)).body != first.body


def test_a_log_that_grows_too_often(tmp_path: Path) -> None:
    clock = fixed_clock()
    witness = Witness(made(tmp_path / "w"), clock)
    for _ in range(GROWTHS_BURST):
        witness._may_grow(ORIGIN)
    assert witness.add_checkpoint(TREE.request(0, 3)).status == 429
    assert witness.checkpoint(HASH) is None
    clock.advance(-1)
    assert witness.add_checkpoint(TREE.request(0, 3)).status == 429
    clock.advance(US_PER_S // GROWTHS_PER_S + 2)
    assert witness.add_checkpoint(TREE.request(0, 3)).status == 200
    assert witness.add_checkpoint(TREE.request(3, 4)).status == 429
    clock.advance(US_PER_S // 100)
    assert witness.add_checkpoint(TREE.request(3, 3)).status == 200  # not growth: no allowance
    assert witness._may_grow("other.invalid/log")


def test_extension_lines_are_cosigned_as_they_are(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    note = sign_text(format_checkpoint(Checkpoint(ORIGIN, 3, TREE.root(3))) + "more\n", LOG)
    answer = witness.add_checkpoint(format_add_checkpoint(0, (), note))
    assert answer.status == 200 and len(cosignatures(witness.cosigner.keys, note, answer.body)) == 2
    answer = witness.add_checkpoint(TREE.request(3, 3))  # the same tree and second, another text
    assert len(cosignatures(witness.cosigner.keys, TREE.note(3, (LOG,)), answer.body)) == 2


def test_the_database_syncs_each_commit(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    base = witness.store._base
    assert base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert base.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_commit_that_fails_answers_nothing(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    base = witness.store._base
    base.execute("PRAGMA query_only = ON")
    with pytest.raises(Broken, match="failed"):
        witness.add_checkpoint(TREE.request(0, 3))
    base.execute("PRAGMA query_only = OFF")
    assert not base.in_transaction
    assert witness.checkpoint(HASH) is None


def test_what_init_makes(tmp_path: Path) -> None:
    keys = make_witness(tmp_path / "w", NAME)
    assert [key.type for key in keys] == [COSIG_ED25519, COSIG_MLDSA44]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "w").iterdir()} == {
        "witness.db": 0o600, "witness.ed25519": 0o600, "witness.mldsa44": 0o600,
    }  # fmt: skip
    assert stat.S_IMODE((tmp_path / "w").stat().st_mode) == 0o700
    with pytest.raises(BadInput, match="not empty"):
        make_witness(tmp_path / "w", NAME)
    with pytest.raises(BadInput, match="no witness can be made"):
        make_witness(tmp_path / "no" / "such", NAME)
    with pytest.raises(BadInput, match="space"):
        make_witness(tmp_path / "v", "a b")


@pytest.mark.parametrize("file", ["witness.ed25519", "witness.mldsa44", "witness.db"])
def test_damaged_and_missing_files(tmp_path: Path, file: str) -> None:
    path = made(tmp_path / "w") / file
    data = bytearray(path.read_bytes())
    data[-5 if file != "witness.db" else 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(Broken):
        Witness(tmp_path / "w")
    path.unlink()
    with pytest.raises(BadInput, match="no witness here"):
        Witness(tmp_path / "w")


def test_keys_in_each_others_place(tmp_path: Path) -> None:
    one, other = made(tmp_path / "w"), tmp_path / "v"
    make_witness(other, "other.invalid/w")
    (one / "witness.ed25519").write_bytes((other / "witness.ed25519").read_bytes())
    with pytest.raises(Broken, match="different names"):
        Witness(one)
    (one / "witness.ed25519").write_bytes((one / "witness.mldsa44").read_bytes())
    with pytest.raises(Broken, match="another's"):
        Witness(one)


def test_a_database_of_another_witness(tmp_path: Path) -> None:
    """New and empty beside old keys, it would let the witness cosign any history again."""
    one, other = made(tmp_path / "w"), tmp_path / "v"
    make_witness(other, NAME)
    (one / "witness.db").write_bytes((other / "witness.db").read_bytes())
    with pytest.raises(Broken, match="another witness's"):
        Witness(one)


def test_which_keys_a_log_may_have(tmp_path: Path) -> None:
    witness = Witness(made(tmp_path / "w"))
    assert not witness.store.add_key(LOG.key)
    assert witness.store.add_key(LOG_PQ.key) and witness.store.keys_of(ORIGIN) == (LOG.key, LOG_PQ.key)
    with pytest.raises(BadInput, match="0x04"):
        witness.store.add_key(WITNESS.key)
    assert witness.store.origins() == [ORIGIN]


def test_a_checkpoint_that_is_smaller_and_signed_again(tmp_path: Path) -> None:
    """What a log restored from a backup sends: refused, kept, and nobody is convicted."""
    witness = Witness(made(tmp_path / "w"), fixed_clock())
    assert witness.add_checkpoint(TREE.request(0, 9)).status == 200
    again = format_add_checkpoint(4, (), sign_checkpoint(4, TREE.root(4)))
    answer = witness.add_checkpoint(again)
    assert (answer.status, answer.body) == (409, b"9\n")
    assert evidence_of(witness) == ["smaller"]
