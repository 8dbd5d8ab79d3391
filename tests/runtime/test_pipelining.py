"""Files asked for ahead: what comes plainly is had, everything else is left to be asked for in the ordinary way."""

import socket
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graven.runtime import pipelining
from graven.runtime.pipelining import Pipeline

Answer = Callable[[str], bytes]


def plain(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@contextmanager
def serving(answer: Answer, connections: list[list[str]] | None = None) -> Iterator[str]:
    """A server of raw bytes: `answer` gives what is sent for each path, b"" ends the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                one, _ = listener.accept()
            except OSError:
                return
            paths: list[str] = []
            if connections is not None:
                connections.append(paths)
            with suppress(OSError), one, one.makefile("rb") as lines:
                while line := lines.readline():
                    if line.startswith(b"GET "):
                        paths.append(line.split()[1].decode())
                    if line == b"\r\n":
                        said = answer(paths[-1])
                        if not said:
                            break
                        one.sendall(said)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/log"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def got(url: str, *batches: Sequence[str], size_max: int = 100) -> list[list[bytes | None]]:
    pipeline = Pipeline(url)
    try:
        return list(pipeline.get([(path, size_max) for path in batch] for batch in batches))
    finally:
        pipeline.close()


def test_files_come_in_order_over_one_connection() -> None:
    connections: list[list[str]] = []
    with serving(lambda path: plain(path.encode()), connections) as url:
        batches = [[f"{batch}/{number}" for number in range(5)] for batch in range(30)]
        found = got(url, *batches)
    assert found == [[f"/log/{path}".encode() for path in batch] for batch in batches]
    assert [len(one) for one in connections] == [150]


@pytest.mark.parametrize(
    "odd",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Later\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nodd\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nodd",
        plain(bytes(101)),
    ],
)
def test_an_odd_answer_is_none_and_the_others_are_had(odd: bytes) -> None:
    with serving(lambda path: odd if path.endswith("odd") else plain(b"good")) as url:
        assert got(url, ["a", "odd", "b"], ["c"]) == [[b"good", None, b"good"], [b"good"]]


def test_a_connection_that_ends_loses_what_was_asked_on_it_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelining, "AHEAD", 1)
    with serving(lambda path: b"" if path.endswith("end") else plain(b"good")) as url:
        found = got(url, ["a", "end", "b"], ["c"], ["d"], ["e"])
    assert found == [[b"good", None, None], [None], [b"good"], [b"good"]]


@pytest.mark.parametrize("flood", [b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000, plain(bytes(1 << 20)), b"junk\r\n" * 99])
def test_a_flood_ends_the_connection(flood: bytes) -> None:
    with serving(lambda path: flood) as url:
        assert got(url, ["a", "b"]) == [[None, None]]


def test_nobody_there_is_none_and_is_not_asked_for_ever() -> None:
    asked = 0

    def connect(self: Pipeline) -> socket.socket:
        nonlocal asked
        asked += 1
        raise OSError

    pipeline = Pipeline("http://127.0.0.1:1/log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "_connect", connect)
        assert list(pipeline.get([("a", 1)] for _ in range(20))) == [[None]] * 20
    assert asked < 20


def test_answers_nobody_took_are_not_taken_for_others() -> None:
    with serving(lambda path: plain(path.encode())) as url:
        pipeline = Pipeline(url)
        begun = pipeline.get([(f"old{number}", 100)] for number in range(20))
        assert isinstance(begun, Generator)
        with closing(begun):
            assert next(begun) == [b"/log/old0"]
        assert list(pipeline.get([[("new", 100)]])) == [[b"/log/new"]]
        pipeline.close()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_whatever_a_server_sends_is_none_or_its_body(junk: bytes) -> None:
    answers = pipelining._Answers()
    try:
        answers.feed(junk)
    except httptools.HttpParserError:
        return
    assert all(one is None or one in junk for one in answers.done)
