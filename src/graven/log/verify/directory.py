"""A log's directory, verified: everything derived again from the journal, everything else compared with it.

    names → what was stated (checkpoints, marks) → the journal, chunk by chunk, with the tree's files → conclusions

What may change while a server writes is read in an order that keeps the answer true: what was stated first, then which
tiles there are, then the journal, which by then holds all of it. Nothing is ever written.
"""

from collections.abc import Sequence
from pathlib import Path

from graven.anchor.policies import kept_witness_keys
from graven.core.errors import BadInput, Broken, GravenError
from graven.core.handover import Tenures
from graven.core.note import Key
from graven.core.x509 import Certificate
from graven.keys.keyring import Keyring
from graven.keys.rootkeys import RECEIPT_FILE, SIGNING_FILES, load_signing_key
from graven.log.handovers import FOLDER, own_tenures, read_handovers
from graven.log.verify import acts, anchors, checkpoints, layout
from graven.log.verify.chain import Chain, Progress
from graven.log.verify.checkpoints import HistoryTask, Stated
from graven.log.verify.report import Findings, Report
from graven.log.verify.segments import Segment, open_segment
from graven.log.verify.tree import TreePlace, entries_under, format_path
from graven.runtime.pool import Pool, processes_default

ALONE_BYTES_MAX = 12 << 20
"""A journal up to this long is verified by one process: more would take longer to start than to finish."""


def verify_directory(
    directory: str | Path,
    *,
    keys: Sequence[Key],
    keyring: Keyring | None,
    own_keys: Sequence[Key] = (),
    coming: Sequence[Key] = (),
    witnesses: Sequence[Key] = (),
    since: bytes | None = None,
    time_roots: Sequence[Certificate] = (),
    progress: Progress | None = None,
    processes: int | None = None,
) -> Report:
    """Verify a log's directory. It collects what is wrong and goes on; damage never raises.

    `keys` are those the caller trusts the log by; `own_keys` are the others the log says are its own: they add no
    trust, but each must have signed too, at the sizes it is in office for, as the log's hand-overs say; `coming` are
    those the log says are to come, and may have signed. No third may have but witnesses, those in `witnesses` and those
    of the policies in the log's own `policies/`; their lines add no trust, and must be good. `keyring` None: no payload
    is opened; entries are taken from the bundles, and the frames' checksums and roots are checked against them. `since`
    is a checkpoint of this log that the caller kept: its tree must be the beginning of this one. `time_roots` are the
    certificates that its time authorities may lead to; without any, stamps must only hold together. `processes` None:
    one a core.

    Raises:
        BadInput: the directory is no log at all, no key is given, or `since` is no checkpoint of this log.
    """
    directory = Path(directory)
    if not any((directory / name).exists() for name in ("graven.toml", "journal", "log")):
        raise BadInput("there is no log here", place=str(directory), mend="give the directory `graven init` made")
    if not keys:
        raise BadInput("no key to verify by", mend="give the log's verifier key: --vkey")
    every = tuple(dict.fromkeys((*keys, *own_keys)))
    findings = Findings()
    try:
        tenures = own_tenures(directory, keyring, every, coming=[key for key in coming if key not in keys])
    except GravenError as error:
        findings.error(checkpoints.as_disproved(error, "a hand-over of the signing keys"), f"log/{FOLDER}")
        tenures = Tenures(every)
    else:
        checkpoints.check_handovers(read_handovers(directory / "log"), tenures, findings)
    kept = checkpoints.open_since(since, tenures, findings) if since is not None else None
    try:
        cosigners = tuple(dict.fromkeys((*witnesses, *kept_witness_keys(directory))))
        run = _Verification(
            directory, tenures, cosigners, keyring, findings, kept, progress, processes, tuple(time_roots)
        )
        return run.run()
    except Broken as error:  # a process died: what is known is told
        findings.error(error)
        return Report(findings.problems, findings.disproved, findings.broken, findings.notes, 0, 0, 0, "not checked")


class _Verification:
    def __init__(
        self,
        directory: Path,
        tenures: Tenures,
        witnesses: tuple[Key, ...],
        keyring: Keyring | None,
        findings: Findings,
        since: Stated | None,
        progress: Progress | None,
        processes: int | None,
        time_roots: tuple[Certificate, ...],
    ) -> None:
        self._directory, self._tenures, self._keyring, self._findings = directory, tenures, keyring, findings
        self._time_roots = time_roots
        self._witnesses, self._progress, self._processes = witnesses, progress, processes
        self._stated: list[Stated] = [since] if since is not None else []
        self._history: list[Stated] = []
        self._origin = tenures.keys[0].name

    def run(self) -> Report:
        findings, directory = self._findings, self._directory
        if not (directory / "graven.toml").is_file():
            findings.fail("a file of the log is missing", "graven.toml")
        history = layout.list_history(directory, findings)
        stored = layout.list_stored(directory, findings)
        certified = checkpoints.check_certificates(directory, self._tenures, findings)
        published, proven = checkpoints.read_published(directory, self._tenures, findings, self._witnesses)
        self._check_keyring()
        highest = checkpoints.read_highest(self._keyring, self._tenures, findings) if self._keyring else None
        mark, synced = checkpoints.read_marks(directory)
        size = self._published_size(published if proven else None, highest, history.newest, published)
        extras = layout.list_tree(directory, size, findings)
        journal = layout.list_journal(directory, findings)

        self._stated += [one for one in (published if proven else None, highest) if one is not None]
        if mark is not None:
            self._stated.append(Stated("the committed mark", "state/committed", mark.size, mark.root))
        sizes = {size, *(one.size for one in self._stated), *(one for _, one in history.notes)}
        wanted = tuple(sorted(sizes | {one.size for one in stored}))
        tree = TreePlace(str(directory / "log"), size, min(synced.size, size) if synced else size, extras)
        signed = max(size, highest.size if highest else 0, mark.size if mark else 0)
        chain = Chain(self._keyring, self._origin, tree, wanted, signed, findings, self._progress)
        opened = [open_segment(file, size) for file, size in journal.segments]
        with Pool(self._processes or self._processes_for(journal.size_bytes)) as pool:
            self._read_history(pool, [path for path, _ in history.notes])
            chain.walk(pool, opened)
            chain.fill(pool, size)
        for stated in self._stated:
            checkpoints.check_stated(stated, chain.roots, chain.end.index, findings)
        checkpoints.check_history(self._history, chain.roots, chain.end.index, findings)
        checkpoints.check_covered(directory, certified, chain.end.index, findings)
        anchored = anchors.read_stored(directory, stored, self._tenures, self._witnesses, self._time_roots, findings)
        for stated in anchored:
            checkpoints.check_stated(stated, chain.roots, chain.end.index, findings)
        self._check_acts(chain, journal, opened, history.predecessors)
        if self._keyring is not None:
            anchors.check_named([one.path for one in stored], chain.acts, findings)
        self._tell(chain, tree)
        payloads = "not checked"
        if self._keyring is not None:
            payloads = "all" if chain.opened == chain.end.index else f"{chain.opened} of {chain.end.index}"
        return Report(
            findings.problems, findings.disproved, findings.broken, findings.notes, chain.end.index,
            published.size if published is not None else 0, chain.opened, payloads,
        )  # fmt: skip

    @staticmethod
    def _processes_for(size_bytes: int) -> int:
        return 1 if size_bytes <= ALONE_BYTES_MAX else processes_default()

    def _published_size(
        self, proven: Stated | None, highest: Stated | None, newest: int, claimed: Stated | None
    ) -> int:
        """The size whose tree must be on disk; the next best word for it where the published checkpoint is lost."""
        if proven is not None:
            if newest > proven.size:
                what = f"the published checkpoint, of {proven.size} entries, is older than one in its history"
                self._findings.fail(what, "log/checkpoint", proven.size, newest)
            return proven.size
        return highest.size if highest is not None else newest or (claimed.size if claimed is not None else 0)

    def _check_keyring(self) -> None:
        """The signing keys open, and are those the log is believed by: a log whose keys are damaged cannot go on."""
        keyring = self._keyring
        if keyring is None:
            self._findings.note("payloads not checked: there is no keyring")
            return
        if keyring.origin != self._origin:
            self._findings.disprove(
                f"the keyring is of another log: expected {self._origin}, found {keyring.origin}", keyring.directory
            )
        for file in (RECEIPT_FILE,) if keyring.signs_elsewhere else SIGNING_FILES:
            place = f"{keyring.directory}/{file}"
            try:
                key = load_signing_key(keyring.signing_key(file), file, keyring.origin, place=place).key
            except GravenError as error:
                self._findings.fail(error.what, error.place or place)
                continue
            if key.name == self._origin and key not in self._tenures.every:
                self._findings.disprove("the keyring signs with a key the log is not believed by", place)

    def _read_history(self, pool: Pool, paths: list[str]) -> None:
        step = checkpoints.HISTORY_NOTES_A_TASK
        tasks = (
            HistoryTask(str(self._directory), tuple(paths[at : at + step]), self._tenures, self._witnesses)
            for at in range(0, len(paths), step)
        )
        for _, result in pool.ordered(checkpoints.verify_history, tasks):
            self._findings.merge(result.findings)
            self._history += result.stated

    def _check_acts(
        self, chain: Chain, journal: layout.Journal, opened: list[Segment], predecessors: list[str]
    ) -> None:
        findings, own, published = self._findings, chain.acts, chain.tree.published
        if self._keyring is None:
            if chain.slots:
                findings.note("erased slots were seen; without the keyring the events that name them are not")
            if journal.torn:
                findings.note("files in journal/torn were not checked: their events are sealed")
            return
        missed = acts.check_slots(chain.slots, own, published, chain.end.index, findings)
        for segment in opened:
            held = chain.held.get(segment.file.start)
            if held is not None:
                acts.check_keys(segment.file.start, segment.named(), held, missed, own, published, findings)
        files = [segment.file for segment in opened]
        acts.check_torn(self._directory, journal.torn, own, files, chain.end, findings)
        if 0 in chain.held and chain.log_id is not None:
            acts.check_genesis(own, self._tenures, self._origin, chain.log_id, chain.end.index, findings)
            acts.check_predecessors(self._directory, predecessors, own, findings)
        for note in self._keyring.notes:
            findings.note(note)
        for replica, count in self._keyring.replica_gaps().items():
            findings.note(f"the replica {replica} lacks {count} files of data keys, or holds others")

    def _tell(self, chain: Chain, tree: TreePlace) -> None:
        findings, end = self._findings, chain.end.index
        for extra in tree.extras:
            begin, behind = entries_under(extra)
            if behind > end:
                what = "files of a larger tree than the journal holds"
                findings.fail(what, format_path(extra), begin, behind, group=what)
        if chain.lost:
            lost = sorted(chain.lost)
            first, last = lost[0], lost[-1]
            findings.note(
                f"{len(chain.lost)} files of the tree that were never surely on disk are missing or empty "
                f"({first} … {last}): the next start writes them again"
            )
        if end > tree.published:
            findings.note(f"{end - tree.published} events committed, not yet published")
        if chain.unfollowed:
            findings.note(f"{chain.unfollowed} events behind the published tree: only their frames' checksums")
