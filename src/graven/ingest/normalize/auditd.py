"""Linux audit: the records of one event (same stamp) are one event here; their fields stay under `data.records`.

The actor is the login user (`auid`), which survives su and sudo; where nobody is logged in it is the process's user, or
the account that is being tried. Records that lost their neighbours become events of their own, under ids that differ
from the whole one's.
"""

import posixpath
from collections.abc import Iterable, Sequence
from errno import errorcode
from typing import Any

from graven.event.model import Actor, Category, Event, Origin, Outcome, Target, Verb
from graven.ingest.fields import TEXT_MAX
from graven.ingest.normalize.auditd_record import AuditRecord, parse_address, parse_record
from graven.ingest.normalize.auditd_syscalls import ARCHITECTURES, syscall_name
from graven.ingest.normalize.host_line import said
from graven.ingest.protocol.syslog_header import parse_header
from graven.ingest.record import NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time

__all__ = ["TYPE", "VERSION", "normalise", "recognise"]

TYPE = "auditd"
VERSION = 1
KEYS = frozenset({"raw_msg"})
LINES = True
MARKS = ("audit(", "type=")

_LINES_MAX = 2_000
_UNSET = frozenset({"4294967295", "-1", "unset", "?"})
_NOBODY = "4294967295"

_Kind = tuple[Verb, Category]
_KINDS: dict[str, _Kind] = {
    "USER_AUTH": ("login", "authentication"),
    "USER_ACCT": ("login", "authentication"),
    "USER_LOGIN": ("login", "authentication"),
    "USER_ERR": ("login", "authentication"),
    "USER_START": ("login", "authentication"),
    "LOGIN": ("login", "authentication"),
    "USER_END": ("logout", "authentication"),
    "USER_LOGOUT": ("logout", "authentication"),
    "CRED_ACQ": ("other", "authentication"),
    "CRED_REFR": ("other", "authentication"),
    "CRED_DISP": ("other", "authentication"),
    "CRYPTO_KEY_USER": ("other", "authentication"),
    "CRYPTO_SESSION": ("other", "network"),
    "USER_CHAUTHTOK": ("update", "authentication"),
    "USER_CMD": ("execute", "execution"),
    "USER_TTY": ("execute", "execution"),
    "TTY": ("execute", "execution"),
    "EXECVE": ("execute", "execution"),
    "PROCTITLE": ("execute", "execution"),
    "BPRM_FCAPS": ("execute", "permission"),
    "SECCOMP": ("other", "execution"),
    "ADD_USER": ("create", "permission"),
    "DEL_USER": ("delete", "permission"),
    "ADD_GROUP": ("create", "permission"),
    "DEL_GROUP": ("delete", "permission"),
    "USER_MGMT": ("update", "permission"),
    "GRP_MGMT": ("update", "permission"),
    "GRP_CHAUTHTOK": ("update", "authentication"),
    "CHGRP_ID": ("update", "permission"),
    "CHUSER_ID": ("update", "permission"),
    "ACCT_LOCK": ("revoke", "permission"),
    "ACCT_UNLOCK": ("grant", "permission"),
    "ROLE_ASSIGN": ("grant", "permission"),
    "ROLE_REMOVE": ("revoke", "permission"),
    "ROLE_MODIFY": ("update", "permission"),
    "USER_ROLE_CHANGE": ("update", "permission"),
    "AVC": ("other", "permission"),
    "USER_AVC": ("other", "permission"),
    "SELINUX_ERR": ("other", "permission"),
    "MAC_STATUS": ("configure", "permission"),
    "MAC_CONFIG_CHANGE": ("configure", "permission"),
    "MAC_POLICY_LOAD": ("configure", "permission"),
    "CONFIG_CHANGE": ("configure", "admin"),
    "DAEMON_START": ("execute", "admin"),
    "DAEMON_END": ("execute", "admin"),
    "DAEMON_ABORT": ("other", "admin"),
    "DAEMON_CONFIG": ("configure", "admin"),
    "DAEMON_ROTATE": ("configure", "admin"),
    "FEATURE_CHANGE": ("configure", "admin"),
    "USYS_CONFIG": ("configure", "system"),
    "SERVICE_START": ("execute", "system"),
    "SERVICE_STOP": ("execute", "system"),
    "SYSTEM_BOOT": ("execute", "system"),
    "SYSTEM_SHUTDOWN": ("execute", "system"),
    "SYSTEM_RUNLEVEL": ("configure", "system"),
    "KERN_MODULE": ("configure", "system"),
    "NETFILTER_CFG": ("configure", "network"),
    "SOCKADDR": ("other", "network"),
    "PATH": ("other", "data"),
}
_SYSCALLS: tuple[tuple[_Kind, str], ...] = (
        (("execute", "execution"), "execve execveat ptrace kill tkill tgkill"),
        (("delete", "data"), "unlink unlinkat rmdir"),
        (("update", "data"), "rename renameat renameat2 truncate ftruncate"),
        (("create", "data"), "creat mkdir mkdirat mknod mknodat link linkat symlink symlinkat"),
        (("update", "permission"), "chmod fchmod fchmodat chown fchown lchown fchownat setxattr lsetxattr fsetxattr"
         " removexattr lremovexattr fremovexattr setuid setgid setreuid setregid setresuid setresgid"
         " setfsuid setfsgid capset"),
        (("other", "network"), "connect accept accept4 bind listen socket sendto sendmsg recvfrom recvmsg socketcall"),
        (("configure", "system"), "init_module finit_module delete_module mount umount umount2 settimeofday adjtimex"
         " clock_settime clock_adjtime sethostname setdomainname reboot swapon swapoff bpf kexec_load"),
)  # fmt: skip
_SYSCALL_WORDS = tuple((kind, frozenset(words.split())) for kind, words in _SYSCALLS)
_OPEN = {"open": "a1", "openat": "a2"}
_BESIDE = frozenset(
    [
        "PATH",
        "CWD",
        "EXECVE",
        "PROCTITLE",
        "SOCKADDR",
        "BPRM_FCAPS",
        "EOE",
        "MMAP",
        "FD_PAIR",
        "OBJ_PID",
        "IPC",
        "IPC_SET_PERM",
        "CAPSET",
        "SOCKETCALL",
        "AVC",
        "NETFILTER_CFG",
        "KERN_MODULE",
        "BPF",
        "SECCOMP",
        "OPENAT2",
        "URINGOP",
        "TIME_INJOFFSET",
        "TIME_ADJNTPVAL",
        "FANOTIFY",
    ]
)
"""Types that come beside a SYSCALL: alone, they are a part of an event, and not all of it."""


def recognise(document: Document) -> int:
    if isinstance(document, str):
        head = document[:400]
        return SURE if ("audit(" in head and parse_record(document[:600])) or head.startswith("type=") else NO
    return SURE if _is_rendering(document) else NO


def normalise(record: Record, document: Document) -> list[Event]:
    lines = _lines(document)
    groups: dict[object, list[AuditRecord]] = {}
    for number, line in enumerate(lines):
        parsed = parse_record(line)
        if parsed is None:
            raise Unparsed("the line is no audit record", mend="send lines as auditd writes them, type=… msg=audit(…)")
        groups.setdefault((parsed.node, parsed.stamp) if parsed.stamp else number, []).append(parsed)
    if not groups:
        raise Unparsed("there is no audit record")
    hostname = parse_header(lines[0]).hostname or record.around.get("syslog.hostname", "")
    return [_event(records, hostname) for records in groups.values()]


def _is_rendering(document: object) -> bool:
    return isinstance(document, dict) and isinstance(document.get("raw_msg"), str) and "record_type" in document


def _lines(document: object) -> list[str]:
    if isinstance(document, dict) and _is_rendering(document):
        return [f"type={str(document['record_type']).upper()} msg={document['raw_msg']}"]
    if not isinstance(document, str):
        raise Unparsed("not audit records", mend="send lines as auditd writes them")
    lines = [line for line in document.split("\n") if line.strip()]
    if len(lines) > _LINES_MAX:
        raise Unparsed(f"more than {_LINES_MAX} audit records stand together")
    return lines


def _event(records: Sequence[AuditRecord], hostname: str) -> Event:
    main = _main(records)
    fields = _joined(records, main)
    syscall = _syscall(main) if main.type == "SYSCALL" else None
    verb, category = _kind(main, syscall, records)
    outcome, reason = _outcome(main, records)
    node = main.node or hostname
    event = Event(
        action=_action(main, syscall),
        verb=verb,
        category=category,
        outcome=outcome,
        reason=reason,
        id=_id(records, node),
        time=read_time(main.time),
        actor=_actor(main, fields),
        targets=_targets(main, fields, records) or None,
        origin=_origin(fields),
        labels={
            name: value[:TEXT_MAX]
            for name, value in (("auditd.node", node), ("auditd.key", said(fields.get("key")) or ""))
            if value
        }
        or None,
        data={"records": [_shown(one) for one in records]},
    )
    event.message = _command(fields, records)
    return event


def _main(records: Sequence[AuditRecord]) -> AuditRecord:
    for one in records:
        if one.type == "SYSCALL":
            return one
    return next((one for one in records if one.type not in _BESIDE), records[0])


def _joined(records: Sequence[AuditRecord], main: AuditRecord) -> dict[str, str]:
    """The main record's fields, and those of the others where it has none of that name."""
    fields = dict(main.fields)
    for one in records:
        if one is not main and one.type not in ("PATH", "EXECVE"):
            for name, value in one.fields.items():
                fields.setdefault(name, value)
    return fields


def _id(records: Sequence[AuditRecord], node: str) -> str | None:
    """Node and stamp; of a part of an event, with the types of its records, lest it pass for the whole."""
    stamp = records[0].stamp
    if not stamp:
        return None
    id_ = f"{node}/{stamp}" if node else stamp
    if any(one.type not in _BESIDE for one in records):
        return id_
    parts = [f"{one.type}{one.fields.get('item', '')}" for one in records]
    return f"{id_}/{'+'.join(parts)}"


def _syscall(main: AuditRecord) -> str:
    number = main.fields.get("syscall", "")
    named = main.names.get("SYSCALL")
    return named or syscall_name(main.fields.get("arch", ""), number) or number or "unknown"


def _action(main: AuditRecord, syscall: str | None) -> str:
    words = [main.type or "audit"]
    if syscall is not None:
        words.append(syscall)
    else:
        words += [word for key in ("avc", "apparmor", "operation", "op") if (word := said(main.fields.get(key)))]
    return " ".join(words)[:TEXT_MAX]


def _kind(main: AuditRecord, syscall: str | None, records: Iterable[AuditRecord]) -> tuple[Verb, Category]:
    if syscall is None:
        return _KINDS.get(main.type, ("other", "system"))
    if syscall in _OPEN or syscall == "openat2":
        if any(one.type == "PATH" and one.fields.get("nametype") == "CREATE" for one in records):
            return "create", "data"
        return ("update" if _writes(main.fields.get(_OPEN.get(syscall, ""), "")) else "read"), "data"
    return next((kind for kind, words in _SYSCALL_WORDS if syscall in words), ("other", "system"))


def _writes(flags: str) -> bool:
    try:
        return int(flags, 16) & 3 in (1, 2)
    except ValueError:
        return False


def _outcome(main: AuditRecord, records: Iterable[AuditRecord]) -> tuple[Outcome | None, str | None]:
    fields = main.fields
    result = fields.get("success") or fields.get("res") or fields.get("result")
    if result in ("yes", "success", "1"):
        return "success", None
    code = _errno(fields.get("exit", ""))
    if result in ("no", "failed", "0", "fail"):
        denied = code in ("EACCES", "EPERM") or any(one.fields.get("avc") == "denied" for one in records)
        denied = denied or main.type == "USER_ACCT"
        return ("denied" if denied else "failure"), code
    if fields.get("avc") == "denied" or fields.get("apparmor") == "DENIED":
        return "denied", said(fields.get("permissions")) or said(fields.get("denied_mask"))
    if fields.get("avc") == "granted" or fields.get("apparmor") == "ALLOWED":
        return "success", None
    return None, None


def _errno(exit_: str) -> str | None:
    if exit_.startswith("-") and exit_[1:].isdecimal() and len(exit_) < 6:
        return errorcode.get(int(exit_[1:]), exit_)
    return exit_ if exit_.startswith("E") and exit_.isalnum() else None


def _actor(main: AuditRecord, fields: dict[str, str]) -> Actor | None:
    login = fields.get("auid") or fields.get("new_auid") or _NOBODY
    session = fields.get("ses") or fields.get("new_ses")
    session = None if session in _UNSET else session
    if login not in _UNSET:
        return Actor(type="user", id=login, name=said(main.names.get("AUID")), session=session)
    account = said(fields.get("acct"))
    if account is not None and main.type in _KINDS and _KINDS[main.type][1] == "authentication":
        return Actor(type="user", name=account, session=session)
    uid = said(fields.get("uid"))
    if uid is None or uid in _UNSET:
        return None
    name = main.names.get("UID")
    return Actor(type="system", id=uid, name=None if name in _UNSET else said(name), session=session)


def _targets(main: AuditRecord, fields: dict[str, str], records: Sequence[AuditRecord]) -> list[Target]:
    found: list[Target] = []
    group = "GROUP" in main.type or main.type.startswith("GRP_")
    if main.type not in ("SYSCALL", "PATH") and (said(fields.get("acct")) or said(main.fields.get("id"))):
        found.append(
            Target(type="group" if group else "user", id=said(fields.get("id")), name=said(fields.get("acct")))
        )
    if (grp := said(fields.get("grp") or fields.get("new_group"))) is not None:
        found.append(Target(type="group", name=grp))
    if (unit := said(fields.get("unit"))) is not None:
        found.append(Target(type="service", name=unit))
    cwd = next((one.fields.get("cwd", "") for one in records if one.type == "CWD"), "")
    for one in records:
        if one.type == "PATH" and one.fields.get("nametype") != "PARENT":
            name = said(one.fields.get("name"))
            if name is not None:
                path = posixpath.normpath(posixpath.join(cwd, name)) if cwd or name.startswith("/") else None
                found.append(Target(type="file", id=path, name=name, owner=said(one.fields.get("ouid"))))
        elif one.type == "SOCKADDR":
            found += _address_target(one)
    if (path_ := said(fields.get("path"))) is not None and not any(one.type == "file" for one in found):
        found.append(Target(type="file", id=path_ if path_.startswith("/") else None, name=path_))
    if not found and main.type == "SYSCALL" and (exe := said(fields.get("exe"))) is not None:
        found.append(Target(type="program", name=exe))
    return found[:64]


def _address_target(one: AuditRecord) -> list[Target]:
    address = parse_address(one.fields.get("saddr", ""))
    if "address" in address:
        host = f"[{address['address']}]" if ":" in address["address"] else address["address"]
        return [Target(type="address", name=f"{host}:{address['port']}")]
    return [Target(type="socket", name=address["path"])] if address.get("path") else []


def _origin(fields: dict[str, str]) -> Origin | None:
    address, name = said(fields.get("addr")), said(fields.get("hostname"))
    if name == address:
        name = None
    return Origin(ip=address, device=name) if address or name else None


def _command(fields: dict[str, str], records: Iterable[AuditRecord]) -> str | None:
    """The command line, if the records hold one."""
    for one in records:
        if one.type == "EXECVE":
            arguments = [value for name, value in one.fields.items() if name[:1] == "a" and name[1:].isdigit()]
            if arguments:
                return " ".join(arguments)[:TEXT_MAX]
    command = said(fields.get("cmd")) or said(fields.get("proctitle"))
    return command[:TEXT_MAX] if command else None


def _shown(one: AuditRecord) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": one.type, **one.fields}
    if one.names:
        shown["names"] = one.names
    if one.type == "SYSCALL":
        shown["arch"] = ARCHITECTURES.get(one.fields.get("arch", ""), one.fields.get("arch", ""))
        shown["syscall"] = _syscall(one)
    if one.type == "SOCKADDR" and (address := parse_address(one.fields.get("saddr", ""))):
        shown["address"] = address
    if one.text and not one.fields:
        shown["text"] = one.text
    return shown
