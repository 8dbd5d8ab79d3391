"""JSON documents read strictly: the objects of evidence and opened receipts hold exactly the keys they should, each
once.

White space and the order of keys are the writer's choice; the values are not. No format of the log holds a fraction,
so a number with one is refused, as are NaN and numbers beyond 2^63-1. Errors name the path in the document, never the
value.
"""

import json
from collections.abc import Collection, Mapping
from typing import NoReturn

from graven.core.errors import BadInput
from graven.core.spelling import MAX_NUMBER

_MAX_DIGITS = 19


def parse_document(data: bytes, *, max_bytes: int, what: str) -> object:
    """The value of one JSON document.

    Raises BadInput: too large or deep, not UTF-8, not JSON, a key given twice, a fraction.
    """
    if len(data) > max_bytes:
        raise BadInput(f"{what} of more than {max_bytes} bytes")
    try:
        value: object = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_whole,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except UnicodeDecodeError as error:
        raise BadInput(f"{what} that is not UTF-8", place=f"byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"{what} that is not JSON", place=f"line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise BadInput(f"{what} that is nested too deeply") from None
    return value


def as_object(
    value: object, place: str, *, keys: Collection[str], more: Collection[str] | None = ()
) -> Mapping[str, object]:
    """`value` as an object with all of `keys` and none but `more` besides (None: any). Raises BadInput."""
    if not isinstance(value, Mapping):
        raise BadInput("not an object", place=place)
    if missing := [key for key in keys if key not in value]:
        raise BadInput(f"without {', '.join(missing)}", place=place)
    if more is not None and (unknown := [key for key in value if key not in keys and key not in more]):
        raise BadInput("a key that does not belong here", place=f"{place}.{str(unknown[0])[:80]!r}")
    return value


def as_list(value: object, place: str, *, count_max: int) -> list[object]:
    """`value` as a list of at most `count_max`. Raises BadInput."""
    if not isinstance(value, list) or len(value) > count_max:
        raise BadInput(f"not a list of at most {count_max}", place=place)
    return value


def as_text(value: object, place: str) -> str:
    """`value` as a string of valid Unicode. Raises BadInput."""
    if not isinstance(value, str):
        raise BadInput("not a string", place=place)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise BadInput("a string that is not valid Unicode", place=place) from None
    return value


def as_number(value: object, place: str) -> int:
    """`value` as a whole number from 0 to 2^63-1. Raises BadInput."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_NUMBER:
        raise BadInput("not a whole number from 0 to 2^63-1", place=place)
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadInput("a JSON object with the same key twice")
    return found


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        _refuse_number(digits)
    return int(digits)


def _refuse_number(_: str) -> NoReturn:
    raise BadInput("a JSON number that is not a whole number below 2^63")
