"""Text of unknown origin, made safe to show to a human.

An event may hold anything a producer's user typed: terminal control sequences, right-to-left overrides that make
`exe.txt` of `txt.exe`, characters nobody sees. They are stored as they came and escaped here, wherever a person reads.

Not covered: letters that look like other letters, and the natural reordering of right-to-left scripts.
"""

import re

__all__ = ["escape_for_terminal"]

_MARKS_MAX = 4  # combining marks on one letter; more of them paint over the lines around

# Printable by Unicode's categories, yet drawn as nothing: grapheme joiner, Hangul and Khmer fillers, braille blank,
# Mongolian and general variation selectors.
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
_COMBINING = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
)
_SUSPECT = re.compile(rf"[{_INVISIBLE}]|\\u\{{|(?<=[{_COMBINING}]{{{_MARKS_MAX}}})[{_COMBINING}]")


def escape_for_terminal(text: str) -> str:
    """`text` on one line, with every control, invisible or direction-changing character written as `\\u{hex}`.

    Of all the spaces only the plain one is let through. A literal `\\u{` in the text is written `\\u{5c}u{`, so that no
    text can pretend to have been escaped, and the escapes can be taken back.
    """
    if text.isprintable() and not _SUSPECT.search(text):
        return text
    text = _SUSPECT.sub(_escape_match, text)
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape_match(found: re.Match[str]) -> str:
    first, rest = found[0][0], found[0][1:]
    return _escape(first) + rest


def _escape(character: str) -> str:
    return f"\\u{{{ord(character):x}}}"
