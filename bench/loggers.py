"""What people log with today, on the same lines: rsyslog to a file, and syslog-ng with its secure logging.

Both take the lines over TCP, octet-counted, on the same two cores, and write each into a file that is synced. rsyslog
keeps the line and nothing else. syslog-ng's `$(slog)` encrypts each line under a key that moves on with it, and keeps
one MAC over all; nobody but who holds the first key can check it. Neither parses what a line says, signs or publishes
anything, answers the sender, or could prove one line without the whole file.

What is counted are the lines in the file. rsyslog syncs it after each batch of its queue. syslog-ng syncs where it
flushes; its key and MAC are written beside, not synced: "durable" is as far as these go.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter, sleep

from lab.ports import free_port
from lab.processes import end

from bench.lines import SshdLines
from bench.rounds import NotMeasuredError, Turn
from bench.served import cpu_seconds

WAIT_SECONDS_MAX = 60.0
SEND_BUFFER_BYTES = 64 << 10  # what waits when the time is over is waited for, so it is kept small
LINES_A_PIECE = 200

_WAIT_S = 0.002
_ROOTS = (Path("/"), Path(__file__).parents[1] / ".cache/syslog-ng")

_RSYSLOG = """
global(workDirectory="{place}")
module(load="imtcp")
template(name="line" type="string" string="%rawmsg%\\n")
ruleset(name="out" queue.type="fixedArray" queue.size="10000" queue.dequeueBatchSize="1000") {{
  action(type="omfile" file="{file}" template="line" sync="on" asyncWriting="off" flushOnTXEnd="on")
}}
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="out")
"""
_SYSLOG_NG = """@version: 3.38
options {{ stats-freq(0); flush-lines(1000); log-fifo-size(10000); use-dns(no); keep-hostname(yes); }};
source s {{
  syslog(ip("127.0.0.1") port({port}) transport("tcp") flags(no-parse, store-raw-message)
         log-iw-size(1000) so-rcvbuf(65536));
}};
destination d {{
  file("{file}" fsync(yes)
       template("$(slog --key-file {place}/host.key --mac-file {place}/mac.dat $RAWMSG)\\n"));
}};
log {{ source(s); destination(d); flags(flow-control); }};
"""


class Logger:
    """A program that was started; each turn sends lines and waits until all are in its file."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, file: Path) -> None:
        self._process, self._port, self._file = process, port, file
        self._lines = SshdLines()
        self._counted_bytes = self._counted = 0

    def run(self, batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
        """One turn. Raises NotMeasuredError."""
        del batches, place
        before, cpu_s = self._written(), cpu_seconds(self._process.pid)
        pieces = [self._lines.piece(LINES_A_PIECE) for _ in range(20)]
        started, sent = perf_counter(), 0
        with socket.create_connection(("127.0.0.1", self._port)) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            while not sent or perf_counter() - started < seconds:
                if not pieces:
                    pieces = [self._lines.piece(LINES_A_PIECE) for _ in range(5)]
                sender.sendall(pieces.pop())
                sent += LINES_A_PIECE
            while (written := self._written() - before) < sent:
                if perf_counter() - started > seconds + WAIT_SECONDS_MAX or self._process.poll() is not None:
                    raise NotMeasuredError(f"{written} lines of {sent} were written")
                sleep(_WAIT_S)
        return Turn(sent, perf_counter() - started, cpu_seconds(self._process.pid) - cpu_s)

    def _written(self) -> int:
        """Lines in the file."""
        if self._file.exists():
            with self._file.open("rb") as file:
                file.seek(self._counted_bytes)
                while data := file.read(1 << 20):
                    self._counted_bytes += len(data)
                    self._counted += data.count(b"\n")
        return self._counted


@contextmanager
def rsyslog(place: Path) -> Iterator[Logger]:
    """rsyslog to a file that is synced. Raises NotMeasuredError where it is not installed."""
    program = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
    if not Path(program).exists():
        raise NotMeasuredError("rsyslogd is not installed (apt-get install rsyslog)")
    folder, port = _folder(place, "rsyslog"), free_port()
    config, file = folder / "conf", folder / "lines"
    config.write_text(_RSYSLOG.format(place=folder, file=file, port=port))
    with _running([program, "-n", "-f", str(config), "-i", str(folder / "pid")], folder, port) as process:
        yield Logger(process, port, file)


@contextmanager
def secure_syslog_ng(place: Path) -> Iterator[Logger]:
    """syslog-ng with secure logging. Raises NotMeasuredError where it is neither installed nor unpacked."""
    root = next((one for one in _ROOTS if (one / "usr/bin/slogkey").exists() and _modules(one) is not None), None)
    if root is None:
        raise NotMeasuredError("syslog-ng with secure logging is not installed (syslog-ng-core, syslog-ng-mod-slog)")
    modules = _modules(root)
    assert modules is not None
    folder, port = _folder(place, "syslog-ng"), free_port()
    environment = {**os.environ, "LD_LIBRARY_PATH": str(modules.parent)}
    for arguments in (["-m", "master.key"], ["-d", "master.key", "000000000001", "bench", "host.key"]):
        done = subprocess.run(
            [str(root / "usr/bin/slogkey"), *arguments], cwd=folder, env=environment, capture_output=True, check=False
        )
        if done.returncode:
            raise NotMeasuredError(f"slogkey failed: {done.stderr.decode(errors='replace')[-300:]}")
    config, file = folder / "conf", folder / "lines"
    config.write_text(_SYSLOG_NG.format(place=folder, file=file, port=port))
    command = [
        str(root / "usr/sbin/syslog-ng"), "-F", "--no-caps", "-f", str(config), "-R", str(folder / "persist"),
        "-p", str(folder / "pid"), "-c", str(folder / "control"), f"--module-path={modules}",
    ]  # fmt: skip
    with _running(command, folder, port, environment) as process:
        yield Logger(process, port, file)


def _modules(root: Path) -> Path | None:
    """The folder of syslog-ng's modules, if that for secure logging is among them."""
    found = (root / "usr/lib/syslog-ng").glob("[0-9]*/libsecure-logging.so")
    return next((one.parent for one in found), None)


def _folder(place: Path, name: str) -> Path:
    folder = place / name
    folder.mkdir(mode=0o700)
    return folder


@contextmanager
def _running(
    command: list[str], folder: Path, port: int, environment: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    try:
        until = monotonic() + WAIT_SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or monotonic() > until:
                    said = (folder / "errors").read_text(errors="replace")[-300:]
                    raise NotMeasuredError(f"{Path(command[0]).name} did not start: {said}") from None
                sleep(0.02)
        yield process
    finally:
        end(process)
        shutil.rmtree(folder, ignore_errors=True)
