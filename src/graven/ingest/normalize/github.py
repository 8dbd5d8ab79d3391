"""GitHub: audit log of an organisation or enterprise (API, streaming, export), and webhook deliveries.

Source: "Audit log events" and "Webhook events and payloads" of GitHub. Audit log: which key names the target depends
on the action; what is recorded was done; `hashed_token` is the SHA-256 of the token used. Webhooks: the event's name
and the delivery's id are headers, which the door hands on as surroundings; without them the payload's own keys tell
the event.
"""

from collections.abc import Mapping
from typing import Any

from graven.event import Actor, Change, Event, Target
from graven.ingest.fields import actor_of, at, correlation_of, first, mapping, origin_of, rest, scope_of, text
from graven.ingest.record import LIKELY, NO, SURE, Document, Record, Unparsed
from graven.ingest.table import Words
from graven.ingest.times import read_time
from graven.ingest.words import category_of, verb_of

TYPE = "github"
VERSION = 1
KEYS = frozenset({"sender", "action"})

_CHANGES_MAX = 100
_TAKEN = frozenset(
    ("action", "@timestamp", "at_sign_timestamp", "created_at", "_document_id", "actor_ip", "user_agent", "request_id")
)
_OPERATIONS = {
    "create": "create", "modify": "update", "remove": "delete", "access": "read", "authentication": "login",
    "transfer": "update", "restore": "create",
}  # fmt: skip
_VERBS = Words(
    {"*.add_member": "grant", "*.invite_member": "grant", "invite_member": "grant", "*.remove_member": "revoke",
     "*.add_repository": "grant", "*.remove_repository": "revoke", "*.update_member": "grant",
     "*.add_outside_collaborator": "grant", "*.remove_outside_collaborator": "revoke",
     "*_moderators.add_*": "grant", "*_moderators.remove_*": "revoke", "git.clone": "export",
     "git.fetch": "export", "git.push": "update", "repo.access": "configure", "*.enable*": "configure",
     "*.disable*": "configure", "*.set_*": "configure", "org.sso_response": "login", "user.login": "login",
     "user.failed_login": "login", "user.logout": "logout", "repo.download_zip": "export",
     "org.audit_log_export": "export", "personal_access_token.access_granted": "grant",
     "personal_access_token.access_revoked": "revoke", "workflows.*run": "execute"}
)  # fmt: skip
_CATEGORIES = Words(
    {"git.*": "data", "repo.download_zip": "data", "*audit_log_export": "data", "*credential*": "authentication",
     "*token*": "authentication", "*public_key*": "authentication", "*two_factor*": "authentication",
     "*sso*": "authentication", "*login*": "authentication", "*member*": "permission",
     "*collaborator*": "permission", "*moderators*": "permission", "team.*": "permission",
     "role.*": "permission", "*permission*": "permission", "repo.access": "permission",
     "workflows.*": "execution", "*.secret*": "data", "secret_scanning*": "configuration",
     "repo*": "configuration", "*hook*": "configuration", "integration*": "configuration",
     "org.*": "configuration", "protected_branch.*": "configuration", "business.*": "configuration",
     "enterprise.*": "configuration", "dependabot*": "configuration", "environment.*": "configuration",
     "copilot*": "configuration"}
)  # fmt: skip
_HOOK_VERBS = Words(
    {"created": "create", "deleted": "delete", "edited": "update", "added": "grant", "removed": "revoke",
     "member_added": "grant", "member_removed": "revoke", "member_invited": "grant", "privatized": "configure",
     "publicized": "configure", "transferred": "update", "archived": "configure", "unarchived": "configure",
     "renamed": "update", "requested": "create", "approved": "grant", "rejected": "revoke", "opened": "create",
     "closed": "update", "reopened": "update", "completed": "execute", "published": "create"}
)  # fmt: skip
_HOOK_CATEGORIES = {
    "branch_protection_rule": "configuration", "deploy_key": "authentication", "member": "permission",
    "membership": "permission", "organization": "permission", "team": "permission", "team_add": "permission",
    "repository": "configuration", "push": "data", "deployment": "execution", "deployment_review": "execution",
    "workflow_run": "execution", "public": "configuration", "fork": "data", "org_block": "permission",
    "installation": "permission", "personal_access_token_request": "authentication",
}  # fmt: skip
_SUBJECTS = (  # the keys of a payload that tell its event, the most telling first, and the target they hold
    ("branch_protection_rule", "rule"), ("deploy_key", "key"), ("membership", "team"), ("member", "member"),
    ("deployment_review", "workflow_job_run"), ("deployment_review", "reviewers"), ("deployment", "deployment"),
    ("workflow_run", "workflow_run"), ("organization", "membership"), ("installation", "installation"),
    ("team", "team"), ("pull_request", "pull_request"), ("issues", "issue"), ("release", "release"),
    ("repository", "repository"), ("organization", "organization"),
)  # fmt: skip


def recognise(document: Document) -> int:
    """A payload has a sender; an entry of the audit log an actor and an action with the organisation or time it
    names.
    """
    if not isinstance(document, dict):
        return NO
    sender, action = document.get("sender"), document.get("action")
    if isinstance(sender, dict) and "login" in sender:
        return SURE if "repository" in document or "organization" in document or action else LIKELY
    if not isinstance(action, str) or not isinstance(document.get("actor", ""), str):
        return NO
    if "_document_id" in document:
        return SURE
    placed = "org" in document or "business" in document or "repo" in document
    return LIKELY if placed and ("created_at" in document or "@timestamp" in document) else NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event an entry or a delivery."""
    if not isinstance(document, dict):
        raise Unparsed("a record of GitHub is a JSON object")
    if isinstance(document.get("sender"), dict):
        return [_delivered(record, document)]
    return [_entry(document)]


def _entry(document: Mapping[str, Any]) -> Event:
    action = text(document.get("action"))
    if action is None:
        raise Unparsed("the entry names no action", path="$.action")
    operation = _OPERATIONS.get(text(document.get("operation_type")) or "")
    times = (read_time(document.get(key)) for key in ("@timestamp", "at_sign_timestamp", "created_at"))
    failed = action.endswith((".failed_login", "_failed", ".failed"))
    account = first(document, "org", "org.0")
    return Event(
        id=text(document.get("_document_id")),
        time=next((time for time in times if time is not None), None),
        actor=_who(document),
        action=action,
        verb=_VERBS.look_up(action) or operation or verb_of(action),  # type: ignore[arg-type]
        category=_CATEGORIES.look_up(action) or category_of(action),  # type: ignore[arg-type]
        targets=_named(action, document),
        changes=_set(document),
        outcome="failure" if failed else "success",
        reason=text(document.get("reason")),
        origin=origin_of(text(document.get("actor_ip")), text(document.get("user_agent"))),
        scope=scope_of(text(document.get("business")), account, text(document.get("repo"))),
        message=text(document.get("explanation")),
        correlation=correlation_of(text(document.get("request_id")), None, text(document.get("actor_session"))),
        data=rest(document, _TAKEN),
    )


def _who(document: Mapping[str, Any]) -> Actor | None:
    name, number = text(document.get("actor")), text(document.get("actor_id"))
    app = document.get("actor_is_bot") is True or (name or "").endswith("[bot]")
    credential = first(document, "hashed_token", "token_id", "public_key_fingerprint")
    if not (name or number):
        return None
    return actor_of(type="service" if app else "user", id=number or name, name=name, credential=credential)


def _named(action: str, document: Mapping[str, Any]) -> list[Target] | None:
    """What the action's first word says it is about, then whoever else it names."""
    about = action.partition(".")[0]
    found: list[Target] = []
    for kind, names, ids in (
        ("user", ("user",), ("user_id",)),
        ("team", ("team",), ("team_id",)),
        ("ruleset", ("ruleset_name",), ("ruleset_id",)),
        ("application", ("name", "oauth_application_name"), ("integration_id", "oauth_application_id")),
        ("hook", ("hook_url", "config.url"), ("hook_id",)),
        ("branch", ("branch",), ()),
        ("repository", ("repo", "repository"), ("repo_id",)),
        ("organization", ("org",), ("org_id",)),
        ("enterprise", ("business",), ("business_id",)),
    ):
        name, id_ = first(document, *names), first(document, *ids)
        if name or id_:
            found.append(Target(type=kind, id=id_ or name, name=name))
    if not found:
        return None
    inner = [target for target in found if target.type not in ("organization", "enterprise")]
    if about in ("org", "business", "enterprise"):
        inner += [target for target in found if target.type in ("organization", "enterprise")]
    return inner or found[:1]


def _set(document: Mapping[str, Any]) -> list[Change] | None:
    if "permission" in document and "old_permission" in document:
        return [Change(path="permission", old=document["old_permission"], new=document["permission"])]
    if "visibility" in document and "previous_visibility" in document:
        return [Change(path="visibility", old=document["previous_visibility"], new=document["visibility"])]
    return None


def _delivered(record: Record, document: Mapping[str, Any]) -> Event:
    said = {key.rpartition(".")[2].lower(): value for key, value in record.around.items()}
    name = said.get("x-github-event") or _event_of(document)
    done = text(document.get("action"))
    sender = mapping(document.get("sender"))
    repository = first(document, "repository.full_name")
    subject = next((key for event, key in _SUBJECTS if event == name and isinstance(document.get(key), dict)), name)
    push = name == "push"
    kind = "service" if sender.get("type") in ("Bot", "App") else "user"
    account = first(document, "organization.login", "repository.owner.login")
    return Event(
        id=said.get("x-github-delivery"),
        time=read_time(document.get("since")) if name == "deployment_review" else None,
        actor=actor_of(type=kind, id=first(sender, "id", "login"), name=first(sender, "login")),
        action=f"{name}.{done}" if done else name,
        verb="update" if push else (_HOOK_VERBS.look_up(done) if done else None) or verb_of(done or name),  # type: ignore[arg-type]
        category=_HOOK_CATEGORIES.get(name) or category_of(name),  # type: ignore[arg-type]
        targets=_subject(name, subject, document, repository),
        changes=_changes(document),
        outcome="success",
        scope=scope_of(first(document, "enterprise.slug"), account, repository),
        data=rest(document, ("action",)),
    )


def _event_of(document: Mapping[str, Any]) -> str:
    if "ref" in document and "before" in document and "after" in document:
        return "push"
    found = next(
        (event for event, key in _SUBJECTS if key in document and (event != "membership" or "member" in document)), None
    )
    if found is None:
        raise Unparsed("the delivery does not say which event it is", mend="hand on the header X-GitHub-Event")
    return found


def _subject(name: str, key: str, document: Mapping[str, Any], repository: str | None) -> list[Target] | None:
    """What the delivery is about, the member it names, and the repository, else the organisation."""
    about = {} if key == "repository" else {key if key in ("team", "member") else name: document.get(key)}
    about["member"] = document.get("member") or at(document, "membership.user")
    found = [Target(type="branch", id=ref)] if name == "push" and (ref := first(document, "ref")) else []
    for kind, one in about.items():
        id_, named = first(one, "id"), first(one, "name", "title", "login", "full_name")
        if id_ or named:
            found.append(Target(type="user" if kind == "member" else kind, id=id_, name=named))
    if repository is not None:
        found.append(Target(type="repository", id=first(document, "repository.id"), name=repository))
    elif not found and (login := first(document, "organization.login")):
        found.append(Target(type="organization", id=first(document, "organization.id"), name=login))
    return found or None


def _changes(document: Mapping[str, Any]) -> list[Change] | None:
    """`changes` of an edited event: `{name: {from: old}}`, the new value where the subject has it."""
    changed = mapping(document.get("changes"))
    found = []
    for path, one in list(changed.items())[:_CHANGES_MAX]:
        old = one.get("from") if isinstance(one, dict) else None
        found.append(Change(path=path[:256], old=old, new=at(document, f"rule.{path}")))
    return found or None
