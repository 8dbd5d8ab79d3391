"""PAM modules, whatever program they speak through: `pam_unix(sshd:auth): authentication failure; rhost=… user=…`."""

import re

from graven.event.model import Actor, Event, Origin, Target
from graven.ingest.normalize.host_line import HostLine, head_of, plain_event, read_line, said
from graven.ingest.normalize.rules import Rule, Rules
from graven.ingest.record import LIKELY, NO, SURE, Document, Record, Unparsed

__all__ = ["TYPE", "VERSION", "normalise", "recognise"]

TYPE = "pam"
VERSION = 1
KEYS = frozenset({"MESSAGE"})
LINES = True
MARKS = ("pam_", "authentication failure")

_MODULE = re.compile(
    r"(?P<module>pam_\w{1,64})\((?P<service>[^():]{1,128}):(?P<facet>[\w-]{1,32})\): (?P<rest>.*)\Z", re.DOTALL
)
_PAIR = re.compile(r"(?<!\S)(logname|uid|euid|tty|ruser|rhost|user)=(\S*)")
_WHO = r"(?P<target_user>[^\s(]+)(?:\(uid=(?P<target_uid>\d+)\))?"
_BY = r"(?: by (?P<user>[^\s(]+)?\(uid=(?P<uid>\d+)\))?"
_RULES = Rules(
    Rule(
        re.compile(rf"session opened for user {_WHO}{_BY}"),
        "session opened", "login", "authentication", "success",
    ),
    Rule(
        re.compile(rf"session closed for user {_WHO}"),
        "session closed", "logout", "authentication", "success",
    ),
    Rule(
        re.compile(r"password changed for (?P<target_user>\S+)"),
        "password changed", "update", "authentication", "success",
    ),
    Rule(
        re.compile(r"new password not acceptable"),
        "new password not acceptable", "update", "authentication", "denied", "new password not acceptable",
    ),
    Rule(
        re.compile(r"account (?P<target_user>\S+) has expired(?P<detail> \([^)]{1,100}\))?"),
        "account has expired", "login", "authentication", "denied", "account has expired{detail}",
    ),
    Rule(
        re.compile(r"expired password for user (?P<target_user>\S+)"),
        "expired password", "login", "authentication", "denied", "expired password",
    ),
    Rule(
        re.compile(r"access denied for user [`'](?P<target_user>[^']{1,256})'(?: from [`'](?P<device>[^']{1,256})')?"),
        "access denied", "login", "authentication", "denied", "access denied",
    ),
    Rule(
        re.compile(r"check pass; user unknown"),
        "check pass", "login", "authentication", "failure", "user unknown",
    ),
    Rule(
        re.compile(r"(?:user (?P<user>\S+) )?(?P<word>auth could not identify password for) "
                   r"\[(?P<target_user>[^\]]{1,256})\]"),
        "{word}", "login", "authentication", "failure", "no password was given",
    ),
    Rule(
        re.compile(r"Consecutive login failures for user (?P<target_user>\S+) account temporarily locked"),
        "account temporarily locked", "revoke", "authentication", "denied", "consecutive login failures",
    ),
    Rule(
        re.compile(r"requirement \"[^\"]{1,200}\" (?P<word>not met|was met) by user \"(?P<target_user>[^\"]{1,200})\""),
        "requirement {word}", "other", "authentication",
    ),
)  # fmt: skip
_FAILURE = "authentication failure"


def recognise(document: Document) -> int:
    head = head_of(document)
    if head is None or not (_MODULE.match(head.message) or _counts_failures(head.message)):
        return NO
    return SURE if head.app else LIKELY


def normalise(record: Record, document: Document) -> list[Event]:
    line = read_line(record, document)
    if line is None:
        raise Unparsed("not a line of a PAM module", mend="send PAM's lines as text, or as journald's JSON")
    found = _MODULE.match(line.message)
    rest = found["rest"] if found else line.message
    if _counts_failures(rest):
        event = _failure(line, rest)
    else:
        event = _RULES.event(line, rest) or plain_event(
            line, category="authentication", action=found["module"] if found else "pam"
        )
    if found:
        data = event.data if isinstance(event.data, dict) else {}
        event.data = {key: found[key] for key in ("module", "service", "facet") if found[key]} | data
    return [event]


def _counts_failures(message: str) -> bool:
    head = message[:80]
    return head.startswith(_FAILURE) or (head.startswith("PAM ") and f"more {_FAILURE}" in head)


def _failure(line: HostLine, rest: str) -> Event:
    """`authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root`"""
    event = plain_event(line, category="authentication", action=_FAILURE)
    fields = dict(reversed(_PAIR.findall(rest)))  # the first of each counts: a user name stands last
    event.verb, event.outcome, event.reason = "login", "failure", _FAILURE
    tried, asked = said(fields.pop("user", None)), said(fields.pop("ruser", None)) or said(fields.pop("logname", None))
    if asked is not None and tried is not None and asked != tried:
        event.actor = Actor(type="user", name=asked)
        event.targets = [Target(type="user", name=tried)]
    elif tried or asked:
        event.actor = Actor(type="user", name=tried or asked)
    remote = said(fields.pop("rhost", None))
    if remote is not None:
        address = remote.replace(".", "").isdigit() or ":" in remote
        event.origin = Origin(ip=remote) if address else Origin(device=remote)
    if rest.startswith("PAM ") and (count := rest[4:14].split(" ")[0]).isdigit():
        event.count = int(count)
    event.data = {name: value for name, value in fields.items() if said(value) is not None} or None
    return event
