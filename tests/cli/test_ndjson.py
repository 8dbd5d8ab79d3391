"""Files of NDJSON: every fault by its line, requests of bounded size."""

import io
import os
import threading
from pathlib import Path

import pytest

from graven.cli.ndjson import REQUEST_EVENTS_MAX, Judged, judge, pieces, rewindable
from graven.cli.output import Refused
from graven.core.errors import BadInput
from graven.event import FAULTS_MAX, MAX_EVENT_BYTES


def _judge(data: bytes) -> Judged:
    return judge(io.BytesIO(data), "file", lambda _: None)


def _faults(data: bytes) -> list[dict[str, object]]:
    with pytest.raises(Refused) as refused:
        _judge(data)
    return refused.value.errors


def _event(size_bytes: int) -> bytes:
    return b'{"action":"' + b"x" * (size_bytes - len(b'{"action":""}')) + b'"}'


def test_blank_lines_and_white_space_mean_nothing() -> None:
    data = b'\n  {"action":"a"}\t\r\n\r\n{"action":"b"}'
    judged = _judge(data)
    assert (judged.events, judged.size_bytes, judged.classes) == (2, len(data), {})
    assert [piece.lines for piece in pieces(io.BytesIO(data), [])] == [[b'{"action":"a"}', b'{"action":"b"}']]


def test_classes_are_named_with_their_first_line() -> None:
    data = b'{"action":"a"}\n\n{"action":"a","class":"x"}\n{"action":"a","class":"y"}\n{"action":"a","class":"x"}\n'
    assert _judge(data).classes == {"x": 3, "y": 4}


def test_faults_are_named_by_line_across_requests() -> None:
    lines = [b'{"action":"a"}'] * (REQUEST_EVENTS_MAX + 10)
    for at in (0, 5, REQUEST_EVENTS_MAX + 3):
        lines[at] = b'{"verb":"read"}'
    lines[7] = b""
    assert [fault["line"] for fault in _faults(b"\n".join(lines))] == [1, 6, REQUEST_EVENTS_MAX + 4]


def test_what_is_not_utf8_is_named_by_line() -> None:
    (fault,) = _faults(b'{"action":"a"}\n{"action":"\xff"}\n{"action":"b"}')
    assert fault["line"] == 2


def test_a_line_too_long_for_an_event() -> None:
    data = b'{"action":"a"}\n' + _event(3 << 20) + b'\n{"verb":1}\n'
    faults = _faults(data)
    assert [fault["line"] for fault in faults] == [2, 3]
    assert f"longer than {MAX_EVENT_BYTES} bytes" in str(faults[0]["what"])


def test_faults_are_capped() -> None:
    faults = _faults(b"no\n" * (2 * FAULTS_MAX))
    assert len(faults) == FAULTS_MAX and faults[-1]["line"] == FAULTS_MAX


@pytest.mark.parametrize("data", [b"", b"\n \n\t\n"])
def test_a_file_without_events(data: bytes) -> None:
    with pytest.raises(BadInput, match="holds no event"):
        _judge(data)


def test_requests_are_bounded() -> None:
    data = b"\n".join([_event(1_000)] * 40)
    by_bytes = list(pieces(io.BytesIO(data), [], request_bytes=10_010))
    assert [len(piece.lines) for piece in by_bytes] == [10, 10, 10, 10]
    assert all(piece.size_bytes <= 10_010 for piece in by_bytes)
    many = b'{"action":"a"}\n' * (REQUEST_EVENTS_MAX + 1)
    assert [len(piece.lines) for piece in pieces(io.BytesIO(many), [])] == [REQUEST_EVENTS_MAX, 1]
    largest = _event(MAX_EVENT_BYTES)
    assert [piece.lines for piece in pieces(io.BytesIO(largest), [], request_bytes=1 << 20)] == [[largest]]


def test_what_is_added_after_the_first_pass_is_not_taken() -> None:
    data = b'{"action":"a"}\n{"action":"b"}\n'
    judged = _judge(data)
    again = list(pieces(io.BytesIO(data + b'{"action":"late"}\n'), [], size_bytes=judged.size_bytes))
    assert [piece.lines for piece in again] == [[b'{"action":"a"}', b'{"action":"b"}']]


def test_a_pipe_is_read_twice(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    data = b'{"action":"a"}\n' * 1_000
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    with rewindable(fifo) as file:
        assert file.read() == data
        file.seek(0)
        assert file.read() == data
    writer.join()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"), rewindable(tmp_path / "nothing"):
        pass
