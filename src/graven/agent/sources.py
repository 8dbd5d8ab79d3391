"""From a configuration to the sources and doors of an agent, each where its places say."""

from collections.abc import Callable, Sequence
from pathlib import Path

from graven.agent.config import AgentConfig, CloudTrailConfig, PullConfig
from graven.agent.doors.door import Door
from graven.agent.follow import FileSettings, FileSource
from graven.agent.processes import CommandSource, JournaldSource, StdinSource
from graven.agent.source import Source
from graven.agent.spool import Places
from graven.core.errors import BadInput
from graven.runtime.clock import Clock

__all__ = ["open_doors", "open_sources"]


def open_sources(config: AgentConfig, places: Places) -> Sequence[Source]:
    """The sources a configuration names, each where its places say."""
    sources: list[Source] = []
    for one in config.files:
        settings = FileSettings(one.name, one.paths, one.exclude, one.type, one.multiline, one.start, one.labels)
        sources.append(FileSource(settings, places))
    sources += [JournaldSource(one, places) for one in config.journald]
    sources += [CommandSource(one) for one in config.commands]
    sources += [_open_puller(one, config, places) for one in config.pull]
    sources += [_open_trail(one, places) for one in config.cloudtrail]
    if config.stdin is not None:
        sources.append(StdinSource(config.stdin.type))
    return sources


def open_doors(config: AgentConfig, rouse: Callable[[], None], clock: Clock) -> Sequence[Door]:
    """The doors a configuration names, listening; `rouse` is called when one has something. Raises BadInput."""
    if not config.syslog and not config.http:
        return ()
    from graven.agent.doors.listening import listen

    return listen(config.syslog, config.http, rouse, clock)


def _open_puller(one: PullConfig, config: AgentConfig, places: Places) -> Source:
    from graven.agent.pull.preset import load_preset
    from graven.agent.pull.puller import open_puller

    return open_puller(
        one.name, load_preset(one.preset, None if one.file is None else Path(one.file)), one.values, places,
        secret_file=None if one.secret_file is None else Path(one.secret_file), interval_s=one.interval_s,
        history_s=one.history_s, overlap_s=one.overlap_s, timeout_s=config.timeout_s,
    )  # fmt: skip


def _open_trail(one: CloudTrailConfig, places: Places) -> Source:
    from graven.agent.trail.digest import load_public_keys
    from graven.agent.trail.source import TrailSource
    from graven.agent.trail.store import BucketStore, FolderStore, TrailStore

    store: TrailStore
    if one.folder is not None:
        store = FolderStore(one.folder)
    else:
        store = BucketStore(one.bucket or "", endpoint=one.endpoint, region=one.region, profile=one.profile)
    try:
        keys = {} if one.public_keys_file is None else load_public_keys(Path(one.public_keys_file).read_bytes())
    except OSError as error:
        place = f"{one.public_keys_file}: {error.strerror}"
        raise BadInput("CloudTrail's public keys cannot be read", place=place) from None
    return TrailSource(one.name, store, places, keys=keys, interval_s=one.interval_s, first_day=one.first_day)
