"""Secrets that are known by their looks: where in a text they stand.

Every pattern is linear in the length of the text: it begins with fixed letters or is bounded, and nothing repeated can
be split in two ways. What is found is the secret alone (the password, not the address around it).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["DETECTORS", "Found", "Scanner", "Sights", "find_secrets", "is_secret_name"]

Found = tuple[int, int, str]
"""Start and end of a secret in a text, and the name of its detector."""

_VALUE = r"[^\s\"'&;,|<>\\]{1,512}"
_WORD = (
    r"(?:pass(?:word|wd|phrase)|api[_-]?key|access[_-]?token|refresh[_-]?token|auth[_-]?token|client[_-]?secret"
    r"|secret[_-]?(?:access[_-]?)?key|private[_-]?key)"
)
_WORD_HINTS = (
    b"passw", b"passphrase", b"api_key", b"apikey", b"api-key", b"access_token", b"accesstoken", b"access-token",
    b"refresh", b"auth_token", b"authtoken", b"auth-token", b"client_secret", b"clientsecret", b"client-secret",
    b"secret_", b"secretkey", b"secret-", b"secretaccess", b"private_key", b"privatekey", b"private-key",
)  # fmt: skip
_PATTERNS: tuple[tuple[str, tuple[bytes, ...], str], ...] = (
    # the detector; what must stand in the text, in lower case (any of them); the pattern, whose one group is the secret
    (
        "private-key",
        (b"private key",),
        r"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^\"-]|-(?!----))*"
        r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?)",
    ),
    ("cloud-key", (b"aiza",), r"(?<![\w-])(AIza[\w-]{35})(?![\w-])"),
    ("cloud-key", (b"accountkey=", b"sharedaccesskey="), r"(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/=]{20,256})"),
    (
        "cloud-key",
        (b"x-amz-s", b"sig="),
        r"(?:X-Amz-Signature|X-Amz-Security-Token|[?&]sig)=([A-Za-z0-9%+/=_-]{16,4096})",
    ),
    (
        "cloud-key",
        (b"aws_se", b"secretaccesskey"),
        r"(?i:aws_secret_access_key|aws_session_token|secretaccesskey)[\"']? ?[=:] ?[\"']?([A-Za-z0-9+/=]{30,4096})",
    ),
    ("token", (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), r"(?<![\w-])(gh[pousr]_[A-Za-z0-9]{30,255})"),
    ("token", (b"github_pat_",), r"(?<![\w-])(github_pat_\w{22,255})"),
    (
        "token",
        (b"glpat-", b"npm_", b"pypi-"),
        r"(?<![\w-])(glpat-[\w-]{20,255}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{16,255})",
    ),
    ("token", (b"xox",), r"(?<![\w-])(xox[abeprs]-[A-Za-z0-9-]{10,255})"),
    ("token", (b"sk-", b"k_live_"), r"(?<![\w-])(sk-(?:ant-|proj-)?[\w-]{20,255}|[sr]k_live_[A-Za-z0-9]{16,255})"),
    ("token", (b"gvn_", b"hvs."), r"(?<![\w-])(gvn_[\w-]{43}|hvs\.[\w-]{20,255})"),
    ("token", (b"eyj",), r"(?<![\w-])(eyJ[\w-]{8,8192}\.eyJ[\w-]{8,8192}\.[\w-]{0,8192})"),
    ("token", (b"bearer ", b"basic "), r"(?<![A-Za-z])(?i:bearer|basic) ([A-Za-z0-9._~+/=-]{16,8192})"),
    ("password", (b"://",), r"://[^\s/:@\"']{0,100}:([^\s/@\"']{1,256})@"),
    ("password", (b" --", b" -p"), rf"(?<=[\s\"])--?(?i:{_WORD}|token|secret|pass)[= ]({_VALUE})"),
    # `"password": "x"` and `password=x`; a JSON number, true or null is no secret
    (
        "password",
        _WORD_HINTS,
        rf"(?i:(?<![A-Za-z]){_WORD})(?:\\{{0,4}}[\"'] ?[=:] ?\\{{0,4}}[\"']| ?[=:] ?[\"']?)({_VALUE})",
    ),
    (
        "password",
        (b"password=", b"secret=", b"token=", b"passwd=", b"_pwd="),
        r"(?:(?<=[_A-Z])|(?<![A-Za-z0-9]))(?:PASSWORD|SECRET|TOKEN|PASSWD|MYSQL_PWD)=([^\s\"';&]{1,512})",
    ),
    ("password", (b"password '", b"identified by '"), r"(?i:password|identified by) '([^'\"\n]{1,256})'"),
    ("card", (), r"(?<![\w.-])([2-6](?:[ -]?\d){12,18})(?!\w)"),
)
DETECTORS = tuple(dict.fromkeys(name for name, _, _ in _PATTERNS))
"""The names of the detectors."""

_NAMES: Mapping[str, frozenset[str]] = {
    "password": frozenset({
        "password", "passwd", "passphrase", "secret", "secretvalue", "clientsecret", "newpassword", "oldpassword",
        "masterpassword", "masteruserpassword", "userpassword",
    }),
    "token": frozenset({
        "token", "accesstoken", "refreshtoken", "idtoken", "authtoken", "sessiontoken", "apikey", "apitoken",
        "authorization", "bearertoken", "securitytoken",
    }),
    "cloud-key": frozenset({"secretaccesskey", "secretkey", "accountkey"}),
    "private-key": frozenset({"privatekey", "keymaterial"}),
}  # fmt: skip
_NAME_HINTS = (
    b"passw", b"passphrase", b"secret", b"token", b"authorization", b"apikey", b"api_key", b"api-key", b"accountkey",
    b"account_key", b"private_key", b"privatekey", b"keymaterial", b"key_material",
)  # fmt: skip
_NAMED = re.compile(
    rb'"[A-Za-z_. -]{0,24}(?:passw|passphrase|secret|token|key|authorization)[A-Za-z_. -]{0,16}"[ \t\r\n]*:[ \t\r\n]*"',
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"\[redacted:|\[hmac:|<redacted>|\*{3,}|\.{3}|HIDDEN_DUE_TO_SECURITY_REASONS|null\Z", re.IGNORECASE
)
_COARSE = (b"pass", b"secret", b"token", b"api", b"private", b"refresh", b"key", b"gh")
_PLAIN_NAME = str.maketrans("", "", "_- .")
_DIGITS = re.compile(rb"[0-9][0-9 -]{11}")

Pattern = tuple[str, "re.Pattern[str]"]


@dataclass(frozen=True, slots=True)
class Sights:
    """What a first look found: the patterns that meet something, and whether a member has a telling name."""

    patterns: tuple[Pattern, ...]
    named: bool

    def __bool__(self) -> bool:
        return bool(self.patterns) or self.named


class Scanner:
    """The detectors of these names. A record without secrets costs a few searches for fixed words."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._patterns = [
            (name, [(_coarse(hint), hint) for hint in hints], re.compile(regex))
            for name, hints, regex in _PATTERNS
            if name in names
        ]
        hints = [pair for _, pairs, _ in self._patterns for pair in pairs] + _NAME_COARSE
        self._coarse = tuple(dict.fromkeys(coarse for coarse, _ in hints))

    def look(self, *pieces: bytes) -> Sights:
        """What there is in any of the pieces."""
        if not self.names:
            return Sights((), False)
        low = b"\0".join(pieces).lower()
        there = [coarse for coarse in self._coarse if coarse in low]
        found: list[Pattern] = []
        texts: list[str] = []
        for name, hints, regex in self._patterns:
            if _any_hint(hints, there, low) if hints else _DIGITS.search(low):
                texts = texts or [piece.decode("utf-8", "surrogateescape") for piece in pieces]
                if any(regex.search(text) for text in texts):
                    found.append((name, regex))
        named = _any_hint(_NAME_COARSE, there, low) and any(self._names(piece) for piece in pieces)
        return Sights(tuple(found), named)

    def _names(self, piece: bytes) -> bool:
        for found in _NAMED.finditer(piece):
            key = found[0].split(b'"', 2)[1].decode()
            if is_secret_name(key, self.names) is not None:
                return True
        return False


def find_secrets(text: str, patterns: Iterable[Pattern]) -> Iterator[Found]:
    """Where the secrets in `text` are, for each pattern in turn; they may overlap."""
    for name, pattern in patterns:
        for found in pattern.finditer(text):
            if _PLACEHOLDER.match(found[1]) or (name == "card" and not _is_card(found[1])):
                continue
            yield found.start(1), found.end(1), name


def _coarse(hint: bytes) -> bytes:
    """A shorter word that stands wherever the hint does, shared by many hints: what is looked for first."""
    return next((word for word in _COARSE if word in hint), hint)


def _any_hint(hints: Iterable[tuple[bytes, bytes]], there: list[bytes], low: bytes) -> bool:
    return any(coarse in there and hint in low for coarse, hint in hints)


def is_secret_name(key: str, names: tuple[str, ...]) -> str | None:
    """The detector for which a member of this name is a secret by its name alone."""
    if len(key) > 64:
        return None
    plain = key.translate(_PLAIN_NAME).lower()
    return next((name for name in names if plain in _NAMES.get(name, ())), None)


_NAME_COARSE = [(_coarse(hint), hint) for hint in _NAME_HINTS]


def _is_card(value: str) -> bool:
    digits = [int(digit) for digit in value if digit.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + doubled) % 10 == 0
