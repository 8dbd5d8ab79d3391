"""A disk that remembers: every step recorded, and what a crash after any of them could leave behind.

`RecordingFiles` does each step for real and writes it down. `Disk` replays such a record and knows, beside what the
programs see, what is surely durable: bytes since their file's last sync, names since their directory's. From both,
`Disk.crashes` makes the trees of files that a crash may leave. The pessimism is POSIX's, not that of one file system.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from graven.runtime.files import File, LocalFile, LocalFiles

Tree = dict[str, bytes | None]
"""Path below the root -> the file's bytes; None for a directory."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation. `file` numbers an open file, so that a write finds it after a rename; paths are below the root."""

    kind: str
    path: str = ""
    target: str = ""
    file: int = 0
    offset: int = 0
    data: bytes = b""
    promise: object = None

    def __str__(self) -> str:
        return f"{self.kind} {self.path}{' → ' + self.target if self.target else ''}"


class RecordingFiles:
    """The real file system below `root`, each step noted in order. `before` sees every step first and may raise."""

    def __init__(self, root: Path, before: Callable[[Step], None] | None = None) -> None:
        self.root, self.steps = root, list[Step]()
        self.before = before
        self._inner = LocalFiles()
        self._lock = threading.RLock()
        self._numbers = 0

    def promise(self, what: object) -> None:
        """Note that the log said something to the world at this point."""
        with self._lock:
            self.steps.append(Step("promise", promise=what))

    def do(self, step: Step, act: Callable[[], object]) -> None:
        with self._lock:
            if self.before is not None:
                self.before(step)
            act()
            self.steps.append(step)

    def below(self, path: str) -> str:
        return str(Path(path).absolute().relative_to(self.root))

    def create(self, path: str) -> File:
        return self._open("create", path, self._inner.create)

    def open(self, path: str) -> File:
        return self._open("open", path, self._inner.open)

    def rename(self, source: str, target: str) -> None:
        step = Step("rename", self.below(source), self.below(target))
        self.do(step, lambda: self._inner.rename(source, target))

    def link(self, source: str, target: str) -> None:
        step = Step("link", self.below(source), self.below(target))
        self.do(step, lambda: self._inner.link(source, target))

    def remove(self, path: str) -> None:
        self.do(Step("remove", self.below(path)), lambda: self._inner.remove(path))

    def mkdir(self, path: str, mode: int = 0o700) -> None:
        self.do(Step("mkdir", self.below(path)), lambda: self._inner.mkdir(path, mode))

    def sync_dir(self, path: str) -> None:
        if Path(path).absolute() in self.root.parents:
            return  # what holds the root was there before, and lasts
        self.do(Step("sync_dir", self.below(path)), lambda: self._inner.sync_dir(path))

    def sync_all(self, path: str) -> None:
        self.do(Step("sync_all", self.below(path)), lambda: None)  # what it means is in `Disk`

    def _open(self, kind: str, path: str, make: Callable[[str], LocalFile]) -> File:
        with self._lock:
            self._numbers += 1
            step = Step(kind, self.below(path), file=self._numbers)
            opened: list[LocalFile] = []
            self.do(step, lambda: opened.append(make(path)))
            return _RecordingFile(self, step, opened[0])


class _RecordingFile:
    def __init__(self, files: RecordingFiles, opened: Step, inner: LocalFile) -> None:
        self._files, self._opened, self._inner = files, opened, inner

    def _step(self, kind: str, offset: int = 0, data: bytes = b"") -> Step:
        return Step(kind, self._opened.path, file=self._opened.file, offset=offset, data=data)

    def write_at(self, offset: int, data: bytes) -> None:
        self._files.do(self._step("write", offset, bytes(data)), lambda: self._inner.write_at(offset, data))

    def truncate(self, size: int) -> None:
        self._files.do(self._step("truncate", size), lambda: self._inner.truncate(size))

    def sync(self) -> None:
        self._files.do(self._step("sync"), lambda: None)

    def close(self) -> None:
        self._inner.close()


@dataclass(slots=True, eq=False)
class _FileNode:
    """A file as programs see it, and the bytes that last."""

    now: bytes = b""
    durable: bytes = b""

    def write(self, offset: int, data: bytes) -> None:
        before = self.now.ljust(offset, b"\0")
        self.now = before[:offset] + data + before[offset + len(data) :]

    def zeroed(self) -> bytes:
        """The new length reached the disk, the new bytes did not."""
        return self.durable[: len(self.now)].ljust(len(self.now), b"\0")


@dataclass(slots=True, eq=False)
class _DirectoryNode:
    now: "dict[str, _Node]" = field(default_factory=dict)
    durable: "dict[str, _Node]" = field(default_factory=dict)


_Node = _FileNode | _DirectoryNode


class Disk:
    """The file system a record of steps leads to. Starts from the files below a directory, all of them durable."""

    def __init__(self, start: Tree | None = None) -> None:
        self._root = _DirectoryNode()
        self._open: dict[int, _FileNode] = {}
        for path, data in sorted((start or {}).items()):
            node: _Node = _DirectoryNode() if data is None else _FileNode(data, data)
            folder, name = self._parent(path)
            folder.now[name] = folder.durable[name] = node

    def apply(self, step: Step) -> None:
        match step.kind:
            case "create":
                folder, name = self._parent(step.path)
                folder.now[name] = self._open[step.file] = _FileNode()
            case "open":
                self._open[step.file] = self._file(step.path)
            case "write":
                self._open[step.file].write(step.offset, step.data)
            case "truncate":
                node = self._open[step.file]
                node.now = node.now[: step.offset].ljust(step.offset, b"\0")
            case "sync":
                node = self._open[step.file]
                node.durable = node.now
            case "rename":
                folder, name = self._parent(step.path)
                node_ = folder.now.pop(name)
                folder, name = self._parent(step.target)
                folder.now[name] = node_
            case "link":
                folder, name = self._parent(step.target)
                folder.now[name] = self._file(step.path)
            case "remove":
                folder, name = self._parent(step.path)
                del folder.now[name]
            case "mkdir":
                folder, name = self._parent(step.path)
                folder.now[name] = _DirectoryNode()  # one that was there has been removed past the record
            case "sync_dir":
                found = self._find(step.path)
                assert isinstance(found, _DirectoryNode)
                found.durable = dict(found.now)
            case "sync_all":
                _sync_below(self._root)
            case "promise":
                pass
            case kind:
                raise AssertionError(kind)

    def crashes(self, last: Step | None) -> Iterator[tuple[str, Tree]]:
        """(name, tree) of what a crash now may leave; `last` is the step just applied, for torn writes."""
        yield "killed", self._tree(names_now=True, bytes_of=lambda node: node.now)
        yield "power lost", self._tree(names_now=False, bytes_of=lambda node: node.durable)
        yield "power lost, names kept", self._tree(names_now=True, bytes_of=lambda node: node.durable)
        yield "power lost, zeros", self._tree(names_now=True, bytes_of=_FileNode.zeroed)
        if last is None or last.kind != "write":
            return
        torn = self._open[last.file]
        for part in sorted({1, 90, len(last.data) // 2, len(last.data) - 1}):
            if 0 < part < len(last.data):
                for name, at, piece in (("torn", 0, last.data[:part]), ("hole", part, last.data[part:])):
                    node = _FileNode(torn.durable)
                    node.write(last.offset + at, piece)
                    yield f"{name} at {part}", self._tree(names_now=True, bytes_of=_instead(torn, node.now))

    def _tree(self, *, names_now: bool, bytes_of: Callable[[_FileNode], bytes]) -> Tree:
        tree: Tree = {}
        todo: list[tuple[str, _DirectoryNode]] = [("", self._root)]
        while todo:
            prefix, folder = todo.pop()
            for name, node in (folder.now if names_now else folder.durable).items():
                path = prefix + name
                if isinstance(node, _FileNode):
                    tree[path] = bytes_of(node)
                else:
                    tree[path] = None
                    todo.append((path + "/", node))
        return tree

    def _find(self, path: str) -> _Node:
        node: _Node = self._root
        for part in () if path == "." else path.split("/"):
            assert isinstance(node, _DirectoryNode)
            node = node.now[part]
        return node

    def _file(self, path: str) -> _FileNode:
        node = self._find(path)
        assert isinstance(node, _FileNode)
        return node

    def _parent(self, path: str) -> tuple[_DirectoryNode, str]:
        folder, _, name = path.rpartition("/")
        node = self._find(folder or ".")
        assert isinstance(node, _DirectoryNode)
        return node, name


def read_tree(root: Path) -> Tree:
    """The files below a directory."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in sorted(root.rglob("*"))
    }


def write_tree(root: Path, tree: Tree) -> None:
    """Lay a tree out below `root`, which must not exist; modes as Graven sets them."""
    root.mkdir(mode=0o700)
    for path, data in sorted(tree.items()):
        if data is None:
            (root / path).mkdir(mode=0o700)
        else:
            (root / path).write_bytes(data)
            (root / path).chmod(0o600)


def _instead(torn: _FileNode, data: bytes) -> Callable[[_FileNode], bytes]:
    return lambda node: data if node is torn else node.durable


def _sync_below(folder: _DirectoryNode) -> None:
    folder.durable = dict(folder.now)
    for node in folder.now.values():
        if isinstance(node, _FileNode):
            node.durable = node.now
        else:
            _sync_below(node)
