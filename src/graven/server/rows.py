"""Tokens and sources as JSON: what the doors and the command line show of them.

Of a source, the register says what it should be; `inventory_row` adds what it is: its state, when it was last heard,
its agent, and what it did since the server started (`server/activity.py`), where there is a server.
"""

from collections.abc import Mapping

from graven.log.acts import rfc3339
from graven.log.registers import Agent, Registers, Source, Token


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


def inventory_row(
    source: Source, registers: Registers, activity: Mapping[str, object] | None = None
) -> dict[str, object]:
    """A source as JSON, with how it is."""
    agent, heard_us = registers.agents.get(source.name), registers.heard.get(source.number)
    return source_row(source) | {
        "state": state_of(source, registers),
        "last_seen": None if heard_us is None else rfc3339(heard_us),
        "agent": None if agent is None else agent_row(agent),
        "activity": activity,
    }


def state_of(source: Source, registers: Registers) -> str:
    """How a source is, in one word: `retired`, `revoked` or `gone` (its agent), `missing` (expected and silent),
    `unseen` (nothing ever came), `seen`.
    """
    agent = registers.agents.get(source.name)
    if source.retired:
        return "retired"
    if agent is not None and agent.revoked:
        return "revoked"
    if agent is not None and agent.ended:
        return "gone"
    if source.name in registers.silent:
        return "missing"
    return "seen" if source.number in registers.heard else "unseen"


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
