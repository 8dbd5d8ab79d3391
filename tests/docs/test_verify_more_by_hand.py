"""The blocks of docs/verify-by-hand.md for ranges and time stamps, run on a real log."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.tokens import Maker, root, stamper
from docs.test_verify_by_hand import BLOCKS, EVENTS, RAWS, ROOT
from graven import app
from graven.core.anchored import RFC3161, Anchored, format_anchor
from graven.core.note import format_vkey
from graven.core.range import format_range
from graven.log.disclose import open_range
from graven.log.types import Batch

PAGE = (ROOT / "docs" / "verify-by-hand.md").read_text()
RANGE, STAMP = (re.findall(rf"```sh {name}\n(.*?)```", PAGE, re.DOTALL)[0] for name in ("range", "stamp"))
SCRIPT = "\n".join([BLOCKS[0], "\n".join(BLOCKS[1].splitlines()[:2]), RANGE, *BLOCKS[-2:]])

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "openssl", "sha256sum", "base64", "od"))),
    reason="coreutils or openssl is missing",
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("by-hand") / "log"
    app.create_log(directory, origin="example.com/log")
    with app.Log.open(directory) as log:
        log.commit(Batch(EVENTS, [None] * len(EVENTS), 1, log.clock.now_us(), "default", RAWS))
        log.commit(Batch([b'{"action":"other"}'] * 3, [None] * 3, 2, log.clock.now_us()))
        log.append([{"action": "later"}] * 6)
    return directory


def run(script: str, tmp_path: Path, *words: object) -> subprocess.CompletedProcess[str]:
    (tmp_path / "script.sh").write_text(script)
    command = ["bash", "script.sh", *map(str, words)]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)


def opened(log: Path, start: int, end: int) -> tuple[bytes, str]:
    with app.open_view(log) as view:
        return format_range(open_range(view, start, end, source=1)), format_vkey(view.keys[0])


@pytest.mark.parametrize("start, end, count", [(0, 16, 12), (3, 9, 4), (7, 10, 0), (15, 16, 1), (0, 1, 0)])
def test_a_range(log: Path, tmp_path: Path, start: int, end: int, count: int) -> None:
    data, vkey = opened(log, start, end)
    (tmp_path / "range.json").write_bytes(data)
    found = run(SCRIPT, tmp_path, "range.json", vkey, 1)
    assert found.returncode == 0, found.stderr
    assert f"source   1 has exactly {count} events in [{start}, {end})" in found.stdout
    assert "Signature Verified Successfully" in found.stdout and "proved   index range" in found.stdout


def test_a_range_with_one_left_out_or_changed(log: Path, tmp_path: Path) -> None:
    data, vkey = opened(log, 3, 9)
    lines = data.decode().splitlines(keepends=True)
    without = "".join(lines[:8] + lines[9:])
    for lie in (
        without,
        without.replace('"end": 9', '"end": 8'),
        data.decode().replace("graven/1 1 1", "graven/1 2 1", 1),
    ):
        (tmp_path / "range.json").write_text(lie)
        found = run(SCRIPT, tmp_path, "range.json", vkey, 1)
        assert found.returncode == 1 and "REFUSED" in found.stderr, found


def test_a_time_stamp(log: Path, tmp_path: Path) -> None:
    note = (log / "log" / "checkpoint").read_bytes()
    ca = root("Root of Days")
    token = Maker(stamper(ca, "Days")).token(note, datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))
    (tmp_path / "root.pem").write_bytes(ca.pem)
    (tmp_path / "other.pem").write_bytes(root("Another").pem)
    (tmp_path / "anchor").write_bytes(format_anchor(Anchored(RFC3161, token, note)))
    found = run(STAMP, tmp_path, "anchor", "root.pem")
    assert found.returncode == 0 and "Verification: OK" in found.stdout, found.stderr
    assert "existed  before Mar  4 05:06:07 2026 GMT" in found.stdout
    assert run(STAMP, tmp_path, "anchor", "other.pem").returncode != 0
    (tmp_path / "anchor").write_bytes(format_anchor(Anchored(RFC3161, token, note)).replace(b"\n16\n", b"\n17\n"))
    assert run(STAMP, tmp_path, "anchor", "root.pem").returncode != 0
