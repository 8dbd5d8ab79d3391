"""The anchors beside the log, for whoever copies or checks it: `GET /anchors`, and each file under its own name.

They show what the checkpoint in them shows, and when it existed: size and pace, no event. So they are as public as it.
"""

from starlette.responses import Response

from graven.anchor.stored import FOLDER, list_anchors, parse_name
from graven.core.anchored import MAX_ANCHOR_BYTES
from graven.log.admin import READ
from graven.server.answers import Refused
from graven.server.routes import TEXT, Ask, Endpoint, json_response

ANCHOR_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable"}
NEWEST_MAX = 10_000


def list_stored(ask: Ask) -> Response:
    """The newest anchors by their paths, the earliest of them first."""
    names = list_anchors(ask.log.directory)[-NEWEST_MAX:]
    return json_response({"anchors": [name.path for name in names]})


def stored(ask: Ask) -> Response:
    """One anchor: the bytes of its file."""
    name = parse_name(f"{FOLDER}/{ask.path['day']}/{ask.path['name']}")
    try:
        if name is not None:
            with (ask.log.directory / name.path).open("rb") as file:
                return Response(file.read(MAX_ANCHOR_BYTES), headers=ANCHOR_HEADERS, media_type=TEXT)
    except OSError:
        pass
    raise Refused(404, "there is no such anchor", reason="path", mend="GET /anchors lists them")


def endpoints(*, public: bool) -> tuple[Endpoint, ...]:
    """`public` False: they take a token that may read."""
    scope = None if public else READ
    return (
        Endpoint("GET", "/anchors", list_stored, scope, knows_callers=not public),
        Endpoint("GET", "/anchors/{day}/{name}", stored, scope, knows_callers=not public),
    )
