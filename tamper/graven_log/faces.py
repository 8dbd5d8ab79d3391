"""Faces: another tree for a visitor, at another address: with the log's keys, with stolen ones, or without any."""

import shutil
from contextlib import ExitStack
from os import urandom
from pathlib import Path

from lab.published import write_tree

from graven.keys.keyring import Keyring
from graven.keys.rootkeys import HIGHEST_FILE, nothing_signed
from graven.keys.signer import LogSigner
from tamper import calls, forge, impostor
from tamper.house import House, copy_host, size_of
from tamper.model import Act, Observer, Said, Scene


def visitors(house: House) -> list[Observer]:
    """Who is shown the other tree: a newcomer with the policy, one who compares, an auditor with a peer."""
    house.notes["victim_url"] = house.url
    return [
        Observer("newcomer who asks for a quorum", lambda: _quorum(house)),
        Observer("two who compare", lambda: _compare(house)),
        Observer("auditor with a peer", lambda: _peer(house)),
    ]


def _victim_note(house: House) -> Path:
    path = house.outside / "victim.checkpoint"
    note = _get(house, "checkpoint")
    path.write_bytes(note)
    return path


def _get(house: House, path: str) -> bytes:
    return calls.http(f"{house.notes['victim_url']}/log/{path}")[1]


def _quorum(house: House) -> Said:
    return house.ask("check", _victim_note(house), "--policy", house.policy)


def _compare(house: House) -> Said:
    """The visitor's checkpoint beside one that somebody else took home."""
    kept = house.outside / "kept.checkpoint"
    return house.ask("check", _victim_note(house), kept, "--vkey", house.vkeys[0])


def _peer(house: House) -> Said:
    """The visitor's own auditor, which asks the other auditor's copy: what each saw must be one log."""
    state = house.outside / "victim-audit"
    with impostor.showing(house.outside / "audit") as peer:
        # a policy without witnesses: this visitor does not ask for a quorum
        policy = house.outside / "bare.policy"
        policy.write_text("".join(f"log {vkey}\n" for vkey in house.vkeys) + "quorum none\n")
        shutil.rmtree(state, ignore_errors=True)
        words = ["--policy", policy, "--state", state, "--once", "--peer", f"{peer}/log"]
        return house.ask("audit", "follow", f"{house.notes['victim_url']}/log", *words)


def _of(scene: Scene) -> House:
    assert isinstance(scene.subject, House)
    return scene.subject


def _faces(scene: Scene) -> None:
    """The operator's second copy, one record changed."""
    house = _of(scene)
    house.stop()
    copy_host(house, house.root / "second")
    house.start()
    second = House(house.world, house.root / "second", [], house.vkeys)
    forge.blindfold(second)
    forge.rewrite(second, 30, b"payment.approve", b"payment.refused")
    _show(house, second.directory / "log")
    note = (second.directory / "log" / "checkpoint").read_bytes()
    statuses = forge.ask_witnesses(house, note, second.directory / "log")
    house.notes["remark"] = f"the witnesses answered {', '.join(map(str, statuses))}"


def _stolen(scene: Scene) -> None:
    """The thief's own history, of as many entries as the true one, signed with the log's keys."""
    house = _of(scene)
    copy = house.root / "stolen.keys"
    shutil.copytree(house.keyring, copy)
    (copy / HIGHEST_FILE).write_bytes(nothing_signed(f"example.com/{house.root.name}"))
    _own_history(house, LogSigner(Keyring.open(str(copy))))
    note = (house.root / "thief" / "checkpoint").read_bytes()
    statuses = [forge.ask_to_cosign(witness, note) for witness in house.witnesses]
    house.notes["remark"] = f"the witnesses answered {', '.join(map(str, statuses))}"


def _verifying(scene: Scene) -> None:
    """All a verifier has is the vkey, which signs nothing: new keys under the log's name."""
    house = _of(scene)
    origin = f"example.com/{house.root.name}"
    _own_history(house, LogSigner(Keyring.create(str(house.root / "made.keys"), origin=origin)))


def _own_history(house: House, signer: LogSigner) -> None:
    size = size_of((house.outside / "kept.checkpoint").read_bytes())
    folder = house.root / "thief"
    folder.mkdir()
    entries = [urandom(32) for _ in range(size)]
    now_s = forge.now_us() // 1_000_000
    write_tree(folder, f"example.com/{house.root.name}", entries, lambda tree: signer.sign_checkpoint(tree, now_s))
    _show(house, folder)


def _show(house: House, folder: Path) -> None:
    stack = ExitStack()
    house.notes["victim_url"] = stack.enter_context(impostor.showing(folder))
    house.notes["open"] = stack


ACTS: dict[str, Act] = {"faces": _faces, "signing_key": _stolen, "verifying_key": _verifying}
