"""What is printed is safe to show, one line, and says what the errors hold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.cli.output import counted, dump_json, error_fields, print_error, print_fields, verbatim_json
from graven.core.errors import BadInput, Broken, Busy, Disproved, GravenError
from graven.event import Refusal


@given(st.text())
def test_json_is_one_line_of_ascii_and_the_same_value(text: str) -> None:
    for spelled in (dump_json({"a": text}), verbatim_json(json.dumps({"a": text}, ensure_ascii=False))):
        assert spelled.isascii() and spelled.isprintable()
        assert json.loads(spelled) == {"a": text}


def test_verbatim_json_keeps_digits_and_duplicate_keys() -> None:
    text = '{"a":1.10,\n\t"a":123456789012345678901,"b":"\x7fé\U0001f4a9"}'
    spelled = verbatim_json(text)
    assert spelled == '{"a":1.10,  "a":123456789012345678901,"b":"\\u007f\\u00e9\\ud83d\\udca9"}'


def test_numbers_json_does_not_have() -> None:
    with pytest.raises(ValueError):
        dump_json({"a": float("nan")})


@pytest.mark.parametrize(
    "error, kind, more",
    [
        (BadInput("w", place="p", mend="m"), "bad_input", {}),
        (Broken("w", place="p", mend="m"), "broken", {}),
        (Busy("w", place="p", mend="m", retry_after_s=7), "busy", {"retry_after_s": 7}),
        (Disproved("w", place="p", mend="m", expected="e", found="f"), "disproved", {"expected": "e", "found": "f"}),
    ],
)
def test_errors_as_json(error: GravenError, kind: str, more: dict[str, object]) -> None:
    expected = {"kind": kind, "what": "w", "place": "p", "mend": "m", "exit_code": error.exit_code} | more
    assert error_fields(error) == expected


def test_errors_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(Disproved("no\x1b[31m", expected="a\nb", found="\u202e", place="p"), as_json=False)
    assert capsys.readouterr().err == "graven: no\\u{1b}[31m: expected a\\u{a}b, found \\u{202e} (p)\n"
    faults = [
        {"position": 3, "path": "$.x\n", "what": "w", "mend": "m"},
        {"position": 4, "path": "$", "what": "v", "mend": ""},
    ]
    print_error(Refusal(faults), as_json=False)  # type: ignore[arg-type]
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == ["  event 3, $.x\\u{a}: w. Mend: m", "  event 4, $: v"]


def test_fields_are_escaped_and_empty_ones_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields([("a", "x\ny"), ("b", ""), ("c", None), ("d", 0)])
    assert capsys.readouterr().out == "  a           x\\u{a}y\n  d           0\n"


def test_counted() -> None:
    assert [counted(n, "entry", "entries") for n in (0, 1, 2)] == ["0 entries", "1 entry", "2 entries"]
    assert counted(2, "file") == "2 files"
