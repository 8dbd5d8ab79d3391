"""Tokens and sources over HTTP, for administrators. What they do is planned and recorded by `log/admin.py`."""

import heapq
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.responses import Response

from graven.core.errors import BadInput
from graven.log import admin
from graven.log.admin import ADMIN, READ
from graven.log.agents import revoke_agent
from graven.log.registers import Source, Token
from graven.server.access import TokenUses
from graven.server.answers import Refused
from graven.server.routes import NUMBER, Ask, Endpoint, json_response
from graven.server.rows import agent_row, inventory_row, source_row, token_row

__all__ = ["Register", "source_row", "token_row"]

SOURCES_MAX = 1000
"""In one answer."""

_Names = Annotated[list[str], Meta(max_length=64)]


class NewToken(Struct, forbid_unknown_fields=True):
    """Body of POST /api/v1/tokens. `expires`: RFC 3339."""

    name: str
    scopes: _Names
    owner: str = ""
    expires: datetime | None = None


class NewSource(Struct, forbid_unknown_fields=True):
    """Body of POST /api/v1/sources."""

    name: str
    type: str = "application"
    owner: str = ""
    grade: str = "authenticated sender"
    class_name: str = msgspec.field(default="default", name="class")
    classes: _Names = []
    expect_s: int | None = None


class SourceChange(Struct, forbid_unknown_fields=True):
    """Body of PATCH /api/v1/sources/{source}: what is to change."""

    type: str | UnsetType = UNSET
    owner: str | UnsetType = UNSET
    grade: str | UnsetType = UNSET
    class_name: str | UnsetType = msgspec.field(default=UNSET, name="class")
    classes: _Names | UnsetType = UNSET
    expect_s: int | UnsetType = UNSET


class Register:
    """The endpoints. `uses` knows when a token was last used."""

    def __init__(self, uses: TokenUses) -> None:
        self._uses = uses

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("GET", "/api/v1/tokens", self.tokens, ADMIN, inline=True),
            Endpoint("POST", "/api/v1/tokens", self.create_token, ADMIN),
            Endpoint("DELETE", "/api/v1/tokens/{token}", self.revoke_token, ADMIN),
            Endpoint("GET", "/api/v1/sources", self.sources, READ, {"limit": NUMBER, "after": NUMBER}),
            Endpoint("GET", "/api/v1/sources/{source}", self.source, READ),
            Endpoint("POST", "/api/v1/sources", self.add_source, ADMIN),
            Endpoint("PATCH", "/api/v1/sources/{source}", self.change_source, ADMIN),
            Endpoint("DELETE", "/api/v1/sources/{source}", self.retire_source, ADMIN),
            Endpoint("DELETE", "/api/v1/agents/{agent}", self.revoke_agent, ADMIN),
        )

    def tokens(self, ask: Ask) -> Response:
        """Every token, without its secret."""
        return json_response({"tokens": [self._token_row(token) for token in ask.log.registers.tokens.values()]})

    def create_token(self, ask: Ask) -> Response:
        """A new token; its secret is in this answer and nowhere else."""
        asked = ask.document(NewToken)
        token, secret = admin.create_token(
            ask.live.taking(), asked.name, asked.scopes,
            owner=asked.owner, expires_us=_expiry_us(ask, asked.expires), actor=ask.actor,
        )  # fmt: skip
        return json_response({"secret": secret, "token": self._token_row(token)}, 201)

    def revoke_token(self, ask: Ask) -> Response:
        """Revoke a token, by id or name; it is refused from now on."""
        token = admin.revoke_token(ask.live.taking(), ask.path["token"], actor=ask.actor)
        return json_response(self._token_row(token))

    def sources(self, ask: Ask) -> Response:
        """Sources in the order of their numbers, from the one behind `after` on: what each should be, and how it is.

        Numbers are given once and only grow, so that pages asked for one after the other show each source once.
        """
        limit, after = ask.number("limit", SOURCES_MAX), ask.number("after", 0)
        if not 1 <= limit <= SOURCES_MAX:
            raise BadInput(f"the query asks for {limit} sources", mend=f"limit=1 to {SOURCES_MAX}; `next` leads on")
        behind = (one for one in ask.log.registers.sources.values() if one.number > after)
        found = heapq.nsmallest(limit + 1, behind, key=lambda one: one.number)
        following = found[limit - 1].number if len(found) > limit else None
        return json_response({"sources": [_inventory_row(ask, one) for one in found[:limit]], "next": following})

    def source(self, ask: Ask) -> Response:
        """One source."""
        source = ask.log.registers.sources.get(ask.path["source"])
        if source is None:
            raise Refused(404, "there is no such source", reason="not_found", mend="GET /api/v1/sources lists them")
        return json_response(_inventory_row(ask, source))

    def add_source(self, ask: Ask) -> Response:
        """Register a source."""
        asked = ask.document(NewSource)
        source = admin.add_source(
            ask.live.taking(), asked.name, declared=ask.live.config.classes, type=asked.type, owner=asked.owner,
            grade=asked.grade, class_name=asked.class_name, classes=asked.classes, expect_s=asked.expect_s,
            actor=ask.actor,
        )  # fmt: skip
        return json_response(source_row(source), 201)

    def change_source(self, ask: Ask) -> Response:
        """Change what is given of a source."""
        given = msgspec.structs.asdict(ask.document(SourceChange))
        changes = {key: value for key, value in given.items() if value is not UNSET}
        source = admin.change_source(
            ask.live.taking(), ask.path["source"], declared=ask.live.config.classes, actor=ask.actor, **changes
        )
        return json_response(source_row(source))

    def retire_source(self, ask: Ask) -> Response:
        """Retire a source: nobody appends as it any more."""
        return json_response(source_row(admin.retire_source(ask.live.taking(), ask.path["source"], actor=ask.actor)))

    def revoke_agent(self, ask: Ask) -> Response:
        """Take nothing more from an agent's key; its source stays."""
        return json_response(agent_row(revoke_agent(ask.live.taking(), ask.path["agent"], actor=ask.actor)))

    def _token_row(self, token: Token) -> dict[str, object]:
        return token_row(token, self._uses.last_us(token.id))


def _inventory_row(ask: Ask, source: Source) -> dict[str, object]:
    log = ask.log
    return inventory_row(source, log.registers, ask.live.activity.row(source.name, log.clock.now_us()))


def _expiry_us(ask: Ask, expires: datetime | None) -> int | None:
    if expires is None:
        return None
    if expires.tzinfo is None:
        raise BadInput("the expiry has no time zone", place="$.expires", mend="write it with a Z at its end")
    expires_us = int(expires.timestamp()) * 1_000_000 + expires.microsecond
    if expires_us <= ask.log.clock.now_us():
        raise BadInput("the expiry has passed", place="$.expires", mend="give a time to come, or none")
    return expires_us
