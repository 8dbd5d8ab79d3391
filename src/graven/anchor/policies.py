"""The log's witness policy: a tlog-policy file with URLs, and the copies kept in the log's directory.

    DIR/policies/current            the policy the log was last run with
    DIR/policies/<SHA-256, hex>     every policy it was ever run with

So a checkpoint that old witnesses cosigned is still read when they are gone from the policy, and a command that finds
no policy in the configuration goes on with the last one. A kept policy adds no trust: the log's own keys must have
signed every checkpoint, whatever lines follow. Who relies on witnesses brings a policy of his own.
"""

import contextlib
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from graven.core.errors import BadInput, Broken
from graven.core.note import Key
from graven.core.policy import MAX_POLICY_BYTES, Policy, parse_policy
from graven.runtime.files import Files, make_dir, write_atomic

FOLDER = "policies"
CURRENT = "current"
WITNESSES_MAX = 90
"""A note has at most 100 signatures."""

_KEPT = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """A policy this log may be run with, and its exact text."""

    policy: Policy
    data: bytes

    @property
    def sha256(self) -> str:
        """Of the text, in hex."""
        return sha256(self.data).hexdigest()


def load_policy(path: Path, keys: Sequence[Key]) -> WitnessPolicy:
    """The policy in `path`, judged for the log whose public keys are `keys`.

    Raises BadInput: no policy; its `log` lines are not of this log; a URL that is no http(s) URL; more than 90
    witnesses; or those with a URL cannot meet the quorum.
    """
    place = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise BadInput("the witness policy cannot be read", place=f"{place}: {error.strerror}") from None
    try:
        policy = parse_policy(data)
    except BadInput as error:
        raise BadInput(error.what, place=f"{place}, {error.place}" if error.place else place, mend=error.mend) from None
    if not policy.logs or any(key not in keys for key, _ in policy.logs):
        raise BadInput(
            "the witness policy is not one for this log: its log lines name other keys, or there are none",
            place=place,
            mend="log <vkey>, as `graven vkey` prints it",
        )
    for witness in policy.witnesses:
        if witness.url is not None:
            _check_url(witness.url, place)
    if len(policy.witnesses) > WITNESSES_MAX:
        raise BadInput(f"a witness policy with more than {WITNESSES_MAX} witness lines", place=place)
    if not policy.meets({witness.name for witness in policy.witnesses if witness.url is not None}):
        raise BadInput(
            "the quorum of the witness policy can never be met: the log asks only witnesses with a URL",
            place=place,
            mend="witness <name> <vkey> <url>",
        )
    return WitnessPolicy(policy, data)


def current_policy(directory: Path) -> Path | None:
    """The kept copy of the policy the log was last run with; None if there was none."""
    path = directory / FOLDER / CURRENT
    return path if path.exists() else None


def keep_policy(files: Files, directory: Path, policy: WitnessPolicy) -> None:
    """Keep a copy, durably, before anything cosigned under it is written. Raises Broken."""
    folder = directory / FOLDER
    try:
        make_dir(files, str(folder))
        for name in (policy.sha256, CURRENT):
            path = folder / name
            if not path.exists() or path.read_bytes() != policy.data:
                write_atomic(files, str(path), policy.data)
        files.sync_dir(str(folder))  # whoever wrote what was there may not have come to that
    except OSError as error:
        place = f"{error.filename or folder}: {error.strerror}"
        raise Broken("the witness policy cannot be kept", place=place) from None


def read_kept(directory: Path) -> list[tuple[str, bytes]]:
    """(file name, text) of every kept policy."""
    folder = directory / FOLDER
    if not folder.is_dir():
        return []
    return [
        (path.name, path.read_bytes())
        for path in sorted(folder.iterdir())
        if path.name == CURRENT or _KEPT.fullmatch(path.name)
    ]


def kept_witness_keys(directory: Path) -> tuple[Key, ...]:
    """The keys of all witnesses of all kept policies. One that cannot be read is left out: its lines are unknown."""
    keys: dict[Key, None] = {}
    with contextlib.suppress(OSError):
        for _, data in read_kept(directory):
            with contextlib.suppress(BadInput):
                keys |= dict.fromkeys(witness.key for witness in parse_policy(data).witnesses)
    return tuple(keys)


def all_on_this_host(policy: Policy) -> bool:
    """Whether every witness with a URL is at an address of this machine: then the log's operator runs them all."""
    urls = [witness.url for witness in policy.witnesses if witness.url is not None]
    return bool(urls) and all(map(_is_local, urls))


def describe_trust(policy: Policy | None, counted: Sequence[str]) -> str:
    """Who vouches for a checkpoint beside its operator, in one line; `counted`: the policy's witnesses that cosigned.

    Counted as the quorum counts: a witness with two keys in an `any` group is one.
    """
    if policy is None or not policy.witnesses:
        return "operator-trusted: 0 witnesses"
    seen, members = policy.tally(counted)
    names = f": {', '.join(seen)}" if seen else ""
    short = "" if policy.meets(counted) else ", fewer than the policy asks for"
    if all_on_this_host(policy):
        count = "1 witness" if len(members) == 1 else f"{len(members)} witnesses"
        return f"operator-trusted: {count}, all on this host; {len(seen)} of {len(members)} cosigned{names}{short}"
    return f"witnessed by {len(seen)} of {len(members)}{names}{short}"


def _check_url(url: str, place: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
        _ = parts.port
    except ValueError:
        good = False
    if not good:
        raise BadInput(f"not the URL of a witness: {url[:200]!r}", place=place, mend="http(s)://HOST[:PORT][/PATH]")


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost") or host == socket.gethostname().lower():
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))  # only an address of this machine can be bound
        return True
    return False
