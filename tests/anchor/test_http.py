"""Asking those outside: whatever they do, it ends in time, with few words on why."""

import pytest

from dripping import endless, serving
from graven.anchor.http import NoAnswer, post_bounded
from graven.runtime.timed_http import TimedPool

OK = b"HTTP/1.1 200 OK\r\n"
NEVER_ENDING = {"head": (OK, b"X-A: b\r\n"), "body": (OK + b"Content-Length: 900\r\n\r\n", b"x")}


def post(address: tuple[str, int], timeout_s: float = 60.0) -> tuple[int, bytes]:
    host, port = address
    pool = TimedPool(num_pools=1, maxsize=1)
    try:
        return post_bounded(
            pool, f"http://{host}:{port}/x", b"asked", content_type="text/plain", timeout_s=timeout_s, bytes_max=1000
        )
    finally:
        pool.clear()


@pytest.mark.parametrize("what", NEVER_ENDING)
def test_an_answer_that_never_ends_ends(what: str) -> None:
    with serving(lambda: endless(*NEVER_ENDING[what])) as address, pytest.raises(NoAnswer, match="no answer in time"):
        post(address, 0.3)


def test_an_answer_that_is_too_long() -> None:
    with (
        serving(lambda: iter([OK + b"\r\n", b"x" * 1001])) as address,
        pytest.raises(NoAnswer, match="more than 1000 bytes"),
    ):
        post(address)


def test_a_whole_answer() -> None:
    with serving(lambda: iter([OK + b"Content-Length: 1000\r\n\r\n", b"x" * 1000])) as address:
        assert post(address) == (200, b"x" * 1000)
