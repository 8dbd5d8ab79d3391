"""Tokens and sources as JSON: what the doors and the command line show of them."""

from graven.log.acts import rfc3339
from graven.log.registers import Agent, Source, Token


def token_row(token: Token, last_used_us: int | None) -> dict[str, object]:
    """A token as JSON, without what could find it."""
    return {
        "id": token.id,
        "name": token.name,
        "scopes": token.scopes,
        "sources": token.sources,
        "owner": token.owner,
        "expires": None if token.expires_us is None else rfc3339(token.expires_us),
        "revoked": token.revoked,
        "last_used": None if last_used_us is None else rfc3339(last_used_us),
    }


def source_row(source: Source) -> dict[str, object]:
    """A source as JSON."""
    return {
        "number": source.number,
        "name": source.name,
        "type": source.type,
        "owner": source.owner,
        "grade": source.grade,
        "class": source.class_name,
        "classes": source.classes,
        "retired": source.retired,
        "expect_s": source.expect_s,
    }


def agent_row(agent: Agent) -> dict[str, object]:
    """An agent as JSON."""
    return {
        "name": agent.name,
        "vkey": agent.vkey,
        "sequence": agent.sequence,
        "sent": rfc3339(agent.sent_us) if agent.sent_us else None,
        "ended": agent.ended,
        "revoked": agent.revoked,
    }
