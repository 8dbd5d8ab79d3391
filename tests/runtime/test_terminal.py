"""What a human sees of text that anybody may have written."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.runtime.terminal import escape_for_terminal


def unescape(shown: str) -> str:
    return re.sub(r"\\u\{([0-9a-f]+)\}", lambda found: chr(int(found[1], 16)), shown)


@pytest.mark.parametrize(
    "text", ["", "plain text, with: marks!", "C:\\Users\\u1", "Jörg, Ærø, Žižek", "漢字 かな 한글", "😀", "Ελλάδα"]
)
def test_ordinary_text_is_untouched(text: str) -> None:
    assert escape_for_terminal(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred\x1b[0m", "a\\u{1b}[31mred\\u{1b}[0m"),
        ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
        ("one\ntwo\r\tthree", "one\\u{a}two\\u{d}\\u{9}three"),
        ("\x00\x7f\x85\x9b", "\\u{0}\\u{7f}\\u{85}\\u{9b}"),
        ("txt\u202eexe", "txt\\u{202e}exe"),
        ("\u2066a\u2069\u200e\u200f\u061c", "\\u{2066}a\\u{2069}\\u{200e}\\u{200f}\\u{61c}"),
        ("ro\u200bot\u200d\u2060\ufeff\u00ad", "ro\\u{200b}ot\\u{200d}\\u{2060}\\u{feff}\\u{ad}"),
        ("a\u2028b\u2029", "a\\u{2028}b\\u{2029}"),
        ("a\u00a0b\u3000", "a\\u{a0}b\\u{3000}"),
        ("\u3164\u115f\uffa0\u2800", "\\u{3164}\\u{115f}\\u{ffa0}\\u{2800}"),
        ("x\ufe0f\U000e0041\U000e0101", "x\\u{fe0f}\\u{e0041}\\u{e0101}"),
        ("\ud800", "\\u{d800}"),
        ("\ue000\uffff", "\\u{e000}\\u{ffff}"),
        ("\\u{202e}", "\\u{5c}u{202e}"),
        ("z" + "\u0301" * 6, "z" + "\u0301" * 4 + "\\u{301}" * 2),
    ],
)
def test_what_is_escaped(text: str, shown: str) -> None:
    assert escape_for_terminal(text) == shown


@given(st.text(st.characters(codec=None)))
def test_every_escape_can_be_taken_back_and_nothing_unprintable_is_left(text: str) -> None:
    shown = escape_for_terminal(text)
    assert unescape(shown) == text
    assert shown.isprintable()


def test_no_format_or_control_character_is_let_through() -> None:
    for point in (*range(0x20000), *range(0xE0000, 0xE0400)):
        character = chr(point)
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or character.isspace():
            assert escape_for_terminal(character) == (" " if point == 32 else f"\\u{{{point:x}}}")
