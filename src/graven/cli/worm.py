"""`graven worm`: the write-once copy: set up, followed, locked for good, examined."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from graven.app import committed_size, open_follower, open_store, public_keys, retention
from graven.cli.options import dir_option, json_option, path_option
from graven.cli.output import counted, print_fields, print_json, print_line, shown
from graven.cli.plan import GB
from graven.cli.worm_shown import worm_rows, worm_status
from graven.cli.writing import open_writing, recorded
from graven.config import CONFIG_NAME, Config, load_config, parse_config, with_values
from graven.core.errors import BadInput, Broken, Disproved
from graven.log import acts
from graven.runtime.files import LocalFiles, write_atomic
from graven.runtime.telemetry import set_up_logging
from graven.server.control_client import ControlClient, NoServer
from graven.worm.layout import TRIAL_DAYS, Description
from graven.worm.opening import begin_full_lock, open_copy, read_full_lock
from graven.worm.state import read_state
from graven.worm.store import Store, end_of_day

USD_PER_GB_MONTH, USD_PER_1000_REQUESTS = 0.023, 0.005
"""List prices of one large provider's standard class, 2026; --price-… for others."""


@click.group("worm")
def command() -> None:
    """Keep a write-once copy: in a bucket with Object Lock, or a directory. No key is ever copied."""


@command.command("enable")
@click.argument("url", metavar="[STORE]", required=False)
@dir_option
@click.option("--full", is_flag=True, help="Lock for the time of [retention]; it cannot be taken back.")
@click.option("--yes", is_flag=True, help="With --full: do not ask.")
@click.option("--endpoint", metavar="URL", help="Where the bucket's store answers, if it is not AWS.")
@click.option("--region", metavar="NAME", help="Region of the bucket.")
@click.option("--profile", metavar="NAME", help="Named profile of the credentials.")
@path_option("--credentials-file", "credentials_file", "File (mode 0600) with the credentials.")
@click.option(
    "--price-per-gb-month", type=click.FloatRange(0), default=USD_PER_GB_MONTH, show_default=True, metavar="N",
    help="What a GB costs a month.",
)  # fmt: skip
@click.option(
    "--price-per-thousand-requests", type=click.FloatRange(0), default=USD_PER_1000_REQUESTS, show_default=True,
    metavar="N", help="What a thousand requests cost.",
)  # fmt: skip
@json_option
def enable(
    url: str | None, directory: Path, full: bool, yes: bool, endpoint: str | None, region: str | None,
    profile: str | None, credentials_file: Path | None, price_per_gb_month: float, price_per_thousand_requests: float,
    as_json: bool,
) -> None:  # fmt: skip
    """Set up the copy in STORE (s3://BUCKET/PREFIX or file:///PATH), under a trial lock of 7 days.

    STORE and the options are written to [worm] of graven.toml; without STORE what stands there is used. A bucket
    without Object Lock and versions is refused. Credentials are never written anywhere: environment, profile or file.

    With --full, after a trial that satisfied: what is there already, and everything from now on, is locked for the time
    of [retention]. Nobody can take that back, neither you nor the provider. Size, objects and cost are printed first.
    """
    values: dict[str, Any] = {
        name: value
        for name, value in (
            ("store", url), ("endpoint", endpoint), ("region", region), ("profile", profile),
            ("credentials_file", str(credentials_file.absolute()) if credentials_file else None),
        )
        if value is not None
    }  # fmt: skip
    text, config = _planned(directory, values)
    if config.worm.store is None:
        raise BadInput("no store is named", mend="graven worm enable s3://BUCKET/PREFIX")
    store = open_store(config.worm.store, config)
    store.check()
    now_s = int(time.time())
    if full:
        _enable_full(directory, config, store, now_s, yes, (price_per_gb_month, price_per_thousand_requests), as_json)
        return
    keys = public_keys(config)
    fresh = open_copy(store, Description(config.origin, config.log_id, keys), end_of_day(now_s, TRIAL_DAYS))
    if values:
        try:
            write_atomic(LocalFiles(), str(directory / CONFIG_NAME), text.encode())
        except OSError as error:
            raise Broken("graven.toml cannot be written", place=f"{directory}: {error.strerror}") from None
    size = None
    if fresh:
        with recorded("the copy is set up"), open_writing(directory) as log:
            size = log.record_act(acts.WORM_ENABLE, {"store": store.url})["size"]
    if as_json:
        print_json({"store": store.url, "new": fresh, "lock_days": TRIAL_DAYS, "size": size})
        return
    print_line(f"{shown(store.url)}: {'a new copy' if fresh else 'the copy of this log'}, trial lock of 7 days")
    print_fields(
        [
            ("now", "graven worm doctor: is the store write-once?"),
            ("then", "restart the server, which copies from now on; or graven worm follow"),
            ("later", "graven verify --from STORE, and, if all is well: graven worm enable --full"),
        ]
    )


@command.command("follow")
@dir_option
@path_option("--config", "config_file", "A configuration file instead of DIR/graven.toml.")
@click.option("--once", is_flag=True, help="Copy what there is, and end.")
@click.option("--until-stdin-ends", is_flag=True, help="End, after one more round, when standard input does.")
@json_option
@click.pass_context
def follow(
    ctx: click.Context, directory: Path, config_file: Path | None, once: bool, until_stdin_ends: bool, as_json: bool
) -> None:
    """Copy what is new, round by round, until SIGTERM or Ctrl-C.

    A server with [worm] store runs this by itself; with follow = "apart" it is for a unit of its own. With --once the
    exit code says whether the round was whole.
    """
    config = load_config(config_file or directory / CONFIG_NAME)
    set_up_logging(config.log.level)
    stop = threading.Event()
    last = threading.Event()

    def tell(what: str, fields: Mapping[str, object]) -> None:
        with contextlib.suppress(NoServer):  # then the state alone has it, and `graven worm status`
            ControlClient(directory).record_act(acts.WORM_ALARM, {"what": what, **fields})

    with open_follower(directory, config, tell=tell, stop=stop, config_file=config_file) as follower:
        if once:
            whole = follower.round()
            follower.wait_for_sweep()
            _print_state(directory, as_json)
            if not whole:
                raise Broken("the round was not whole", place=follower.state.trouble)
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            # whoever holds our standard input says when: a stop of the whole group must not cost the last round
            signal.signal(number, signal.SIG_IGN if until_stdin_ends else lambda *_: stop.set())
        if until_stdin_ends:
            threading.Thread(target=_wait_for_end, args=(last,), daemon=True).start()
        follower.run(config.worm.interval_s, last)
    ctx.exit(0)


@command.command("status")
@dir_option
@json_option
def status(directory: Path, as_json: bool) -> None:
    """Say how far the copy is, and what troubles it. Exit code 3 while there is an alarm."""
    _print_state(directory, as_json)
    state = read_state(directory)
    if state is not None and state.alarms:
        raise Broken(f"{counted(len(state.alarms), 'alarm')}, the first: {state.alarms[0].what}",
                     place=state.alarms[0].place, mend="docs/write-once.md, Alarms")  # fmt: skip


@command.command("doctor")
@click.argument("url", metavar="[STORE]", required=False)
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), envvar="GRAVEN_DIR", metavar="DIR",
    help="The directory of the log (or GRAVEN_DIR), whose [worm] is used, and which records the verdict.",
)  # fmt: skip
@click.option(
    "--side-door", "doors", multiple=True, metavar="URL", help="Another door of the same store; may be repeated."
)
@json_option
def doctor(url: str | None, directory: Path | None, doors: tuple[str, ...], as_json: bool) -> None:
    """Try every forbidden call on probe objects, and say whether the store is write-once. Exit code 1: it is not.

    The probes lie under probe/ for a day. Without --dir, STORE is examined with the environment's credentials.
    """
    from graven.worm.doctor import diagnose

    config = load_config(directory / CONFIG_NAME) if directory is not None else None
    url = url or (config.worm.store if config is not None else None)
    if url is None:
        raise BadInput("no store is named", mend="graven worm doctor s3://BUCKET/PREFIX, or --dir DIR")
    found = diagnose(open_store(url, config), now_s=int(time.time()), side_doors=doors)
    if as_json:
        print_json(
            {
                "store": found.store,
                "write_once": found.write_once,
                "if_none_match": found.conditional_put,
                "trials": [
                    {"what": one.what, "outcome": one.outcome, "bad": one.bad, "detail": one.detail}
                    for one in found.trials
                ],
                "notes": list(found.notes),
            }
        )
    else:
        print_line(f"{shown(found.store)}: {'write-once' if found.write_once else 'NOT WRITE-ONCE'}")
        for one in found.trials:
            detail = f" ({one.detail})" if one.detail else ""
            print_line(f"  {'!!' if one.bad else 'ok'}  {shown(one.what)}: {one.outcome}{shown(detail)}")
        for note in found.notes:
            print_line(f"  note: {shown(note)}")
    if directory is not None:
        with recorded("the store was examined"), open_writing(directory) as log:
            row = {"store": found.store, "write_once": found.write_once, "failed": found.failed}
            log.record_act(acts.WORM_DOCTOR, row)
    if not found.write_once:
        raise Disproved(f"the store is not write-once: {found.failed[0]}", place=found.store,
                        mend="docs/write-once.md, Stores")  # fmt: skip


def _enable_full(
    directory: Path, config: Config, store: Store, now_s: int, yes: bool, prices: tuple[float, float], as_json: bool
) -> None:
    from graven.worm.lengthen import measure

    if read_full_lock(store) is not None:
        raise BadInput("the full lock is in force already", place=store.url)
    volume, days = measure(store), retention(config)
    if not volume.objects:
        raise BadInput("there is no copy yet to lock", place=store.url, mend="graven worm enable, and a trial first")
    month = volume.lasting_bytes / GB * prices[0]
    fields: dict[str, Any] = {
        "store": store.url,
        "objects": volume.lasting_objects,
        "bytes": volume.lasting_bytes,
        "days": days.days,
        "by_class": dict(days.by_class),
        "longest_until_s": end_of_day(now_s, days.tree),
        "storage_a_month": round(month, 4),
        "storage_in_all": round(month * days.tree / 30, 4),
        "requests": round(2 * volume.lasting_objects / 1000 * prices[1], 4),
    }
    if not as_json:
        until = time.strftime("%Y-%m-%d", time.gmtime(fields["longest_until_s"]))
        print_line(f"{shown(store.url)}: to be locked in compliance mode")
        print_fields(
            [
                ("objects", f"{volume.lasting_objects}, {volume.lasting_bytes} bytes"),
                ("lock", ", ".join([f"{days.days} days", *(f"{name} {n} days" for name, n in days.by_class.items())])),
                ("until", f"{until} at the longest, for what is there now; later for what comes"),
                ("cost", f"{fields['storage_a_month']} a month to keep what is there, {fields['storage_in_all']} until "
                 f"then, and {fields['requests']} for the requests; what comes, on top (graven plan)"),
            ]
        )  # fmt: skip
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise BadInput("the full lock asks for a confirmation", mend="--yes, if it is meant")
        click.confirm("Nobody will be able to delete it before, whoever pays. Go on?", abort=True)
    begin_full_lock(store, now_s, end_of_day(now_s, days.tree))
    with recorded("the full lock is in force"), open_writing(directory) as log:
        row = {"store": store.url, "days": days.days, "by_class": dict(days.by_class)}
        log.record_act(acts.WORM_LOCK, {**row, "objects": volume.lasting_objects, "bytes": volume.lasting_bytes})
    if as_json:
        print_json(fields)
    else:
        print_line("  in force; the follower lengthens what is there (graven worm status)")


def _planned(directory: Path, values: Mapping[str, Any]) -> tuple[str, Config]:
    """The configuration file with these values of [worm], as text and as read. Nothing is written."""
    path = directory / CONFIG_NAME
    config = load_config(path)
    if not values:
        return "", config
    text = with_values(path.read_text("utf-8"), "worm", values)
    parse_config(text, place=str(path))
    return text, structs.replace(config, worm=structs.replace(config.worm, **values))


def _print_state(directory: Path, as_json: bool) -> None:
    config = load_config(directory / CONFIG_NAME)
    document = worm_status(directory, config, committed_size(directory))
    if document is None:
        raise BadInput("no write-once copy is set up", place=str(directory), mend="graven worm enable STORE")
    if as_json:
        print_json(document)
    else:
        print_line(shown(document["store"]))
        print_fields(worm_rows(document))


def _wait_for_end(last: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    last.set()
