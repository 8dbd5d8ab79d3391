"""Keeping anchors: time stamps asked for at their intervals, and every anchor obtained put into the log.

    a checkpoint is published → an authority is due → asked, the answer verified → kept in anchors/, durably
    → its event rides on the next block (`Writer.ride`)
    witnesses cosigned → an event of their lines rides on the next block

**Nothing here makes a block, so an idle log does not grow.** An anchor's event would make a checkpoint, which would be
anchored, which would be an event, and so on for ever: therefore it waits for a block that somebody else's event makes,
and an authority is asked only about a tree that it has not stamped. What waited when the process ended is found in
anchors/, and rides after the next start. The one exception is said aloud: where the newest stamp's certificate is about
to end and its event is not in the tree yet, `graven.anchor.renewal` is appended, once a certificate.

A request may wait for a stamp (`want`): then one authority is asked before its interval is over, but at most every
`DEMAND_S` seconds, and not while it fails.

Publishing never waits for an authority. When one is due is kept in `authority_state`, what is said of it in
`anchor_events`, and the host's clock beside the anchors' in `clock_alarm`.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graven.anchor.authority import NoStamp, TimeAuthority
from graven.anchor.stored import StoredName, keep_anchor, list_anchors, read_anchor
from graven.core.anchored import RFC3161, Anchored
from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import BadInput, Broken, GravenError
from graven.core.handover import Tenures
from graven.core.note import Key, format_signature
from graven.core.timestamp import Stamp, verify_token
from graven.core.x509 import NotTrusted
from graven.journal.files import Files
from graven.keys.signature import verify_signature
from graven.log import acts
from graven.log.anchor_events import AnchorEvents, Ride
from graven.log.authority_state import RETRY_S, AuthorityState
from graven.log.brought import judge_brought
from graven.log.clock_alarm import ClockAlarm
from graven.log.registers import ANCHORED_MAX, Registers
from graven.runtime.clock import US_PER_S, Clock
from graven.runtime.telemetry import get_logger

RENEWAL_PAUSE_S = 86_400.0
STOP_S_MAX = 1.0
DEMAND_S = 10.0
"""An authority is asked on demand at most this often, whoever demands."""
_LOOK_S = 60.0

logger = get_logger("anchors")

Append = Callable[[str, Mapping[str, object]], object]


@dataclass(frozen=True, slots=True)
class AnchorLimits:
    """See docs/configuration.md, [time]."""

    clock_bound_us: int = 5_000_000
    renew_us: int = 30 * 86_400_000_000
    witness_deadline_us: int = 0


class Anchoring:
    """The anchors of one log that is open for writing. `start` asks authorities on a thread of its own."""

    def __init__(
        self,
        directory: Path,
        authorities: Sequence[TimeAuthority],
        *,
        files: Files,
        clock: Clock,
        limits: AnchorLimits,
        published: Callable[[], SignedCheckpoint],
        ride: Ride,
        append: Append,
        registers: Registers,
        tenures: Callable[[], Tenures],
    ) -> None:
        self._directory, self._files, self._clock, self._limits = directory, files, clock, limits
        self._tenures = tenures
        self._published, self._append, self._registers = published, append, registers
        self._events = AnchorEvents(directory, ride, clock)
        self.clock_alarm = ClockAlarm(self._events, bound_us=limits.clock_bound_us)
        self.states = [AuthorityState(authority) for authority in authorities]
        self._wanted = -1
        self._after: list[Callable[[int], None]] = []
        self._one = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="graven-anchors", daemon=True)
        self._recover()

    def start(self) -> None:
        """Ask the authorities from now on, if there are any."""
        if any(state.settings.url for state in self.states):
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S_MAX)  # one that waits for a slow authority takes nothing any more
        for state in self.states:
            state.authority.close()

    def wake(self) -> None:
        """Another tree is published. Cheap; any thread."""
        self._wake.set()

    @property
    def may_stamp(self) -> bool:
        """Whether there is an authority that can be asked."""
        return any(state.settings.url for state in self.states)

    @property
    def stamped_size(self) -> int:
        """The largest tree that any authority has stamped; -1 before the first."""
        return max((state.size for state in self.states), default=-1)

    def want(self, size: int) -> None:
        """Somebody waits for a stamp over a tree of at least `size`, which is published. Cheap; any thread."""
        self._wanted = max(self._wanted, size)
        self._wake.set()

    def after_stamp(self, callback: Callable[[int], None]) -> None:
        """Call `callback(size of the largest stamped tree)` after each stamp that was kept, on whatever thread."""
        self._after.append(callback)

    def stamp_over(self, size: int) -> dict[str, object] | None:
        """The earliest of the authorities' newest stamps over a tree of at least `size`: authority, time, size."""
        good = [state for state in self.states if state.size >= size]
        if not good:
            return None
        first = min(good, key=lambda state: state.time_us)
        return {"authority": first.settings.name, "time": acts.rfc3339(first.time_us), "size": first.size}

    def witnessed(self, signed: SignedCheckpoint, witnesses: Sequence[Key], *, fresh: bool = True) -> None:
        """Cosignatures came for a published note: their event rides. `fresh` False: nobody knows when they came."""
        newest: dict[str, tuple[Key, int]] = {}
        for one in signed.signed:
            if one.key in witnesses and one.time is not None:
                before = newest.get(one.key.name)
                # Of a witness with two keys the short line: it says the same, and the note is kept whole elsewhere.
                if before is None or len(one.key.public) < len(before[0].public):
                    newest[one.key.name] = one.key, one.time
        if not newest:
            return
        time_us = max(time_s for _, time_s in newest.values()) * US_PER_S
        if fresh:
            now_us = self._clock.now_us()
            for name, (_, time_s) in newest.items():
                began_us = now_us - self._limits.witness_deadline_us
                self.clock_alarm.compare(
                    name, began_us=began_us, ended_us=now_us,
                    earliest_us=time_s * US_PER_S, latest_us=(time_s + 1) * US_PER_S,
                )  # fmt: skip
        if time_us <= self._registers.cosigned_us:
            return  # nothing that the log does not say already
        keys = {(key.name, key.id) for key, _ in newest.values()}
        lines = [format_signature(line) for line in signed.note.signatures if (line.name, line.key_id) in keys]
        self._events.cosignatures(signed.checkpoint, lines, time_us, None)

    def stamp(self, name: str | None = None) -> list[dict[str, object]]:
        """Ask every authority with a URL (or the one of this name) for a stamp of the published checkpoint, now.

        Returns a row for each: authority, size, time and expires of its stamp, or why there is none. Raises BadInput:
        no such authority; Broken: it cannot be kept.
        """
        states = [
            state for state in self.states if (state.settings.url if name is None else name == state.settings.name)
        ]
        if not states:
            what = "no time authority is configured" if name is None else f"no authority is called {name!r}"
            raise BadInput(what, mend="[authorities.NAME] url, ca_file in graven.toml")
        with self._one:
            return [self._row(state, self._ask(state)) for state in states]

    def bring(self, data: bytes, *, request: bytes | None = None, checkpoint: bytes | None = None) -> dict[str, object]:
        """Take an anchor that came by file, once it is judged (`log/brought.py`); its event rides.

        Returns what was taken: file, type, size, time, by. Raises BadInput, Disproved; Broken: it cannot be kept.
        """
        found = judge_brought(
            data, directory=self._directory, tenures=self._tenures(), published=self._published(),
            authorities=[state.settings for state in self.states], request=request, checkpoint=checkpoint,
        )  # fmt: skip
        with self._one:
            stored = self._keep(
                found.anchored, by=found.by, time_us=found.time_us, stamp=found.stamp, lines=found.lines
            )
        return {
            "file": stored.path, "type": found.anchored.type, "size": stored.size,
            "time": acts.rfc3339(found.time_us), "by": found.by,
        }  # fmt: skip

    def status(self) -> list[dict[str, object]]:
        """A row for each authority: how it does, and the newest stamp."""
        now_us = self._clock.now_us()
        return [state.row(now_us, renew_us=self._limits.renew_us) for state in self.states]

    @property
    def trouble(self) -> str | None:
        """What is worth a look, in one line."""
        if (clock := self.clock_alarm.trouble) is not None:
            return clock
        now_us, renew_us = self._clock.now_us(), self._limits.renew_us
        troubles = ((state, state.trouble(now_us, renew_us=renew_us)) for state in self.states)
        return next((f"{state.settings.name}: {why}" for state, why in troubles if why), None)

    def _row(self, state: AuthorityState, answer: Stamp | str) -> dict[str, object]:
        row: dict[str, object] = {"authority": state.settings.name, "size": self._published().checkpoint.size}
        if isinstance(answer, str):
            return row | {"time": None, "expires": None, "why": answer}
        return row | {"time": acts.rfc3339(answer.time_us), "expires": acts.rfc3339(answer.expires_us), "why": None}

    def _recover(self) -> None:
        """What each authority stamped last, and the anchors whose events are not in the log yet."""
        named = set(self._registers.anchored)
        newest = list_anchors(self._directory)[-ANCHORED_MAX:]
        for stored in newest:
            try:
                anchored = read_anchor(self._directory, stored)
                if anchored.token is None:
                    if stored.path not in named:
                        self._events.stored_cosignatures(anchored, stored)
                    continue
                stamp, name = self._verify_stored(anchored)
            except (GravenError, OSError) as error:
                logger.warning(
                    "a stored anchor was passed over", extra={"fields": {"file": stored.path, "why": str(error)}}
                )
                continue
            if stored.path not in named:
                self._events.token(anchored, stamp, name, stored)
            for state in self.states:
                if state.settings.name == name and stamp.time_us >= state.time_us:
                    state.stamped(stamp, stored, self._clock.now_us())

    def _verify_stored(self, anchored: Anchored) -> tuple[Stamp, str]:
        """A kept stamp, and the authority it leads to. Raises Disproved: none that is configured."""
        assert anchored.token is not None
        for state in self.states:
            try:
                stamp = verify_token(
                    anchored.token, anchored.checkpoint, roots=state.settings.roots, verify=verify_signature
                )
            except NotTrusted:
                continue
            return stamp, state.settings.name
        raise NotTrusted("a time stamp of an authority that is not configured")

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            wait_s = _LOOK_S
            for state in self.states:
                if state.settings.url and not self._stopping.is_set():
                    try:
                        with self._one:
                            wait_s = min(wait_s, self._attend(state))
                    except GravenError as error:
                        logger.error("an anchor could not be kept", extra={"fields": {"why": str(error)}})
                        state.next_s = time.monotonic() + RETRY_S
            self._wake.wait(max(wait_s, 0.05))
            if self._wake.is_set():
                self._stopping.wait(0.05)

    def _attend(self, state: AuthorityState) -> float:
        """Ask if it is due; returns in how many seconds to look again."""
        now_s = time.monotonic()
        grew = self._published().checkpoint.size > state.size
        if self._should_renew(state, now_s):
            state.renewed_s = now_s
            self._ask(state, renew=not grew)
        elif (demand_s := self._demanded_in(state, now_s)) <= 0:
            state.demanded_s = now_s
            self._ask(state)
        elif now_s < state.next_s:
            return min(state.next_s - now_s, demand_s)
        elif grew or state.failures:
            self._ask(state)
        else:
            return _LOOK_S
        return max(0.0, state.next_s - time.monotonic())

    def _demanded_in(self, state: AuthorityState, now_s: float) -> float:
        """In how many seconds this authority is to be asked because somebody waits; infinite where nobody does."""
        if state.failures or self._wanted <= self.stamped_size:
            return math.inf
        return 0.0 if state.demanded_s is None else state.demanded_s + DEMAND_S - now_s

    def _should_renew(self, state: AuthorityState, now_s: float) -> bool:
        """Whether the newest stamp's certificate ends soon, and nobody asked for a better one today."""
        if not state.expires_us or state.expires_us - self._clock.now_us() >= self._limits.renew_us:
            return False
        if state.renewed_s is not None and now_s - state.renewed_s < RENEWAL_PAUSE_S:
            return False
        if state.file not in self._registers.anchored and state.renewing_us != state.expires_us:
            state.renewing_us = state.expires_us  # once a certificate: its stamp comes into the tree first
            self._append(acts.ANCHOR_RENEWAL, {"authority": state.settings.name, "expires_us": state.expires_us})
            return False
        return True

    def _ask(self, state: AuthorityState, *, renew: bool = False) -> Stamp | str:
        published = self._published()
        began_us, began_s = self._clock.now_us(), time.monotonic()
        try:
            stamp = state.authority.stamp(published.data)
        except NoStamp as error:
            self._failed(state, str(error))
            return str(error)
        if self._stopping.is_set():
            return "the log is being closed"
        took_us = int((time.monotonic() - began_s) * US_PER_S)
        self.clock_alarm.compare(
            state.settings.name, began_us=began_us, ended_us=began_us + took_us,
            earliest_us=stamp.earliest_us, latest_us=stamp.latest_us,
        )  # fmt: skip
        state.next_s = time.monotonic() + state.settings.interval_s
        if renew and stamp.expires_us <= state.expires_us:
            return stamp  # still the same certificate: nothing is gained
        self._keep(
            Anchored(RFC3161, stamp.token, published.data),
            by=state.settings.name, time_us=stamp.time_us, stamp=stamp,
        )  # fmt: skip
        if state.failures:
            data = {"authority": state.settings.name, "since_us": state.since_us, "failures": state.failures}
            self._events.tell(f"back {state.settings.name} {state.since_us}", acts.ANCHOR_BACK, data)
            logger.info("a time authority stamps again", extra={"fields": data})
        state.failures, state.why = 0, ""
        return stamp

    def _failed(self, state: AuthorityState, why: str) -> None:
        if not state.failed(why, self._clock.now_us()):
            return
        data = {"authority": state.settings.name, "why": why, "since_us": state.since_us}
        logger.warning("a time authority gave no stamp", extra={"fields": data})
        self._events.tell(f"outage {state.settings.name} {state.since_us}", acts.ANCHOR_OUTAGE, data)

    def _keep(
        self, anchored: Anchored, *, by: str, time_us: int, stamp: Stamp | None, lines: Sequence[str] = ()
    ) -> StoredName:
        try:
            stored = keep_anchor(self._files, self._directory, anchored, time_s=time_us // US_PER_S)
        except OSError as error:
            place = f"{error.filename or self._directory}: {error.strerror}"
            raise Broken("an anchor could not be kept", place=place) from None
        if stored.path in self._registers.anchored:
            return stored
        if stamp is None:
            self._events.cosignatures(anchored.head, lines, time_us, stored)
            return stored
        self._events.token(anchored, stamp, by, stored)
        for state in self.states:
            if state.settings.name == by:
                state.stamps += 1
                if stamp.time_us >= state.time_us:
                    state.stamped(stamp, stored, self._clock.now_us())
        for callback in self._after:
            callback(self.stamped_size)
        return stored
