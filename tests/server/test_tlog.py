"""The published tree over HTTP, checked as a stranger would: with core alone."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from graven.config import ServerConfig, load_config
from graven.core.checkpoint import SignedCheckpoint, open_checkpoint
from graven.core.evidence import parse_evidence, verify_evidence
from graven.core.merkle import hash_leaf, prove_inclusion, verify_inclusion
from graven.core.proof import parse_proof, verify_proof
from graven.core.tile import bundle_path, decode_entries, tile_nodes, tile_path, width_at
from graven.keys.signature import verify_signature
from server.running import Server

COUNT = 700


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("tlog") / "log") as server:
        token = server.token("ingest", "read")
        (server.directory.parent / "token").write_text(token)
        body = b"\n".join(b'{"action":"act","id":"%d"}' % number for number in range(COUNT))
        assert server.append(body, token, "?wait=published").status == 200
        yield server


@pytest.fixture
def token(filled: Server) -> str:
    return (filled.directory.parent / "token").read_text()


def checkpoint_of(server: Server) -> SignedCheckpoint:
    answer = server.ask("GET", "/log/checkpoint")
    assert answer.status == 200
    return open_checkpoint(answer.body, server.keys, verify_signature, require_all=True)


def test_headers_are_what_c2sp_asks(filled: Server) -> None:
    note = filled.ask("GET", "/log/checkpoint")
    assert note.headers["content-type"] == "text/plain; charset=utf-8"
    assert note.headers["cache-control"] == "public, max-age=1"
    for path in (tile_path(0, 0), tile_path(0, 1), bundle_path(0)):
        tile = filled.ask("GET", f"/log/{path}")
        assert tile.status == 200
        assert tile.headers["content-type"] == "application/octet-stream"
        assert "immutable" in tile.headers["cache-control"]
    assert filled.ask("HEAD", "/log/checkpoint").headers["content-length"] == str(len(note.body))


def test_every_event_is_proved_from_the_tiles_alone(filled: Server, token: str) -> None:
    signed = checkpoint_of(filled)
    size, root = signed.checkpoint.size, signed.checkpoint.root

    def fetch(path: str) -> bytes:
        answer = filled.ask("GET", f"/log/{path}")
        if answer.status == 404:
            raise FileNotFoundError(path)
        return answer.body

    nodes = tile_nodes(fetch, size)
    entries: list[bytes] = []
    for number in range((size + 255) // 256):
        width = width_at(0, number, size)
        entries += decode_entries(fetch(bundle_path(number, width)), width)
    assert len(entries) == size
    for index in (0, 1, 255, 256, 300, size - 1):
        proof = prove_inclusion(nodes, index=index, size=size)
        verify_inclusion(hash_leaf(entries[index]), proof, index=index, size=size, root=root)
        shown = filled.ask("GET", f"/api/v1/events/{index}", token=token).json()
        assert bytes.fromhex(shown["entry"]) == entries[index]
        assert shown["proved"]["by"] == "checkpoint"


def test_proofs_and_evidence_hold_offline(filled: Server, token: str) -> None:
    index = 400
    proof = filled.ask("GET", f"/api/v1/events/{index}/proof", token=token)
    assert proof.headers["content-type"] == "text/plain; charset=utf-8"
    shown = filled.ask("GET", f"/api/v1/events/{index}", token=token).json()
    leaf = hash_leaf(bytes.fromhex(shown["entry"]))
    verify_proof(parse_proof(proof.body), leaf, filled.keys, verify_signature)
    evidence = filled.ask("GET", f"/api/v1/events/{index}/evidence", token=token)
    found = verify_evidence(parse_evidence(evidence.body), keys=filled.keys, verify=verify_signature)
    assert found.index == index
    assert found.event is not None
    assert msgspec.json.decode(found.event) == shown["event"]
    withheld = filled.ask("GET", f"/api/v1/events/{index}/evidence?event=false&raw=false", token=token)
    assert verify_evidence(parse_evidence(withheld.body), keys=filled.keys, verify=verify_signature).event is None
    assert filled.ask("GET", f"/api/v1/events/{index}/evidence?event=no", token=token).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/000.p/255", "tile/0/002.p/256", "tile/0/003", "tile/0/1", "tile/0/x001/000", "tile/1/000",
        "tile/64/000", "tile/0/000.p/0", "tile/00/000", "tile/entries/003", "tile/0/../../journal",
        "tile/0/%2e%2e/%2e%2e/checkpoint",
        "tile//000", "tile", "checkpoint/", "tile/0/000/", "tile/data/000", "tile/0/999999999999999999999",
        "checkpoint%0a", "tile/0/000.p/1%0a",
    ],
)  # fmt: skip
def test_nothing_else_is_served(filled: Server, path: str) -> None:
    answer = filled.ask("GET", f"/log/{path}")
    assert (answer.status, answer.error["kind"]) == (404, "bad_input")
    assert "immutable" not in answer.headers["cache-control"]


def test_a_collected_partial_tile_leads_to_the_full_one(filled: Server) -> None:
    answer = filled.ask("GET", f"/log/{tile_path(0, 0, 3)}")
    assert (answer.status, answer.error["mend"]) == (404, "ask for the full one")


def test_what_lies_on_disk_unpublished_is_not_served(filled: Server) -> None:
    size = checkpoint_of(filled).checkpoint.size
    width = size % 256
    ahead = filled.directory / "log" / tile_path(0, size // 256, width + 1)
    ahead.write_bytes(bytes(32 * (width + 1)))
    try:
        assert filled.ask("GET", f"/log/{tile_path(0, size // 256, width)}").status == 200
        assert filled.ask("GET", f"/log/{tile_path(0, size // 256, width + 1)}").status == 404
    finally:
        ahead.unlink()


def test_further_logs_are_reserved(filled: Server) -> None:
    answer = filled.ask("GET", "/logs/other/checkpoint")
    assert answer.status == 404
    assert "one log" in answer.error["what"]


def test_a_log_need_not_be_public(tmp_path: Path) -> None:
    with Server(tmp_path / "log"):
        pass
    config = load_config(tmp_path / "log" / "graven.toml")
    private = msgspec.structs.replace(config, server=ServerConfig(public_log=False))
    with Server(tmp_path / "log", private) as server:
        read, ingest = server.token("read", name="r"), server.token("ingest", name="i")
        for target in ("/log/checkpoint", "/log/tile/0/000.p/1", "/api/v1/status"):
            assert server.ask("GET", target).status == 401
            assert server.ask("GET", target, token=ingest).status == 403
            assert server.ask("GET", target, token=read).status in (200, 404)
        assert server.ask("GET", "/log/checkpoint", token=read).status == 200
