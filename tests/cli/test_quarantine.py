"""Records that could not be read, read again: once, as what they are, under whom they came."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.calls import Run, read_error, read_json
from graven.app import Log, build_pipeline
from graven.config import load_config
from graven.ingest import Record
from graven.log import acts
from graven.log.types import Batch
from graven.server import retry

MAPPING = 'type = "acme"\n[match]\nhas = ["deed", "by"]\n[fields]\naction = "deed"\nactor.name = "by"\n'
RAWS = (b'{"deed":"void","by":"mara"}', b"\0no text at all \xff", b'{"deed":"open","by":"leon","password":"s3cr3t-pw"}')


@pytest.fixture
def log(made: str, tmp_path: Path) -> Path:
    """A log in which RAWS are quarantined, beside an event that claims to be."""
    directory = tmp_path / "log"
    take(directory, *RAWS)
    return directory


def take(directory: Path, *raws: bytes) -> None:
    with Log.open(directory) as held:
        found = build_pipeline(held.config).run([Record(raw, around={"file.path": "/var/log/acme"}) for raw in raws])
        number = held.registers.sources["local"].number
        batch = Batch(
            [one.event for one in found],
            [one.id for one in found],
            number,
            held.clock.now_us(),
            raws=[one.raw for one in found],
        )
        held.commit(batch)
        held.append(b'{"action":"graven.quarantined","data":{"size_bytes":1,"kept_bytes":1}}')


def configure(directory: Path, text: str) -> None:
    (directory / "mappings").mkdir(exist_ok=True)
    (directory / "mappings" / "acme.toml").write_text(MAPPING)
    with (directory / "graven.toml").open("a") as config:
        config.write(text)
    load_config(directory / "graven.toml")


def listed(run: Run, *words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_json(run("quarantine", "list", "--dir", "log", "--json", *words))["quarantined"]
    return rows


def mapped(directory: Path) -> None:
    text = (directory / "graven.toml").read_text()
    (directory / "graven.toml").write_text(text.replace("[mappings]\n", '[mappings]\ndir = "mappings"\n'))
    configure(directory, "" if "[mappings]" in text else '\n[mappings]\ndir = "mappings"\n')


def test_what_can_be_read_now_is_appended_once(run: Run, log: Path) -> None:
    rows = listed(run)
    assert [(row["type"], row["size_bytes"], row["whole"], row["read_again"]) for row in rows] == [
        ("unknown", len(raw), True, False) for raw in RAWS
    ]
    assert "no source type recognises" in run("quarantine", "list", "--dir", "log").stdout
    first = rows[0]["index"]

    nothing = read_json(run("quarantine", "retry", "--dir", "log", "--json"))
    assert (nothing["read"], len(nothing["left"])) == ({}, 3)

    mapped(log)
    done = read_json(run("quarantine", "retry", "--dir", "log", "--json"))
    assert sorted(map(int, done["read"])) == [first, first + 2]
    assert [row["index"] for row in done["left"]] == [first + 1]

    (index,) = done["read"][str(first)]
    shown = read_json(run("show", index, "--dir", "log", "--json"))
    text = json.dumps(shown)
    assert f'"derived_from\\": [{first}]' in text or f'"derived_from": [{first}]' in text or f"[{first}]" in text
    with Log.open(log) as held:
        stored = held.view.reader.read(index)
        event = json.loads(stored.event or b"")
        assert (event["action"], event["actor"]["name"], event["derived_from"]) == ("void", "mara", [first])
        assert event["labels"]["file.path"] == "/var/log/acme"
        assert (stored.raw, stored.class_name) == (RAWS[0], held.view.reader.read(first).class_name)
        assert stored.head is not None and stored.head.source == held.registers.sources["local"].number

    again = read_json(run("quarantine", "retry", "--dir", "log", "--json"))
    assert (again["read"], len(again["left"]), again["before"]) == ({}, 1, 2)
    assert [row["index"] for row in listed(run)] == [first + 1]
    assert [row["read_again"] for row in listed(run, "--all")] == [True, False, True]
    assert "1 left" in run("quarantine", "retry", "--dir", "log").stdout
    run("verify", "--dir", "log")


def test_only_those_that_are_asked_for(run: Run, log: Path) -> None:
    mapped(log)
    first = listed(run)[0]["index"]
    done = read_json(run("quarantine", "retry", "--dir", "log", "--json", str(first + 2)))
    assert list(done["read"]) == [str(first + 2)]
    assert (
        "not quarantined" in read_error(run("quarantine", "retry", "--dir", "log", "--json", "0", exit_code=2))["what"]
    )


def test_rules_of_redaction_count_when_it_is_read_again(run: Run, log: Path) -> None:
    mapped(log)
    text = (log / "graven.toml").read_text()
    (log / "graven.toml").write_text(text.replace("\n# detect = []\n", '\ndetect = ["password"]\n'))
    load_config(log / "graven.toml")
    third = listed(run)[2]["index"]
    done = read_json(run("quarantine", "retry", "--dir", "log", "--json", str(third)))
    with Log.open(log) as held:
        stored = held.view.reader.read(done["read"][str(third)][0])
    assert b"s3cr3t" not in (stored.event or b"") + (stored.raw or b"")
    assert "raw:$.password" in json.loads(stored.event or b"")["redacted"]


def test_the_events_and_the_act_that_names_them_are_one_frame(run: Run, log: Path) -> None:
    mapped(log)
    with Log.open(log) as held:
        done = retry.retry_quarantined(held, build_pipeline(held.config))["read"]
        made = [index for indexes in done.values() for index in indexes]
        (place,) = held.view.reader.places(min(made), max(made) + 1)
        frame = range(place.header.start, place.header.end)
        named = [
            body["data"]["indexes"]
            for body in (json.loads(held.view.read(index).event or b"") for index in frame)
            if body["action"] == acts.QUARANTINE_RETRY
        ]
        assert named == [sorted(map(int, done))] and set(made) < set(frame)


def test_an_oversized_record_was_kept_in_part(run: Run, made: str, tmp_path: Path) -> None:
    take(tmp_path / "log", b'{"deed":"x","by":"' + b"a" * (1 << 20) + b'"}')
    assert [row["whole"] for row in listed(run)] == [False]
    done = read_json(run("quarantine", "retry", "--dir", "log", "--json"))
    assert "only the beginning" in done["left"][0]["reason"]


def test_nothing_is_quarantined(run: Run, made: str) -> None:
    assert run("quarantine", "list", "--dir", "log").stdout == "nothing is quarantined\n"
