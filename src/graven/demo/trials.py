"""The log on trial: itself, and copies that an insider tampered with, each judged by the real `graven verify`.

The answers are the command's own, with its own exit code, from a process of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from graven.demo import forgery
from graven.demo.run import Verdict, verify_all
from graven.demo.theft import Line

INNOCENT = "pavel.szabo"
ENTRIES_MAX = 100_000
"""A log larger than this is not copied and rewritten for a tour."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of `graven verify`: what was changed, what the command was told beside `--dir`, what it said.

    `fits` says whether that is what Graven claims, `note` what a verdict without a problem means.
    """

    story: str
    option: str
    note: str
    verdict: Verdict
    fits: bool


@dataclass(slots=True)
class _Case:
    story: str
    words: list[str]
    fits: Callable[[Verdict], bool]
    option: str = ""
    note: str = ""


def hold_trials(log: Path, lines: Sequence[Line], *, vkey: str, kept: Path, now_us: int) -> list[Trial]:
    """Judge the log, then copies of it. `lines` tell of the theft, `kept` is a checkpoint kept from an earlier time.

    The copies and what signs them are gone when this returns. Raises as `copy_for_tampering`, and Broken.
    """
    indexes = [line.index for line in lines]
    guilty = lines[0].who
    with TemporaryDirectory(prefix="graven-demo-") as temporary:
        flipped = forgery.copy_for_tampering(log, Path(temporary, "flipped"))
        flip = forgery.flip_byte(flipped, indexes[-1])
        forged = forgery.copy_for_tampering(log, Path(temporary, "forged"))
        forgery.rewrite_history(forged, indexes, guilty.encode(), INNOCENT.encode(), now_us=now_us)
        resigned = forgery.copy_for_tampering(forged, Path(temporary, "resigned"))
        forgery.sign_with_another_key(resigned, now_us=now_us)
        since = ["--since", str(kept)]
        cases = [
            _Case("the log itself", ["--dir", str(log), *since], _is_whole),
            _Case(
                f"one bit of byte {flip.offset} of {flip.file} flipped", ["--dir", str(flipped)],
                lambda said: said.exit_code == 1 and said.names(flip.file, indexes[-1]),
            ),
            _Case(
                f"{guilty} made {INNOCENT}, the tree signed again with another key",
                ["--dir", str(resigned), "--vkey", vkey], _is_disproved, "--vkey",
            ),
            _Case(
                f"{guilty} made {INNOCENT}, signed again with the log's own keys", ["--dir", str(forged)], _is_whole,
                note="nothing is wrong in it: who holds every key is caught only by what others have kept",
            ),
            _Case("the same, held against a checkpoint kept", ["--dir", str(forged), *since], _is_disproved, "--since"),
        ]  # fmt: skip
        verdicts = verify_all(case.words for case in cases)
    return [
        Trial(case.story, case.option, case.note, verdict, case.fits(verdict))
        for case, verdict in zip(cases, verdicts, strict=True)
    ]


def _is_whole(said: Verdict) -> bool:
    return said.exit_code == 0


def _is_disproved(said: Verdict) -> bool:
    return said.exit_code == 1
