"""`graven receipts check`: promises kept, broken and undecided, by URL and by folder."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from audit.logs import VKEY, entries_of, publish, serving
from cli.calls import read_json
from core.signers import LOG, RECEIPTS, STRANGER, Signer, sign_certificate, sign_receipt
from graven.cli import graven
from graven.core.merkle import hash_leaves, root_of
from graven.core.note import format_vkey
from graven.core.prefix import open_prefix
from graven.keys.signature import verify_signature


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def answer(entries: Sequence[bytes], *signers: Signer) -> dict[str, object]:
    """What a log answers that promises the tree of these entries."""
    certificate = sign_certificate(format_vkey(RECEIPTS.key), 0, 10_000)
    receipt = sign_receipt(len(entries), root_of(hash_leaves(entries)), *signers)
    return {"receipt": receipt.decode(), "size": len(entries), "opened": {"certificate": certificate.decode()}}


def check(*answers: object, where: Sequence[str] = ("--dir", "log"), more: Sequence[str] = ()) -> Result:
    Path("file").write_text("".join(json.dumps(one) + "\n" for one in answers))
    return CliRunner().invoke(graven, ["receipts", "check", "file", *where, "--vkey", VKEY, *more], prog_name="graven")


def test_kept_by_folder_and_by_url() -> None:
    entries = entries_of(700)
    publish(Path("log"), entries)
    answers = [answer(entries[:size]) for size in (1, 255, 256, 300, 699, 700)]
    kept = [{"format": "graven-kept/v1", "kept_us": 1, "url": "u", "answer": one, "sent": ""} for one in answers]
    with serving(Path("log")) as served:
        for where in (("--dir", "log"), ("--url", served.url)):
            result = check(*answers, *kept, where=where)
            assert result.exit_code == 0 and "12 promises kept" in result.stdout, result.stderr
    Path("file").write_text(json.dumps(answers[3], indent=2))
    result = CliRunner().invoke(graven, ["receipts", "check", "file", "--dir", "log", "--vkey", VKEY, "--json"])
    assert (result.exit_code, read_json(result)["kept"]) == (0, 1)


@pytest.mark.parametrize("size", [300, 512, 700])
def test_a_broken_promise_is_printed_as_proof(size: int) -> None:
    publish(Path("log"), entries_of(700))
    other = entries_of(size, salt=1, shared=200)
    result = check(answer(other), answer(entries_of(100)), more=["--json"])
    assert result.exit_code == 1 and "broke 1 promise" in result.stderr
    found = read_json(result)
    (proof,) = found["proofs"]
    assert (found["kept"], found["broken"], proof["size"]) == (1, 1, size)
    assert proof["receipt"] == answer(other)["receipt"]
    if size < 700:
        _, smaller, _ = open_prefix(proof["published"].encode(), [LOG.key], verify_signature)
        assert smaller.checkpoint.size == size
        assert smaller.checkpoint.root == root_of(hash_leaves(entries_of(size)))
    else:
        assert proof["published"].encode() == Path("log/checkpoint").read_bytes()
    Path("published").write_text(proof["published"])
    Path("answer").write_text(json.dumps(answer(other)))
    judged = CliRunner().invoke(graven, ["check", "answer", "published", "--vkey", VKEY], prog_name="graven")
    assert judged.exit_code == 1 and "broke its promise" in judged.stdout, "so it convicts without this command"
    assert "BROKEN PROMISE" in check(answer(other)).stdout


def test_not_reached_is_undecided() -> None:
    publish(Path("log"), entries_of(300))
    result = check(answer(entries_of(301)), answer(entries_of(10)))
    assert result.exit_code == 3 and "1 not decided" in result.stdout


def test_damaged_tiles_convict_nobody() -> None:
    publish(Path("log"), entries_of(700))
    Path("log/tile/0/000").write_bytes(bytes(8192))
    result = check(answer(entries_of(100)))
    assert result.exit_code == 1 and "tiles served do not lead" in result.stderr and "BROKEN" not in result.stdout


def test_refusals() -> None:
    publish(Path("log"), entries_of(10))
    forged = check(answer(entries_of(5), STRANGER))
    assert forged.exit_code == 1 and "receipt 1" in forged.stderr
    assert check(answer(entries_of(5)), where=()).exit_code == 2
    assert check({"receipt": "x"}).exit_code == 2
    assert check(answer(entries_of(5)), where=("--dir", "nowhere")).exit_code == 3
