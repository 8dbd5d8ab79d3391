"""Challenges over HTTP: an auditor sends a signed draw, and gets the entries it draws, opened.

    POST /api/v1/challenges    scope `challenge`; the body is the signed draw, the answer graven-challenge-answer/v1

Only challenges of the auditors in `[server] auditors` are answered, one at a time, and each answer is on record in the
log (`graven.disclosure`, with who asked) before its first byte leaves. Bounded in entries and bytes: what is larger is
answered through files, `graven challenge answer`.
"""

import threading
from collections.abc import Sequence

from starlette.responses import Response

from graven.core.challenge import open_challenge
from graven.core.challenge_answer import format_answer, judge
from graven.core.errors import BadInput, Busy, Disproved
from graven.core.note import Key, parse_vkey
from graven.keys.signature import verify_signature
from graven.log.acts import DISCLOSURE
from graven.log.admin import CHALLENGE
from graven.log.disclose import answer_challenge, challenge_act
from graven.server.answers import Refused
from graven.server.routes import JSON, Ask, Endpoint

PATH = "/api/v1/challenges"
COUNT_MAX = 1_000
ANSWER_BYTES_MAX = 64 << 20
BODY_BYTES_MAX = 256 << 10
"""A draw: a seed and a checkpoint in base64."""
RECORDED_AT = "Graven-Recorded-At"


class Challenges:
    """The endpoint, for the auditors of one server."""

    def __init__(self, vkeys: Sequence[str]) -> None:
        """Raises BadInput for what is no verifier key."""
        self._auditors: tuple[Key, ...] = tuple(parse_vkey(vkey) for vkey in vkeys)
        self._one = threading.Lock()

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint("POST", PATH, self.answer, CHALLENGE, body_bytes_max=BODY_BYTES_MAX),)

    def answer(self, ask: Ask) -> Response:
        """The entries that a draw names."""
        if not self._auditors:
            raise Refused(
                403, "this log answers no challenges over HTTP", reason="forbidden",
                mend="its operator: [server] auditors; or send the draw as a file, for graven challenge answer",
            )  # fmt: skip
        try:
            one, *_ = open_challenge(ask.body, self._auditors, ask.log.view.keys, verify_signature)
        except Disproved as error:
            raise Refused(403, error.what, reason="forbidden", mend="a draw by one of [server] auditors") from None
        if one.count > COUNT_MAX:
            raise BadInput(f"a challenge of more than {COUNT_MAX} entries", mend="draw fewer, or send it as a file")
        if not self._one.acquire(blocking=False):
            raise Busy("another challenge is being answered", retry_after_s=5)
        try:
            return self._answer(ask)
        finally:
            self._one.release()

    def _answer(self, ask: Ask) -> Response:
        log = ask.live.taking()
        found = answer_challenge(log.view, ask.body, self._auditors, bytes_max=ANSWER_BYTES_MAX)
        judged = judge(found, self._auditors, log.view.keys, verify_signature)
        document = format_answer(found)
        done = log.append_act(DISCLOSURE, challenge_act(found, judged, document), actor=ask.actor)
        headers = {"Cache-Control": "no-store", RECORDED_AT: str(done.first_index)}
        return Response(document, headers=headers, media_type=JSON)
