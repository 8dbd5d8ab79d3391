"""One record of Linux audit, as the kernel, auditd, audisp and the journal write it: its type, stamp and fields.

    [node=HOST ]type=TYPE msg=audit(SECONDS.MILLIS:SERIAL): key=value … [0x1d NAME=value …]

Values stand bare, in double quotes, or, where they hold what could break the line, as upper-case hexadecimal without
quotes; `msg='…'` of a user-space record holds fields of its own. What follows the byte 0x1d are names auditd looked up
for the numbers before it. Lenient: a stamp or a type that is missing is left empty.

Pure, and linear in the length of the line.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address

__all__ = ["NUMBERED", "AuditRecord", "parse_address", "parse_record", "stamp_of"]

_FIELDS_MAX = 512
_ENRICHED = "\x1d"
_HEAD = re.compile(
    r"(?:[^=\n]{0,200}?\s)??(?:node=(?P<node>\S{1,255}) )?"
    r"(?:type=(?P<type>[\w\[\]]{0,64}) )?"
    r"(?:(?:msg=)?audit\((?P<time>[\d.]{0,24})(?::(?P<serial>\d{1,20}))?\)|(?P<lost>msg=\?)):?"
)
_KERNEL_HEAD = re.compile(
    r"(?:kernel: )?(?:\[ *[\d.]+\] )?audit: type=(?P<type>\d{4}) audit\((?P<time>[\d.]{1,24}):(?P<serial>\d{1,20})\):"
)
_STAMP = re.compile(r"(?:node=(\S{1,255}) )?type=\S{0,64} msg=audit\(([\d.]{1,24}:\d{1,20})\)")
_KEY = re.compile(r"(?:(?<![\w-])(old|new|denied_mask|requested_mask) )?(?<![\w\[\].-])([A-Za-z_][\w\[\].-]{0,63})=")
_HEX = re.compile(r"(?:[0-9A-F]{2})+\Z")
_SPACE = re.compile(r"\s")
_AVC = re.compile(r"\s*avc:\s+(?P<result>denied|granted)\s+\{(?P<permissions>[^}]{0,500})\}\s+for\s+")
_ENCODED = frozenset(
    [
        "name",
        "cwd",
        "exe",
        "comm",
        "ocomm",
        "cmd",
        "proctitle",
        "acct",
        "data",
        "key",
        "path",
        "dir",
        "file",
        "vm",
        "watch",
        "new_gp",
        "old-disk",
        "new-disk",
        "msg_data",
        "grp",
        "new_group",
    ]
)
NUMBERED = {
    "1000": "GET", "1101": "USER_ACCT", "1300": "SYSCALL", "1302": "PATH", "1303": "IPC", "1305": "CONFIG_CHANGE",
    "1306": "SOCKADDR", "1307": "CWD", "1309": "EXECVE", "1320": "EOE", "1325": "NETFILTER_CFG", "1326": "SECCOMP",
    "1327": "PROCTITLE", "1400": "AVC", "1401": "SELINUX_ERR", "1403": "MAC_POLICY_LOAD", "1404": "MAC_STATUS",
    "1701": "ANOM_ABEND", "1130": "SERVICE_START", "1131": "SERVICE_STOP", "1006": "LOGIN", "1334": "BPF",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """`stamp`: "SECONDS.MILLIS:SERIAL" as written, or what there is of it. `names`: what auditd looked up, by key."""

    type: str
    time: str
    serial: str
    node: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    text: str = ""

    @property
    def stamp(self) -> str:
        return f"{self.time}:{self.serial}" if self.serial else ""


def stamp_of(line: str) -> str | None:
    """What tells which event a line belongs to: node and stamp; None for a line that is no record."""
    found = _STAMP.match(line)
    return f"{found[1] or ''}/{found[2]}" if found else None


def parse_record(line: str) -> AuditRecord | None:
    """The record a line holds; None if it is none."""
    head = _KERNEL_HEAD.match(line) or _HEAD.match(line)
    if head is None:
        return None
    groups = head.groupdict()
    type_ = groups["type"] or ""
    body, _, enriched = line[head.end() :].rstrip("\r\n").partition(_ENRICHED)
    fields: dict[str, str] = {}
    if avc := _AVC.match(body):
        fields |= {"avc": avc["result"], "permissions": avc["permissions"].strip()}
        body = body[avc.end() :]
    type_ = NUMBERED.get(type_, type_)
    body, text = _take_quoted(body, fields)
    _take_fields(body, fields, type_)
    names: dict[str, str] = {}
    _take_fields(enriched, names, type_)
    text = text or ("" if fields else body.strip())
    return AuditRecord(
        type_, groups["time"] or "", groups["serial"] or "", groups.get("node") or "", fields, names, text
    )


def parse_address(saddr: str) -> dict[str, str]:
    """The fields of a socket address given as hexadecimal: family, and address and port, or path. Empty if unknown."""
    if len(saddr) < 4 or len(saddr) > 512 or not _HEX.match(saddr):
        return {}
    data = bytes.fromhex(saddr)
    family = int.from_bytes(data[:2], "little")
    if family == 2 and len(data) >= 8:
        return {
            "family": "inet",
            "address": ".".join(map(str, data[4:8])),
            "port": str(int.from_bytes(data[2:4], "big")),
        }
    if family == 10 and len(data) >= 24:
        address = str(IPv6Address(data[8:24]))
        return {"family": "inet6", "address": address, "port": str(int.from_bytes(data[2:4], "big"))}
    if family == 1:
        raw = data[2:]
        path = b"@" + raw[1:].partition(b"\0")[0] if raw[:1] == b"\0" and raw.strip(b"\0") else raw.partition(b"\0")[0]
        return {"family": "unix", "path": _decode(path)} if path else {"family": "unix"}
    return {"family": {16: "netlink", 17: "packet", 0: "unspec"}.get(family, str(family))}


def _take_quoted(body: str, fields: dict[str, str]) -> tuple[str, str]:
    """Take `msg='…'` out: (what stands around it and in it, one after the other; the text within)."""
    start = body.find("msg='")
    if start < 0:
        return body, ""
    end = body.rfind("'")
    inside = body[start + 5 : end] if end > start + 4 else body[start + 5 :]
    tail = body[end + 1 :] if end > start + 4 else ""
    _take_fields(body[:start], fields, "")
    return f" {inside} {tail}", inside.strip()


def _take_fields(body: str, fields: dict[str, str], type_: str) -> None:
    """Add the `key=value` pairs of `body`; the first of a key counts."""
    at, count = 0, 0
    while count < _FIELDS_MAX and (key := _KEY.search(body, at)):
        count += 1
        name = f"{key[1]}_{key[2]}" if key[1] in ("old", "new") else key[2]
        value, at = _value(body, key.end(), name, type_)
        if name not in fields:
            fields[name] = value


def _value(body: str, start: int, name: str, type_: str) -> tuple[str, int]:
    if body[start : start + 1] == '"':
        end = body.find('"', start + 1)
        end = len(body) if end < 0 else end
        return body[start + 1 : end], end + 1
    if name == "op":  # the one field whose bare value holds spaces: it ends where the next key begins
        following = _KEY.search(body, start)
        end = following.start() if following else len(body)
        return body[start:end].strip().removesuffix(":").strip(), end
    if body[start : start + 1] == "{":
        end = body.find("}", start)
        end = len(body) if end < 0 else end
        return body[start + 1 : end].strip(), end + 1
    end = _bare_end(body, start)
    value = body[start:end].rstrip('"')
    if (name in _ENCODED or (type_ == "EXECVE" and name[:1] == "a" and name[1:2].isdigit())) and _HEX.match(value):
        return _decode(bytes.fromhex(value)), end
    return (value if value.startswith("(") else value.rstrip(",)")), end


def _bare_end(body: str, start: int) -> int:
    found = _SPACE.search(body, start)
    return found.start() if found else len(body)


def _decode(data: bytes) -> str:
    """Text of a hex field; short ones come again and again, long ones must not fill a cache."""
    return (_text if len(data) <= 256 else _text.__wrapped__)(data)


@lru_cache(maxsize=512)
def _text(data: bytes) -> str:
    return data.rstrip(b"\0").replace(b"\0", b" ").replace(b"\x01", b",").decode("utf-8", "backslashreplace")
