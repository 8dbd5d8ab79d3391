"""Published files over HTTP and from a folder: the same answers, and the same bounds."""

import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from lab.http import answering

from dripping import endless, serving
from graven.core.errors import BadInput, Broken, Disproved
from graven.runtime import site
from graven.runtime.site import FolderSite, HttpSite, Site


class Exchange(BaseHTTPRequestHandler):
    """Below `/log`: a tile and a checkpoint; a status by its number; a redirect for ever."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.removeprefix("/log/")
        data = {"tile/0/000": b"12345", "checkpoint": b"checkpoint"}.get(path)
        status = 200 if data else int(path) if path.isdecimal() else 404
        self.send_response(302 if path == "round" else status)
        if path == "round":
            self.send_header("Location", "/log/round")
        self.send_header("Retry-After", "100000")
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[list[Site]]:
    (tmp_path / "tile" / "0").mkdir(parents=True)
    (tmp_path / "tile" / "0" / "000").write_bytes(b"12345")
    with answering(Exchange) as url, closing(HttpSite(f"{url}/log/checkpoint")) as over_http:
        yield [over_http, FolderSite(tmp_path)]


def test_both_give_the_same(sites: list[Site]) -> None:
    for one in sites:
        assert one.get("tile/0/000", 5) == b"12345"
        assert one.get("tile/0/001", 5) is None
        assert one.get("tile/0/000/x", 5) is None
        with pytest.raises(Disproved, match="more than 4 bytes"):
            one.get("tile/0/000", 4)
        assert one.get("tile/0/000", 5) == b"12345"  # the connection that was cut is not used again


def test_a_folder_that_cannot_be_read(sites: list[Site]) -> None:
    with pytest.raises(Broken, match="cannot be read"):
        sites[1].get("tile/0", 100)


@pytest.mark.parametrize("path", ["500", "403", "round"])
def test_other_answers_are_said(sites: list[Site], path: str) -> None:
    with pytest.raises(Broken) as found:
        sites[0].get(path, 100)
    assert path in found.value.place


def test_who_asks_to_wait_is_not_waited_for(sites: list[Site]) -> None:
    with pytest.raises(Broken, match="503"):
        sites[0].get("503", 100)  # Retry-After says a day


def test_nobody_is_there() -> None:
    with pytest.raises(Broken, match="does not answer"):
        HttpSite("http://127.0.0.1:1/log").get("checkpoint", 100)


def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Exchange):
        def do_GET(self) -> None:
            released.wait(90)

    released = threading.Event()
    monkeypatch.setattr(site, "READ_TIMEOUT_S", 0.05)
    with answering(Silent) as url, pytest.raises(Broken, match="does not answer"):
        HttpSite(f"{url}/log").get("checkpoint", 100)
    released.set()


@pytest.mark.parametrize(
    "url",
    [
        "", "log", "ftp://example.com/log", "http://", "/srv/log", "https://user:word@example.com/log",
        "https://example.com/log?x", "https://example.com/log#x", "http://[::1", "http://a:b:c/",
    ],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(BadInput, match="not a URL of a log"):
        HttpSite(url)


def test_of_a_server_alone_its_log_is_meant() -> None:
    with answering(Exchange) as url, closing(HttpSite(url)) as site:
        assert site.get("tile/0/000", 100) is None  # nothing said yet where the log is
        assert site.get("checkpoint", 100) == b"checkpoint"
        assert site.base == f"{url}/log"


def test_a_head_that_never_ends_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes sooner than any wait would end."""
    monkeypatch.setattr(site, "ANSWER_TIMEOUT_S", 0.3)
    with (
        serving(lambda: endless(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")) as (host, port),
        closing(HttpSite(f"http://{host}:{port}/log")) as one,
        pytest.raises(Broken, match="does not answer"),
    ):
        one.get("checkpoint", 1000)
