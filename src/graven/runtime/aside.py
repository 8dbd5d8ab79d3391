"""A directory built aside, under another name, and put in its place when it is whole and durable."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graven.core.errors import BadInput, Broken
from graven.runtime.files import Files, make_dirs

__all__ = ["built_aside"]


@contextmanager
def built_aside(target: Path, files: Files, *, failed: str) -> Iterator[Path]:
    """The directory to build in, still to be made; it is `target` (absolute) when the block ends, gone if it raises.

    What an attempt that was cut off left under this name is removed first.

    Raises:
        BadInput: something is in `target`. Broken (`failed`, and where): the disk refused.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadInput("something is there already", place=str(target), mend="choose an empty or new directory")
    building = target.with_name(target.name + ".partial")
    try:
        if building.exists():
            shutil.rmtree(building)
        make_dirs(files, str(target.parent))
        yield building
        files.sync_all(str(building))
        if target.exists():
            target.rmdir()
        files.rename(str(building), str(target))
        files.sync_dir(str(target.parent))
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        raise Broken(failed, place=f"{error.filename or target}: {error.strerror}") from None
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
