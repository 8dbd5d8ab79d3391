"""A journald of our own, sealed, in a mount namespace with files below one folder; and its records written anew.

A forger uses systemd itself: `journalctl -o export`, edited, written into a new file by `systemd-journal-remote`.
"""

import json
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from lab import AbsentError

from tamper import calls
from tamper.model import Observer, Said, WentWrongError
from tamper.peers import files
from tamper.peers.ledger import OTHER, WORD

JOURNALD = Path("/lib/systemd/systemd-journald")
INTERVAL_S = 1
SETTLE_S = 1.5
"""A file that is being written when it is verified may be found bad by chance: after a start, until it is synced."""
_MACHINE = "0123456789abcdef0123456789abcdef"
_CONFIG = """[Journal]
Storage=persistent
Seal=yes
Audit=no
ReadKMsg=no
SyncIntervalSec=1s
RateLimitIntervalSec=0
ForwardToWall=no
"""
_START = """set -e
mount --make-rprivate /
mkdir -p {0}/run/systemd/journal {0}/log/journal/{1}
mount --bind {0}/log /var/log
mount --bind {0}/run /run
mount --bind {0}/machine-id /etc/machine-id
[ ! -e /etc/systemd/journald.conf ] || mount --bind {0}/journald.conf /etc/systemd/journald.conf
touch /run/systemd/journal/flushed
[ -e /var/log/journal/{1}/fss ] || journalctl --setup-keys --interval={2}s >{0}/key 2>{0}/setup
exec {3} >{0}/out 2>&1
"""


class Journal:
    """One journald with files of its own below `place`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.folder = place / "log" / "journal" / _MACHINE
        self._process: subprocess.Popen[bytes] | None = None
        (place / "machine-id").write_text(_MACHINE + "\n")
        (place / "journald.conf").write_text(_CONFIG)

    @property
    def key(self) -> str:
        """The verification key, as whoever verifies has it."""
        return (self.place / "key").read_text().strip()

    def start(self) -> None:
        script = _START.format(self.place, _MACHINE, INTERVAL_S, JOURNALD)
        self._process = subprocess.Popen(
            ["unshare", "-m", "bash", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        end = time.monotonic() + 20
        while not (self.place / "run/systemd/journal/socket").exists() or not (self.folder / "system.journal").exists():
            if self._process.poll() is not None:
                assert self._process.stderr is not None
                raise AbsentError(f"journald does not run here: {self._process.stderr.read().decode()[-200:].strip()}")
            if time.monotonic() > end:
                raise WentWrongError("journald did not start")
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None
        (self.place / "run/systemd/journal/socket").unlink(missing_ok=True)

    def send(self, texts: list[str]) -> None:
        """By journald's own socket, one datagram a record."""
        wanted = len(self.read()) + len(texts)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.connect(str(self.place / "run/systemd/journal/socket"))
            for text in texts:
                data = text.encode()
                door.send(
                    b"PRIORITY=6\nSYSLOG_IDENTIFIER=app\nMESSAGE\n" + len(data).to_bytes(8, "little") + data + b"\n"
                )
        calls.until("the records in the journal", lambda: len(self.read()) >= wanted, 15)

    def read(self) -> list[str]:
        """The records of the program, oldest first."""
        if not list(self.folder.glob("*.journal")):
            return []
        out = calls.must(["journalctl", "-D", self.folder, "-t", "app", "-o", "json", "--all", "-q"])
        found = [json.loads(line).get("MESSAGE") for line in out.splitlines() if line.startswith("{")]
        return [bytes(one).decode() if isinstance(one, list) else str(one) for one in found]

    def verify(self, *, file: Path | None = None) -> Said:
        where = ["-D", self.folder] if file is None else ["--file", file]
        return calls.call(["journalctl", *where, "--verify", f"--verify-key={self.key}"])

    def observers(self) -> list[Observer]:
        return [Observer("journalctl --verify", self.verify)]

    def forge(self, change: "re.Pattern[str] | None" = None, *, drop: tuple[int, int] | None = None, seal: bool = False,
              to: Path | None = None, extra: str = "") -> None:  # fmt: skip
        """Every record exported, edited, written into a new file in the place of the old ones; journald is stopped.

        `drop`: the program's records [a, b) are left out. `seal`: with the sealing state that lies on the host.
        """
        remote = files.find(
            "systemd-journal-remote", Path("/lib/systemd/systemd-journal-remote"),
            files.JOURNAL_REMOTE / "lib/systemd/systemd-journal-remote",
        )  # fmt: skip
        out = subprocess.run(
            ["journalctl", "-D", str(self.folder), "-o", "export", "--all", "-q"], capture_output=True, check=True
        ).stdout  # fmt: skip
        entries = read_entries(out)
        numbers = iter(range(len(entries)))
        kept = []
        for entry in entries:
            if b"SYSLOG_IDENTIFIER=app" in entry:
                number = next(numbers)
                if drop is not None and drop[0] <= number < drop[1]:
                    continue
                if change is not None and number == 30:
                    entry = entry.replace(WORD.encode(), OTHER.encode())
            kept.append(entry)
        if extra:
            kept.append(_dated(kept[-1], extra))
        new = self.place / "forged.journal"
        new.unlink(missing_ok=True)
        words = [remote, f"--seal={'yes' if seal else 'no'}", "-o", new, "-"]
        env = {"LD_LIBRARY_PATH": files.libraries(files.JOURNAL_REMOTE)}
        script = f"mount --bind {self.place}/log /var/log; mount --bind {self.place}/machine-id /etc/machine-id; exec "
        script += " ".join(map(str, words))
        calls.must(["unshare", "-m", "bash", "-c", script], env=env, given=b"\n".join(kept) + b"\n")
        if to is not None:
            new.rename(to)
            return
        for path in self.folder.glob("*.journal*"):
            path.unlink()
        new.rename(self.folder / "system.journal")


def read_entries(export: bytes) -> list[bytes]:
    """The entries of the export format, whose binary fields may hold empty lines."""
    entries: list[bytes] = []
    lines: list[bytes] = []
    at = 0
    while at < len(export):
        end = export.index(b"\n", at)
        line = export[at:end]
        if not line:
            if lines:
                entries.append(b"\n".join(lines) + b"\n")
            lines, at = [], end + 1
            continue
        if b"=" not in line:
            size = int.from_bytes(export[end + 1 : end + 9], "little")
            end = end + 9 + size
            line = export[at:end]
        lines.append(line)
        at = end + 1
    return entries


def _dated(entry: bytes, when: str) -> bytes:
    """Another entry like this one at another time (µs since the epoch)."""
    entry = re.sub(rb"__REALTIME_TIMESTAMP=\d+", b"__REALTIME_TIMESTAMP=" + when.encode(), entry)
    return re.sub(rb"__CURSOR=[^\n]*\n", b"", entry)
