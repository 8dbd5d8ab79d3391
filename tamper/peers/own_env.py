"""The Python packages among the peers, in an environment of their own: pinned by hash, made once in .cache/peers."""

import json
import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path

from lab import AbsentError

from tamper.calls import CALL_S_MAX, ROOT
from tamper.model import Said, WentWrongError

PINS = Path(__file__).with_name("requirements.txt")
INSTALL_S_MAX = 300


def python() -> Path:
    """The interpreter of that environment. Raises AbsentError where the packages cannot be had."""
    key = sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = ROOT / ".cache" / "peers" / key
    found = home / "bin" / "python"
    if (home / "whole").exists():
        return found
    try:
        venv.create(home, with_pip=True, clear=True)
        words = [str(found), "-m", "pip", "install", "-qq", "--no-input", "--disable-pip-version-check"]
        words += ["--require-hashes", "--only-binary", ":all:", "-r", str(PINS)]
        subprocess.run(words, check=True, capture_output=True, timeout=INSTALL_S_MAX, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        raise AbsentError(f"pip could not install it: {error.stderr.decode()[-200:].strip()}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AbsentError(f"no environment could be made: {error}") from None
    (home / "whole").touch()
    return found


def version(package: str) -> str:
    """As it is pinned. Raises AbsentError."""
    python()
    line = next(line for line in PINS.read_text().splitlines() if line.startswith(f"{package}=="))
    return line.split("==")[1].split()[0]


def drive(script: str, *words: object, given: object = None) -> object:
    """Run one of the drivers beside this file with JSON on its standard input; what it printed, as JSON."""
    done = _run(script, words, given)
    if done.returncode:
        raise WentWrongError(f"{script} {words[0]} ended with {done.returncode}: {done.stderr[-800:]}")
    return json.loads(done.stdout.splitlines()[-1])


def say(script: str, *words: object, given: object = None) -> Said:
    """What a driver answers, whatever it ends with."""
    done = _run(script, words, given)
    return Said(done.returncode, done.stdout + done.stderr, done.returncode != 0)


def _run(script: str, words: tuple[object, ...], given: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(python()), "-P", str(Path(__file__).with_name(script)), *map(str, words)],
        input=json.dumps(given), capture_output=True, text=True, timeout=CALL_S_MAX, check=False,
    )  # fmt: skip
