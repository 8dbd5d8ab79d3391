"""The JSON of key files: one spelling only.

A key file is parsed, formatted again and compared, so that no two files mean the same keys and no byte can change
unnoticed, not even a space. What the values mean is said by the modules that own each file.
"""

import json

from graven.core.errors import BadInput, Broken
from graven.core.spelling import decode_base64

RECOVER = "bring the file back from a replica or a recovery kit"


def format_document(value: object) -> bytes:
    """A JSON value as indented UTF-8 text that ends with a newline."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def parse_document(data: bytes, *, place: str) -> object:
    """The value of a document written by `format_document`. Raises Broken for any other spelling; shows no content."""
    try:
        value: object = json.loads(data)
        same = format_document(value) == data
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise Broken("this key file is damaged: it is not as Graven writes it", place=place, mend=RECOVER)
    return value


def take(document: object, names: tuple[str, ...], *, place: str) -> list[object]:
    """The members of an object that has exactly these names, in this order. Raises Broken."""
    if not isinstance(document, dict) or tuple(document) != names:
        raise Broken("this key file is damaged: its fields are not those of its format", place=place, mend=RECOVER)
    return list(document.values())


def take_bytes(value: object, length: int | None, *, place: str) -> bytes:
    """The bytes of a base64 text, `length` of them if given. Raises Broken, which shows nothing of the value."""
    try:
        data = decode_base64(value) if isinstance(value, str) else None
    except BadInput:
        data = None
    if data is None or (length is not None and len(data) != length):
        raise Broken("this key file is damaged: a value is not of its shape", place=place, mend=RECOVER)
    return data
