"""Programs that run beside, and their end."""

import signal
import subprocess
from typing import Any

_END_S = 60


def end(process: "subprocess.Popen[Any]", seconds: float = _END_S) -> int:
    """Ask it to end and wait; after so many seconds it is killed. Its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
