"""The published add-checkpoint requests of a witness's own test, in order, against the pure parts of a witness.

Source: FiloSottile/sunlight, internal/witness/witness_test.go, TestAddCheckpoint (ISC).
"""

import json
from pathlib import Path

import pytest

from graven.core.checkpoint import Checkpoint, parse_checkpoint
from graven.core.errors import BadInput, Disproved
from graven.core.merkle import verify_consistency
from graven.core.note import ED25519, Key, open_note, parse_note
from graven.core.witness_request import parse_add_checkpoint
from graven.keys.signature import verify_signature


def answer(body: bytes, key: Key, latest: Checkpoint | None) -> tuple[int, Checkpoint | None]:
    """The status C2SP tlog-witness asks for, and the checkpoint the witness keeps."""
    try:
        old, proof, note = parse_add_checkpoint(body)
    except BadInput:
        return 400, latest
    checkpoint, _ = parse_checkpoint(note.text)
    if checkpoint.origin != key.name:
        return 404, latest
    try:
        open_note(note, [key], verify_signature)
    except Disproved:
        return 403, latest
    if old != (latest.size if latest else 0):
        return 409, latest
    try:
        if latest is not None:
            verify_consistency(proof, old=old, new=checkpoint.size, old_root=latest.root, new_root=checkpoint.root)
    except Disproved:
        return 422, latest
    return 200, checkpoint


def test_every_request_gets_the_published_status(shared: Path) -> None:
    vectors = json.loads((shared / "vectors" / "witness_add_checkpoint.json").read_text())
    key = Key(vectors["log_origin"], ED25519, bytes.fromhex(vectors["log_pubkey_hex"]))
    latest: Checkpoint | None = None
    found = {}
    for case in vectors["cases"]:
        found[case["name"]], latest = answer(case["body"].encode(), key, latest)
    assert found == {case["name"]: case["want_status"] for case in vectors["cases"]}
    assert len(found) == 11
    assert latest is not None
    assert latest.size == 5


def test_unused_bits_are_read_here_and_nowhere_else(shared: Path) -> None:
    vectors = json.loads((shared / "vectors" / "witness_add_checkpoint.json").read_text())
    body = next(case["body"] for case in vectors["cases"] if case["name"] == "invalid signature").encode()
    assert body.endswith(b"x6gx=\n")
    old, proof, note = parse_add_checkpoint(body)
    assert (old, len(proof), len(note.signatures)) == (1, 2, 1)
    with pytest.raises(BadInput, match="unused bits"):
        parse_note(body.partition(b"\n\n")[2])
