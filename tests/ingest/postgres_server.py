"""A PostgreSQL server of our own that writes its log in all three forms at once, with pgAudit."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab.ports import free_port

PROGRAMS = Path("/usr/lib/postgresql")
SETTINGS = {
    "logging_collector": "on",
    "log_destination": "'stderr,csvlog,jsonlog'",
    "log_directory": "'log'",
    "log_filename": "'server.log'",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_timezone": "UTC",
    "log_line_prefix": "'%m [%p] %q%u@%d '",
    "shared_preload_libraries": "pgaudit",
    "pgaudit.log": "'all, -misc'",
    "fsync": "off",
}
ACCESS = """
host all guarded 127.0.0.1/32 scram-sha-256
host all banned 127.0.0.1/32 reject
host all all 127.0.0.1/32 trust
"""


@contextmanager
def serve() -> Iterator[tuple[str, Path]]:
    """(a DSN of the superuser, the directory of the log files); skips where there is no PostgreSQL with pgAudit."""
    found = sorted(PROGRAMS.glob("*/bin/initdb"))
    if not found:
        pytest.skip("there is no PostgreSQL here: apt-get install postgresql postgresql-15-pgaudit")
    programs = found[-1].parent
    if not (programs.parent / "lib" / "pgaudit.so").exists():
        pytest.skip("PostgreSQL has no pgAudit here: apt-get install postgresql-15-pgaudit")
    account = _account()
    with tempfile.TemporaryDirectory(prefix="postgres-") as place:
        data = Path(place) / "data"
        data.mkdir(0o700)
        if account:
            Path(place).chmod(0o755)
            shutil.chown(data, "postgres")
        _call(*account, programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8")
        port = free_port()
        settings = SETTINGS | {"port": str(port), "listen_addresses": "'127.0.0.1'", "unix_socket_directories": "''"}
        with (data / "postgresql.conf").open("a") as config:
            config.writelines(f"{name} = {value}\n" for name, value in settings.items())
        (data / "pg_hba.conf").write_text(ACCESS)
        control = _control(data)
        _call(*control, "-l", data / "start.log", "start")
        try:
            yield f"host=127.0.0.1 port={port} user=postgres dbname=postgres", data / "log"
        finally:
            _call(*control, "-m", "immediate", "stop")


def crash(logs: Path) -> None:
    """kill -9, and up again: of the server whose log files are there."""
    data = logs.parent
    os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    deadline = time.monotonic() + 90
    while True:
        try:
            _call(*_control(data), "-l", data / "start.log", "start")
            return
        except subprocess.CalledProcessError:  # its children are not gone yet
            assert time.monotonic() < deadline
            time.sleep(0.1)


def _account() -> list[str | Path]:
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to run as root


def _control(data: Path) -> list[str | Path]:
    programs = sorted(PROGRAMS.glob("*/bin/initdb"))[-1].parent
    return [*_account(), programs / "pg_ctl", "-D", data, "-s", "-w"]


def _call(*command: str | Path) -> None:
    subprocess.run(command, check=True, cwd="/", timeout=180, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
