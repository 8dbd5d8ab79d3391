"""The thread that empties the outbox, batch by batch, in order.

What may pass by itself (no answer, busy) is tried again for as long as the client is open: the queue is bounded, so a
server that is away holds `send` up, and loses nothing. A batch that is refused because of an event is cut in halves
until that event stands alone. Anything else stops the sending: a wrong receipt, a token that is not taken.
"""

import logging
import threading
from collections.abc import Callable

from graven.client.answer import Answer
from graven.client.outbox import Outbox
from graven.client.retry import persist
from graven.client.transport import NoAnswer
from graven.core.errors import Broken, Busy, GravenError
from graven.event import Refusal

_LOGGER = logging.getLogger("graven.client")


class Sender:
    """Sends what is in `outbox`, one request at a time, as long as it is open.

    `asking` makes of a batch the attempt to append it, which may be called again and again; `on_answer` hears of each
    answer, on the sender's thread.
    """

    def __init__(
        self,
        outbox: Outbox,
        asking: Callable[[list[bytes]], Callable[[], Answer]],
        *,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> None:
        self._outbox, self._asking, self._on_answer = outbox, asking, on_answer
        self._thread = threading.Thread(target=self._run, name="graven-client", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the request that is under way, after the outbox was closed."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (batch := self._outbox.next_batch()) is not None:
            try:
                self._deliver(batch)
            except GravenError as error:
                if not self._outbox.closed:
                    _LOGGER.error("sending stopped: %s", error)
                self._outbox.fail(error)
            except BaseException as error:  # a fault in here or in `on_answer`: stop and say so, never die in silence
                _LOGGER.exception("sending stopped")
                failure = Broken(f"sending stopped by a fault: {type(error).__name__}", mend="flush() tries again")
                failure.__cause__ = error
                self._outbox.fail(failure)

    def _deliver(self, batch: list[bytes]) -> None:
        try:
            answer = persist(self._asking(batch), retries=None, stopped=self._outbox.pause, trouble=self._note_trouble)
        except Refusal as error:
            if len(batch) == 1:
                self._outbox.refuse(error)
            else:
                self._deliver(batch[: len(batch) // 2])
                self._deliver(batch[len(batch) // 2 :])
            return
        self._outbox.trouble = None
        self._outbox.settle(len(batch))
        if self._on_answer is not None:
            self._on_answer(answer)

    def _note_trouble(self, error: NoAnswer | Busy) -> None:
        if self._outbox.trouble is None:
            _LOGGER.warning("events wait: %s", error)
        self._outbox.trouble = error
