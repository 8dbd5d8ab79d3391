"""Verifying a log that a server is writing: whatever it sees is true, since it reads in the order things come about."""

import threading
from pathlib import Path

import msgspec

from graven.app import Log, create_log, open_keyring
from graven.config.model import PublishConfig
from graven.log.verify import verify_directory
from tampering.logs import ORIGIN, batch_of, small_config


def test_a_log_that_grows_meanwhile(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    config = msgspec.structs.replace(small_config(), publish=PublishConfig(interval_ms=10))
    create_log(directory, origin=ORIGIN, config=config)
    enough = threading.Event()
    with Log.open(directory) as log:

        def write() -> None:
            start = 0
            while not enough.wait(0.005):
                start += 30
                log.commit(batch_of(range(start, start + 30), log.clock.now_us()))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            sizes = []
            for _ in range(25):
                report = verify_directory(
                    directory, keys=log.keys, keyring=open_keyring(directory, log.config), processes=1
                )
                assert report.exit_code == 0, report.problems
                assert report.payloads == "all"
                sizes.append(report.size)
        finally:
            enough.set()
            writer.join()
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]
