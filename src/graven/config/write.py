"""Writing a configuration: as a file for people, and as flat values for the log."""

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from textwrap import wrap

import msgspec
import tomlkit
from msgspec import structs
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from graven.config.model import TABLES, ClassConfig, Config, default_of, describe, knobs, sections
from graven.config.section import Section
from graven.core.errors import BadInput

COMMENT_WIDTH = 100


def format_config(config: Config) -> str:
    """The file of a configuration: what differs from the defaults, and every other knob as a comment with its default.

    `parse_config` of it gives the same values.
    """
    document = tomlkit.document()
    _add_comment(document, "Graven's configuration; docs/configuration.md says more of every key.")
    _add_comment(document, "A key that is a comment has the value shown, its default.")
    for knob in knobs(Config):
        _add_knob(document, knob, getattr(config, knob.name))
    document.add(tomlkit.nl())
    for name, kind in TABLES.items():
        if tables := getattr(config, name):
            document.add(name, _format_tables(kind, tables))
    for field in sections():
        section = getattr(config, field.name)
        table = tomlkit.table()
        _add_comment(table, str(type(section).__doc__))
        for knob in knobs(type(section)):
            _add_knob(table, knob, getattr(section, knob.name))
        table.add(tomlkit.nl())
        document.add(field.name, table)
    return tomlkit.dumps(document).rstrip("\n") + "\n"


def with_values(text: str, section: str, values: Mapping[str, object]) -> str:
    """The text of a configuration file with these values of one section; everything else stays as it is, byte for byte.

    Raises BadInput: no TOML, or the section is none.
    """
    try:
        document = tomlkit.parse(text)
        table = document.setdefault(section, tomlkit.table())
        if not isinstance(table, Table):
            raise ValueError(f"{section} is no section")
        for name, value in values.items():
            table[name] = _plain(value)
        return tomlkit.dumps(document)
    except (ValueError, TOMLKitError) as error:
        raise BadInput(f"the configuration cannot be changed: {error}") from None


def set_vkeys(text: str, vkeys: Sequence[str], next_vkeys: Sequence[str]) -> str:
    """The file `text` with these public keys; the rest, comments too, as it was."""
    document = tomlkit.parse(text)
    document["vkeys"] = list(vkeys)
    if next_vkeys:
        document["next_vkeys"] = list(next_vkeys)
    else:
        document.pop("next_vkeys", None)
    return tomlkit.dumps(document)


def flatten(config: Config) -> dict[str, str]:
    """Every value by its dotted path, as text: for the event that says the configuration changed.

    Text stands as it is, numbers and booleans as in TOML, lists as JSON; a key without a value is left out.
    """
    return dict(_leaves(msgspec.to_builtins(config), ()))


def config_sha256(config: Config) -> str:
    """SHA-256, in hex, of `flatten` as JSON with sorted keys and no spaces: the same for the same values."""
    text = json.dumps(flatten(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


def show(value: object) -> str:
    """A value as the file spells it; `…` for none."""
    return '"…"' if value is None else tomlkit.item(_plain(value)).as_string()


def _add_knob(target: tomlkit.TOMLDocument | Table, knob: structs.FieldInfo, value: object) -> None:
    target.add(tomlkit.nl())
    _add_comment(target, describe(knob))
    if value != default_of(knob) or knob.name == "format":
        target.add(knob.name, _plain(value))
    else:
        target.add(tomlkit.comment(f"{knob.name} = {show(value)}"))


def _add_comment(target: tomlkit.TOMLDocument | Table, text: str) -> None:
    for line in wrap(text, COMMENT_WIDTH):
        target.add(tomlkit.comment(line))


def _format_tables(kind: type[Section], sections: Mapping[str, Section]) -> Table:
    tables = tomlkit.table(is_super_table=True)
    for name, section in sections.items():
        table = tomlkit.table()
        _add_comment(table, str(kind.__doc__))
        for knob in knobs(kind):
            if kind is ClassConfig:
                table.add(knob.name, _plain(getattr(section, knob.name)))
            else:
                _add_knob(table, knob, getattr(section, knob.name))
        table.add(tomlkit.nl())
        tables.add(name, table)
    return tables


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        table.update(value)
        return table
    return list(value) if isinstance(value, tuple) else value


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, str):
        yield ".".join(path), value
    elif value is not None:
        yield ".".join(path), json.dumps(value, ensure_ascii=False)
