"""A published tree over HTTP: a real server over real files, honest, damaged, slow, and lying."""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from lab.http import answering
from lab.ports import free_port

from graven.core.errors import BadInput
from graven.demo.forgery import rewrite_history
from graven.log.verify import Report, url, verify_url
from graven.runtime import site
from tampering.logs import Tampered, flip, make_log


class Files(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass


def judge(log: Tampered, *, since: bytes | None = None) -> Report:
    with answering(partial(Files, directory=str(log.directory / "log"))) as base:
        return verify_url(base, keys=log.keys, since=since)


def kept(log: Tampered, number: int) -> bytes:
    return sorted((log.directory / "checkpoints").glob("*/*"))[number].read_bytes()


def test_a_whole_tree(whole: Tampered) -> None:
    report = judge(whole)
    assert (report.exit_code, report.problems) == (0, ())
    assert (report.size, report.published, report.events, report.payloads) == (3_001, 3_001, 0, "not checked")


@pytest.mark.parametrize("events", [0, 1, 255, 256, 511, 700])
def test_trees_of_other_sizes(tmp_path: Path, events: int) -> None:
    log = make_log(tmp_path / "log", events=events, block=64)
    assert (judge(log).exit_code, judge(log).size) == (0, events + 1)


@pytest.mark.parametrize("number", [0, 1, 3, -1])
def test_an_older_checkpoint_that_fits(whole: Tampered, number: int) -> None:
    assert judge(whole, since=kept(whole, number)).problems == ()


def test_one_public_key_is_enough(whole: Tampered) -> None:
    for key in whole.keys:
        assert judge(Tampered(whole.directory, (key,))).exit_code == 0


@pytest.mark.parametrize(
    ("name", "offset", "place", "first"),
    [
        ("tile/entries/004", 345, "tile/0/004 at byte 320", 1034),
        ("tile/entries/011.p/185", 340, "tile/entries/011.p/185", 2816),
        ("tile/0/004", 320, "tile/0/004 at byte 320", 1034),
        ("tile/0/011.p/185", -1, "tile/0/011.p/185 at byte 5888", 3000),
        ("tile/1/000.p/11", 40, "tile/1/000.p/11 at byte 32", 256),
        ("checkpoint", 3, "checkpoint", None),
        ("checkpoint", -40, "checkpoint", None),
    ],
)
def test_a_flipped_bit_is_disproved(log: Tampered, name: str, offset: int, place: str, first: int | None) -> None:
    flip(log.directory / "log" / name, offset)
    report = judge(log)
    assert report.exit_code == 1
    assert (place, first) in [(problem.place, problem.first_index) for problem in report.problems]


@pytest.mark.parametrize(
    "name", ["tile/entries/004", "tile/entries/011.p/185", "tile/0/004", "tile/1/000.p/11", "checkpoint"]
)
def test_a_missing_file_is_broken(log: Tampered, name: str) -> None:
    (log.directory / "log" / name).unlink()
    report = judge(log)
    assert (report.exit_code, len(report.problems)) == (3, 1)
    assert report.problems[0].place == name.partition(".p/")[0], "a partial tile was asked for as a full one at last"


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b""])
@pytest.mark.parametrize("name", ["tile/entries/004", "tile/0/004", "tile/1/000.p/11"])
def test_a_file_of_another_length_is_disproved(log: Tampered, name: str, change: Callable[[bytes], bytes]) -> None:
    path = log.directory / "log" / name
    path.write_bytes(change(path.read_bytes()))
    report = judge(log)
    assert report.exit_code == 1
    assert name in [problem.place for problem in report.problems]


def test_a_full_tile_in_place_of_a_partial_one(log: Tampered, tmp_path: Path) -> None:
    """The server's log has grown since its checkpoint was read."""
    old = (log.directory / "log" / "checkpoint").read_bytes()
    grown = make_log(tmp_path / "grown", events=3_400)
    served = grown.directory / "log"
    checkpoint = sorted((grown.directory / "checkpoints").glob("*/*"))[-3]
    (served / "checkpoint").write_bytes(checkpoint.read_bytes())
    assert checkpoint.read_bytes() != old
    for path in list(served.rglob("*")):
        if path.parent.name.endswith(".p") and not path.parent.name.startswith("013"):
            keep = path.parent.with_name(path.parent.name.removesuffix(".p"))
            if keep.exists():
                path.unlink()
    assert judge(grown).problems == ()


def test_a_tree_signed_by_another_key_is_disproved(log: Tampered, tmp_path: Path) -> None:
    other = make_log(tmp_path / "other", events=300)
    report = judge(Tampered(other.directory, log.keys))
    assert (report.exit_code, report.size, [problem.place for problem in report.problems]) == (1, 0, ["checkpoint"])


def test_an_older_tree_than_was_seen_is_broken(log: Tampered) -> None:
    since = kept(log, -1)
    (log.directory / "log" / "checkpoint").write_bytes(kept(log, -3))
    report = judge(log, since=since)
    assert (report.exit_code, report.size) == (3, 2_001)
    assert "3001" in report.problems[0].what


def test_a_rewritten_tree_is_disproved_by_what_was_kept(log: Tampered) -> None:
    since = kept(log, -1)
    rewrite_history(log.directory, [1_500], b"user-", b"User-", now_us=1_791_000_000_000_000)
    assert judge(log).exit_code == 0
    report = judge(log, since=since)
    assert (report.exit_code, [problem.place for problem in report.problems]) == (1, ["--since"])


def test_everything_wrong_is_collected(log: Tampered) -> None:
    for number in range(2, 10, 2):
        flip(log.directory / "log" / "tile" / "0" / f"{number:03d}", 5)
        (log.directory / "log" / "tile" / "0" / f"{number + 1:03d}").unlink()
    report = judge(log)
    assert (report.disproved, report.broken) == (4, 4)


def test_a_server_that_is_not_there(whole: Tampered) -> None:
    report = verify_url(f"http://127.0.0.1:{free_port()}", keys=whole.keys)
    assert (report.exit_code, report.size) == (3, 0)


class Silent(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(1)

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_says_nothing(whole: Tampered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "READ_TIMEOUT_S", 0.1)
    with answering(Silent) as base:
        assert verify_url(base, keys=whole.keys).exit_code == 3


class Dripping(BaseHTTPRequestHandler):
    """One byte after the other, never late enough to be called silent."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):  # the other side goes
            while True:
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_drips(whole: Tampered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "ANSWER_TIMEOUT_S", 0.2)
    with answering(Dripping) as base:
        report = verify_url(base, keys=whole.keys)  # it would never end by itself
    assert report.exit_code == 3


class Endless(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_never_ends(whole: Tampered) -> None:
    with answering(Endless) as base:
        report = verify_url(base, keys=whole.keys)
    assert report.exit_code == 1
    assert "more than" in report.problems[0].what


def test_a_server_without_tiles_is_not_asked_for_all(log: Tampered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url, "FAILURES_MAX", 3)
    for path in (log.directory / "log" / "tile").rglob("*"):
        if path.is_file():
            path.unlink()
    report = judge(log)
    assert report.exit_code == 3
    assert any("the rest was not asked for" in problem.what for problem in report.problems)


def test_progress_goes_up_to_the_end(whole: Tampered) -> None:
    seen: list[tuple[int, int]] = []
    with answering(partial(Files, directory=str(whole.directory / "log"))) as base:
        verify_url(f"{base}/checkpoint", keys=whole.keys, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (256, 3_001)
    assert seen[-1] == (3_001, 3_001)


@pytest.mark.parametrize("text", ["", "log", "ftp://example.com/log", "http://", "/srv/log"])
def test_what_is_no_url_is_refused(whole: Tampered, text: str) -> None:
    with pytest.raises(BadInput):
        verify_url(text, keys=whole.keys)


def test_no_key_and_no_checkpoint_are_refused(whole: Tampered) -> None:
    with pytest.raises(BadInput):
        verify_url("http://127.0.0.1:1", keys=())
    with pytest.raises(BadInput):
        verify_url("http://127.0.0.1:1", keys=whole.keys, since=b"hello")
