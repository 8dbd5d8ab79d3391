"""Graven: a self-hosted, tamper-evident audit log.

    from graven import Log       a log in this program: `Log.open(directory)`
    from graven import Client    a log behind a server: `Client(url, token, vkey=...)`
    from graven import BadInput, Busy, Broken, Disproved    the ways a call can fail

The names are looked up when they are first used: `import graven` alone loads nothing, and a program that only sends
events never loads the journal.
"""

TYPE_CHECKING = False  # type checkers take this name for true; `typing` itself costs more than all of this file

if TYPE_CHECKING:
    from graven.app import Log
    from graven.client import Client
    from graven.core.errors import BadInput, Broken, Busy, Disproved, GravenError
else:
    _HOMES = {
        "Log": "graven.app",
        "Client": "graven.client",
        "BadInput": "graven.core.errors",
        "Broken": "graven.core.errors",
        "Busy": "graven.core.errors",
        "Disproved": "graven.core.errors",
        "GravenError": "graven.core.errors",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})


__all__ = ["BadInput", "Broken", "Busy", "Client", "Disproved", "GravenError", "Log"]
