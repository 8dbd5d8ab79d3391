"""A log with time authorities, real and made up."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from anchor.authorities import Authority
from core.tokens import Issued, Maker, granted, root, stamper
from graven.app import Log, create_log, open_keyring, public_keys
from graven.config import AuthorityConfig, Config, format_config, load_config
from graven.core.timestamp_request import parse_request
from graven.log.verify import Report, verify_directory
from graven.runtime.clock import Clock, FixedClock

ORIGIN = "example.com/timed"
EVENT: list[bytes | dict[str, object]] = [{"action": "door.opened"}]


@dataclass
class Pretender:
    """An authority in the test's hand: answers with tokens of `maker` at the time `now` says."""

    folder: Path
    ca: Issued
    maker: Maker
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    url: str = ""
    asked: int = 0
    wrong: Callable[[bytes], bytes] | None = None

    @property
    def ca_file(self) -> Path:
        path = self.folder / f"{id(self)}.pem"
        path.write_bytes(self.ca.pem)
        return path

    def token(self, note: bytes) -> bytes:
        """A stamp over a note, as it would be asked for."""
        return self.maker.token(note, self.now())


def pretender(folder: Path, name: str = "Pretender", **options: object) -> Pretender:
    folder.mkdir(parents=True, exist_ok=True)
    ca = root(f"Root of {name}")
    return Pretender(folder, ca, Maker(stamper(ca, name, **options)))


@dataclass
class Timed:
    """A log's directory, and the authorities it is configured with."""

    directory: Path
    authorities: dict[str, Authority | Pretender]
    interval_s: int = 3_600

    def config(self, **times: int) -> Config:
        config = load_config(self.directory / "graven.toml")
        rows = {
            name: AuthorityConfig(url=one.url, ca_file=str(one.ca_file), interval_s=self.interval_s, timeout_ms=3_000)
            for name, one in self.authorities.items()
        }
        return msgspec.structs.replace(
            config,
            authorities=rows,
            publish=msgspec.structs.replace(config.publish, interval_ms=20),
            time=msgspec.structs.replace(config.time, **times),
        )

    def write(self) -> None:
        """The configuration into graven.toml, for commands."""
        (self.directory / "graven.toml").write_text(format_config(self.config()))

    def open(self, *, serve: bool = False, clock: Clock | None = None, **times: int) -> Log:
        return Log.open(self.directory, self.config(**times), serve=serve, clock=clock)

    def verify(self) -> Report:
        config = load_config(self.directory / "graven.toml")
        return verify_directory(
            self.directory, keys=public_keys(config), keyring=open_keyring(self.directory, config), processes=1
        )


def make_timed(root_dir: Path, **authorities: Authority | Pretender) -> Timed:
    create_log(root_dir / "log", origin=ORIGIN)
    return Timed(root_dir / "log", dict(authorities))


def timed_open(
    timed: Timed,
    server: Authority,
    one: Pretender,
    *,
    serve: bool = False,
    clock: FixedClock | None = None,
    **times: int,
) -> Log:
    """Open with a pretender behind a real HTTP server, if that is up."""

    def reply(asked: bytes) -> tuple[int, bytes]:
        request = parse_request(asked)
        one.asked += 1
        return 200, granted(replace(one.maker, nonce=request.nonce, imprint=request.imprint).token(b"", one.now()))

    server.reply = reply
    one.url = server.url or "http://127.0.0.1:1/"
    return timed.open(serve=serve, clock=clock, **times)
