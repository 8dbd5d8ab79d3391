"""From a configuration to the pieces a log is put together from: the files that name concrete classes are here."""

import threading
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from graven.anchor.authority import AuthoritySettings, roots_of
from graven.anchor.panel import WitnessPanel
from graven.anchor.policies import current_policy, keep_policy, load_policy
from graven.config import (
    Config,
    WormConfig,
    load_config,
    read_passphrase,
    read_token_access,
)
from graven.core.errors import BadInput
from graven.core.note import Key, parse_vkey
from graven.core.x509 import Certificate, parse_certificates
from graven.journal.files import Files
from graven.journal.mark import COMMITTED, read_mark
from graven.keys.keyring import Keyring
from graven.keys.remote import RemoteSigner, socket_path
from graven.keys.signature import verify_signature
from graven.keys.signer import Signer, open_signer
from graven.log import acts
from graven.log.anchoring import AnchorLimits
from graven.log.publish import PublishLimits
from graven.log.view import View
from graven.log.writer import Limits
from graven.worm.folder import FolderStore
from graven.worm.follow import Follower, Tell
from graven.worm.retention import Retention
from graven.worm.s3 import S3Settings, S3Store
from graven.worm.store import Store

if TYPE_CHECKING:
    from graven.ingest import Pipeline

VERSION = version("graven")


def keys_dir(directory: Path, config: Config | None = None) -> Path:
    """Where a log's keyring is: `[keys] dir`, else the data directory's name with `.keys` behind it."""
    if config is not None and config.keys.dir:
        return Path(config.keys.dir)
    absolute = directory.absolute()
    return absolute.with_name(absolute.name + ".keys")


def open_view(directory: Path, config: Config | None = None, *, need_keys: bool = True) -> View:
    """A log for reading. Without a keyring (and if it is not needed) sealed events stay sealed.

    Raises:
        BadInput: no log, no keyring, or a passphrase that is missing or wrong.
    """
    config = config or load_config(directory / "graven.toml")
    keyring = None
    if need_keys or keys_dir(directory, config).exists():
        keyring = open_keyring(directory, config)
    return View(directory, public_keys(config), keyring, lambda: time_roots(config))


def open_keyring(directory: Path, config: Config, *, files: Files | None = None) -> Keyring:
    """The keyring of a log. Raises as `Keyring.open`."""
    return Keyring.open(
        str(keys_dir(directory, config)),
        passphrase=read_passphrase(config),
        replicas=config.keys.replicas,
        files=files,
        access=read_token_access(config),
    )


def build_pipeline(config: Config | None = None) -> "Pipeline":
    """What makes events of other programs' records, as the configuration says; without one, as it is out of the box.

    Raises BadInput: a mapping or a rule that is none, a key file that is missing, open to others or too short.
    """
    from graven.config.ingest import build_redactor, read_mappings  # some forty parsers: only where records come in
    from graven.ingest import Pipeline
    from graven.ingest.normalize import SOURCES

    if config is None:
        return Pipeline()
    own = read_mappings(Path(config.mappings.dir)) if config.mappings.dir is not None else ()
    return Pipeline((*own, *SOURCES), redactor=build_redactor(config.redaction))


def class_names(config: Config) -> tuple[str, ...]:
    """The classes of a log: Graven's own, `default`, and those the configuration declares."""
    return tuple(dict.fromkeys((acts.SELF_CLASS, "default", *config.classes)))


def public_keys(config: Config) -> tuple[Key, ...]:
    """The log's public keys as its configuration lists them."""
    return tuple(parse_vkey(vkey) for vkey in config.vkeys)


def open_store(url: str, config: Config | None = None) -> Store:
    """The store of a write-once copy. `config` says where its endpoint and credentials are; else the environment does.

    Raises BadInput: no URL of a store, no credentials, or the extra `s3` is not installed.
    """
    worm = config.worm if config is not None else WormConfig()
    if url.startswith("file:"):
        return FolderStore(url)
    if url.startswith("s3:"):
        return S3Store(url, S3Settings(worm.endpoint, worm.region, worm.profile, worm.credentials_file))
    raise BadInput("not the URL of a store", place=url[:200], mend="s3://BUCKET/PREFIX or file:///PATH")


def open_follower(
    directory: Path,
    config: Config,
    *,
    tell: Tell | None = None,
    stop: threading.Event | None = None,
    config_file: Path | None = None,
) -> Follower:
    """The follower of a log into its configured store. `config_file` is read again when the keys were rotated.

    Raises BadInput, Broken as `Follower`, and without a store.
    """
    if config.worm.store is None:
        raise BadInput("no write-once store is configured", mend="graven worm enable STORE, or [worm] store")
    return Follower(
        directory, open_store(config.worm.store, config), public_keys(config),
        log_id=config.log_id, retention=retention(config), tell=tell, stop=stop,
        keys_now=lambda: public_keys(load_config(config_file or directory / "graven.toml")),
    )  # fmt: skip


def retention(config: Config) -> Retention:
    """For how long a log's copy is locked."""
    return Retention(config.retention.days, config.retention.by_class, config.worm.open_lock_days)


def committed_size(directory: Path) -> int:
    """How many entries of a log are durable, as its marks say; nothing is checked."""
    mark = read_mark(str(directory / "state" / "committed"), COMMITTED)
    return mark.size if mark is not None else 0


def time_authorities(config: Config) -> tuple[AuthoritySettings, ...]:
    """The configured time authorities, their certificates read. Raises BadInput for a file that holds none."""
    found: list[AuthoritySettings] = []
    for name, one in config.authorities.items():
        place = f"[authorities.{name}] ca_file, {one.ca_file}"
        try:
            roots = parse_certificates(Path(one.ca_file or "").read_bytes())
        except OSError as error:
            what = "the certificates of a time authority cannot be read"
            raise BadInput(what, place=f"{place}: {error.strerror}") from None
        except BadInput as error:
            raise BadInput(error.what, place=place, mend="a PEM file with the authority's root") from None
        found.append(AuthoritySettings(name, roots, one.url, one.policy, one.interval_s, one.timeout_ms / 1000))
    return tuple(found)


def time_roots(config: Config) -> tuple[Certificate, ...]:
    """Every certificate that the configured time authorities may lead to. Raises BadInput."""
    return roots_of(time_authorities(config))


def open_signing(config: Config, keyring: Keyring) -> Signer:
    """What signs for the log: the keys in its keyring, or the signer that the configuration names. Raises as both."""
    if config.keys.signer is not None:
        return RemoteSigner(socket_path(config.keys.signer), keyring.origin)
    return open_signer(keyring)


def anchor_limits(config: Config) -> AnchorLimits:
    times, deadline_ms = config.time, config.publish.witness_deadline_ms
    return AnchorLimits(times.clock_bound_ms * 1000, times.renew_s * 1_000_000, deadline_ms * 1000)


def publish_limits(config: Config) -> PublishLimits:
    publish = config.publish
    return PublishLimits(publish.interval_ms, publish.witness_require, publish.witness_refresh_s)


def writer_limits(config: Config) -> Limits:
    return Limits(
        queued_events=config.intake.max_events,
        queued_bytes=config.intake.max_bytes,
        group_events=config.intake.group_events,
        segment_bytes=config.journal.segment_bytes,
        segment_age_us=config.journal.segment_age_s * 1_000_000,
    )


def open_panel(directory: Path, config: Config, signer: Signer, files: Files) -> WitnessPanel | None:
    """The witnesses of the configured policy, else of the one the log was last run with. Raises BadInput, Broken."""
    named = config.publish.witness_policy
    path = Path(named) if named is not None else current_policy(directory)
    if path is None:
        return None
    policy = load_policy(path, signer.tenures.every)
    keep_policy(files, directory, policy)
    return WitnessPanel(
        policy, signer.tenures, verify_signature,
        deadline_s=config.publish.witness_deadline_ms / 1000, state=directory / "state", files=files,
    )  # fmt: skip
