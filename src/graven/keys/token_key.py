"""A signing key in a token: the line of the keyring that stands for it, and what signs with it.

    PKCS11+KEY+<vkey> <pkcs11 URI>

The line holds no secret. The vkey is what counts: a key that the token shows in its place, after a mix-up of tokens or
a thief's work, makes signatures that do not verify, and they never leave this module. Nothing is loaded before the
first signature is asked for, so who reads or verifies a log runs no module's code.
"""

import threading
from dataclasses import replace

from graven.core.errors import BadInput, Broken, Busy, Disproved, GravenError
from graven.core.note import ED25519, Key, format_vkey, parse_vkey
from graven.keys.signature import verify_signature
from graven.keys.token import Held, Module, open_module, read_pin
from graven.keys.token_uri import NO_ACCESS, Access, TokenUri, format_token_uri, parse_token_uri

PREFIX = "PKCS11+KEY+"

_CHALLENGE = b"graven/token-key/1\n"
"""Signed once when a key is taken into a keyring; no note of a log begins so."""


class TokenKey:
    """What a `SigningKey` signs with when its private half is in a token. Threads may share it."""

    def __init__(self, key: Key, uri: TokenUri) -> None:
        self._key, self._uri = key, uri
        self._lock = threading.Lock()
        self._module: Module | None = None
        self._held: Held | None = None
        self._generation = -1

    @property
    def place(self) -> str:
        """Which key in which token."""
        return self._uri.place

    def open(self) -> None:
        """See to it that the token is there and signs with this key. Raises BadInput, Busy, Broken."""
        self._verified(_CHALLENGE)

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature, verified. Raises Busy while the token does not sign, whatever the reason: nothing was
        signed then, and a later attempt may do better. Broken: it signs with another key."""
        try:
            return self._verified(message)
        except BadInput as error:
            raise Busy(error.what, retry_after_s=5, place=error.place, mend=error.mend) from None

    def _verified(self, message: bytes) -> bytes:
        with self._lock:
            signature = self._signed(message)
        try:
            verify_signature("ed25519", self._key.public, signature, message)
        except (Disproved, BadInput):
            raise Broken(
                "the token signed with another key than the log's", place=self._uri.place,
                mend="which key is it? graven vkey; pkcs11-tool -O --login",
            ) from None  # fmt: skip
        return signature

    def _signed(self, message: bytes) -> bytes:
        module = self._module
        if module is None:
            module = self._module = open_module(self._uri)
        if self._held is not None and self._generation == module.generation:
            try:
                return self._once(module, message)
            except Busy:  # the session was lost, most likely: from the start, once
                self._held = None
                module.ask(module.begin_anew)
        self._find(module)
        return self._once(module, message)

    def _find(self, module: Module) -> None:
        pin = read_pin(self._uri)
        try:
            self._held = module.ask(lambda: module.find(self._uri, pin))
        except GravenError:
            self._held = None
            module.ask(module.begin_anew)
            self._held = module.ask(lambda: module.find(self._uri, pin))
        self._generation = module.generation

    def _once(self, module: Module, message: bytes) -> bytes:
        held = self._held
        assert held is not None
        return module.ask(lambda: module.sign(held, message))


def token_line(uri: TokenUri, name: str, access: Access = NO_ACCESS, *, make: bool = False) -> str:
    """The line of a key in a token, which signs once to show that it can. `name` is the log's.

    `make`: it is made now, and must not be there. `access` goes before what the URI says, and not into the line. Raises
    BadInput, Busy, Broken; BadInput also for a key that the token would give out.
    """
    if make and uri.object is None:
        raise BadInput("a key that is made needs a label", place=uri.place, mend="object=LABEL")
    here = with_access(uri, access)
    module, pin = open_module(here), read_pin(here)
    held = module.ask(lambda: (module.make if make else module.find)(here, pin))
    if held.public is None:
        raise BadInput(
            "the token does not show the public half of this key", place=uri.place,
            mend="store its public key object beside it, under the same CKA_ID",
        )  # fmt: skip
    if held.extractable:
        raise BadInput(
            "the token would give this key to whoever asks: then it is no better kept than in a file", place=uri.place,
            mend="a key with CKA_EXTRACTABLE false; --make-key makes one",
        )  # fmt: skip
    key = Key(name, ED25519, held.public)
    TokenKey(key, here).open()
    return format_line(key, uri)


def is_token_line(line: str) -> bool:
    return line.startswith(PREFIX)


def format_line(key: Key, uri: TokenUri) -> str:
    return f"{PREFIX}{format_vkey(key)} {format_token_uri(uri)}"


def parse_line(line: str) -> tuple[Key, TokenUri]:
    """The key and where it is. Raises BadInput for anything but the one spelling."""
    vkey, _, text = line.removeprefix(PREFIX).partition(" ")
    key, uri = parse_vkey(vkey), parse_token_uri(text)
    if not is_token_line(line) or key.type != ED25519 or format_line(key, uri) != line:
        raise BadInput("not the line of a key in a token")
    return key, uri


def with_access(uri: TokenUri, access: Access) -> TokenUri:
    """The URI as this host gets at it."""
    return replace(uri, access=access.over(uri.access))
