"""Healing a restored log: the newest checkpoint anyone has, mirrors asked for what is missing, the whole verified."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from graven.app import class_names
from graven.config import Config
from graven.core.checkpoint import SignedCheckpoint, conflicting
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.handover import Tenures
from graven.core.merkle import EMPTY_ROOT, compact_range_at
from graven.core.note import MAX_NOTE_BYTES
from graven.core.tile import tile_nodes
from graven.journal.files import Files
from graven.keys.keyring import Keyring
from graven.keys.signature import verify_signature
from graven.keys.signer import LogSigner, Signer
from graven.log.heal import Healed, heal
from graven.log.tail import disk_fetch
from graven.log.verify import verify_directory
from graven.runtime.clock import SystemClock
from graven.runtime.site import FolderSite, HttpSite, Site


@dataclass(frozen=True, slots=True)
class Seen:
    """A checkpoint of the log, and who has it."""

    signed: SignedCheckpoint
    where: str


def open_mirror(text: str) -> Site:
    """A mirror by URL, or a folder in C2SP layout: an auditor's `--state`, a log's `log/`. Raises BadInput."""
    if "://" in text:
        return HttpSite(text)
    folder = Path(text) / "log" if (Path(text) / "log" / "checkpoint").is_file() else Path(text)
    if not (folder / "checkpoint").is_file():
        raise BadInput("no copy of a published log is there", place=text, mend="a URL, or a folder with checkpoint")
    return FolderSite(folder)


def gather_seen(
    directory: Path, tenures: Tenures, mirrors: Sequence[tuple[str, Site]], seen: bytes | None, mark: bytes | None
) -> list[Seen]:
    """Every checkpoint that is known of this log, the newest last: the copy's, the mirrors', the mark beside the keys,
    the one named. A mirror that does not answer is passed over.

    Raises Disproved: a checkpoint that the log did not sign, or two of one size with different roots: a fork. Broken:
    nobody but the copy says how far the log had come, so going on from it might fork it.
    """
    found = [Seen(_open((directory / "log" / "checkpoint").read_bytes(), tenures, "the copy"), "the copy")]
    if mark is not None:
        found.append(Seen(tenures.open(mark, verify_signature), "the mark beside the keys"))
    if seen is not None:
        found.append(Seen(_open(seen, tenures, "the checkpoint named"), "the checkpoint named"))
    for name, site in mirrors:
        try:
            data = site.get("checkpoint", MAX_NOTE_BYTES)
        except Broken:
            continue
        if data is not None:
            found.append(Seen(_open(data, tenures, name), name))
    if len(found) == 1:
        raise Broken(
            "nobody says how far the log had come after this copy, so going on from it could fork the log",
            place="no mirror answered" if mirrors else "",
            mend="--mirror URL|DIR of somebody who follows it, or --seen CHECKPOINT_FILE",
        )
    # Of equal trees the one with the most signatures is shown: the mark keeps the log's own lines only.
    found.sort(key=lambda one: (one.signed.checkpoint.size, len(one.signed.note.signatures)))
    for one, other in pairwise(found):
        try:
            conflicting(one.signed, other.signed)
        except Disproved as error:
            error.place = f"{one.where} and {other.where}"
            raise
    return found


def check_signer(signer: Signer, newest: Seen) -> None:
    """See to it that the signer signs nothing smaller than the newest tree. One apart is told by its own operator, for
    what this host says must not move its mark. Raises Broken, Disproved.
    """
    if isinstance(signer, LogSigner):
        signer.accept_seen(newest.signed.data)  # before anything of this log can be signed again
        return
    mark = signer.highest() if signer.mark_known else None
    if mark is None or signer.tenures.open(mark, verify_signature).checkpoint != newest.signed.checkpoint:
        raise Broken(
            f"the signer does not know of the newest tree, of {newest.signed.checkpoint.size} entries, which "
            f"{newest.where} has",
            mend="give it that checkpoint: graven signer seen CHECKPOINT_FILE SIGNER_DIR; start it again, then this",
        )


def heal_directory(
    building: Path, config: Config, keyring: Keyring, signer: Signer, seen: Sequence[Seen],
    mirrors: Sequence[tuple[str, Site]], files: Files, progress: Callable[[int], None],
) -> Healed:  # fmt: skip
    """Heal the log in `building` up to the newest of `seen`, and verify all of it with the keyring.

    Raises Disproved, Broken: then `building` is of no use, and nothing else was touched but the keyring's mark.
    """
    newest = seen[-1].signed
    check_signer(signer, seen[-1])
    healed = heal(
        building, keyring, newest, _fetch_from(mirrors), classes=class_names(config),
        now_us=SystemClock().now_us(), files=files, progress=progress,
    )  # fmt: skip
    nodes = tile_nodes(disk_fetch(building / "log"), newest.checkpoint.size)
    for one in seen:
        head = one.signed.checkpoint
        if (compact_range_at(nodes, head.size).root() if head.size else EMPTY_ROOT) != head.root:
            raise Disproved(
                f"this log forked: the tree of {head.size} entries that {one.where} has is not the beginning of the "
                f"newest, of {newest.checkpoint.size}",
                place=one.where,
            )
    report = verify_directory(building, keys=signer.tenures.keys, coming=signer.tenures.coming, keyring=keyring)
    if report.problems:
        first = report.problems[0]
        kind: type[GravenError] = Disproved if report.disproved else Broken
        raise kind(
            f"what was rebuilt does not verify: {first.what}", place=first.place, mend="another copy, another mirror"
        )
    return healed


def discard(directory: Path) -> None:
    """Take away what was built."""
    shutil.rmtree(directory, ignore_errors=True)


def _open(data: bytes, tenures: Tenures, where: str) -> SignedCheckpoint:
    try:
        return tenures.open(data, verify_signature)
    except (BadInput, Disproved) as error:
        raise Disproved(f"no checkpoint of this log: {error.what}", place=where) from None


def _fetch_from(mirrors: Sequence[tuple[str, Site]]) -> Callable[[str, int], bytes | None]:
    def fetch(path: str, size_max: int) -> bytes | None:
        silent: Broken | None = None
        for _, site in mirrors:
            try:
                data = site.get(path, size_max)
            except Broken as error:
                silent = error
                continue
            if data is not None:
                return data
        if silent is not None:
            raise silent
        return None

    return fetch
