"""A source of the user's own: a TOML text that says how JSON records of one kind are read. See docs/mapping.md.

    type, version            the source type's name, and the mapping's own version
    [match]                  has, lacks, equals: which records are of this type
    [fields]                 field of the model = path, or paths of which the first with a text counts
    [fixed]                  field = what it always is, where no path gave it
    [words.FIELD]            from (paths; without them: the action), table (what the source says = what the model says)
    [[targets]]              type, type_from, id, name, owner, each
    leave_out                keys of the record that are not kept under `data`

Strict: what is not known, or cannot be, is refused, with its place and what would be right.
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from graven.core.errors import BadInput
from graven.ingest.record import SURE
from graven.ingest.table import FIELDS, WORD_FIELDS, Match, Table, TargetRule, Words

__all__ = ["MAPPING_BYTES_MAX", "parse_mapping"]

MAPPING_BYTES_MAX = 256 << 10

_TYPE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_PATHS_MAX = 32
_ENTRIES_MAX = 2_000
_PATH_CHARS_MAX = 512
_TOP = ("type", "version", "match", "fields", "fixed", "words", "targets", "leave_out")
_MATCH = ("has", "lacks", "equals")
_TARGET = ("type", "type_from", "id", "name", "owner", "each")


def parse_mapping(text: str, *, place: str = "mapping", taken: Collection[str] = ()) -> Table:
    """The source type a mapping describes. `taken`: types that there are already.

    Raises BadInput: no TOML, an unknown key or field, a word the model does not have, no way to tell an action or a
    record of this type.
    """
    try:
        page = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise BadInput(f"the mapping is no TOML: {error}", place=place) from None
    _refuse_unknown(page, _TOP, place, "")
    return Table(
        type=_type(page, place, taken),
        version=_version(page, place),
        match=_match(page.get("match"), place),
        fields=_fields(page, place),
        fixed=dict(_fixed(page, place)),
        words={name: _words(name, said, place) for name, said in _pairs(page, "words", place, nested=False)},
        targets=tuple(_target(one, number, place) for number, one in enumerate(_list(page, "targets", place))),
        taken=frozenset(_texts(page.get("leave_out", []), f"{place}, leave_out")),
    )


def _type(page: Mapping[str, Any], place: str, taken: Collection[str]) -> str:
    name = page.get("type")
    if not isinstance(name, str) or not _TYPE.fullmatch(name):
        mend = "1 to 64 of the characters a-z, 0-9 and -, for example acme-billing"
        raise BadInput("the mapping does not name its type", place=f"{place}, type", mend=f'type = "…": {mend}')
    if name in taken:
        raise BadInput(f"there is a source type {name!r} already", place=f"{place}, type", mend="choose another name")
    return name


def _version(page: Mapping[str, Any], place: str) -> int:
    version = page.get("version", 1)
    if type(version) is not int or not 1 <= version <= 1_000_000:
        raise BadInput("the version is no number from 1 on", place=f"{place}, version", mend="version = 1")
    return version


def _match(said: object, place: str) -> Match:
    where = f"{place}, [match]"
    if not isinstance(said, dict):
        mend = '[match] has = ["a.path"], or equals = { "a.path" = ["value"] }'
        raise BadInput("the mapping does not say which records it is for", place=where, mend=mend)
    _refuse_unknown(said, _MATCH, place, "[match] ")
    equals = said.get("equals", {})
    if not isinstance(equals, dict):
        raise BadInput("equals is no table", place=where, mend='equals = { "a.path" = ["value"] }')
    found = Match(
        has=_paths(said.get("has", []), f"{where} has"),
        lacks=_paths(said.get("lacks", []), f"{where} lacks"),
        equals={path: _texts(values, f"{where} equals {path}") for path, values in _flat(equals)},
        score=SURE,
    )
    if not found.has and not found.equals:
        mend = "name a path that only these records have"
        raise BadInput("has and equals are empty: every record would be of this type", place=where, mend=mend)
    return found


def _fields(page: Mapping[str, Any], place: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, paths in _pairs(page, "fields", place):
        where = f"{place}, [fields] {name}"
        if name not in FIELDS:
            known = f"words go under [words.{name}]" if name in WORD_FIELDS else _near(name, FIELDS)
            raise BadInput(f"the model has no field {name!r} that a path can fill", place=where, mend=known)
        found[name] = _paths(paths, where)
    fixed = page.get("fixed")
    if not found.get("action") and not (isinstance(fixed, dict) and fixed.get("action")):
        mend = '[fields] action = "path.of.what.was.done"'
        raise BadInput("the mapping does not say what the action is", place=f"{place}, [fields]", mend=mend)
    return found


def _fixed(page: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    for name, value in _pairs(page, "fixed", place):
        where = f"{place}, [fixed] {name}"
        if name not in FIELDS | WORD_FIELDS.keys() or name in ("id", "time", "count", "bytes"):
            mend = _near(name, FIELDS | WORD_FIELDS.keys())
            raise BadInput(f"{name!r} cannot be always the same", place=where, mend=mend)
        if not isinstance(value, str) or not value:
            raise BadInput("the value is no text", place=where, mend="write it in quotes")
        _check_word(name, value, where)
        yield name, value


def _words(name: str, said: object, place: str) -> Words:
    where = f"{place}, [words.{name}]"
    if name not in WORD_FIELDS:
        raise BadInput(f"there is no table of words for {name!r}", place=where, mend="one of " + ", ".join(WORD_FIELDS))
    if not isinstance(said, dict):
        raise BadInput("this is no table", place=where, mend=f"[words.{name}.table]")
    _refuse_unknown(said, ("from", "table"), place, f"[words.{name}] ")
    table = said.get("table")
    if not isinstance(table, dict) or not table or len(table) > _ENTRIES_MAX:
        mend = f'[words.{name}.table] "what the source says" = "what the model says"'
        raise BadInput(
            f"the table of words is missing, or has more than {_ENTRIES_MAX} entries", place=where, mend=mend
        )
    for word, meaning in table.items():
        if not isinstance(meaning, str) or not meaning:
            raise BadInput(f"the meaning of {word[:64]!r} is no text", place=where, mend="write it in quotes")
        if word.strip("*").count("*"):
            raise BadInput(f"{word[:64]!r} has a star in its midst", place=where, mend="x*, *x, *x* or *")
        _check_word(name, meaning, where)
    return Words(table, _paths(said["from"], f"{where} from") if "from" in said else ())


def _check_word(name: str, word: str, where: str) -> None:
    allowed = WORD_FIELDS.get(name)
    if allowed and word not in allowed:
        near = get_close_matches(word, allowed, n=1)
        mend = (f"did you mean {near[0]}? " if near else "") + "one of " + ", ".join(sorted(allowed))
        raise BadInput(f"{word[:64]!r} is no {name}", place=where, mend=mend)


def _target(said: object, number: int, place: str) -> TargetRule:
    where = f"{place}, [[targets]] {number}"
    if not isinstance(said, dict):
        raise BadInput("this is no table", place=where, mend='[[targets]] type = "invoice", id = "invoice.id"')
    _refuse_unknown(said, _TARGET, place, "[[targets]] ")
    kind, each = said.get("type"), said.get("each", "")
    if not isinstance(kind, str | None) or not isinstance(each, str):
        raise BadInput("type and each are texts", place=where, mend='type = "invoice"; each = "path.of.a.list"')
    rule = TargetRule(
        type=kind,
        id=_paths(said.get("id", []), f"{where} id"),
        name=_paths(said.get("name", []), f"{where} name"),
        owner=_paths(said.get("owner", []), f"{where} owner"),
        type_paths=_paths(said.get("type_from", []), f"{where} type_from"),
        each=each,
    )
    if not rule.id and not rule.name:
        raise BadInput("a target needs the path of its id or of its name", place=where, mend='id = "invoice.id"')
    return rule


def _pairs(page: Mapping[str, Any], key: str, place: str, *, nested: bool = True) -> Iterator[tuple[str, Any]]:
    """The entries of a table; `actor.id = …` and `"actor.id" = …` are the same."""
    said = page.get(key, {})
    if not isinstance(said, dict):
        raise BadInput(f"{key} is no table", place=f"{place}, {key}", mend=f"[{key}]")
    if not nested:  # words.actor.type: its name has a dot
        for name, value in said.items():
            whole = name == "actor" and isinstance(value, dict) and "type" in value and "table" not in value
            yield ("actor.type", value["type"]) if whole else (name, value)
        return
    yield from _flat(said)


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _list(page: Mapping[str, Any], key: str, place: str) -> list[Any]:
    said = page.get(key, [])
    if not isinstance(said, list) or len(said) > _PATHS_MAX:
        raise BadInput(f"{key} is no list of at most {_PATHS_MAX} tables", place=f"{place}, {key}", mend=f"[[{key}]]")
    return said


def _paths(said: object, where: str) -> tuple[str, ...]:
    found = _texts(said, where)
    if len(found) > _PATHS_MAX or any(len(path) > _PATH_CHARS_MAX for path in found):
        raise BadInput(f"more than {_PATHS_MAX} paths, or one that is too long", place=where, mend="name fewer")
    return tuple(path.removeprefix("$.") for path in found)


def _texts(said: object, where: str) -> tuple[str, ...]:
    if isinstance(said, str) and said:
        return (said,)
    if isinstance(said, list) and all(isinstance(one, str) and one for one in said):
        return tuple(said)
    raise BadInput("this is no text, and no list of texts", place=where, mend='"a.path", or ["a.path", "another"]')


def _refuse_unknown(table: Mapping[str, Any], known: tuple[str, ...], place: str, before: str) -> None:
    for key in table:
        if key not in known:
            mend = _near(key, known)
            raise BadInput(
                f"the mapping has an unknown key {key[:64]!r}", place=f"{place}, {before}{key[:64]}", mend=mend
            )


def _near(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else "known here: " + ", ".join(sorted(known))
