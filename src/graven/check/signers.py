"""Who vouches for a checkpoint: said in the same words for every kind of document."""

from collections.abc import Sequence

from graven.anchor.policies import describe_trust
from graven.check.verdict import Good, Trust
from graven.core.checkpoint import SignedCheckpoint
from graven.core.policy import shown
from graven.core.spelling import encode_base64
from graven.core.succession import Relied
from graven.runtime.clock import rfc3339


def add_signers(good: Good, signed: SignedCheckpoint, witnesses: Sequence[str], trust: Trust) -> None:
    """Who vouches for the checkpoint: keys of the log, and witnesses that count."""
    head = signed.checkpoint
    keys = [f"{one.key.name}+{one.key.id.hex()}" for one in signed.signed]
    times = [one.time for one in signed.signed if one.time is not None]
    good.rows.append(("signed by", ", ".join(keys)))
    if times:
        good.rows.append(("signed at", f"{rfc3339(max(times) * 1_000_000)} (the newest time a signer states)"))
    good.rows.append(("witnesses", describe_trust(trust.policy, witnesses)))
    relied = [one for one in trust.relied if one.handover.last < head.size]
    for one in relied:
        good.rows.append(("relied on", f"the hand-over of the log's keys {_in_words(one, trust)}"))
    seen, members = trust.policy.tally(witnesses) if trust.policy is not None else ((), ())
    good.fields |= {
        "origin": head.origin, "size": head.size, "root": encode_base64(head.root),
        "signed_by": keys, "witnesses": [shown(name) for name in witnesses],
        "trust": describe_trust(trust.policy, witnesses), "cosigned": list(seen), "cosigners": list(members),
        "handovers": [
            {"index": one.index, "last_size": one.handover.last, "witnesses": [shown(name) for name in one.witnesses]}
            for one in relied
        ],
    }  # fmt: skip


def _in_words(relied: Relied, trust: Trust) -> str:
    new = ", ".join(key.id.hex() for key in relied.handover.new)
    who = describe_trust(trust.policy, relied.witnesses)
    return f"at {relied.handover.last} entries to {new} (event {relied.index}; {who})"
