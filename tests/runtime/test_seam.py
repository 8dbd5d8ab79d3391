"""Writing to the disk past the seam: only in the places named here, and why each of them needs no crash test."""

import ast
from collections.abc import Iterator
from pathlib import Path

import graven

SOURCE = Path(graven.__file__).parent
SEAM = "runtime/files.py"
APART = ("demo/",)
"""The tour: it makes logs by the real code, and forgeries of them; nothing of it is meant to last."""

OS_CALLS = {
    "chmod", "chown", "fdatasync", "fsync", "ftruncate", "link", "makedirs", "mkdir", "mkfifo", "pwrite", "pwritev",
    "remove", "removedirs", "rename", "renames", "replace", "rmdir", "symlink", "sync", "truncate", "unlink", "utime",
    "write", "writev",
}  # fmt: skip
PATH_CALLS = {
    "chmod", "hardlink_to", "mkdir", "rename", "rmdir", "symlink_to", "touch", "unlink", "write_bytes", "write_text",
}  # fmt: skip
MODULES = {"shutil", "sqlite3", "tempfile"}
READING = {"which", "get_terminal_size", "disk_usage", "Error"}

UNFINISHED = "an unfinished copy, or a directory that was empty before: taken away, nobody's"
SOCKET = "a socket: it ends with the process"
DERIVED = "partial files of a tree that are full now: derived, and taken away only"

PAST_THE_SEAM = {
    "agent/doors/http.py": SOCKET,
    "agent/doors/syslog.py": SOCKET,
    "app/create.py": UNFINISHED,
    "audit/mirror.py": f"{DERIVED}; the beginning of replacements; a lock",
    "cli/commands.py": "standard output that nobody reads any more",
    "cli/files.py": "what is named and is no file: a pipe, a terminal",
    "cli/healing.py": UNFINISHED,
    "cli/ndjson.py": "standard input, spooled to be read twice: it has no name",
    "cli/restoring.py": UNFINISHED,
    "client/client.py": "a directory for a wrong receipt where no place for receipts was given",
    "keys/copies.py": UNFINISHED,
    "keys/signer_server.py": SOCKET,
    "log/lock.py": "a lock: the file is empty",
    "log/publish.py": f"directories of {DERIVED}",
    "runtime/aside.py": UNFINISHED,
    "runtime/sockets.py": SOCKET,
    "server/serve.py": SOCKET,
    "server/sockets.py": SOCKET,
    "witness/store.py": "SQLite, write-ahead log, synchronous = FULL: see there, and tests/witness",
    "witness/witness.py": "a mode",
    "worm/doctor.py": "what must be refused is tried, on probes",
    "worm/folder.py": "modes, dates and the attribute of objects: see there",
    "worm/follow.py": "a lock: the file is empty",
}


def writes(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that change what is on a disk, as far as their names say."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called, name, owner = node.func, "", ""
        if isinstance(called, ast.Attribute):
            name, owner = called.attr, called.value.id if isinstance(called.value, ast.Name) else ""
        elif isinstance(called, ast.Name):
            name = called.id
        if owner == "os":
            flags = ast.unparse(node.args[1]) if name == "open" and len(node.args) > 1 else ""
            if name in OS_CALLS or "O_CREAT" in flags or "O_WRONLY" in flags or "O_RDWR" in flags:
                yield node
        elif owner in MODULES and name not in READING:
            yield node
        elif name == "open":
            if opens_for_writing(node, first=0 if isinstance(called, ast.Attribute) else 1):
                yield node
        elif isinstance(called, ast.Attribute) and name in PATH_CALLS and not is_seam(called.value):
            yield node


def opens_for_writing(call: ast.Call, *, first: int) -> bool:
    """`first`: where the mode is among the arguments."""
    modes = [*call.args[first : first + 1], *(one.value for one in call.keywords if one.arg == "mode")]
    return any(isinstance(one, ast.Constant) and set(str(one.value)) & set("wax+") for one in modes)


def is_seam(value: ast.expr) -> bool:
    """A call of the seam itself: `files.mkdir`, `self._files.rename`, `self._disk.mkdir`."""
    words = ast.unparse(value).lower()
    return words.endswith(("files", "_disk", "_inner", "inner")) or words == "localfiles()"


def test_nothing_is_written_past_the_seam_but_here() -> None:
    found = {
        str(path.relative_to(SOURCE))
        for path in sorted(SOURCE.rglob("*.py"))
        if str(path.relative_to(SOURCE)) != SEAM and not str(path.relative_to(SOURCE)).startswith(APART)
        and any(True for _ in writes(ast.parse(path.read_text(encoding="utf-8"))))
    }  # fmt: skip
    assert found - PAST_THE_SEAM.keys() == set(), "say here why these need no crash test, or use runtime/files"
    assert PAST_THE_SEAM.keys() - found == set(), "these write nothing past the seam any more"


def test_what_counts_as_writing() -> None:
    for text in (
        "os.write(1, b'')", "os.open('a', os.O_RDWR)", "open('a', 'wb')", "path.open('a')", "path.write_text('')",
        "shutil.rmtree(path)", "sqlite3.connect('a')", "Path('a').mkdir()", "tempfile.mkdtemp()", "one.unlink()",
        "path.open(mode='x')", "open(descriptor, 'r+b')",
    ):  # fmt: skip
        assert list(writes(ast.parse(text))), text
    for text in (
        "os.open('a', os.O_RDONLY)", "open('a')", "path.open('rb')", "shutil.which('a')", "self._files.rename(a, b)",
        "files.mkdir(a)", "text.replace('a', 'b')", "opened.write(b'')",
    ):  # fmt: skip
        assert not list(writes(ast.parse(text))), text
