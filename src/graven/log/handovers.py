"""The hand-overs of a log's signing keys, as it publishes them: `log/handover/<n>`, n from 1, evidence of one event.

They lie beside checkpoint and tiles, so that whoever can read the tree can follow its keys. Each is written when a
published checkpoint holds the event, and meets the quorum where the log has a witness policy; the checkpoint in it is
then kept as it is. A file that is not there is written again: everything in it follows from the journal.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import BadInput, Broken, GravenError
from graven.core.evidence import MAX_EVIDENCE_BYTES, parse_evidence
from graven.core.handover import MAX_HANDOVERS, Handover, Tenures, open_handover
from graven.core.note import Key
from graven.core.succession import handover_of
from graven.journal.files import Files, make_dir, write_atomic
from graven.keys.keyring import Keyring
from graven.keys.rotation import read_rotation
from graven.keys.signature import verify_signature
from graven.log.registers import Registers
from graven.runtime.telemetry import get_logger

FOLDER = "handover"

logger = get_logger("handover")

MakeEvidence = Callable[[int], bytes]
"""index -> the evidence of its event, against the published checkpoint."""


def read_handovers(log: Path) -> list[bytes]:
    """The published documents in `log` (a log's `log/`, or a copy of it), oldest first; nothing is judged.

    Raises Broken: a file cannot be read, or is too large.
    """
    found: list[bytes] = []
    while len(found) < MAX_HANDOVERS:
        path = log / FOLDER / str(len(found) + 1)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_EVIDENCE_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            break
        except OSError as error:
            raise Broken(f"a hand-over cannot be read: {error.strerror}", place=str(path)) from None
        if len(data) > MAX_EVIDENCE_BYTES:
            raise Broken("a hand-over that is too large", place=str(path))
        found.append(data)
    return found


def open_published(log: Path) -> tuple[Handover, ...]:
    """What the published documents say, all signatures of the hand-overs themselves verified.

    Raises BadInput, Disproved, Broken.
    """
    opened: list[Handover] = []
    for data in read_handovers(log):
        note = handover_of(parse_evidence(data))
        if note is None:
            raise BadInput("a document that is no hand-over", place=f"{FOLDER}/{len(opened) + 1}")
        opened.append(open_handover(note, verify_signature))
    return tuple(opened)


def own_tenures(
    directory: Path, keyring: Keyring | None, given: Sequence[Key], *, coming: Sequence[Key] = ()
) -> Tenures:
    """Which keys are in office at which size, as a log's directory and keyring tell it to a reader who trusts `given`.

    Hand-overs are signed by the keys they lead from and to, so they add nobody whom the given keys do not name. A given
    key that stands in none of them must have signed at every size. `coming`: those the configuration names. Raises
    BadInput, Disproved, Broken for hand-overs that are damaged or do not follow one another.
    """
    handovers = open_published(directory / "log")
    if keyring is not None:
        rotation = read_rotation(keyring)
        kept = rotation.opened()
        handovers = kept if len(kept) > len(handovers) else handovers
        if rotation.step == "begun":
            coming = rotation.coming
    keys = handovers[-1].new if handovers else tuple(key for key in given if key not in coming)
    named = {key for handover in handovers for key in (*handover.old, *handover.new)} or set(keys)
    pinned = tuple(key for key in given if key not in named and key not in coming)
    return Tenures(keys, handovers, tuple(key for key in coming if key not in named), pinned)


class HandoverKeeper:
    """Writes what is missing in `log/handover/` when a checkpoint was published. Only the publisher calls it."""

    def __init__(
        self, files: Files, log: Path, registers: Callable[[], Registers], evidence: MakeEvidence,
        is_met: Callable[[], bool],
    ) -> None:  # fmt: skip
        """`is_met`: whether the published checkpoint meets the quorum of the log's policy, or there is none."""
        self._files, self._folder, self._registers = files, log / FOLDER, registers
        self._evidence, self._is_met = evidence, is_met
        self._written = len(read_handovers(log))

    def __call__(self, published: SignedCheckpoint) -> None:
        handed = self._registers().handovers
        if self._written >= len(handed) or not self._is_met():
            return
        try:
            for number, one in enumerate(handed[self._written :], self._written + 1):
                if one.index >= published.checkpoint.size:
                    return
                data = self._evidence(one.index)
                make_dir(self._files, str(self._folder), 0o755)
                write_atomic(self._files, str(self._folder / str(number)), data)
                self._written = number
                logger.info("a hand-over of the signing keys is published", extra={"fields": {"number": number}})
        except (GravenError, OSError) as error:  # the next checkpoint brings the next attempt
            logger.warning("a hand-over could not be published", extra={"fields": {"why": str(error)}})
