"""The decision of a witness, pure: may this checkpoint follow the one that was cosigned? C2SP tlog-witness.

    409   `old` is not the size of the newest cosigned checkpoint; the answer names that size
    422   equal size and another root; size 0 and a root other than the empty tree's; a proof where none belongs, or one
          that does not lead from the cosigned tree to this one
    None  it may be cosigned

Parsing (400), the origin (404) and the log's signatures (403) are judged before: `new` is what the log has signed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from graven.core.checkpoint import Checkpoint
from graven.core.errors import Disproved
from graven.core.merkle import EMPTY_ROOT, verify_consistency

Kind = Literal["fork", "unproved", "smaller"]
"""How a refused checkpoint stands to the cosigned one. `fork`: one size, two roots, which convicts the log whatever
anyone says. `unproved`: larger, with a proof that does not hold. `smaller`: an older tree. The last two convict nobody
alone (anyone may send a log's checkpoint late, or with a wrong proof); whoever has the entries can decide them."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status, the words of the answer, and what the refused checkpoint is evidence of, if of anything."""

    status: int
    words: str
    kind: Kind | None = None


def judge(old: int, proof: Sequence[bytes], new: Checkpoint, latest: Checkpoint | None) -> Refusal | None:
    """None when `new`, signed by its log, may be cosigned after `latest` (None: nothing was cosigned before)."""
    size = 0 if latest is None else latest.size
    forked = latest is not None and new.size == size and new.root != latest.root
    if old != size:
        return Refusal(409, f"{size}\n", "fork" if forked else "smaller" if new.size < size else None)
    if latest is not None and forked:
        return Refusal(422, f"no consistency proof can exist: another tree of size {size} was cosigned\n", "fork")
    if new.size == 0 and new.root != EMPTY_ROOT:
        return Refusal(422, "a tree of size 0 with a root that is not the empty tree's\n")
    if size == 0 and proof:
        return Refusal(422, "a consistency proof from size 0 must be empty\n")
    if latest is not None and size > 0:
        try:
            verify_consistency(proof, old=size, new=new.size, old_root=latest.root, new_root=new.root)
        except Disproved as error:
            words = f"the consistency proof does not hold: {error.what}\n"
            return Refusal(422, words, "unproved" if new.size > size else None)
    return None
