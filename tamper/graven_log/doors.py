"""Doors: what can be done by whoever may send, or by whoever stops sending."""

import json
import re
import threading

from tamper import calls
from tamper.house import House
from tamper.model import Act, Observer, Said, Scene, WentWrongError

FORGED = '{"action":"user.login","actor":{"id":"root"},"outcome":"success"}'
TEXT = f"bye\n{FORGED}\n\x1b[2K\x1b[1A\x1b]0;owned\x07 \u202etxt.exe"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
EXPECTED_WITHIN_S = 2


def heartbeat(house: House) -> None:
    """A producer that is expected and sends: until somebody stops it."""
    house.run("source", "expect", "app", "--within-s", EXPECTED_WITHIN_S, "--dir", house.directory)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.5):
            calls.http(f"{house.url}/api/v1/events", token=house.token, body=b'{"action":"still.here"}')

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()

    def kill() -> None:
        stop.set()
        thread.join()

    house.notes["collector"] = kill


def _of(scene: Scene) -> House:
    assert isinstance(scene.subject, House)
    return scene.subject


def _silent(scene: Scene) -> None:
    _of(scene).notes["collector"]()  # type: ignore[operator]


def _tenant(scene: Scene) -> None:
    """A token that may append asks for every event, proof and evidence there is, and for the list of tokens."""
    house = _of(scene)
    token = house.run("token", "create", "--dir", house.directory, "--name", "tenant", "--scope", "ingest").strip()
    paths = [
        f"/api/v1/events/{index}{what}" for index in range(0, house.size, 5) for what in ("", "/proof", "/evidence")
    ]
    statuses = [calls.http(house.url + path, token=token)[0] for path in [*paths, "/api/v1/tokens"]]
    refused = sum(status in (401, 403) for status in statuses)
    words = f"{refused} of {len(statuses)} requests refused"
    scene.observers.append(Observer("no effect", lambda: Said(0, words, refused == len(statuses))))


def _injection(scene: Scene) -> None:
    house = _of(scene)
    body = json.dumps({"action": "note.write", "message": TEXT}, ensure_ascii=False).encode()
    answer = house.append_bytes(body)
    index = int(str(answer["first_index"]))
    said = house.ask("show", index, "--dir", house.directory)
    raw = _CONTROL.findall(said.text)
    lines = sum("user.login" in line and "note" not in line and "bye" not in line for line in said.text.splitlines())
    again = house.read(index)["event"]
    whole = isinstance(again, dict) and again["message"] == TEXT
    good = answer["accepted"] == 1 and not raw and not lines and whole
    words = f"{answer['accepted']} record of one message, shown with {len(raw)} raw control characters"
    scene.observers.append(Observer("no effect", lambda: Said(0, words, good)))


def _id_first(scene: Scene) -> None:
    house = _of(scene)
    other = house.run(
        "token", "create", "--dir", house.directory, "--name", "insider", "--scope", "ingest:app"
    ).strip()  # fmt: skip
    ours = b'{"id":"order-17","action":"order.ship","message":"to the address on file"}'
    theirs = b'{"id":"order-17","action":"order.view"}'
    status, _ = calls.http(f"{house.url}/api/v1/events", token=other, body=theirs)
    if status != 200:
        raise WentWrongError(f"the insider's record was refused: {status}")
    answer = house.append_bytes(ours)
    there = answer["accepted"] == 1 and house.read(int(str(answer["first_index"])))["event"] == json.loads(ours)
    scene.observers.append(Observer("no effect", lambda: Said(0, "the true record is stored beside the other", there)))


ACTS: dict[str, Act] = {"silent": _silent, "tenant": _tenant, "injection": _injection, "id_first": _id_first}
