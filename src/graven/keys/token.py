"""Tokens (PKCS #11): one module of a hardware security module, its sessions, Ed25519 keys in it that sign.

`python-pkcs11` speaks to the module, which is code of somebody else in this process. So everything goes through one
thread a module, with a deadline: a module that hangs is an answer ("does not answer"), not a log that hangs. Only what
signs loads one, never what reads or verifies.

A session that is lost is opened again: the library begun anew, the token looked for, its PIN given, the key found. A
PIN that the token refused is not given a second time while its file stays the same, for tokens lock after a few.
Handles of objects may mean another key after that; so every signature is verified before it is believed (token_key.py).

Raises, all through: BadInput for what an operator must mend (no module, no PIN, no such key), Busy for a token that is
away or does not answer.
"""

import contextlib
import os
import queue
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from graven.core.errors import BadInput, Broken, Busy, GravenError
from graven.keys.token_uri import TokenUri

if TYPE_CHECKING:
    import pkcs11

ANSWER_TIMEOUT_S = 10.0
PIN_BYTES_MAX = 256
RETRY_S = 5

_ED25519_OID = bytes.fromhex("06032b6570")
_ED25519_NAME = b"\x13\x0cedwards25519"
_POINT_HEADS = (b"", b"\x04\x20", b"\x03\x21\x00")
"""What stands before the 32 bytes of a public key: nothing, or it is a DER octet string, or a DER bit string."""

_Found = TypeVar("_Found")
_modules: dict[str, "Module"] = {}
_modules_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Held:
    """A private key found in a token: its public half as the token says (32 bytes), None where it does not; whether the
    token would give it out."""

    handle: Any
    public: bytes | None
    extractable: bool


@dataclass(frozen=True, slots=True)
class Pin:
    """A PIN and where it came from. Never shown."""

    text: str
    file: str
    stamp: tuple[int, int, int]

    def __repr__(self) -> str:
        return f"Pin(hidden, {self.file!r})"


class Module:
    """A loaded module. `generation` counts how often it was begun: what was found before is worth nothing after."""

    def __init__(self, path: str) -> None:
        """Use `open_module`."""
        self.path = path
        self.generation = 0
        self._library: Any = None
        self._sessions: dict[int, Any] = {}
        self._refused: set[tuple[str, tuple[int, int, int], int]] = set()
        self._pid = os.getpid()
        self._one = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="graven-token", daemon=True).start()

    def ask(self, work: Callable[[], _Found]) -> _Found:
        """What `work` answers, on the module's own thread. Raises Busy when it does not answer in time, and until it
        does; what `work` raises, errors of the token as ours."""
        if self._pid != os.getpid():
            raise Broken("a token is not used across a fork", place=self.path, mend="start again")
        answers: list[_Found] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                answers.append(work())
            except BaseException as error:
                errors.append(error)
            finally:
                self._idle.set()

        with self._one:
            if not self._idle.is_set():
                raise _away("the token has not answered what was asked before", self.path)
            self._idle.clear()
            self._asked.put(run)
            if not self._idle.wait(ANSWER_TIMEOUT_S):
                raise _away("the token does not answer", self.path)
        if errors:
            raise _translated(errors[0], self.path) from None
        return answers[0]

    def find(self, uri: TokenUri, pin: Pin | None) -> Held:
        """The one private Ed25519 key that the URI names. On the module's thread."""
        found = self._find(uri, self._session(uri, pin))
        if found is None:
            raise BadInput("the token has no Ed25519 key of this name", place=uri.place, mend="pkcs11-tool -O --login")
        return found

    def sign(self, held: Held, message: bytes) -> bytes:
        """On the module's thread. Raises what the module does: nothing is known then."""
        import pkcs11

        return bytes(held.handle.sign(message, mechanism=pkcs11.Mechanism.EDDSA))

    def make(self, uri: TokenUri, pin: Pin | None) -> Held:
        """A new key in the token, which never leaves it. On the module's thread. Raises BadInput where one is there."""
        import pkcs11

        assert uri.object is not None
        session = self._session(uri, pin, write=True)
        names = [{pkcs11.Attribute.LABEL: uri.object}, *([{pkcs11.Attribute.ID: uri.id}] if uri.id else [])]
        if any(list(session.get_objects(name)) for name in names):
            raise BadInput(
                "the token holds something of this name already, and nothing is written over", place=uri.place,
                mend="another object=LABEL; or, to take that key, leave out --make-key",
            )  # fmt: skip
        key_id = uri.id or os.urandom(8)
        private = {pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False}
        for parameters in (_ED25519_OID, _ED25519_NAME):  # by number, or by name: tokens take the one or the other
            domain = session.create_domain_parameters(
                pkcs11.KeyType.EC_EDWARDS, {pkcs11.Attribute.EC_PARAMS: parameters}, local=True
            )
            try:
                domain.generate_keypair(
                    store=True, label=uri.object, id=key_id, private_template=private,
                    capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
                )  # fmt: skip
                break
            except (pkcs11.exceptions.AttributeValueInvalid, pkcs11.exceptions.DomainParamsInvalid):
                if parameters is _ED25519_NAME:
                    raise
        return self.find(uri, pin)

    def begin_anew(self) -> None:
        """Forget every session and begin the library again. On the module's thread."""
        self.generation += 1
        self._sessions.clear()
        if self._library is not None and self._library.initialized:
            with contextlib.suppress(Exception):  # whatever state it is in: beginning again is what counts
                self._library.finalize()

    def _run(self) -> None:
        while True:
            self._asked.get()()

    def _load(self) -> Any:
        try:
            import pkcs11
        except ImportError:
            raise BadInput(
                "keys in tokens need a package that is not installed", place=self.path,
                mend="pip install 'graven[pkcs11]'",
            ) from None  # fmt: skip
        if self._library is None:
            try:
                self._library = pkcs11.lib(self.path)
            except pkcs11.exceptions.PKCS11Error as error:
                if type(error) is not pkcs11.exceptions.PKCS11Error:  # it was loaded, and could not begin
                    raise
                raise BadInput(f"this is no PKCS #11 module: {error}", place=self.path) from None
        self._library.initialize()
        return self._library

    def _session(self, uri: TokenUri, pin: Pin | None, *, write: bool = False) -> Any:
        library = self._load()
        import pkcs11

        token = self._token(library, uri)
        slot = token.slot.slot_id
        held = self._sessions.get(slot)
        if held is not None and (held.rw or not write):
            return held
        if held is not None:
            self.begin_anew()
            token = self._token(self._load(), uri)
        if pin is None and pkcs11.TokenFlag.LOGIN_REQUIRED in token.flags:
            raise BadInput(
                "the token asks for a PIN, and none is named", place=uri.place,
                mend="pin-source=file:/PATH in the URI or in [keys] log; or GRAVEN_PIN_FILE",
            )  # fmt: skip
        if pin is not None and (pin.file, pin.stamp, slot) in self._refused:
            raise _refused_pin(pin, uri)
        try:
            session = token.open(rw=write, user_pin=None if pin is None else pin.text)
        except pkcs11.exceptions.PinIncorrect:
            assert pin is not None
            self._refused.add((pin.file, pin.stamp, slot))
            raise _refused_pin(pin, uri) from None
        except pkcs11.exceptions.PinLocked:
            raise BadInput(
                "the token has locked its PIN after too many wrong ones", place=uri.place,
                mend="its security officer sets a new one; then start again",
            ) from None  # fmt: skip
        self._sessions[slot] = session
        return session

    def _token(self, library: Any, uri: TokenUri) -> Any:
        import pkcs11

        found = []
        for slot in library.get_slots(token_present=True):
            try:
                token = slot.get_token()
            except (pkcs11.exceptions.TokenNotPresent, pkcs11.exceptions.TokenNotRecognised):
                continue
            said = (
                (uri.token, token.label), (uri.manufacturer, token.manufacturer_id), (uri.model, token.model),
                (uri.serial, token.serial.decode("utf-8", "replace")), (uri.slot_id, slot.slot_id),
            )  # fmt: skip
            if all(asked is None or asked == is_ for asked, is_ in said) and (
                pkcs11.TokenFlag.TOKEN_INITIALIZED in token.flags
            ):
                found.append(token)
        if not found:
            raise _away("the token is not there", uri.place)
        if len(found) > 1:
            raise BadInput(f"{len(found)} tokens fit", place=uri.place, mend="say token=LABEL, and serial=NUMBER")
        return found[0]

    def _find(self, uri: TokenUri, session: Any) -> Held | None:
        import pkcs11

        named: dict[Any, Any] = {pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.EC_EDWARDS}
        named |= {} if uri.object is None else {pkcs11.Attribute.LABEL: uri.object}
        named |= {} if uri.id is None else {pkcs11.Attribute.ID: uri.id}
        private = list(session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, **named}))
        if len(private) > 1:
            raise BadInput(f"{len(private)} keys of the token fit", place=uri.place, mend="say id=%XX as well")
        if not private:
            return None
        key = private[0]
        if _attribute(key, pkcs11.Attribute.ALWAYS_AUTHENTICATE) is True:
            raise BadInput(
                "this key asks for its PIN at every signature, which a log cannot give", place=uri.place,
                mend="a key without CKA_ALWAYS_AUTHENTICATE",
            )  # fmt: skip
        public = _public(key)
        if public is None:
            by = {pkcs11.Attribute.ID: key_id} if (key_id := _attribute(key, pkcs11.Attribute.ID)) else named
            halves = session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY, **by})
            points = {point for half in halves if (point := _public(half)) is not None}
            public = points.pop() if len(points) == 1 else None
        return Held(key, public, _attribute(key, pkcs11.Attribute.EXTRACTABLE) is True)


def open_module(uri: TokenUri) -> Module:
    """The module that a URI names, one object a path. Raises BadInput: none, or one that others may change."""
    path = uri.access.module
    if path is None:
        raise BadInput(
            "no PKCS #11 module is named", place=uri.place,
            mend="module-path=/PATH/MODULE.so in the URI or in [keys] log",
        )  # fmt: skip
    try:
        real = str(Path(path).resolve(strict=True))
        status = Path(real).stat()
    except (OSError, RuntimeError):
        raise BadInput("there is no PKCS #11 module", place=path) from None
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
        raise BadInput(
            "this PKCS #11 module may be changed by others, and its code would run with the log's keys", place=path,
            mend="let root own it, and nobody else write to it",
        )  # fmt: skip
    with _modules_lock:
        module = _modules.get(real)
        if module is None:
            module = _modules[real] = Module(real)
        return module


def read_pin(uri: TokenUri) -> Pin | None:
    """The PIN in the file that a URI names: its text, without one newline at the end. Raises BadInput."""
    file = uri.access.pin_file
    if file is None:
        return None
    try:
        with Path(file).open("rb") as opened:
            status = os.fstat(opened.fileno())
            data = opened.read(PIN_BYTES_MAX + 3)
    except OSError as error:
        raise BadInput(f"the file with the token's PIN cannot be read: {error.strerror}", place=file) from None
    if uri.access.pin_private and stat.S_IMODE(status.st_mode) & 0o077:
        raise BadInput("the file with the token's PIN is open to others", place=file, mend=f"chmod 600 {file}")
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    if not 0 < len(data) <= PIN_BYTES_MAX or not text or "\n" in text or "\0" in text:
        raise BadInput(f"the token's PIN is one line of 1 to {PIN_BYTES_MAX} bytes, and this file is not", place=file)
    return Pin(text, file, (status.st_ino, status.st_mtime_ns, status.st_size))


def _public(key: "pkcs11.types.Key") -> bytes | None:
    import pkcs11

    point, parameters = (_attribute(key, name) for name in (pkcs11.Attribute.EC_POINT, pkcs11.Attribute.EC_PARAMS))
    if not isinstance(point, bytes) or parameters not in (None, b"", _ED25519_OID, _ED25519_NAME):
        return None
    return next((point[-32:] for head in _POINT_HEADS if point[:-32] == head and len(point) == 32 + len(head)), None)


def _attribute(key: Any, name: Any) -> Any:
    import pkcs11

    try:
        return key[name]
    except pkcs11.exceptions.PKCS11Error:
        return None


def _refused_pin(pin: Pin, uri: TokenUri) -> BadInput:
    return BadInput(
        "the token refuses the PIN; it is not tried again, for tokens lock after a few", place=uri.place,
        mend=f"put the right one into {pin.file}",
    )  # fmt: skip


def _translated(error: BaseException, place: str) -> BaseException:
    """The module's errors as ours: what they say is a name, never a secret."""
    if isinstance(error, GravenError):
        return error
    import pkcs11

    if isinstance(error, pkcs11.exceptions.PKCS11Error | pkcs11.exceptions.NoSuchKey):
        return _away(f"the token fails: {type(error).__name__}", place)
    return error


def _away(what: str, place: str) -> Busy:
    return Busy(
        f"{what}, so nothing is signed", retry_after_s=RETRY_S, place=place,
        mend="is it plugged in, reachable, unlocked? pkcs11-tool --list-slots; the log goes on when it is back",
    )  # fmt: skip
