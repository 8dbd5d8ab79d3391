"""The programs that make and change local accounts: useradd, usermod, userdel, groupadd, passwd, chage and their
kin."""

import re

from graven.event.model import Event
from graven.ingest.normalize.host_line import HostLine, fits_program, plain_event, read_line
from graven.ingest.normalize.rules import Rule, Rules
from graven.ingest.record import Document, Record, Unparsed

__all__ = ["TYPE", "VERSION", "event_of", "normalise", "recognise"]

TYPE = "accounts"
VERSION = 1
KEYS = frozenset({"MESSAGE"})
LINES = True

PROGRAMS = frozenset(
    [
        "useradd",
        "usermod",
        "userdel",
        "groupadd",
        "groupmod",
        "groupdel",
        "groupmems",
        "gpasswd",
        "passwd",
        "chpasswd",
        "chgpasswd",
        "chage",
        "chfn",
        "chsh",
        "newusers",
        "newgrp",
        "pwck",
        "grpck",
        "vipw",
        "vigr",
        "adduser",
        "deluser",
    ]
)
_USER = r"'(?P<target_user>[^']{1,256})'"
_GROUP = r"'(?P<target_group>[^']{1,256})'"
_RULES = Rules(
    Rule(
        re.compile(
            r"new user: name=(?P<target_user>[^,]+), UID=(?P<new_uid>\d+), GID=(?P<new_gid>\d+), home=(?P<home>[^,]*),"
            r" shell=(?P<shell>[^,]*)(?:, from=(?P<tty>\S*))?"
        ),
        "new user", "create", "permission", "success",
    ),
    Rule(
        re.compile(r"(?P<word>new group|group added to [^:]{1,64}): name=(?P<target_group>[^,\s]+)(?:, "
                   r"GID=(?P<new_gid>\d+))?"),
        "{word}", "create", "permission", "success",
    ),
    Rule(
        re.compile(r"failed adding (?P<kind>user|group) '(?P<target_user>[^']{1,256})'(?:, (?P<reason>.{1,200}))?"),
        "failed adding {kind}", "create", "permission", "failure",
    ),
    Rule(
        re.compile(rf"add {_USER} to (?P<word>shadow group|group) {_GROUP}"),
        "add to {word}", "grant", "permission", "success",
    ),
    Rule(
        re.compile(rf"delete {_USER} from (?P<word>shadow group|group) {_GROUP}"),
        "delete from {word}", "revoke", "permission", "success",
    ),
    Rule(re.compile(rf"delete user {_USER}"), "delete user", "delete", "permission", "success"),
    Rule(
        re.compile(rf"removed (?P<word>shadow group|group) {_GROUP} owned by '(?P<owner>[^']{{1,256}})'"),
        "removed {word}", "delete", "permission", "success",
    ),
    Rule(
        re.compile(rf"group {_GROUP} removed(?: from (?P<file>\S+))?"),
        "group removed", "delete", "permission", "success",
    ),
    Rule(
        re.compile(r"(?P<word>lock|unlock) user '(?P<target_user>[^']{1,256})' password"),
        "{word} user", "update", "permission", "success",
    ),
    Rule(
        re.compile(rf"change user {_USER} (?P<what>[^']{{1,64}}?) from '(?P<old>[^']{{0,4096}})' to "
                   rf"'(?P<new>[^']{{0,4096}})'"),
        "change user {what}", "update", "permission", "success",
    ),
    Rule(
        re.compile(rf"change user name {_USER} to '(?P<new>[^']{{1,256}})'"),
        "change user name", "update", "permission", "success",
    ),
    Rule(
        re.compile(rf"change user {_USER} (?P<what>.{{1,64}})"),
        "change user {what}", "update", "permission", "success",
    ),
    Rule(
        re.compile(r"group changed in (?P<file>\S+) \(group (?P<target_group>[^/,)\s]+)(?:/(?P<gid>\d+))?(?:, "
                   r"(?P<change>[^)]{1,500}))?\)"),
        "group changed", "update", "permission", "success",
    ),
    Rule(
        re.compile(rf"change {_USER} to '(?P<new>[^']{{1,256}})' in (?P<word>shadow group|group) {_GROUP}"),
        "change in {word}", "update", "permission", "success",
    ),
    Rule(re.compile(rf"change GID for {_GROUP} to (?P<new_gid>\d+)"), "change GID", "update", "permission", "success"),
    Rule(
        re.compile(r"user (?P<target_user>\S+) added by (?P<user>\S+) to group (?P<target_group>\S+)"),
        "user added to group", "grant", "permission", "success",
    ),
    Rule(
        re.compile(r"user (?P<target_user>\S+) removed by (?P<user>\S+) from group (?P<target_group>\S+)"),
        "user removed from group", "revoke", "permission", "success",
    ),
    Rule(
        re.compile(r"members of group (?P<target_group>\S+) set by (?P<user>\S+) to (?P<members>.{0,4096})", re.DOTALL),
        "members of group set", "grant", "permission", "success",
    ),
    Rule(
        re.compile(r"(?:password|Password) for '?(?P<target_user>[^'\s]+)'? (?P<word>changed|removed) by "
                   r"'?(?P<user>[^'\s]+)'?"),
        "password {word}", "update", "authentication", "success",
    ),
    Rule(
        re.compile(r"(?:changed|change) password expiry for (?P<target_user>\S+)"),
        "changed password expiry", "update", "authentication", "success",
    ),
    Rule(
        re.compile(r"changed user '(?P<target_user>[^']{1,256})' (?P<what>information|shell)(?: to "
                   r"'(?P<new>[^']{0,4096})')?"),
        "changed user {what}", "update", "permission", "success",
    ),
)  # fmt: skip


def recognise(document: Document) -> int:
    return fits_program(document, PROGRAMS, ("new user: name=", "new group: name=", "delete user '"))


def normalise(record: Record, document: Document) -> list[Event]:
    line = read_line(record, document)
    if line is None:
        raise Unparsed("not a line of an account tool", mend="send its lines as text, or as journald's JSON")
    return [event_of(line)]


def event_of(line: HostLine) -> Event:
    """The event of a line of an account tool."""
    return _RULES.event(line) or plain_event(line, category="permission")
