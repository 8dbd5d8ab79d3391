"""Time stamps of real authorities: asked, verified, kept, put into the log, and what liars and outages cost."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from anchor.authorities import Authority, make_authority, openssl, serving
from anchor.hosts import until
from anchor.timed import EVENT, Pretender, make_timed, pretender, timed_open
from core.tokens import Maker, days, issue, refused, root, stamper
from graven.anchor.stored import keep_anchor
from graven.app import Log, open_keyring
from graven.check.documents import check_document
from graven.check.verdict import Trust
from graven.core import der
from graven.core.anchored import RFC3161, Anchored
from graven.core.bracket import verify_bracket, verify_range_bracket
from graven.core.evidence import parse_evidence, verify_evidence
from graven.core.range import format_range, parse_range, verify_opened_range
from graven.core.succession import follow
from graven.core.timestamp_request import Request, format_request, parse_request
from graven.keys.keyring import Keyring
from graven.keys.rotation import begin
from graven.keys.signature import verify_signature
from graven.keys.signer import LogSigner
from graven.log.disclose import open_range
from graven.log.handovers import read_handovers
from graven.runtime.files import LocalFiles

pytestmark = openssl


def actions(log: Log) -> list[str]:
    return [json.loads(event)["action"] for event in events(log)]


def events(log: Log) -> list[bytes]:
    return [record.event or b"" for record in log.view.records(0, log.size)]


def acts_of(log: Log, action: str) -> list[dict[str, object]]:
    return [one["data"] for one in map(json.loads, events(log)) if one["action"] == action]


def grow(log: Log, count: int = 1) -> None:
    log.append(list(EVENT) * count)
    log.publish()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority's files; each test serves it itself."""
    return make_authority(tmp_path_factory.mktemp("authority") / "one", "Authority One")


def test_a_server_stamps_by_itself_and_every_stamp_is_in_the_log(tmp_path: Path, real: Authority) -> None:
    other = make_authority(tmp_path / "two", "Authority Two", kind="ec")
    with serving(real) as one, serving(other) as two:
        timed = make_timed(tmp_path, one=one, two=two)
        with timed.open(serve=True) as log:
            until(lambda: all(state.stamps for state in log.anchoring.states))
            grow(log)
            assert actions(log).count("graven.anchor.token") == 2
            for data in acts_of(log, "graven.anchor.token"):
                stored = timed.directory / str(data["file"])
                assert stored.is_file() and str(data["token"]) in stored.read_text()
        with timed.open() as log:
            index = log.size
            log.append(list(EVENT))
            log.publish()
            log.anchoring.stamp()
            bracket = log.view.bracket(index)
            assert bracket.lower is not None and bracket.upper is not None and not bracket.contradicts
            assert bracket.lower.by in ("Authority One", "Authority Two") and bracket.lower.index is not None
            assert bracket.lower.time_us < bracket.upper.time_us
    report = timed.verify()
    assert report.problems == ()
    assert any("takes the authority's root" in note for note in report.notes)


def test_openssl_agrees_with_what_is_stored(tmp_path: Path, real: Authority) -> None:
    with serving(real) as one, make_timed(tmp_path, one=one).open() as log:
        log.anchoring.stamp()
        (stored,) = (log.directory / "anchors").glob("*/*")
    _, _, rest = stored.read_bytes().partition(b"\n\n")
    (tmp_path / "note").write_bytes(rest)
    script = f"sed -n 3p {stored} | base64 -d >{tmp_path}/token.der"
    subprocess.run(["sh", "-c", script], check=True)
    done = subprocess.run(
        ["openssl", "ts", "-verify", "-data", tmp_path / "note", "-in", tmp_path / "token.der", "-token_in",
         "-CAfile", real.ca_file],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Verification: OK" in done.stdout + done.stderr


def test_an_idle_log_does_not_grow(tmp_path: Path, real: Authority) -> None:
    """However often it is asked for, an anchor alone makes no block; the next event takes it along."""
    with serving(real) as one:
        timed = make_timed(tmp_path, one=one)
        timed.interval_s = 1
        with timed.open(serve=True) as log:
            until(lambda: log.anchoring.states[0].stamps > 0)
            size, asked = log.size, one.asked
            log.anchoring.wake()
            log.anchoring.stamp()
            log.publish()
            until(lambda: one.asked == asked + 1)
            for _ in range(20):
                log.anchoring.wake()
                log.publish()
            log.anchoring.states[0].next_s = 0.0
            log.anchoring.wake()
            assert (log.size, log.published.checkpoint.size, one.asked) == (size, size, asked + 1)
            grow(log)
            assert log.size == size + 1 + 2  # the event, and both stamps
    with timed.open() as log:
        grow(log)
        size = log.size
    with timed.open() as log:
        assert log.size == size


def test_stamps_that_waited_when_the_process_ended_ride_after_the_next_start(tmp_path: Path, real: Authority) -> None:
    with serving(real) as one:
        timed = make_timed(tmp_path, one=one)
        with timed.open() as log:
            log.publish()
            log.anchoring.stamp()
            grow_size = log.size
    for _ in range(2):
        with timed.open() as log:
            assert log.size == grow_size
    with timed.open() as log:
        grow(log)
        assert actions(log).count("graven.anchor.token") == 1
    with timed.open() as log:
        grow(log)
        assert actions(log).count("graven.anchor.token") == 1
        assert log.anchoring.states[0].size == 2


@pytest.fixture
def served(real: Authority) -> Iterator[Authority]:
    with serving(real) as one:
        yield one
        one.reply = None


LIES: dict[str, tuple[Callable[[Authority, bytes], bytes], str]] = {
    "another nonce": (
        lambda one, asked: one.stamp(format_request(replace(parse_request(asked), nonce=7))), "another request"
    ),
    "another imprint": (
        lambda one, asked: one.stamp(format_request(replace(parse_request(asked), imprint=sha256(b"x").digest()))),
        "over other bytes",
    ),
    "no nonce": (lambda one, asked: one.stamp(_without_nonce(asked)), "another request"),
    "another policy": (
        lambda one, asked: one.stamp(format_request(replace(parse_request(asked), policy="1.2.3.4.5.6"))),
        "another policy",
    ),
    "nothing": (lambda one, asked: b"", "missing"),
    "garbage": (lambda one, asked: b"0\x82\x00\x01garbage", "DER"),
    "a refusal": (lambda one, asked: refused(2, "no\x1b[2J more"), "refused, status 2"),
    "huge": (lambda one, asked: b"0" * 500_000, "more than"),
    "an old answer": (lambda one, asked: _replayed(one, asked), "another request"),
}  # fmt: skip


def _without_nonce(asked: bytes) -> bytes:
    request = parse_request(asked)
    algorithm = der.encode(der.SEQUENCE, der.encode_oid("2.16.840.1.101.3.4.2.1"), der.encode(der.NULL))
    imprint = der.encode(der.SEQUENCE, algorithm, der.encode(der.OCTET_STRING, request.imprint))
    return der.encode(der.SEQUENCE, der.encode_integer(1), imprint, der.encode(der.BOOLEAN, b"\xff"))


def _replayed(one: Authority, asked: bytes) -> bytes:
    return one.stamp(format_request(Request(parse_request(asked).imprint, 1)))


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_wrong_is_an_outage_and_nothing_of_it_is_kept(
    tmp_path: Path, real: Authority, lie: str
) -> None:
    answer, words = LIES[lie]
    with serving(real) as one:
        one.reply = lambda asked: (200, answer(one, asked))
        timed = make_timed(tmp_path, one=one)
        config = timed.config()
        authority = config.authorities["one"]
        config = msgspec.structs.replace(
            config, authorities={"one": msgspec.structs.replace(authority, policy="1.2.3.4.1")}
        )
        with Log.open(timed.directory, config) as log:
            row = log.anchoring.stamp()[0]
            one.reply = None
            assert row["time"] is None and words in str(row["why"]), row
            assert not (timed.directory / "anchors").exists()
            grow(log)
            (data,) = acts_of(log, "graven.anchor.outage")
            assert data["authority"] == "one" and words in str(data["why"]) and "\x1b" not in str(data["why"])
            assert log.anchoring.trouble is not None and "no stamp since" in log.anchoring.trouble


BAD_AUTHORITIES: dict[str, Callable[[Path], Pretender]] = {
    "expired": lambda folder: pretender(folder, end=datetime.now(UTC) - days(1)),
    "not yet valid": lambda folder: pretender(folder, start=datetime.now(UTC) + days(1)),
    "for servers": lambda folder: pretender(folder, purposes=None),
    "another root": lambda folder: replace(pretender(folder), ca=root("Somebody else")),
    "self-made": lambda folder: replace(pretender(folder), maker=Maker(issue("Pretender"))),
    "sha-1": lambda folder: replace(
        made := pretender(folder), maker=replace(made.maker, sha1_digest=True)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_AUTHORITIES)
def test_a_certificate_that_is_wrong_stamps_nothing(tmp_path: Path, real: Authority, case: str) -> None:
    bad = BAD_AUTHORITIES[case](tmp_path / "bad")
    timed = make_timed(tmp_path, bad=bad)
    with serving(real) as server, timed_open(timed, server, bad) as log:
        row = log.anchoring.stamp()[0]
        assert row["time"] is None and row["why"], row
        assert not (timed.directory / "anchors").exists()


def test_a_slow_authority_and_one_that_drips_are_given_up(tmp_path: Path, real: Authority) -> None:
    for options in ({"delay_s": 5.0}, {"drip_s": 0.2}):
        with serving(real, **options) as one:
            timed = make_timed(tmp_path / str(len(options)) / next(iter(options)), one=one)
            config = timed.config()
            quick = msgspec.structs.replace(config.authorities["one"], timeout_ms=300)
            with Log.open(timed.directory, msgspec.structs.replace(config, authorities={"one": quick})) as log:
                why = str(log.anchoring.stamp()[0]["why"])
                assert "no answer in time" in why


def test_outages_are_counted_and_told_once_and_the_end_too(tmp_path: Path, real: Authority) -> None:
    with serving(real) as one:
        url = one.url
        timed = make_timed(tmp_path, one=one)
        with timed.open() as log:
            one.reply = lambda asked: (503, b"later")
            for _ in range(3):
                assert log.anchoring.stamp()[0]["why"] == "status 503"
            one.reply = None
            assert url == one.url
            assert log.anchoring.stamp()[0]["why"] is None
            grow(log)
            (outage,), (back,) = acts_of(log, "graven.anchor.outage"), acts_of(log, "graven.anchor.back")
            assert back == {"authority": "one", "since_us": outage["since_us"], "failures": 3}
            (row,) = log.anchoring.status()
            assert (row["failures"], row["outages"], row["stamps"], row["trouble"]) == (0, 1, 1, None)


def test_a_dead_authority_does_not_keep_another_from_stamping_nor_the_log_from_publishing(
    tmp_path: Path, real: Authority
) -> None:
    dead = make_authority(tmp_path / "dead", "Dead")
    dead.url = "http://127.0.0.1:1/"
    with serving(real) as one, make_timed(tmp_path, dead=dead, one=one).open(serve=True) as log:
        until(lambda: log.anchoring.states[1].stamps > 0)
        grow(log)
        rows = {row["name"]: row for row in log.anchoring.status()}
        assert "cannot be reached" in str(rows["dead"]["trouble"]) and rows["one"]["trouble"] is None


def test_a_late_stamp_of_an_old_checkpoint_moves_no_lower_bound(tmp_path: Path, served: Authority) -> None:
    """The event behind an old checkpoint was not sequenced after that checkpoint was stamped. Only behind the stamp's
    own event is it later than the stamp."""
    one = pretender(tmp_path / "p")
    timed = make_timed(tmp_path, one=one)
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
    with timed_open(timed, served, one) as log:
        grow(log)  # index 2
        old = log.published
        grow(log)
        between = log.size - 1
        stamp = one.maker.token(old.data, late)
        brought = log.anchoring.bring(stamp, checkpoint=old.data)
        assert brought["size"] == old.checkpoint.size
        grow(log)
        behind = log.size - 2  # its block: the event, then the stamp's own
        assert actions(log)[-2:] == ["door.opened", "graven.anchor.token"]
        grow(log)
        after = log.size - 1
        assert log.view.bracket(between).lower is None
        assert log.view.bracket(between).upper is None, "the old tree does not hold it"
        assert log.view.bracket(behind).lower is None
        lower = log.view.bracket(after).lower
        assert lower is not None and lower.index == behind + 1
        assert lower.time_us == int(late.timestamp()) * 1_000_000
        # What the old tree holds is bounded from above by it; an earlier stamp bounds it better.
        upper = log.view.bracket(1).upper
        assert upper is not None and upper.time_us == int(late.timestamp() + 1) * 1_000_000
        log.anchoring.bring(one.maker.token(old.data, early), checkpoint=old.data)
        upper = log.view.bracket(1).upper
        assert upper is not None and upper.time_us == int(early.timestamp() + 1) * 1_000_000
        grow(log)
        grow(log)
        newest = log.view.bracket(log.size - 1).lower
        assert newest is not None and newest.index == behind + 1, "an early stamp that came late bounds no better"
    assert timed.verify().problems == ()


def test_the_clock_that_disagrees_is_an_event_a_status_line_and_a_number(tmp_path: Path, served: Authority) -> None:
    one = pretender(tmp_path / "p")
    ahead = [days(-1 / 24)]
    one.now = lambda: datetime.now(UTC) + ahead[0]
    timed = make_timed(tmp_path, one=one)
    with timed_open(timed, served, one) as log:
        log.anchoring.stamp()
        assert log.anchoring.trouble is not None and "s ahead of one" in log.anchoring.trouble
        assert 3_590e6 < log.anchoring.clock_alarm.disagreement_us < 3_610e6
        log.anchoring.stamp()
        ahead[0] = days(1 / 24)
        log.anchoring.stamp()
        assert log.anchoring.trouble is not None and "s behind one" in log.anchoring.trouble
        ahead[0] = days(0)
        log.anchoring.stamp()
        assert log.anchoring.trouble is None and not log.anchoring.clock_alarm.alarmed
        grow(log)
        told = acts_of(log, "graven.anchor.clock")
        assert [(row["by"], row["agrees"]) for row in told] == [("one", False), ("one", True)]
        assert int(str(told[0]["ahead_us"])) > 0 and told[0]["bound_us"] == 5_000_000


def test_a_stamp_is_renewed_before_its_certificate_ends_and_not_for_ever(tmp_path: Path, served: Authority) -> None:
    now = datetime.now(UTC)
    one = pretender(tmp_path / "p", end=now + days(3))
    timed = make_timed(tmp_path, one=one)
    with timed_open(timed, served, one, serve=True) as log:
        state = log.anchoring.states[0]
        until(lambda: "graven.anchor.token" in actions(log))  # the renewal's block took it along
        until(lambda: state.renewed_s is not None and state.file != "" and state.stamps >= 2)
        size, files = log.size, len(list((timed.directory / "anchors").glob("*/*")))
        assert actions(log).count("graven.anchor.renewal") == 1
        for _ in range(5):
            state.next_s = 0.0
            log.anchoring.wake()
            log.publish()
        assert log.size == size and len(list((timed.directory / "anchors").glob("*/*"))) == files
        assert "certificate of its newest stamp ends" in str(log.anchoring.trouble)
        one.maker = replace(one.maker, signer=stamper(one.ca, "Pretender renewed", end=now + days(400)))
        state.renewed_s, state.next_s = None, 0.0
        log.anchoring.wake()
        until(lambda: state.expires_us > int((now + days(300)).timestamp()) * 1_000_000)
        assert log.size == size and log.anchoring.trouble is None
        kinds = [(anchor.type, len(anchor.data)) for anchor in parse_evidence(log.view.evidence(0)).anchors]
        assert [kind for kind, _ in kinds].count(RFC3161) == 2, "the earliest, and one that lives longer"


def test_verify_finds_what_was_done_to_anchors(tmp_path: Path, served: Authority) -> None:
    one = pretender(tmp_path / "p")
    timed = make_timed(tmp_path, one=one)
    with timed_open(timed, served, one) as log:
        log.anchoring.stamp()
        grow(log)
        published = log.published.data
    (stored,) = (timed.directory / "anchors").glob("*/*")
    good = stored.read_bytes()
    assert timed.verify().problems == ()
    stored.write_bytes(good[:60] + bytes([good[60] ^ 1]) + good[61:])
    assert "changed" in timed.verify().problems[0].what and timed.verify().disproved == 1
    stored.unlink()
    assert any("are gone from anchors/" in note for note in timed.verify().notes)
    renamed = stored.with_name(stored.name.replace(".0", ".1", 1))
    renamed.write_bytes(good)
    assert timed.verify().problems
    renamed.unlink()
    stored.write_bytes(good)
    (stored.parent / "x").write_bytes(b"")
    assert "no part of the log" in timed.verify().problems[0].what
    (stored.parent / "x").unlink()

    token = one.maker.token(b"other bytes", datetime.now(UTC))
    forged = keep_anchor(LocalFiles(), timed.directory, Anchored(RFC3161, token, published), time_s=1_800_000_000)
    assert "over other bytes" in timed.verify().problems[0].what
    (timed.directory / forged.path).unlink()
    assert timed.verify().problems == ()


def test_a_forged_file_in_anchors_never_gets_into_the_log(tmp_path: Path, served: Authority) -> None:
    """Who can write the directory puts a stamp of his own making there, with a time far ahead."""
    one, thief = pretender(tmp_path / "p"), pretender(tmp_path / "thief", "Thief")
    timed = make_timed(tmp_path, one=one)
    with timed_open(timed, served, one) as log:
        note = log.published.data

    token = thief.maker.token(note, datetime(2030, 1, 1, tzinfo=UTC))
    keep_anchor(LocalFiles(), timed.directory, Anchored(RFC3161, token, note), time_s=1_893_456_000)
    early = thief.maker.token(note, datetime(2021, 1, 1, tzinfo=UTC))
    keep_anchor(LocalFiles(), timed.directory, Anchored(RFC3161, early, note), time_s=1_609_459_200)
    with timed_open(timed, served, one) as log:
        grow(log)
        log.anchoring.stamp()
        assert "graven.anchor.token" not in actions(log)
        upper = log.view.bracket(0).upper
        assert upper is not None and upper.by == "Pretender"


def test_a_range_of_a_log_is_bounded_by_its_anchors(tmp_path: Path, served: Authority) -> None:
    one = pretender(tmp_path / "p")
    timed = make_timed(tmp_path, one=one)
    with timed_open(timed, served, one) as log:
        grow(log)
        log.anchoring.stamp()
        grow(log)
        start = log.size
        grow(log)
        log.anchoring.stamp()
        end = log.published.checkpoint.size
        grow(log)
        document = format_range(open_range(log.view, start, end))
        keys = log.keys
    found = verify_opened_range(parse_range(document), keys, verify_signature)
    bracket = verify_range_bracket(found, keys, [one.ca.parsed], verify_signature)
    assert bracket.lower is not None and bracket.lower.index is not None and bracket.lower.index < start
    assert bracket.upper is not None and bracket.upper.size >= end and not bracket.contradicts
    told = dict(check_document(document, Trust(keys=keys, time_roots=(one.ca.parsed,))).rows)
    assert str(told["sequenced"]).startswith("after ") and "Pretender" in str(told["sequenced"])


def test_brackets_last_across_a_change_of_the_signing_keys(tmp_path: Path, served: Authority) -> None:
    """Stamps over checkpoints of the old keys bound events for readers who were led to the new ones, and for nobody
    who knows the new ones alone."""
    one = pretender(tmp_path / "p")
    timed = make_timed(tmp_path, one=one)

    def keyring() -> Keyring:
        return open_keyring(timed.directory, timed.config())

    with timed_open(timed, served, one) as log:
        grow(log)
        log.anchoring.stamp()
        old = log.keys
    begin(keyring())
    with timed_open(timed, served, one) as log:
        grow(log)
    LogSigner(keyring()).hand_over(1_800_000_000)
    with timed_open(timed, served, one) as log:
        grow(log)
        new = log.keys
        document = log.view.evidence(1)
        assert log.view.bracket(log.size - 1).lower is not None
        assert log.view.bracket(1).upper is not None
    assert set(old).isdisjoint(new)
    evidence = parse_evidence(document)
    led, _ = follow(old, read_handovers(timed.directory / "log"), verify_signature)
    roots = [one.ca.parsed]
    for trust, count in ((led, 1), (tuple(new), 0)):
        verified = verify_evidence(evidence, trust=trust, verify=verify_signature)
        found = verify_bracket(verified, trust, roots, verify_signature)
        assert len(found.before) == count and bool(found.unchecked) is (count == 0)
    assert timed.verify().problems == ()
