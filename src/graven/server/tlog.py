"""The public side of the log, as C2SP tlog-tiles has it: checkpoint, tiles, entry bundles.

Only what belongs to the published tree is served, whatever lies on disk. A partial tile that was collected answers 404,
and clients fall back to the full one.
"""

import re

from starlette.responses import Response

from graven.anchor.stored import newest_stamp
from graven.core.errors import BadInput
from graven.core.tile import WIDTH, parse_path, width_at
from graven.log.admin import READ
from graven.log.handovers import FOLDER as HANDOVERS
from graven.log.tail import disk_fetch
from graven.server.answers import Refused
from graven.server.routes import BINARY, JSON, TEXT, Ask, Endpoint

CHECKPOINT_HEADERS = {"Cache-Control": "public, max-age=1"}
_NUMBER = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
TILE_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable"}


def checkpoint(ask: Ask) -> Response:
    """The published checkpoint."""
    return Response(ask.log.published.data, headers=CHECKPOINT_HEADERS, media_type=TEXT)


def tile(ask: Ask) -> Response:
    """A hash tile or an entry bundle."""
    path = f"tile/{ask.path['path']}"
    try:
        found = parse_path(path)
    except BadInput as error:
        raise Refused(404, error.what, reason="path", mend="C2SP tlog-tiles says how tiles are named") from None
    level = 0 if found.level == "entries" else found.level
    width = width_at(level, found.index, ask.log.published.checkpoint.size)
    if found.width <= width:
        try:
            return Response(disk_fetch(ask.log.directory / "log")(path), headers=TILE_HEADERS, media_type=BINARY)
        except FileNotFoundError:
            if width == WIDTH > found.width:
                raise _no_tile("this partial tile was collected", "ask for the full one") from None
    raise _no_tile("the published tree has no such tile", "")


def handover(ask: Ask) -> Response:
    """The evidence of a hand-over of the signing keys, numbered from 1."""
    number = ask.path["number"]
    path = ask.log.directory / "log" / HANDOVERS / number
    if not _NUMBER.fullmatch(number) or not path.is_file():
        raise Refused(404, "the log has published no such hand-over of its keys", reason="no_handover")
    return Response(path.read_bytes(), headers=CHECKPOINT_HEADERS, media_type=JSON)


def anchor(ask: Ask) -> Response:
    """The newest time stamp the log has, with the checkpoint it is over."""
    data = newest_stamp(ask.log.directory)
    if data is None:
        raise Refused(404, "the log has no time stamp", reason="no_anchor", headers={"Cache-Control": "no-store"})
    return Response(data, headers=CHECKPOINT_HEADERS, media_type=TEXT)


def other_logs(ask: Ask) -> Response:
    """Reserved: the paths of further logs on one server."""
    raise Refused(404, "this server has one log, at /log/; paths under /logs/ are kept for more", reason="path")


def endpoints(*, public: bool) -> tuple[Endpoint, ...]:
    """`public` False: they take a token that may read."""
    scope = None if public else READ
    return (
        Endpoint("GET", "/log/checkpoint", checkpoint, scope, inline=True, knows_callers=not public),
        Endpoint("GET", "/log/anchor", anchor, scope, knows_callers=not public),
        Endpoint("GET", "/log/handover/{number}", handover, scope, knows_callers=not public),
        Endpoint("GET", "/log/tile/{path:path}", tile, scope, knows_callers=not public),
        Endpoint("GET", "/logs/{path:path}", other_logs, inline=True, knows_callers=False),
    )


def _no_tile(what: str, mend: str) -> Refused:
    return Refused(404, what, reason="no_tile", mend=mend, headers={"Cache-Control": "no-store"})
