"""Files that note each step and fail where they are told to: for tests of write order."""

import errno
from collections.abc import Callable
from pathlib import Path

from graven.runtime.files import File, LocalFile, LocalFiles


class Recorder:
    """Files that note each step, by the name the file had when it was opened, and fail where they are told to."""

    def __init__(self, fail_at: str = "") -> None:
        self.steps: list[str] = []
        self.fail_at = fail_at
        self.inner = LocalFiles()

    def step(self, word: str) -> None:
        self.steps.append(word)
        if word == self.fail_at:
            raise OSError(errno.ENOSPC, "no space")

    def _wrap(self, path: str, make: Callable[[str], LocalFile]) -> "RecordedFile":
        return RecordedFile(self, Path(path).name, make(path))

    def create(self, path: str) -> File:
        self.step(f"create {Path(path).name}")
        return self._wrap(path, self.inner.create)

    def open(self, path: str) -> File:
        self.step(f"open {Path(path).name}")
        return self._wrap(path, self.inner.open)

    def rename(self, source: str, target: str) -> None:
        self.step(f"rename {Path(source).name} {Path(target).name}")
        self.inner.rename(source, target)

    def link(self, source: str, target: str) -> None:
        self.step(f"link {Path(source).name} {Path(target).name}")
        self.inner.link(source, target)

    def remove(self, path: str) -> None:
        self.step(f"remove {Path(path).name}")
        self.inner.remove(path)

    def mkdir(self, path: str, mode: int = 0o700) -> None:
        self.step(f"mkdir {Path(path).name}")
        self.inner.mkdir(path, mode)

    def sync_dir(self, path: str) -> None:
        self.step("sync_dir")
        self.inner.sync_dir(path)

    def sync_all(self, path: str) -> None:
        self.step("sync_all")
        self.inner.sync_all(path)


class RecordedFile:
    def __init__(self, recorder: Recorder, name: str, inner: LocalFile) -> None:
        self.recorder, self.name, self.inner = recorder, name, inner

    def write_at(self, offset: int, data: bytes) -> None:
        self.recorder.step(f"write {self.name}")
        self.inner.write_at(offset, data)

    def truncate(self, size: int) -> None:
        self.recorder.step(f"truncate {self.name}")
        self.inner.truncate(size)

    def sync(self) -> None:
        self.recorder.step(f"sync {self.name}")
        self.inner.sync()

    def close(self) -> None:
        self.inner.close()
