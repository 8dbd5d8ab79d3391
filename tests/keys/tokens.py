"""A token for a test: SoftHSM over a folder of its own, begun by the program that every operator would use."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from graven.keys.token import open_module
from graven.keys.token_uri import TokenUri, parse_token_uri

PIN, OTHER_PIN = "4711-secret-pin", "0815-wrong-pin"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


@dataclass(frozen=True)
class Token:
    """`folder` holds the token itself: move it away, and the token is away."""

    folder: Path
    module: str
    pin_file: Path

    def text(self, label: str = "log", *, pin_file: Path | None = None, token: str = "graven", more: str = "") -> str:
        access = f"module-path={self.module}&pin-source=file:{pin_file or self.pin_file}"
        return f"pkcs11:token={token};object={label}{more}?{access}"

    def uri(self, label: str = "log", *, pin_file: Path | None = None) -> TokenUri:
        return parse_token_uri(self.text(label, pin_file=pin_file))

    def wrong_pin(self) -> Path:
        path = self.pin_file.with_name("wrong-pin")
        path.write_text(OTHER_PIN)
        path.chmod(0o600)
        return path

    def lose_sessions(self) -> None:
        """As when the token's driver was started again."""
        module = open_module(self.uri())
        module.ask(module.begin_anew)

    @contextmanager
    def away(self) -> Iterator[None]:
        gone = self.folder.with_name("gone")
        self.folder.rename(gone)
        try:
            yield
        finally:
            gone.rename(self.folder)

    def add(self, label: str) -> None:
        """Another token beside this one."""
        words = ["--init-token", "--free", "--label", label, "--so-pin", "87654321", "--pin", PIN]
        subprocess.run(["softhsm2-util", *words], check=True, capture_output=True, timeout=180)
