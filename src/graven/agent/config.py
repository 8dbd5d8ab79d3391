"""The agent's configuration: a TOML file of its own, read strictly.

Unknown keys are refused. Nothing secret stands in it: the join token, the keys of services and the agent's own key are
files. Every source has a name, which is part of the places kept for it: a renamed source is read from its start.
"""

import re
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from graven.agent.doors.config import HttpConfig, SyslogConfig, check_door
from graven.agent.section import FilePath, Label, Name, Section, Type
from graven.core.errors import BadInput

CONFIG_BYTES_MAX = 1 << 20

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30


class SpoolConfig(Section, frozen=True, kw_only=True):
    """Batches on disk until the server has them."""

    max_bytes: Annotated[
        int, Meta(ge=_MIB, le=1 << 44, description="when so much waits, sources are not read until there is room")
    ] = _GIB


class BatchConfig(Section, frozen=True, kw_only=True):
    """When a batch is closed: whichever comes first."""

    records: Annotated[int, Meta(ge=1, le=50_000, description="records in a batch")] = 2_000
    bytes: Annotated[int, Meta(ge=_KIB, le=4 * _MIB, description="bytes of records in a batch, about")] = _MIB
    linger_ms: Annotated[
        int, Meta(ge=0, le=600_000, description="how long the first record of a batch waits for others")
    ] = 1_000


class FilesConfig(Section, frozen=True, kw_only=True):
    """Files to follow."""

    name: Annotated[Name, Meta(description="its name in the places kept; never change it")]
    paths: Annotated[tuple[FilePath, ...], Meta(min_length=1, max_length=64, description="patterns of files, absolute")]
    exclude: Annotated[tuple[FilePath, ...], Meta(max_length=64, description="patterns of files to leave out")] = ()
    type: Annotated[Type, Meta(description='source type of its records; "" lets it be found')] = ""
    multiline: Annotated[
        str,
        Meta(max_length=1000, description='"auditd", "indented", or a pattern that a record\'s first line matches'),
    ] = ""
    start: Annotated[
        Literal["beginning", "end"], Meta(description="where files that are there at the very first start are begun")
    ] = "beginning"
    labels: Annotated[dict[Label, Label], Meta(max_length=32, description="said of each of its records")] = field(
        default_factory=dict
    )


class JournaldConfig(Section, frozen=True, kw_only=True):
    """The systemd journal, through journalctl."""

    name: Annotated[Name, Meta(description="its name in the places kept")] = "journald"
    units: Annotated[tuple[str, ...], Meta(max_length=64, description="only these units; none: all")] = ()
    arguments: Annotated[
        tuple[str, ...], Meta(max_length=32, description="more arguments for journalctl, as --directory=…")
    ] = ()
    command: Annotated[FilePath, Meta(description="the journalctl to run")] = "journalctl"
    start: Annotated[Literal["beginning", "end"], Meta(description="where the very first start begins")] = "beginning"


class CommandConfig(Section, frozen=True, kw_only=True):
    """A program whose output is read line by line, and which is started again when it ends."""

    name: Annotated[Name, Meta(description="its name")]
    argv: Annotated[tuple[str, ...], Meta(min_length=1, max_length=256, description="program and arguments, no shell")]
    type: Annotated[Type, Meta(description='source type of its records; "" lets it be found')] = ""
    restart_s: Annotated[int, Meta(ge=1, le=86_400, description="pause before it is started again")] = 5


class PullConfig(Section, frozen=True, kw_only=True):
    """A service that is asked for its audit log."""

    name: Annotated[Name, Meta(description="its name in the places kept; never change it")]
    preset: Annotated[str, Meta(description="what the service's log looks like: one of those shipped")] = ""
    file: Annotated[FilePath | None, Meta(description="a preset of your own, instead")] = None
    values: Annotated[dict[str, str], Meta(max_length=32, description="what the preset asks for")] = field(
        default_factory=dict
    )
    secret_file: Annotated[FilePath | None, Meta(description="file (mode 0600) with the token, secret or key")] = None
    interval_s: Annotated[int, Meta(ge=1, le=86_400, description="between two questions when there is nothing new")] = (
        60
    )
    history_s: Annotated[int, Meta(ge=0, le=366 * 86_400, description="how far back the very first start goes")] = (
        86_400
    )
    overlap_s: (
        Annotated[int, Meta(ge=0, le=7 * 86_400, description="how late records may show up; else the preset's")] | None
    ) = None


class CloudTrailConfig(Section, frozen=True, kw_only=True):
    """CloudTrail's files, in a folder or a bucket."""

    name: Annotated[Name, Meta(description="its name in the places kept; never change it")]
    folder: Annotated[FilePath | None, Meta(description="a folder they are copied to")] = None
    bucket: Annotated[str | None, Meta(description="s3://BUCKET/PREFIX, instead")] = None
    endpoint: Annotated[str | None, Meta(description="of a bucket that is not AWS's")] = None
    region: Annotated[str | None, Meta(description="of the bucket; else what boto3 finds")] = None
    profile: Annotated[str | None, Meta(description="of boto3's credentials; else what it finds")] = None
    public_keys_file: Annotated[
        FilePath | None,
        Meta(description="what `aws cloudtrail list-public-keys` printed; without it signatures stay open"),
    ] = None
    first_day: Annotated[str, Meta(pattern=r"\A\d{4}/\d{2}/\d{2}\Z", description="YYYY/MM/DD, where to begin")] = (
        "0000/00/00"
    )
    interval_s: Annotated[int, Meta(ge=1, le=86_400, description="between two looks")] = 60


class StdinConfig(Section, frozen=True, kw_only=True):
    """Lines of standard input. The agent ends once they have ended and all is sent."""

    type: Annotated[Type, Meta(description='source type of its records; "" lets it be found')] = ""


class AgentConfig(Section, frozen=True, kw_only=True):
    """A whole configuration."""

    format: Annotated[Literal[1], Meta(description="version of this file's format")] = 1
    server: Annotated[str, Meta(description="address of the Graven server")]
    state: Annotated[FilePath, Meta(description="directory for key, spool and places; its own, never copied")]
    name: Annotated[Name | None, Meta(description="the agent's name, for ever; without it the host's")] = None
    ca_file: Annotated[FilePath | None, Meta(description="PEM file of authorities to trust; else the system's")] = None
    allow_http: Annotated[bool, Meta(description="plain HTTP to another machine, where something else guards it")] = (
        False
    )
    timeout_s: Annotated[int, Meta(ge=1, le=600, description="for one exchange with the server")] = 30
    heartbeat_s: Annotated[int, Meta(ge=1, le=3600, description="how often the agent says that it is there")] = 30
    silent_after_s: Annotated[
        int, Meta(ge=0, le=31 * 86_400, description="enrolling: silence so long is an event; 0: never")
    ] = 180
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="of its own log lines")] = (
        "info"
    )
    spool: SpoolConfig = SpoolConfig()
    batch: BatchConfig = BatchConfig()
    files: tuple[FilesConfig, ...] = ()
    journald: tuple[JournaldConfig, ...] = ()
    commands: tuple[CommandConfig, ...] = ()
    pull: tuple[PullConfig, ...] = ()
    cloudtrail: tuple[CloudTrailConfig, ...] = ()
    syslog: tuple[SyslogConfig, ...] = ()
    http: tuple[HttpConfig, ...] = ()
    stdin: StdinConfig | None = None

    @property
    def agent_name(self) -> str:
        return self.name or re.sub(r"[^A-Za-z0-9._@-]", "-", socket.gethostname())[:64]


def load_agent_config(path: Path) -> AgentConfig:
    """Read the file. Paths in it may be relative to its directory. Raises BadInput naming the key."""
    try:
        data = path.read_bytes()[: CONFIG_BYTES_MAX + 1]
    except OSError as error:
        raise BadInput("the configuration cannot be read", place=f"{path}: {error.strerror}") from None
    if len(data) > CONFIG_BYTES_MAX:
        raise BadInput(f"the configuration has more than {CONFIG_BYTES_MAX} bytes", place=str(path))
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadInput("the configuration is not UTF-8", place=f"{path}, byte {error.start}") from None
    return parse_agent_config(text, place=str(path), folder=path.absolute().parent)


def parse_agent_config(text: str, *, place: str = "agent.toml", folder: Path = Path("/")) -> AgentConfig:
    """The configuration a TOML text spells. Raises BadInput."""
    try:
        tree: dict[str, Any] = tomllib.loads(text)
        config = msgspec.convert(tree, AgentConfig)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"the configuration is not TOML: {error}", place=place) from None
    except msgspec.ValidationError as error:
        raise BadInput(
            f"the configuration cannot be used: {error}", place=place, mend="docs/agent.md lists every key"
        ) from None
    doors: tuple[SyslogConfig | HttpConfig, ...] = (*config.syslog, *config.http)
    names = [one.name for one in config.files] + [one.name for one in doors]
    names += [one.name for one in config.cloudtrail]
    names += [one.name for one in config.journald] + [one.name for one in config.pull]
    names += [one.name for one in config.commands]
    if len(names) != len(set(names)):
        raise BadInput("two sources have the same name", place=place, mend="give each its own")
    for trail in config.cloudtrail:
        if (trail.folder is None) is (trail.bucket is None):
            raise BadInput(
                "a folder or a bucket", place=f"{place}, cloudtrail {trail.name}", mend="give one of the two"
            )
    for door in doors:
        check_door(door, place=f"{place}, {door.name}")
    for pull in config.pull:
        if bool(pull.preset) is (pull.file is not None):
            raise BadInput("a preset or a file", place=f"{place}, pull {pull.name}", mend="give one of the two")
    for one in config.files:
        if one.multiline not in ("", "auditd", "indented"):
            try:
                re.compile(one.multiline.encode())
            except re.error as error:
                raise BadInput(f"multiline is no pattern: {error}", place=f"{place}, files {one.name}") from None
    files = tuple(
        msgspec.structs.replace(one, paths=tuple(str(folder / path) for path in one.paths)) for one in config.files
    )
    pulls = tuple(
        msgspec.structs.replace(
            one,
            file=_within(folder, one.file),
            secret_file=_within(folder, one.secret_file),
        )
        for one in config.pull
    )
    trails = tuple(
        msgspec.structs.replace(
            one,
            folder=_within(folder, one.folder),
            public_keys_file=_within(folder, one.public_keys_file),
        )
        for one in config.cloudtrail
    )
    syslog = tuple(msgspec.structs.replace(one, socket=_within(folder, one.socket)) for one in config.syslog)
    http = tuple(
        msgspec.structs.replace(one, socket=_within(folder, one.socket), token_file=_within(folder, one.token_file))
        for one in config.http
    )
    ca_file = _within(folder, config.ca_file)
    return msgspec.structs.replace(
        config, state=str(folder / config.state), ca_file=ca_file, files=files, pull=pulls, cloudtrail=trails,
        syslog=syslog, http=http,
    )  # fmt: skip


def _within(folder: Path, path: str | None) -> str | None:
    return None if path is None else str(folder / path)
