"""tlog-proof files: one spelling, and nothing believed that the tree does not show."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.ledger import Ledger
from core.signers import LOG, LOG_KEYS, LOG_PQ, RECEIPTS, STRANGER, WITNESS, sign_checkpoint
from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.merkle import hash_leaf
from graven.core.note import format_vkey
from graven.core.policy import parse_policy
from graven.core.proof import (
    MAX_PROOF_BYTES,
    TlogProof,
    entry_of_proof,
    format_proof,
    parse_proof,
    verify_bare_proof,
    verify_proof,
    verify_proof_counting,
)
from graven.core.spelling import MAX_NUMBER, encode_base64
from graven.keys.signature import verify_signature

LEDGER = Ledger()
for number in range(11):
    LEDGER.seal(b'{"action":"test","count":%d}' % number)
BARE = format_proof(LEDGER.proof(6, bare=True))

hashes = st.binary(min_size=32, max_size=32)
proofs = st.builds(
    TlogProof,
    st.none() | st.binary(min_size=1, max_size=50),
    st.integers(0, MAX_NUMBER),
    st.lists(hashes, max_size=63).map(tuple),
    st.just(LEDGER.checkpoint((LOG,))),
)


@given(proofs)
def test_proofs_round_trip(proof: TlogProof) -> None:
    assert parse_proof(format_proof(proof)) == proof


def test_the_file_as_the_specification_shows_it() -> None:
    proof = LEDGER.proof(6, bare=True)
    lines = [
        "c2sp.org/tlog-proof@v1",
        "extra " + encode_base64(LEDGER.slots[6].entry),
        "index 6",
        *map(encode_base64, LEDGER.inclusion(6)),
        "",
        proof.checkpoint.decode(),
    ]
    assert format_proof(proof) == "\n".join(lines).encode()


@pytest.mark.parametrize("index", range(11))
def test_every_index_is_proved(index: int) -> None:
    proof = parse_proof(format_proof(LEDGER.proof(index)))
    signed = verify_proof(proof, hash_leaf(LEDGER.slots[index].entry), LOG_KEYS, verify_signature)
    assert signed.checkpoint.size == 11
    bare = LEDGER.proof(index, bare=True)
    assert entry_of_proof(bare) == LEDGER.slots[index].entry
    assert verify_bare_proof(bare, [LOG.key], verify_signature).checkpoint.root == LEDGER.root


@given(st.integers(0, len(BARE) - 1), st.integers(1, 255))
@settings(max_examples=400, deadline=None)
def test_no_byte_of_a_bare_proof_may_change(position: int, mask: int) -> None:
    changed = bytearray(BARE)
    changed[position] ^= mask
    with pytest.raises(GravenError):
        verify_bare_proof(parse_proof(bytes(changed)), LOG_KEYS, verify_signature)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text.replace("@v1", "@v2"),
        lambda text: text.replace("index 6\n", ""),
        lambda text: text.replace("index 6", "index 06"),
        lambda text: text.replace("index 6", f"index {2**63}"),
        lambda text: text.replace("index 6", "index  6"),
        lambda text: text.replace("extra ", "extra  "),
        lambda text: text.replace("index 6\n", "index 6\nindex 6\n"),
        lambda text: text.replace("index 6\n", "index 6\n" + encode_base64(bytes(31)) + "\n"),
        lambda text: text.replace("index 6\n", "index 6\n" + (encode_base64(bytes(32)) + "\n") * 64),
        lambda text: text.replace("\n\n", "\n \n"),
        lambda text: text.partition("\n\n")[0] + "\n\n",
        lambda text: text.partition("\n\n")[0] + "\n\nno checkpoint\n\n\u2014 a AAAAAAA=\n",
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "é" + text,
        lambda text: text + "more",
        lambda text: text + "x" * MAX_PROOF_BYTES,
        lambda text: "c2sp.org/tlog-proof@v1\nextra \n" + text.partition("\n")[2].partition("\n")[2],
    ],
)
def test_what_is_not_a_proof(change: Callable[[str], str]) -> None:
    with pytest.raises(BadInput):
        parse_proof(change(BARE.decode()).encode())


@pytest.mark.parametrize(
    "make",
    [
        lambda c: TlogProof(b"", 0, (), c),
        lambda c: TlogProof(bytes(65537), 0, (), c),
        lambda c: TlogProof(None, -1, (), c),
        lambda c: TlogProof(None, 2**63, (), c),
        lambda c: TlogProof(None, 0, (bytes(31),), c),
        lambda c: TlogProof(None, 0, (bytes(32),) * 64, c),
        lambda c: TlogProof(None, 0, (), c[:-1]),
    ],
)
def test_impossible_proofs(make: Callable[[bytes], TlogProof]) -> None:
    with pytest.raises(BadInput):
        make(LEDGER.checkpoint((LOG,)))


def test_the_wrong_leaf_index_or_tree_is_disproved() -> None:
    proof, leaf = LEDGER.proof(6), hash_leaf(LEDGER.slots[6].entry)
    with pytest.raises(Disproved, match="does not lead to the root"):
        verify_proof(proof, hash_leaf(LEDGER.slots[5].entry), LOG_KEYS, verify_signature)
    with pytest.raises(Disproved):
        verify_proof(TlogProof(None, 7, proof.hashes, proof.checkpoint), leaf, LOG_KEYS, verify_signature)
    with pytest.raises(Disproved, match="not in the tree"):
        verify_proof(TlogProof(None, 11, proof.hashes, proof.checkpoint), leaf, LOG_KEYS, verify_signature)
    with pytest.raises(Disproved, match="wrong length"):
        verify_proof(TlogProof(None, 6, proof.hashes[:-1], proof.checkpoint), leaf, LOG_KEYS, verify_signature)
    other = sign_checkpoint(11, bytes(32))
    with pytest.raises(Disproved, match="does not lead to the root"):
        verify_proof(TlogProof(None, 6, proof.hashes, other), leaf, LOG_KEYS, verify_signature)


def test_every_key_given_for_the_log_must_have_signed() -> None:
    leaf = hash_leaf(LEDGER.slots[6].entry)
    one = LEDGER.proof(6, signers=(LOG,))
    assert verify_proof(one, leaf, [LOG.key], verify_signature).checkpoint.size == 11
    assert verify_proof(one, leaf, [LOG.key, WITNESS.key], verify_signature).checkpoint.size == 11
    with pytest.raises(Disproved, match="must sign has not signed"):
        verify_proof(one, leaf, LOG_KEYS, verify_signature)
    for keys in ([STRANGER.key], [WITNESS.key], [RECEIPTS.key]):
        with pytest.raises(Disproved):
            verify_proof(one, leaf, keys, verify_signature)
    with pytest.raises(BadInput):
        verify_proof(one, leaf, [], verify_signature)


def test_a_policy_counts_witnesses() -> None:
    leaf = hash_leaf(LEDGER.slots[6].entry)
    policy = parse_policy(f"log {format_vkey(LOG_PQ.key)}\nwitness w {format_vkey(WITNESS.key)}\nquorum w\n")
    with pytest.raises(Disproved, match="quorum"):
        verify_proof(LEDGER.proof(6), leaf, policy, verify_signature)
    witnessed = LEDGER.proof(6, signers=(LOG, LOG_PQ, WITNESS))
    assert verify_proof_counting(witnessed, leaf, policy, verify_signature)[1] == ("w",)


def test_a_proof_without_its_entry_cannot_be_checked_alone() -> None:
    for proof in (LEDGER.proof(6), TlogProof(b"short", 6, LEDGER.proof(6).hashes, LEDGER.checkpoint())):
        with pytest.raises(BadInput, match="does not carry its entry"):
            verify_bare_proof(proof, LOG_KEYS, verify_signature)
