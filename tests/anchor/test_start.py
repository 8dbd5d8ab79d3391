"""Before its first signature a log learns from its witnesses what it has shown: rollback and fork end in exit 3."""

import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from lab.http import replying

from anchor.hosts import make_host, move, witnessed
from anchor.test_gathering import counted, publish
from graven.app import Log
from graven.core.errors import BadInput, Broken, Busy
from log.logs import acts_of
from witness.running import post


def copy(host_root: Path, to: str) -> None:
    """The whole host's state, data and keyring, as a snapshot has it."""
    for name in ("log", "log.keys"):
        shutil.copytree(host_root / name, host_root / to / name)


def restore(host_root: Path, snapshot: str) -> None:
    for name in ("log", "log.keys"):
        shutil.rmtree(host_root / name)
        shutil.copytree(host_root / snapshot / name, host_root / name)


def test_a_whole_host_rolled_back_is_caught_by_a_witness_and_signs_nothing(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    with witnessed(host):
        with host.open() as log:
            publish(log)
        copy(tmp_path, "snapshot")
        with host.open() as log:
            for _ in range(3):
                publish(log)
        restore(tmp_path, "snapshot")
        shown, signed = host.shown, host.signed
        with pytest.raises(Broken, match=r"tree of \d+ entries, but .* has \d+: .*rolled back together") as caught:
            host.open()
        assert caught.value.exit_code == 3 and "graven keys seen" in caught.value.mend
        assert (host.shown, host.signed) == (shown, signed)
        words = ["serve", "--dir", str(host.directory), "--listen", "127.0.0.1:0"]
        words += ["--witness-policy", str(host.policy_path)]
        call = "import sys; from graven.cli import graven; graven.main(sys.argv[1:])"
        done = subprocess.run([sys.executable, "-c", call, *words], capture_output=True, text=True, timeout=180)
        assert done.returncode == 3 and "rolled back together" in done.stderr and "listening" not in done.stdout
        assert (host.shown, host.signed) == (shown, signed)
        with pytest.raises(Broken, match="rolled back"):  # no policy named: the one the log keeps is asked
            Log.open(host.directory)


def test_one_witness_is_enough_to_notice_even_if_the_others_are_away(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    with witnessed(host):
        copy(tmp_path, "snapshot")
        with host.open() as log:
            publish(log)
    restore(tmp_path, "snapshot")
    with witnessed(host, ["w2"]), pytest.raises(Broken, match="rolled back together"):
        host.open(witness_start="go_on")


def test_a_fork_is_refused(tmp_path: Path) -> None:
    """The same keys, the same size, another history: the witnesses have seen the first one."""
    host = make_host(tmp_path)
    with witnessed(host):
        copy(tmp_path, "snapshot")
        with host.open() as log:
            publish(log)
            size = log.size
        restore(tmp_path, "snapshot")
        policy = host.policy_path.rename(tmp_path / "away")
        shutil.rmtree(host.directory / "policies", ignore_errors=True)
        with Log.open(host.directory) as log:  # the operator's own hand, without the policy
            while log.size < size:
                log.append([{"action": "something.else"}])
            log.publish()
        policy.rename(host.policy_path)
        signed = host.signed
        with pytest.raises(Broken, match="another history") as caught:
            host.open()
        assert caught.value.exit_code == 3 and host.signed == signed
    assert any((host.witnesses["w1"][0] / "evidence").iterdir())


def test_a_tree_signed_and_witnessed_but_not_published_is_no_rollback(tmp_path: Path) -> None:
    """A crash between the witnesses and the rename: the mark beside the keys says what was signed."""
    host = make_host(tmp_path)
    with witnessed(host):
        with host.open() as log:
            publish(log)
        before = host.shown
        with host.open() as log:
            publish(log)
        (host.directory / "log" / "checkpoint").write_bytes(before)
        with host.open() as log:
            shown = log.publish()
            assert shown.data.startswith(host.signed) and counted(host, shown.data) == ("w1", "w2", "w3")
    assert host.verify().problems == ()


def test_too_few_witnesses_at_the_start_sign_nothing_unless_told_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graven.app.log.WITNESSES_WAIT_S", 0.5)
    host = make_host(tmp_path)
    with witnessed(host, ["w1"]):
        signed = host.signed
        with pytest.raises(Busy, match="too few witnesses") as caught:
            host.open()
        assert "cannot be reached" in caught.value.place and host.signed == signed
        with host.open(witness_start="go_on", witness_deadline_ms=100) as log:
            publish(log)
        assert host.signed != signed


def test_a_server_waits_for_its_witnesses_and_stops_when_told(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    host.write_policy()
    words = ["serve", "--dir", str(host.directory), "--listen", "127.0.0.1:0"]
    words += ["--witness-policy", str(host.policy_path)]
    call = "import sys; from graven.cli import graven; graven.main(sys.argv[1:])"
    signed = host.signed
    server = subprocess.Popen(
        [sys.executable, "-c", call, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None and server.stdout is not None
    assert "waiting for witnesses" in server.stderr.readline()
    server.terminate()
    out, _ = server.communicate(timeout=180)
    assert server.returncode == 0 and out == "" and host.signed == signed


@pytest.mark.parametrize("status, body", [(409, b""), (409, b"x\n"), (500, b""), (404, b""), (200, b"")])
def test_a_witness_that_says_nothing_does_not_count_as_one_that_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    monkeypatch.setattr("graven.app.log.WITNESSES_WAIT_S", 0.3)
    host = make_host(tmp_path, ["w1"])
    with replying(lambda _: (status, body)) as url:
        move(host, "w1", url)
        host.write_policy("1")
        with pytest.raises(Busy, match="too few witnesses"):
            host.open()


def test_a_409_without_a_size_is_lived_with(tmp_path: Path) -> None:
    host = make_host(tmp_path, ["w1"])
    with witnessed(host, quorum="1"):
        real = host.witnesses["w1"][2]

        def bare(request: bytes) -> tuple[int, bytes]:
            got = post(real, request)
            return got.status, b"" if got.status == 409 else got.body

        with replying(bare) as url:
            move(host, "w1", url)
            host.write_policy("1")
            for _ in range(2):
                with host.open() as log:
                    assert counted(host, publish(log)) == ("w1",)


def test_a_policy_of_another_log_is_refused(tmp_path: Path) -> None:
    host, other = make_host(tmp_path / "a", ["w1"]), make_host(tmp_path / "b", ["w1"])
    other.write_policy("1")
    host.policy_path.write_bytes(other.policy_path.read_bytes())
    with pytest.raises(BadInput, match="not one for this log"):
        host.open()
    host.write_policy("1")
    host.policy_path.write_text(host.policy_path.read_text().replace(" http://127.0.0.1:1", ""))
    with pytest.raises(BadInput, match="can never be met"):
        host.open()
    host.policy_path.write_text(host.policy_path.read_text().replace("\ngroup", " ftp://x\ngroup", 1))
    with pytest.raises(BadInput, match="not the URL of a witness"):
        host.open()


def test_lines_of_witnesses_that_left_the_policy_are_known_and_others_disproved(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    with witnessed(host):
        with host.open() as log:
            publish(log)
        del host.witnesses["w3"]
        host.write_policy()
        with host.open() as log:
            data = publish(log)
        assert b"witness.invalid/w3" not in data
        assert host.verify().problems == ()
        (host.directory / "log" / "checkpoint").write_bytes(data.replace(b"witness.invalid/w2", b"witness.invalid/wx"))
        assert "not known" in str(host.verify().problems[0])
        (host.directory / "log" / "checkpoint").write_bytes(data)
        shutil.rmtree(host.directory / "policies")
        assert host.verify().disproved >= 1


def test_the_start_records_the_policy_by_its_hash(tmp_path: Path) -> None:
    host = make_host(tmp_path, ["w1"])
    with witnessed(host, quorum="1"), Log.open(host.directory, host.config(), serve=True) as log:
        digest = sha256(host.policy_path.read_bytes()).hexdigest()
        assert acts_of(log, "graven.start")[0]["witness_policy_sha256"] == digest
        assert (host.directory / "policies" / digest).read_bytes() == host.policy_path.read_bytes()
