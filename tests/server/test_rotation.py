"""A served and witnessed log changes its keys: who knows the old ones follows, a thief gets nowhere."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from anchor.hosts import make_host, witnessed
from audit.logs import following, serving
from graven.app import Log, open_keyring
from graven.cli import graven
from graven.client import Client, WrongReceipt
from graven.config import load_config
from graven.core.errors import Disproved
from graven.core.note import format_vkey, parse_vkey
from graven.keys.keyring import Keyring
from graven.keys.signer import LogSigner
from graven.log.backup import copy_log
from graven.witness.store import Store
from server.running import Server


def run(*words: str, expect: int = 0) -> str:
    result = CliRunner().invoke(graven, words, prog_name="graven")
    assert result.exit_code == expect, result.output
    return result.stdout


def test_everybody_follows_to_the_new_keys(tmp_path: Path) -> None:
    host = make_host(tmp_path, ["w1"])
    directory = host.directory
    old = load_config(directory / "graven.toml").vkeys
    with witnessed(host, quorum="1"):
        policy = host.policy  # names the old keys, and is never written anew
        config = str(host.policy_path)
        with Server(directory, host.config(interval_ms=20)) as server:
            token = server.token()
            with Client(server.url, token, vkey=old, allow_http=True) as client:
                first = client.append({"action": "before"}, wait="published")
            with following(f"{server.url}/log", tmp_path / "state", policy=policy) as follower:
                assert follower.round().exit_code == 0
            run("keys", "rotate", "begin", "--dir", str(directory), expect=2)  # a server holds the log
        evidence = tmp_path / "old.json"
        run("prove", "1", "--dir", str(directory), "-o", str(evidence))
        stolen = tmp_path / "thief" / "log.keys"  # a thief copies everything, before the old keys go
        stolen.parent.mkdir()
        open_keyring(directory, load_config(directory / "graven.toml")).replicate(str(stolen))
        keys = [parse_vkey(vkey) for vkey in old]
        copy_log(directory, tmp_path / "thief" / "log", keys)
        run("keys", "rotate", "begin", "--dir", str(directory))
        coming = load_config(directory / "graven.toml").next_vkeys
        store = Store(host.witnesses["w1"][0])
        for vkey in coming:
            store.add_key(parse_vkey(vkey))
        store.close()
        run("keys", "rotate", "finish", "--dir", str(directory))
        with Server(directory, host.config(interval_ms=20)) as server:
            with Client(server.url, token, vkey=old, allow_http=True) as client:
                answer = client.append({"action": "after"}, wait="published")
                shown = client.check_promise(answer.receipt)
                assert {one.key.id for one in shown.signed} == {parse_vkey(vkey).id for vkey in coming}
                proved = client.evidence(answer.indexes[0])
                client.check_promise(first.receipt)
            with following(f"{server.url}/log", tmp_path / "state", policy=policy) as follower:
                found = follower.round()
                assert found.exit_code == 0 and found.witnesses, found.problems
                assert any("hand-over" in one for one in found.checked)
                size = found.size
            run("verify", f"{server.url}/log", "--vkey", old[0])
            run("verify", f"{server.url}/log", "--vkey", coming[0])
            handover = server.ask("GET", "/log/handover/1")
            assert handover.status == 200
            assert [server.ask("GET", f"/log/handover/{name}").status for name in ("2", "0", "x", "../checkpoint")] == (
                [404] * 4
            )
        (tmp_path / "new.json").write_bytes(proved.data)
        (tmp_path / "handover").write_bytes(handover.body)
        words = ["check", str(evidence), str(tmp_path / "new.json"), "--policy", config]
        run(*words, expect=1)
        told = run(*words, "--handover", str(tmp_path / "handover"))
        assert "relied on" in told and "witnessed" in told.replace("operator-trusted: 1 witness", "witnessed")

    thief = tmp_path / "thief" / "log"
    (thief / "policies" / "current").unlink()
    with Log.open(thief) as log:
        for number in range(size):
            log.append([{"action": f"forged {number}"}])
        log.publish()
    with (
        serving(thief / "log") as served,
        following(served.url, tmp_path / "state", policy=policy) as follower,
    ):
        found = follower.round()
        assert found.exit_code == 1 and "no signature by a trusted key" in str(found.problems[0])


def test_a_handover_to_a_thief_moves_nobody_who_asks_for_witnesses(tmp_path: Path) -> None:
    host = make_host(tmp_path, ["w1"])
    with witnessed(host, quorum="1"):
        with Log.open(host.directory, host.config()) as log:
            log.append([{"action": "before"}])
            log.publish()
        with (
            serving(host.directory / "log") as served,
            following(served.url, tmp_path / "state", policy=host.policy) as follower,
        ):
            assert follower.round().exit_code == 0
        policy = host.policy
    config = load_config(host.directory / "graven.toml")
    thief = tmp_path / "thief"
    copy_log(host.directory, thief / "log", [parse_vkey(vkey) for vkey in config.vkeys])
    (thief / "log" / "policies" / "current").unlink()
    open_keyring(host.directory, config).replicate(str(thief / "log.keys"))
    for step in ("begin", "finish"):
        run("keys", "rotate", step, "--dir", str(thief / "log"))
    with (
        serving(thief / "log" / "log") as served,
        following(served.url, tmp_path / "state", policy=policy) as follower,
    ):
        found = follower.round()
        assert found.exit_code == 1
        assert any(isinstance(one, Disproved) and "quorum" in str(one) for one in found.problems)
        assert not follower.mirror.handovers()


def test_a_client_of_another_log_is_led_nowhere(tmp_path: Path) -> None:
    """The hand-overs of a log are no reason to believe it for somebody who trusts other keys."""
    directory = tmp_path / "log"
    with Server(directory):
        pass
    for step in ("begin", "finish"):
        run("keys", "rotate", step, "--dir", str(directory))
    stranger = LogSigner(Keyring.create(str(tmp_path / "k"), origin="example.com/served")).keys
    with Server(directory) as server:
        token = server.token()
        with (
            Client(server.url, token, vkey=format_vkey(stranger[0]), allow_http=True, retries=0) as client,
            pytest.raises(WrongReceipt),
        ):
            client.append({"action": "x"})
