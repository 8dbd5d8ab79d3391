"""Evidence checked by the shell: the script of docs/verify-by-hand.md, run, and its lines that matter."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from graven.demo.run import run

SCRIPT = Path(__file__).with_name("verify-by-hand.sh")

_TOOLS = ("bash", "openssl", "sha256sum", "base64", "od", "sed", "cut", "tr", "head", "tail", "mktemp")
_STEPS = (  # how a line of the script begins, and how the lines of output begin that it leads to
    ("d_event=$({", ("d_event",)),
    ("entry=$(", ("entry",)),
    ("leaf=$(", ("leaf",)),
    ("node=$({ printf '\\1'; unhex <<< \"$sibling", ("root",)),
    ("openssl ", ("Signature", "proved")),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the script, and what it printed. `levels` is how often it was run, where that is not once."""

    line: str
    printed: tuple[str, ...]
    levels: int = 0


@dataclass(frozen=True, slots=True)
class ByHand:
    """What the script said. `refusal` is "" when the evidence was proved."""

    steps: tuple[Step, ...]
    refusal: str


def lacking_tool() -> str | None:
    """A tool the script needs and this machine has not."""
    return next((tool for tool in _TOOLS if shutil.which(tool) is None), None)


def check_by_hand(evidence: Path, vkey: str) -> ByHand:
    """Run the script on a file of evidence. Raises Broken when it does not end."""
    ran = run(["bash", str(SCRIPT), str(evidence), vkey])
    printed = ran.out.splitlines()
    script = [line.strip() for line in SCRIPT.read_text().splitlines()]
    steps = []
    for begins, tells in _STEPS:
        line = next(line for line in script if line.startswith(begins))
        levels = sum(one.startswith("level") for one in printed) if tells == ("root",) else 0
        steps.append(Step(line, tuple(one for one in printed if one.startswith(tells)), levels))
    proved = ran.exit_code == 0 and all(step.printed for step in steps)
    return ByHand(tuple(steps), "" if proved else ran.err.strip() or f"the script ended with {ran.exit_code}")
