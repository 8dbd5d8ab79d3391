"""Syslog over TLS (RFC 5425): the server's certificate, and the names that a sender's gives it."""

import ssl
from typing import Any

from graven.config import SyslogConfig
from graven.core.errors import BadInput

__all__ = ["certificate_names", "syslog_tls"]


def syslog_tls(config: SyslogConfig) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with the configured files, asking for a certificate if authorities are named; None without.

    Raises BadInput for files that do not fit.
    """
    if config.tls_listen is None or config.tls_cert is None or config.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
        if config.tls_client_ca is not None:
            context.load_verify_locations(config.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise BadInput(
            f"the certificates of syslog cannot be used: {error.strerror or error}",
            place=f"{config.tls_cert}, {config.tls_key}",
            mend="PEM files that belong together, readable by the server: [syslog] tls_cert, tls_key, tls_client_ca",
        ) from None
    return context


def certificate_names(certificate: Any) -> tuple[str, ...]:
    """The names a verified certificate gives its holder: its DNS names, else its common names."""
    if not certificate:
        return ()
    names = tuple(value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS")
    subject = certificate.get("subject", ())
    return names or tuple(value for part in subject for kind, value in part if kind == "commonName")
