"""`graven serve`: the HTTP doors over one log."""

from pathlib import Path

import click
from msgspec import structs

from graven.anchor.policies import load_policy
from graven.app import check_keys, keys_dir, open_keyring, open_signing
from graven.cli.options import json_option, path_option
from graven.cli.output import print_fields, print_json, print_line
from graven.config import CONFIG_NAME, Config, load_config, parse_listen
from graven.core.errors import BadInput, Broken
from graven.log.view import View
from graven.server.serve import run
from graven.server.shippers.webhooks import load_hooks
from graven.server.sockets import tls_context
from graven.server.syslog import syslog_tls


@click.command("serve")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), envvar="GRAVEN_DIR", metavar="DIR",
    help="The directory of the log (or GRAVEN_DIR; or what --config names).",
)  # fmt: skip
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; without it, [server] listen. Port 0: a free one.")
@click.option("--syslog", metavar="HOST:PORT", help="Take syslog there, too, over UDP and TCP; or [syslog] listen.")
@path_option("--config", "config_file", "A configuration file instead of DIR/graven.toml.")
@path_option("--witness-policy", "policy", "A tlog-policy file: its witnesses are asked before a checkpoint is shown.")
@click.option("--check", is_flag=True, help="Judge configuration, keys and directory, start nothing.")
@json_option
def command(
    directory: Path | None,
    listen: str | None,
    syslog: str | None,
    config_file: Path | None,
    policy: Path | None,
    check: bool,
    as_json: bool,
) -> None:
    """Serve the log until SIGTERM or Ctrl-C. Prints `listening on http://HOST:PORT` when it is ready.

    What was acknowledged is durable whenever it stops. While it runs, `append`, `token`, `source`, `keys backup` and
    `backup` go through its control socket, DIR/state/control.sock. If another process holds the log, it is waited for,
    up to ten seconds.
    """
    place, config = _configuration(directory, config_file)
    if policy is not None:
        publish = structs.replace(config.publish, witness_policy=str(policy.absolute()))
        config = structs.replace(config, publish=publish)
    for address in (listen, syslog):
        if address is not None:
            parse_listen(address)
    if not check:
        run(place, config, listen=listen, syslog=syslog, config_file=config_file)
        return
    size = _check(place, config)
    address = listen or config.server.listen
    if as_json:
        print_json({"ok": True, "dir": str(place), "origin": config.origin, "size": size, "listen": address})
        return
    print_line("configuration ok")
    print_fields(
        [("origin", config.origin), ("dir", place), ("keys", keys_dir(place, config)), ("entries", size),
         ("listen", address)]
    )  # fmt: skip


def _configuration(directory: Path | None, config_file: Path | None) -> tuple[Path, Config]:
    """The log's directory and its configuration. Raises BadInput when neither is named."""
    if config_file is None:
        if directory is None:
            raise BadInput("no log is named", mend="--dir DIR, --config FILE, or GRAVEN_DIR")
        return directory, load_config(directory / CONFIG_NAME)
    config = load_config(config_file)
    if directory is None:
        directory = Path(config.dir) if config.dir is not None else config_file.absolute().parent
    return directory, config


def _check(directory: Path, config: Config) -> int:
    """The published size, once everything a start needs was found in order. Nothing is locked or written.

    Raises what the start would raise, as far as it can be known without recovery.
    """
    tls_context(config)
    syslog_tls(config.syslog)
    load_hooks(config.webhooks)
    signer = open_signing(config, open_keyring(directory, config))
    check_keys(signer, config)
    if config.publish.witness_policy is not None:
        load_policy(Path(config.publish.witness_policy), signer.tenures.every)
    if not signer.mark_known:
        raise Broken(
            "what was signed before is not known, so nothing would be signed",
            place=str(keys_dir(directory, config)),
            mend="graven keys seen CHECKPOINT_FILE",
        )
    with View(directory, signer.keys, None) as view:
        if view.header.origin != config.origin:
            raise Broken(
                f"the journal is of another log: {view.header.origin!r}, the configuration of {config.origin!r}",
                place=str(directory / "journal"),
            )
        return view.published.checkpoint.size
