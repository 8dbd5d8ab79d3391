"""One exchange with a service that stretches it, redirects it, or answers beyond all bounds."""

import gzip
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.services import Service
from dripping import endless, serving
from graven.agent.pull import exchange as exchanges
from graven.agent.pull.exchange import LINK_CHARACTERS_MAX, Answer, Exchange, Refused
from graven.agent.pull.page import next_url
from graven.agent.pull.preset import PagingPart
from graven.core.errors import Broken, Busy, GravenError

OK = b"HTTP/1.1 200 OK\r\n"
NOBODY = Exchange(["example.com"], ca_file=None, timeout_s=30)


@contextmanager
def asking(address: tuple[str, int], *, answer_s_max: float = 60.0) -> Iterator[tuple[Exchange, str]]:
    host = f"{address[0]}:{address[1]}"
    with closing(Exchange([host], ca_file=None, timeout_s=30, answer_s_max=answer_s_max)) as exchange:
        yield exchange, f"http://{host}/logs"


def test_a_service_that_drips_its_answer_is_given_up() -> None:
    """Head or body: the whole of an exchange has its time, and is asked for again later."""
    for begin, again in ((OK, b"X-A: b\r\n"), (OK + b"Content-Length: 1000000\r\n\r\n", b" ")):
        with (
            serving(lambda begin=begin, again=again: endless(begin, again)) as address,  # type: ignore[misc]
            asking(address, answer_s_max=0.3) as (exchange, url),
            pytest.raises(Busy, match=r"no answer: (Read|Connect)Timeout"),
        ):
            exchange.ask("GET", url, headers={})


def test_a_redirection_is_refused_and_not_followed() -> None:
    asked: list[bytes] = []
    for status in (301, 302, 303, 307, 308):
        with serving(lambda: iter([OK + b"Content-Length: 0\r\n\r\n"])) as elsewhere:
            location = b"Location: http://%b:%d/\r\n" % (elsewhere[0].encode(), elsewhere[1])
            answer = b"HTTP/1.1 %d Away\r\n%bContent-Length: 0\r\n\r\n" % (status, location)

            def told(answer: bytes = answer) -> Iterator[bytes]:
                asked.append(answer)
                return iter([answer])

            with serving(told) as address, asking(address) as (exchange, url):
                with pytest.raises(Refused) as refused:
                    exchange.ask("GET", url, headers={"Authorization": "secret"})
                assert refused.value.status == status
    assert len(asked) == 5


def test_what_unpacks_to_more_than_may_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "ANSWER_BYTES_MAX", 1 << 20)
    bomb = gzip.compress(bytes(64 << 20))
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with (
        serving(lambda: iter([head + bomb])) as address,
        asking(address) as (exchange, url),
        pytest.raises(Broken, match="more than"),
    ):
        exchange.ask("GET", url, headers={})


def test_a_link_without_end_is_refused() -> None:
    for links in ("<>;" * LINK_CHARACTERS_MAX, '<http://[>; rel="next"'):
        with pytest.raises(Broken):
            _ = Answer(b"", {"link": links}, "http://127.0.0.1/").next_link


@given(st.text(), st.text())
def test_no_header_is_a_fault_of_ours(links: str, after: str) -> None:
    answer = Answer(b"", {"link": links}, "https://example.com/logs?page=1")
    with suppress(GravenError):
        if following := answer.next_link:
            NOBODY.check(following)
            assert urlsplit(following).netloc == "example.com"
    assert 1 <= NOBODY._pause_s({"retry-after": after}, 5) <= exchanges.RETRY_AFTER_S_MAX


@pytest.mark.parametrize(
    "after", ["Mon, 1 Jan 2024 99999999999999999999:00:00 GMT", "Mon, 1 Jan 0001 00:00:00 +9999", "9" * 5000]
)
def test_a_pause_that_cannot_be_read_has_its_bounds(after: str) -> None:
    assert 1 <= NOBODY._pause_s({"retry-after": after}, 5) <= exchanges.RETRY_AFTER_S_MAX


def test_the_next_page_is_where_a_header_says_however_it_is_written() -> None:
    """Names of headers have no case: a preset may write them as the service's documentation does."""
    answer = Answer(b"", {"nextpageuri": "/logs?page=2"}, "https://example.com/logs")
    for name in ("NextPageUri", "nextpageuri"):
        paging = PagingPart(kind="header", path=name)
        assert next_url(answer, paging, first="", last="", empty=False) == "https://example.com/logs?page=2"


def test_services_of_these_tests_are_reached() -> None:
    """The ordinary way through the same pool."""
    with Service("auth0", random.Random(1)) as service:
        with asking(("127.0.0.1", int(service.base.rpartition(":")[2]))) as (exchange, _):
            answer = exchange.ask("GET", service.base + "/x", headers={"Authorization": service.token})
        assert answer.data == b"[]"
