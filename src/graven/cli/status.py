"""`graven status`: how large the log is, who vouches for it, and what would be lost with this host."""

from pathlib import Path
from typing import Any

import click

from graven.anchor.policies import current_policy, load_policy
from graven.app import keys_dir, open_keyring, open_view
from graven.cli.options import dir_option, json_option
from graven.cli.output import counted, print_fields, print_json, print_line, shown
from graven.cli.worm_shown import worm_rows, worm_status
from graven.config import CONFIG_NAME, Config, load_config
from graven.core.errors import GravenError
from graven.keys.rotation import token_uri
from graven.log.view import View, events_only_here
from graven.server.control_client import ControlClient, NoServer
from graven.server.health import rollback_note, shown_checkpoint


@click.command("status")
@dir_option
@json_option
def command(directory: Path, as_json: bool) -> None:
    """Say where the log stands: what a running server says; without one, what is on disk."""
    config = load_config(directory / CONFIG_NAME)
    with open_view(directory, config, need_keys=False) as view:
        document = _log(view)
        try:
            document |= ControlClient(directory).status()
            document["server"] = "running"
        except NoServer:
            document["server"] = "not running"
        document["keys"] = _keys(view, config)
        document["worm"] = worm_status(view.directory, config, view.size)
    if as_json:
        print_json(document)
    else:
        _print(document)


def _log(view: View) -> dict[str, Any]:
    """What the disk says, in the words of GET /api/v1/status."""
    path = current_policy(view.directory)
    policy = load_policy(path, view.keys).policy if path is not None else None
    return {
        "origin": view.header.origin,
        "size": view.size,
        "published": shown_checkpoint(view.published, policy),
        "note": rollback_note(policy),
    }


def _keys(view: View, config: Config) -> dict[str, Any]:
    """The keyring: its copies, and how many events no recovery kit opens."""
    place = keys_dir(view.directory, config)
    row: dict[str, Any] = {"dir": str(place), "present": place.exists(), "replicas": list(config.keys.replicas)}
    if not place.exists():
        return row
    try:
        keyring = open_keyring(view.directory, config)
        row["replica_gaps"] = keyring.replica_gaps()
        row["notes"] = list(keyring.notes)
        token = None if keyring.signs_elsewhere else token_uri(keyring)
        row["log_key"] = "signer" if keyring.signs_elsewhere else "file" if token is None else token.place
        kit_segment = view.registers().kit_segment
    except GravenError as error:
        return {**row, "error": str(error)}
    row["kit"] = kit_segment is not None
    row["events_only_here"] = events_only_here(view.directory, kit_segment, view.size)
    return row


def _print(document: dict[str, Any]) -> None:
    published, keys = document["published"], document["keys"]
    print_line(shown(document["origin"]))
    rows = [
        ("committed", f"{counted(document['size'], 'entry', 'entries')}"),
        ("published", f"{counted(published['size'], 'entry', 'entries')}, {published['time'] or 'at no stated time'}"),
        ("root", published["root"]),
        ("trust", published["state"]),
        *([("", document["note"])] if document["note"] else []),
        *(("", f"{row['name']}: {row['trouble']}") for row in document.get("witnesses", ()) if row["trouble"]),
        *((row["name"], _stamped(row)) for row in document.get("authorities", ())),
        ("server", _server(document)),
        *(worm_rows(document["worm"]) if document["worm"] is not None else ()),
        ("keyring", _keyring(keys)),
    ]
    if "events_only_here" in keys:
        rows.append(("only here", _only_here(keys)))
    rows += [("", note) for note in keys.get("notes", ())]
    print_fields(rows)


def _stamped(row: dict[str, Any]) -> str:
    """How a time authority does."""
    newest = f"stamped {counted(row['size'], 'entry', 'entries')} {row['time']}" if row["time"] else "no stamp yet"
    return f"{newest}; {row['trouble']}" if row["trouble"] else newest


def _server(document: dict[str, Any]) -> str:
    if document["server"] != "running":
        return "not running"
    error = f": {document['error']}" if document.get("error") else ""
    trouble = f"; {document['trouble']}" if document.get("trouble") else ""
    return f"running, process {document.get('pid')}, {document.get('state')}{error}{trouble}"


def _keyring(keys: dict[str, Any]) -> str:
    if not keys["present"]:
        return f"none at {keys['dir']}: events cannot be read, nothing can be signed"
    if "error" in keys:
        return f"{keys['dir']}: {keys['error']}"
    gaps = sum(keys["replica_gaps"].values())
    behind = f", {counted(gaps, 'file')} behind: graven keys replicate" if gaps else ""
    signs = {"file": "", "signer": ", a signer has the log's keys"}.get(keys["log_key"], f", {keys['log_key']}")
    return f"{keys['dir']}, {counted(len(keys['replicas']), 'replica')}{behind}{signs}"


def _only_here(keys: dict[str, Any]) -> str:
    count = keys["events_only_here"]
    if not keys["kit"]:
        return f"{counted(count, 'event')}: no recovery kit was made yet (graven keys backup)"
    if not count:
        return "nothing: the last recovery kit opens every event"
    return f"{counted(count, 'event')}: in segments begun since the last recovery kit (graven keys backup)"
