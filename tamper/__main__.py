"""`python -m tamper`: acts out every row on every system, prints one table. docs/tamper-matrix.md is its page."""

import argparse
import json
import os
import platform
import sys
import traceback
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from lab import AbsentError

from tamper import disasters, peers, world
from tamper.graven_log import stage
from tamper.house import House
from tamper.judge import act_out
from tamper.model import Attack, Scene, System, WentWrongError
from tamper.report import Run, as_json, as_page, as_text, cell, read_run
from tamper.rows import BY_KEY, ROWS

QUICK = ("nothing", "rewrite", "continue", "signing_key", "other_text", "hide")
"""The rows of a run of a minute."""


def main() -> int:
    args = _arguments()
    rows = [BY_KEY[key] for key in args.only] if args.only else [BY_KEY[key] for key in QUICK] if args.quick else ROWS
    if args.page is not None and (args.quick or args.only):
        sys.exit("the page is written by a whole run, without --quick and --only")
    if args.read is not None:
        run = read_run(json.loads(args.read.read_text()))
    else:
        run = whole_run(
            rows, others=not args.quick, bucket=not args.quick, with_disasters=not (args.quick or args.only)
        )
    print(as_text(run))
    if args.json is not None:
        args.json.write_text(json.dumps(as_json(run), indent=2) + "\n")
    if args.page is not None:
        args.page.write_text(as_page(run))
    return 1 if run.faults else 0


def whole_run(rows: "list[Attack] | tuple[Attack, ...]", *, others: bool, bucket: bool, with_disasters: bool) -> Run:
    """Act out these rows, on Graven alone or on `others` too; then the honest disasters."""
    host = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    run = Run(datetime.now(UTC).strftime("%Y-%m-%d"), host, {}, rows)
    with ExitStack() as stack:
        there = stack.enter_context(world.opened(bucket=bucket))
        run.absent |= there.absent
        systems = [stage.system(there)]
        if others:
            systems += peers.systems(there, stack)
        for system in systems:
            _add(run, system, rows)
        if with_disasters:
            for one in disasters.ALL:
                _told(f"disaster: {one.title}")
                found = disasters.act_out(there, one)
                run.disasters.append(found)
                _told(f"    {'; '.join(found.faults) or 'nobody convicted'}")
    return run


def _add(run: Run, system: System, rows: "list[Attack] | tuple[Attack, ...]") -> None:
    """A column of the table."""
    try:
        run.systems[system.name] = system.version()
    except AbsentError as why:
        run.absent[system.name] = str(why)
        return
    for row in rows:
        _told(f"{system.name}: {row.title}")
        try:
            found = act_out(system, row, ended=lambda scene, row=row: _remark(run, row, scene))  # type: ignore[misc]
            run.outcomes.setdefault(row.key, {})[system.name] = found
            _told(f"    {cell(row, found)}")
        except (WentWrongError, OSError) as error:
            run.errors.append(f"{row.key} on {system.name} could not be acted out: {error}")
        except Exception:
            run.errors.append(f"{row.key} on {system.name}: {traceback.format_exc()[-1500:]}")


def _remark(run: Run, row: Attack, scene: Scene) -> None:
    if isinstance(scene.subject, House) and "remark" in scene.subject.notes:
        run.remarks[row.key] = str(scene.subject.notes["remark"])


def _told(what: str) -> None:
    """Progress, on standard error."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {what}\n")
    sys.stderr.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tamper", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rows on Graven alone, without the bucket")
    parser.add_argument("--only", action="append", choices=sorted(BY_KEY), metavar="ROW", help="this row; repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to this file, too")
    parser.add_argument("--read", type=Path, metavar="FILE", help="run nothing: what a run with --json wrote")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the page docs/tamper-matrix.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
