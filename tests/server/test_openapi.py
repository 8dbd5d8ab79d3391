"""The OpenAPI document and the page about the API, against the endpoints there are."""

import json
import re
from pathlib import Path

import pytest

from graven.app import VERSION
from graven.config import default_config
from graven.server.access import TokenAccess, TokenUses
from graven.server.agents import BATCHES_PATH
from graven.server.doors import Door, control_door, network_door
from graven.server.intake import PATH, parse_options
from graven.server.live import Live
from graven.server.openapi import openapi
from server.running import Server

DOC = Path(__file__).parents[2] / "docs" / "http-api.md"


@pytest.fixture
def doors(tmp_path: Path) -> tuple[Door, Door]:
    live = Live(tmp_path, default_config(origin="example.com/x", log_id="0" * 32, vkeys=[]))
    return network_door(live, TokenAccess(tmp_path)), control_door(live, TokenUses(tmp_path))


def test_it_lists_exactly_the_endpoints(doors: tuple[Door, Door]) -> None:
    there_are = {(one.path.replace(":path", ""), one.method.lower()) for one in doors[0].endpoints} | {
        (PATH, "post"),
        (BATCHES_PATH, "post"),
    }
    listed = {(path, method) for path, methods in openapi()["paths"].items() for method in methods}
    assert listed == there_are


def test_scopes_and_queries_are_those_of_the_endpoints(doors: tuple[Door, Door]) -> None:
    paths = openapi()["paths"]
    for one in doors[0].endpoints:
        operation = paths[one.path.replace(":path", "")][one.method.lower()]
        assert operation["security"] == ([{"token": [one.scope]}] if one.scope else [])
        parameters = operation.get("parameters", [])
        assert {p["name"] for p in parameters if p["in"] == "query"} == set(one.query or {})
        assert {p["name"] for p in parameters if p["in"] == "path"} == set(re.findall(r"\{(\w+)", one.path))


def test_the_query_of_the_intake_is_described() -> None:
    for parameter in openapi()["paths"][PATH]["post"]["parameters"]:
        for value in parameter["schema"].get("enum", ["web"]):
            parse_options(f"{parameter['name']}={value}".encode())


def test_every_reference_leads_somewhere() -> None:
    document = json.loads(json.dumps(openapi()))
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert name in document["components"]["schemas"], name
    assert document["info"]["version"] == VERSION


def test_it_is_served(shared_server: Server) -> None:
    answer = shared_server.ask("GET", "/api/v1/openapi.json")
    assert (answer.status, answer.json()) == (200, json.loads(json.dumps(openapi())))


def test_the_network_has_no_control_endpoint(doors: tuple[Door, Door]) -> None:
    network, control = ({(one.method, one.path) for one in door.endpoints} for door in doors)
    assert network - control == {
        ("POST", "/api/v1/agent/enrol"), ("POST", "/api/v1/agent/heartbeats"), ("POST", "/api/v1/challenges"),
    }  # fmt: skip
    names = ("publish", "acts", "stamp", "anchors", "quarantine/retry")
    assert control - network == {("POST", f"/control/v1/{name}") for name in names}


def test_the_page_names_every_endpoint_and_status(doors: tuple[Door, Door]) -> None:
    text = DOC.read_text()
    for one in doors[1].endpoints:
        assert one.path.replace("{path:path}", "") in text, one.path
    codes = {code for methods in openapi()["paths"].values() for op in methods.values() for code in op["responses"]}
    for code in codes:
        assert code in text, code


def test_the_page_names_every_metric(shared_server: Server) -> None:
    metrics = shared_server.ask("GET", "/metrics").body.decode()
    text = DOC.read_text()
    for name in re.findall(r"^# TYPE (graven_\w+)", metrics, re.MULTILINE):
        assert f"`{name}`" in text, name
