"""What a command printed, as values."""

import json
from collections.abc import Callable
from typing import Any

from click.testing import Result

Run = Callable[..., Result]
"""`run("show", 1, "--dir", "log", exit_code=0, given=b"")`: a command, and what it must end with."""


def read_json(result: Result) -> dict[str, Any]:
    """The one JSON object a command printed, on one line of ASCII."""
    assert result.stdout.isascii() and result.stdout.count("\n") == 1
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def read_error(result: Result) -> dict[str, Any]:
    """The error object on standard error."""
    found: dict[str, Any] = json.loads(result.stderr)["error"]
    return found
