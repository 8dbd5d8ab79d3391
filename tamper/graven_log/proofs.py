"""Proofs: a node for a leaf, a guess, another text sealed than was sent, a verifier that lies."""

import json
import os
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

from graven.core.tile import bundle_path, decode_entries, width_at
from graven.demo.by_hand import SCRIPT
from tamper import calls
from tamper.calls import ROOT
from tamper.house import House
from tamper.model import Act, Observer, Said, Scene, WentWrongError

GUESSES = 2_000
OTHER_TEXT = """
import msgspec
from graven.app import Log
_batch = Log.batch
def batch(self, parsed, **words):
    made = _batch(self, parsed, **words)
    return made._replace(events=changed(made.events)) if hasattr(made, "_replace") else copied(made)
def changed(events):
    return [event.replace(b"payment.approve", b"payment.refused") for event in events]
def copied(made):
    import dataclasses
    return dataclasses.replace(made, events=changed(made.events))
Log.batch = batch
"""
"""What the operator changed in the program: each event gets another word before it is sealed."""

LYING = """
import sys
print("example.com: good\\nverified by Graven")
sys.exit(0)
"""


def producer(house: House) -> Observer:
    """Holds the newest answer against the bytes that were sent."""

    def ask() -> Said:
        answer = max(house.outside.glob("answer-*"))
        sent = answer.with_name(answer.name.replace("answer", "sent"))
        return house.ask("check", answer, "--events", sent, "--vkey", house.vkeys[0])

    return Observer("producer", ask)


def evidence_readers(house: House) -> list[Observer]:
    """Three who are handed one piece of evidence: by Graven's own command, by the verifier alone, by coreutils."""
    path = house.outside / "handed.json"
    house.run("prove", 30, "--dir", house.directory, "-o", path)
    house.notes["verify"] = lambda: house.ask("check", path, "--vkey", house.vkeys[0])
    return [
        Observer("the operator's verifier", lambda: house.notes["verify"]()),  # type: ignore[operator]
        Observer("graven-verify", lambda: _alone(house, path)),
        Observer("coreutils and openssl", lambda: calls.call(["bash", SCRIPT, path, house.vkeys[0]])),
    ]


def _alone(house: House, path: Path) -> Said:
    """The stand-alone verifier: the wheel of packaging/verify, unpacked, and nothing else of Graven."""
    place = house.world.root / "graven-verify"
    if not place.exists():
        made = house.world.place("wheel")
        code = "import sys, hatchling.build; hatchling.build.build_wheel(sys.argv[1])"
        calls.must([sys.executable, "-c", code, made], cwd=ROOT / "packaging/verify")
        with zipfile.ZipFile(next(made.glob("*.whl"))) as wheel:
            wheel.extractall(place)
    code = f"import sys; sys.path.insert(0, {str(place)!r}); from graven.check.command import main; sys.exit(main())"
    return calls.call(
        [sys.executable, "-c", code, path, "--vkey", house.vkeys[0]], env={"PYTHONPATH": ""}, cwd=house.outside
    )  # fmt: skip


def _of(scene: Scene) -> House:
    assert isinstance(scene.subject, House)
    return scene.subject


def _other_text(scene: Scene) -> None:
    house = _of(scene)
    house.stop()
    house.start(code=OTHER_TEXT)
    answer = house.append(5)
    _is_changed(house, answer)


def no_receipt(scene: Scene) -> None:
    """The same for a producer who keeps nothing."""
    house = _of(scene)
    house.stop()
    house.start(code=OTHER_TEXT)
    answer = house.append_bytes(b'{"action":"payment.approve"}\n', keep=False)
    _is_changed(house, answer)


def _is_changed(house: House, answer: dict[str, object]) -> None:
    event = house.read(int(str(answer["first_index"])))["event"]
    if not isinstance(event, dict) or event["action"] != "payment.refused":
        raise WentWrongError(f"the changed program sealed what was sent: {str(event)[:100]}")


def _badge(scene: Scene) -> None:
    """Evidence with another word in the event, beside a verifier that finds all good."""
    house = _of(scene)
    path = house.outside / "handed.json"
    text = path.read_text()
    if "payment.approve" not in text:
        raise WentWrongError("the evidence has no word to change")
    path.write_text(text.replace("payment.approve", "payment.refused"))
    house.notes["verify"] = lambda: calls.call([sys.executable, "-c", LYING])


def _node_as_leaf(scene: Scene) -> None:
    """The lowest hash is dropped and the index halved: the proof of the node above, offered as one of a leaf."""
    house = _of(scene)
    path = house.outside / "handed.json"
    document = json.loads(path.read_text())
    head, blank, checkpoint = document["proof"].partition("\n\n")
    lines = head.split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("index "))
    index = int(lines[at].removeprefix("index ")) // 2
    lines[at] = f"index {index}"
    del lines[at + 1]
    document["proof"], document["index"] = "\n".join(lines) + blank + checkpoint, index
    path.write_text(json.dumps(document, indent=2) + "\n")


def _guess(scene: Scene) -> None:
    """All of an event is known but one field of few values; everything published is tried against each."""
    house = _of(scene)
    form = '{{"action":"salary.set","targets":[{{"id":"dana"}}],"data":{{"amount":{}}}}}'
    secret = int.from_bytes(os.urandom(2), "big") % GUESSES
    house.append_bytes(form.format(secret).encode() + b"\n")
    size = house.size
    published: set[bytes] = set()
    for number in range((size + 255) // 256):
        width = width_at(0, number, size)
        bundle = calls.http(f"{house.url}/log/{bundle_path(number, width)}")[1]
        entries = decode_entries(bundle, width)
        published |= set(entries) | {sha256(b"\0" + entry).digest() for entry in entries}
    found = [value for value in range(GUESSES) if _hashes(form.format(value).encode()) & published]
    words = f"{GUESSES} values tried against {len(published)} published hashes: {len(found)} match"
    scene.observers.append(Observer("no effect", lambda: Said(0, words, not found)))


def _hashes(event: bytes) -> set[bytes]:
    """What a tree without salt could hold of it."""
    once = sha256(event).digest()
    return {once, sha256(once).digest(), sha256(b"\0" + event).digest(), sha256(b"\0" + once).digest()}


ACTS: dict[str, Act] = {
    "other_text": _other_text, "badge": _badge, "node_as_leaf": _node_as_leaf, "guess": _guess,
}  # fmt: skip
