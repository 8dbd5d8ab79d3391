"""Runs other programs for the tour, above all the real `graven`, each in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from graven.core.errors import Broken

_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that has ended."""

    exit_code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `graven verify --json` said. `problem` is the first it named, "" if there is none."""

    exit_code: int
    events: int
    problem: str
    place: str
    indexes: range

    def names(self, file: str, index: int) -> bool:
        """Whether the problem is placed in this file and touches this index."""
        return file in self.place and index in self.indexes


def run(words: Sequence[str]) -> Ran:
    """Run a program to its end. Raises Broken when it cannot be started or does not end."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Broken("a program of the tour did not end as it should", place=f"{words[0]}: {error}") from None
    return Ran(done.returncode, done.stdout, done.stderr)


def verify_all(commands: Iterable[Sequence[str]]) -> list[Verdict]:
    """`graven verify WORDS… --json` for each, two at a time, in their order. Raises Broken: no answer came."""
    words = [[sys.executable, "-m", "graven", "verify", *command, "--json"] for command in commands]
    with ThreadPoolExecutor(2) as pool:
        return [_verdict(ran) for ran in pool.map(run, words)]


def _verdict(ran: Ran) -> Verdict:
    try:
        answer = json.loads(ran.out)
        problem = next(iter(answer["problems"]), None)
        if problem is None:
            return Verdict(ran.exit_code, answer["events"], "", "", range(0))
        first, last = problem["first_index"], problem["last_index"]
        indexes = range(0) if first is None else range(first, last + 1)
        what = problem["what"].partition(": expected")[0]
        return Verdict(ran.exit_code, answer["events"], what, problem["place"], indexes)
    except (ValueError, KeyError, TypeError):
        raise Broken(
            f"graven verify ended with {ran.exit_code} and without an answer", place=(ran.err or ran.out).strip()[:300]
        ) from None
