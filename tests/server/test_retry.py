"""Quarantined records read again by a running server."""

from graven.ingest.quarantine import find_quarantined
from server.running import Server


def test_a_server_reads_again(server: Server) -> None:
    token = server.token("ingest", "read")
    body = b'{"password": 1}\n<86>Mar  2 08:14:31 web01 sshd[7]: Invalid user eve from 203.0.113.9 port 7\n'
    path = "/api/v1/events?on_invalid=quarantine"
    said = server.ask("POST", path, token=token, body=body, headers={"Content-Type": "application/x-ndjson"}).json()
    first = said["first_index"]
    done = server.control.retry_quarantined()
    assert list(done["read"]) == [str(first + 1)] and [row["index"] for row in done["left"]] == [first]
    (index,) = done["read"][str(first + 1)]
    event = server.ask("GET", f"/api/v1/events/{index}", token=token).json()["event"]
    assert (event["action"], event["derived_from"]) == ("Invalid user", [first + 1])
    assert server.control.retry_quarantined()["read"] == {}


def test_nothing_stored() -> None:
    assert find_quarantined([]) == ([], set())
