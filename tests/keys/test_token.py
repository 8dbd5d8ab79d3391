"""The Ed25519 log key in a token (SoftHSM): it signs there, and where it does not the log waits, and says why."""

import ctypes.util
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from graven.app import Log, create_log, open_keyring, public_keys
from graven.cli import graven
from graven.config import load_config
from graven.core.errors import BadInput, Broken, Busy
from graven.core.note import ED25519, Key, parse_note, parse_vkey
from graven.keys import kit
from graven.keys import token as token_module
from graven.keys.keyring import Keyring
from graven.keys.rootkeys import load_signing_key
from graven.keys.signature import verify_signature
from graven.keys.signer import LogSigner, open_signer
from graven.keys.signer_server import Signing
from graven.keys.token import open_module, read_pin
from graven.keys.token_key import TokenKey, format_line, parse_line, token_line
from graven.keys.token_uri import Access, parse_token_uri
from graven.log.verify import verify_directory
from keys.test_signer_process import served
from keys.tokens import OTHER_PIN, PIN, Token
from server.running import Server

ORIGIN = "example.com/log"
HOLD = """
import fcntl, sys
held = [open(path, "r+") for path in sys.argv[1:]]
for file in held:
    fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def run(*words: str, expect: int = 0) -> str:
    result = CliRunner().invoke(graven, words, prog_name="graven")
    assert result.exit_code == expect, result.output
    assert PIN not in result.output and OTHER_PIN not in result.output
    return result.output


def made(tmp_path: Path, token: Token, label: str = "log") -> Path:
    create_log(tmp_path / "log", origin=ORIGIN, token=token.uri(label), make_key=True)
    return tmp_path / "log"


def verified(directory: Path) -> None:
    config = load_config(directory / "graven.toml")
    coming = [parse_vkey(vkey) for vkey in config.next_vkeys]
    keyring = open_keyring(directory, config)
    report = verify_directory(directory, keys=public_keys(config), coming=coming, keyring=keyring, processes=1)
    assert report.exit_code == 0, report.problems


@contextmanager
def opened(directory: Path, interval_ms: int = 20) -> Iterator[Log]:
    config = load_config(directory / "graven.toml")
    config = msgspec.structs.replace(config, publish=msgspec.structs.replace(config.publish, interval_ms=interval_ms))
    with Log.open(directory, config) as log:
        yield log


def test_a_key_is_made_and_signs_in_the_token(token: Token) -> None:
    line = token_line(token.uri(), ORIGIN, make=True)
    key, uri = parse_line(line)
    assert uri == token.uri() and format_line(key, uri) == line and PIN not in line
    signature = TokenKey(key, uri).sign(b"message")
    verify_signature("ed25519", key.public, signature, b"message")
    assert token_line(token.uri(), ORIGIN) == line, "the same key is found again"
    shown = subprocess.run(
        ["pkcs11-tool", "--module", token.module, "-O", "--login", "--pin", PIN], capture_output=True, text=True
    ) if os.path.exists("/usr/bin/pkcs11-tool") else None  # fmt: skip
    assert shown is None or ("never extractable" in shown.stdout and "sensitive" in shown.stdout)
    with pytest.raises(BadInput, match="holds something of this name"):
        token_line(token.uri(), ORIGIN, make=True)
    with pytest.raises(BadInput, match="no Ed25519 key"):
        token_line(token.uri("other"), ORIGIN)
    with pytest.raises(BadInput, match="needs a label"):
        token_line(parse_token_uri(token.text().replace("object=log", "id=%01")), ORIGIN, make=True)


def test_a_log_lives_with_it(tmp_path: Path, token: Token) -> None:
    directory = made(tmp_path, token)
    with opened(directory) as log:
        for _ in range(3):
            log.append([{"action": "a"}] * 5, wait="published", full=True)
        assert len(parse_note(log.published.data).signatures) == 2
    verified(directory)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "hsm" not in path.parts)
    assert PIN.encode() not in kept
    keyring = open_keyring(directory, load_config(directory / "graven.toml"))
    assert LogSigner(keyring).tokens == ("pkcs11:token=graven;object=log",)


def test_reading_and_verifying_load_no_module(tmp_path: Path, token: Token) -> None:
    directory = made(tmp_path, token)
    hidden = token.text().replace(token.module, "/nowhere/evil.so")
    file = tmp_path / "log.keys" / "log.ed25519"
    line = file.read_text().replace(token.text(), hidden)
    assert hidden in line
    file.write_text(line)
    verified(directory)
    run("status", "--dir", str(directory))
    run("show", "0", "--dir", str(directory))
    with pytest.raises(BadInput, match="no PKCS #11 module"):
        Log.open(directory)


def test_the_log_waits_for_a_token_that_is_away(tmp_path: Path, token: Token) -> None:
    directory = made(tmp_path, token)
    with opened(directory) as log:
        log.append([{"action": "one"}], wait="published")
        mark = (tmp_path / "log.keys" / "highest-checkpoint").read_bytes()
        with token.away():
            size = log.append([{"action": "two"}]).size
            with pytest.raises(Busy, match="nothing is signed"):
                log.publish()
            assert log.writer.error is None and log.publisher.error is None
            assert log.publisher.trouble is not None and log.published.checkpoint.size < size
            assert (tmp_path / "log.keys" / "highest-checkpoint").read_bytes() == mark
        assert log.append([{"action": "three"}], wait="published").size == size + 1
        assert log.publisher.trouble is None
    verified(directory)
    with token.away(), pytest.raises(Busy):
        Log.open(directory)
    with opened(directory) as log:
        assert log.size == size + 1, "nothing was written while the token was away"


def test_a_server_says_that_it_waits(tmp_path: Path, token: Token) -> None:
    directory, events = made(tmp_path, token), tmp_path / "events"
    events.write_text('{"action":"a"}\n')
    config = load_config(directory / "graven.toml")
    config = msgspec.structs.replace(config, publish=msgspec.structs.replace(config.publish, interval_ms=20))
    with Server(directory, config):
        run("append", str(events), "--dir", str(directory))
        size = json.loads(run("status", "--dir", str(directory), "--json"))
        with token.away():
            told = run("append", str(events), "--dir", str(directory), expect=3)
            assert "the events are stored, and not published yet: the token" in told
            waiting = json.loads(run("status", "--dir", str(directory), "--json"))
            assert waiting["size"] == size["size"] + 1 and waiting["published"]["size"] == size["published"]["size"]
            assert "the token" in run("status", "--dir", str(directory))
        run("append", str(events), "--dir", str(directory))
        assert json.loads(run("status", "--dir", str(directory), "--json"))["published"]["size"] == size["size"] + 2
    verified(directory)


def test_a_certificate_is_there_before_the_commit_it_is_for(tmp_path: Path, token: Token) -> None:
    """Who is told that nothing was stored is told the truth, also where a new certificate cannot be signed."""
    directory = made(tmp_path, token)
    with opened(directory) as log:
        certificates = log.writer.state.certificates
        certificates._first, certificates._last = 0, -1
        for path in (directory / "certificates").iterdir():
            path.unlink()
        size = log.size
        with token.away():
            with pytest.raises(Busy, match="nothing is signed"):
                log.append([{"action": "refused"}])
            assert log.size == size and log.writer.error is None
        assert log.append([{"action": "taken"}], full=True, wait="published").size == size + 1
    verified(directory)


def test_a_lost_session_is_opened_again(tmp_path: Path, token: Token) -> None:
    line = token_line(token.uri(), ORIGIN, make=True)
    token_line(token.uri("other"), ORIGIN, make=True)
    one, other = (TokenKey(*parse_line(token_line(token.uri(name), ORIGIN))) for name in ("log", "other"))
    for _ in range(2):
        for key in (one, other):
            key.sign(b"x")
        token.lose_sessions()
    module = open_module(token.uri())
    module.ask(lambda: next(iter(module._sessions.values()), None))
    one.sign(b"x")
    module.ask(lambda: [session.close() for session in module._sessions.values()])  # behind our back
    assert one.sign(b"x") and other.sign(b"x")
    generation = module.generation
    assert one.sign(b"x") and module.generation == generation, "an open session is kept"
    assert parse_line(line)[0] == one._key


def test_a_wrong_pin_is_given_once(tmp_path: Path, token: Token, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    line = token_line(token.uri(), ORIGIN, make=True)
    token.lose_sessions()
    wrong = token.uri(pin_file=token.wrong_pin())
    module = open_module(wrong)
    key = TokenKey(parse_line(line)[0], wrong)
    for attempt in (key.open, key.open, lambda: key.sign(b"x")):
        with pytest.raises((BadInput, Busy), match="refuses the PIN") as caught:
            attempt()
        assert OTHER_PIN not in repr(caught.value) + str(caught.value) + caught.value.mend
    assert len(module._refused) == 1
    flags = module.ask(lambda: module._token(module._load(), wrong).flags)
    import pkcs11

    assert pkcs11.TokenFlag.USER_PIN_FINAL_TRY not in flags
    token.wrong_pin().write_text(PIN)  # mended: it is read again
    key.sign(b"x")
    assert PIN not in caplog.text and OTHER_PIN not in caplog.text


def test_a_log_with_a_wrong_pin_does_not_start_and_waits_if_it_runs(tmp_path: Path, token: Token) -> None:
    directory = made(tmp_path, token)
    config = load_config(directory / "graven.toml")
    good = token.pin_file.read_text()
    with opened(directory) as log:
        token.pin_file.write_text(OTHER_PIN)
        log.append([{"action": "a"}], wait="published")  # the session is open
        token.lose_sessions()
        size = log.append([{"action": "b"}]).size
        with pytest.raises(Busy, match="refuses the PIN"):
            log.publish()
        assert log.writer.error is None
        with pytest.raises(BadInput, match="refuses the PIN"):
            open_signer(open_keyring(directory, config))
        token.pin_file.write_text(good)
        assert log.append([{"action": "c"}], wait="published").size == size + 1
    token.pin_file.unlink()
    token.lose_sessions()
    with pytest.raises(BadInput, match="PIN cannot be read"):
        Log.open(directory)


def test_files_of_pins(tmp_path: Path, token: Token) -> None:
    uri = token.uri()
    pin = read_pin(uri)
    assert pin is not None and pin.text == PIN and PIN not in repr(pin)
    for wrong in (b"", b"\n", b"a\nb\n", b"x" * 257, b"\xff", b"a\0b"):
        token.pin_file.write_bytes(wrong)
        with pytest.raises(BadInput, match="one line"):
            read_pin(uri)
    token.pin_file.write_text(PIN)
    token.pin_file.chmod(0o640)
    with pytest.raises(BadInput, match="open to others"):
        read_pin(uri)
    assert read_pin(replace(uri, access=replace(uri.access, pin_private=False)))
    token.pin_file.chmod(0o600)
    line = token_line(uri, ORIGIN, make=True)
    assert line
    token.lose_sessions()
    with pytest.raises(BadInput, match="asks for a PIN"):
        token_line(replace(uri, access=Access(token.module)), ORIGIN)
    assert token_line(replace(uri, access=Access(token.module)), ORIGIN, Access(None, str(token.pin_file)))


def test_modules_that_are_refused(tmp_path: Path, token: Token) -> None:
    def at(path: str | Path) -> None:
        TokenKey(
            Key(ORIGIN, ED25519, bytes(32)), replace(token.uri(), access=Access(str(path), str(token.pin_file)))
        ).open()

    mine = tmp_path / "module.so"
    mine.write_bytes(Path(token.module).read_bytes())
    mine.chmod(0o666)
    with pytest.raises(BadInput, match="changed by others"):
        at(mine)
    for nothing in (tmp_path / "none.so", tmp_path):
        with pytest.raises(BadInput):
            at(nothing)
    mine.write_bytes(b"no library")
    mine.chmod(0o600)
    with pytest.raises(BadInput, match="no PKCS #11 module"):
        at(mine)
    if (libc := ctypes.util.find_library("c")) is not None and Path("/lib/x86_64-linux-gnu", libc).exists():
        with pytest.raises(BadInput, match="no PKCS #11 module"):
            at(f"/lib/x86_64-linux-gnu/{libc}")
    with pytest.raises(BadInput, match="no PKCS #11 module is named"):
        TokenKey(Key(ORIGIN, ED25519, bytes(32)), replace(token.uri(), access=Access())).open()


def test_another_key_in_its_place_signs_nothing(tmp_path: Path, token: Token) -> None:
    """A thief, or a mix-up: the token shows another key under the name. Its signatures never leave."""
    directory = made(tmp_path, token)
    module, pin = open_module(token.uri()), read_pin(token.uri())

    def swap() -> None:
        import pkcs11

        session = module._session(token.uri(), pin, write=True)
        for one in list(session.get_objects({pkcs11.Attribute.LABEL: "log"})):
            one.destroy()

    with pytest.raises(Broken, match="another key"), opened(directory, interval_ms=3_600_000) as log:
        log.append([{"action": "a"}])
        log.publish()
        module.ask(swap)
        token_line(token.uri(), ORIGIN, make=True)
        module.ask(module.begin_anew)
        before = log.published
        log.append([{"action": "b"}])
        with pytest.raises(Broken, match="another key"):
            log.publish()
        assert log.published == before
    with pytest.raises(Broken, match="another key"):
        Log.open(directory)


def test_a_token_that_hangs_is_an_answer(tmp_path: Path, token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    key = TokenKey(*parse_line(token_line(token.uri(), ORIGIN, make=True)))
    key.sign(b"x")
    files = [str(path) for path in token.folder.rglob("*") if path.is_file()]
    process = subprocess.Popen([sys.executable, "-c", HOLD, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdout.readline()  # the token's own files are locked: its next look at them waits
        monkeypatch.setattr(token_module, "ANSWER_TIMEOUT_S", 0.3)
        with pytest.raises(Busy, match="not answer"):
            key.sign(b"y")
        with pytest.raises(Busy, match="has not answered"):
            key.sign(b"y")
    finally:
        process.stdin.close()
        process.wait(90)
        process.stdout.close()
    monkeypatch.setattr(token_module, "ANSWER_TIMEOUT_S", 90.0)
    assert open_module(token.uri())._idle.wait(90)
    verify_signature("ed25519", key._key.public, key.sign(b"y"), b"y")


def test_threads_share_a_token(token: Token) -> None:
    key = TokenKey(*parse_line(token_line(token.uri(), ORIGIN, make=True)))
    wrong: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                message = f"{number} {turn}".encode()
                verify_signature("ed25519", key._key.public, key.sign(message), message)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


def test_several_tokens_and_keys_of_one_name(token: Token) -> None:
    token.add("second")
    token.lose_sessions()
    token_line(token.uri(), ORIGIN, make=True)
    any_token = parse_token_uri(token.text().replace("token=graven;", ""))
    with pytest.raises(BadInput, match="2 tokens fit"):
        token_line(any_token, ORIGIN)
    with pytest.raises(Busy, match="is not there"):
        token_line(parse_token_uri(token.text(token="third")), ORIGIN)
    module, pin = open_module(token.uri()), read_pin(token.uri())
    by_id = parse_token_uri(token.text(more=";id=%07"))

    def same_name() -> None:
        import pkcs11

        session = module._session(token.uri(), pin, write=True)
        oid = {pkcs11.Attribute.EC_PARAMS: bytes.fromhex("06032b6570")}
        domain = session.create_domain_parameters(pkcs11.KeyType.EC_EDWARDS, oid, local=True)
        domain.generate_keypair(
            store=True, label="log", id=b"\7", private_template={pkcs11.Attribute.EXTRACTABLE: False}
        )
        domain.generate_keypair(store=True, label="loose", id=b"\10", private_template={
            pkcs11.Attribute.EXTRACTABLE: True, pkcs11.Attribute.SENSITIVE: False})  # fmt: skip

    module.ask(same_name)
    with pytest.raises(BadInput, match="2 keys of the token fit"):
        token_line(token.uri(), ORIGIN)
    assert parse_line(token_line(by_id, ORIGIN))[1].id == b"\7"
    with pytest.raises(BadInput, match="would give this key"):
        token_line(token.uri("loose"), ORIGIN)


def test_lines_of_keys_in_tokens_are_strict(token: Token) -> None:
    line = token_line(token.uri(), ORIGIN, make=True)
    load_signing_key(line, "log.ed25519", ORIGIN, place="x")
    for file in ("receipt.ed25519", "log.mldsa44"):
        with pytest.raises(Broken):
            load_signing_key(line, file, ORIGIN, place="x")
    for wrong in (line.replace("example.com", "example.org"), line + " ", line.replace(" pkcs11", "  pkcs11"),
                  line.replace("token=graven", "token=%67raven"), line.partition(" ")[0], line + "&pin-value=1",
                  line[:40] + "A" + line[41:]):  # fmt: skip
        if wrong != line:
            with pytest.raises(Broken):
                load_signing_key(wrong, "log.ed25519", ORIGIN, place="x")


def test_keys_change_between_file_and_token(tmp_path: Path, token: Token) -> None:
    directory = tmp_path / "log"
    there = str(directory)
    run("init", there, "--origin", ORIGIN)
    first = load_config(directory / "graven.toml").vkeys
    run("keys", "rotate", "begin", "--dir", there, "--to", token.text("one"), expect=2)
    run("keys", "rotate", "begin", "--dir", there, "--to", token.text("one"), "--make-key")
    run("keys", "rotate", "begin", "--dir", there)  # begun already
    run("keys", "rotate", "begin", "--dir", there, "--to", token.text("two"), expect=2)
    with token.away():
        run("keys", "rotate", "finish", "--dir", there, expect=3)
    assert 'left_in_token": null' in run("keys", "rotate", "finish", "--dir", there, "--json")
    with opened(directory) as log:
        log.append([{"action": "a"}], wait="published")
    verified(directory)
    run("keys", "rotate", "begin", "--dir", there, expect=2)  # it must be said where to
    run("keys", "rotate", "begin", "--dir", there, "--to", token.text("one"), expect=2)  # the same key again
    run("keys", "rotate", "begin", "--dir", there, "--to", token.text("two"), "--make-key")
    assert 'left_in_token": "pkcs11:token=graven;object=one' in run(
        "keys", "rotate", "finish", "--dir", there, "--json"
    )
    run("keys", "rotate", "begin", "--dir", there, "--to", "file:")
    run("keys", "rotate", "finish", "--dir", there)
    with token.away(), opened(directory) as log:  # no token is needed any more
        log.append([{"action": "b"}], wait="published")
    verified(directory)
    handovers = [str(directory / "log" / "handover" / str(number)) for number in (1, 2, 3)]
    words = [word for path in handovers for word in ("--handover", path)]
    run("check", str(directory / "log" / "checkpoint"), "--vkey", first[0], *words)


def test_the_commands(tmp_path: Path, token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "log"
    there = str(directory)
    run("init", there, "--make-key", expect=2)
    run("init", there, "--log-key", token.text().replace("pin-source=file:", "pin-value="), expect=2)
    bare = token.text().partition("?")[0]
    run("init", there, "--log-key", bare, "--make-key", expect=2)
    assert not directory.exists() and not (tmp_path / "log.keys").exists()
    monkeypatch.setenv("GRAVEN_PIN_FILE", str(token.pin_file))
    made = json.loads(run("init", there, "--log-key", f"{bare}?module-path={token.module}", "--make-key", "--json"))
    assert made["token"] == bare
    kept = (tmp_path / "log.keys" / "log.ed25519").read_text()
    assert "pin" not in kept, "what only this host says is not kept"
    assert json.loads(run("status", "--dir", there, "--json"))["keys"]["log_key"] == bare
    assert "not in it, but in its token" in run(
        "keys", "backup", str(tmp_path / "kit"), "--no-passphrase", "--dir", there
    )
    run("serve", "--check", "--dir", there)
    monkeypatch.delenv("GRAVEN_PIN_FILE")
    token.lose_sessions()
    with pytest.raises(BadInput, match="asks for a PIN"):
        Log.open(directory)
    toml = directory / "graven.toml"
    text = toml.read_text()
    toml.write_text(text.replace("[keys]\n", f'[keys]\nlog = "pkcs11:?pin-source=file:{token.pin_file}"\n', 1))
    with opened(directory) as log:
        log.append([{"action": "a"}], wait="published")
    toml.write_text(text.replace("[keys]\n", f'[keys]\nlog = "{bare}?pin-source=file:/x"\n', 1))
    with pytest.raises(BadInput):
        load_config(toml)
    toml.write_text(text)
    back = kit.restore((tmp_path / "kit").read_bytes(), str(tmp_path / "back"))
    assert back.signing_key("log.ed25519") == kept.removesuffix("\n")


def test_the_signer_holds_the_token(tmp_path: Path, token: Token) -> None:
    directory, there, path = made(tmp_path, token), tmp_path / "signer", tmp_path / "sock"
    run("signer", "split", str(there), "--dir", str(directory))
    toml = directory / "graven.toml"
    toml.write_text(toml.read_text().replace("[keys]\n", f'[keys]\nsigner = "unix:{path}"\n', 1))
    with served(Signing(open_signer(Keyring.open(str(there)))), path), opened(directory) as log:
        log.append([{"action": "a"}], wait="published")
        with token.away():
            size = log.append([{"action": "b"}]).size
            with pytest.raises(Busy, match="the signer refuses"):
                log.publish()
            assert log.writer.error is None
        assert log.append([{"action": "c"}], wait="published").size == size + 1
    verified(directory)
    run("signer", "rotate", "begin", str(there), expect=2)
    run("signer", "rotate", "begin", str(there), "--to", token.text("next"), "--make-key")
    with served(Signing(open_signer(Keyring.open(str(there)))), path), opened(directory) as log:
        log.append([{"action": "d"}], wait="published")
        assert len(parse_note(log.published.data).signatures) == 4
    assert "object=log" in run("signer", "rotate", "finish", str(there))
    with served(Signing(open_signer(Keyring.open(str(there)))), path), opened(directory) as log:
        log.append([{"action": "e"}], wait="published")
    verified(directory)


def test_the_log_waits_for_a_signer_that_is_started_again(tmp_path: Path) -> None:
    directory, there, path = tmp_path / "log", tmp_path / "signer", tmp_path / "sock"
    create_log(directory, origin=ORIGIN)
    run("signer", "split", str(there), "--dir", str(directory))
    toml = directory / "graven.toml"
    toml.write_text(toml.read_text().replace("[keys]\n", f'[keys]\nsigner = "unix:{path}"\n', 1))
    with served(Signing(LogSigner(Keyring.open(str(there)))), path):
        log = Log.open(directory)
    with log:
        size = log.append([{"action": "a"}]).size
        with pytest.raises(Busy, match="does not answer"):
            log.publish()
        assert log.writer.error is None
        with served(Signing(LogSigner(Keyring.open(str(there)))), path):
            assert log.publish().checkpoint.size == size
        # An answer that was lost: the signer signed a tree that this side never saw signed.
        log.append([{"action": "b"}])
        with served(Signing(LogSigner(Keyring.open(str(there)))), path):
            signer = log.publisher._signer
            before = signer._highest  # type: ignore[attr-defined]
            log.publish()
            signer._highest, signer._unsure = before, True  # type: ignore[attr-defined]
            size = log.append([{"action": "c"}]).size
            assert log.publish().checkpoint.size == size
            log.close()
    verified(directory)
