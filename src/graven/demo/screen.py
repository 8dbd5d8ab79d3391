"""One screen of text, a line at a time as things happen: 100 columns, colours on a terminal only.

Whatever is printed is escaped first; this module alone decides what may colour a line.
"""

import click

from graven.runtime.terminal import escape_for_terminal

WIDTH = 100
_INDENT = "  "


class Screen:
    """Prints to standard output; `quiet`: nothing at all."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def banner(self, text: str) -> None:
        """The first line of all."""
        self._print(text.center(WIDTH).rstrip(), bold=True)

    def title(self, text: str) -> None:
        """An empty line, and what the next ones are about."""
        self._print("")
        self._print(text, bold=True)

    def line(self, text: str, right: str = "", *, good: bool | None = None, indent: int = 1) -> None:
        """A line, cut to the width; `right` stands at its end. `good`: True in green, False in red."""
        text = _INDENT * indent + escape_for_terminal(text)
        if right:
            room = WIDTH - len(right) - 1
            text = f"{shorten(text, room):<{room}} {right}"
        self._print(shorten(text, WIDTH), fg=None if good is None else "green" if good else "red")

    def command(self, text: str, *, indent: int = 1) -> None:
        """A command to copy: never cut, but where it has spaces broken as the shell allows."""
        text = escape_for_terminal(text)
        room = WIDTH - len(_INDENT) * indent - 2
        while len(text) > room + 2 and (at := text.rfind(" ", 1, room)) > 0:
            self._print(f"{_INDENT * indent}{text[:at]} \\")
            text = _INDENT + text[at + 1 :]
        self._print(_INDENT * indent + text)

    def _print(self, text: str, *, bold: bool = False, fg: str | None = None) -> None:
        if not self._quiet:
            click.echo(click.style(text, bold=True) if bold else click.style(text, fg=fg) if fg else text)


def shorten(text: str, width: int) -> str:
    """`text`, or its beginning and an ellipsis, in at most `width` characters."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"
