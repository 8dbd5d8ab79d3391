"""A real Graven server in a process of its own, which a test may kill."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.ports import free_port

START_S_MAX = 100


@dataclass
class ServedLog:
    """A log in `directory`, its token and verifier key, and the server over it, when one runs."""

    directory: Path
    token: str
    vkey: str
    url: str = ""
    process: subprocess.Popen[str] | None = None

    @classmethod
    def create(cls, directory: Path) -> "ServedLog":
        run("init", str(directory), "--origin", "test.invalid/served")
        token = run("token", "create", "--dir", str(directory), "--name", "app", "--scope", "ingest,read")
        return cls(directory, token.stdout.strip(), run("vkey", "--dir", str(directory)).stdout.strip())

    def start(self) -> None:
        """Start the server, on the port it had before if there was one."""
        listen = self.url.removeprefix("http://") or f"127.0.0.1:{free_port()}"
        with (self.directory.parent / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                command("serve", "--dir", str(self.directory), "--listen", listen),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), f"{line!r}; see {log.name}"
        self.url = line.split()[-1]

    def kill(self) -> None:
        """kill -9."""
        self.end(signal.SIGKILL)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        process, self.process = self.process, None
        if process is not None:
            os.kill(process.pid, how)
            process.wait(START_S_MAX)
            if process.stdout is not None:
                process.stdout.close()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from graven.cli import main; main()", *arguments]


def run(*arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """One command line, with its exit code as expected."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=START_S_MAX, check=False)
    assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
