"""Sockets as the doors need them: datagrams read in numbers, with what the kernel knows of their senders and losses.

Linux: SO_RXQ_OVFL counts what a socket dropped since it was made; SO_PEERCRED and SCM_CREDENTIALS name the process at
the other end of a Unix socket, as the kernel knows it (root may name another).
"""

import os
import socket
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Credentials", "Datagram", "Datagrams", "bind_udp", "bind_unix", "peer_credentials"]

UDP_BUFFER_BYTES = 8 << 20

_DATAGRAM_BYTES_MAX = 65_535
_SO_RXQ_OVFL, _SO_RCVBUFFORCE = 40, 33  # Linux; the socket module does not name them
_ANCILLARY_BYTES = 128
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


@dataclass(frozen=True, slots=True)
class Credentials:
    """A process as the kernel knows it."""

    pid: int
    uid: int


@dataclass(frozen=True, slots=True)
class Datagram:
    """`address` is the sender's, "" over a Unix socket; `credentials` of a Unix socket's sender. `is_cut`: the rest is
    gone, for there was more than may be read at once."""

    data: bytes
    address: str = ""
    credentials: Credentials | None = None
    is_cut: bool = False


class Datagrams:
    """A bound, non-blocking datagram socket. `lost` counts what the kernel dropped, as far as it is known."""

    def __init__(self, bound: socket.socket, *, bytes_max: int = _DATAGRAM_BYTES_MAX) -> None:
        self.socket, self._bytes_max = bound, bytes_max
        self.lost = 0
        self._total = 0

    def read(self, count_max: int) -> Sequence[Datagram]:
        """What waits, at most so many. Raises OSError for anything but there being nothing."""
        found: list[Datagram] = []
        total = None
        for _ in range(count_max):
            try:
                data, ancillary, flags, address = self.socket.recvmsg(self._bytes_max, _ANCILLARY_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                if found:
                    break
                raise
            credentials = None
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL:
                    total = int.from_bytes(value[:4], "little")
                elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    pid, uid, _ = _CREDENTIALS.unpack(value[: _CREDENTIALS.size])
                    credentials = Credentials(pid, uid)
            sender = address[0] if isinstance(address, tuple) else ""
            found.append(Datagram(data, sender, credentials, bool(flags & socket.MSG_TRUNC)))
        if total is not None:
            self.lost += (total - self._total) & 0xFFFF_FFFF  # it counts in 32 bits
            self._total = total
        return found

    def close(self) -> None:
        self.socket.close()


def bind_udp(address: Any, family: int) -> socket.socket:
    """A UDP socket there, with a large buffer that counts what it drops. Raises OSError."""
    udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _enlarge(udp)
        udp.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        udp.bind(address)
    except OSError:
        udp.close()
        raise
    return udp


def bind_unix(path: Path, kind: int, mode: int) -> socket.socket:
    """A Unix socket there (SOCK_DGRAM or SOCK_STREAM) which those whom `mode` lets may use. One that is left over from
    before goes; anything else in its place is left alone. A datagram's sender is named by the kernel.

    Raises OSError.
    """
    bound = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if kind == socket.SOCK_DGRAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            _enlarge(bound)
        _clear_away(path, kind)
        os.fchmod(bound.fileno(), 0o600)  # before it has a name: there is no moment in which others may use it
        bound.bind(str(path))
        path.chmod(mode)
        if kind == socket.SOCK_STREAM:
            bound.listen(512)
    except OSError:
        bound.close()
        raise
    return bound


def peer_credentials(connection: Any) -> Credentials:
    """The process at the other end of a connected Unix socket, as it was when it connected."""
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Credentials(pid, uid)


def _enlarge(bound: socket.socket) -> None:
    try:
        bound.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, UDP_BUFFER_BYTES)
    except OSError:  # only root may go beyond the system's limit
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)


def _clear_away(path: Path, kind: int) -> None:
    """Remove a socket that nobody listens on. Raises OSError: somebody does, or it is no socket."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(17, "there is a file in its place", str(path))
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass
    raise OSError(98, "another process listens there", str(path))
