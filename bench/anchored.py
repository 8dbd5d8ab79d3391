"""Graven embedded as in `embedded`, while a time authority stamps it every second: 3,600 times as often as by default.

The authority is `openssl ts` behind a small server in this process, so what it takes is counted, too.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep

import msgspec
from lab.authority import make_authority, serving

from bench import embedded
from bench.rounds import NotMeasuredError, Turn
from graven.app import Log, create_log
from graven.config import AuthorityConfig, load_config

RATIO_MIN = 0.97
STAMP_S_MAX = 60.0


def run(batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
    """Over `batches` (NDJSON), until `seconds` are over or the batches are. AbsentError: no openssl, no stamp."""
    directory = Path(tempfile.mkdtemp(dir=place))
    try:
        create_log(directory / "log")
        with serving(make_authority(directory / "authority")) as authority:
            config = load_config(directory / "log" / "graven.toml")
            one = AuthorityConfig(url=authority.url, ca_file=str(authority.ca_file), interval_s=1)
            with Log.open(directory / "log", msgspec.structs.replace(config, authorities={"one": one})) as log:
                log.anchoring.start()
                _wait_for_a_stamp(log)
                return embedded.feed(log, batches, seconds)
    finally:
        shutil.rmtree(directory)


def _wait_for_a_stamp(log: Log) -> None:
    """The first is made before anything is measured, so that even a short turn is one of a log that is stamped."""
    (state,), until = log.anchoring.states, monotonic() + STAMP_S_MAX
    while not state.stamps:
        if monotonic() > until:
            raise NotMeasuredError(f"no stamp came: {state.why or 'too slow'}")
        sleep(0.01)
