"""docs/client.md: its examples run, in order, against a real server; its tables name every option and error."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import graven.client
from client.process import ServedLog
from graven.client import Client
from graven.core.errors import GravenError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "client.md").read_text()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedLog]:
    log = ServedLog.create(tmp_path / "log")
    log.start()
    yield log
    log.end()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_the_examples_run(served: ServedLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text(served.token + "\n")
    names: dict[str, object] = {
        "URL": served.url,
        "TOKEN_FILE": tmp_path / "token",
        "VKEY": served.vkey,
        "RECEIPTS": tmp_path / "receipts",
    }
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 7
    for number, example in enumerate(examples, 1):
        exec(compile(example, f"docs/client.md, example {number}", "exec"), names)
    assert 'b\'{"id":' in capsys.readouterr().out
    assert list((tmp_path / "receipts").glob("evidence-*.json"))


def test_every_option_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| (`[a-z_`, ]+) \| ([^|]*) \|", PAGE.partition("## Options")[2], re.MULTILINE))
    told = {name: default for names, default in rows.items() for name in re.findall(r"`([a-z_]+)`", names)}
    parameters = {name: one.default for name, one in inspect.signature(Client).parameters.items()}
    assert set(told) == set(parameters)
    for name, default in parameters.items():
        words = told[name].strip("` ").replace(",", "")
        if isinstance(default, bool):
            assert words == str(default), name
        elif isinstance(default, int | float):
            number, _, unit = words.partition(" ")
            assert float(number) * {"": 1, "MiB": 1 << 20}[unit] == default, name
        elif default is inspect.Parameter.empty:
            assert words == "required", name
        else:
            assert words in ("none", "the system's"), name


def test_every_error_is_in_the_table() -> None:
    table = PAGE.partition("## Errors")[2].partition("## Options")[0]
    errors = {
        name
        for name in graven.client.__all__
        if isinstance(one := getattr(graven.client, name), type) and issubclass(one, GravenError)
    }
    assert errors == {"NoAnswer", "ReceiptNotKept", "WrongReceipt"}
    told = set(re.findall(r"^\| `([A-Za-z]+)`", table, re.MULTILINE))
    assert told == errors | {"BadInput", "Broken", "Busy", "Disproved", "Refusal"}


def test_every_method_is_on_the_page() -> None:
    methods = {name for name in vars(Client) if not name.startswith("_")}
    assert methods == set(re.findall(r"\b(" + "|".join(methods) + r")\b", PAGE))
