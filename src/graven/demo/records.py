"""How four sources tell what happened: an event in Graven's model, with the source's own kind of record under `data`.

Pure: everything that varies, the ids and times included, is an argument. Records are shaped as AWS CloudTrail, the
Kubernetes API server's audit log and OpenSSH write them; the fourth source is a sales application that speaks the
event model itself. The company, its people and hosts are invented; addresses are from the documentation ranges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from graven.demo.company import ACCOUNT, BASTION, DOMAIN, REGION, Actor

AWS = "aws-cloudtrail"
KUBERNETES = "kubernetes"
SSHD = "sshd"
CRM = "crm-app"
SOURCES = (AWS, KUBERNETES, SSHD, CRM)

_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"

Event = dict[str, object]


@dataclass(frozen=True, slots=True)
class Moment:
    """When and under which ids something happened."""

    at: datetime  # UTC, whole milliseconds
    id: str  # UUID
    request_id: str  # UUID

    @property
    def time(self) -> str:
        return self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @property
    def time_s(self) -> str:
        return self.at.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Told:
    """What one source tells of one moment."""

    source: str
    at: datetime
    event: Event


def cloudtrail(
    moment: Moment, who: Actor, call: str, *, verb: str, category: str, ip: str, agent: str, target: tuple[str, str],
    parameters: Mapping[str, object] | None = None, error: str = "", size_bytes: int | None = None, message: str = "",
) -> Told:  # fmt: skip
    """An AWS API call; `call` as in "s3:GetObject", `target` a type and an ARN, `error` the code of a refusal."""
    service, name = call.split(":")
    role, user = f"sts::{ACCOUNT}:assumed-role/{who.name}/main", f"iam::{ACCOUNT}:user/{who.name}"
    arn = f"arn:aws:{role if who.is_service else user}"
    size = f", {size_bytes:,} bytes" if size_bytes is not None else ""
    usual = f"{who.name} called {call} on {target[1].rpartition(':')[2]}{size}{f', refused: {error}' if error else ''}"
    record: Event = {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole" if who.is_service else "IAMUser",
            "arn": arn,
            "accountId": ACCOUNT,
            **({} if who.is_service else {"userName": who.name}),
        },
        "eventTime": moment.time_s,
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "awsRegion": REGION,
        "sourceIPAddress": ip,
        "userAgent": agent,
        **({"errorCode": error} if error else {}),
        "requestParameters": parameters,
        "responseElements": None,
        **({"additionalEventData": {"bytesTransferredOut": size_bytes}} if size_bytes is not None else {}),
        "requestID": moment.request_id,
        "eventID": moment.id,
        "readOnly": verb == "read",
        "eventType": "AwsApiCall",
        "recipientAccountId": ACCOUNT,
    }
    event: Event = {
        "id": moment.id,
        "time": moment.time,
        "actor": {"type": "role" if who.is_service else "user", "id": arn, "name": who.name},
        "action": call,
        "verb": verb,
        "category": category,
        "targets": [{"type": target[0], "id": target[1]}],
        "outcome": "denied" if error else "success",
        **({"reason": error} if error else {}),
        "origin": {"ip": ip, "user_agent": agent},
        "scope": {"account": ACCOUNT, "region": REGION},
        "message": message or usual,
        **({"bytes": size_bytes} if size_bytes is not None else {}),
        "correlation": {"request_id": moment.request_id},
        "data": record,
    }
    return Told(AWS, moment.at, event)


def kubernetes(
    moment: Moment, who: Actor, verb: str, resource: str, *, ours: str, category: str, ip: str, agent: str,
    namespace: str, name: str = "", command: str = "", code: int = 200, message: str = "",
) -> Told:  # fmt: skip
    """A request to the Kubernetes API; `resource` as in "pods" or "pods/exec", `ours` the verb of the event model."""
    kind, _, sub = resource.partition("/")
    groups = {
        "deployments": "apis/apps/v1",
        "jobs": "apis/batch/v1",
        "rolebindings": "apis/rbac.authorization.k8s.io/v1",
    }
    path = "/".join(part for part in (groups.get(kind, "api/v1"), "namespaces", namespace, kind, name, sub) if part)
    query = "&".join(f"command={quote(word, safe='')}" for word in command.split())
    user = f"system:serviceaccount:{namespace}:{who.name}" if who.is_service else who.email
    usual = f"{who.name} ran {command} in {name}" if command else f"{who.name}: {verb} {resource} {name}".rstrip()
    denied = code == 403
    record: Event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": moment.id,
        "stage": "ResponseComplete",
        "requestURI": f"/{path}" + (f"?{query}" if query else ""),
        "verb": verb,
        "user": {"username": user, "groups": ["system:authenticated"]},
        "sourceIPs": [ip],
        "userAgent": agent,
        "objectRef": {
            "resource": kind,
            "namespace": namespace,
            **({"name": name} if name else {}),
            **({"subresource": sub} if sub else {}),
        },
        "responseStatus": {"metadata": {}, "code": code},
        "stageTimestamp": moment.time.replace("Z", "000Z"),
        "annotations": {"authorization.k8s.io/decision": "forbid" if denied else "allow"},
    }
    event: Event = {
        "id": moment.id,
        "time": moment.time,
        "actor": {"type": "service" if who.is_service else "user", "id": user, "name": who.name},
        "action": f"{verb} {resource}",
        "verb": ours,
        "category": category,
        "targets": [{"type": kind, "id": f"/{path}", **({"name": name} if name else {})}],
        "outcome": "denied" if denied else "success",
        "origin": {"ip": ip, "user_agent": agent},
        "scope": {"project": "quillmere-1"},
        "message": message or usual,
        "data": record,
    }
    return Told(KUBERNETES, moment.at, event)


def sshd(moment: Moment, user: str, text: str, *, action: str, verb: str, outcome: str, ip: str, process: int) -> Told:
    """A line of the SSH server on the bastion; `text` is the line after "sshd[…]: "."""
    month = _MONTHS.split()[moment.at.month - 1]  # not strftime's, which depends on the locale
    line = f"{month} {moment.at:%d %H:%M:%S} {BASTION} sshd[{process}]: {text}"
    event: Event = {
        "id": moment.id,
        "time": moment.time,
        "actor": {"type": "user", "id": user, "name": user},
        "action": action,
        "verb": verb,
        "category": "authentication",
        "targets": [{"type": "host", "id": f"{BASTION}.{DOMAIN}", "name": BASTION}],
        "outcome": outcome,
        "origin": {"ip": ip},
        "message": text,
        "data": {"line": line},
    }
    return Told(SSHD, moment.at, event)


def crm(
    moment: Moment, who: Actor, action: str, *, verb: str, ip: str, message: str, session: str = "",
    category: str = "data", targets: Sequence[Mapping[str, object]] = (), changes: Sequence[Mapping[str, object]] = (),
    outcome: str = "success", count: int | None = None, size_bytes: int | None = None,
) -> Told:  # fmt: skip
    """An act in the sales application."""
    event: Event = {
        "id": moment.id,
        "time": moment.time,
        "actor": {
            "type": "user",
            "id": who.email,
            "name": who.name,
            "email": who.email,
            **({"session": session} if session else {}),
        },
        "action": action,
        "verb": verb,
        "category": category,
        **({"targets": list(targets)} if targets else {}),
        **({"changes": list(changes)} if changes else {}),
        "outcome": outcome,
        "origin": {"ip": ip, "user_agent": who.agent},
        "message": message,
        **({"count": count} if count is not None else {}),
        **({"bytes": size_bytes} if size_bytes is not None else {}),
        "correlation": {"request_id": moment.request_id},
    }
    return Told(CRM, moment.at, event)
