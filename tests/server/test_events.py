"""Reading events over HTTP, published or not."""

from pathlib import Path

import msgspec
import pytest

from graven.config import PublishConfig, load_config
from server.running import Server


@pytest.fixture(scope="module")
def token(shared_server: Server) -> str:
    return shared_server.token("ingest", "read")


def test_an_event_is_shown_with_the_log_s_own_words(shared_server: Server, token: str) -> None:
    said = shared_server.append(b'{"action":"x","id":"7","data":{"n":1.0,"n":2e0}}', token, "?wait=published").json()
    answer = shared_server.ask("GET", f"/api/v1/events/{said['first_index']}", token=token)
    shown = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert list(shown) == [
        "index", "state", "content", "head", "class", "event", "raw", "entry", "proved", "duplicate_keys",
        "erasure_index",
    ]  # fmt: skip
    assert b'"event":{"action":"x","id":"7","data":{"n":1.0,"n":2e0}},' in answer.body
    assert shown["duplicate_keys"] == ["$.data.n"]
    assert (shown["state"], shown["content"], shown["class"]) == ("published", "readable", "default")
    head = shown["head"]
    assert (head["source"], head["source_name"]) == (2, "web")
    assert head["received"].endswith("Z")
    assert 0 < said["size"] < head["received_us"]


@pytest.mark.parametrize("index", ["-1", "01", "x", "1.0", "9" * 30, "%30x"])
def test_an_index_has_one_spelling(shared_server: Server, token: str, index: str) -> None:
    for more in ("", "/proof", "/evidence"):
        assert shared_server.ask("GET", f"/api/v1/events/{index}{more}", token=token).status == 400


def test_an_index_that_is_not_there(shared_server: Server, token: str) -> None:
    for more in ("", "/proof", "/evidence"):
        answer = shared_server.ask("GET", f"/api/v1/events/123456789{more}", token=token)
        assert answer.status == 404
        assert "no index" in answer.error["what"]


def test_unknown_query_keys_are_refused(shared_server: Server, token: str) -> None:
    assert shared_server.ask("GET", "/api/v1/events/0?pretty=1", token=token).status == 400


def test_what_is_only_committed_is_proved_against_its_frame(tmp_path: Path) -> None:
    with Server(tmp_path / "log"):
        pass
    config = load_config(tmp_path / "log" / "graven.toml")
    slow = msgspec.structs.replace(config, publish=PublishConfig(interval_ms=3_600_000))
    with Server(tmp_path / "log", slow) as server:
        token = server.token("ingest", "read")
        server.control.publish()
        for count in (1, 300, 2):
            body = b"\n".join(b'{"action":"y"}' for _ in range(count))
            said = server.append(body, token).json()
            for index in (said["first_index"], said["size"] - 1):
                shown = server.ask("GET", f"/api/v1/events/{index}", token=token).json()
                assert shown["state"] == "committed"
                assert shown["proved"] == {"by": "frame", "size": said["size"], "root": said["receipt"].split("\n")[3]}
                for more in ("/proof", "/evidence"):
                    answer = server.ask("GET", f"/api/v1/events/{index}{more}", token=token)
                    assert (answer.status, answer.headers["retry-after"]) == (409, "1")
        assert server.control.publish()["size"] == said["size"]
        shown = server.ask("GET", f"/api/v1/events/{said['size'] - 1}", token=token).json()
        assert (shown["state"], shown["proved"]["by"]) == ("published", "checkpoint")


def test_damaged_tiles_are_said_so_and_not_shown(tmp_path: Path) -> None:
    with Server(tmp_path / "log") as server:
        token = server.token("ingest", "read")
        body = b"\n".join(b'{"action":"y"}' for _ in range(600))
        assert server.append(body, token, "?wait=published").status == 200
        tile = tmp_path / "log" / "log" / "tile" / "0" / "000"
        data = bytearray(tile.read_bytes())
        data[40] ^= 1
        tile.write_bytes(data)
        answer = server.ask("GET", "/api/v1/events/5", token=token)
        assert (answer.status, answer.error["kind"]) == (500, "disproved")
        assert b"action" not in answer.body
