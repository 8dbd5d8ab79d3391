"""Ports that stay one's own: apart from the kernel's, given to nobody else as long as the process lives."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from lab import ports
from lab.ports import free_port

ROOT = Path(__file__).parents[2]
HOLDER = "import sys; from lab.ports import free_port; print(free_port(), flush=True); sys.stdin.read()"


def test_each_is_given_once_and_can_be_bound() -> None:
    found = [free_port() for _ in range(20)]
    assert len(set(found)) == 20
    for port in found:
        assert port in ports.PORTS
        for _ in range(2):  # and again, as a server that is started again does
            with socket.create_server(("127.0.0.1", port)) as one:
                assert one.getsockname()[1] == port


def test_the_kernel_gives_none_of_them() -> None:
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not path.exists():
        pytest.skip("this system does not say which ports the kernel gives")
    first = int(path.read_text().split()[0])
    assert ports.PORTS.stop + ports.BESIDE_MAX <= min(first, 32_768)


def test_what_another_process_chose_or_listens_on_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        chosen = int(holder.stdout.readline())
        monkeypatch.setattr(ports, "PORTS", range(chosen, chosen + 1))
        with pytest.raises(OSError, match="is free"):
            free_port()
        holder.stdin.close()
        assert holder.wait() == 0
    assert free_port() == chosen
    monkeypatch.undo()
    listening = free_port()
    with socket.create_server(("127.0.0.1", listening)):
        for port, beside in ((listening, 0), (listening - 1, 1)):
            with monkeypatch.context() as patched:
                patched.setattr(ports, "_chosen", set())
                patched.setattr(ports, "PORTS", range(port, port + 1))
                with pytest.raises(OSError, match="is free"):
                    free_port(beside=beside)
