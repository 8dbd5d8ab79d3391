"""Runs commands of `graven`, each in a process of its own, without loading Graven each time: it forks.

One JSON object a line on standard input, {"args", "env", "seconds"}, one a line on standard output, {"code", "out",
"err"}. A command that outlives its seconds is killed and answers with code 137.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import signal
import sys
import tempfile
import traceback
from typing import IO

from graven import cli


def main() -> None:
    for module in pkgutil.iter_modules(cli.__path__):  # each command loads its own when it is asked for
        importlib.import_module(f"{cli.__name__}.{module.name}")
    for name in sys.argv[1:]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if not child:
                _run(request, out, err)
            _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            answer = {"code": code if code >= 0 else 128 - code, "out": _read(out), "err": _read(err)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _run(request: dict[str, object], out: IO[bytes], err: IO[bytes]) -> None:
    """In the child: never returns."""
    code = 70
    try:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        os.environ.update({str(k): str(v) for k, v in dict(request["env"]).items()})  # type: ignore[call-overload]
        signal.alarm(int(str(request["seconds"])))
        try:
            cli.graven.main([str(word) for word in list(request["args"])], prog_name="graven")  # type: ignore[call-overload]
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


if __name__ == "__main__":
    main()
