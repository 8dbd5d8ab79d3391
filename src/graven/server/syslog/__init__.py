"""The doors for syslog: UDP, TCP (both framings), TLS with certificates of the senders (RFC 5425).

`stream` is one connection, `losses` what UDP lost, `tls` the certificates, `door` all of them together.
"""

from graven.server.syslog.door import FALLBACK_TYPE, SyslogDoor
from graven.server.syslog.tls import syslog_tls

__all__ = ["FALLBACK_TYPE", "SyslogDoor", "syslog_tls"]
