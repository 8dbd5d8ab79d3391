"""The sources that the configuration itself names: registered at the start, by an event, if they are not yet."""

from collections.abc import Mapping

from graven.app import Log, class_names
from graven.config import Config
from graven.config.doors import parse_senders
from graven.log.admin import add_source

__all__ = ["register_senders", "senders_of"]

AUTHENTICATED, NETWORK = "authenticated sender", "network"


def senders_of(config: Config, *, syslog: bool) -> Mapping[str, tuple[str, str]]:
    """Name → (type, provenance grade) of each such source. `syslog`: whether syslog is taken in at all."""
    found: dict[str, tuple[str, str]] = {}
    for name, hook in config.webhooks.items():
        found[hook.source or name] = ("webhook", AUTHENTICATED)
    if syslog:
        found.setdefault(config.syslog.source, ("syslog", NETWORK))
        for who, name in parse_senders(config.syslog.sources):
            found.setdefault(name, ("syslog", AUTHENTICATED if isinstance(who, str) else NETWORK))
    return found


def register_senders(log: Log, wanted: Mapping[str, tuple[str, str]]) -> None:
    """Register those that are not known. Raises BadInput for a name that is kept for Graven itself; Busy, Broken."""
    for name, (type_, grade) in wanted.items():
        if name not in log.registers.sources:
            add_source(log, name, declared=class_names(log.config), type=type_, grade=grade)
