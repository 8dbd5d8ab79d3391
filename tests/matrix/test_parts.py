"""Parts of the harness that could fool it: a door that shuts, an export that is read, a chain that is judged."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from lab import AbsentError
from lab.http import Handler, answering
from tamper import calls
from tamper.forward import Forwarder
from tamper.judge import act_out
from tamper.model import CAUGHT, MISSED, NOT_ACTED
from tamper.peers import postgres
from tamper.peers.journal import read_entries
from tamper.rows import BY_KEY


def test_a_door_that_is_shut_lets_nobody_through() -> None:
    class Open(Handler):
        def do_GET(self) -> None:
            self.answer(200, b"ok")

    with answering(Open) as url, Forwarder(url.removeprefix("http://")) as door:
        assert calls.http(door.url) == (200, b"ok")
        door.shut()
        assert calls.http(door.url)[0] == 0
        door.reopen()
        assert calls.http(door.url) == (200, b"ok")


def test_an_export_with_empty_lines_in_a_field_is_read_whole() -> None:
    text = b"one\n\ntwo"
    first = b"__CURSOR=a\nMESSAGE\n" + len(text).to_bytes(8, "little") + text + b"\nPRIORITY=6\n"
    second = b"__CURSOR=b\nMESSAGE=three\n"
    assert read_entries(first + b"\n" + second + b"\n") == [first, second]


@pytest.mark.slow
def test_a_chain_without_a_key_catches_what_it_can_and_no_more() -> None:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))  # not pytest's: another account enters it
        place.chmod(0o711)
        system = postgres.system(place, stack)
        try:
            system.version()
        except AbsentError as why:
            pytest.skip(str(why))
        states = {
            key: act_out(system, BY_KEY[key]).state for key in ("nothing", "flip", "rewrite", "truncate", "bucket")
        }
    assert states == {"nothing": MISSED, "flip": CAUGHT, "rewrite": MISSED, "truncate": MISSED, "bucket": NOT_ACTED}
