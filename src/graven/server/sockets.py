"""What a server listens on: bound before anything is signed, so that a port that is taken refuses the start."""

import contextlib
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from graven.config import Config, SyslogConfig, parse_listen
from graven.core.errors import BadInput, Broken
from graven.runtime import serving
from graven.runtime.sockets import bind_udp
from graven.server.control_client import SOCKET_NAME

__all__ = ["BACKLOG", "SyslogSockets", "bind", "bind_control", "bind_syslog", "tls_context"]

BACKLOG = 2048


def bind(listen: str) -> socket.socket:
    """A TCP socket bound to HOST:PORT. Raises BadInput: no address, a port that is taken or not allowed."""
    host, port = parse_listen(listen)
    return serving.bind(host, port, backlog=BACKLOG, mend="stop what listens there, or give --listen HOST:PORT")


@dataclass(frozen=True, slots=True)
class SyslogSockets:
    """The bound sockets of syslog; None where the configuration asks for none."""

    tcp: socket.socket | None = None
    udp: socket.socket | None = None
    tls: socket.socket | None = None


def bind_syslog(config: SyslogConfig, bound: contextlib.ExitStack) -> SyslogSockets:
    """The sockets of syslog; `bound` closes them. Raises BadInput as `bind`.

    UDP and TCP share a port; where any free one will do, UDP takes the one that TCP was given.
    """
    tcp = udp = tls = None
    if config.listen is not None:
        tcp = bound.enter_context(bind(config.listen))
        address = tcp.getsockname()
        try:
            udp = bound.enter_context(bind_udp(address, tcp.family))
        except OSError as error:
            raise BadInput(
                f"UDP port {address[1]} of {address[0]} cannot be used: {error.strerror}",
                place=config.listen,
                mend="stop what listens there, or give --syslog HOST:PORT",
            ) from None
    if config.tls_listen is not None:
        tls = bound.enter_context(bind(config.tls_listen))
    return SyslogSockets(tcp, udp, tls)


def tls_context(config: Config) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with the configured files; None without. Raises BadInput for files that do not fit."""
    cert, key = config.server.tls_cert, config.server.tls_key
    if cert is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise BadInput(
            f"certificate and key cannot be used: {error.strerror or error}",
            place=f"{cert}, {key}",
            mend="PEM files that belong together, readable by the server: [server] tls_cert, tls_key",
        ) from None
    return context


def bind_control(state: Path) -> socket.socket:
    """The control socket, mode 0600, in place of any that a server left behind. The log's lock must be held."""
    folder = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET_NAME, dir_fd=folder)
        os.fchmod(listener.fileno(), 0o600)  # before it has a name: there is no moment in which others may connect
        listener.bind(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Broken("the control socket cannot be made", place=f"{state / SOCKET_NAME}: {error.strerror}") from None
    finally:
        os.close(folder)
    return listener
