"""Progress bars on standard error, for long work on a terminal; nothing anywhere else.

A bar has no thread of its own (it is drawn when it is told something), so that whoever forks may still fork.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]
Reach = Callable[[int, int], None]

_REDRAW_S = 0.1


@contextmanager
def progress(label: str, total: int, *, unit: str = "bytes", quiet: bool = False) -> Iterator[Advance]:
    """A bar for `total` bytes or events; call what it gives with how much was done since."""
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        reach(done, total)

    with progress_to(label, unit=unit, quiet=quiet) as reach:
        yield advance


@contextmanager
def progress_to(label: str, *, unit: str = "events", quiet: bool = False) -> Iterator[Reach]:
    """A bar for work that says (how much is done, how much there is in all)."""
    if quiet or not sys.stderr.isatty():
        yield _ignore
        return
    # rich takes 0.15 s to load: only who sees a bar pays for it
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        task = bar.add_task(label, total=None)
        drawn_s = 0.0

        def reach(done: int, total: int) -> None:
            nonlocal drawn_s
            bar.update(task, completed=done, total=total)
            if time.monotonic() - drawn_s > _REDRAW_S:
                drawn_s = time.monotonic()
                bar.refresh()

        yield reach


def _ignore(done: int, total: int) -> None:
    """Where nobody watches."""
