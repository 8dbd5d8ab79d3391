"""Webhooks: `/ingest/webhook/NAME`, each as `[webhooks.NAME]` says. The signature is the credential: there is no token.

The same signed request again is a replay: within the window it is answered like the first and not stored, whatever
stands in headers that nobody signs. What is remembered of it is lost with the process; behind it stands the log's own
idempotency window, which is not.
"""

import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

from graven.config import WebhookConfig
from graven.core.errors import BadInput, GravenError
from graven.ingest import split_records
from graven.ingest.protocol.delivery import Delivery
from graven.ingest.protocol.webhook import SECRET_BYTES_MAX, NotSigned, Signed, Verifier, verify_webhook
from graven.ingest.record import Record
from graven.server.answers import Refused
from graven.server.shippers.call import Call, Outcome, Parcel, Reply
from graven.server.shippers.records import refuse_natively, reply_natively

__all__ = ["PREFIX", "Hook", "Webhooks", "load_hooks"]

PREFIX = "/ingest/webhook/"
MARKS_MAX = 100_000

_FORM = "application/x-www-form-urlencoded"
_REPLAYED = b'{"accepted":0,"replayed":true}\n'


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook: how it is checked, which source its events are of, the type of its records ("": detected)."""

    verifier: Verifier
    source: str
    type: str = ""
    replay_s: int = 86_400


class Webhooks:
    """Every webhook of the configuration. `now_s`: the clock, seconds since 1970."""

    name = "webhook"

    def __init__(self, hooks: Mapping[str, Hook], now_s: Callable[[], float]) -> None:
        self._hooks, self._now_s = dict(hooks), now_s
        self._marks: OrderedDict[str, float] = OrderedDict()  # mark -> until when it is remembered
        self._lock = threading.Lock()

    def source(self, call: Call) -> str:
        """The source of a request whose body is here, once its signature is checked. Raises Refused (401, 404, 405)."""
        if call.method != "POST":
            raise Refused(405, "webhooks come with POST", reason="method", headers={"Allow": "POST"})
        name = call.path.removeprefix(PREFIX)
        hook = self._hooks.get(name)
        if hook is None:
            raise Refused(
                404, "there is no such webhook", reason="path", mend="name it in the configuration: [webhooks]"
            )
        try:
            call.signed = verify_webhook(hook.verifier, call.headers, call.body, now_s=self._now_s())
        except NotSigned as error:
            raise Refused(401, error.what, reason="unauthorized", mend=error.mend) from None
        return hook.source

    def take(self, call: Call) -> Parcel | Reply:
        name = call.path.removeprefix(PREFIX)
        hook, signed = self._hooks[name], call.signed
        assert isinstance(signed, Signed)
        now_s, mark = self._now_s(), f"{name}:{signed.mark}" if signed.mark else ""
        self._forget(now_s)
        if mark in self._marks:
            return Reply(200, _REPLAYED)
        around = {"webhook.name": name, **signed.around}
        body = _payload(call)
        records = split_records(body, hook.type, around) or [Record(body, hook.type, around)]
        unsigned = hashlib.blake2b(call.body, digest_size=16).hexdigest() + signed.around.get(
            "webhook.gitlab-event-uuid", ""
        )
        key = f"webhook:{mark or unsigned}"

        def stored(outcome: Outcome) -> Reply:
            if mark:
                with self._lock:
                    self._marks[mark] = now_s + hook.replay_s
                    if len(self._marks) > MARKS_MAX:
                        self._marks.popitem(last=False)
            return reply_natively(outcome)

        return Parcel(Delivery(records, [f"{key}/{at}" for at in range(len(records))]), stored)

    def refuse(self, call: Call, error: GravenError) -> Reply:
        return refuse_natively(error)

    def _forget(self, now_s: float) -> None:
        with self._lock:
            while self._marks:
                mark, until_s = next(iter(self._marks.items()))
                if until_s > now_s:
                    return
                del self._marks[mark]


def load_hooks(webhooks: Mapping[str, WebhookConfig]) -> dict[str, Hook]:
    """The webhooks of a configuration, their secrets read. Raises BadInput for a file that cannot be, or others may."""
    return {
        name: Hook(
            Verifier(
                hook.kind,
                tuple(_secret(path) for path in hook.secret_files),
                hook.header,
                hook.prefix,
                hook.encoding,
                hook.digest,
                hook.signed,
                hook.timestamp_header,
                hook.tolerance_s,
            ),
            hook.source or name,
            hook.type,
            hook.replay_s,
        )
        for name, hook in webhooks.items()
    }


def _secret(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            secret = file.read(SECRET_BYTES_MAX + 1).rstrip(b"\r\n")
    except OSError as error:
        raise BadInput(f"the secret of a webhook cannot be read: {error.strerror}", place=path) from None
    if mode & 0o077:
        raise BadInput(f"the secret may be read by others (mode {mode:04o})", place=path, mend=f"chmod 600 {path}")
    if not 8 <= len(secret) <= SECRET_BYTES_MAX:
        raise BadInput(f"the secret has not 8 to {SECRET_BYTES_MAX} bytes", place=path, mend="openssl rand -hex 32")
    return secret


def _payload(call: Call) -> bytes:
    """The document of a request; a form keeps it in the field `payload`, as GitHub's does."""
    if call.media != _FORM:
        return call.body
    try:
        found = parse_qs(call.body.decode("ascii"), max_num_fields=16).get("payload")
    except ValueError:
        found = None
    return found[0].encode("utf-8", "surrogateescape") if found else call.body
