"""Trust policies: the grammar, line by line, and quorums against a naive count."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.signers import LOG, LOG_KEYS, LOG_PQ, ORIGIN, STRANGER, WITNESS, WITNESS_PQ, ed25519, seed_of, sign_checkpoint
from graven.core.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from graven.core.errors import BadInput, Disproved
from graven.core.note import COSIG_ED25519, ED25519, Key, Note, Signed, format_vkey
from graven.core.policy import Policy, open_trusted, parse_policy, shown
from graven.keys.signature import verify_signature

L = format_vkey(LOG.key)
W1, W2 = format_vkey(WITNESS.key), format_vkey(WITNESS_PQ.key)


def witness_key(number: int) -> Key:
    return Key(f"w{number}.invalid", COSIG_ED25519, seed_of(f"a public key {number}"))


def vkey(number: int) -> str:
    return format_vkey(witness_key(number))


def checkpoint_seen_by(*keys: Key) -> SignedCheckpoint:
    """As if opened: policies look at who signed, not at signatures."""
    signed = (Signed(LOG.key, None), *(Signed(key, 1) for key in keys))
    return SignedCheckpoint(Checkpoint(ORIGIN, 1, bytes(32)), Note("", ()), b"", signed)


def test_the_example_of_the_specification() -> None:
    policy = parse_policy(
        f"""
log {L}

witness X1 {vkey(1)}
witness X2 {vkey(2)}
witness X3 {vkey(3)}
group X-witnesses 2 X1 X2 X3

witness Y1 {vkey(4)}
witness Y2 {vkey(5)}
witness Y3 {vkey(6)}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""
    )
    assert [group.threshold for group in policy.groups] == [2, 1, 2]
    met = checkpoint_seen_by(witness_key(1), witness_key(3), witness_key(5))
    assert policy.check(met) == ("X1", "X3", "Y2")
    for keys in ((1, 2, 3), (1, 4, 5, 6), ()):
        with pytest.raises(Disproved, match="quorum"):
            policy.check(checkpoint_seen_by(*map(witness_key, keys)))


def test_comments_white_space_and_urls() -> None:
    policy = parse_policy(
        f"# a comment\n  # another, é\n\n\t log\t{L}  https://log.example/ \n"
        f"witness  é {vkey(1)} https://w.example\n \t\nquorum é"
    )
    assert policy.logs == ((LOG.key, "https://log.example/"),)
    assert policy.witnesses[0].name == "é"
    assert policy.witnesses[0].url == "https://w.example"
    assert policy.quorum == "é"
    assert parse_policy(f"log {L}\nquorum none\n").logs == ((LOG.key, None),)


def test_names_are_opaque_octets() -> None:
    policy = parse_policy(
        b"log %s\nwitness \xff %s\nwitness \xc3\xbf %s\ngroup g any \xff\nquorum g\n"
        % (L.encode(), vkey(1).encode(), vkey(2).encode())
    )
    assert policy.check(checkpoint_seen_by(witness_key(1))) == ("\udcff",)
    assert shown("\udcff") == "\ufffd"
    with pytest.raises(Disproved, match="quorum"):
        policy.check(checkpoint_seen_by(witness_key(2)))
    with pytest.raises(Disproved) as unmet:
        policy.check(checkpoint_seen_by())
    str(unmet.value).encode()


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (f"log {L}\n", 0, "without a quorum"),
        (f"log {L}\nquorum none\nquorum none\n", 3, "second quorum"),
        (f"log {L}\nquorum w\n", 2, "not defined above"),
        (f"quorum w\nwitness w {vkey(1)}\n", 1, "not defined above"),
        ("quorum\n", 1, "not a line"),
        ("quorum none none\n", 1, "not a line"),
        ("log\n", 1, "not a line"),
        (f"log {L} u v\n", 1, "not a line"),
        (f"witness {vkey(1)}\n", 1, "not a line"),
        (f"witness w {vkey(1)} u v\n", 1, "not a line"),
        ("group g any\n", 1, "not a line"),
        ("logs x\n", 1, "not a line"),
        ("LOG x\n", 1, "not a line"),
        (f"log {L[:-1]}\n", 1, "base64"),
        (f"log {L}\nlog {L}\n", 2, "already"),
        (f"log {L}\nlog {format_vkey(Key('other', ED25519, LOG.key.public))}\n", 2, "already"),
        (
            f"witness a {vkey(1)}\nwitness b {format_vkey(Key('b', COSIG_ED25519, witness_key(1).public))}\n",
            2,
            "already",
        ),
        (f"log {L}\nwitness a {format_vkey(Key('w', COSIG_ED25519, LOG.key.public))}\n", 2, "already"),
        (f"log {vkey(1)}\n", 1, "type 0x04"),
        (f"witness w {L}\n", 1, "type 0x01"),
        (f"witness none {vkey(1)}\n", 1, "is taken"),
        (f"witness w {vkey(1)}\nwitness w {vkey(2)}\n", 2, "is taken"),
        (f"witness w {vkey(1)}\ngroup w any w\n", 2, "is taken"),
        (f"witness w {vkey(1)}\ngroup none any w\n", 2, "is taken"),
        ("group g any g\n", 1, "not defined above"),
        ("group g any none\n", 1, "not defined above"),
        (f"witness w {vkey(1)}\ngroup g any w w\n", 2, "a member of a group already"),
        (f"witness w {vkey(1)}\ngroup g any w\ngroup h any w\n", 3, "a member of a group already"),
        (f"witness w {vkey(1)}\ngroup g 0 w\n", 2, "threshold"),
        (f"witness w {vkey(1)}\ngroup g 2 w\n", 2, "threshold"),
        (f"witness w {vkey(1)}\ngroup g 01 w\n", 2, "threshold"),
        (f"witness w {vkey(1)}\ngroup g -1 w\n", 2, "threshold"),
        (f"witness w {vkey(1)}\ngroup g most w\n", 2, "threshold"),
        (f"log {L}\r\nquorum none\r\n", 1, "control character"),
        ("quorum none\x00\n", 1, "control character"),
        ("quorum none\x7f\n", 1, "control character"),
    ],
)
def test_what_is_refused_and_on_which_line(text: str, line: int, what: str) -> None:
    with pytest.raises(BadInput, match=what) as refused:
        parse_policy(text)
    assert refused.value.place == (f"policy line {line}" if line else "")


def test_bounds() -> None:
    witnesses = "".join(f"witness w{n} {vkey(n)}\n" for n in range(200))
    groups = "".join(f"group g{n} any w{n}\n" for n in range(200))
    logs = "".join(f"log {format_vkey(Key(f'log{n}', ED25519, seed_of(f'log {n}')))}\n" for n in range(200))
    names = " ".join(f"g{n}" for n in range(200))
    policy = parse_policy(logs + witnesses + groups + f"group all-of-them 200 {names}\nquorum all-of-them\n")
    assert (len(policy.logs), len(policy.witnesses), len(policy.groups)) == (200, 200, 201)
    with pytest.raises(BadInput, match="1024 lines"):
        parse_policy("quorum none\n" + "".join(f"witness w{n} {vkey(n)}\n" for n in range(1024)))
    with pytest.raises(BadInput, match="more than"):
        parse_policy("# " + "x" * (1 << 20))
    with pytest.raises(BadInput, match="not valid Unicode"):
        parse_policy("# \ud800\nquorum none\n")
    parse_policy("# nothing\n" * 5000 + "quorum none\n")


@dataclass(frozen=True)
class Drawn:
    policy: Policy
    witnesses: int


@st.composite
def policies(draw: st.DrawFn) -> Drawn:
    """A policy written at random: witnesses, then groups of names not yet used."""
    count = draw(st.integers(1, 6))
    lines = [f"log {L}", *(f"witness w{n} {vkey(n)}" for n in range(count))]
    free = [f"w{n}" for n in range(count)]
    for number in range(draw(st.integers(0, 3))):
        if not free:
            break
        members = draw(st.lists(st.sampled_from(free), min_size=1, unique=True))
        rule = draw(st.sampled_from(["all", "any"]) | st.integers(1, len(members)).map(str))
        free = [name for name in free if name not in members] + [f"g{number}"]
        lines.append(f"group g{number} {rule} {' '.join(members)}")
    quorum = draw(st.sampled_from([line.split()[1] for line in lines[1:]] + ["none"]))
    return Drawn(parse_policy("\n".join([*lines, f"quorum {quorum}"])), count)


def naive(policy: Policy, name: str, seen: set[str]) -> bool:
    if name == "none":
        return True
    for group in policy.groups:
        if group.name == name:
            return sum(naive(policy, member, seen) for member in group.members) >= group.threshold
    return name in seen


@given(policies(), st.sets(st.integers(0, 5)))
@settings(max_examples=200)
def test_a_quorum_is_met_exactly_when_a_naive_count_says_so(drawn: Drawn, numbers: set[int]) -> None:
    seen = {f"w{n}" for n in numbers if n < drawn.witnesses}
    signed = checkpoint_seen_by(*(witness_key(n) for n in sorted(numbers)))
    if naive(drawn.policy, drawn.policy.quorum, seen):
        assert set(drawn.policy.check(signed)) == seen
    else:
        with pytest.raises(Disproved, match="quorum"):
            drawn.policy.check(signed)


def test_believing_a_checkpoint_by_a_policy() -> None:
    policy = parse_policy(f"log {L}\nwitness one {W1}\nwitness two {W2}\ngroup both all one two\nquorum both\n")
    full = sign_checkpoint(3, bytes(32), (LOG, LOG_PQ, WITNESS, WITNESS_PQ))
    signed, witnesses = open_trusted(full, policy, verify_signature)
    assert (signed.checkpoint.size, witnesses) == (3, ("one", "two"))
    with pytest.raises(Disproved, match="1 of 2 witnesses"):
        open_trusted(sign_checkpoint(3, bytes(32), (LOG, WITNESS)), policy, verify_signature)
    with pytest.raises(Disproved, match="no signature by a trusted key of this log"):
        open_trusted(sign_checkpoint(3, bytes(32), (WITNESS, WITNESS_PQ)), policy, verify_signature)
    with pytest.raises(Disproved):
        open_trusted(sign_checkpoint(3, bytes(32), (STRANGER, WITNESS, WITNESS_PQ)), policy, verify_signature)


def test_any_one_of_the_listed_logs_is_enough() -> None:
    other = ed25519("other.invalid", seed_of("other log"))
    policy = parse_policy(f"log {format_vkey(other.key)}\nlog {L}\nlog {format_vkey(LOG_PQ.key)}\nquorum none\n")
    assert open_trusted(sign_checkpoint(3, bytes(32), (LOG,)), policy, verify_signature)[1] == ()
    assert open_trusted(sign_checkpoint(3, bytes(32), (LOG_PQ,)), policy, verify_signature)[1] == ()
    with pytest.raises(Disproved):
        open_trusted(sign_checkpoint(3, bytes(32), (other,)), policy, verify_signature)


def test_a_policy_without_a_log_believes_nothing() -> None:
    policy = parse_policy(f"witness one {W1}\nquorum none\n")
    with pytest.raises(BadInput, match="without a log"):
        open_trusted(sign_checkpoint(3, bytes(32)), policy, verify_signature)
    with pytest.raises(BadInput, match="without a log"):
        policy.check(checkpoint_seen_by(WITNESS.key))


def test_cosignatures_nobody_checked_do_not_count() -> None:
    policy = parse_policy(f"log {L}\nwitness one {W1}\nquorum one\n")
    only_log = open_checkpoint(sign_checkpoint(3, bytes(32), (LOG, LOG_PQ, WITNESS)), LOG_KEYS, verify_signature)
    with pytest.raises(Disproved, match="quorum"):
        policy.check(only_log)
    elsewhere = parse_policy(f"log {format_vkey(STRANGER.key)}\nquorum none\n")
    with pytest.raises(Disproved, match="no log of the policy"):
        elsewhere.check(only_log)
