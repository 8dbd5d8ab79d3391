"""docs/verify-by-hand.md is run: its blocks, in order, on evidence of a real log; and the script that is packaged."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from graven import app
from graven.core.note import format_vkey
from graven.log.types import Batch

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "src" / "graven" / "demo" / "verify-by-hand.sh"
BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "verify-by-hand.md").read_text(), re.DOTALL)

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "openssl", "sha256sum", "base64", "od"))),
    reason="coreutils or openssl is missing",
)

EVENTS = [
    b'{"action":"user.login"}',
    '{"action":"ünï ✓ \\u202e \\"q\\" back\\\\slash \\\\n \\u0000 \\\\u0041 /"}'.encode(),
    b'{\n\t"action": "laid out",\r\n "data": "ends in a backslash \\\\"\n}',
    b'{"action":"100%s %b \\\\x41 $(id) `id` \\\\c"}',
    b'{"action":"from a raw"}',
    b'{"action":"from an empty raw"}',
]
RAWS = [None, None, None, None, b"raw \x00\xff bytes\n", b""]
WITHHELD = [(True, True), (False, True), (True, False), (False, False)]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("by-hand") / "log"
    app.create_log(directory, origin="example.com/log")
    with app.Log.open(directory) as log:
        log.commit(Batch(EVENTS, [None] * len(EVENTS), 1, log.clock.now_us(), "default", RAWS))
        log.append([{"action": "later"}] * 6)
    return directory


def prove(log: Path, index: int, *, event: bool = True, raw: bool = True) -> tuple[bytes, str]:
    with app.open_view(log) as view:
        return view.evidence(index, event=event, raw=raw), format_vkey(view.keys[0])


def check(tmp_path: Path, evidence: bytes, vkey: str, script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
    (tmp_path / "evidence.json").write_bytes(evidence)
    command = ["bash", str(script), "evidence.json", vkey]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)


def test_page_and_script_are_one() -> None:
    def lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if line and not line.startswith("#")]

    assert lines("\n".join(BLOCKS)) == lines(SCRIPT.read_text())
    steps = re.findall(r"^#+ (Step \d: .*)", SCRIPT.read_text(), re.MULTILINE)
    assert len(steps) == len(BLOCKS) == 7


def test_it_uses_coreutils_sed_and_openssl_only() -> None:
    allowed = {"sha256sum", "cut", "od", "tr", "sed", "base64", "cat", "head", "tail", "mktemp", "rm", "openssl"}
    outside = {"python", "python3", "perl", "jq", "xxd", "awk", "graven", "curl"}
    words = set(re.findall(r"[a-z0-9]+", "\n".join(BLOCKS)))
    assert allowed <= words
    assert not outside & words


@pytest.mark.parametrize("index", range(13))
def test_the_blocks_of_the_page_prove_evidence(log: Path, tmp_path: Path, index: int) -> None:
    page = tmp_path / "page.sh"
    page.write_text("\n".join(BLOCKS))
    evidence, vkey = prove(log, index)
    done = check(tmp_path, evidence, vkey, page)
    assert done.returncode == 0, done.stderr
    assert f"proved   index {index} of example.com/log, in its tree of 13 entries" in done.stdout
    assert "Signature Verified Successfully" in done.stdout


def test_a_log_of_one_event(tmp_path: Path) -> None:
    app.create_log(tmp_path / "log", origin="example.com/one")
    done = check(tmp_path, *prove(tmp_path / "log", 0))
    assert done.returncode == 0, done.stderr
    assert "in its tree of 1 entries" in done.stdout


@pytest.mark.parametrize(("event", "raw"), WITHHELD)
@pytest.mark.parametrize("index", [2, 5, 6])
def test_withheld_parts(log: Path, tmp_path: Path, index: int, event: bool, raw: bool) -> None:
    done = check(tmp_path, *prove(log, index, event=event, raw=raw))
    assert done.returncode == 0, done.stderr
    assert (EVENTS[index - 1].decode(errors="replace")[:10] in done.stdout) == event


def test_every_forged_value_is_refused(log: Path, tmp_path: Path) -> None:
    evidence, vkey = prove(log, 5)
    document = json.loads(evidence)
    size = 0
    for path in (("head",), ("event", "bytes"), ("event", "salt"), ("raw", "base64"), ("raw", "salt"), ("index",)):
        forged = json.loads(evidence)
        inner = forged if len(path) == 1 else forged[path[0]]
        inner[path[-1]] = inner[path[-1]] + 1 if path == ("index",) else flip(inner[path[-1]], 10)
        size += 1
        assert check(tmp_path, dump(forged), vkey).returncode != 0, path
    lines = document["proof"].split("\n")
    for number in [line for line, text in enumerate(lines) if text][2:-2]:  # not `extra`, nor the ML-DSA line
        forged = json.loads(evidence)
        forged["proof"] = "\n".join([*lines[:number], flip(lines[number], -5), *lines[number + 1 :]])
        size += 1
        assert check(tmp_path, dump(forged), vkey).returncode != 0, lines[number]
    assert size > 12


def test_another_key_is_refused(log: Path, tmp_path: Path) -> None:
    evidence, vkey = prove(log, 3)
    app.create_log(tmp_path / "other", origin="example.com/log")
    _, other = prove(tmp_path / "other", 0)
    assert "has not signed" in check(tmp_path, evidence, other).stderr
    name, key_id, material = vkey.split("+", 2)
    assert "is damaged" in check(tmp_path, evidence, f"{name}+00000000+{material}").stderr
    assert "the key is of" in check(tmp_path, evidence, f"elsewhere+{key_id}+{material}").stderr
    with app.open_view(log) as view:
        assert "no Ed25519 key" in check(tmp_path, evidence, format_vkey(view.keys[1])).stderr


def dump(document: object) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def flip(text: str, at: int) -> str:
    at %= len(text)
    return text[:at] + ("B" if text[at] != "B" else "C") + text[at + 1 :]
