"""Challenges: a draw that anyone repeats, answers that excuse nothing, a bound that follows."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from math import comb
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.ledger import Ledger
from core.signers import LOG, LOG_KEYS, ORIGIN, STRANGER, Signer, ed25519, seed_of, sign_checkpoint, sign_text
from graven.core.challenge import (
    COUNT_MAX,
    SEED_BYTES_MAX,
    Challenge,
    bound,
    draw,
    format_challenge,
    open_challenge,
    parse_challenge,
)
from graven.core.challenge_answer import (
    ERASED,
    LOST,
    MISSING,
    OPENED,
    ChallengeAnswer,
    Judged,
    Shown,
    format_answer,
    judge,
    parse_answer,
)
from graven.core.challenge_statement import (
    Statement,
    format_statement,
    make_statement,
    open_statement,
    parse_statement,
)
from graven.core.disclosed import Disclosed, Withheld
from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.range import Closed, Opened
from graven.keys.signature import verify_signature

AUDITOR = ed25519("auditor.invalid/a1", seed_of("auditor"))
SEED = seed_of("lottery")
LEDGER = Ledger()
for number in range(8):
    LEDGER.seal(b'{"action":"n %d"}' % number, b"raw" if number == 3 else None)
ERASURE_OF_EVENTS = LEDGER.seal(
    b'{"action":"graven.erasure","data":{"first":1,"last":2,"kind":"event","class":"x"}}', source=0
)
ERASURE_OF_RAWS = LEDGER.seal(b'{"action":"graven.erasure","data":{"first":3,"last":3,"kind":"raw"}}', source=0)
HEALED = LEDGER.seal(b'{"action":"graven.heal","data":{"lost":[[4,6]]}}', source=0)
NO_ACT = LEDGER.seal(b'{"action":"graven.erasure","data":{"first":0,"last":99,"kind":"event"}}', source=7)
SIZE = len(LEDGER.slots)
CHALLENGE = Challenge(0, SIZE, SIZE, SEED, "a lottery", LEDGER.checkpoint())


STRANGERS = sign_checkpoint(SIZE, LEDGER.root, (STRANGER,))


def signed(one: Challenge = CHALLENGE, by: Signer = AUDITOR) -> bytes:
    return sign_text(format_challenge(one), by)


def shown(index: int, by: int | None = None, *, event: bool = True, raw: bool = True) -> Shown:
    slot = LEDGER.slots[index]
    kept_raw = None if slot.raw is None else Disclosed(slot.raw, slot.raw_salt) if raw else Withheld(slot.d_raw)
    kept = Disclosed(slot.event, slot.event_salt) if event else Withheld(slot.d_event)
    return Shown(index, Opened(slot.head, kept, kept_raw), tuple(LEDGER.inclusion(index)), by)


def closed(index: int, by: int | None = None) -> Shown:
    return Shown(index, Closed(LEDGER.slots[index].entry), tuple(LEDGER.inclusion(index)), by)


ACTS = tuple(shown(index) for index in (ERASURE_OF_EVENTS, ERASURE_OF_RAWS, HEALED, NO_ACT))


def judged(*changed: Shown, acts: tuple[Shown, ...] = ACTS, without: tuple[int, ...] = ()) -> Judged:
    rows = {index: shown(index) for index in range(SIZE)} | {row.index: row for row in changed}
    answers = tuple(row for index, row in rows.items() if index not in without)
    answer = parse_answer(format_answer(ChallengeAnswer(signed(), answers, acts)))
    return judge(answer, [AUDITOR.key], LOG_KEYS, verify_signature)


def drawn_by_hand(seed: bytes, start: int, end: int, count: int) -> list[int]:
    """The rule of the page, written down again."""
    among, counter = end - start, 0
    found: list[int] = []
    while len(found) < count:
        x = int.from_bytes(sha256(seed + counter.to_bytes(8, "big")).digest()[:8], "big")
        counter += 1
        if x < (2**64 // among) * among and start + x % among not in found:
            found.append(start + x % among)
    return found


@given(st.binary(min_size=16, max_size=40), st.integers(0, 50), st.integers(1, 60), st.data())
@settings(max_examples=60)
def test_the_draw_is_distinct_in_range_and_repeatable(seed: bytes, start: int, among: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, among))
    found = draw(seed, start=start, end=start + among, count=count)
    assert found == drawn_by_hand(seed, start, start + among, count)
    assert len(set(found)) == count and all(start <= index < start + among for index in found)


def test_a_known_draw() -> None:
    assert draw(b"\0" * 32, start=0, end=1_000_000, count=5) == drawn_by_hand(b"\0" * 32, 0, 1_000_000, 5)
    assert draw(b"\0" * 32, start=0, end=1_000_000, count=5) == [143_308, 492_620, 453_240, 178_161, 886_514]


def test_where_nearly_half_of_all_numbers_are_passed_over() -> None:
    among = 2**63 + 1
    assert draw(SEED, start=0, end=among, count=40) == drawn_by_hand(SEED, 0, among, 40)


@pytest.mark.parametrize("count", [0, 6, COUNT_MAX + 1])
def test_no_draw_of_more_than_there_are(count: int) -> None:
    with pytest.raises(BadInput):
        draw(SEED, start=0, end=5, count=count)


def exact_bound(among: int, count: int, missing: int) -> int:
    """By counting: the largest number of bad ones under which so few were hit with a chance of 5 % or more."""
    total = comb(among, count)
    best = missing
    for bad in range(missing, among - (count - missing) + 1):
        ways = sum(comb(bad, hit) * comb(among - bad, count - hit) for hit in range(missing + 1))
        if 20 * ways >= total:
            best = bad
    return best


@given(st.integers(1, 60), st.data())
@settings(max_examples=150)
def test_the_bound_is_never_below_the_exact_one(among: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, among))
    missing = data.draw(st.integers(0, count))
    found = bound(among=among, count=count, missing=missing)
    assert exact_bound(among, count, missing) <= found <= among - (count - missing)


def test_known_bounds() -> None:
    assert bound(among=1_000_000, count=459, missing=0) == 6505
    assert bound(among=7, count=7, missing=2) == 2 and bound(among=9, count=9, missing=9) == 9
    with pytest.raises(BadInput):
        bound(among=5, count=6, missing=0)


def test_all_opened() -> None:
    found = judged()
    assert found.count(OPENED) == SIZE and found.why == {} and found.auditor == AUDITOR.key


def test_the_four_outcomes() -> None:
    found = judged(
        shown(1, ERASURE_OF_EVENTS, event=False), shown(3, ERASURE_OF_RAWS, raw=False), closed(4, HEALED),
        closed(5, HEALED), without=(7,),
    )  # fmt: skip
    assert {index: one for index, one in found.outcome.items() if one != OPENED} == {
        1: ERASED, 4: LOST, 5: LOST, 7: MISSING,
    }  # fmt: skip
    assert found.why == {7: "no answer"}


@pytest.mark.parametrize(
    "row",
    [
        shown(0, event=False),
        shown(0, ERASURE_OF_EVENTS, event=False),
        shown(0, NO_ACT, event=False),  # any producer can write such a text
        shown(1, ERASURE_OF_RAWS, event=False),
        shown(1, SIZE, event=False),
        shown(3, raw=False),
        shown(3, ERASURE_OF_EVENTS, raw=False),
        closed(0),
        closed(6, HEALED),
        closed(4, ERASURE_OF_EVENTS),
        replace(shown(0), proof=shown(1).proof),
        replace(shown(0), proof=()),
        replace(shown(0), entry=shown(1).entry),
        Shown(4, Closed(bytes(32)), shown(4).proof, HEALED),
    ],
)
def test_what_excuses_nothing(row: Shown) -> None:
    found = judged(row)
    assert found.outcome[row.index] == MISSING and found.count(MISSING) == 1 and found.why[row.index]


def test_an_act_that_is_not_in_the_tree_excuses_nothing() -> None:
    forged = Opened(
        b"graven/1 0 1700000000000000\n",
        Disclosed(b'{"action":"graven.erasure","data":{"first":0,"last":9,"kind":"event"}}', bytes(32)), None,
    )  # fmt: skip
    later = Shown(SIZE + 3, forged, (), None)
    for act in (Shown(ERASURE_OF_EVENTS, forged, tuple(LEDGER.inclusion(ERASURE_OF_EVENTS))), later):
        found = judged(shown(0, act.index, event=False), acts=(act,))
        assert found.outcome[0] == MISSING


@pytest.mark.parametrize("event", [b"[]", b"\xff", b'{"action":"graven.heal","data":[]}', b"{", b'{"data":1.5}'])
def test_an_act_that_says_nothing(event: bytes) -> None:
    ledger = Ledger()
    ledger.seal(b"{}")
    ledger.seal(event, source=0)
    one = Challenge(0, 1, 1, SEED, "a lottery", ledger.checkpoint())
    entry = Closed(ledger.slots[0].entry)
    act = ledger.slots[1]
    opened = Opened(act.head, Disclosed(act.event, act.event_salt), None)
    answer = ChallengeAnswer(
        signed(one), (Shown(0, entry, tuple(ledger.inclusion(0)), 1),), (Shown(1, opened, tuple(ledger.inclusion(1))),)
    )
    assert judge(answer, [AUDITOR.key], LOG_KEYS, verify_signature).count(MISSING) == 1


def test_who_may_challenge_and_over_what() -> None:
    for data, auditors, trust in (
        (signed(by=STRANGER), [AUDITOR.key], LOG_KEYS),
        (signed(), [STRANGER.key], LOG_KEYS),
        (signed(), [AUDITOR.key], [STRANGER.key]),
        (signed(by=LOG), [LOG.key], LOG_KEYS),  # the log as its own auditor
        (
            signed(replace(CHALLENGE, checkpoint=sign_checkpoint(SIZE, LEDGER.root, (STRANGER,)))),
            [AUDITOR.key],
            LOG_KEYS,
        ),
    ):
        with pytest.raises(Disproved):
            open_challenge(data, auditors, trust, verify_signature)
    with pytest.raises(BadInput, match="auditor"):
        open_challenge(signed(), [], LOG_KEYS, verify_signature)


@pytest.mark.parametrize(
    "change",
    [
        {"end": SIZE + 1}, {"start": 5, "end": 5}, {"count": 0}, {"count": SIZE + 1}, {"seed": b"short"},
        {"seed": bytes(SEED_BYTES_MAX + 1)}, {"seed_from": ""}, {"seed_from": "two\nlines"}, {"seed_from": "x" * 501},
        {"checkpoint": b"none"},
    ],
)  # fmt: skip
def test_what_is_no_challenge(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        replace(CHALLENGE, **change)


TEXT = format_challenge(CHALLENGE)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("count 12", "count 012"), TEXT.replace(ORIGIN, ORIGIN + "x", 1),
        TEXT.replace("\n12\n", "\n11\n", 1),
        TEXT + "more 1\n", TEXT.replace("/v1", "/v2", 1), TEXT.replace("range 0 12", "range 0  12"),
    ],
)  # fmt: skip
def test_one_spelling_only(text: str) -> None:
    assert text != TEXT
    with pytest.raises(BadInput):
        parse_challenge(sign_text(text, AUDITOR))


def stated(found: Judged, answer: bytes | None = b"answer") -> Statement:
    return make_statement(found, challenge=signed(), answer=answer, time="2026-01-01T00:00:00Z")


def test_the_statement() -> None:
    one = stated(judged(without=(2, 7)))
    assert (one.opened, [index for index, _ in one.missing], one.bound) == (SIZE - 2, [2, 7], 2)
    data = sign_text(format_statement(one), AUDITOR)
    assert open_statement(data, [AUDITOR.key], verify_signature) == (one, AUDITOR.key)
    assert "missing-index 7 no answer\n" in data.decode()
    assert open_statement(sign_text(format_statement(stated(judged(), None)), AUDITOR), [AUDITOR.key], verify_signature)
    with pytest.raises(Disproved):
        open_statement(data, [STRANGER.key], verify_signature)


@pytest.mark.parametrize(
    "lie",
    [
        lambda text: text.replace("bound 95 2", "bound 95 1"), lambda text: text.replace("opened 10", "opened 11"),
        lambda text: text.replace("missing 2", "missing 3"),
        lambda text: text.replace("missing-index 2", "missing-index 8"),
        lambda text: text.replace("missing-index 2 no answer\n", ""), lambda text: text.replace("bound 95", "bound 99"),
        lambda text: text.replace("missing-index 7", "missing-index 77"), lambda text: text + "more\n",
    ],
)  # fmt: skip
def test_a_statement_that_does_not_add_up(lie: Callable[[str], str]) -> None:
    text = format_statement(stated(judged(without=(2, 7))))
    assert lie(text) != text
    with pytest.raises((BadInput, Disproved)):
        parse_statement(sign_text(lie(text), AUDITOR))


ANSWER = format_answer(ChallengeAnswer(signed(), tuple(map(shown, range(SIZE))), ACTS))


@given(st.binary(max_size=60), st.integers(0, len(ANSWER) - 1))
@settings(max_examples=150)
def test_noise_in_an_answer(noise: bytes, at: int) -> None:
    for data in (noise, ANSWER[:at] + noise + ANSWER[at + len(noise) :]):
        try:
            found = judge(parse_answer(data), [AUDITOR.key], LOG_KEYS, verify_signature)
        except GravenError:
            continue
        assert len(found.outcome) == SIZE


@given(st.binary(max_size=60), st.integers(0, 900))
@settings(max_examples=200)
def test_noise_in_notes(noise: bytes, at: int) -> None:
    for data in (signed(), sign_text(format_statement(stated(judged(without=(2,)))), AUDITOR)):
        changed = data[:at] + noise + data[at + len(noise) :]
        with contextlib.suppress(GravenError):
            assert open_challenge(changed, [AUDITOR.key], LOG_KEYS, verify_signature)[0] == CHALLENGE
        with contextlib.suppress(GravenError):
            open_statement(changed, [AUDITOR.key], verify_signature)
            assert changed == data


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"}, {"answers": [1]}, {"answers": {}}, {"acts": [{"index": 1}]}, {"more": 1},
        {"answers": json.loads(ANSWER)["answers"][:1] * 2}, {"challenge": 1},
    ],
)  # fmt: skip
def test_what_is_no_answer(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        parse_answer(json.dumps(json.loads(ANSWER) | change).encode())
