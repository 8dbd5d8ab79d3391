"""OpenSSH's server, as it writes to syslog or the journal.

A client chooses the user name it fails with, so a name may look like the rest of a message: the address is the last one
in the line, never the first.
"""

import re

from graven.event.model import Event
from graven.ingest.normalize.host_line import HostLine, fits_program, plain_event, read_line
from graven.ingest.normalize.rules import Rule, Rules
from graven.ingest.record import Document, Record, Unparsed

__all__ = ["TYPE", "VERSION", "event_of", "normalise", "recognise"]

TYPE = "sshd"
VERSION = 1
KEYS = frozenset({"MESSAGE"})
LINES = True

PROGRAMS = frozenset({"sshd", "sshd-session", "sshd-auth"})
_STARTS = ("Accepted ", "Failed password for ", "Failed publickey for ", "Invalid user ", "Received disconnect from ")

_FROM = r"from (?P<ip>\S+) port (?P<port>\d+)"
_END = r"(?: (?:ssh2|ssh1))?(?: \[preauth\])?\Z"


def _re(pattern: str) -> "re.Pattern[str]":
    return re.compile(pattern, re.ASCII | re.DOTALL)


_RULES = Rules(
    Rule(
        _re(
            rf"Accepted (?P<method>\S+) for (?P<user>\S+) {_FROM} *(?P<protocol>ssh\d)?"
            r"(?:: (?P<key_type>\S+) (?P<credential>\S+)(?P<certificate> .*)?)?\Z"
        ),
        "Accepted {method}", "login", "authentication", "success",
    ),
    Rule(
        _re(rf"Failed (?P<method>\S+) for invalid user (?P<user>.*) {_FROM}(?: ssh2)?(?:: (?P<key_type>\S+) "
            rf"(?P<credential>\S+))?\Z"),
        "Failed {method}", "login", "authentication", "failure", "invalid user",
    ),
    Rule(
        _re(rf"Failed (?P<method>\S+) for (?P<user>.*) {_FROM}(?: ssh2)?(?:: (?P<key_type>\S+) "
            rf"(?P<credential>\S+))?\Z"),
        "Failed {method}", "login", "authentication", "failure", "failed {method}",
    ),
    Rule(
        _re(rf"Postponed (?P<method>\S+) for (?:invalid user )?(?P<user>.*) {_FROM}{_END}"),
        "Postponed {method}", "login", "authentication",
    ),
    Rule(
        _re(rf"(?P<word>Invalid|Illegal) user (?P<user>.*) {_FROM}{_END}"),
        "{word} user", "login", "authentication", "failure", "invalid user",
    ),
    Rule(
        _re(r"(?P<word>Invalid|Illegal) user (?P<user>.*) from (?P<ip>\S+)\Z"),
        "{word} user", "login", "authentication", "failure", "invalid user",
    ),
    Rule(
        _re(r"User (?P<user>.*) from (?P<ip>\S+) not allowed because (?P<reason>.*)\Z"),
        "User not allowed", "login", "authentication", "denied",
    ),
    Rule(
        _re(rf"(?:error: )?maximum authentication attempts exceeded for (?:invalid user )?(?P<user>.*) {_FROM}{_END}"),
        "maximum authentication attempts exceeded", "login", "authentication", "denied",
        "maximum authentication attempts exceeded",
    ),
    Rule(
        _re(r"error: PAM: (?P<reason>[^\n]{1,200}?) for (?:illegal user )?(?P<user>.*) from (?P<ip>\S+)\Z"),
        "PAM: {reason}", "login", "authentication", "failure",
    ),
    Rule(
        _re(rf"(?P<word>Connection closed by|Connection reset by|Disconnected from|Disconnecting) "
            rf"(?P<state>authenticating|invalid) user (?P<user>.*) (?P<ip>\S+) port (?P<port>\d+)(?:: "
            rf"(?P<reason>.*?))?{_END}"),
        "{word}", "login", "authentication", "failure", "connection ended before authentication",
    ),
    Rule(
        _re(r"(?P<word>Disconnected from) user (?P<user>.*) (?P<ip>\S+) port (?P<port>\d+)\Z"),
        "{word}", "logout", "authentication", "success",
    ),
    Rule(
        _re(rf"(?P<word>Connection closed by|Connection reset by|Disconnected from) (?P<ip>\S+) port "
            rf"(?P<port>\d+){_END}"),
        "{word}", "other", "network",
    ),
    Rule(
        _re(r"Received disconnect from (?P<ip>\S+)(?: port (?P<port>\d+))?:(?P<code>\d+): (?P<reason>.*)\Z"),
        "Received disconnect", "logout", "authentication",
    ),
    Rule(
        _re(rf"Connection {_FROM}(?: on (?P<local_ip>\S+) port (?P<local_port>\d+))?(?: rdomain .*)?\Z"),
        "Connection", "other", "network",
    ),
    Rule(
        _re(rf"Starting session: (?P<session_kind>[^\n]*) for (?P<user>\S+) {_FROM} id (?P<channel>\d+)\Z"),
        "Starting session", "execute", "execution", "success",
    ),
    Rule(
        _re(rf"Close session: user (?P<user>\S+) {_FROM} id (?P<channel>\d+)\Z"),
        "Close session", "other", "execution", "success",
    ),
    Rule(
        _re(r"subsystem request for (?P<subsystem>\S+) by user (?P<user>.*)\Z"),
        "subsystem request", "execute", "execution",
    ),
    Rule(
        _re(r"(?:fatal: )?Timeout before authentication for (?:connection from )?(?P<ip>[^\s,]+)(?: port "
            r"(?P<port>\d+)|[ ,]|\Z)"),
        "Timeout before authentication", "login", "authentication", "failure", "timeout before authentication",
    ),
    Rule(
        _re(rf"Did not receive identification string {_FROM}\Z"),
        "Did not receive identification string", "other", "network", "failure",
    ),
    Rule(
        _re(r"(?:error: )?Unable to negotiate with (?P<ip>\S+) port (?P<port>\d+): (?P<reason>.*?)(?: \[preauth\])?\Z"),
        "Unable to negotiate", "login", "authentication", "failure",
    ),
    Rule(
        _re(rf"(?:error: )?(?:kex_exchange_identification|banner exchange): Connection {_FROM}: (?P<reason>.*)\Z"),
        "banner exchange", "other", "network", "failure",
    ),
    Rule(
        _re(r"reverse mapping checking getaddrinfo for (?P<device>\S+) \[(?P<ip>[^\]]*)\] failed"),
        "reverse mapping failed", "other", "network", "failure",
    ),
    Rule(
        _re(r"Server listening on (?P<address>\S+) port (?P<port>\d+)\.?\Z"),
        "Server listening", "execute", "system", "success",
    ),
    Rule(_re(r"Received signal (?P<signal>\d+); (?P<word>.*?)\.?\Z"), "Received signal", "execute", "system"),
    Rule(_re(r"Exiting on signal (?P<signal>\d+)\.?\Z"), "Exiting on signal", "execute", "system"),
)  # fmt: skip


def recognise(document: Document) -> int:
    return fits_program(document, PROGRAMS, _STARTS)


def normalise(record: Record, document: Document) -> list[Event]:
    line = read_line(record, document)
    if line is None:
        raise Unparsed("not a line of sshd", mend="send sshd's lines as text, or as journald's JSON")
    return [event_of(line)]


def event_of(line: HostLine) -> Event:
    """The event of a line of sshd."""
    return _RULES.event(line) or plain_event(line, category="authentication", action="sshd")
