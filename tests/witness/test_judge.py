"""The decision, row by row."""

import pytest

from core.signers import ORIGIN
from graven.core.checkpoint import Checkpoint
from graven.core.merkle import EMPTY_ROOT
from graven.witness.judge import Refusal, judge
from witness.logs import Tree

TREE, OTHER = Tree(), Tree(salt=7)


def head(size: int, tree: Tree = TREE) -> Checkpoint:
    return Checkpoint(ORIGIN, size, tree.root(size))


def verdict(found: Refusal | None) -> tuple[int, str | None]:
    return (200, None) if found is None else (found.status, found.kind)


@pytest.mark.parametrize("old, size", [(1, 2), (1, 7), (3, 4), (4, 8), (6, 13), (64, 65), (100, 257), (255, 256)])
def test_growth_with_its_proof(old: int, size: int) -> None:
    given = TREE.proof(old, size)
    assert judge(old, given, head(size), head(old)) is None
    assert verdict(judge(old, given[:-1], head(size), head(old))) == (422, "unproved")
    assert verdict(judge(old, (*given, bytes(32)), head(size), head(old))) == (422, "unproved")
    for at in range(len(given)):
        wrong = [*given]
        wrong[at] = bytes([wrong[at][0] ^ 1]) + wrong[at][1:]
        assert verdict(judge(old, wrong, head(size), head(old))) == (422, "unproved")
    assert verdict(judge(old, given, head(size, OTHER), head(old))) == (422, "unproved")
    assert verdict(judge(old, OTHER.proof(old, size), head(size, OTHER), head(old))) == (422, "unproved")


def test_the_first_checkpoint() -> None:
    assert judge(0, (), head(5), None) is None
    assert judge(0, (), head(0), None) is None
    assert verdict(judge(0, (bytes(32),), head(5), None)) == (422, None)
    assert verdict(judge(0, (), Checkpoint(ORIGIN, 0, bytes(32)), None)) == (422, None)
    assert verdict(judge(3, (), head(5), None)) == (409, None)


def test_after_the_empty_tree() -> None:
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert judge(0, (), head(5), empty) is None
    assert judge(0, (), empty, empty) is None
    assert verdict(judge(0, (bytes(32),), head(5), empty)) == (422, None)
    assert verdict(judge(0, (), Checkpoint(ORIGIN, 0, bytes(32)), empty)) == (422, "fork")


def test_the_same_tree_again() -> None:
    assert judge(5, (), head(5), head(5)) is None
    assert verdict(judge(5, (bytes(32),), head(5), head(5))) == (422, None)


def test_a_fork_of_equal_size() -> None:
    assert verdict(judge(5, (), head(5, OTHER), head(5))) == (422, "fork")
    assert verdict(judge(3, (), head(5, OTHER), head(5))) == (409, "fork")


def test_another_old_size() -> None:
    for old in (0, 4, 6):
        found = judge(old, (), head(9), head(5))
        assert verdict(found) == (409, None) and found is not None and found.words == "5\n"
    assert verdict(judge(2, (), head(4), head(5))) == (409, "smaller")
    assert verdict(judge(0, (), head(5), head(5))) == (409, None)
