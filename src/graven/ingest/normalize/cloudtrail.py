"""AWS CloudTrail records: management, data and sign-in events, event version 1.0 to 1.11.

Source: "CloudTrail record contents" in the CloudTrail user guide. Mind: `requestParameters` and `responseElements`
may be null; `sourceIPAddress` may be a service's name or `AWS Internal`; the same `eventID` comes again in other
trails' files, and is the id, so that the second copy is a duplicate; who asked a service to act stands under the
service, as `on_behalf_of`.

This one is written for speed: 30,000 records a second on one core.
"""

from functools import lru_cache
from typing import Any

from graven.event import Actor, Correlation, Event, Origin, Scope, Target
from graven.ingest.fields import text
from graven.ingest.record import LIKELY, NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time

TYPE = "aws-cloudtrail"
VERSION = 1
KEYS = frozenset({"eventName"})

_TARGETS_MAX = 32
_CACHED_CHARS = 128  # what a cache may hold of words that a sender chooses; no name or source of AWS is as long
_TAKEN = frozenset(
    ("awsRegion", "errorCode", "errorMessage", "eventID", "eventName", "eventSource", "eventTime", "recipientAccountId",
     "requestID", "sourceIPAddress", "userAgent")
)  # fmt: skip
_ACTOR_TYPES = {
    "Root": "user", "IAMUser": "user", "IdentityCenterUser": "user", "SAMLUser": "user",
    "WebIdentityUser": "user", "FederatedUser": "user", "Directory": "user", "AssumedRole": "role",
    "Role": "role", "AWSAccount": "account", "AWSService": "service",
}  # fmt: skip

_VERBS = {
    "AddRoleToInstanceProfile": "grant", "AddUserToGroup": "grant", "AttachGroupPolicy": "grant",
    "AttachRolePolicy": "grant", "AttachUserPolicy": "grant", "ConsoleLogin": "login", "CreateGrant": "grant",
    "DetachGroupPolicy": "revoke", "DetachRolePolicy": "revoke", "DetachUserPolicy": "revoke",
    "GetFederationToken": "login", "GetSessionToken": "login", "ModifyDBSnapshotAttribute": "grant",
    "ModifyImageAttribute": "grant", "ModifySnapshotAttribute": "grant", "PutBucketAcl": "grant",
    "PutBucketPolicy": "grant", "PutGroupPolicy": "grant", "PutObject": "create", "PutRolePolicy": "grant",
    "PutUserPolicy": "grant", "RemoveUserFromGroup": "revoke", "SendCommand": "execute",
    "SendSSHPublicKey": "login", "SendSerialConsoleSSHPublicKey": "login", "SwitchRole": "login",
    "UpdateAssumeRolePolicy": "grant", "AddPermission20150331v2": "grant", "AddLayerVersionPermission": "grant",
    "RemovePermission20150331v2": "revoke", "ExitRole": "logout", "DeleteGrant": "revoke",
    "RetireGrant": "revoke", "StartLogging": "configure", "StopLogging": "configure", "StartSession": "execute",
    "CheckMfa": "login",
}  # fmt: skip
_STARTS: tuple[tuple[str, str], ...] = (
    ("read", "Get List Describe Head BatchGet Lookup Search Query Scan Select View Check Simulate Preview Estimate "
             "Validate Verify Filter Detect Discover Decode"),
    ("login", "AssumeRole Login Authenticate"),
    ("logout", "Logout SignOut"),
    ("revoke", "Revoke Detach Disassociate Unassign Deauthorize Unshare Reject"),
    ("grant", "Authorize Grant Attach Associate Assign AddPermission Share Accept Invite"),
    ("export", "Export Download Copy"),
    ("delete", "Delete Terminate Remove Deregister Release Purge Destroy Abort Cancel Leave BatchDelete Schedule"),
    ("execute", "Invoke Execute Run Start Stop Reboot Send Publish Retry Restart Converse Resume Encrypt Decrypt Sign "
                "Generate ReEncrypt"),
    ("create", "Create Register Allocate Import Upload Add Request Issue Complete BatchCreate Purchase BatchWrite"),
    ("configure", "Enable Disable Configure Set"),
    ("update", "Update Modify Put Change Replace Reset Restore Rotate Tag Untag Move Monitor Unmonitor Upgrade "
               "Transfer"),
)  # fmt: skip
_PREFIXES = tuple((verb, tuple(starts.split())) for verb, starts in _STARTS)
_CATEGORY_BY_SERVICE = {
    "athena": "data", "cognito-idp": "authentication", "dynamodb": "data",
    "ec2-instance-connect": "authentication", "iam": "permission", "identitystore": "permission", "kms": "data",
    "network-firewall": "network", "organizations": "admin", "ram": "permission", "rds-data": "data",
    "rolesanywhere": "authentication", "route53": "network", "route53resolver": "network", "s3": "data",
    "secretsmanager": "data", "signin": "authentication", "sns": "data", "sqs": "data", "ssm": "configuration",
    "sso": "permission", "sso-directory": "permission", "sso-oauth": "authentication", "sts": "authentication",
    "wafv2": "network",
}  # fmt: skip
_RUNS = frozenset(("ec2", "lambda", "bedrock", "bedrock-runtime", "states", "ecs", "batch", "codebuild", "glue"))
_NETWORK_WORDS = (
    "SecurityGroup", "Vpc", "Subnet", "Route", "Gateway", "NetworkAcl", "Address", "FlowLogs", "NetworkInterface",
)  # fmt: skip
_CREDENTIAL_WORDS = (
    "AccessKey", "LoginProfile", "MFADevice", "Password", "SigningCertificate", "SSHPublicKey",
    "ServiceSpecificCredential",
)  # fmt: skip
_DENIED = (
    "AccessDenied",
    "Unauthorized",
    "NotAuthorized",
    "Forbidden",
    "AuthFailure",
    "AuthorizationError",
    "ExplicitDeny",
)


def recognise(document: Document) -> int:
    """By the three fields every record has. An S3 notification has them, too, but names its source `aws:s3`."""
    if not isinstance(document, dict) or "eventName" not in document or "userIdentity" not in document:
        return NO
    source = document.get("eventSource")
    if type(source) is str and source.startswith("aws:"):
        return NO
    return SURE if source is not None and "eventTime" in document else LIKELY


def normalise(record: Record, document: Document) -> list[Event]:
    """One event a record."""
    if not isinstance(document, dict):
        raise Unparsed("a CloudTrail record is a JSON object")
    get = document.get
    name = text(get("eventName"))
    if name is None:
        raise Unparsed("the record names no eventName", path="$.eventName")
    source = get("eventSource")
    service = source if type(source) is str and len(source) <= _CACHED_CHARS else ""
    action, verb, category = (_classify if len(name) <= _CACHED_CHARS else _classify.__wrapped__)(name, service)
    if verb in ("other", "update", "execute") and get("readOnly") is True:
        verb = "read"
    parameters, answered = get("requestParameters"), get("responseElements")
    outcome, reason = _outcome(get("errorCode"), get("errorMessage"), name, answered)
    identity = get("userIdentity")
    request_id, ip, agent = text(get("requestID")), text(get("sourceIPAddress")), text(get("userAgent"))
    account, region = text(get("recipientAccountId")), text(get("awsRegion"))
    if account is None and type(identity) is dict:
        account = text(identity.get("accountId"))
    return [
        Event(
            id=text(get("eventID")),
            time=read_time(get("eventTime")),
            actor=_actor(identity) if type(identity) is dict else None,
            action=action,
            verb=verb,  # type: ignore[arg-type]
            category=category,  # type: ignore[arg-type]
            targets=_targets(source, get("resources"), parameters, answered),
            outcome=outcome,  # type: ignore[arg-type]
            reason=reason,
            origin=Origin(ip=ip, user_agent=agent) if ip or agent else None,
            scope=Scope(account=account, region=region) if account or region else None,
            correlation=Correlation(request_id=request_id) if request_id else None,
            data={key: value for key, value in document.items() if key not in _TAKEN and value is not None},
        )
    ]


@lru_cache(maxsize=8192)
def _classify(name: str, source: str) -> tuple[str, str, str]:
    """(action, verb, category) of an API call. Bounded: names beyond the cache are only slower."""
    service = source.removesuffix(".amazonaws.com")
    action = f"{service}:{name}" if service else name
    verb = _VERBS.get(name) or next((verb for verb, starts in _PREFIXES if name.startswith(starts)), "other")
    category = _CATEGORY_BY_SERVICE.get(service, "configuration")
    if any(word in name for word in _CREDENTIAL_WORDS):
        category = "authentication"
    elif service == "ec2" and any(word in name for word in _NETWORK_WORDS):
        category = "network"
    elif name in ("SendCommand", "StartSession", "ExecuteCommand") or (service in _RUNS and verb == "execute"):
        category = "execution"
    elif verb == "grant" and name.startswith(("Modify", "PutBucket", "AddPermission", "AddLayer", "CreateGrant")):
        category = "permission"
    elif service == "ssm" and "Parameter" in name:
        category = "data"
    return action, verb, category


def _outcome(code: object, message: object, name: str, answered: object) -> tuple[str, str | None]:
    if code is None and message is None:
        if name == "ConsoleLogin" and isinstance(answered, dict):
            said = answered.get("ConsoleLogin")
            return ("success" if said == "Success" else "failure" if said == "Failure" else "unknown"), None
        return "success", None
    code_text, words = text(code), text(message)
    reason = f"{code_text}: {words}" if code_text and words else code_text or words
    denied = code_text is not None and any(word in code_text for word in _DENIED)
    return ("denied" if denied else "failure"), reason


def _actor(identity: dict[str, Any]) -> Actor:
    get = identity.get
    kind, id_, name = get("type"), text(get("arn")) or text(get("principalId")), text(get("userName"))
    session = behind = None
    context = get("sessionContext")
    if type(context) is dict:
        issuer = context.get("sessionIssuer")
        if name is None and type(issuer) is dict:
            name = text(issuer.get("userName"))
        if chosen := text(context.get("sourceIdentity")):
            behind = Actor(type="user", id=chosen)
    if kind == "AssumedRole" and id_ is not None and id_.count("/") > 1:  # …:assumed-role/ROLE/SESSION
        session = id_.rpartition("/")[2] or None
    if type(given := get("onBehalfOf")) is dict and (user := text(given.get("userId"))):
        behind = Actor(type="user", id=user)
    invoked_by = text(get("invokedBy"))
    if kind == "AWSService":
        return Actor(type="service", id=id_ or invoked_by, name=name)
    actor = Actor(
        type=_ACTOR_TYPES.get(kind) if type(kind) is str else None,
        id=id_,
        name=name or ("root" if kind == "Root" else None),
        session=session,
        credential=text(get("accessKeyId")),
        on_behalf_of=behind,
    )
    return Actor(type="service", id=invoked_by, on_behalf_of=actor) if invoked_by else actor


def _targets(source: object, resources: object, parameters: object, answered: object) -> list[Target] | None:
    """What the record lists as resources; else what its parameters name, and what the answer says was made."""
    found: dict[tuple[str, str], Target] = {}
    if type(resources) is list:
        for one in resources[:_TARGETS_MAX]:
            if type(one) is dict and (arn := text(one.get("ARN")) or text(one.get("ARNPrefix"))):
                account = text(one.get("accountId"))
                kind = text(one.get("type")) or _arn_type(arn)
                found[kind or "", arn] = Target(type=kind, id=arn, scope=Scope(account=account) if account else None)
    if not found and type(parameters) is dict:
        own = _NAMED_BY_SERVICE.get(source, _NOTHING) if type(source) is str else _NOTHING
        for key, value in parameters.items():
            if type(value) is str:
                if len(key) > _CACHED_CHARS:
                    continue
                if (kind := own.get(key) or _target_type(key)) is not None and (id_ := text(value)):
                    found[kind, id_] = Target(type=kind, id=id_)
            elif type(value) is dict or type(value) is list:
                _listed(key, value, found)
        if "bucketName" in parameters and (key := text(parameters.get("key"))):
            found["object", key] = Target(type="object", id=key)
    if type(answered) is dict and type(made := answered.get("instancesSet")) is dict:
        _listed("instancesSet", made, found)
    return list(found.values())[:_TARGETS_MAX] or None


def _listed(key: str, value: Any, found: dict[tuple[str, str], Target]) -> None:
    """`instancesSet.items[].instanceId`, `instanceIds[]` and their like."""
    listed = value.get("items") if type(value) is dict else value
    if type(listed) is not list:
        return
    named = len(key) <= _CACHED_CHARS and key.endswith(("Ids", "Names", "Arns", "ARNs"))
    whole = _target_type(key[:-1]) if named else None
    for one in listed[:_TARGETS_MAX]:
        if type(one) is str:
            if whole is not None and (id_ := text(one)):
                found[whole, id_] = Target(type=whole, id=id_)
        elif type(one) is dict:
            for inner, given in one.items():
                if type(given) is not str or len(inner) > _CACHED_CHARS:
                    continue
                if (kind := _target_type(inner)) is not None and (id_ := text(given)):
                    found[kind, id_] = Target(type=kind, id=id_)


def _arn_type(arn: str) -> str | None:
    """`arn:aws:ssm:R:A:parameter/x` → parameter; the service where the resource part has no kind."""
    parts = arn.split(":", 6)
    if len(parts) < 6:
        return None
    kind, slash, _ = parts[5].partition("/")
    return kind if slash or len(parts) == 7 else parts[2] or None


@lru_cache(maxsize=4096)
def _target_type(key: str) -> str | None:
    """`bucketName` → bucket, `policyArn` → policy; None for a parameter that names nothing."""
    if key in _NAMES_NOTHING:
        return None
    if key in _NAMED:
        return _NAMED[key]
    for suffix in ("Name", "Arn", "ARN", "Id", "ID"):
        if key.endswith(suffix) and len(key) > len(suffix):
            return key[: -len(suffix)][:64]
    return None


_NAMED = {
    "name": "name", "arn": "resource", "resourceArn": "resource", "resource": "resource", "target": "target",
}  # fmt: skip
_NOTHING: dict[str, str] = {}
_NAMED_BY_SERVICE = {
    "cloudtrail.amazonaws.com": {"name": "trail", "trailName": "trail"},
    "ec2.amazonaws.com": {"groupId": "security-group", "groupName": "security-group"},
    "eks.amazonaws.com": {"name": "cluster"},
    "ssm.amazonaws.com": {"name": "parameter"},
    "secretsmanager.amazonaws.com": {"name": "secret"},
}
_NAMES_NOTHING = frozenset(
    ("sourceIdentity", "roleSessionName", "documentName", "availabilityZoneId", "ownerId", "serviceName",
     "clientRequestId", "attributeName", "regionName", "contextName", "displayName", "parentId")
)  # fmt: skip
