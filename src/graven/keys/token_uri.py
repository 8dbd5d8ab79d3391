"""`pkcs11:` URIs (RFC 7512): which key in which token, by which module, and where its PIN is.

    pkcs11:token=graven;object=log-2026?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/graven/pin

Strict: the attributes below and no others, each once, a module by its absolute path, a PIN by the file it is in. A
`pin-value` is refused, for a URI stands in files, events and command lines; no error repeats a URI that is refused.
"""

import re
from dataclasses import dataclass, fields
from urllib.parse import unquote_to_bytes

from graven.core.errors import BadInput

SCHEME = "pkcs11:"
URI_CHARS_MAX = 2_048
VALUE_BYTES_MAX = 255
SLOTS_MAX = 1 << 63

_PATH = {"token", "manufacturer", "serial", "model", "slot-id", "object", "id", "type"}
_QUERY = {"module-path", "pin-source"}
_ATTRIBUTE = re.compile(r"([a-z][a-z-]*)=((?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|&]|%[0-9A-Fa-f]{2})*)", re.ASCII)
_SLOT = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:[]@!$'()*+,/")
_EXAMPLE = "pkcs11:token=LABEL;object=LABEL?module-path=/PATH/MODULE.so&pin-source=file:/PATH/PIN"


@dataclass(frozen=True, slots=True)
class Access:
    """How this host gets at a token: None where it is said elsewhere, or not needed. `pin_private`: others may not read
    the PIN's file."""

    module: str | None = None
    pin_file: str | None = None
    pin_private: bool = True

    def over(self, other: "Access") -> "Access":
        """What this one says, and what only the other does."""
        if self.pin_file is not None:
            return Access(self.module or other.module, self.pin_file, self.pin_private)
        return Access(self.module or other.module, other.pin_file, other.pin_private)


NO_ACCESS = Access()


@dataclass(frozen=True, slots=True)
class TokenUri:
    """What a URI says; None is what it leaves open. Only `id` is not text."""

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    slot_id: int | None = None
    object: str | None = None
    id: bytes | None = None
    access: Access = NO_ACCESS

    @property
    def names_key(self) -> bool:
        return self.object is not None or self.id is not None

    @property
    def place(self) -> str:
        """The URI without how to get at it: for people, errors and logs."""
        return format_token_uri(TokenUri(*(getattr(self, field.name) for field in fields(self)[:-1])))


def parse_token_uri(text: str) -> TokenUri:
    """What the URI of a key says. Raises BadInput, which never shows the text."""
    uri = _parse(text)
    if not uri.names_key:
        raise _refusal("it names no key", mend=f"object=LABEL or id=%XX…: {_EXAMPLE}")
    return uri


def parse_access(text: str) -> Access:
    """What `pkcs11:?module-path=…&pin-source=…` says, which names no key. Raises BadInput."""
    uri = _parse(text)
    if uri != TokenUri(access=uri.access):
        raise _refusal(
            "the keyring names the key; here stands only how this host gets at it",
            mend="pkcs11:?module-path=/PATH/MODULE.so&pin-source=file:/PATH/PIN",
        )
    return uri.access


def format_token_uri(uri: TokenUri) -> str:
    """The URI, in one spelling: `parse_token_uri` of it gives the same."""
    path: list[tuple[str, str | bytes | None]] = [
        ("token", uri.token), ("manufacturer", uri.manufacturer), ("serial", uri.serial), ("model", uri.model),
        ("slot-id", None if uri.slot_id is None else str(uri.slot_id)), ("object", uri.object), ("id", uri.id),
    ]  # fmt: skip
    pin = None if uri.access.pin_file is None else f"file:{uri.access.pin_file}"
    query: list[tuple[str, str | bytes | None]] = [("module-path", uri.access.module), ("pin-source", pin)]
    asked = "&".join(_spell(name, value) for name, value in query if value is not None)
    return SCHEME + ";".join(_spell(name, value) for name, value in path if value is not None) + (asked and f"?{asked}")


def _parse(text: str) -> TokenUri:
    if not text.startswith(SCHEME) or len(text) > URI_CHARS_MAX:
        raise _refusal(f"it does not begin with {SCHEME}, or is longer than {URI_CHARS_MAX} characters", mend=_EXAMPLE)
    path, _, query = text.removeprefix(SCHEME).partition("?")
    found = _attributes(path, ";", _PATH) | _attributes(query, "&", _QUERY)
    slot, kind = found.get("slot-id"), found.get("type")
    if slot is not None and (not _SLOT.fullmatch(_text(slot)) or int(slot) >= SLOTS_MAX):
        raise _refusal("slot-id is no number")
    if kind not in (None, b"private"):
        raise _refusal("it is not of a private key", mend="type=private, or no type")
    module, pin = (
        None if (value := found.get(name)) is None else _text(value) for name in ("module-path", "pin-source")
    )
    if module is not None and not module.startswith("/"):
        raise _refusal("module-path is not absolute", mend="module-path=/usr/lib/…/MODULE.so")
    texts = {
        name: _text(found[name]) for name in ("token", "manufacturer", "serial", "model", "object") if name in found
    }
    return TokenUri(
        **texts, slot_id=None if slot is None else int(slot), id=found.get("id"),
        access=Access(module, None if pin is None else _pin_file(pin)),
    )  # fmt: skip


def _attributes(text: str, separator: str, known: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        if part.partition("=")[0] == "pin-value":
            raise _refusal("a PIN must not stand in a URI", mend="pin-source=file:/PATH, a file of mode 0600")
        match = _ATTRIBUTE.fullmatch(part)
        if match is None or match[1] not in known:
            name = match[1] if match is not None else None
            what = f"{name} is no attribute that is known here" if name else "an attribute is not name=value"
            raise _refusal(what, mend=f"{', '.join(sorted(known))}; other bytes as %XX")
        if match[1] in found:
            raise _refusal(f"{match[1]} stands there twice")
        value = found[match[1]] = unquote_to_bytes(match[2])
        if not 0 < len(value) <= VALUE_BYTES_MAX * (4 if known is _QUERY else 1):
            raise _refusal(f"{match[1]} is empty or too long")
    return found


def _pin_file(source: str) -> str:
    path = source.removeprefix("file:")
    if path.startswith("///"):
        path = path[2:]
    if not path.startswith("/") or path.startswith("//"):
        raise _refusal("pin-source names no file", mend="pin-source=file:/PATH")
    return path


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
        raise _refusal("a value is not text", mend="UTF-8, as %XX where it is not plain")
    return text


def _spell(name: str, value: str | bytes) -> str:
    data = value.encode() if isinstance(value, str) else value
    plain = _PLAIN if name != "id" else frozenset[int]()
    return f"{name}=" + "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in data)


def _refusal(what: str, *, mend: str = "") -> BadInput:
    return BadInput(f"this URI of a key in a token is refused: {what}", place=SCHEME, mend=mend)
