"""Receipts against the tree that is published today: was what the log promised kept?

A receipt names a tree. The promise is kept when the published tree begins with that tree, which the tiles prove; it is
broken when the published tree provably begins with another one. Tiles that lead nowhere, and a published tree that has
not reached the promised size, decide nothing.
"""

from dataclasses import dataclass

from graven.audit.prefix import prefix_of
from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import BadInput
from graven.core.prefix import Prefix
from graven.core.receipt import Receipt
from graven.runtime.site import Site


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kept`: True, False (then `proof`, where it is of a smaller size, shows what the published tree begins with), or
    None where the published tree has not reached the promised size.
    """

    kept: bool | None
    proof: Prefix | None = None


def judge(receipt: Receipt, signed: SignedCheckpoint, site: Site) -> Verdict:
    """Hold one believed receipt against the published tree of `signed`, whose tiles `site` has.

    Raises BadInput: a receipt of another log. Disproved: the tiles do not lead to the signed root. Broken: they cannot
    be had.
    """
    head = signed.checkpoint
    if receipt.origin != head.origin:
        raise BadInput("a receipt of another log", place=receipt.origin, mend=f"the published log is {head.origin}")
    if receipt.size > head.size:
        return Verdict(None)
    if receipt.size == head.size:
        return Verdict(receipt.root == head.root)
    proof = prefix_of(site, receipt.size, signed)
    return Verdict(True) if proof.root == receipt.root else Verdict(False, proof)
