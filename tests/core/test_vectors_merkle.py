"""The published Merkle cases of transparency-dev/merkle: each must be accepted or refused as its `wantErr` says."""

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graven.core.errors import BadInput, Disproved
from graven.core.merkle import (
    verify_consistency,
    verify_inclusion,
    verify_subtree_consistency,
    verify_subtree_inclusion,
)

Case = dict[str, Any]


def inclusion(case: Case) -> None:
    verify_inclusion(
        b64decode(case["leafHash"]),
        proof_of(case),
        index=case["leafIdx"],
        size=case["treeSize"],
        root=b64decode(case["root"]),
    )


def consistency(case: Case) -> None:
    verify_consistency(
        proof_of(case),
        old=case["size1"],
        new=case["size2"],
        old_root=b64decode(case["root1"]),
        new_root=b64decode(case["root2"]),
    )


def subtree_inclusion(case: Case) -> None:
    verify_subtree_inclusion(
        b64decode(case["leafHash"]),
        proof_of(case),
        index=case["leafIdx"],
        start=case["start"],
        end=case["end"],
        root=b64decode(case["root"]),
    )


def subtree_consistency(case: Case) -> None:
    verify_subtree_consistency(
        proof_of(case),
        start=case["start"],
        end=case["end"],
        size=case["size"],
        subtree_root=b64decode(case["root1"]),
        root=b64decode(case["root2"]),
    )


def proof_of(case: Case) -> list[bytes]:
    return [b64decode(text, validate=True) for text in case["proof"] or []]


@pytest.mark.parametrize(
    ("file", "verify", "count"),
    [
        ("merkle_inclusion.jsonl", inclusion, 98),
        ("merkle_consistency.jsonl", consistency, 98),
        ("merkle_subtreeinclusion.jsonl", subtree_inclusion, 204),
        ("merkle_subtreeconsistency.jsonl", subtree_consistency, 118),
    ],
)
def test_every_case_ends_as_published(shared: Path, file: str, verify: Callable[[Case], None], count: int) -> None:
    cases = [json.loads(line) for line in (shared / "vectors" / file).read_text().splitlines()]
    assert len(cases) == count
    wrong = []
    for case in cases:
        try:
            verify(case)
            refused = False
        except (BadInput, Disproved):
            refused = True
        if refused != case["wantErr"]:
            wrong.append(case["path"])
    assert wrong == []
