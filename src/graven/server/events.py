"""Reading events over HTTP: the event, its bare proof, its evidence."""

from collections.abc import Mapping

from starlette.responses import Response

from graven.core.spelling import parse_decimal
from graven.log.admin import READ
from graven.server.answers import Refused
from graven.server.routes import JSON, TEXT, Ask, Endpoint, json_response
from graven.server.shown import show_event

_YES_NO = ("true", "false")
_NO_STORE = {"Cache-Control": "no-store"}


def read_event(ask: Ask) -> Response:
    """The event at an index, with what proves it."""
    log = ask.log
    return json_response(show_event(log, log.view.reader.read(_index(ask, log.size))))


def read_proof(ask: Ask) -> Response:
    """Its tlog-proof."""
    index = _index(ask, ask.log.size)
    _check_published(ask, index)
    return Response(ask.log.view.tlog_proof(index), headers=_NO_STORE, media_type=TEXT)


def read_evidence(ask: Ask) -> Response:
    """Its evidence, as much of it as is asked for."""
    index = _index(ask, ask.log.size)
    _check_published(ask, index)
    data = ask.log.view.evidence(index, event=_wanted(ask.query, "event"), raw=_wanted(ask.query, "raw"))
    return Response(data, headers=_NO_STORE, media_type=JSON)


ENDPOINTS = (
    Endpoint("GET", "/api/v1/events/{index}", read_event, READ),
    Endpoint("GET", "/api/v1/events/{index}/proof", read_proof, READ),
    Endpoint("GET", "/api/v1/events/{index}/evidence", read_evidence, READ, {"event": _YES_NO, "raw": _YES_NO}),
)


def _index(ask: Ask, size: int) -> int:
    """The index asked for. Raises BadInput for one that is no number, Refused (404) for one that is not there."""
    index = parse_decimal(ask.path["index"], place="index")
    if index >= size:
        raise Refused(404, f"the log has no index {index}: it holds {size} entries", reason="no_index")
    return index


def _check_published(ask: Ask, index: int) -> None:
    size = ask.log.published.checkpoint.size
    if index >= size:
        raise Refused(
            409,
            f"index {index} is not published yet: the published tree has {size} entries",
            reason="not_published",
            mend="ask again after the next checkpoint",
            headers={"Retry-After": "1"},
        )


def _wanted(query: Mapping[str, str], key: str) -> bool:
    return query.get(key, "true") == "true"
