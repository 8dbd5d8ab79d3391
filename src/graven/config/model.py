"""What can be configured: every section and knob, with its bounds, its default and its reason.

The `description` of a knob is the comment in the file that `format_config` writes; docs/configuration.md says more, and
a test holds the two together. Units stand last in the names.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct, field, structs

from graven.config.doors import SyslogConfig, WebhookConfig
from graven.config.outside import AuthorityConfig, RetentionConfig, TimeConfig, WormConfig
from graven.config.section import AnyPath, ClassName, Section

DEFAULT_CLASS = "default"
RESERVED_CLASS = "graven"
CLASSES_MAX = 64
AUTHORITIES_MAX = 16

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
_Path = AnyPath
_HookName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")]
_Socket = Annotated[str, Meta(pattern=r"\Aunix:/[^\x00]+\Z")]


class KeysConfig(Section, frozen=True, kw_only=True):
    """Where the keys are. The keyring is a directory of its own, beside the data and never in it."""

    dir: Annotated[_Path | None, Meta(description="directory of the keyring; without it, DIR.keys beside DIR")] = None
    replicas: Annotated[
        tuple[_Path, ...],
        Meta(
            max_length=8,
            description="directories, on other disks, that hold a copy of the keyring; a data key is durable in all of "
            "them before it is used, because losing every copy loses the events",
        ),
    ] = ()
    passphrase_file: Annotated[
        _Path | None,
        Meta(description="file (mode 0600) with the passphrase of a sealed keyring; GRAVEN_PASSPHRASE_FILE goes first"),
    ] = None
    log: Annotated[
        str,
        Meta(
            pattern=r"\A(file:|pkcs11:\?.*)\Z",
            description='how this host gets at a signing key in a token: "pkcs11:?module-path=…&pin-source=file:…" '
            'goes before what the keyring says of it; "file:" says nothing',
        ),
    ] = "file:"
    signer: Annotated[
        _Socket | None,
        Meta(
            description="the socket of `graven signer`, which has the signing keys then: who owns the server's process "
            "does not get them",
        ),
    ] = None


class ClassConfig(Section, frozen=True, kw_only=True):
    """A retention class. Its events are sealed under keys of their own, so that they can be erased on their own."""

    description: Annotated[str, Meta(max_length=1000, description="what belongs in the class, for people")] = ""


class JournalConfig(Section, frozen=True, kw_only=True):
    """Segments of the journal: the files that hold the events. A segment has its own data keys."""

    segment_bytes: Annotated[
        int,
        Meta(
            ge=64 * _KIB,
            le=4 * _GIB,
            description="a segment of this size is closed; smaller ones are erased and copied sooner, larger ones need "
            "fewer keys",
        ),
    ] = 64 * _MIB
    segment_age_s: Annotated[
        int,
        Meta(
            ge=60,
            le=31 * 86_400,
            description="a segment of this age is closed at the next write, so that a quiet log is erased by day, too",
        ),
    ] = 86_400


class PublishConfig(Section, frozen=True, kw_only=True):
    """Checkpoints: when the tree is signed and shown."""

    interval_ms: Annotated[
        int,
        Meta(
            ge=10,
            le=3_600_000,
            description="at most one checkpoint in this time; shorter shows events sooner, longer signs and syncs less",
        ),
    ] = 1_000
    wait_for: Annotated[
        tuple[str, ...],
        Meta(max_length=0, description="copies that must confirm before a checkpoint is published; there are none yet"),
    ] = ()
    witness_policy: Annotated[
        _Path | None,
        Meta(
            description="tlog-policy file of this log and its witnesses, with URLs; they are asked before a checkpoint "
            "is published. Without it: the copy in DIR/policies, else none"
        ),
    ] = None
    witness_deadline_ms: Annotated[
        int,
        Meta(
            ge=10,
            le=600_000,
            description="how long the quorum is waited for; then the tree is published with fewer cosignatures and an "
            "alarm, or held back",
        ),
    ] = 5_000
    witness_require: Annotated[
        bool,
        Meta(
            description="hold a tree back until the quorum is met: nothing unwitnessed is shown, but witnesses that "
            "are away stop publishing"
        ),
    ] = False
    witness_refresh_s: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="a published tree that does not grow is cosigned again this often, so that a quiet log is seen "
            "to be alive",
        ),
    ] = 600
    witness_start: Annotated[
        Literal["refuse", "go_on"],
        Meta(
            description="at a start, while too few witnesses say what they have seen: sign nothing, or go on without "
            "being told of a rollback"
        ),
    ] = "refuse"


class IntakeConfig(Section, frozen=True, kw_only=True):
    """What is taken in before the writer has it. Full means a refusal with Retry-After, never a silent loss."""

    max_events: Annotated[
        int, Meta(ge=1, le=100_000_000, description="events queued for the writer; bounds memory and waiting time")
    ] = 200_000
    max_bytes: Annotated[
        int,
        Meta(ge=_MIB, le=64 * _GIB, description="bytes queued for the writer; at least max_request_bytes"),
    ] = 256 * _MIB
    max_request_bytes: Annotated[
        int,
        Meta(
            ge=_MIB,
            le=_GIB,
            description="bytes of one request after decompression; a small request must not unpack into a large one",
        ),
    ] = 16 * _MIB
    group_events: Annotated[
        int,
        Meta(
            ge=1,
            le=65_536,
            description="events in one commit; more share one sync, fewer keep a single one's wait short",
        ),
    ] = 4_000


class IdempotencyConfig(Section, frozen=True, kw_only=True):
    """How long an id is remembered, so that the same event sent twice is stored once."""

    window_s: Annotated[int, Meta(ge=60, le=30 * 86_400, description="an id older than this may be stored again")] = (
        86_400
    )
    max_ids: Annotated[
        int,
        Meta(ge=1_000, le=100_000_000, description="ids remembered at most, 16 bytes each; the newest stay"),
    ] = 1_000_000


class MappingsConfig(Section, frozen=True, kw_only=True):
    """Sources of your own: how their JSON records are read, without code."""

    dir: Annotated[
        _Path | None,
        Meta(description="directory of mapping files (*.toml), each a source type of your own; see docs/mapping.md"),
    ] = None


class RedactionConfig(Section, frozen=True, kw_only=True):
    """Secrets taken out of other programs' records before they are sealed."""

    detect: Annotated[
        tuple[Literal["private-key", "cloud-key", "token", "password", "card"], ...],
        Meta(
            max_length=5,
            description="secrets that are known by their looks and masked; none by default, because it changes what "
            "was sent and costs time",
        ),
    ] = ()
    mask: Annotated[
        tuple[str, ...],
        Meta(max_length=200, description="paths of values to mask: data.user.password, **.password, raw:a.*.key"),
    ] = ()
    hash: Annotated[
        tuple[str, ...],
        Meta(max_length=200, description="paths of values to replace by a keyed hash, so that equal ones can be told"),
    ] = ()
    drop: Annotated[
        tuple[str, ...],
        Meta(max_length=200, description="paths of values to leave out of the event, and to make null in a JSON raw"),
    ] = ()
    key_file: Annotated[
        _Path | None,
        Meta(description="file (mode 0600) of 32 bytes or more, the key of `hash`; whoever has it can try values"),
    ] = None


class ServerConfig(Section, frozen=True, kw_only=True):
    """The HTTP server."""

    listen: Annotated[
        str, Meta(description="address and port; port 0 takes a free one. Beyond this machine, use TLS")
    ] = "127.0.0.1:4780"
    tls_cert: Annotated[_Path | None, Meta(description="PEM file with the certificate chain; with tls_key: HTTPS")] = (
        None
    )
    tls_key: Annotated[_Path | None, Meta(description="PEM file with the private key of tls_cert")] = None
    public_log: Annotated[
        bool,
        Meta(
            description="serve checkpoint and tiles without a token: they show size and pace, and no event; "
            "auditors and witnesses need them"
        ),
    ] = True
    auditors: Annotated[
        tuple[str, ...],
        Meta(max_length=16, description="verifier keys of the auditors whose challenges are answered over HTTP"),
    ] = ()


class LogConfig(Section, frozen=True, kw_only=True):
    """Graven's own log lines (JSON on standard error). What it does to the audit log is in the audit log itself."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="the least severe line that is written")
    ] = "info"


class Config(Section, frozen=True, kw_only=True):
    """A whole configuration. Values built in a program are not checked; those read by `parse_config` are."""

    format: Annotated[Literal[1], Meta(description="version of this file's format")] = 1
    origin: Annotated[str, Meta(description="name of the log, in every checkpoint; it never changes")]
    log_id: Annotated[
        str, Meta(pattern=r"\A[0-9a-f]{32}\Z", description="random number of the log, in every segment; never changes")
    ]
    vkeys: Annotated[
        tuple[str, ...],
        Meta(min_length=1, max_length=2, description="public keys of the log: every checkpoint is signed by each"),
    ]
    next_vkeys: Annotated[
        tuple[str, ...],
        Meta(max_length=2, description="public keys that sign beside those, while the keys are changed"),
    ] = ()
    dir: Annotated[
        _Path | None, Meta(description="the data directory, if this file is not in it; GRAVEN_DIR goes first")
    ] = None
    keys: KeysConfig = KeysConfig()
    classes: dict[ClassName, ClassConfig] = field(default_factory=dict)
    authorities: dict[ClassName, AuthorityConfig] = field(default_factory=dict)
    journal: JournalConfig = JournalConfig()
    publish: PublishConfig = PublishConfig()
    time: TimeConfig = TimeConfig()
    intake: IntakeConfig = IntakeConfig()
    idempotency: IdempotencyConfig = IdempotencyConfig()
    server: ServerConfig = ServerConfig()
    mappings: MappingsConfig = MappingsConfig()
    redaction: RedactionConfig = RedactionConfig()
    retention: RetentionConfig = RetentionConfig()
    worm: WormConfig = WormConfig()
    syslog: SyslogConfig = SyslogConfig()
    webhooks: dict[_HookName, WebhookConfig] = field(default_factory=dict)
    log: LogConfig = LogConfig()


TABLES: dict[str, type[Section]] = {
    "classes": ClassConfig,
    "authorities": AuthorityConfig,
    "webhooks": WebhookConfig,
}
"""The sections that stand any number of times under names of the operator's: `[classes.NAME]`."""


def knobs(kind: type[Struct]) -> Iterator[structs.FieldInfo]:
    """The fields of a section that hold a value; of Config, those at the top of the file."""
    return (knob for knob in structs.fields(kind) if not is_section(knob) and knob.name not in TABLES)


def sections() -> Iterator[structs.FieldInfo]:
    """The sections of the file, those of `TABLES` apart."""
    return filter(is_section, structs.fields(Config))


def is_section(field: structs.FieldInfo) -> bool:
    return isinstance(field.default, Section)


def default_of(field: structs.FieldInfo) -> object:
    """The value of a knob that nobody sets."""
    return field.default_factory() if callable(field.default_factory) else field.default


def describe(field: structs.FieldInfo) -> str:
    """The reason of a knob; every one has it."""
    return str(next(extra.description for extra in field.type.__metadata__ if extra.description))
