"""The add-checkpoint body: one spelling, but for unused bits in signature lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.signers import LOG, ORIGIN, sign_checkpoint
from graven.core.errors import BadInput
from graven.core.note import parse_note
from graven.core.spelling import encode_base64
from graven.core.witness_request import MAX_REQUEST_BYTES, format_add_checkpoint, parse_add_checkpoint

CHECKPOINT = sign_checkpoint(9, bytes(32), (LOG,))
HASH = bytes(range(32))


@given(st.integers(0, 9), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_requests_round_trip(old: int, proof: list[bytes]) -> None:
    body = format_add_checkpoint(old, proof, CHECKPOINT)
    assert parse_add_checkpoint(body) == (old, tuple(proof), parse_note(CHECKPOINT))


@pytest.mark.parametrize(
    "header",
    [
        "old 10\n",
        "old 01\n",
        "old -1\n",
        "old  1\n",
        "old\n",
        "Old 1\n",
        "",
        "old 1\n" + encode_base64(HASH)[:-1] + "\n",
        "old 1\n" + encode_base64(HASH).replace("8=", "9=") + "\n",
        "old 1\n" + encode_base64(HASH[:31]) + "\n",
        "old 1\n" + (encode_base64(HASH) + "\n") * 64,
        "old 1\n\n",
        "old 1\r\n",
        "old 1é\n",
    ],
)
def test_what_is_refused(header: str) -> None:
    with pytest.raises(BadInput):
        parse_add_checkpoint(header.encode() + b"\n" + CHECKPOINT)


def test_bounds_and_notes_that_are_no_checkpoints() -> None:
    with pytest.raises(BadInput, match="more than"):
        parse_add_checkpoint(b"old 0\n\n" + b"x" * MAX_REQUEST_BYTES)
    with pytest.raises(BadInput, match="not a checkpoint"):
        parse_add_checkpoint(b"old 0\n\n" + CHECKPOINT.replace(b"\n9\n", b"\n"))
    with pytest.raises(BadInput):
        format_add_checkpoint(10, [], CHECKPOINT)
    with pytest.raises(BadInput):
        format_add_checkpoint(0, [bytes(31)], CHECKPOINT)
    assert parse_add_checkpoint(format_add_checkpoint(0, [], CHECKPOINT))[2].signatures[0].name == ORIGIN
