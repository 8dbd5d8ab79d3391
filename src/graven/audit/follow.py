"""One round of an auditor: what is published now, held against everything this auditor saw before.

    checkpoint → signed by the log (kept from here on) → the policy's quorum → the tree seen before is its beginning
    (proved from tiles) → copied and derived up to its root → is it recent? → do the peers see the same log?

A round never raises for what it finds: it is told in `Round.problems`, each in its branch of errors. A fork is said
only where two signed trees prove it; tiles that lead nowhere are disproved and convict no log. A smaller tree that fits
the one seen before is `Broken`: a log brought back from a copy shows one. A fork once proved is told in every round,
until a person takes its evidence away.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graven.audit import stamps
from graven.audit.evidence import forks, keep_fork, keep_shrink
from graven.audit.mirror import Mirror, Stopped
from graven.audit.prefix import prefix_of
from graven.core.checkpoint import SignedCheckpoint, conflicting, open_checkpoint, parse_checkpoint
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.merkle import EMPTY_ROOT
from graven.core.note import MAX_NOTE_BYTES, parse_note
from graven.core.policy import Policy, shown
from graven.core.prefix import Prefix
from graven.core.succession import follow, served
from graven.core.x509 import Certificate
from graven.keys.signature import verify_signature
from graven.runtime.clock import US_PER_S, Clock, SystemClock
from graven.runtime.files import Files
from graven.runtime.site import HttpSite, Site


@dataclass(slots=True)
class Round:
    """What a round found. `size` and `root` are of the copy after it; `signed` its checkpoint, None before the first.
    `stamp_age_s`: how old the newest good time stamp is, None where none was looked for, or none was good.

    `age_s`: how long ago the newest checkpoint was made, as far as anybody trusted says, None before the first.
    """

    at_s: int
    origin: str = ""
    size: int = 0
    root: bytes = EMPTY_ROOT
    grown: int = 0
    witnesses: tuple[str, ...] = ()
    age_s: int | None = None
    stamp_age_s: int | None = None
    peers_agreed: int = 0
    checked: list[str] = field(default_factory=list)
    problems: list[GravenError] = field(default_factory=list)
    signed: SignedCheckpoint | None = None

    @property
    def exit_code(self) -> int:
        """0; 1 if anything is disproved; else that of the first problem."""
        if any(isinstance(one, Disproved) for one in self.problems):
            return Disproved.exit_code
        return self.problems[0].exit_code if self.problems else 0


class Follower:
    """Follows one log into one directory. Close it."""

    def __init__(
        self,
        site: Site,
        policy: Policy,
        directory: Path,
        *,
        peers: Sequence[HttpSite] = (),
        max_age_s: int | None = None,
        time_roots: Sequence[Certificate] = (),
        max_stamp_age_s: int | None = None,
        clock: Clock | None = None,
        stop: threading.Event | None = None,
        files: Files | None = None,
    ) -> None:
        """Raises BadInput: the policy names no log, or the directory cannot be used, or is of another log."""
        if not policy.logs:
            raise BadInput("a policy without a log", mend="add a line: log <vkey>")
        self._site, self._policy, self._peers, self._max_age_s = site, policy, tuple(peers), max_age_s
        self._time_roots, self._max_stamp_age_s = tuple(time_roots), max_stamp_age_s
        self._clock = clock or SystemClock()
        self.mirror = Mirror(directory, stop, files)
        self._last: SignedCheckpoint | None = None
        self._checked = False
        try:
            self._trust, _ = follow(policy, self.mirror.handovers(), verify_signature)
            if (data := self.mirror.checkpoint()) is not None:
                self._last = self._open(data)
        except (BadInput, Disproved) as error:
            self.mirror.close()
            raise BadInput(
                f"the copy here is not one that this policy trusts: {error.what}", place=str(directory),
                mend="give the policy it was made by, or another directory",
            ) from None  # fmt: skip

    def close(self) -> None:
        self.mirror.close()

    def round(self) -> Round:
        """Look once. Raises Stopped when told to end meanwhile."""
        found = Round(self._clock.now_us() // US_PER_S)
        try:
            self._follow(found)
        except Stopped:
            raise
        except GravenError as error:
            found.problems.append(error)
        except OSError as error:
            found.problems.append(Broken(f"the disk failed: {error.strerror}", place=str(self.mirror.directory)))
        if self._last is not None and self._checked:
            head = self._last.checkpoint
            found.origin, found.size, found.root, found.signed = head.origin, head.size, head.root, self._last
            for peer in self._peers:
                try:
                    self._compare(peer, self._last, found)
                    found.peers_agreed += 1
                except GravenError as error:
                    error.place = f"peer {peer.base}" + (f": {error.place}" if error.place else "")
                    found.problems.append(error)
        self._tell_of_forks(found)
        return found

    def _follow(self, found: Round) -> None:
        if self._last is not None and not self._checked:
            self._check_copy(self._last, found)
        data = self._site.get("checkpoint", MAX_NOTE_BYTES)
        if data is None:
            raise Broken("the server has no checkpoint", place="checkpoint")
        self._follow_keys(found)
        signed = self._opened(data)
        seen_s = self._keep_note(signed, found)
        found.checked.append("signatures of the log")
        found.witnesses = self._policy_at(signed.checkpoint.size).check(signed)
        found.checked.append(f"quorum {shown(self._policy.quorum)}")
        self._advance(signed, found)
        if self._time_roots:
            try:
                self._check_stamp(found)
            except Stopped:
                raise
            except GravenError as error:
                found.problems.append(error)
        self._check_age(signed, seen_s, found)

    def _follow_keys(self, found: Round) -> None:
        """Hand-overs of the log's keys that are new here: those that count are kept, and the old keys' office ends."""
        try:
            documents = list(served(self._site.get, after=self.mirror.handover_count))
        except Broken:  # it is as if there were none: the keys known so far stay in office
            return
        if not documents:
            return
        try:
            self._trust, relied = follow(self._trust, documents, verify_signature)
        except (BadInput, Disproved) as error:
            found.problems.append(Disproved(f"a hand-over that does not count: {error.what}", place="handover/"))
            return
        if relied:  # else they are of keys before those of the policy
            self.mirror.keep_handovers(documents)
        for one in relied:
            found.checked.append(f"hand-over of the log's keys at {one.handover.last} entries")

    def _policy_at(self, size: int) -> Policy:
        policy = self._trust.at(size)
        assert isinstance(policy, Policy)
        return policy

    def _check_copy(self, last: SignedCheckpoint, found: Round) -> None:
        """What is on disk must lead to its own checkpoint, whoever wrote to it meanwhile."""
        self.mirror.damaged.clear()
        self.mirror.check(self._site, last)
        self._checked = True
        found.checked.append(f"own copy of {last.checkpoint.size} entries")
        if self.mirror.damaged:
            places = ", ".join(self.mirror.damaged[:5])
            found.problems.append(
                Broken("the copy here was damaged, and was fetched anew", place=places, mend="check this disk")
            )

    def _advance(self, signed: SignedCheckpoint, found: Round) -> None:
        head, last = signed.checkpoint, self._last
        if last is not None:
            self._compare_with(self._site, last, signed, shown_smaller=True)
            found.checked.append(f"consistency from size {last.checkpoint.size}")
        elif head.size == 0 and head.root != EMPTY_ROOT:
            raise Disproved("a tree of no entries with a root that is not the empty tree's", place="checkpoint")
        before = self.mirror.tree.size
        if last is None or signed.data != last.data:
            self.mirror.grow(self._site, signed)
            self._last, self._checked = signed, True
        found.grown = head.size - before
        found.checked.append("entries derived to the root")

    def _compare_with(
        self, site: Site, last: SignedCheckpoint, other: SignedCheckpoint, *, shown_smaller: bool
    ) -> None:
        """Whether `other` and the copy are of one tree; `site` has the tiles of `other`. A fork is kept, and raised.

        With `shown_smaller`, an `other` that is an older tree is told of as well.
        """
        mine, theirs = last.checkpoint, other.checkpoint
        if mine.size == theirs.size:
            try:
                conflicting(last, other)
            except Disproved as error:
                error.place = self._keep_fork(last, other)
                raise
            return
        small, large = (last, other) if mine.size < theirs.size else (other, last)
        if small.checkpoint.size == 0:
            if small.checkpoint.root != EMPTY_ROOT:
                raise Disproved("a tree of no entries with a root that is not the empty tree's", place="checkpoint")
        else:
            prefix = prefix_of(site if large is other else self.mirror.folder, small.checkpoint.size, large)
            if prefix.root != small.checkpoint.root:
                place = self._keep_fork(small, prefix)
                raise Disproved(
                    f"this log forked: {mine.origin} signed a tree of {large.checkpoint.size} entries that does not "
                    f"begin with the tree of {small.checkpoint.size} it had signed",
                    expected=small.checkpoint.root.hex(), found=prefix.root.hex(), place=place,
                )  # fmt: skip
        if shown_smaller and theirs.size < mine.size:
            folder = keep_shrink(self.mirror.files, self.mirror.directory, last, other)
            raise Broken(
                f"the log shows an older tree than before: {theirs.size} entries, {mine.size} were seen",
                place=str(folder), mend="ask its operator; this copy can give back the entries it lost",
            )  # fmt: skip

    def _keep_note(self, signed: SignedCheckpoint, found: Round) -> int:
        """Keep a note; when it was first seen. A disk that fails is told of, and does not end the round: what the note
        shows may be worse."""
        try:
            return self.mirror.keep_note(signed, found.at_s)
        except OSError as error:
            place = f"{error.filename or self.mirror.directory}: {error.strerror}"
            found.problems.append(Broken("a checkpoint that was seen cannot be kept", place=place))
            return found.at_s

    def _keep_fork(self, a: SignedCheckpoint, b: SignedCheckpoint | Prefix) -> str:
        """Where the fork is kept. A disk that fails does not keep it from being told."""
        try:
            return str(keep_fork(self.mirror.files, self.mirror.directory, a, b))
        except Broken as error:
            return f"{error.what} ({error.place})"

    def _compare(self, peer: HttpSite, last: SignedCheckpoint, found: Round) -> None:
        data = peer.get("checkpoint", MAX_NOTE_BYTES)
        if data is None:
            raise Broken("the peer has no checkpoint")
        try:
            other = self._open(data)
        except (BadInput, Disproved) as error:
            raise Broken(f"the peer shows no checkpoint of this log: {error.what}") from None
        self._keep_note(other, found)
        try:
            self._compare_with(peer, last, other, shown_smaller=False)
        except Disproved as error:
            if "forked" in error.what:
                raise
            raise Broken(f"the peer cannot prove what it shows: {error.what}") from None

    def _check_age(self, signed: SignedCheckpoint, seen_s: int, found: Round) -> None:
        times = [one.time for one in signed.signed if one.time is not None]
        found.age_s = max(0, found.at_s - min([seen_s, max(times)] if times else [seen_s]))
        if self._max_age_s is None:
            return
        found.checked.append(f"a checkpoint at most {self._max_age_s} s old")
        if found.age_s > self._max_age_s:
            raise Broken(
                f"the log has stopped: its newest checkpoint is {found.age_s} s old, {self._max_age_s} s are allowed",
                place="checkpoint",
            )

    def _check_stamp(self, found: Round) -> None:
        """The newest time stamp the log shows: good by the auditor's own roots, and over a tree of this log."""
        assert self._last is not None
        stamped = stamps.look(self._site, self._time_roots, self._open, found.at_s)
        self._keep_note(stamped.signed, found)
        self._compare_with(self._site, self._last, stamped.signed, shown_smaller=False)
        stamps.keep(self.mirror.files, self.mirror.directory, stamped)
        found.stamp_age_s = stamped.age_s
        found.checked.append(stamped.told)
        if self._max_stamp_age_s is not None and stamped.age_s > self._max_stamp_age_s:
            raise Broken(
                f"the log is not stamped any more: its newest time stamp is {stamped.age_s} s old, "
                f"{self._max_stamp_age_s} s are allowed",
                place=stamps.NAME,
            )

    def _tell_of_forks(self, found: Round) -> None:
        told = [one.place for one in found.problems]
        for folder in forks(self.mirror.directory):
            if not any(str(folder) in place for place in told):
                what = "this log forked before, as this evidence proves"
                found.problems.append(Disproved(what, place=str(folder), mend="graven check on its two files"))

    def _opened(self, data: bytes) -> SignedCheckpoint:
        try:
            return self._open(data)
        except BadInput as error:
            raise Disproved(f"what is served as the checkpoint is none: {error.what}", place="checkpoint") from None

    def _open(self, data: bytes) -> SignedCheckpoint:
        """A checkpoint that a log of the policy signed, of the origin followed so far. Raises BadInput, Disproved."""
        policy = self._policy_at(parse_checkpoint(parse_note(data).text)[0].size)
        keys = [key for key, _ in policy.logs]
        cosigners = [witness.key for witness in policy.witnesses]
        signed = open_checkpoint(data, keys, verify_signature, cosigners=cosigners)
        if self._last is not None and signed.checkpoint.origin != self._last.checkpoint.origin:
            raise Disproved(
                "a checkpoint of another log", expected=self._last.checkpoint.origin, found=signed.checkpoint.origin
            )
        return signed
