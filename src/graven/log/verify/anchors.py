"""The anchors beside the log: each file is what its name says, over a checkpoint of this log, and good.

A stamp must lead to one of the roots given; without roots it must hold together, which damage does not survive, and a
note says that nobody was asked whom to believe. A file that no event names is only a note: its event rides on a block
that is yet to come.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from graven.anchor.stored import StoredName, read_anchor
from graven.core.anchored import COSIGNATURE
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.handover import Tenures
from graven.core.note import Key
from graven.core.timestamp import verify_token
from graven.core.x509 import Certificate
from graven.keys.signature import verify_signature
from graven.log.verify.acts import Acts
from graven.log.verify.checkpoints import Stated, as_disproved, open_own
from graven.log.verify.report import Findings


def read_stored(
    directory: Path,
    names: Iterable[StoredName],
    tenures: Tenures,
    witnesses: Sequence[Key],
    roots: Sequence[Certificate],
    findings: Findings,
) -> list[Stated]:
    """Judge every anchor; returns the trees they state."""
    stated: list[Stated] = []
    unrooted = 0
    for name in names:
        try:
            anchored = read_anchor(directory, name)
            signed = open_own(anchored.checkpoint, tenures, witnesses)
            if anchored.token is not None:
                stamp = verify_token(anchored.token, anchored.checkpoint, roots=roots or None, verify=verify_signature)
                unrooted += not stamp.root
                if stamp.time_us // 1_000_000 != name.time_s:
                    raise Disproved("a stamp of another time than its name says", place=name.path)
            elif all(one.key not in witnesses for one in signed.signed):
                raise Disproved(f"an anchor of type {COSIGNATURE} without a cosignature", place=name.path)
        except FileNotFoundError:
            continue  # gone since it was listed
        except OSError as error:
            findings.fail(f"an anchor cannot be read: {error.strerror}", name.path)
            continue
        except (BadInput, Disproved, Broken) as error:
            findings.error(_told(error), name.path)
            continue
        stated.append(Stated("an anchored checkpoint", name.path, name.size, signed.checkpoint.root))
    if unrooted:
        findings.note(f"{unrooted} time stamps hold together; whom they are by takes the authority's root: --tsa-root")
    return stated


def check_named(paths: Iterable[str], own: Acts, findings: Findings) -> None:
    """Every file that an event names is there; one that none names waits for the next block."""
    there = set(paths)
    missing = sorted(own.anchored - there)
    if missing:
        findings.note(f"{len(missing)} anchors that events name are gone from anchors/ (the first: {missing[0]})")
    waiting = sorted(there - own.anchored)
    if waiting:
        findings.note(f"{len(waiting)} anchors are not in the log yet (the first: {waiting[0]}): they ride on a block")


def _told(error: GravenError) -> GravenError:
    return as_disproved(error, "an anchor")
