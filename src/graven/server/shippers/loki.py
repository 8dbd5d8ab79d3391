"""Grafana Loki's push: `POST /loki/api/v1/push`, JSON or protobuf. The answer is 204, an error a line of text."""

from graven.core.errors import GravenError
from graven.ingest.protocol.loki import read_json, read_protobuf
from graven.ingest.protocol.snappy import unpack_snappy
from graven.server.answers import Refused, status_of
from graven.server.body import too_large
from graven.server.shippers.call import Call, Parcel, Reply

__all__ = ["PATH", "Loki"]

PATH = "/loki/api/v1/push"

_TEXT = b"text/plain; charset=utf-8"


class Loki:
    """The push."""

    name = "loki"

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max

    def take(self, call: Call) -> Parcel | Reply:
        if call.method != "POST":
            raise Refused(405, "pushes come with POST", reason="method", headers={"Allow": "POST"})
        tenant = call.headers.get("x-scope-orgid", "")[:256]
        around = {"loki.tenant": tenant} if tenant else {}
        if call.media == "application/json":
            delivery = read_json(call.body, around)
        else:
            clear = unpack_snappy(call.body, bytes_max=self._bytes_max)
            if clear is None:
                raise too_large(self._bytes_max)
            delivery = read_protobuf(clear, around)
        return Parcel(delivery, lambda _: Reply(204))

    def refuse(self, call: Call, error: GravenError) -> Reply:
        status = status_of(error)
        text = f"{error.what}\n" if status != 500 else "the log is not ready\n"
        return Reply(503 if status == 500 else status, text.encode(), _TEXT)
