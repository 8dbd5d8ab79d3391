"""A syslog-ng of our own with secure logging, with files below one folder, and the tools that come with it."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from tamper import calls
from tamper.model import Observer, Said, WentWrongError
from tamper.peers import files

_CONFIG = """@version: 3.38
source s {{ file("{0}/lines" follow-freq(0.1) flags(no-parse)); }};
template t {{ template("$(slog --key-file {0}/store/host.key --mac-file {0}/store/mac $MSG)\\n"); }};
destination d {{ file("{0}/store/out" template(t)); }};
log {{ source(s); destination(d); }};
"""


class Syslog:
    """One syslog-ng with files of its own: `store` is the host's; the first key is kept outside."""

    def __init__(self, place: Path) -> None:
        self.place, self.store = place, place / "store"
        self.root = files.find(
            "syslog-ng", Path("/usr/sbin/syslog-ng"), files.SYSLOG_NG / "usr/sbin/syslog-ng"
        ).parents[2]
        self.modules = next((self.root / "usr/lib/syslog-ng").glob("[0-9]*"))
        files.find("secure logging (syslog-ng-mod-slog)", self.modules / "libsecure-logging.so")
        self.env = {"LD_LIBRARY_PATH": str(self.modules.parent)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.store / "out"

    def tool(self, name: str, *words: object) -> Said:
        return calls.call([self.root / "usr/bin" / name, *words], env=self.env)

    def make_keys(self, to: Path) -> None:
        """A master key and the host's first key."""
        for words in (["-m", to.with_name("master")], ["-d", to.with_name("master"), "00:11:22:33:44:55", "host", to]):
            to.with_name("master").unlink(missing_ok=True) if words[0] == "-m" else None
            said = self.tool("slogkey", *words)
            if said.code:
                raise WentWrongError(f"slogkey ended with {said.code}: {said.text[-300:]}")

    def set_up(self) -> None:
        self.store.mkdir()
        self.make_keys(self.place / "k0")
        shutil.copy(self.place / "k0", self.store / "host.key")
        (self.place / "lines").touch()
        (self.place / "conf").write_text(_CONFIG.format(self.place))

    def start(self) -> None:
        words = [self.root / "usr/sbin/syslog-ng", "-F", "--no-caps", "-f", self.place / "conf"]
        words += ["-R", self.place / "persist", "-p", self.place / "pid", "-c", self.place / "control"]
        with (self.place / "errors").open("ab") as errors:
            self._process = subprocess.Popen(
                [*map(str, words), f"--module-path={self.modules}"], stdin=subprocess.DEVNULL, stdout=errors,
                stderr=errors, env=os.environ | self.env,
            )  # fmt: skip

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def send(self, texts: list[str]) -> int:
        """A program writes lines, syslog-ng seals them; how many lines were stored."""
        before = self.count()
        with (self.place / "lines").open("a") as file:
            file.writelines(text + "\n" for text in texts)
        calls.until("the records in the log", lambda: self.count() >= before + len(texts), 20)
        return self.count() - before

    def count(self) -> int:
        return len(self.lines()) if self.log.exists() else 0

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def put(self, lines: list[str]) -> None:
        self.log.write_text("".join(line + "\n" for line in lines))

    def verify(self, store: Path | None = None) -> Said:
        store = store or self.store
        said = self.tool(
            "slogverify", "-k", self.place / "k0", "-m", store / "mac", store / "out", self.place / "clear"
        )
        troubled = "[SLOG] ERROR" in said.text or "[SLOG] WARNING" in said.text
        return Said(said.code, said.text, said.alarm or troubled)

    def observers(self) -> list[Observer]:
        return [Observer("slogverify", self.verify)]

    def seal_alone(self, key: Path, texts: list[str], name: str) -> Path:
        """Another syslog-ng, elsewhere, that seals `texts` from `key` on; its store."""
        place = self.place / name
        place.mkdir()
        other = Syslog(place)
        other.store.mkdir()
        shutil.copy(key, other.store / "host.key")
        (place / "lines").touch()
        (place / "conf").write_text(_CONFIG.format(place))
        other.start()
        try:
            other.send(texts)
        finally:
            other.stop()
        return other.store

    def encrypt(self, key: Path, texts: list[str], to: Path) -> None:
        """`slogencrypt`: lines sealed from `key` on, beside the log's own MAC."""
        to.mkdir(exist_ok=True)
        clear = self.place / "forged"
        clear.write_text("".join(text + "\n" for text in texts))
        words = ["-k", key, "-m", self.store / "mac", to / "new.key", to / "mac", clear, to / "out", self.count()]
        said = self.tool("slogencrypt", *words)
        if not (to / "out").exists():  # it ends with 1 when all went well
            raise WentWrongError(f"slogencrypt ended with {said.code}: {said.text[-400:]}")
