"""`graven signer`: the process that has a log's signing keys, as another user than the server.

It holds a keyring of its own with the signing keys, the mark and the hand-overs, and no data key. Over a Unix socket it
signs trees that grow from the one it signed last, which the asker has to prove, and certificates of receipt keys for
bounded sizes. So who owns the server's process can append to the log through it, and cannot fork it, roll it back,
sign another text, or carry a key away. It never reads the log.

Who is on the other end is what the kernel says (SO_PEERCRED): a user that is not allowed is not answered. Requests are
bounded in size, time and number; each connection is one request.
"""

import contextlib
import json
import os
import socket
import stat
import struct
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from graven.core.checkpoint import Checkpoint
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.merkle import verify_consistency
from graven.core.note import format_vkey
from graven.core.receipt import Certificate, format_certificate
from graven.keys.signature import verify_signature
from graven.keys.signer import LogSigner
from graven.keys.signer_protocol import (
    REQUEST_BYTES_MAX,
    Certify,
    Hello,
    Request,
    Sign,
    format_error,
    parse_request,
    read_line,
)
from graven.runtime.clock import US_PER_S, Clock, SystemClock
from graven.runtime.telemetry import get_logger

CERTIFIED_SIZES_MAX = 1 << 24
AHEAD_SIZES_MAX = 1 << 22
"""How far beyond the tree signed last receipts may be committed."""
CONNECTIONS_MAX = 16
REQUEST_TIMEOUT_S = 5.0

logger = get_logger("signer")


class Signing:
    """The rules: what is signed for whoever may ask. Threads may share it."""

    def __init__(self, signer: LogSigner, clock: Clock | None = None) -> None:
        self._signer, self._clock = signer, clock or SystemClock()
        self._lock = threading.Lock()

    def answer(self, request: Request) -> dict[str, object]:
        """Do what is asked. Raises Broken, Disproved, BadInput for what is refused."""
        signer = self._signer
        with self._lock:
            match request:
                case Hello():
                    tenures, highest = signer.tenures, signer.highest()
                    return {
                        "origin": signer.origin,
                        "keys": [format_vkey(key) for key in tenures.keys],
                        "coming": [format_vkey(key) for key in tenures.coming],
                        "handovers": [note.decode() for note in signer.handovers],
                        "known": signer.mark_known,
                        "highest": None if highest is None else highest.decode(),
                    }
                case Sign():
                    return {"note": self._sign(request).decode()}
                case Certify():
                    return {"note": self._certify(request).decode()}

    def _sign(self, asked: Sign) -> bytes:
        highest = self._signer.highest()
        if highest is not None:
            last = self._signer.tenures.open(highest, verify_signature).checkpoint
            if 0 < last.size < asked.size:
                try:
                    verify_consistency(
                        asked.proof, old=last.size, new=asked.size, old_root=last.root, new_root=asked.root
                    )
                except Disproved as error:
                    raise Disproved(
                        f"a tree of {asked.size} entries does not grow from the {last.size} signed before, as far as "
                        f"is shown: {error.what}; it is not signed"
                    ) from None
        now_s = self._clock.now_us() // US_PER_S
        return self._signer.sign_checkpoint(Checkpoint(self._signer.origin, asked.size, asked.root), now_s)

    def _certify(self, asked: Certify) -> bytes:
        highest = self._signer.highest()
        size = self._signer.tenures.open(highest, verify_signature).checkpoint.size if highest is not None else 0
        if asked.last - asked.first > CERTIFIED_SIZES_MAX or asked.first > size + AHEAD_SIZES_MAX:
            raise BadInput("a receipt key is certified for a bounded number of sizes, from about where the log is")
        certificate = Certificate(self._signer.origin, asked.vkey, asked.first, asked.last)
        return self._signer.sign_text(format_certificate(certificate))


class SignerServer:
    """Answers over a socket. `serve` runs until `stop`."""

    def __init__(self, signing: Signing, path: Path, users: Collection[int], *, mode: int = 0o660) -> None:
        """Listen at `path`, for processes of the user ids `users`.

        Raises BadInput: another signer listens there, the path is taken, or cannot be made.
        """
        self._signing, self._path, self._users = signing, path, frozenset(users)
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._stopping = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            _clear(path)
            before = os.umask(0o177)
            try:
                self._socket.bind(str(path))
            finally:
                os.umask(before)
            path.chmod(mode)
            self._socket.listen(CONNECTIONS_MAX)
            self._socket.settimeout(0.2)
        except OSError as error:
            self._socket.close()
            raise BadInput(f"the socket cannot be made: {error.strerror}", place=str(path)) from None

    def serve(self) -> None:
        """Answer until `stop`. Then the socket is gone."""
        try:
            while not self._stopping.is_set():
                try:
                    connection, _ = self._socket.accept()
                except TimeoutError:
                    continue
                self._slots.acquire()
                threading.Thread(target=self._handle, args=(connection,), name="graven-signer", daemon=True).start()
        finally:
            self._socket.close()
            with contextlib.suppress(OSError):
                self._path.unlink()

    def stop(self) -> None:
        self._stopping.set()

    def _handle(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(REQUEST_TIMEOUT_S)
                pid, uid = _peer(connection)
                line = read_line(connection, REQUEST_BYTES_MAX)
                if uid not in self._users:
                    logger.warning("a user that is not allowed asked", extra={"fields": {"uid": uid, "pid": pid}})
                    answer: dict[str, object] = format_error(BadInput("this user may not ask the signer"))
                else:
                    answer = self._answer(line)
                connection.sendall(json.dumps(answer).encode() + b"\n")
        except (OSError, BadInput) as error:
            logger.warning("a connection was given up", extra={"fields": {"why": type(error).__name__}})
        finally:
            self._slots.release()

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            return self._signing.answer(parse_request(line))
        except GravenError as error:
            logger.warning("refused", extra={"fields": {"why": error.what}})
            return format_error(error)
        except Exception as error:  # an invariant failed: nothing was signed
            logger.exception("a request failed")
            return format_error(Broken(f"the signer failed: {type(error).__name__}"))


def serve(signing: Signing, path: Path, users: Collection[int], *, ready: Callable[[SignerServer], None]) -> None:
    """Listen, say so, and answer until stopped."""
    server = SignerServer(signing, path, users)
    ready(server)
    server.serve()


def _peer(connection: socket.socket) -> tuple[int, int]:
    """(process, user) at the other end, as the kernel says."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", data)
    return pid, uid


def _clear(path: Path) -> None:
    """Take away a socket nobody listens on. Raises BadInput for anything else that is there."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise BadInput("something that is no socket is there already", place=str(path))
    except FileNotFoundError:
        return
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        probe.connect(str(path))
    except OSError:
        path.unlink()
        return
    finally:
        probe.close()
    raise BadInput("another signer listens there", place=str(path))
