"""Agents: who may send signed batches, and what became of each. Planned from the registers, done by Graven's own acts.

An agent is a source of its own name with a key. Its batches form a chain; where the chain stands follows from the acts
that are committed in the same frame as the batches, so no crash can put the two apart.
"""

from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from graven.core.errors import BadInput
from graven.core.note import Key, format_vkey
from graven.core.spelling import encode_base64
from graven.core.statement import BatchStatement
from graven.log import acts
from graven.log.admin import Actor, Acts, check_new_source
from graven.log.registers import Agent, Source

AGENT_GRADE = "sequenced agent"
AGENT_TYPE = "agent"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a batch is to its agent's chain: `fresh` (with a gap before it or not), or the very one that came last."""

    fresh: bool
    gap: bool = False


class OutOfChain(BadInput):
    """A batch that cannot be the next of its agent: older than the last, another of the same number, or a fork."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, mend="compare the agent's state with the position in this answer")
        self.reason = reason


def enrol_agent(
    log: Acts,
    key: Key,
    *,
    declared: Collection[str],
    expect_s: int | None,
    now_us: int,
    actor: Actor | None = None,
) -> Agent:
    """Know an agent by its key, and register the source it sends as. The same key again changes nothing.

    A name whose key was revoked may be given to a new key; its chain begins anew.

    Raises:
        BadInput: the name is a source's already, or another key's.
    """
    vkey = format_vkey(key)
    with log.one_act():
        known = log.registers.agents.get(key.name)
        if known is not None and known.vkey == vkey and not known.revoked:
            return known
        again = known is not None and known.revoked and not log.registers.source(key.name).retired
        if key.name in log.registers.sources and not again:
            raise BadInput(
                f"there is a source called {key.name!r} already",
                mend="give the agent another name, or revoke the one that has it: graven source revoke NAME",
            )
        if not again:
            number = log.registers.next_source_number()
            source = Source(number, key.name, type=AGENT_TYPE, grade=AGENT_GRADE, expect_s=expect_s)
            check_new_source(source, declared)
            log.append_act(acts.SOURCE_CREATE, msgspec.to_builtins(source), actor=actor)
        log.append_act(acts.AGENT_ENROL, {"name": key.name, "vkey": vkey}, actor=actor)
    return log.registers.agents[key.name]


def revoke_agent(log: Acts, name: str, *, actor: Actor | None = None) -> Agent:
    """Take nothing more from this agent's key. Its source stays. Raises BadInput if there is none."""
    with log.one_act():
        agent = log.registers.agents.get(name)
        if agent is None or agent.revoked:
            raise BadInput(f"no agent in use is called {name!r}", mend="list them: graven source list")
        log.append_act(acts.AGENT_REVOKE, {"name": name}, actor=actor)
    return msgspec.structs.replace(agent, revoked=True)


def judge(agent: Agent, batch: BatchStatement) -> Verdict:
    """What this batch is to the chain. Raises OutOfChain."""
    digest = encode_base64(batch.digest)
    if batch.sequence == agent.sequence and digest == agent.digest:
        return Verdict(fresh=False)
    if batch.sequence <= agent.sequence:
        kind = "replay" if batch.sequence < agent.sequence else "fork"
        raise OutOfChain(f"batch {batch.sequence} came after batch {agent.sequence}", kind)
    if batch.sequence == agent.sequence + 1 and encode_base64(batch.previous) != agent.digest:
        raise OutOfChain(f"batch {batch.sequence} follows another batch {agent.sequence}", "fork")
    return Verdict(fresh=True, gap=batch.sequence > agent.sequence + 1)


def batch_acts(agent: Agent, batch: BatchStatement, verdict: Verdict, *, now_us: int) -> list[bytes]:
    """Graven's own events that are committed with a batch."""
    made: list[bytes] = []
    if verdict.gap:
        data = {"agent": agent.name, "after": agent.sequence, "sequence": batch.sequence}
        made.append(acts.act(acts.AGENT_GAP, now_us=now_us, data=data))
    taken = {
        "agent": agent.name,
        "sequence": batch.sequence,
        "digest": encode_base64(batch.digest),
        "records": batch.records,
        "sent_us": batch.time_us,
    }
    return [*made, acts.act(acts.AGENT_BATCH, now_us=now_us, data=taken)]
