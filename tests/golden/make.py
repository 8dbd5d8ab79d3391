"""Makes the golden log of a format version, once, when it is frozen: `python -m tests.golden.make DIR`.

The result is kept for ever: every later version of Graven must verify it, read it, and go on with it. It has what the
format has: three segments, two classes in one block, raws, a husk, a cut frame, a full tile and partial ones, history.
"""

import json
import sys
from pathlib import Path

import msgspec

from graven.app import Log, class_names, create_log
from graven.config import ClassConfig, Config
from graven.event import parse_body
from graven.log import admin
from graven.log.erase import erase_class
from graven.runtime.clock import FixedClock

START_US = 1_790_000_000_000_000
AGE_S = 3_600


def main(place: Path) -> None:
    directory = place / "log"
    base = Config(origin="", log_id="", vkeys=(), classes={"default": ClassConfig(), "personal": ClassConfig()})
    config = msgspec.structs.replace(base, journal=msgspec.structs.replace(base.journal, segment_age_s=AGE_S))
    create_log(directory, origin="golden.example/v1", config=config, clock=FixedClock(START_US))
    with Log.open(directory, clock=FixedClock(START_US + 1_000_000), serve=True) as log:
        admin.add_source(log, "crm", declared=class_names(log.config), classes=("personal",))
        events = [{"action": "crm.read", "id": f"a{n}"} | ({"class": "personal"} if n % 3 else {}) for n in range(40)]
        log.append(events, source="crm", wait="published")
        (place / "older-checkpoint").write_bytes(log.published.data)
    with Log.open(directory, clock=FixedClock(START_US + (AGE_S + 2) * 1_000_000)) as log:
        sent = b"\n".join(
            msgspec.json.encode({"action": "login", "id": f"b{n}", "actor": {"id": "ann"}}) for n in range(300)
        )
        (place / "sent.ndjson").write_bytes(sent)
        answer = log.append(sent, source="local", wait="published", full=True)
        (place / "answer.json").write_text(
            json.dumps(
                {
                    "accepted": answer.accepted,
                    "first_index": answer.first_index,
                    "size": answer.size,
                    "duplicates": [],
                    "state": "published",
                    "receipt": answer.receipt.decode(),
                    "opened": answer.opened,
                }
            )
        )
        parsed = parse_body(b'{"action":"ok"}\nnot json\n', "application/x-ndjson", on_invalid="quarantine")
        log.commit(log.batch(parsed, source="crm"), wait="published")
        log.append([{"action": "login", "id": "b0"}])  # an id again, with other bytes
        certificate = erase_class(log, 0, "personal", "event", reason="to have a husk in the golden log")
        (place / "erasure-certificate.json").write_bytes(msgspec.json.format(msgspec.json.encode(certificate)))
    (newest,) = sorted((directory / "journal").glob("*.seg"))[-1:]
    with newest.open("ab") as file:
        file.write(b"GRVB\x00\x01 an unfinished frame")
    with Log.open(directory, clock=FixedClock(START_US + (2 * AGE_S + 4) * 1_000_000)) as log:
        log.append([{"action": "after", "id": "c0"}], wait="published")
        (place / "evidence.json").write_bytes(log.view.evidence(200))
        (place / "event.tlog-proof").write_bytes(log.view.tlog_proof(5))
        print(log.published.data.decode(), end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
