"""What runs beside the senders on a host: an agent that is killed, and real daemons in a namespace of their own."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.process import command, run
from senders.ground import ROOT, Ground, program, wait_for

JOURNALD = Path("/usr/lib/systemd/systemd-journald")
SSHD = [Path("/usr/sbin/sshd"), ROOT / ".cache/openssh-server/usr/sbin/sshd"]

NAMESPACE = """
set -e
here=$1
mount --bind $here/run /run
mkdir -p /run/systemd/journal /run/log/journal /run/lock /run/sudo
mount -t tmpfs none $here/dev
for node in null zero full random urandom tty; do cp -a /dev/$node $here/dev/; done
mkdir $here/dev/pts $here/dev/shm
mount --bind /dev/pts $here/dev/pts || true
ln -s /proc/self/fd $here/dev/fd
ln -s /run/systemd/journal/dev-log $here/dev/log
mount --bind $here/dev /dev
again() {  # whoever is killed comes back; its number is in a file
  while :; do "${@:2}" & echo $! >$here/$1.new; mv $here/$1.new $here/$1.pid; wait $! || true; sleep 0.05; done
}
again journald /usr/lib/systemd/systemd-journald &
while read -r words; do eval "$words"; done <$here/words
"""


class Agent:
    """`graven agent run` over wires that are cut; killed and started again."""

    def __init__(self, ground: Ground, sources: str) -> None:
        self._ground, self.config = ground, ground.folder / "agent.toml"
        text = 'server = "{}"\nstate = "state"\nname = "host-1"\nheartbeat_s = 1\n[batch]\nlinger_ms = 20\n' + sources
        self.config.write_text(text.replace("{}", ground.url, 1))
        token = run("token", "create", "--dir", str(ground.log.directory), "--name", "join", "--scope", "enrol").stdout
        (ground.folder / "join").write_text(token)
        run("agent", "enrol", "--config", str(self.config), "--token-file", str(ground.folder / "join"))
        self.process = self._start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return self._ground.start(*command("agent", "run", "--config", str(self.config)), **os.environ)


class Host:
    """A mount namespace with a real journald; `say` runs a line of shell in it. Skips where it cannot be made."""

    def __init__(self, folder: Path) -> None:
        program("systemd-journald", JOURNALD)
        if os.geteuid() != 0:
            pytest.skip("a namespace with a journald of its own wants root")
        folder.mkdir()
        for name in ("run", "dev"):
            (folder / name).mkdir()
        os.mkfifo(folder / "words")
        (folder / "inside.sh").write_text(NAMESPACE)
        shell = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "bash"]
        self.folder = folder
        with (folder / "out").open("wb") as out:
            self._process = subprocess.Popen(
                [*shell, str(folder / "inside.sh"), str(folder)], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        deadline = time.monotonic() + 10
        while not list((folder / "run/log/journal").glob("*/system.journal")) if folder.exists() else True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                pytest.skip(f"no journald here: {(folder / 'out').read_text()[-300:]}")
            time.sleep(0.05)
        self._words = (folder / "words").open("w", buffering=1)

    @property
    def journal(self) -> Path:
        return self.folder / "run/log/journal"

    def say(self, words: str) -> None:
        self._words.write(words + "\n")

    def kill(self, name: str, answers: Callable[[], bool]) -> None:
        """kill -9 of a daemon inside; it comes back."""
        number = self.folder / f"{name}.pid"
        before = number.read_text()
        self.say(f"kill -9 {before}")
        wait_for(lambda: number.read_text() != before and answers())

    def takes_syslog(self) -> bool:
        """Whether journald listens at its end of /dev/log."""
        folder = os.open(self.folder / "run/systemd/journal", os.O_RDONLY)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
                one.connect(f"/proc/self/fd/{folder}/dev-log")
                return True
        except OSError:
            return False
        finally:
            os.close(folder)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@contextmanager
def open_host(folder: Path) -> Iterator[Host]:
    host = Host(folder)
    try:
        yield host
    finally:
        host.close()


@contextmanager
def open_sshd(host: Host, port: int) -> Iterator[None]:
    """A real sshd inside, as a user without rights, that logs by syslog."""
    sshd = program("openssh-server", *SSHD)
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("openssh-client is not installed")
    folder = host.folder / "sshd"
    folder.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True, timeout=180)
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/key\nPidFile none\nUsePAM no\nStrictModes no\n"
        "PasswordAuthentication no\nMaxStartups 100\nSyslogFacility AUTHPRIV\n"
    )
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, "nobody")
    for path in (host.folder, *host.folder.parents):
        if path.stat().st_uid == 0 and path.stat().st_mode & 0o077 == 0:
            path.chmod(0o711)
    host.say(f"again sshd setpriv --reuid=nobody --regid=nogroup --clear-groups {sshd} -f {folder}/config -D &")
    yield


def wait_for_text(path: Path, text: str) -> None:
    wait_for(lambda: path.exists() and text in path.read_text(errors="replace"), lambda: path.read_text()[-300:])
