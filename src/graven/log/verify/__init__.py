"""Verifying a whole log: `verify_directory` on its own disk, `verify_url` on what it publishes."""

from graven.log.verify.directory import verify_directory
from graven.log.verify.report import Problem, Report
from graven.log.verify.url import verify_url

__all__ = ["Problem", "Report", "verify_directory", "verify_url"]
