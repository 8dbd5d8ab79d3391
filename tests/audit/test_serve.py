"""The copy served: a peer, a log to verify, and nothing beside the published files."""

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from audit.logs import entries_of, files_of, following, look, publish, serving
from core.signers import LOG_KEYS
from graven.cli import graven
from graven.log.verify import verify_url


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    publish(tmp_path / "log", entries_of(700))
    assert look(tmp_path / "log", tmp_path / "state").exit_code == 0
    call = "import sys\nfrom graven.cli import graven\ngraven.main(sys.argv[1:])"
    words = ["audit", "serve", "--state", str(tmp_path / "state"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [sys.executable, "-c", call, *words],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().removeprefix("listening on ").strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0


def test_the_copy_is_a_published_log(url: str, tmp_path: Path) -> None:
    report = verify_url(url, keys=LOG_KEYS)
    assert (report.exit_code, report.size) == (0, 700)
    with serving(tmp_path / "log") as log, following(log.url, tmp_path / "other", peers=[url]) as follower:
        found = follower.round()
    assert (found.exit_code, found.peers_agreed) == (0, 1)

    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=180)

    def ask(path: str, method: str = "GET") -> tuple[int, bytes, str | None]:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["Cache-Control"]

    for path, data in files_of(tmp_path / "log").items():
        assert ask(f"/{path}")[:2] == (200, data)
    assert ask("/checkpoint", "HEAD")[:2] == (200, b"")
    assert "immutable" in str(ask("/tile/0/000")[2]) and "immutable" not in str(ask("/checkpoint")[2])
    assert ask("/checkpoint", "POST")[0] == 405
    (tmp_path / "state" / "tile" / "secret").write_text("x")
    for path in (
        "/", "/lock", "//checkpoint", "/tile/secret", "/checkpoints", "/tile/0/../../lock", "/tile/0/%2e%2e/0/000",
        "/evidence", "/tile/0/0", "/tile/0/000.p/0", "/tile/0/009", "/../policy",
    ):  # fmt: skip
        assert ask(path)[0] == 404, path
    connection.close()


def test_no_copy(tmp_path: Path) -> None:
    words = ["audit", "serve", "--state", str(tmp_path), "--listen", "127.0.0.1:0"]
    result = CliRunner().invoke(graven, words, prog_name="graven")
    assert result.exit_code == 2 and "no copy of a log" in result.stderr
