"""The signer apart from the server: what it signs, what it refuses, whom it answers; a log that signs through it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from core import oracle
from graven.app import Log, create_log, open_keyring, public_keys
from graven.cli import graven
from graven.config import load_config
from graven.core.checkpoint import Checkpoint
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.merkle import hash_leaves, root_of
from graven.core.note import format_vkey, parse_note, parse_vkey
from graven.core.receipt import Certificate, format_certificate
from graven.keys.keyring import Keyring
from graven.keys.receipts import ReceiptSigner
from graven.keys.remote import RemoteSigner, socket_path
from graven.keys.signer import LogSigner
from graven.keys.signer_protocol import Certify, Hello, Sign, format_request, parse_answer, parse_request
from graven.keys.signer_server import SignerServer, Signing
from graven.keys.split import split
from graven.log.verify import verify_directory

ORIGIN = "example.com/log"
LEAVES = hash_leaves([bytes([n]) * 32 for n in range(40)])
OTHER = hash_leaves([bytes([n + 100]) * 32 for n in range(40)])


def grown(old: int, new: int, leaves: list[bytes] = LEAVES) -> Sign:
    proof = tuple(oracle.consistency(old, leaves[:new])) if 0 < old < new else ()
    return Sign(new, root_of(leaves[:new]), proof)


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(LogSigner(Keyring.create(str(tmp_path / "s"), origin=ORIGIN)))


@contextlib.contextmanager
def served(signing: Signing, path: Path, users: set[int] | None = None) -> Iterator[str]:
    server = SignerServer(signing, path, {os.geteuid()} if users is None else users)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield str(path)
    finally:
        server.stop()
        thread.join()
    assert not path.exists()


def test_only_a_tree_that_grows_is_signed(signing: Signing) -> None:
    signing.answer(grown(0, 5))
    signing.answer(grown(5, 9))
    for wrong in (
        grown(5, 12),  # a proof from another tree than the one signed last
        Sign(12, root_of(LEAVES[:12]), ()),
        Sign(12, root_of(OTHER[:12]), grown(9, 12).proof),
        grown(9, 12, OTHER),
    ):
        with pytest.raises(Disproved, match="does not grow"):
            signing.answer(wrong)
    for smaller in (grown(0, 8), grown(0, 9, OTHER)):
        with pytest.raises(Broken, match="not signed"):
            signing.answer(smaller)
    assert signing.answer(grown(0, 9)) == signing.answer(grown(9, 9))  # the stored note again
    signing.answer(grown(9, 40))


def test_certificates_are_bounded_and_nothing_else_is_signed(signing: Signing, tmp_path: Path) -> None:
    signing.answer(grown(0, 5))
    keyring = Keyring.create(str(tmp_path / "other"), origin=ORIGIN)
    vkey = format_vkey(ReceiptSigner(keyring, LogSigner(keyring)).key)
    assert signing.answer(Certify(vkey, 5, 5 + (1 << 24)))
    log_vkey = format_vkey(LogSigner(keyring).keys[0])
    for wrong in (Certify(vkey, 5, 6 + (1 << 24)), Certify(vkey, 1 << 30, 1 << 30), Certify(log_vkey, 5, 6),
                  Certify(vkey, 6, 5)):  # fmt: skip
        with pytest.raises(BadInput):
            signing.answer(wrong)


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.integers() | st.text(max_size=20) | st.sampled_from(["hello", "sign", "certify"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["op", "size", "proof"]), inner),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_a_line_is_a_request_or_is_refused(line: bytes) -> None:
    with contextlib.suppress(BadInput):
        request = parse_request(line)
        assert parse_request(format_request(request)) == request
    with contextlib.suppress(BadInput, Broken, Disproved):
        parse_answer(line)


def test_requests_are_strict() -> None:
    for request in (Hello(), grown(3, 7), Certify("x", 1, 2)):
        line = format_request(request)
        assert parse_request(line) == request
        fields = json.loads(line)
        for other in ({**fields, "more": 1}, {key: fields[key] for key in list(fields)[1:]}):
            with pytest.raises(BadInput):
                parse_request(json.dumps(other).encode())
    many = json.loads(format_request(grown(3, 7))) | {"proof": ["A" * 43 + "="] * 65}
    for wrong in (
        many,
        {**many, "proof": [], "size": -1},
        {**many, "proof": "x"},
        {**many, "proof": [], "root": "AA=="},
    ):
        with pytest.raises(BadInput):
            parse_request(json.dumps(wrong).encode())


def test_whom_it_answers_is_what_the_kernel_says(signing: Signing, tmp_path: Path) -> None:
    with served(signing, tmp_path / "sock", users={4242}) as path, pytest.raises(BadInput, match="may not ask"):
        RemoteSigner(path, ORIGIN)
    with served(signing, tmp_path / "sock") as path:
        assert oct(os.stat(path).st_mode & 0o777) == "0o660"
        assert RemoteSigner(path, ORIGIN).origin == ORIGIN
        with pytest.raises(BadInput, match="signs for"):
            RemoteSigner(path, "example.com/other")
        with pytest.raises(BadInput, match="listens there"):
            SignerServer(signing, Path(path), set())
    with pytest.raises(Broken, match="does not answer"):
        RemoteSigner(str(tmp_path / "sock"), ORIGIN)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="no socket"):
        SignerServer(signing, tmp_path / "file", set())
    for uri in ("tcp:/x", "unix:x", "unix", ""):
        with pytest.raises(BadInput):
            socket_path(uri)


def test_rubbish_on_the_socket_hurts_nobody(signing: Signing, tmp_path: Path) -> None:
    with served(signing, tmp_path / "sock") as path:
        for data in (
            b"",
            b"\n",
            b"{}\n",
            b"x" * 20_000,
            b'{"op":"hello"}',
            b'{"op":"hello"}\n{"op":"hello"}\n',
            b"\xff\n",
        ):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(path)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    assert b'"note"' not in connection.recv(1 << 20)
        assert RemoteSigner(path, ORIGIN).highest() is None


def test_the_asking_side_believes_nothing_unchecked(signing: Signing, tmp_path: Path) -> None:
    with served(signing, tmp_path / "sock") as path:
        signer = RemoteSigner(path, ORIGIN)
        assert signer.sign_checkpoint(Checkpoint(ORIGIN, 3, root_of(LEAVES[:3])), 1)
        with pytest.raises(Broken, match="wants proof"):
            signer.sign_checkpoint(Checkpoint(ORIGIN, 4, root_of(LEAVES[:4])), 1)
        with pytest.raises(BadInput):
            signer.sign_text("any text\n")
        before = Signing.answer
        note = signing.answer(Hello())["highest"]
        vkey = format_vkey(ReceiptSigner(Keyring.create(str(tmp_path / "o"), origin=ORIGIN), signing._signer).key)
        try:
            Signing.answer = lambda self, request: {"note": note}  # type: ignore[method-assign]
            with pytest.raises(Disproved, match="another tree"):
                signer.sign_checkpoint(
                    Checkpoint(ORIGIN, 4, root_of(LEAVES[:4])), 1, lambda old, new: list(grown(old, new).proof)
                )
            with pytest.raises(BadInput):
                signer.sign_text(format_certificate(Certificate(ORIGIN, vkey, 1, 2)))
        finally:
            Signing.answer = before  # type: ignore[method-assign]


def configured(directory: Path, path: str) -> None:
    text = (directory / "graven.toml").read_text()
    (directory / "graven.toml").write_text(text.replace("[keys]\n", f'[keys]\nsigner = "unix:{path}"\n', 1))


def verified(directory: Path) -> int:
    config = load_config(directory / "graven.toml")
    keyring = open_keyring(directory, config)
    coming = [parse_vkey(vkey) for vkey in config.next_vkeys]
    report = verify_directory(directory, keys=public_keys(config), coming=coming, keyring=keyring, processes=1)
    assert not report.problems, report.problems
    return report.exit_code


def run(*words: str, expect: int = 0) -> str:
    result = CliRunner().invoke(graven, words, prog_name="graven")
    assert result.exit_code == expect, result.output
    return result.stdout


def test_a_log_signs_through_it_and_changes_its_keys(tmp_path: Path) -> None:
    directory, there = tmp_path / "log", tmp_path / "signer"
    create_log(directory, origin=ORIGIN)
    keyring = open_keyring(directory, load_config(directory / "graven.toml"))
    secrets = [(tmp_path / "log.keys" / name).read_bytes() for name in ("log.ed25519", "log.mldsa44")]
    run("signer", "split", str(there), "--dir", str(directory))
    run("signer", "split", str(there), "--dir", str(directory))  # nothing is left to do
    left = b"".join(path.read_bytes() for path in (tmp_path / "log.keys").rglob("*") if path.is_file())
    assert not any(secret in left for secret in secrets)
    assert {one.name for one in (tmp_path / "log.keys").iterdir()} == {
        "data",
        "keyring.json",
        "receipt.ed25519",
        "signer",
    }
    with pytest.raises(BadInput, match="with the signer"):
        Log.open(directory)
    run("keys", "rotate", "begin", "--dir", str(directory), expect=2)
    path = tmp_path / "sock"
    configured(directory, str(path))
    with pytest.raises(Broken, match="does not answer"):
        Log.open(directory)
    for step in ("", "begin", "finish"):
        if step:
            run("signer", "rotate", step, str(there))
        with served(Signing(LogSigner(Keyring.open(str(there)))), path), Log.open(directory) as log:
            for _ in range(3):
                log.append([{"action": f"a{step}"}] * 30, wait="published", full=True)
            assert len(parse_note(log.published.data).signatures) == (4 if step == "begin" else 2)
            run("serve", "--check", "--dir", str(directory))
        assert verified(directory) == 0
    assert (directory / "log" / "handover" / "1").exists()
    kit = tmp_path / "kit"
    with served(Signing(LogSigner(Keyring.open(str(there)))), path):
        run("keys", "backup", str(kit), "--no-passphrase", "--dir", str(directory))
        run("status", "--dir", str(directory))
    run("keys", "restore", str(kit), "--keys", str(tmp_path / "back"), "--dir", str(directory))
    assert Keyring.open(str(tmp_path / "back")).signs_elsewhere
    assert keyring.origin == ORIGIN


def test_a_forked_directory_is_refused_by_the_signer(tmp_path: Path) -> None:
    """Whoever owns the server puts back an older copy of everything it can write, and signs on."""
    directory, there, path = tmp_path / "log", tmp_path / "signer", tmp_path / "sock"
    create_log(directory, origin=ORIGIN)
    split(open_keyring(directory, load_config(directory / "graven.toml")), there, None)
    configured(directory, str(path))
    with served(Signing(LogSigner(Keyring.open(str(there)))), path):
        with Log.open(directory) as log:
            log.append([{"action": "a"}])
        for name in ("log", "log.keys"):
            shutil.copytree(tmp_path / name, tmp_path / f"old-{name}")
        with Log.open(directory) as log:
            log.append([{"action": "b"}])
        for name in ("log", "log.keys"):
            shutil.rmtree(tmp_path / name)
            (tmp_path / f"old-{name}").rename(tmp_path / name)
        with pytest.raises(Broken, match="was signed"):
            Log.open(directory)
        signer = RemoteSigner(str(path), ORIGIN)
        with pytest.raises((Broken, Disproved)):
            signer.sign_checkpoint(Checkpoint(ORIGIN, 50, bytes(32)), 1, lambda old, new: [bytes(32)] * 3)


def test_it_serves_as_a_process_of_its_own(tmp_path: Path) -> None:
    Keyring.create(str(tmp_path / "s"), origin=ORIGIN)
    path = tmp_path / "sock"
    words = [sys.executable, "-m", "graven", "signer", "serve", str(tmp_path / "s"), "--socket", str(path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == f"listening on unix:{path}\n"
        signer = RemoteSigner(str(path), ORIGIN)
        assert signer.sign_checkpoint(Checkpoint(ORIGIN, 3, root_of(LEAVES[:3])), 1)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=180)
    assert process.returncode == 0 and not path.exists()
