"""Splunk's HTTP Event Collector: event, raw, health, ack.

The answer comes after the commit, so an ackId is only ever given for what is durable, and asking for it later says
true. Ids are remembered per token and channel, within bounds; one that was forgotten is answered false, as the protocol
has it, and what is then sent again is known by its key.
"""

from collections import OrderedDict

import msgspec

from graven.core.errors import Busy, GravenError
from graven.ingest.protocol.hec import HEALTHY, format_refusal, format_text, read_events, read_lines
from graven.server.answers import Refused, status_of
from graven.server.shippers.call import Call, Outcome, Parcel, Reply

__all__ = ["PREFIX", "Hec"]

PREFIX = "/services/collector"

CHANNELS_MAX = 4096
ACKS_ASKED_MAX = 10_000
_CHANNEL_CHARS_MAX = 128

_NO_DATA, _BAD_FORMAT, _OK, _NO_CHANNEL, _BUSY = 5, 6, 0, 10, 9


class _Acks(msgspec.Struct):
    acks: list[int]


class Hec:
    """All of the collector's paths."""

    name = "hec"

    def __init__(self) -> None:
        self._given: OrderedDict[tuple[str, str], int] = OrderedDict()  # (token, channel) -> how many ids were given

    def take(self, call: Call) -> Parcel | Reply:
        what = call.path.removeprefix(PREFIX).strip("/")
        if what in ("health", "health/1.0"):
            return Reply(200, HEALTHY)
        if call.method != "POST":
            raise Refused(405, "the collector takes POST", reason="method", headers={"Allow": "POST"})
        channel = (call.headers.get("x-splunk-request-channel") or call.query.get("channel", ""))[:_CHANNEL_CHARS_MAX]
        if what == "ack":
            return self._asked(call, channel)
        if not call.body.strip():
            return _say("No data", _NO_DATA, 400)
        around = {
            f"hec.{name}": call.query[name][:1024]
            for name in ("host", "source", "sourcetype", "index")
            if call.query.get(name)
        }
        raw = what in ("raw", "raw/1.0")
        delivery = read_lines(call.body, around) if raw else read_events(call.body, around)
        if not delivery.records:
            return _say("No data", _NO_DATA, 400)
        return Parcel(delivery, lambda outcome: self._stored(call, channel, outcome))

    def refuse(self, call: Call, error: GravenError) -> Reply:
        if isinstance(error, Busy):
            return _say("Server is busy", _BUSY, 503)
        status = status_of(error)
        if status >= 500:
            return _say("Internal server error", 8, 503)
        if status == 401 and "authorization" not in call.headers:
            return _say("Token is required", 2, 401)
        return Reply(status, format_refusal(status, error.what))

    def _stored(self, call: Call, channel: str, outcome: Outcome) -> Reply:
        said: dict[str, object] = {"text": "Success", "code": _OK}
        if channel:
            key = call.token_id, channel
            number = self._given.pop(key, 0)
            self._given[key] = number + 1
            said["ackId"] = number
            if len(self._given) > CHANNELS_MAX:
                self._given.popitem(last=False)
        if quarantined := outcome.quarantined:
            said["invalid-event-number"] = min(quarantined)
            said["quarantined"] = [{"event-number": at, "reason": why} for at, why in list(quarantined.items())[:100]]
        return Reply(200, msgspec.json.encode(said))

    def _asked(self, call: Call, channel: str) -> Reply:
        if not channel:
            return _say("Data channel is missing", _NO_CHANNEL, 400)
        try:
            asked = msgspec.json.decode(call.body, type=_Acks).acks
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return _say("Invalid data format", _BAD_FORMAT, 400)
        if len(asked) > ACKS_ASKED_MAX:
            return _say("Invalid data format", _BAD_FORMAT, 400)
        given = self._given.get((call.token_id, channel), 0)
        return Reply(200, msgspec.json.encode({"acks": {str(number): 0 <= number < given for number in asked}}))


def _say(text: str, code: int, status: int) -> Reply:
    return Reply(status, format_text(text, code))
