"""How the server and its log are doing: for load balancers, Prometheus, and people.

`GET /api/v1/status` tells anybody what the checkpoint tells anyway (if the log is public); the rest takes `read`.
"""

import os
from pathlib import Path

from starlette.responses import Response

from graven.anchor.policies import all_on_this_host, describe_trust
from graven.app import VERSION, Log
from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import Busy, GravenError
from graven.core.policy import Policy
from graven.core.spelling import encode_base64, parse_decimal
from graven.log.acts import rfc3339
from graven.log.admin import READ
from graven.log.certificates import find_certificates
from graven.log.history import checkpoint_time_s
from graven.runtime.telemetry import METRICS_CONTENT_TYPE
from graven.server.access import unauthenticated
from graven.server.answers import Refused
from graven.server.copying import copy_status
from graven.server.live import Live, only_here
from graven.server.routes import TEXT, Ask, Endpoint, error_response, json_response

ROLLBACK_NOTE = "rollback of the whole host is only caught by a witness"
ROLLBACK_NOTE_LOCAL = "rollback of the whole host is only caught by a witness elsewhere"


def live(ask: Ask) -> Response:
    """200 as long as the process answers."""
    return json_response({"live": True})


def ready(ask: Ask) -> Response:
    """200 when events can be appended and published; else 503 and why."""
    try:
        ask.live.check_ready()
    except GravenError as error:
        busy = error if isinstance(error, Busy) else Busy(error.what, retry_after_s=30, place=error.place)
        return error_response(busy)
    return json_response({"ready": True})


def metrics(ask: Ask) -> Response:
    """Everything counted, in Prometheus's text format."""
    return Response(
        ask.live.metrics.exposition(), headers={"Cache-Control": "no-store", "Content-Type": METRICS_CONTENT_TYPE}
    )


def status(ask: Ask) -> Response:
    """Where the log stands, and the server with it."""
    log = ask.log
    may_read = ask.principal is not None and READ in ask.principal.scopes
    if not may_read and not ask.live.config.server.public_log:
        if ask.principal is not None:
            ask.principal.check(READ)
        raise unauthenticated()
    document = public_status(log)
    if may_read:
        document |= _operations(ask.live, log)
    return json_response(document)


def certificate(ask: Ask) -> Response:
    """The note by which the log's key certifies the key of its receipts."""
    note = ask.log.writer.certificate
    if note is None:
        raise Busy("no receipt was signed yet", retry_after_s=1)
    return Response(note, headers={"Cache-Control": "no-cache"}, media_type=TEXT)


def certificates(ask: Ask) -> Response:
    """Every certificate kept that covers receipts of a size, the newest first, an empty line between two."""
    size = parse_decimal(ask.path["size"], place="size")
    found = find_certificates(ask.log.directory, size)
    if not found:
        raise Refused(404, f"no certificate of receipts of size {size} is kept", reason="not_found")
    return Response(b"\n".join(found), headers={"Cache-Control": "no-cache"}, media_type=TEXT)


ENDPOINTS = (
    Endpoint("GET", "/health/live", live, inline=True, knows_callers=False),
    Endpoint("GET", "/health/ready", ready, inline=True, knows_callers=False),
    Endpoint("GET", "/metrics", metrics, inline=True, knows_callers=False),
    Endpoint("GET", "/api/v1/status", status),
    Endpoint("GET", "/api/v1/receipt-certificate", certificate, inline=True, knows_callers=False),
    Endpoint("GET", "/api/v1/receipt-certificates/{size}", certificates, knows_callers=False),
)


def public_status(log: Log) -> dict[str, object]:
    """What anybody may know: origin, sizes, the published checkpoint."""
    panel = log.publisher.panel
    return {
        "origin": log.origin,
        "size": log.size,
        "published": shown_checkpoint(log.published, panel.policy if panel is not None else None),
        "version": VERSION,
        "note": rollback_note(panel.policy if panel is not None else None),
    }


def shown_checkpoint(published: SignedCheckpoint, policy: Policy | None) -> dict[str, object]:
    """The published checkpoint, and who vouches for it, as every status tells it."""
    time_s = checkpoint_time_s(published.data)
    good = {signed.key for signed in published.signed}
    counted = [witness.name for witness in policy.witnesses if witness.key in good] if policy is not None else []
    seen, members = policy.tally(counted) if policy is not None else ((), ())
    return {
        "size": published.checkpoint.size,
        "root": encode_base64(published.checkpoint.root),
        "time": rfc3339(time_s * 1_000_000) if time_s is not None else None,
        "signatures": sum(signed.key.name == published.checkpoint.origin for signed in published.signed),
        "state": describe_trust(policy, counted),
        "witnesses": {"cosigned": list(seen), "of": list(members)},
    }


def rollback_note(policy: Policy | None) -> str:
    """What no start can notice by itself; empty where witnesses elsewhere would."""
    if policy is None or not policy.witnesses:
        return ROLLBACK_NOTE
    return ROLLBACK_NOTE_LOCAL if all_on_this_host(policy) else ""


def _operations(live: Live, log: Log) -> dict[str, object]:
    writer, window, config = log.writer, log.writer.state.window, live.config
    events, size = writer.queued
    oldest_us = window.oldest_us
    error = writer.error or log.publisher.error
    registers = log.registers
    journal_bytes, segments = _journal(log.directory / "journal")
    return {
        "state": "stopped" if error is not None else "stopping" if live.stopping else "working",
        "error": None if error is None else str(error),
        "trouble": _trouble(log),
        "authorities": log.anchoring.status(),
        "witnesses": log.publisher.panel.status() if log.publisher.panel is not None else [],
        "worm": copy_status(log),
        "uptime_s": round(live.uptime_s, 3),
        "queue": {
            "events": events,
            "bytes": size,
            "events_max": config.intake.max_events,
            "bytes_max": config.intake.max_bytes,
        },
        "window": {
            "ids": len(window),
            "ids_max": config.idempotency.max_ids,
            "window_s": config.idempotency.window_s,
            "oldest": None if oldest_us is None else rfc3339(oldest_us),
        },
        "journal": {"bytes": journal_bytes, "segments": segments},
        "events_only_here": only_here(log),
        "sources": sum(not source.retired for source in registers.sources.values()),
        "tokens": sum(not token.revoked for token in registers.tokens.values()),
        "classes": list(config.classes),
        "pid": os.getpid(),
    }


def _trouble(log: Log) -> str | None:
    """What is worth a look while the log works."""
    if log.publisher.trouble is not None:
        return str(log.publisher.trouble)
    panel = log.publisher.panel
    if panel is not None and not panel.numbers[2]:
        return f"the published checkpoint is short of witnesses: {panel.trust}"
    return log.anchoring.trouble


def _journal(folder: Path) -> tuple[int, int]:
    """(bytes, segments) of the journal, `torn/` not counted."""
    sizes = [entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith(".seg")]
    return sum(sizes), len(sizes)
