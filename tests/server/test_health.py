"""Health, metrics and status."""

import re

import pytest

from server.running import Server

EVENT = b'{"action":"x"}'


def metric(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def test_alive_and_ready(shared_server: Server) -> None:
    assert shared_server.ask("GET", "/health/live").json() == {"live": True}
    assert shared_server.ask("GET", "/health/ready").json() == {"ready": True}


def test_metrics_count_what_happened(server: Server) -> None:
    token = server.token("ingest", "read")
    server.append(EVENT + b"\n" + EVENT, token)
    server.append(b'{"action":"x","id":"1"}', token)
    server.append(b'{"action":"x","id":"1"}', token)
    server.append(b"{}", token)
    server.append(b"nothing", token, "?on_invalid=quarantine")
    server.append(EVENT, "gvn_wrong")
    server.ask("GET", "/api/v1/events/0", token=token)
    server.ask("GET", "/nowhere")
    server.control.publish()
    answer = server.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    size = server.control.status()["size"]
    expected = {
        'graven_events_accepted_total{source="web"}': 4,
        'graven_events_duplicate_total{source="web"}': 1,
        "graven_events_quarantined_total": 1,
        'graven_intake_refused_total{reason="bad_event"}': 1,
        'graven_intake_refused_total{reason="unauthorized"}': 1,
        "graven_intake_bytes_total": 29 + 23 + 23 + 7,
        "graven_commit_seconds_count": 4,
        'graven_http_requests_total{code="200",route="/api/v1/events"}': 4,
        'graven_http_requests_total{code="400",route="/api/v1/events"}': 1,
        'graven_http_requests_total{code="401",route="/api/v1/events"}': 1,
        'graven_http_requests_total{code="200",route="/api/v1/events/{index}"}': 1,
        'graven_http_requests_total{code="404",route="none"}': 1,
        "graven_committed_size": size,
        "graven_published_size": size,
        "graven_events_only_here": size,
        "graven_queue_events": 0,
        "graven_queue_bytes": 0,
        "graven_bodies_in_flight_bytes": 0,
        "graven_writer_up": 1,
        "graven_publisher_up": 1,
        "graven_window_ids": 1,
        "graven_window_bound_seconds": 86_400,
    }
    for name, value in expected.items():
        assert metric(text, name) == value, name
    assert 0 <= metric(text, "graven_published_age_seconds") < 30
    assert metric(text, "graven_group_events_sum") == size - 2  # all that came after the start
    assert metric(text, "process_resident_memory_bytes") > 1 << 20


def test_status_has_a_public_part_and_one_for_readers(server: Server) -> None:
    public = server.ask("GET", "/api/v1/status").json()
    assert list(public) == ["origin", "size", "published", "version", "note"]
    assert public["published"]["signatures"] == 2
    ingest, read = server.token("ingest", name="i"), server.token("read", name="r")
    assert list(server.ask("GET", "/api/v1/status", token=ingest).json()) == list(public)
    whole = server.ask("GET", "/api/v1/status", token=read).json()
    assert whole.items() >= {"state": "working", "error": None, "tokens": 2, "classes": ["default"]}.items()
    assert whole["uptime_s"] > 0
    assert whole["size"] == whole["events_only_here"] == server.control.status()["size"]


def test_a_recovery_kit_shortens_what_is_only_here(server: Server) -> None:
    server.control.record_act("graven.keys.backup", {"data_keys": 4, "newest_segment": 0})
    assert server.control.status()["events_only_here"] == 0


@pytest.mark.parametrize("target", ["/x", "/api", "/api/v1/events/", "/api/v1/status/", "/metrics/x", "/api/v2/events"])
def test_nothing_there(shared_server: Server, target: str) -> None:
    answer = shared_server.ask("GET", target)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
    assert "openapi.json" in answer.error["mend"]


def test_a_method_a_path_does_not_take(shared_server: Server) -> None:
    answer = shared_server.ask("PUT", "/api/v1/tokens")
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_kept_certificates_by_size(server: Server) -> None:
    token = server.token("ingest")
    size = server.append(b'{"action":"x"}', token).json()["size"]
    one = server.ask("GET", "/api/v1/receipt-certificate").body
    assert server.ask("GET", f"/api/v1/receipt-certificates/{size}").body == one
    assert server.ask("GET", "/api/v1/receipt-certificates/99999999999").status == 404
    assert server.ask("GET", "/api/v1/receipt-certificates/x").status == 400
