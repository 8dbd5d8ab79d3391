"""Fixtures of this folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from keys.tokens import MODULES, PIN, Token


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    pytest.importorskip("pkcs11", reason="the extra `pkcs11` is not installed")
    module = next((path for path in MODULES if Path(path).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed (Debian: softhsm2)")
    folder = tmp_path / "hsm" / "tokens"
    folder.mkdir(parents=True)
    (tmp_path / "hsm" / "conf").write_text(f"directories.tokendir = {folder}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "hsm" / "conf"))
    pin_file = tmp_path / "hsm" / "pin"
    pin_file.write_text(f"{PIN}\n")
    pin_file.chmod(0o600)
    made = Token(folder, module, pin_file)
    made.add("graven")
    made.lose_sessions()  # of the test before, in another folder
    yield made
    made.lose_sessions()
