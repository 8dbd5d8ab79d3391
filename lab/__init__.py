"""Stand-ins for the world around a log, shared by the benchmark, the tamper matrix and the tests.

A time authority, a store with Object Lock, small HTTP servers, forged trees: real programs and real bytes on loopback.
"""


class AbsentError(Exception):
    """A program that is asked for is not installed here, or cannot work here; the text says which, and why."""
