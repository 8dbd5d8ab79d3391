"""Storage: files replaced, exchanged, deleted, one bit flipped; and the bucket, with its own credentials."""

import os
import shutil
import signal
from contextlib import suppress
from typing import Any

from lab import AbsentError, seaweed

from graven.app import open_view
from graven.journal.frame import HEADER_SIZE
from tamper import forge
from tamper.house import House
from tamper.model import Act, Observer, Said, Scene, WentWrongError
from tamper.world import BUCKET

MARKED_MAX = 400
_PAYLOAD_SIZE_AT = 24
"""Where a frame's header has the length of its sealed bytes (docs/format.md)."""


def _of(scene: Scene) -> House:
    assert isinstance(scene.subject, House)
    return scene.subject


def _unsealed(scene: Scene) -> None:
    """The clear text of a segment in its place: the same events, no seal."""
    house = _of(scene)
    first = forge.segments(house)[0]
    with open_view(house.directory) as view:
        lines = [record.event or b"" for record in view.records(0, 30)]
    first.write_bytes(b"\n".join(lines))


def _swap(scene: Scene) -> None:
    a, b = forge.segments(_of(scene))[:2]
    between = a.with_suffix(".between")
    a.rename(between)
    b.rename(a)
    between.rename(b)


def _delete(scene: Scene) -> None:
    house = _of(scene)
    house.stop()
    for path in (house.directory, house.keyring):
        shutil.rmtree(path)
    house.run("init", house.directory, "--origin", f"example.com/{house.root.name}")
    house.start(policy=False)


def _hide(scene: Scene) -> None:
    """The data key of a closed segment's events, destroyed in the keyring; no erasure event."""
    house = _of(scene)
    keyring = forge.keyring(house)
    start = int(forge.segments(house)[0].name.split(".")[0])
    with open_view(house.directory) as view:
        record = view.read(30)
    own = [key_id for key_id, name in forge.event_keys(house, start) if name == record.class_name]
    if not own or not all(keyring.destroy(key_id, start) for key_id in own):
        raise WentWrongError("no key was destroyed")


def _bucket(scene: Scene) -> None:
    house = _of(scene)
    if house.world.store is None:
        raise AbsentError(house.world.absent["write-once bucket"])
    client = seaweed.client(house.world.store)
    prefix = f"{house.root.name}/"
    versions = _versions(client, prefix)
    refused = sum(_refused(client, name, version) for name, version in versions)
    names = sorted({name for name, _ in versions})
    for name in names[:MARKED_MAX]:
        client.delete_object(Bucket=BUCKET, Key=name)
    for name in names[:3]:
        client.put_object(Bucket=BUCKET, Key=name, Body=b"nothing happened here")
    left = set(_versions(client, prefix))
    house.notes["remark"] = f"{refused} of {len(versions)} deletions refused by the store"
    if not set(versions) <= left:
        house.notes["remark"] = f"LOST: {len(set(versions) - left)} of {len(versions)} locked versions are gone"


def _versions(client: Any, prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for page in client.get_paginator("list_object_versions").paginate(Bucket=BUCKET, Prefix=prefix):
        found += [(one["Key"], one["VersionId"]) for one in page.get("Versions", [])]
    return found


def _refused(client: Any, name: str, version: str) -> bool:
    with suppress(Exception):
        client.delete_object(Bucket=BUCKET, Key=name, VersionId=version, BypassGovernanceRetention=True)
        return False
    return True


def _crash(scene: Scene) -> None:
    """Killed as soon as the answer is here; started again; is what was acknowledged there?"""
    house = _of(scene)
    answer = house.append(10, wait="committed")
    assert house.server is not None
    house.server.stop(signal.SIGKILL)
    house.start()
    first = int(str(answer["first_index"]))
    kept = sum(house.read(index)["content"] == "readable" for index in range(first, first + 10))
    scene.observers.append(
        Observer("no effect", lambda: Said(0, f"{kept} of 10 acknowledged events are at their index", kept == 10))
    )  # fmt: skip


def _length(scene: Scene) -> None:
    house = _of(scene)
    house.append(10)
    assert house.server is not None
    house.server.stop(signal.SIGKILL)
    with open_view(house.directory) as view:
        place = view.reader.place(view.size - 1)
    with open(place.segment.path, "r+b") as file:
        file.seek(place.offset)
        header = bytearray(file.read(HEADER_SIZE))
        header[_PAYLOAD_SIZE_AT + 5] ^= 0x40
        file.seek(place.offset)
        file.write(header)
        os.fsync(file.fileno())
    house.start(expect=False)


ACTS: dict[str, Act] = {
    "unsealed": _unsealed, "swap": _swap, "delete": _delete, "hide": _hide, "bucket": _bucket, "crash": _crash,
    "length": _length,
}  # fmt: skip
