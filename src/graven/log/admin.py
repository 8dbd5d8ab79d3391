"""Tokens and sources: planned from the registers, done by appending one of Graven's own acts.

The same functions serve the HTTP doors, the control socket and the command line without a server; each takes whatever
offers `registers`, `one_act` and `append_act` (a `Log`). Nothing here is kept outside the journal: the registers follow
from the acts.

A token's secret is `gvn_` and 32 random bytes in base64url. Only its SHA-256 is stored: the secret has 256 bits of
randomness, so a fast hash cannot be searched, and a look-up by that hash tells nobody's clock anything about it.
"""

import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from typing import Protocol

import msgspec

from graven.core.errors import BadInput
from graven.log import acts
from graven.log.registers import GRADES, Registers, Source, Token
from graven.log.types import Committed

SECRET_PREFIX = "gvn_"  # noqa: S105 - how secrets begin, not one
RESERVED_SOURCES = frozenset({"graven", "local"})
INGEST, READ, ADMIN, ENROL, CHALLENGE = "ingest", "read", "admin", "enrol", "challenge"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_OWNER_CHARS_MAX = 200
_SCOPES_MAX = 32
EXPECT_S_MIN, EXPECT_S_MAX = 1, 31 * 86_400
_INGEST_AS = INGEST + ":"

Actor = Mapping[str, object]


class Acts(Protocol):
    """What these functions need of a log."""

    @property
    def registers(self) -> Registers: ...

    def one_act(self) -> AbstractContextManager[object]: ...

    def append_act(
        self,
        action: str,
        data: Mapping[str, object],
        *,
        actor: Mapping[str, object] | None = None,
        message: str = "",
        changes: Sequence[Mapping[str, object]] = (),
    ) -> Committed: ...


def parse_scopes(text: str) -> tuple[str, ...]:
    """The scopes in a comma-separated list. Raises BadInput for one that does not exist, twice the same, or none."""
    return _check_scopes([scope.strip() for scope in text.split(",")])


def secret_sha256(secret: bytes) -> str:
    """How a secret is found in the registers: SHA-256, hex."""
    return sha256(secret).hexdigest()


def create_token(
    log: Acts,
    name: str,
    scopes: Sequence[str],
    *,
    owner: str = "",
    expires_us: int | None = None,
    actor: Actor | None = None,
) -> tuple[Token, str]:
    """A new token and its secret, which is shown this once and stored nowhere.

    A bare `ingest` scope means the source named after the token, which is registered if there is none yet.

    Raises:
        BadInput: a name or scope that is not allowed, a name another living token has, or no such source.
    """
    _check_name(name, "token")
    _check_owner(owner)
    scopes = _check_scopes(scopes)
    with log.one_act():
        if any(token.name == name and not token.revoked for token in log.registers.tokens.values()):
            raise BadInput(
                f"there is a token called {name!r} already",
                mend=f"revoke it, or choose another name; ingest:{name} lets another token send as the same source",
            )
        sources = tuple(_source_of(log, scope, name, owner, actor) for scope in scopes if scope.startswith(INGEST))
        secret = SECRET_PREFIX + urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode("ascii")
        token = Token(
            f"tok_{os.urandom(6).hex()}",
            name,
            tuple(scopes),
            tuple(dict.fromkeys(sources)),
            owner,
            secret_sha256(secret.encode("ascii")),
            expires_us,
        )
        log.append_act(acts.TOKEN_CREATE, msgspec.to_builtins(token), actor=actor)
    return token, secret


def revoke_token(log: Acts, name_or_id: str, *, actor: Actor | None = None) -> Token:
    """The token of this id, or the living one of this name, now revoked. Raises BadInput if there is none."""
    with log.one_act():
        for token in log.registers.tokens.values():
            if name_or_id in (token.id, token.name) and not token.revoked:
                log.append_act(acts.TOKEN_REVOKE, {"id": token.id, "name": token.name}, actor=actor)
                return msgspec.structs.replace(token, revoked=True)
    raise BadInput(f"no living token is called {name_or_id!r}", mend="list them: graven token list")


def add_source(
    log: Acts,
    name: str,
    *,
    declared: Collection[str],
    type: str = "application",
    owner: str = "",
    grade: str = "authenticated sender",
    class_name: str = "default",
    classes: Sequence[str] = (),
    expect_s: int | None = None,
    actor: Actor | None = None,
) -> Source:
    """Register a source. `declared` are the log's classes; something is expected of it every `expect_s` seconds.

    Raises:
        BadInput: a name that is taken or not allowed, an unknown grade, a class that is not declared.
    """
    with log.one_act():
        if name in log.registers.sources:
            raise BadInput(f"there is a source called {name!r} already", mend="choose another name, or change it")
        number = log.registers.next_source_number()
        source = Source(number, name, type, owner, grade, class_name, tuple(classes), expect_s=expect_s or None)
        _check_source(source, declared)
        log.append_act(acts.SOURCE_CREATE, msgspec.to_builtins(source), actor=actor)
    return source


def change_source(
    log: Acts,
    name: str,
    *,
    declared: Collection[str],
    type: str | None = None,
    owner: str | None = None,
    grade: str | None = None,
    class_name: str | None = None,
    classes: Sequence[str] | None = None,
    expect_s: int | None = None,
    actor: Actor | None = None,
) -> Source:
    """Change what is given; the number and the name stay. Without any change nothing is appended. `expect_s`
    0 ends the expectation.

    Raises:
        BadInput: no such source, or as `add_source`.
    """
    given = {
        "type": type,
        "owner": owner,
        "grade": grade,
        "class_name": class_name,
        "classes": None if classes is None else tuple(classes),
        "expect_s": expect_s,
    }
    with log.one_act():
        old = log.registers.source(name)
        new = msgspec.structs.replace(old, **{key: value for key, value in given.items() if value is not None})
        new = msgspec.structs.replace(new, expect_s=new.expect_s or None)  # 0: nothing is expected any more
        _check_source(new, declared)
        return _append_change(log, old, new, actor)


def retire_source(log: Acts, name: str, *, actor: Actor | None = None) -> Source:
    """No token may send as this source any more. Its number is never given again. Raises BadInput if there is none."""
    with log.one_act():
        old = log.registers.source(name)
        if name in RESERVED_SOURCES:
            raise BadInput(f"the source {name!r} is the log's own", mend="leave it as it is")
        agent = log.registers.agents.get(name)
        if agent is not None and not agent.revoked:
            log.append_act(acts.AGENT_REVOKE, {"name": name}, actor=actor)
        return _append_change(log, old, msgspec.structs.replace(old, retired=True), actor)


def check_new_source(source: Source, declared: Collection[str]) -> None:
    """Raises BadInput for a source that cannot be registered."""
    if source.name in RESERVED_SOURCES:
        raise BadInput(f"the source {source.name!r} is the log's own", mend="choose another name")
    _check_source(source, declared)


def _append_change(log: Acts, old: Source, new: Source, actor: Actor | None) -> Source:
    before, after = msgspec.to_builtins(old), msgspec.to_builtins(new)
    changes = [{"path": key, "old": before[key], "new": after[key]} for key in after if before[key] != after[key]]
    if changes:
        log.append_act(acts.SOURCE_CHANGE, after, actor=actor, changes=changes)
    return new


def _source_of(log: Acts, scope: str, token_name: str, owner: str, actor: Actor | None) -> str:
    """The source an ingest scope means; for a bare one it is registered if need be."""
    name = scope.removeprefix(_INGEST_AS) if scope.startswith(_INGEST_AS) else token_name
    if name in RESERVED_SOURCES:
        raise BadInput(f"no token may send as {name!r}", mend="that source is the log's own; choose another name")
    if scope == INGEST and name not in log.registers.sources:
        source = Source(log.registers.next_source_number(), name, owner=owner)
        log.append_act(acts.SOURCE_CREATE, msgspec.to_builtins(source), actor=actor)
        return name
    return log.registers.source(name).name


def _check_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    known = {INGEST, READ, ADMIN, ENROL, CHALLENGE}
    for scope in scopes:
        if scope not in known and not (scope.startswith(_INGEST_AS) and _NAME.fullmatch(scope[len(_INGEST_AS) :])):
            raise BadInput(f"there is no scope {scope!r}", mend="ingest, ingest:SOURCE, read, admin, enrol, challenge")
    if not scopes or len(scopes) > _SCOPES_MAX or len(set(scopes)) < len(scopes):
        raise BadInput("a token has one to 32 scopes, each once", mend="for instance: ingest,read")
    return tuple(scopes)


def _check_source(source: Source, declared: Collection[str]) -> None:
    _check_name(source.name, "source")
    _check_owner(source.owner)
    _check_owner(source.type)
    if source.grade not in GRADES:
        raise BadInput(f"there is no grade {source.grade!r}", mend="one of: " + ", ".join(GRADES))
    if source.expect_s is not None and not EXPECT_S_MIN <= source.expect_s <= EXPECT_S_MAX:
        raise BadInput(f"a source is expected every {EXPECT_S_MIN} to {EXPECT_S_MAX} seconds", place="expect_s")
    for name in (source.class_name, *source.classes):
        if name not in declared:
            raise BadInput(f"no class is called {name!r}", mend="declare it under [classes] in graven.toml")


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} cannot be the name of a {what}",
            mend="1 to 64 letters, digits and . _ @ -, a letter or digit first",
        )


def _check_owner(text: str) -> None:
    if len(text) > _OWNER_CHARS_MAX or not text.isprintable():
        raise BadInput("an owner or type is at most 200 printable characters", place=ascii(text[:40]))
