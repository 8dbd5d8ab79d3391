"""Progress bars on standard error, for long work on a terminal; nothing anywhere else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]


@contextmanager
def progress(label: str, total: int, *, unit: str = "bytes", quiet: bool = False) -> Iterator[Advance]:
    """A bar for `total` bytes or events; call what it gives with how much was done since."""
    if quiet or not sys.stderr.isatty():
        yield _ignore
        return
    # rich takes 0.15 s to load: only who sees a bar pays for it
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)


def _ignore(done: int) -> None:
    """Where nobody watches."""
