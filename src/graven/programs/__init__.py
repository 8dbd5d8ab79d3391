"""Audit events from Python programs: never in the way, and on disk until the log has them.

recorder.py    `Recorder`: takes events without waiting, spools them, sends them
handler.py     `AuditHandler`: for the standard library's `logging`
web.py         `AuditASGI`, `AuditWSGI`: an event for each request
decorator.py   `audited`: an event for each call of a function
"""

from graven.programs.decorator import audited
from graven.programs.handler import AuditHandler
from graven.programs.recorder import Recorder
from graven.programs.web import AuditASGI, AuditWSGI

__all__ = ["AuditASGI", "AuditHandler", "AuditWSGI", "Recorder", "audited"]
