"""Lists of what the log has registered, and tables of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from graven.app import open_view
from graven.cli.output import print_line, shown
from graven.log.registers import Registers
from graven.server.control_client import ControlClient, NoServer


def read_rows(
    directory: Path,
    ask: Callable[[ControlClient], list[dict[str, Any]]],
    read: Callable[[Registers], list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """What a running server answers; without one, what the journal says."""
    try:
        return ask(ControlClient(directory))
    except NoServer:
        with open_view(directory) as view:
            return read(view.registers())


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns, values escaped."""
    cells = [tuple(titles), *(tuple(shown(value) for value in row) for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(titles))]
    for row in cells:
        print_line("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
