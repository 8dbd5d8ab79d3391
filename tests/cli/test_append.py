"""`graven append`: all of a file or nothing, one JSON object, and what the log then holds."""

import json
from pathlib import Path

import pytest

from cli.calls import Run, read_error, read_json
from graven.app import open_view
from graven.cli.writing import HeldLog
from graven.core.errors import Busy

KEYS = ["accepted", "first_index", "size", "duplicates", "state", "receipt"]


def _published(run: Run) -> int:
    return int(run("checkpoint", "--dir", "log").stdout.splitlines()[1])


def test_the_answer(run: Run, made: str) -> None:
    Path("events").write_text('{"action":"a","id":"1"}\n{"action":"b","id":"2"}\n')
    answer = read_json(run("append", "events", "--dir", "log"))
    assert list(answer) == KEYS
    assert (answer["accepted"], answer["first_index"], answer["duplicates"]) == (2, 1, [])
    assert answer["state"] == "published" and answer["size"] == _published(run) == 3
    assert answer["receipt"].startswith("graven-receipt/v1\nexample.com/log\n3\n")


def test_everything_a_second_time(run: Run, made: str) -> None:
    Path("events").write_text('{"action":"a","id":"1"}\n{"action":"b","id":"2"}\n')
    run("append", "events", "--dir", "log")
    answer = read_json(run("append", "events", "--dir", "log"))
    assert (answer["accepted"], answer["first_index"], answer["size"]) == (0, None, 3)
    assert answer["duplicates"] == [{"position": 0, "index": 1}, {"position": 1, "index": 2}]


def test_positions_and_first_index_count_over_the_whole_file(
    run: Run, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graven.cli.ndjson.REQUEST_EVENTS_MAX", 3)
    lines = [f'{{"action":"a","id":"{number}"}}' for number in range(8)]
    Path("some").write_text("\n".join(lines[:4] + lines[6:7]))
    run("append", "some", "--dir", "log")
    Path("all").write_text("\n".join(lines))
    answer = read_json(run("append", "all", "--dir", "log"))
    assert answer["accepted"] == 3 and answer["first_index"] == 6
    assert [one["position"] for one in answer["duplicates"]] == [0, 1, 2, 3, 6]
    assert [one["index"] for one in answer["duplicates"]] == [1, 2, 3, 4, 5]
    assert answer["receipt"].splitlines()[2] == str(answer["size"]) == "9"


def test_one_bad_line_stores_nothing(run: Run, made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graven.cli.ndjson.REQUEST_EVENTS_MAX", 2)
    Path("events").write_text('{"action":"a"}\n' * 5 + '{"action":""}\n')
    error = read_error(run("append", "events", "--dir", "log", "--json", exit_code=2))
    assert [fault["line"] for fault in error["errors"]] == [6]
    assert _published(run) == 1


def test_bytes_are_kept_verbatim(run: Run, made: str) -> None:
    text = '{ "action" : "a" ,\t"data":{"n":1.10,"big":123456789012345678901234567890,"e":1E40,"u":"\\u00e9é"} }'
    run("append", "-", "--dir", "log", given=f"  {text} \r\n".encode())
    shown = run("show", 1, "--dir", "log", "--json").stdout
    assert json.loads(shown)["event_text"] == text
    assert '"n":1.10,"big":123456789012345678901234567890,"e":1E40' in shown


def test_another_source(run: Run, made: str) -> None:
    run("source", "add", "payments", "--dir", "log")
    run("append", "-", "--dir", "log", "--source", "payments", given=b'{"action":"a"}')
    head = read_json(run("show", 2, "--dir", "log", "--json"))["head"]
    assert (head["source"], head["source_name"]) == (2, "payments")
    run("source", "retire", "payments", "--dir", "log")
    refused = run("append", "-", "--dir", "log", "--source", "payments", given=b'{"action":"b"}', exit_code=2)
    assert "no source is called 'payments'" in refused.stderr


def test_a_class_must_be_allowed_and_then_is_used(run: Run, made: str) -> None:
    config = Path("log/graven.toml")
    config.write_text(config.read_text().replace("[classes.default]", "[classes.short]\n\n[classes.default]"))
    events = b'{"action":"a"}\n{"action":"b","class":"short"}\n'
    error = read_error(run("append", "-", "--dir", "log", "--json", given=events, exit_code=2))
    assert [(fault["line"], fault["path"]) for fault in error["errors"]] == [(2, "$.class")]
    run("source", "change", "local", "--dir", "log", "--allow-class", "short")
    answer = read_json(run("append", "-", "--dir", "log", given=events))
    first = answer["first_index"]
    assert [read_json(run("show", first + n, "--dir", "log", "--json"))["class"] for n in (0, 1)] == [
        "default",
        "short",
    ]
    run("source", "change", "local", "--dir", "log", "--no-classes")
    run("append", "-", "--dir", "log", given=events, exit_code=2)


def test_a_full_log_is_asked_again(run: Run, made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    real = HeldLog.append

    def sometimes(self: HeldLog, *args: object, **named: object) -> object:
        if not asked:
            raise Busy("the intake is full", retry_after_s=3)
        return real(self, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(HeldLog, "append", sometimes)
    monkeypatch.setattr("time.sleep", asked.append)
    assert read_json(run("append", "-", "--dir", "log", given=b'{"action":"a"}'))["accepted"] == 1
    assert asked == [3]


def test_the_log_is_published_when_it_ends(run: Run, made: str) -> None:
    for number in range(3):
        run("append", "-", "--dir", "log", given=b'{"action":"a"}')
        with open_view(Path("log")) as view:
            assert view.size == view.published.checkpoint.size == number + 2
