"""Where one syslog message ends and the next begins."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.ingest.protocol.framing import BROKEN_COUNT, TOO_LONG, UNFINISHED, Frame, Framer

MAX = 1000


def run(data: bytes, *cuts: int, size_max: int = MAX) -> list[bytes | Frame]:
    framer = Framer(max_message_bytes=size_max)
    out: list[bytes | Frame] = []
    at = 0
    for cut in (*sorted(cuts), len(data)):
        if cut > at:
            out += framer.feed(data[at:cut])
            at = cut
    return out + framer.finish()


def counted(*messages: bytes) -> bytes:
    return b"".join(b"%d %b" % (len(message), message) for message in messages)


def test_lines() -> None:
    assert run(b"<1>a\n<2>b\r\n\n<3>c") == [b"<1>a", b"<2>b", b"<3>c"]
    assert run(b"<1>a\0<2>b\0") == [b"<1>a", b"<2>b"]
    assert run(b"no priority\n2026-01-01T00:00:00Z host\n10 green bottles\n") == [
        b"no priority", b"2026-01-01T00:00:00Z host", b"10 green bottles",
    ]  # fmt: skip


def test_counts() -> None:
    assert run(counted(b"<1>a", b"<2>two\nlines", b"<3>c")) == [b"<1>a", b"<2>two\nlines", b"<3>c"]
    assert run(counted(b"<1>a\n", b"<2>b\0")) == [b"<1>a", b"<2>b"]
    assert run(b"4 <1>a\n4 <2>b\n") == [b"<1>a", b"<2>b"]  # a line break that is not counted


def test_no_message_changes_how_the_rest_is_read() -> None:
    """A message with a line of its own that looks like a count, or the other way round."""
    assert run(b"<1>first\n9999 <2>evil\n<3>last\n") == [b"<1>first", b"9999 <2>evil", b"<3>last"]
    assert run(counted(b"<1>a\n<2>evil\n", b"<3>last")) == [b"<1>a\n<2>evil", b"<3>last"]


def test_a_broken_count_costs_up_to_the_next_line_break() -> None:
    first, broken, last = run(counted(b"<1>a") + b"garbage here\n" + counted(b"<3>c"))
    assert (first, last) == (b"<1>a", b"<3>c")
    assert isinstance(broken, Frame) and (broken.raw, broken.fault) == (b"garbage here", BROKEN_COUNT)


def test_what_is_too_long_runs_by_and_is_hashed() -> None:
    long = b"<1>" + b"x" * 200_000
    for data in (long + b"\n<2>b\n", counted(long, b"<2>b"), b"<0>\n" + long + b"\n<2>b\n"):
        for cuts in ((), range(0, len(data), 7_001)):
            frame, after = run(data, *cuts)[-2:]
            assert after == b"<2>b"
            assert isinstance(frame, Frame) and frame.fault == TOO_LONG
            assert frame.raw == long[: 64 << 10] and frame.size_bytes == len(long)
            assert frame.sha256 == hashlib.sha256(long).hexdigest()


def test_a_little_too_long_within_one_piece() -> None:
    line, after = run(b"<1>" + b"x" * MAX + b"\n<2>b\n")
    assert isinstance(line, Frame) and line.size_bytes == MAX + 3 and after == b"<2>b"


@pytest.mark.parametrize("data", [b"10 <1>a", counted(b"<1>" + b"x" * 5_000)[:3_000]])
def test_a_counted_message_that_never_ends_is_said_to_be_unfinished(data: bytes) -> None:
    (frame,) = run(data)
    assert isinstance(frame, Frame) and frame.fault == UNFINISHED and data.endswith(frame.raw[-1:])


def test_little_is_held_of_an_endless_line() -> None:
    framer = Framer(max_message_bytes=MAX)
    for _ in range(1_000):
        assert framer.feed(b"x" * 1_000) == []
        assert framer.held_bytes <= (64 << 10) + MAX
    counting = Framer(max_message_bytes=MAX)
    for _ in range(1_000):
        counting.feed(b"999999999 <" if counting.held_bytes == 0 else b"x" * 1_000)
        assert counting.held_bytes <= (64 << 10) + MAX


def test_nothing_is_known_before_it_can_be() -> None:
    framer = Framer(max_message_bytes=MAX)
    for byte in b"12 <":
        assert framer.feed(bytes([byte])) == []
    assert framer.feed(b"1>hello567\n") == [b"<1>hello567"]


MESSAGES = st.lists(st.binary(min_size=1, max_size=30).map(lambda text: b"<1>" + text), min_size=1, max_size=6)


@given(MESSAGES, st.lists(st.integers(0, 250), max_size=12))
def test_counted_messages_survive_any_cut(messages: list[bytes], cuts: list[int]) -> None:
    assert run(counted(*messages), *cuts) == [message.rstrip(b"\r\n\0") for message in messages]


LINES = st.lists(
    st.binary(min_size=1, max_size=30).map(lambda text: b"<1>" + text.translate(None, b"\r\n\0")),
    min_size=1,
    max_size=6,
)


@given(LINES, st.lists(st.integers(0, 250), max_size=12), st.sampled_from([b"\n", b"\r\n", b"\0"]))
def test_lines_survive_any_cut(messages: list[bytes], cuts: list[int], end: bytes) -> None:
    assert run(b"".join(message + end for message in messages), *cuts) == messages


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_stream_gives_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    assert run(data, *cuts, size_max=40) == run(data, size_max=40)


@pytest.mark.parametrize("name", ["syslog_rsyslog_SyslogProtocol23Format", "syslog_rsyslog", "syslog_ssh.log"])
def test_real_files_line_by_line(shared: Path, name: str) -> None:
    data = (shared / "samples" / "plaso" / name).read_bytes()
    assert run(data, 5, 99, 100, size_max=1 << 16) == [line for line in data.split(b"\n") if line.strip()]
