"""`graven import`: logs that were kept elsewhere before, marked as such."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec

from graven.agent.trail.digest import load_public_keys
from graven.cli.files import read_file
from graven.cli.history import Door, Imported, Importer, find_files, hash_files, size_of
from graven.cli.options import file_argument, json_option, path_option
from graven.cli.output import counted, print_json, print_line, shown
from graven.cli.progress import progress
from graven.cli.writing import Writing, open_writing
from graven.client.refusals import error_of
from graven.client.transport import Transport
from graven.config import read_environment
from graven.core.errors import BadInput, Disproved
from graven.ingest.history import Part, encode_parts
from graven.log.registers import HISTORY_GRADE

TIMEOUT_S = 120.0
ANSWER_BYTES_MAX = 1 << 20


@click.command("import")
@file_argument("files", "FILE...", nargs=-1)
@click.option("--history", is_flag=True, help="Say that these are old logs, of whose integrity nothing is claimed.")
@click.option("--source", required=True, metavar="NAME", help='A source of the grade "imported history".')
@click.option("--type", "type_", default="", metavar="TYPE", help="The source type; detected where it is not stated.")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), envvar="GRAVEN_DIR", metavar="DIR",
    help="The directory of the log (or GRAVEN_DIR), with or without a running server.",
)  # fmt: skip
@click.option("--server", metavar="URL", help="A server elsewhere, instead; the token may append as the source.")
@path_option("--token-file", "token_file", "A file with the token; else GRAVEN_TOKEN.")
@path_option("--ca-file", "ca_file", "PEM file of the authorities to trust; else the system's.")
@path_option("--cloudtrail-keys", "keys_file", "What `aws cloudtrail list-public-keys` printed, to judge digests by.")
@json_option
def command(
    files: tuple[Path, ...],
    history: bool,
    source: str,
    type_: str,
    directory: Path | None,
    server: str | None,
    token_file: Path | None,
    ca_file: Path | None,
    keys_file: Path | None,
    as_json: bool,
) -> None:
    """Import logs that were kept elsewhere before: each FILE, and every file in a folder.

    NDJSON, JSON arrays, containers, lines of text, CSV exports of Purview; compressed with gzip or Zstandard or not;
    CloudTrail's folders, whose own digests are judged. Each event says that it was imported, and that nothing is
    claimed of what happened to it before; each file becomes an event with its name, size and SHA-256. Stopped or
    killed, the same command goes on where the log ends: nothing is in it twice.
    """
    if not history:
        raise BadInput("what is imported is history", mend="say so: graven import --history FILE… --source NAME")
    if (directory is None) is (server is None):
        raise BadInput("into which log?", mend="--dir DIR, or --server URL, one of them")
    keys = load_public_keys(read_file(keys_file)) if keys_file is not None else {}
    found = find_files(files)
    with progress("reading", size_of(found)) as advance:
        hashed = hash_files(found, advance)
    size = sum(one.size_bytes for one in hashed)
    with _door(directory, server, source, token_file, ca_file) as door, progress("importing", size) as advance:
        done = Importer(door, source, type_=type_, keys=keys).run(hashed, advance)
    _tell(done, source, as_json=as_json)


@contextmanager
def _door(
    directory: Path | None, server: str | None, source: str, token_file: Path | None, ca_file: Path | None
) -> Iterator[Door]:
    if directory is not None:
        with open_writing(directory) as log:
            _register(log, source)
            yield log
        return
    token = None if token_file is not None else read_environment().token
    transport = Transport(
        server or "", token=token, token_file=token_file, ca_file=ca_file, timeout_s=TIMEOUT_S, allow_http=False
    )
    try:
        yield _ServerElsewhere(transport)
    finally:
        transport.close()


def _register(log: Writing, source: str) -> None:
    """Register the source, if there is none of its name."""
    if not any(row["name"] == source for row in log.sources()):
        log.add_source(source, type="history", grade=HISTORY_GRADE)


class _ServerElsewhere:
    """A server over HTTP. Raises what it answers, and NoAnswer."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def import_history(self, source: str, parts: Sequence[Part]) -> dict[str, Any]:
        return self._post(f"/api/v1/history/{quote(source, safe='')}", encode_parts(parts), "application/msgpack")

    def history_positions(self, source: str, files: Sequence[str]) -> list[dict[str, Any]]:
        body = msgspec.json.encode({"files": list(files)})
        found: list[dict[str, Any]] = self._post(
            f"/api/v1/history/{quote(source, safe='')}/positions", body, "application/json"
        )["positions"]
        return found

    def _post(self, path: str, body: bytes, media: str) -> dict[str, Any]:
        headers = {"Content-Type": media}
        reply = self._transport.ask("POST", path, body=body, headers=headers, answer_bytes_max=ANSWER_BYTES_MAX)
        if reply.status != 200:
            raise error_of(reply, f"POST {self._transport.url}{path}")
        try:
            answer: dict[str, Any] = msgspec.json.decode(reply.data, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise BadInput("the server's answer cannot be read", mend="is this a Graven server?") from None
        return answer


def _tell(done: Imported, source: str, *, as_json: bool) -> None:
    failed = [{"file": name, "what": error.what, "place": error.place} for name, error in done.failed]
    if as_json:
        print_json(
            {
                "source": source, "files": done.files, "known": done.known, "records": done.records,
                "accepted": done.accepted, "duplicates": done.duplicates, "quarantined": done.quarantined,
                "digests": done.verdicts, "failed": failed,
            }
        )  # fmt: skip
    else:
        print_line(
            f"{counted(done.files, 'file')}, {done.known} of them known before: {counted(done.records, 'record')}, "
            f"{counted(done.accepted, 'new event')}, {done.duplicates} stored before, {done.quarantined} quarantined"
        )
        for outcome, count in sorted(done.verdicts.items()):
            print_line(f"CloudTrail's digests: {count} {_WORDS[outcome]}")
        for row in failed:
            print_line(shown(f"not imported to its end: {row['file']}: {row['what']}"))
    if done.verdicts.get("failure"):
        raise Disproved("a digest of CloudTrail's does not hold: the verdicts are in the log")
    if failed:
        raise BadInput(f"{counted(len(failed), 'file')} could not be imported to the end", place=str(failed[0]["file"]))


_WORDS = {"success": "hold", "failure": "do not hold", "unknown": "cannot be decided yet"}
