"""The sample tells the story that the demonstration relies on."""

import ipaddress
import json
import os
import re
import subprocess
import sys
from datetime import datetime
from hashlib import sha256
from itertools import pairwise

import pytest

from graven.demo.company import THIEF_IP
from graven.demo.records import SOURCES
from graven.demo.sample import CLOSES, OPENS, STOLEN, is_theft_line, sample_events
from graven.event import decode_event

DOCUMENTATION = [ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]


@pytest.fixture(scope="module")
def sample() -> list[tuple[str, bytes]]:
    return sample_events()


def test_every_event_is_in_the_model_and_every_source_speaks(sample: list[tuple[str, bytes]]) -> None:
    assert 1_500 <= len(sample) <= 2_500
    for _, data in sample:
        event = decode_event(data)
        assert event.time is not None
        assert OPENS <= event.time < CLOSES
        assert event.actor is not None and event.actor.name
        assert event.outcome is not None and event.verb is not None and event.category is not None and event.message
    assert {source for source, _ in sample} == set(SOURCES)


def test_ids_are_unique_and_times_increase(sample: list[tuple[str, bytes]]) -> None:
    events = [decode_event(data) for _, data in sample]
    assert len({event.id for event in events}) == len(events)
    times = [event.time for event in events if event.time is not None]
    assert all(a < b for a, b in pairwise(times))


def test_four_lines_in_order_tell_the_theft(sample: list[tuple[str, bytes]]) -> None:
    found = [(source, json.loads(data)) for source, data in sample if is_theft_line(json.loads(data))]
    assert [event["verb"] for _, event in found] == ["export", "grant", "read", "execute"]
    assert [source for source, _ in found] == ["crm-app", "aws-cloudtrail", "aws-cloudtrail", "kubernetes"]
    assert {event["actor"]["name"] for _, event in found} == {"dana.voss"}
    assert {event["origin"]["ip"] for _, event in found} == {THIEF_IP}
    assert all(STOLEN in event["message"] and event["outcome"] == "success" for _, event in found)
    times = [datetime.fromisoformat(event["time"]) for _, event in found]
    assert times == sorted(times)
    assert times[-1].hour == 5  # before anyone is at work
    # What a plain search over the bytes finds is the same four.
    assert [data for _, data in sample if STOLEN.encode() in data] == [
        data for _, data in sample if is_theft_line(json.loads(data))
    ]


def test_the_thief_comes_from_an_address_that_nobody_else_uses(sample: list[tuple[str, bytes]]) -> None:
    events = [json.loads(data) for _, data in sample]
    assert {event["actor"]["name"] for event in events if event["origin"]["ip"] == THIEF_IP} == {"dana.voss"}
    usual = {event["origin"]["ip"] for event in events if event["actor"]["name"] == "dana.voss"} - {THIEF_IP}
    assert usual, "she also works as everyone does"


def test_nothing_real_is_named(sample: list[tuple[str, bytes]]) -> None:
    text = b"\n".join(data for _, data in sample).decode()
    for address in set(re.findall(r"(?<![\w./#])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])", text)):
        assert any(ipaddress.ip_address(address) in net for net in DOCUMENTATION), address
    mail_domains = set(re.findall(r"@([a-z0-9.-]+\.[a-z]+)", text))
    assert mail_domains == {"quillmere.invalid", "example.com"}
    account_numbers = set(re.findall(r"(?<![\w-])\d{12}(?![\w-])", text))
    assert account_numbers == {"111122223333"}  # the one that AWS uses in its own documentation


def test_the_same_bytes_everywhere() -> None:
    """Another process, with other hash seeds and another zone, gives the same bytes as this one."""
    program = (
        "import hashlib, graven.demo.sample as s; print(hashlib.sha256(repr(s.sample_events()).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Pacific/Auckland", "LC_ALL": "C"}
    there = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == sha256(repr(sample_events()).encode()).hexdigest()
