"""Time stamps in an auditor's look: good by the auditor's own roots, over trees of this log, not too old."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from audit.logs import NOW_S, POLICY, entries_of, publish, serving
from core.signers import LOG, LOG_PQ, STRANGER, Signer, sign_checkpoint
from core.tokens import Issued, Maker, root, stamper
from graven.anchor.stored import keep_anchor, newest_stamp
from graven.audit.follow import Follower, Round
from graven.cli import graven
from graven.core.anchored import COSIGNATURE, RFC3161, Anchored, format_anchor
from graven.core.errors import Broken, Disproved
from graven.core.note import format_vkey
from graven.core.x509 import parse_certificate
from graven.runtime.clock import US_PER_S, FixedClock
from graven.runtime.files import LocalFiles
from graven.runtime.site import HttpSite
from server.running import Server


@dataclass
class Authority:
    ca: Issued
    maker: Maker

    def anchor(self, note: bytes, time_s: int) -> Anchored:
        return Anchored(RFC3161, self.maker.token(note, datetime.fromtimestamp(time_s, UTC)), note)


@pytest.fixture(scope="module")
def authority() -> Authority:
    ca = root("Root of Hours")
    return Authority(ca, Maker(stamper(ca, "Hours")))


def look(
    folder: Path, state: Path, authority: Authority | None, *, max_stamp_age_s: int | None = None, now_s: int = NOW_S
) -> Round:
    roots = [] if authority is None else [parse_certificate(authority.ca.raw)]
    with serving(folder) as served:
        follower = Follower(
            HttpSite(served.url), POLICY, state, time_roots=roots, max_stamp_age_s=max_stamp_age_s,
            clock=FixedClock(now_s * US_PER_S),
        )  # fmt: skip
        try:
            return follower.round()
        finally:
            follower.close()


def published(folder: Path, count: int, signers: Sequence[Signer] = (LOG, LOG_PQ)) -> bytes:
    return publish(folder, entries_of(count), signers)


def test_a_good_stamp_is_told_and_kept(tmp_path: Path, authority: Authority) -> None:
    log, state = tmp_path / "log", tmp_path / "state"
    old = published(log, 300)
    data = format_anchor(authority.anchor(old, NOW_S - 500))
    published(log, 700)
    (log / "anchor").write_bytes(data)
    found = look(log, state, authority)
    assert (found.problems, found.stamp_age_s) == ([], 500)
    assert any("over 300 entries, by Hours" in one for one in found.checked)
    assert (state / "anchor").read_bytes() == data == newest_stamp(state)
    assert len(list(state.glob("anchors/*/*"))) == 1
    again = look(log, state, authority, now_s=NOW_S + 100)
    assert again.stamp_age_s == 600 and len(list(state.glob("anchors/*/*"))) == 1
    with serving(state) as served:  # the copy shows it to other auditors
        assert HttpSite(served.url).get("anchor", 1 << 20) == data


def test_without_roots_none_is_looked_at(tmp_path: Path) -> None:
    published(tmp_path / "log", 10)
    found = look(tmp_path / "log", tmp_path / "state", None)
    assert (found.problems, found.stamp_age_s) == ([], None)


def test_a_log_that_shows_none_or_an_old_one(tmp_path: Path, authority: Authority) -> None:
    log, state = tmp_path / "log", tmp_path / "state"
    note = published(log, 10)
    found = look(log, state, authority)
    assert [str(one.what) for one in found.problems] == ["the log shows no time stamp"] and found.exit_code == 3
    (log / "anchor").write_bytes(format_anchor(authority.anchor(note, NOW_S - 500)))
    found = look(log, state, authority, max_stamp_age_s=499)
    assert "is not stamped any more" in found.problems[0].what and isinstance(found.problems[0], Broken)
    assert look(log, state, authority, max_stamp_age_s=500).problems == []
    found = look(log, state, authority, now_s=NOW_S - 5_000)
    assert "later than the clock here" in found.problems[0].what and found.exit_code == 3


def test_stamps_that_are_not_good(tmp_path: Path, authority: Authority) -> None:
    log, state = tmp_path / "log", tmp_path / "state"
    note = published(log, 10)
    ca = root("Root of Lies")
    good = authority.anchor(note, NOW_S)
    other = authority.anchor(sign_checkpoint(9, bytes(32), (LOG, LOG_PQ)), NOW_S)
    strangers = sign_checkpoint(10, bytes(32), (STRANGER,))
    lies = [
        format_anchor(Authority(ca, Maker(stamper(ca, "Lies"))).anchor(note, NOW_S)),  # another root
        format_anchor(Anchored(RFC3161, other.token, note)),  # a token over other bytes
        format_anchor(authority.anchor(strangers, NOW_S)),  # over a checkpoint the log did not sign
        format_anchor(Anchored(COSIGNATURE, None, note)),
        format_anchor(Anchored(RFC3161, good.token, note, (bytes(32),))),
        format_anchor(good)[:-5],
        b"junk",
        b"x" * (4 << 20),
    ]
    for lie in lies:
        (log / "anchor").write_bytes(lie)
        found = look(log, state, authority)
        assert [isinstance(one, Disproved) for one in found.problems] == [True], lie[:60]
        assert found.size == 10 and found.stamp_age_s is None
    assert not (state / "anchor").exists() and not (state / "evidence").exists()


def test_a_stamp_over_another_tree_convicts_the_log(tmp_path: Path, authority: Authority) -> None:
    """An authority's stamp over a checkpoint that the log signed and shows to nobody else."""
    log, state = tmp_path / "log", tmp_path / "state"
    hidden = publish(tmp_path / "hidden", entries_of(200, salt=1))
    published(log, 300)
    (log / "anchor").write_bytes(format_anchor(authority.anchor(hidden, NOW_S - 10)))
    found = look(log, state, authority)
    assert found.exit_code == 1 and any("this log forked" in one.what for one in found.problems)
    assert list(state.glob("evidence/fork-*/a.checkpoint"))


def test_the_command_and_a_real_server(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "root.pem").write_bytes(authority.ca.pem)

    def run(*words: object, exit_code: int = 0) -> dict[str, object]:
        result = CliRunner().invoke(graven, ["audit", "follow", *map(str, words), "--once", "--json"])
        assert result.exit_code == exit_code, result.stdout + result.stderr
        return json.loads(result.stdout) if exit_code != 2 else {}

    with Server(tmp_path / "log") as server:
        (tmp_path / "policy").write_text(f"log {format_vkey(server.keys[0])}\nquorum none\n")
        words = (f"{server.url}/log", "--policy", tmp_path / "policy", "--state", tmp_path / "state")
        assert server.ask("GET", "/log/anchor").status == 404
        assert run(*words, "--tsa-root", tmp_path / "root.pem", exit_code=3)["stamp_age_s"] is None
        note = server.ask("GET", "/log/checkpoint").body
        anchored = authority.anchor(note, int(datetime.now(UTC).timestamp()) - 60)
        keep_anchor(LocalFiles(), tmp_path / "log", anchored, time_s=int(datetime.now(UTC).timestamp()) - 60)
        assert server.ask("GET", "/log/anchor").body == format_anchor(anchored)
        metrics = tmp_path / "metrics.prom"
        found = run(*words, "--tsa-root", tmp_path / "root.pem", "--metrics", metrics)
        age_s = found["stamp_age_s"]
        assert isinstance(age_s, int) and 55 <= age_s < 3_600
        assert "graven_audit_stamp_age_seconds" in metrics.read_text()
        run(*words, "--max-stamp-age-s", 5, exit_code=2)
