"""Who asks, and what they may do.

Two doors, two classes, two ASGI applications: over TCP a bearer token, over the control socket what the kernel says of
the other end. Nothing a TCP client sends can make it look local: the application behind TCP has no code for that.

A token is looked up by the SHA-256 of its secret. The time of that look-up depends on the hash alone, and a secret has
256 bits of randomness, so nothing can be learnt from it. When a token was last used is kept in memory and now and then
in `state/token-use.json`, as far as that works; it is no part of the audit log.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from graven.app import LOCAL_SOURCE, Log
from graven.journal.files import LocalFiles, write_atomic
from graven.log.admin import ADMIN, INGEST, READ, SECRET_PREFIX, secret_sha256
from graven.log.registers import Token
from graven.server.answers import Refused

Scope = Mapping[str, Any]

TOKEN_USE_FILE = "token-use.json"  # noqa: S105 - a file's name

_BEARER = re.compile(rb"[Bb]earer +([\x21-\x7e]{1,256})")
_CACHED_MAX = 1024


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was let in. `actor` is how the audit log names them."""

    scopes: frozenset[str]
    sources: tuple[str, ...]
    any_source: bool = False
    actor: Mapping[str, object] = field(default_factory=dict)

    def check(self, scope: str) -> None:
        """Raises Refused (403) unless this principal has `scope`; admin includes read, and a source to append as
        ingest.
        """
        if scope not in self.scopes and not (scope == INGEST and self.sources):
            raise _forbidden(f"this takes the scope {scope!r}", scope)

    def source(self, asked: str | None) -> str:
        """The source to append as: the one asked for, else the principal's first. Raises Refused (403)."""
        if not self.sources:
            raise _forbidden("this token may not append events", INGEST)
        if asked is None:
            return self.sources[0]
        if asked not in self.sources and not self.any_source:
            raise _forbidden(f"this token may not append as the source {asked!r}", f"{INGEST}:{asked}")
        return asked


class Access(Protocol):
    def who(self, log: Log, scope: Scope, authorization: bytes | None) -> Principal | None:
        """Who asks; None for nobody in particular. Raises Refused (401) for a token that does not hold."""


class TokenAccess:
    """Bearer tokens, for the TCP door."""

    def __init__(self, state: Path) -> None:
        self.uses = TokenUses(state)
        self._cached: dict[str, tuple[Token, Principal]] = {}

    def who(self, log: Log, scope: Scope, authorization: bytes | None) -> Principal | None:
        if authorization is None:
            return None
        found = _BEARER.fullmatch(authorization)
        key = secret_sha256(found[1]) if found is not None else ""
        token = log.registers.tokens.get(key)
        if token is None:
            raise _unauthorized("there is no such token")
        if token.revoked:
            raise _unauthorized("this token was revoked")
        now_us = log.clock.now_us()
        if token.expires_us is not None and now_us >= token.expires_us:
            raise _unauthorized("this token has expired")
        self.uses.note(token.id, now_us)
        cached = self._cached.get(key)
        if cached is None or cached[0] is not token:
            if len(self._cached) >= _CACHED_MAX:
                self._cached.clear()
            cached = self._cached[key] = (token, _principal(token))
        return cached[1]


class ControlAccess:
    """The control socket: whoever the kernel let through is the log's own administrator."""

    def who(self, log: Log, scope: Scope, authorization: bytes | None) -> Principal | None:
        uid = int(scope["extensions"]["graven.peer"]["uid"])
        return Principal(
            frozenset({INGEST, READ, ADMIN}),
            (LOCAL_SOURCE,),
            any_source=True,
            actor={"type": "user", "id": f"uid:{uid}", "credential": "control socket"},
        )


class TokenUses:
    """When each token was last used, µs. Best effort."""

    def __init__(self, state: Path) -> None:
        self._path = state / TOKEN_USE_FILE
        self._last_us = read_token_uses(state)
        self._saved = True

    def note(self, token_id: str, now_us: int) -> None:
        self._last_us[token_id] = now_us
        self._saved = False

    def last_us(self, token_id: str) -> int | None:
        return self._last_us.get(token_id)

    def save(self) -> None:
        """Write them, if there is anything new. A failure is nobody's loss."""
        if self._saved:
            return
        self._saved = True
        try:
            write_atomic(LocalFiles(), str(self._path), msgspec.json.encode(self._last_us), sync=False)
        except OSError:
            self._saved = False


def read_token_uses(state: Path) -> dict[str, int]:
    """Token id → when it was last used (µs), as the last server wrote it; empty if it did not."""
    try:
        return msgspec.json.decode((state / TOKEN_USE_FILE).read_bytes(), type=dict[str, int])
    except (OSError, msgspec.DecodeError):
        return {}


def unauthenticated() -> Refused:
    """The answer to a request without a token where one is needed."""
    return _unauthorized("this takes a token", mend="send the header Authorization: Bearer " + SECRET_PREFIX + "…")


def _principal(token: Token) -> Principal:
    scopes = set(token.scopes)
    if ADMIN in scopes:
        scopes.add(READ)
    actor = {"type": "token", "id": token.id, "name": token.name}
    return Principal(frozenset(scopes), token.sources, actor=actor)


def _unauthorized(what: str, mend: str = "graven token create makes one") -> Refused:
    return Refused(401, what, reason="unauthorized", mend=mend, headers={"WWW-Authenticate": 'Bearer realm="graven"'})


def _forbidden(what: str, scope: str) -> Refused:
    challenge = f'Bearer realm="graven", error="insufficient_scope", scope="{ascii(scope)[1:-1]}"'
    return Refused(
        403, what, reason="forbidden", mend=f"a token with the scope {scope}", headers={"WWW-Authenticate": challenge}
    )
