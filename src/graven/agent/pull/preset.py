"""What the audit log of a service looks like, declared: a request, how it is signed, where records and pages are.

A preset is TOML with the sections below. In texts `{name}` stands for a value: those of the configuration's `values`,
the preset's own defaults, and `{from}` and `{until}` in the preset's format of times. Everything unknown is refused.
"""

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from graven.core.errors import BadInput

PRESET_BYTES_MAX = 64 << 10

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_OWN = frozenset({"from", "until", "secret"})
_WITH_CLIENT = ("basic", "client_credentials")


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class RequestPart(Part, frozen=True, kw_only=True):
    """The first request of a window. `begin`: sent once, before the first window (its refusal is no failure)."""

    url: str
    method: Literal["GET", "POST"] = "GET"
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: str = ""
    begin: str = ""


class RecordsPart(Part, frozen=True, kw_only=True):
    """Where records are in an answer (`path`, dotted; "" for the answer itself), and what tells them apart (`id`).

    `follow`: the elements are not the records but name, under this path, addresses where lists of them are.
    """

    path: str = ""
    id: tuple[str, ...]
    follow: str = ""


class PagingPart(Part, frozen=True, kw_only=True):
    """Where the next page is: a Link header, an address or a cursor in the answer, or a header that holds one.

    A cursor is given as the query parameter `parameter`. "last": so is the id of the last record, as long as a page
    holds any, and of the first query only the parameters in `keep` stay.
    """

    kind: Literal["none", "link", "url", "cursor", "header", "last"] = "none"
    path: str = ""
    parameter: str = ""
    keep: tuple[str, ...] = ()


class TimePart(Part, frozen=True, kw_only=True):
    """Windows of time: how times are written, and how late a service may be."""

    format: Literal["rfc3339", "seconds", "epoch_s", "epoch_ms", "none"] = "rfc3339"
    window_s: Annotated[int, Meta(ge=60, le=31 * 86_400)] = 3_600
    overlap_s: Annotated[int, Meta(ge=0, le=7 * 86_400)] = 300
    delay_s: Annotated[int, Meta(ge=0, le=86_400)] = 10
    history_s_max: Annotated[int, Meta(ge=60)] = 180 * 86_400


class AuthPart(Part, frozen=True, kw_only=True):
    """How a request shows who asks. The secret is a file the configuration names."""

    kind: Literal["none", "header", "basic", "client_credentials", "client_assertion", "jwt_bearer"]
    header: str = "Authorization"
    value: str = "Bearer {secret}"
    token_url: str = ""
    scope: str = ""
    audience: str = ""
    issuer: str = ""
    subject: str = ""
    parameters: dict[str, str] = {}


class Preset(Part, frozen=True, kw_only=True):
    """A whole preset. `type` is the source type of its records; `hosts` may be asked beside the request's own."""

    type: str
    about: str
    values: dict[str, str] = {}
    hosts: tuple[str, ...] = ()
    request: RequestPart
    records: RecordsPart
    paging: PagingPart = PagingPart()
    time: TimePart = TimePart()
    auth: AuthPart

    def check(self, values: Mapping[str, str], place: str) -> None:
        """Raises BadInput for a placeholder nobody fills, or a value no placeholder asks for."""
        text = msgspec.json.encode(self).decode()
        asked = set(_PLACEHOLDER.findall(text)) - _OWN
        if self.auth.kind in _WITH_CLIENT:
            asked.add("client_id")
        given = set(values) | set(self.values)
        if missing := asked - given:
            raise BadInput(f"a value is missing: {', '.join(sorted(missing))}", place=place, mend="under `values`")
        if unknown := set(values) - asked:
            raise BadInput(f"a value that is not asked for: {', '.join(sorted(unknown))}", place=place)


def preset_names() -> list[str]:
    """The presets that are shipped."""
    return sorted(path.name.removesuffix(".toml") for path in _shipped().iterdir() if path.name.endswith(".toml"))


def load_preset(name: str, file: Path | None = None) -> Preset:
    """A shipped preset, or one of a user's own. Raises BadInput."""
    if file is not None:
        try:
            return parse_preset(file.read_bytes()[: PRESET_BYTES_MAX + 1], place=str(file))
        except OSError as error:
            raise BadInput("the preset cannot be read", place=f"{file}: {error.strerror}") from None
    if name not in preset_names():
        raise BadInput(f"there is no preset {name!r}", mend="one of: " + ", ".join(preset_names()))
    return parse_preset((_shipped() / f"{name}.toml").read_bytes(), place=name)


def parse_preset(data: bytes, *, place: str) -> Preset:
    """The preset a TOML text spells. Raises BadInput."""
    if len(data) > PRESET_BYTES_MAX:
        raise BadInput(f"a preset of more than {PRESET_BYTES_MAX} bytes", place=place)
    try:
        tree: dict[str, Any] = tomllib.loads(data.decode())
        return msgspec.convert(tree, Preset)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"the preset is not TOML: {error}", place=place) from None
    except msgspec.ValidationError as error:
        raise BadInput(f"the preset cannot be used: {error}", place=place, mend="docs/pullers.md") from None


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders filled; one that has no value stays empty. Values are not looked at again."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], ""), text)


def _shipped() -> Any:
    return resources.files("graven.agent.pull") / "presets"
