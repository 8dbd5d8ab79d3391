"""The agent: sources read in turn, batches spooled, the spool delivered.

    sources ─ take ─► gathering ─ sign ─► spool (durable) ─ delivery thread ─► server

One loop reads; it waits only for time, never for the network. When the spool is full, sources are left alone: what
they hold waits where it is. Stopping spools what was gathered; nothing is lost whenever the process ends, because what
is not spooled is read again.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from graven.agent.batching import Gathering, spool_batch
from graven.agent.config import AgentConfig
from graven.agent.delivery import Delivery
from graven.agent.doors.door import Door
from graven.agent.identity import Identity, load_identity
from graven.agent.notices import SOURCE_FAILED, SPOOL_DAMAGED, STARTED, notice
from graven.agent.receipts import ReceiptKeeper
from graven.agent.source import Source, Taken
from graven.agent.sources import open_doors, open_sources
from graven.agent.spool import Spool
from graven.agent.status import STATUS_S, write_status
from graven.client.transport import Transport
from graven.core.errors import Broken, Busy, GravenError
from graven.log.lock import Lock
from graven.runtime.clock import Clock, SystemClock
from graven.runtime.files import Files, LocalFiles, make_dir, make_dirs

IDLE_S = 0.1
FULL_S = 0.25
WAITED_S = 0.01
"""How long a record whose sender waits for its answer waits for others."""

_LOGGER = logging.getLogger("graven.agent")


class Agent:
    """One agent over its state directory, which it locks. Make it, `run` it, `close` it.

    Raises:
        BadInput: not enrolled, a configuration that cannot be used. Broken: the spool; another agent holds the state.
    """

    def __init__(self, config: AgentConfig, *, files: Files | None = None, clock: Clock | None = None) -> None:
        self.config = config
        state = Path(config.state)
        self._lock = Lock(state, wait_s=0)
        self.identity: Identity
        try:
            self.identity = load_identity(state)
            self._clock, self._files = clock or SystemClock(), files or LocalFiles()
            self.spool = Spool(self._files, state, bytes_max=config.spool.max_bytes)
            self._transport = agent_transport(config)
            self.receipts = ReceiptKeeper(self._files, state, self.identity, self._transport)
            self.delivery = Delivery(
                self.spool, self.identity, self._transport, self._clock,
                heartbeat_s=config.heartbeat_s, receipts=self.receipts,
            )  # fmt: skip
            self._stop, self._wake = threading.Event(), threading.Event()
            sources = open_sources(config, self.spool.places)
            self.doors: Sequence[Door] = open_doors(config, self._wake.set, self._clock)
            self.sources: Sequence[Source] = [*sources, *self.doors]
        except BaseException:
            self._lock.release()
            raise
        self._held: deque[Taken] = deque()
        self._failed: set[str] = set()
        self._told_s = -STATUS_S

    def run(self, *, until_sent: bool = False, deliver: bool = True) -> None:
        """Work until `stop`. `until_sent`: also end when sources gave nothing more and all was sent.

        Raises OutOfStep, Broken: nothing more can be sent, or spooled.
        """
        gathering, began_s = self._gathering(), time.monotonic()
        gathering.add(notice(STARTED, "the agent started", {"sources": [source.name for source in self.sources]}))
        for place in self.spool.damaged:
            gathering.add(notice(SPOOL_DAMAGED, "an entry of the spool cannot be read back", {"place": place}))
        if deliver:
            self.delivery.start()
        linger_s = self.config.batch.linger_ms / 1000
        while not self._stop.is_set():
            if self.delivery.failure is not None:
                raise self.delivery.failure
            self._tell()
            if not self.spool.has_room:
                self._stop.wait(FULL_S)
                continue
            found = self._take(gathering, self.sources)
            now_s = time.monotonic()
            quiet = not found and until_sent and all(getattr(source, "ended", True) for source in self.sources)
            waits_s = min(linger_s, WAITED_S) if gathering.is_waited_for else linger_s
            full = gathering.is_full or self._held
            if gathering.records and (full or quiet or now_s - began_s >= waits_s):
                if not self._spool(gathering):
                    self._stop.wait(FULL_S)
                    continue
                gathering, began_s = self._gathering(), time.monotonic()
            elif not gathering.records:
                began_s = now_s
                if quiet and not self.spool.waiting_bytes:
                    return
            if not found:
                self._wake.wait(min(IDLE_S, waits_s) if linger_s else IDLE_S / 10)
                self._wake.clear()
        self._finish(gathering)

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()

    def goodbye(self) -> None:
        """Say that this agent will not come back, after everything was sent. Raises as an exchange does."""
        self.delivery.beat("goodbye")

    def close(self) -> None:
        self.delivery.stop()
        for source in self.sources:
            source.close()
        self.spool.close()
        self._transport.close()
        self._lock.release()

    def _take(self, gathering: Gathering, sources: Sequence[Source]) -> bool:
        """Gather what there is, as long as a batch can hold it; the rest is held for the next."""
        found = bool(self._held)
        for source in sources:
            while self._held and gathering.fits(self._held[0]):
                gathering.add(self._held.popleft())
            if self._held or gathering.is_full:
                return True
            try:
                taken = source.take(gathering.room_bytes)
                self._failed.discard(source.name)
            except (OSError, GravenError, ValueError) as error:
                if source.name not in self._failed:
                    self._failed.add(source.name)
                    _LOGGER.error("%s cannot be read: %s", source.name, error)
                    data = {"source": source.name, "why": type(error).__name__}
                    self._held.append(notice(SOURCE_FAILED, f"{source.name} cannot be read", data))
                continue
            found = found or any(one.count for one in taken)
            self._held += taken
        while self._held and gathering.fits(self._held[0]):
            gathering.add(self._held.popleft())
        return found

    def _finish(self, gathering: Gathering) -> None:
        """Spool what was gathered, and what came to the doors before they were shut."""
        for door in self.doors:
            door.finish()
        while True:
            found = self._take(gathering, self.doors)
            if gathering.records and not self._spool(gathering):
                return
            gathering = self._gathering()
            if not found:
                return

    def _tell(self) -> None:
        if (now_s := time.monotonic()) - self._told_s >= STATUS_S:
            self._told_s = now_s
            write_status(self._files, Path(self.config.state), self.spool, self.delivery, self._clock)

    def _spool(self, gathering: Gathering) -> bool:
        if not gathering.records:
            return True
        try:
            spool_batch(self.spool, self.identity, gathering, self._clock)
            gathering.tell()
            return True
        except Busy as error:
            _LOGGER.warning("batches wait: %s", error)
            return False

    def _gathering(self) -> Gathering:
        return Gathering(records_max=self.config.batch.records, bytes_max=self.config.batch.bytes)


def agent_transport(config: AgentConfig) -> Transport:
    """The way to the server. Raises BadInput."""
    return Transport(
        config.server, token=None, token_file=None, ca_file=config.ca_file,
        timeout_s=config.timeout_s, allow_http=config.allow_http,
    )  # fmt: skip


def make_state(path: Path, files: Files) -> None:
    """The state directory, mode 0700. Raises Broken."""
    try:
        make_dirs(files, str(path.parent))
        make_dir(files, str(path))
    except OSError as error:
        raise Broken("the state directory cannot be made", place=f"{path}: {error.strerror}") from None
