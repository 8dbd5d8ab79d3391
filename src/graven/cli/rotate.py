"""`graven keys rotate`: new signing keys for a log, in two steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from graven.app import Log, open_keyring
from graven.cli.options import dir_option, json_option, make_key_option, to_option
from graven.cli.output import counted, print_fields, print_json, print_line, shown
from graven.config import CONFIG_NAME, load_config
from graven.core.errors import BadInput
from graven.core.handover import Handover
from graven.core.note import Key, format_vkey
from graven.keys.keyring import Keyring
from graven.keys.rotation import Rotation, begin, promote, read_rotation, renew_receipt_key, token_uri
from graven.keys.signer import LogSigner
from graven.keys.token_uri import parse_token_uri
from graven.log.handovers import read_handovers
from graven.log.lock import Lock, Locked
from graven.runtime.clock import US_PER_S, SystemClock

_KIT = "Make a new recovery kit now (graven keys backup): the kits made so far lack the new keys."


@click.command("rotate")
@click.argument("step", type=click.Choice(["begin", "finish", "status", "receipt"]), metavar="STEP")
@dir_option
@to_option
@make_key_option
@json_option
def command(step: str, directory: Path, to: str | None, make_key: bool, as_json: bool) -> None:
    """Change the log's signing keys: `begin`, tell everyone, `finish`.

    STEP is begin, finish, receipt or status. Stop the server for the first three, for a second.

    begin: new keys are made, and sign beside the old from now on. Give their vkeys to those who run your witnesses
    (graven witness add-log DIR VKEY) and to whom you gave the old ones. The new Ed25519 key may be in a token, and the
    old one, too: --to says where the new one is.

    finish: the old keys sign the hand-over, nothing larger any more, and are destroyed in every copy of the keyring.
    The log records the hand-over and publishes it as /log/handover/1 and so on: whoever trusts the old keys follows by
    it. What they signed stays good for ever; above the size it names they count no more. When cut off, call it again.

    receipt: a new receipt key, and the old one destroyed; the log certifies it at its next start.

    status: which keys sign, and what handed over to them. A server may be running.
    """
    if step == "begin":
        _begin(directory, to, make_key, as_json)
        return
    if to is not None or make_key:
        raise BadInput(f"rotate {step} makes no key", mend="--to and --make-key are of begin")
    {"finish": _finish, "status": _status, "receipt": _receipt}[step](directory, as_json)


def begin_to(keyring: Keyring, to: str | None, make_key: bool) -> Rotation:
    """`begin`, with what the options say. Raises BadInput: where the key goes must be said if the old is in a token."""
    token = parse_token_uri(to) if to not in (None, "file:") else None
    if make_key and token is None:
        raise BadInput("--make-key is for a key in a token", mend="--to pkcs11:…")
    if to is None and read_rotation(keyring).step == "none" and not keyring.signs_elsewhere and token_uri(keyring):
        raise BadInput(
            "the Ed25519 key of this log is in a token: where is the new one to be?",
            mend="--to pkcs11:…, perhaps with --make-key; or --to file:, which leaves tokens behind",
        )
    return begin(keyring, token, make=make_key)


def _begin(directory: Path, to: str | None, make_key: bool, as_json: bool) -> None:
    with held(directory):
        rotation = begin_to(open_keyring(directory, load_config(directory / CONFIG_NAME)), to, make_key)
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
        old = None if keyring.signs_elsewhere else token_uri(keyring)
        if read_rotation(keyring).step == "begun":
            LogSigner(keyring).hand_over(SystemClock().now_us() // US_PER_S)
        promote(keyring)
        left = old if old is not None and old != token_uri(keyring) else None
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
             "published": published, "left_in_token": left.place if left is not None else None}
        )  # fmt: skip
        return
    print_line(f"the old keys sign nothing above {counted(handover.last, 'entry', 'entries')}, and are destroyed here")
    if left is not None:
        print_line(f"The old Ed25519 key is still in its token. Remove it there: {shown(left.place)}")
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
