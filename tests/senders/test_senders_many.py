"""A million senders by their own words: another host, program, user and key in every message. Memory is bounded."""

import json
import os
import socket
import time
from pathlib import Path

import pytest

from senders.ground import Ground, wait_for

MESSAGES, WARM = 1_000_000, 200_000
GROWTH_BYTES_MAX = 150 << 20
PIECE = 5_000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_million_sources_in_bounded_memory(ground: Ground) -> None:
    assert ground.log.process is not None
    pid, warm = ground.log.process.pid, 0
    with socket.create_connection(ground.syslog.target, timeout=120) as sender:
        for start in range(0, MESSAGES, PIECE):
            sender.sendall(b"".join(message(number) for number in range(start, start + PIECE)))
            if start == WARM:
                wait_for(lambda: size(ground) > WARM // 2, wait_s=400)
                warm = resident_bytes(pid)
    wait_for(lambda: size(ground) >= MESSAGES, wait_s=400)
    time.sleep(1)
    grown = resident_bytes(pid) - warm
    print(f"{warm >> 20} MiB after {WARM}, {grown >> 20} MiB more after {MESSAGES}")
    assert grown < GROWTH_BYTES_MAX


def message(number: int) -> bytes:
    head = b'<86>1 2026-03-02T08:14:31Z host%d app%d %d id%d [sd%d k%d="v"] ' % ((number,) * 6)
    octets = number >> 16 & 255, number >> 8 & 255, number & 255
    return head + b"Failed password for invalid user n%d from 10.%d.%d.%d port 1\n" % (number, *octets)


def size(ground: Ground) -> int:
    with socket.create_connection(("127.0.0.1", ground.http.target[1]), timeout=180) as connection:
        connection.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        found = b""
        while data := connection.recv(65_536):
            found += data
    return int(json.loads(found.partition(b"\r\n\r\n")[2])["size"])
