"""Which path belongs to which protocol."""

from collections.abc import Callable, Mapping

from graven.server.shippers import hec, loki, otlp, webhooks
from graven.server.shippers.bulk import Elastic
from graven.server.shippers.call import Route
from graven.server.shippers.hec import Hec
from graven.server.shippers.loki import Loki
from graven.server.shippers.otlp import Otlp
from graven.server.shippers.records import CloudEvents, Records
from graven.server.shippers.webhooks import Hook, Webhooks

__all__ = ["CLOUDEVENTS_PATH", "find_route"]

CLOUDEVENTS_PATH = "/api/v1/events"

_ELASTIC_NAMES = frozenset(
    {
        "_alias", "_bulk", "_cat", "_cluster", "_component_template", "_data_stream", "_ilm", "_index_template",
        "_ingest", "_license", "_template", "_xpack",
    }
)  # fmt: skip


def find_route(
    *,
    origin: str,
    types: tuple[str, ...],
    hooks: Mapping[str, Hook],
    bytes_max: int,
    now_s: Callable[[], float],
) -> Callable[[str], Route | None]:
    """A function from a path to who answers it; None where no shipper's protocol has it."""
    elastic, collector, records = Route(Elastic(origin)), Route(Hec()), Route(Records(types))
    signed = Webhooks(hooks, now_s)
    webhook = Route(signed, signed.source, needs_token=False)
    exact = {
        "/": elastic,
        loki.PATH: Route(Loki(bytes_max)),
        otlp.PATH: Route(Otlp()),
        CLOUDEVENTS_PATH: Route(CloudEvents()),
        "/ingest": records,
        hec.PREFIX: collector,
    }
    health = Route(collector.shipper, needs_token=False)

    def find(path: str) -> Route | None:
        route = exact.get(path)
        if route is not None:
            return route
        if path.startswith(webhooks.PREFIX):
            return webhook
        if path.startswith("/ingest/"):
            return records
        if path.startswith(hec.PREFIX + "/"):
            return health if path.startswith(hec.PREFIX + "/health") else collector
        first, _, rest = path[1:].partition("/")
        return elastic if first in _ELASTIC_NAMES or rest == "_bulk" else None

    return find
