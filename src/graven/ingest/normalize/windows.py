"""Windows event log records as JSON, in the shapes of the programs that ship them.

Winlogbeat (`winlog.event_id`, `winlog.event_data`), NXLog (flat, `EventID` beside `SourceName`), Fluent Bit's
winevtlog and winlog (`EventID`, `StringInserts`), EvtxECmd (`EventId`, `Payload`, `PayloadData1`…), and the event's
XML turned to JSON (`Event.System`, `Event.EventData`). All become one set of names first: the event's own
(`SubjectUserName`, `TargetUserName`, `IpAddress` …); what an event id means is a table.

NXLog writes times without a zone unless told otherwise; such a time is taken as UTC.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from graven.event.model import Actor, Correlation, Event, Origin, Outcome, Scope, Severity, Target
from graven.ingest.fields import TEXT_MAX, at, mapping, text
from graven.ingest.normalize.host_line import said
from graven.ingest.normalize.windows_meaning import Meaning, meaning_of
from graven.ingest.record import LIKELY, NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time

__all__ = ["TYPE", "VERSION", "normalise", "recognise"]

TYPE = "windows"
VERSION = 1
KEYS = frozenset({"winlog", "Event", "EventID", "EventId"})


_INSERTS: dict[int, tuple[str, ...]] = {
    1102: ("SubjectUserSid", "SubjectUserName", "SubjectDomainName", "SubjectLogonId"),
    4624: (
        "SubjectUserSid", "SubjectUserName", "SubjectDomainName", "SubjectLogonId", "TargetUserSid",
        "TargetUserName", "TargetDomainName", "TargetLogonId", "LogonType", "LogonProcessName",
        "AuthenticationPackageName", "WorkstationName", "LogonGuid", "TransmittedServices",
        "LmPackageName", "KeyLength", "ProcessId", "ProcessName", "IpAddress", "IpPort",
    ),
    4625: (
        "SubjectUserSid", "SubjectUserName", "SubjectDomainName", "SubjectLogonId", "TargetUserSid",
        "TargetUserName", "TargetDomainName", "Status", "FailureReason", "SubStatus", "LogonType",
        "LogonProcessName", "AuthenticationPackageName", "WorkstationName", "TransmittedServices",
        "LmPackageName", "KeyLength", "ProcessId", "ProcessName", "IpAddress", "IpPort",
    ),
    4634: ("TargetUserSid", "TargetUserName", "TargetDomainName", "TargetLogonId", "LogonType"),
    4672: ("SubjectUserSid", "SubjectUserName", "SubjectDomainName", "SubjectLogonId", "PrivilegeList"),
    4688: ("SubjectUserSid", "SubjectUserName", "SubjectDomainName", "SubjectLogonId", "NewProcessId", "NewProcessName",
           "TokenElevationType", "ProcessId", "CommandLine", "TargetUserSid", "TargetUserName", "TargetDomainName",
           "TargetLogonId", "ParentProcessName", "MandatoryLabel"),
    4720: ("TargetUserName", "TargetDomainName", "TargetSid", "SubjectUserSid", "SubjectUserName", "SubjectDomainName",
           "SubjectLogonId", "PrivilegeList"),
    4726: ("TargetUserName", "TargetDomainName", "TargetSid", "SubjectUserSid", "SubjectUserName", "SubjectDomainName",
           "SubjectLogonId", "PrivilegeList"),
    4732: ("MemberName", "MemberSid", "TargetUserName", "TargetDomainName", "TargetSid", "SubjectUserSid",
           "SubjectUserName", "SubjectDomainName", "SubjectLogonId", "PrivilegeList"),
}  # fmt: skip
"""Names of an event's strings by position, for shippers that send the strings alone."""

_STATUS = {
    "0xc0000064": "no such user", "0xc000006a": "wrong password", "0xc000006d": "bad user name or password",
    "0xc000006e": "account restriction", "0xc000006f": "logon outside of allowed hours",
    "0xc0000070": "workstation not allowed", "0xc0000071": "expired password", "0xc0000072": "account disabled",
    "0xc0000133": "clocks too far apart", "0xc000015b": "logon type not granted", "0xc0000193": "account expired",
    "0xc0000224": "password must be changed", "0xc0000234": "account locked out", "0x6": "no such user",
    "0x12": "account disabled, expired or locked out", "0x17": "expired password", "0x18": "wrong password",
}  # fmt: skip
_DENIED = frozenset({
    "0xc000006e", "0xc000006f", "0xc0000070", "0xc0000072", "0xc000015b", "0xc0000193", "0xc0000234", "0x12",
})  # fmt: skip
_LEVELS: dict[str, Severity] = {
    "critical": "critical",
    "1": "critical",
    "error": "high",
    "2": "high",
    "warning": "medium",
    "3": "medium",
}
_FAILED_KEYWORDS = ("audit failure", "audit_failure", "0x8010000000000000", "-9218868437227405312")
_NO_ONE = frozenset({"S-1-0-0", "NONE_MAPPED", "NULL SID"})
_SYSTEM_SIDS = frozenset({"S-1-5-18", "S-1-5-19", "S-1-5-20"})
_TARGETS: dict[str, tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]] = {
    # kind: (type, names of its id, names of its name)
    "user": (("user", ("TargetUserSid", "TargetSid"), ("TargetUserName",)),),
    "group": (("group", ("TargetSid",), ("TargetUserName",)),),
    "member": (("user", ("MemberSid",), ("MemberName",)), ("group", ("TargetSid",), ("TargetUserName",))),
    "process": (("process", ("NewProcessId",), ("NewProcessName", "Image", "ProcessName", "Application")),),
    "object": (("object", (), ("ObjectName", "TargetFilename", "TargetObject")),),
    "service": (("service", (), ("ServiceName",)),),
    "task": (("task", (), ("TaskName",)),),
    "policy": (("policy", ("SubcategoryGuid",), ("CategoryId",)),),
    "share": (("share", (), ("ShareName",)), ("file", (), ("RelativeTargetName",))),
    "rule": (("rule", ("RuleId",), ("RuleName",)),),
    "directory": (("object", ("ObjectGUID",), ("ObjectDN",)),),
    "script": (("script", ("ScriptBlockId",), ("Path",)),),
}
_DECODE = msgspec.json.Decoder().decode
_DIGITS = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(slots=True)
class _Entry:
    """A record by the event's own names, whoever shipped it."""

    event_id: int
    channel: str
    provider: str = ""
    computer: str | None = None
    record_id: str | None = None
    time: object = None
    level: str = ""
    keywords: str = ""
    message: str | None = None
    activity_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


def recognise(document: Document) -> int:
    if not isinstance(document, dict):
        return NO
    if isinstance(winlog := document.get("winlog"), dict):
        return SURE if "event_id" in winlog else LIKELY
    if isinstance(event := document.get("Event"), dict) and isinstance(event.get("System"), dict):
        return SURE
    if "EventID" in document or "EventId" in document:
        known = sum(key in document for key in _SHIPPED)
        return SURE if known >= 2 else NO
    return NO


_SHIPPED = (
    "Channel", "ProviderName", "Provider", "SourceName", "ProviderGuid", "Computer", "ComputerName", "Hostname",
    "RecordNumber", "EventRecordID", "EventRecordId", "StringInserts", "PayloadData1", "TimeGenerated",
)  # fmt: skip


def normalise(record: Record, document: Document) -> list[Event]:
    if not isinstance(document, dict):
        raise Unparsed("not a Windows event as JSON", mend="send it as Winlogbeat, NXLog or Fluent Bit write it")
    entry = _read(document)
    if entry is None:
        raise Unparsed("the document has no event id", mend="keep EventID, Channel and the event's data")
    meaning = meaning_of(entry.channel, entry.event_id)
    data = entry.data
    outcome, reason = _outcome(entry, meaning)
    subject, target_user = _account(data, "Subject"), _account(data, "Target")
    login = meaning is not None and meaning.verb in ("login", "logout") and meaning.target == "user"
    who = target_user if login and target_user is not None and _subject_is_machine(data) else subject or target_user
    who = who or _sysmon_user(data)
    ip = said(data.get("IpAddress") or data.get("SourceAddress") or data.get("ClientAddress"))
    ip = ip.removeprefix("::ffff:") if ip and ip != "LOCAL" else None
    domain = said(data.get("TargetDomainName") or data.get("SubjectDomainName"))
    device = said(data.get("WorkstationName") or data.get("Workstation"))
    event = Event(
        action=f"{entry.event_id} {meaning.title if meaning else entry.provider or entry.channel}".strip(),
        verb=meaning.verb if meaning else "other",
        category=meaning.category if meaning else "system",
        outcome=outcome,
        reason=reason,
        id=_id(entry),
        time=read_time(entry.time),
        actor=who,
        targets=_targets(entry, meaning) or None,
        origin=Origin(ip=ip, device=device) if ip or device else None,
        scope=Scope(tenant=domain) if domain else None,
        severity=_LEVELS.get(entry.level.lower()),
        message=entry.message,
        correlation=Correlation(request_id=entry.activity_id) if entry.activity_id else None,
        labels={
            name: value
            for name, value in (
                ("windows.computer", entry.computer),
                ("windows.channel", entry.channel),
                ("windows.provider", entry.provider),
            )
            if value
        } or None,
        data={"event_id": entry.event_id, **data},
    )  # fmt: skip
    return [event]


def _subject_is_machine(data: Mapping[str, Any]) -> bool:
    """Whether the subject is only the system that noticed a logon, not who logged on."""
    sid, name = text(data.get("SubjectUserSid")), text(data.get("SubjectUserName"))
    return sid is None or sid in _NO_ONE or sid in _SYSTEM_SIDS or (name or "").endswith("$")


def _read(document: Mapping[str, Any]) -> _Entry | None:
    if isinstance(winlog := document.get("winlog"), dict):
        entry = _winlogbeat(document, winlog)
    elif isinstance(event := document.get("Event"), dict):
        entry = _xml(event)
    elif "EventId" in document or "PayloadData1" in document:
        entry = _evtxecmd(document)
    else:
        entry = _flat(document)
    if entry is None:
        return None
    entry.message = entry.message[:TEXT_MAX] if entry.message else None
    entry.computer = entry.computer[:TEXT_MAX] if entry.computer else None
    return entry


def _number(value: object) -> int | None:
    if isinstance(value, dict):  # {"#text": 4624, "Qualifiers": 0}
        value = value.get("#text", value.get("value", value.get("_")))
    if isinstance(value, int) and not isinstance(value, bool):
        return value & 0xFFFF if 0 <= value < 2**32 else None
    return int(value) & 0xFFFF if isinstance(value, str) and _DIGITS.fullmatch(value) else None


def _winlogbeat(document: Mapping[str, Any], winlog: Mapping[str, Any]) -> _Entry | None:
    number = _number(winlog.get("event_id", at(document, "event.code")))
    if number is None:
        return None
    keywords = winlog.get("keywords")
    data = dict(mapping(winlog.get("event_data"))) | dict(mapping(winlog.get("user_data")))
    return _Entry(
        event_id=number,
        channel=text(winlog.get("channel")) or "",
        provider=text(winlog.get("provider_name")) or "",
        computer=text(winlog.get("computer_name")),
        record_id=text(winlog.get("record_id")),
        time=at(document, "winlog.time_created") or document.get("@timestamp"),
        level=text(at(document, "log.level")) or "",
        keywords=" ".join(str(one) for one in keywords[:8]) if isinstance(keywords, list) else str(keywords or ""),
        message=text(document.get("message")),
        activity_id=text(winlog.get("activity_id")),
        data=data,
    )


def _flat(document: Mapping[str, Any]) -> _Entry | None:
    """NXLog, and Fluent Bit's two inputs."""
    number = _number(document.get("EventID"))
    if number is None:
        return None
    inserts = document.get("StringInserts")
    if isinstance(inserts, list):
        names = _INSERTS.get(number, ())
        data: dict[str, Any] = {
            (names[place] if place < len(names) else f"String{place + 1}"): value
            for place, value in enumerate(inserts[:200])
        }
    else:
        data = {key: value for key, value in document.items() if key not in _FLAT_HEAD}
        data |= mapping(document.get("EventData"))
    return _Entry(
        event_id=number,
        channel=text(document.get("Channel")) or "",
        provider=text(document.get("ProviderName") or document.get("SourceName") or document.get("Provider")) or "",
        computer=text(document.get("Hostname") or document.get("Computer") or document.get("ComputerName")),
        record_id=text(document.get("RecordNumber") or document.get("EventRecordID") or document.get("RecordID")),
        time=next((document[name] for name in _TIMES if document.get(name)), None),
        level=text(document.get("Severity") or document.get("Level") or document.get("EventType")) or "",
        keywords=str(document.get("Keywords") or "") + " " + str(document.get("EventType") or ""),
        message=text(document.get("Message")),
        activity_id=said(document.get("ActivityID")),
        data=data,
    )  # fmt: skip


_TIMES = ("EventTime", "TimeCreated", "TimeGenerated", "@timestamp")
_FLAT_HEAD = frozenset({
    "EventID", "Channel", "ProviderName", "SourceName", "Provider", "Hostname", "Computer", "ComputerName",
    "RecordNumber", "EventRecordID", "RecordID", "EventTime", "TimeCreated", "TimeGenerated", "TimeWritten",
    "@timestamp", "Severity", "SeverityValue", "Level", "EventType", "Keywords", "Message", "ActivityID",
    "EventData", "StringInserts", "ProviderGuid", "EventReceivedTime", "SourceModuleName", "SourceModuleType",
    "Version", "Task", "Opcode", "OpcodeValue", "Qualifiers", "Sid", "UserID", "ProcessID", "ThreadID",
    "ExecutionProcessID", "ExecutionThreadID",
})  # fmt: skip


def _evtxecmd(document: Mapping[str, Any]) -> _Entry | None:
    number = _number(document.get("EventId"))
    if number is None:
        return None
    return _Entry(
        event_id=number,
        channel=text(document.get("Channel")) or "",
        provider=text(document.get("Provider")) or "",
        computer=text(document.get("Computer")),
        record_id=text(document.get("EventRecordId") or document.get("RecordNumber")),
        time=document.get("TimeCreated"),
        level=text(document.get("Level")) or "",
        keywords=str(document.get("Keywords") or ""),
        message=text(document.get("MapDescription")),
        data=_payload(document.get("Payload")),
    )


def _payload(payload: object) -> dict[str, Any]:
    """EvtxECmd keeps the event's data as a JSON text, a list of {"@Name": …, "#text": …}."""
    if not isinstance(payload, str) or len(payload) > 1 << 20:
        return {}
    try:
        found = _DECODE(payload)
    except (ValueError, RecursionError):
        return {"Payload": payload[:TEXT_MAX]}
    return _event_data(mapping(found).get("EventData") or mapping(found).get("UserData"))


def _xml(event: Mapping[str, Any]) -> _Entry | None:
    system = mapping(event.get("System"))
    number = _number(system.get("EventID"))
    if number is None:
        return None
    provider = mapping(system.get("Provider"))
    attributes = mapping(provider.get("#attributes")) or provider
    created = mapping(system.get("TimeCreated"))
    created = mapping(created.get("#attributes")) or created
    return _Entry(
        event_id=number,
        channel=text(system.get("Channel")) or "",
        provider=text(attributes.get("Name") or attributes.get("@Name")) or "",
        computer=text(system.get("Computer")),
        record_id=text(system.get("EventRecordID")),
        time=created.get("SystemTime") or created.get("@SystemTime"),
        level=str(system.get("Level") or ""),
        keywords=str(system.get("Keywords") or ""),
        data=_event_data(event.get("EventData") or event.get("UserData")),
    )


def _event_data(found: object) -> dict[str, Any]:
    """`EventData` as a mapping of names, or as a list of `Data` elements with their names as attributes."""
    if not isinstance(found, dict):
        return {}
    listed = found.get("Data")
    if not isinstance(listed, list):
        return {key: value for key, value in found.items() if not key.startswith(("@", "#"))}
    data: dict[str, Any] = {}
    for place, one in enumerate(listed[:500]):
        if isinstance(one, dict):
            name = one.get("@Name") or one.get("Name") or mapping(one.get("#attributes")).get("Name")
            data[str(name or f"Data{place + 1}")] = one.get("#text", one.get("value"))
        else:
            data[f"Data{place + 1}"] = one
    return data


def _id(entry: _Entry) -> str | None:
    """A record's number counts within a channel of a computer."""
    if entry.record_id is None or not entry.computer:
        return None
    return f"{entry.computer}/{entry.channel}/{entry.record_id}"


def _actor_type(sid: str | None, name: str | None) -> str:
    return "system" if sid in _SYSTEM_SIDS or (name or "").endswith("$") else "user"


def _account(data: Mapping[str, Any], side: str) -> Actor | None:
    sid = said(data.get(f"{side}UserSid") or (data.get("TargetSid") if side == "Target" else None))
    name, domain = said(data.get(f"{side}UserName")), said(data.get(f"{side}DomainName"))
    if name is None and (sid is None or sid in _NO_ONE):
        return None
    session = said(data.get(f"{side}LogonId"))
    shown = f"{domain}\\{name}" if domain and name and "@" not in name else name
    sid = None if sid in _NO_ONE else sid
    return Actor(type=_actor_type(sid, name), id=sid, name=shown, session=session if session != "0x0" else None)


def _sysmon_user(data: Mapping[str, Any]) -> Actor | None:
    name = said(data.get("User"))
    return Actor(type=_actor_type(None, name), name=name) if name else None


def _targets(entry: _Entry, meaning: Meaning | None) -> list[Target]:
    found: list[Target] = []
    for kind, ids, names in _TARGETS[meaning.target] if meaning else ():
        id_ = next((one for name in ids if (one := said(entry.data.get(name))) and one not in _NO_ONE), None)
        name_ = next((one for name in names if (one := said(entry.data.get(name)))), None)
        if id_ or name_:
            found.append(Target(type=kind, id=id_, name=name_))
    if entry.computer:
        found.append(Target(type="host", name=entry.computer))
    return found


def _outcome(entry: _Entry, meaning: Meaning | None) -> tuple[Outcome | None, str | None]:
    status = [
        code for name in ("SubStatus", "Status", "ResultCode")
        if (code := (said(entry.data.get(name)) or "").lower()) not in ("", "0x0", "0x00000000")
    ]  # fmt: skip
    failed = any(word in entry.keywords.lower() for word in _FAILED_KEYWORDS) or (
        meaning is not None and meaning.outcome == "failure"
    )
    if meaning is not None and meaning.outcome == "denied":
        return "denied", None
    if failed or (meaning is not None and meaning.verb == "login" and meaning.outcome == "success" and status):
        reason = next((_STATUS[code] for code in status if code in _STATUS), status[0] if status else None)
        return ("denied" if any(code in _DENIED for code in status) else "failure"), reason
    return (meaning.outcome if meaning else None), None
