"""A copy of the keyring that is away for a while stops publishing for that while, and nothing for good."""

from pathlib import Path

import msgspec
import pytest

from graven.app import Log, create_log
from graven.config import load_config
from graven.core.errors import Busy
from graven.keys.keyring import Keyring


def test_publishing_waits_for_a_replica_that_is_away(tmp_path: Path) -> None:
    create_log(tmp_path / "log", origin="example.com/log")
    replica, away = tmp_path / "replica", tmp_path / "away"
    Keyring.open(str(tmp_path / "log.keys")).replicate(str(replica))
    config = load_config(tmp_path / "log" / "graven.toml")
    config = msgspec.structs.replace(
        config,
        keys=msgspec.structs.replace(config.keys, replicas=(str(replica),)),
        publish=msgspec.structs.replace(config.publish, interval_ms=20),
    )
    with Log.open(tmp_path / "log", config) as log:
        log.append([{"action": "one"}], wait="published")
        replica.rename(away)
        size = log.append([{"action": "two"}]).size
        with pytest.raises(Busy, match="copy of the keyring"):
            log.publish()
        assert log.writer.error is None
        assert log.publisher.trouble is not None
        away.rename(replica)
        assert log.append([{"action": "three"}], wait="published").size == size + 1
        assert log.publisher.trouble is None
