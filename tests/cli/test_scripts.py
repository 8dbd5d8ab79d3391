"""The command line as people see it: every golden script, and the runner itself."""

from pathlib import Path

import pytest

from cli.script import matches, run_script

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.mark.parametrize("name", sorted(path.name for path in SCRIPTS.glob("*.txt")))
def test_script(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRAVEN_DIR", raising=False)
    run_script(SCRIPTS / name, tmp_path)


def test_the_runner_sees_differences() -> None:
    assert matches(["a ... c", "...", "z"], ["a b c", "x", "y", "z"])
    assert matches(["...", "z"], ["z"])
    assert not matches(["a"], [])
    assert not matches([], ["a"])
    assert not matches(["a ... c"], ["a b d"])
    assert not matches(["a", "...", "z"], ["a", "y"])


def test_a_wrong_script_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("$ graven --version\ngraven 99\n", "$ graven --version\ngraven ...\n? 1\n", "$ graven nothing\n? 2\n"):
        script = tmp_path / "wrong.txt"
        script.write_text(text)
        with pytest.raises(AssertionError, match=r"wrong\.txt:1"):
            run_script(script, tmp_path)
