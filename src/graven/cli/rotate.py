"""`graven keys rotate`: new signing keys for a log, in two steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from graven.app import Log, open_keyring
from graven.cli.options import dir_option, json_option
from graven.cli.output import counted, print_fields, print_json, print_line, shown
from graven.config import CONFIG_NAME, load_config
from graven.core.errors import BadInput
from graven.core.handover import Handover
from graven.core.note import Key, format_vkey
from graven.keys.rotation import begin, promote, read_rotation, renew_receipt_key
from graven.keys.signer import LogSigner
from graven.log.handovers import read_handovers
from graven.log.lock import Lock, Locked
from graven.runtime.clock import US_PER_S, SystemClock

_KIT = "Make a new recovery kit now (graven keys backup): the kits made so far lack the new keys."


@click.command("rotate")
@click.argument("step", type=click.Choice(["begin", "finish", "status", "receipt"]), metavar="STEP")
@dir_option
@json_option
def command(step: str, directory: Path, as_json: bool) -> None:
    """Change the log's signing keys: `begin`, tell everyone, `finish`.

    STEP is begin, finish, receipt or status. Stop the server for the first three, for a second.

    begin: new keys are made, and sign beside the old from now on. Give their vkeys to those who run your witnesses
    (graven witness add-log DIR VKEY) and to whom you gave the old ones.

    finish: the old keys sign the hand-over, nothing larger any more, and are destroyed in every copy of the keyring.
    The log records the hand-over and publishes it as /log/handover/1 and so on: whoever trusts the old keys follows by
    it. What they signed stays good for ever; above the size it names they count no more. When cut off, call it again.

    receipt: a new receipt key, and the old one destroyed; the log certifies it at its next start.

    status: which keys sign, and what handed over to them. A server may be running.
    """
    {"begin": _begin, "finish": _finish, "status": _status, "receipt": _receipt}[step](directory, as_json)


def _begin(directory: Path, as_json: bool) -> None:
    with held(directory):
        rotation = begin(open_keyring(directory, load_config(directory / CONFIG_NAME)))
    with _opened(directory) as log:
        size = log.publish().checkpoint.size
    vkeys = [format_vkey(key) for key in rotation.coming]
    if as_json:
        print_json({"step": "begun", "next_vkeys": vkeys, "size": size})
        return
    print_line(f"from now on, at {counted(size, 'entry', 'entries')}, both pairs of keys sign. The new ones:")
    for vkey in vkeys:
        print_line(shown(vkey))
    print_line("Give them to your witnesses and to all who check this log; then: graven keys rotate finish")
    print_line(_KIT)


def _finish(directory: Path, as_json: bool) -> None:
    config = load_config(directory / CONFIG_NAME)
    keyring = open_keyring(directory, config)
    if read_rotation(keyring).step == "begun":
        _check_followed(directory, len(read_rotation(keyring).handovers))
        with _opened(directory) as log:
            log.publish()
    with held(directory):
        keyring = open_keyring(directory, config)
        if read_rotation(keyring).step == "begun":
            LogSigner(keyring).hand_over(SystemClock().now_us() // US_PER_S)
        promote(keyring)
    rotation = read_rotation(keyring)
    if not rotation.handovers:
        raise BadInput("no change of keys is begun", mend="graven keys rotate begin --dir DIR")
    with _opened(directory) as log:
        log.publish()
    handover, number = rotation.opened()[-1], len(rotation.handovers)
    published = len(read_handovers(directory / "log")) >= number
    if as_json:
        print_json(
            {"step": "finished", "handover": number, "last_size": handover.last, "vkeys": _vkeys(handover.new),
             "published": published}
        )  # fmt: skip
        return
    print_line(f"the old keys sign nothing above {counted(handover.last, 'entry', 'entries')}, and are destroyed here")
    _print_handover(number, handover)
    if not published:
        print_line("The hand-over is published with the next checkpoint that meets the quorum of the witnesses.")
    print_line(_KIT)


def _receipt(directory: Path, as_json: bool) -> None:
    with held(directory):
        key = renew_receipt_key(open_keyring(directory, load_config(directory / CONFIG_NAME)))
    if as_json:
        print_json({"receipt_vkey": format_vkey(key)})
        return
    print_line(f"receipts are signed by a new key from the next start on: {shown(format_vkey(key))}")
    print_line(_KIT)


def _status(directory: Path, as_json: bool) -> None:
    rotation = read_rotation(open_keyring(directory, load_config(directory / CONFIG_NAME)))
    handovers = rotation.opened()
    if as_json:
        rows = [{"last_size": one.last, "old": _vkeys(one.old), "new": _vkeys(one.new)} for one in handovers]
        print_json({"step": rotation.step, "next_vkeys": _vkeys(rotation.coming), "handovers": rows})
        return
    print_line(_WORDS[rotation.step])
    for vkey in _vkeys(rotation.coming):
        print_line(shown(vkey))
    for number, one in enumerate(handovers, 1):
        _print_handover(number, one)


_WORDS = {
    "none": "no change of keys is under way",
    "begun": "two pairs of keys sign; the new ones:",
    "handed": "the hand-over is signed, and not finished: graven keys rotate finish. The new keys:",
}


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """The log's lock, so that no server signs meanwhile. Raises BadInput while one runs."""
    try:
        lock = Lock(directory, wait_s=0)
    except Locked as error:
        raise BadInput(
            "a server, or another command, holds this log, and its keys are only changed while nobody signs",
            place=str(directory),
            mend="stop it, call this again, and start it: producers wait and send again",
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _opened(directory: Path) -> Iterator[Log]:
    with held(directory):
        pass
    with Log.open(directory) as log:
        yield log


def _check_followed(directory: Path, handovers: int) -> None:
    """One hand-over after the other: readers follow them in order, each proved while its keys are in office."""
    if len(read_handovers(directory / "log")) < handovers:
        raise BadInput(
            "the hand-over before this one is not published yet",
            place=f"{directory}/log/handover/{handovers}",
            mend="it waits for a checkpoint that meets the quorum of the witnesses: do they know the new vkeys?",
        )


def _print_handover(number: int, handover: Handover) -> None:
    rows = [(f"hand-over {number}", f"at {counted(handover.last, 'entry', 'entries')}")]
    rows += [("old", shown(vkey)) for vkey in _vkeys(handover.old)] + [("new", shown(v)) for v in _vkeys(handover.new)]
    print_fields(rows)


def _vkeys(keys: tuple[Key, ...]) -> list[str]:
    return [format_vkey(key) for key in keys]
