"""The receipt of a commit, signed on a thread of its own while the disk makes the commit durable.

    begin(the tree that is being written) → the writer syncs its frame, and this thread signs → take() the receipt

A lone client waits for a sync and a signature, one of which needs no processor: this lets it wait for the longer of the
two. Whoever begins holds what comes until the frame is durable, and drops it if that fails, so nobody is promised more
than before. One owner: the writer.
"""

import threading

from graven.keys.receipts import ReceiptSigner


class PromiseAhead:
    """`begin`, then `take` or `drop`, in turns. The thread begins with the first and ends with `stop`."""

    def __init__(self, receipts: ReceiptSigner) -> None:
        self._receipts = receipts
        self._asked, self._done = threading.Lock(), threading.Lock()  # as signals: no condition is as quick
        self._asked.acquire()
        self._done.acquire()
        self._tree: tuple[int, bytes] | None = None
        self._receipt = b""
        self._error: Exception | None = None
        self._under_way = False
        self._thread: threading.Thread | None = None

    def begin(self, size: int, root: bytes) -> None:
        """Sign the receipt of this tree, beside the caller."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="graven-receipts", daemon=True)
            self._thread.start()
        self._tree, self._under_way = (size, root), True
        self._asked.release()

    def take(self) -> bytes | None:
        """The receipt that was begun; None if none was. Raises as `ReceiptSigner.sign`."""
        if not self._under_way:
            return None
        self._done.acquire()
        self._under_way = False
        if self._error is not None:
            raise self._error
        return self._receipt

    def drop(self) -> None:
        """Forget what was begun: its tree did not come to be."""
        if self._under_way:
            self._done.acquire()
            self._under_way = False

    def stop(self) -> None:
        self.drop()
        if self._thread is not None:
            self._tree = None
            self._asked.release()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while True:
            self._asked.acquire()
            if self._tree is None:
                return
            try:
                self._receipt, self._error = self._receipts.sign(*self._tree), None
            except Exception as error:
                self._error = error
            self._done.release()
