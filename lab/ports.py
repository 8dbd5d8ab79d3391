"""Ports for real servers whose address has to be known before they start, or to stay the same when they start again.

A port that the kernel gave and got back may be given to anybody the next moment: to another server, or, as the near end
of an outgoing connection, to any program. So these lie below those the kernel gives, and a process keeps the ones it
chose until it ends: no two processes of this user choose the same.
"""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

PORTS = range(12_000, 20_000)
"""Below the kernel's own (`ip_local_port_range`, from 32,768 on Linux), also with `beside`."""
BESIDE_MAX = 10_000

_chosen: set[int] = set()
_register: list[int] = []  # the descriptor of the file whose byte n is locked by the process that has port n


def free_port(*, beside: int = 0) -> int:
    """A port of 127.0.0.1, for TCP and UDP, which is this process's until it ends; with `beside`, the one so many above
    it is free as well. Raises OSError when there is none.
    """
    assert 0 <= beside <= BESIDE_MAX
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if port not in _chosen and _lock(port):
            _chosen.add(port)
            if all(_is_free(one) for one in {port, port + beside}):
                return port
    raise OSError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free")


def _lock(port: int) -> bool:
    if not _register:
        path = Path(tempfile.gettempdir()) / f"graven-ports-{os.geteuid()}"
        _register.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    try:
        fcntl.lockf(_register[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
