"""Programs that run beside: a port for them, and their end."""

import signal
import socket
import subprocess
from typing import Any

_END_S = 15


def free_port() -> int:
    """A port that nobody had a moment ago, for a program that cannot choose one itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(process: "subprocess.Popen[Any]", seconds: float = _END_S) -> int:
    """Ask it to end and wait; after so many seconds it is killed. Its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
