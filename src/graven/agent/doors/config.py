"""The doors' part of an agent's configuration: where they are, who may use them, their bounds."""

from ipaddress import ip_address
from typing import Annotated

from msgspec import Meta, field

from graven.agent.section import FilePath, Label, Name, Section, Type
from graven.core.errors import BadInput

__all__ = ["HttpConfig", "SyslogConfig", "check_door", "parse_address"]

_KIB, _MIB = 1 << 10, 1 << 20
_Mode = Annotated[str, Meta(pattern=r"\A0[0-7]{3}\Z")]


class SyslogConfig(Section, frozen=True, kw_only=True):
    """Syslog of this host: a port of loopback (UDP and TCP), or a Unix socket as /dev/log is one."""

    name: Annotated[Name, Meta(description="its name")]
    listen: Annotated[str | None, Meta(description="loopback address and port, UDP and TCP")] = None
    socket: Annotated[FilePath | None, Meta(description="path of a Unix datagram socket, instead")] = None
    mode: Annotated[_Mode, Meta(description="of the socket: who may write to it")] = "0666"
    type: Annotated[Type, Meta(description='source type of its records; "" lets it be found')] = ""
    max_message_bytes: Annotated[
        int, Meta(ge=480, le=_MIB, description="of a longer message the beginning is kept, with size and hash")
    ] = 64 * _KIB
    max_connections: Annotated[int, Meta(ge=1, le=4096, description="TCP connections at once")] = 256
    labels: Annotated[dict[Label, Label], Meta(max_length=32, description="said of each of its records")] = field(
        default_factory=dict
    )


class HttpConfig(Section, frozen=True, kw_only=True):
    """Records of this host over HTTP: a port of loopback, guarded by a token, or a Unix socket."""

    name: Annotated[Name, Meta(description="its name")]
    listen: Annotated[str | None, Meta(description="loopback address and port; needs token_file")] = None
    socket: Annotated[FilePath | None, Meta(description="path of a Unix socket, instead")] = None
    mode: Annotated[_Mode, Meta(description="of the socket: who may connect")] = "0660"
    token_file: Annotated[
        FilePath | None, Meta(description="file (mode 0600) with the secret that senders show, 16 characters or more")
    ] = None
    max_request_bytes: Annotated[int, Meta(ge=_KIB, le=4 * _MIB, description="of one request, decompressed")] = 4 * _MIB
    max_connections: Annotated[int, Meta(ge=1, le=4096, description="connections at once")] = 256
    labels: Annotated[dict[Label, Label], Meta(max_length=32, description="said of each of its records")] = field(
        default_factory=dict
    )


def check_door(config: SyslogConfig | HttpConfig, *, place: str) -> None:
    """Raises BadInput: not exactly one place to listen at, another machine could reach it, or nobody is kept out."""
    if (config.listen is None) is (config.socket is None):
        raise BadInput("a port or a socket", place=place, mend="give one of listen and socket")
    if config.listen is None:
        return
    host, _ = parse_address(config.listen, place=place)
    if not ip_address(host).is_loopback:
        raise BadInput(
            f"{host} is not this host's own address",
            place=place,
            mend="127.0.0.1 or [::1]: other machines send to the server's own doors, which know who they are",
        )
    if isinstance(config, HttpConfig) and config.token_file is None:
        raise BadInput(
            "a port of loopback is open to every user of the host, and to pages in their browsers",
            place=place,
            mend="give token_file, or a socket with a mode",
        )


def parse_address(listen: str, *, place: str) -> tuple[str, int]:
    """(address, port) of `HOST:PORT`. Raises BadInput."""
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]").replace("localhost", "127.0.0.1")
    try:
        ip_address(host)
    except ValueError:
        colon = ""
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise BadInput(f"{listen[:64]!r} is not an address", place=place, mend="ADDRESS:PORT, as 127.0.0.1:5514")
    return host, int(port)
