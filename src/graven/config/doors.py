"""What can be configured of the doors for syslog and webhooks. The other protocols need no configuration."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from msgspec import Meta

from graven.config.section import AnyPath, Section
from graven.core.errors import BadInput

__all__ = ["SyslogConfig", "WebhookConfig", "parse_senders"]

_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)

_KIB, _MIB = 1 << 10, 1 << 20
_SourceName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")]


class SyslogConfig(Section, frozen=True, kw_only=True):
    """Syslog: off unless an address is given. Its senders prove nothing, but for TLS with certificates of their own."""

    listen: Annotated[
        str | None, Meta(description="address and port for UDP and TCP; `graven serve --syslog` goes before it")
    ] = None
    tls_listen: Annotated[
        str | None, Meta(description="address and port for syslog over TLS (RFC 5425; the port is 6514)")
    ] = None
    tls_cert: Annotated[
        AnyPath | None, Meta(description="PEM file with the certificate chain shown to senders; needed by tls_listen")
    ] = None
    tls_key: Annotated[AnyPath | None, Meta(description="PEM file with the private key of tls_cert")] = None
    tls_client_ca: Annotated[
        AnyPath | None,
        Meta(
            description="PEM file of the authorities whose certificates senders must show; without it, any sender may"
        ),
    ] = None
    source: Annotated[
        _SourceName,
        Meta(description="the source of messages whose sender `sources` does not name; registered at start"),
    ] = "syslog"
    sources: Annotated[
        tuple[str, ...],
        Meta(
            max_length=1000,
            description='who is which source, the first that fits: "cert:NAME=SOURCE" by a name in the certificate '
            '(DNS, else the common name), "ADDRESS=SOURCE" or "NETWORK/BITS=SOURCE" by address',
        ),
    ] = ()
    max_message_bytes: Annotated[
        int,
        Meta(
            ge=480,
            le=_MIB,
            description="a longer message is kept as its first 64 KiB, with its size and hash, in quarantine",
        ),
    ] = 256 * _KIB
    max_connections: Annotated[
        int, Meta(ge=1, le=100_000, description="open connections; further ones are closed at once")
    ] = 1_000
    idle_s: Annotated[
        int, Meta(ge=10, le=7 * 86_400, description="a connection from which nothing came for so long is closed")
    ] = 3_600


class WebhookConfig(Section, frozen=True, kw_only=True):
    """A webhook, at /ingest/webhook/NAME. Who signs with the secret may send; there is no token."""

    kind: Annotated[
        Literal["github", "gitlab", "standard", "hmac"],
        Meta(description="how requests are signed; `hmac`: as the keys below say"),
    ]
    secret_files: Annotated[
        tuple[AnyPath, ...],
        Meta(
            min_length=1, max_length=4,
            description="files (mode 0600), each with a secret; any of them will do, so that one can be replaced",
        ),
    ]  # fmt: skip
    source: Annotated[
        _SourceName | None, Meta(description="the source of its events, registered at start; without it, NAME")
    ] = None
    type: Annotated[str, Meta(max_length=64, description="the source type of its records; without it, detected")] = ""
    header: Annotated[str, Meta(max_length=128, description="hmac: the header with the signature")] = ""
    prefix: Annotated[str, Meta(max_length=32, description="hmac: what stands before the signature in it")] = ""
    encoding: Annotated[Literal["hex", "base64"], Meta(description="hmac: how the signature is written")] = "hex"
    digest: Annotated[Literal["sha256", "sha512", "sha1"], Meta(description="hmac: the hash function")] = "sha256"
    signed: Annotated[str, Meta(max_length=128, description="hmac: what is signed, of {timestamp} and {body}")] = (
        "{body}"
    )
    timestamp_header: Annotated[
        str,
        Meta(max_length=128, description="hmac: the header with the signed time (seconds since 1970), if there is one"),
    ] = ""
    tolerance_s: Annotated[
        int, Meta(ge=1, le=3_600, description="how far a signed time may be from ours; older requests are refused")
    ] = 300
    replay_s: Annotated[
        int,
        Meta(
            ge=0, le=30 * 86_400, description="for how long the same signed request is answered, but not stored again"
        ),
    ] = 86_400


def parse_senders(lines: Sequence[str]) -> list[tuple[str | IPv4Network | IPv6Network, str]]:
    """(a name in a certificate, or a network; its source) of each line of `[syslog] sources`. Raises BadInput."""
    found: list[tuple[str | IPv4Network | IPv6Network, str]] = []
    for line in lines:
        who, _, source = line.rpartition("=")
        try:
            if not _SOURCE.fullmatch(source) or who == "cert:":
                raise ValueError
            found.append((who[5:] if who.startswith("cert:") else ip_network(who, strict=False), source))
        except ValueError:
            raise BadInput(
                f"[syslog] sources holds {line[:80]!r}, which names nobody",
                mend='"cert:NAME=SOURCE", "ADDRESS=SOURCE" or "NETWORK/BITS=SOURCE"',
            ) from None
    return found
