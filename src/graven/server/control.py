"""What only the control socket offers: publishing at once, and recording what was done beside the server."""

from msgspec import Struct
from starlette.responses import Response

from graven.core.errors import BadInput
from graven.core.spelling import decode_base64, encode_base64
from graven.log import acts
from graven.log.admin import ADMIN
from graven.server.retry import retry_quarantined
from graven.server.routes import Ask, Endpoint, json_response

RECORDED_ACTS = (
    acts.BACKUP, acts.KEYS_BACKUP, acts.DISCLOSURE,
    acts.WORM_ENABLE, acts.WORM_LOCK, acts.WORM_DOCTOR, acts.WORM_ALARM,
)  # fmt: skip


class NewAct(Struct, forbid_unknown_fields=True):
    """Body of POST /control/v1/acts."""

    action: str
    data: dict[str, object]
    message: str = ""


def publish(ask: Ask) -> Response:
    """Publish the committed tree now."""
    signed = ask.live.taking().publish()
    head = signed.checkpoint
    return json_response({"size": head.size, "root": encode_base64(head.root), "checkpoint": signed.data.decode()})


def record_act(ask: Ask) -> Response:
    """Append one of the acts the command line does itself, such as a backup."""
    asked = ask.document(NewAct)
    if asked.action not in RECORDED_ACTS:
        raise BadInput(f"the act {asked.action!r} is not recorded this way", mend="one of: " + ", ".join(RECORDED_ACTS))
    done = ask.live.taking().append_act(asked.action, asked.data, actor=ask.actor, message=asked.message)
    return json_response({"index": done.first_index, "size": done.size}, 201)


class Stamping(Struct, forbid_unknown_fields=True):
    """Body of POST /control/v1/stamp."""

    authority: str | None = None


class NewAnchor(Struct, forbid_unknown_fields=True):
    """Body of POST /control/v1/anchors; each is base64."""

    data: str
    request: str | None = None
    checkpoint: str | None = None


def stamp(ask: Ask) -> Response:
    """Have the published checkpoint stamped now."""
    return json_response({"stamps": ask.live.taking().anchoring.stamp(ask.document(Stamping).authority)})


def take_anchor(ask: Ask) -> Response:
    """Take an anchor that came by file."""
    asked = ask.document(NewAnchor)
    parts = {
        name: None if text is None else decode_base64(text, place=name)
        for name, text in (("request", asked.request), ("checkpoint", asked.checkpoint))
    }
    return json_response(ask.live.taking().anchoring.bring(decode_base64(asked.data, place="data"), **parts), 201)


class Retrying(Struct, forbid_unknown_fields=True):
    """Body of POST /control/v1/quarantine/retry. Without indexes: all from `since` on."""

    indexes: list[int] = []
    since: int = 0


def retry(ask: Ask) -> Response:
    """Read quarantined records again."""
    asked = ask.document(Retrying)
    log = ask.live.taking()
    return json_response(
        retry_quarantined(log, ask.live.pipeline, indexes=asked.indexes, since=asked.since, actor=ask.actor), 201
    )


ENDPOINTS = (
    Endpoint("POST", "/control/v1/quarantine/retry", retry, ADMIN),
    Endpoint("POST", "/control/v1/stamp", stamp, ADMIN),
    Endpoint("POST", "/control/v1/anchors", take_anchor, ADMIN),
    Endpoint("POST", "/control/v1/publish", publish, ADMIN),
    Endpoint("POST", "/control/v1/acts", record_act, ADMIN),
)
