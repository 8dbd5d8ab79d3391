"""`graven verify`: a whole log, derived again from its bytes, on disk or by URL."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from graven.app import keys_dir, open_keyring, open_store, public_keys, time_roots
from graven.cli.files import read_file, read_time_roots
from graven.cli.options import json_option, path_option, tsa_root_option
from graven.cli.output import counted, print_fields, print_json, print_line, shown
from graven.cli.progress import progress_to
from graven.config import CONFIG_NAME, Config, load_config
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.note import Key, format_vkey, parse_vkey
from graven.core.policy import parse_policy
from graven.core.x509 import Certificate
from graven.keys.keyring import Keyring
from graven.keys.rotation import load_tenures
from graven.log.verify import Problem, Report, verify_directory, verify_url
from graven.worm.verify import verify_copy

_MENDS = {
    "disproved": "keep what is there as it is, and compare it with a copy: docs/operations.md",
    "broken": "bring back what is missing from a copy; graven recover, where a start refuses",
}


@click.command("verify")
@click.argument("url", required=False, metavar="[URL]")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), envvar="GRAVEN_DIR", metavar="DIR",
    help="The directory of the log (or GRAVEN_DIR).",
)  # fmt: skip
@click.option("--from", "store", metavar="STORE", help="A write-once copy: s3://BUCKET/PREFIX or file:///PATH.")
@path_option("--since", "since", "A checkpoint you kept: its tree must be the beginning of this one.")
@click.option("--vkey", "vkeys", multiple=True, metavar="VKEY", help="The log's key, from elsewhere; may be repeated.")
@path_option("--policy", "policy", "A tlog-policy file whose witnesses may have cosigned, too.")
@tsa_root_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    url: str | None,
    directory: Path | None,
    store: str | None,
    since: Path | None,
    vkeys: tuple[str, ...],
    policy: Path | None,
    tsa_roots: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Verify a whole log: nothing is believed that can be derived again, and every problem found is told.

    Of a directory with its keys: frames, events, digests, entries, tree, the root in every frame, tiles, bundles,
    checkpoints, marks. Without the keyring: all but the events themselves. Of a URL (as http://HOST:PORT/log, with
    --vkey): checkpoint, tiles and bundles. A server may be writing meanwhile. Of a write-once copy (--from): all of its
    versions, by --vkey; with --dir, by that log's keys and with its [worm] settings.

    Exit code 0: all is well, notes aside. 1: something is disproved. 3: something is missing or unreadable.
    """
    keys = tuple(parse_vkey(vkey.strip()) for vkey in vkeys)
    kept = read_file(since) if since is not None else None
    witnesses = [one.key for one in parse_policy(read_file(policy)).witnesses] if policy is not None else []
    if store is not None:
        report, trust = _of_copy(store, directory, keys, witnesses, kept)
    elif url is not None:
        if not keys:
            raise BadInput(
                "what a URL serves is verified by a key got from elsewhere",
                mend="--vkey VKEY, what `graven vkey` prints on the log's machine",
            )
        with progress_to("verifying") as reach:
            report = verify_url(url, keys=keys, since=kept, progress=reach)
        trust = _Trust(keys, "--vkey")
    elif directory is not None:
        trust = _trust(directory, keys)
        with progress_to("verifying") as reach:
            report = verify_directory(
                directory, keys=trust.keys, keyring=trust.keyring, own_keys=trust.own, coming=trust.coming,
                witnesses=witnesses, since=kept, time_roots=read_time_roots(tsa_roots) or trust.time_roots,
                progress=reach,
            )  # fmt: skip
        report = replace(
            report, problems=(*trust.problems, *report.problems), broken=report.broken + len(trust.problems)
        )
    else:
        raise BadInput("no log is named", mend="--dir DIR, GRAVEN_DIR, or the URL of its tree")
    report = replace(report, notes=(*trust.notes, *report.notes))
    if as_json:
        print_json(_as_json(report, trust, store or url or str(directory)))
    else:
        _print(report, trust, store or url or str(directory))
    if report.problems:
        raise _verdict(report)


@dataclass(slots=True)
class _Trust:
    """By which keys the log is judged, and who says so; what was wrong on the way to them."""

    keys: tuple[Key, ...]
    source: str
    by_configuration: bool = False
    own: tuple[Key, ...] = ()
    coming: tuple[Key, ...] = ()
    keyring: Keyring | None = None
    problems: list[Problem] = field(default_factory=list)
    time_roots: tuple[Certificate, ...] = ()
    """Those that the configuration names."""

    @property
    def notes(self) -> tuple[str, ...]:
        """A caution where the directory itself says whom to believe: who can write it can have made all of it anew."""
        if not self.by_configuration:
            return ()
        return (
            f"the keys are those {CONFIG_NAME} leads to, so the log vouches for itself: give --vkey, got elsewhere",
        )


def _trust(directory: Path, given: Sequence[Key]) -> _Trust:
    """The keys: those given, else the keyring's, else those graven.toml names.

    Raises:
        Broken: there is a log, and none of the three. (A directory that is no log is for the verification to refuse.)
    """
    problems: list[Problem] = []
    config = _read_config(directory, problems)
    keyring = _read_keyring(directory, config, problems)
    named = public_keys(config) if config is not None else ()
    held = _signing_keys(keyring) if keyring is not None else ()
    own = tuple(dict.fromkeys((*named, *held)))
    coming = tuple(map(parse_vkey, config.next_vkeys)) if config is not None else ()
    roots = _read_roots(config, problems)
    if given:
        return _Trust(
            tuple(given), "--vkey", own=own, coming=coming, keyring=keyring, problems=problems, time_roots=roots
        )
    if keyring is not None and held:
        led = config is not None and keys_dir(directory, config) != keys_dir(directory)
        return _Trust(held, f"the keyring {keyring.directory}", led, own, coming, keyring, problems, roots)
    if own:
        return _Trust(own, CONFIG_NAME, True, coming=coming, keyring=keyring, problems=problems, time_roots=roots)
    if not any((directory / name).exists() for name in (CONFIG_NAME, "journal", "log")):
        raise BadInput("there is no log here", place=str(directory), mend="give the directory `graven init` made")
    raise Broken(
        "no key to verify by: neither a keyring nor graven.toml can be read", place=str(directory), mend="--vkey VKEY"
    )


def _of_copy(
    url: str, directory: Path | None, keys: Sequence[Key], witnesses: Sequence[Key], since: bytes | None
) -> tuple[Report, _Trust]:
    """A write-once copy, by the keys given, else by those of the log in `directory`."""
    config = load_config(directory / CONFIG_NAME) if directory is not None else None
    trust = _Trust(tuple(keys), "--vkey")
    if not keys:
        if directory is None:
            raise BadInput("a copy is verified by a key got from elsewhere", mend="--vkey VKEY, or --dir DIR")
        trust = _trust(directory, keys)
    found = verify_copy(open_store(url, config), keys=trust.keys, witnesses=witnesses, since=since)
    return found.report, trust


def _read_config(directory: Path, problems: list[Problem]) -> Config | None:
    try:
        return load_config(directory / CONFIG_NAME)
    except BadInput as error:
        if (directory / CONFIG_NAME).exists():  # that it is missing, the verification says itself
            problems.append(Problem("broken", error.what, CONFIG_NAME))
        return None


def _read_roots(config: Config | None, problems: list[Problem]) -> tuple[Certificate, ...]:
    try:
        return time_roots(config) if config is not None else ()
    except BadInput as error:
        problems.append(Problem("broken", error.what, error.place))
        return ()


def _read_keyring(directory: Path, config: Config | None, problems: list[Problem]) -> Keyring | None:
    place = keys_dir(directory, config)
    if not place.exists():
        return None
    try:
        if config is None:
            return Keyring.open(str(place))
        return open_keyring(directory, config)
    except GravenError as error:
        problems.append(Problem("broken", f"the keyring cannot be opened: {error.what}", error.place or str(place)))
        return None


def _signing_keys(keyring: Keyring) -> tuple[Key, ...]:
    """The keyring's own public keys; none where they do not open, which the verification tells."""
    try:
        return load_tenures(keyring).keys
    except GravenError:
        return ()


def _print(report: Report, trust: _Trust, name: str) -> None:
    verdict = {0: "whole", 1: "DISPROVED", 3: "BROKEN"}[report.exit_code]
    print_line(f"{shown(name)}: {verdict}")
    print_fields(
        [
            ("origin", trust.keys[0].name),
            ("entries", f"{report.size}, {report.published} of them published"),
            ("events", f"{report.events} derived again from their own bytes; payloads: {report.payloads}"),
            ("key", f"from {trust.source}: " + ", ".join(f"{key.name}+{key.id.hex()}" for key in trust.keys)),
        ]
    )
    for note in report.notes:
        print_line(f"  note: {shown(note)}")
    for problem in report.problems:
        print_line(f"  {shown(problem)}")


def _verdict(report: Report) -> GravenError:
    """The error the command ends with: how much was found, and the first of the worse kind."""
    kind, branch = (Disproved, "disproved") if report.disproved else (Broken, "broken")
    first = next(problem for problem in report.problems if problem.branch == branch)
    count = counted(report.disproved if report.disproved else report.broken, "problem")
    return kind(f"the log is {branch}: {count}, the first: {first.what}", place=first.place, mend=_MENDS[branch])


def _as_json(report: Report, trust: _Trust, name: str) -> dict[str, object]:
    return {
        "log": name,
        "origin": trust.keys[0].name,
        "good": report.exit_code == 0,
        "exit_code": report.exit_code,
        "size": report.size,
        "published": report.published,
        "events": report.events,
        "payloads": report.payloads,
        "disproved": report.disproved,
        "broken": report.broken,
        "problems": [
            {
                "branch": problem.branch,
                "what": problem.what,
                "place": problem.place,
                "first_index": problem.first_index,
                "last_index": problem.last_index,
            }
            for problem in report.problems
        ],
        "notes": list(report.notes),
        "key_source": trust.source,
        "vkeys": [format_vkey(key) for key in trust.keys],
    }
