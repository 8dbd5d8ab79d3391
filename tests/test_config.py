"""The configuration: strict, bounded, written as it is read, and documented whole."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, structs

from graven import config as graven_config
from graven.config import (
    Config,
    Environment,
    WebhookConfig,
    config_sha256,
    default_config,
    flatten,
    format_config,
    load_config,
    parse_config,
    parse_listen,
    read_environment,
    read_passphrase,
    read_token_access,
)
from graven.config.model import TABLES, ClassConfig, default_of, describe, knobs, sections
from graven.config.outside import AuthorityConfig
from graven.config.write import show
from graven.core.errors import BadInput
from graven.core.note import format_vkey
from graven.keys.rootkeys import LOG_ED25519_FILE, LOG_MLDSA44_FILE, RECEIPT_FILE, load_signing_key, make_root_keys
from graven.keys.token_uri import Access

ORIGIN = "example.com/log"
LOG_ID = "0123456789abcdef" * 2
KEYS = make_root_keys(ORIGIN)
VKEYS = [
    format_vkey(load_signing_key(KEYS.signing[file], file, ORIGIN, place="").key)
    for file in (LOG_ED25519_FILE, LOG_MLDSA44_FILE, RECEIPT_FILE)
]
DEFAULT = default_config(origin=ORIGIN, log_id=LOG_ID, vkeys=VKEYS[:2])
IDENTITY = f"origin = '{ORIGIN}'\nlog_id = '{LOG_ID}'\nvkeys = {VKEYS[:2]}\n"
DOCS = Path(__file__).parents[1] / "docs" / "configuration.md"
ALL_KNOBS = [
    *[("", knob) for knob in knobs(Config)],
    *[(section.name, knob) for section in sections() for knob in knobs(type(section.default))],
    *[(f"{name}.NAME", knob) for name, kind in TABLES.items() for knob in knobs(kind)],
]


def bounds(knob: structs.FieldInfo) -> Meta:
    return next(extra for extra in knob.type.__metadata__ if isinstance(extra, Meta))


NUMBERS = [(section.replace("NAME", "one"), knob) for section, knob in ALL_KNOBS if bounds(knob).ge is not None]


def test_the_defaults() -> None:
    assert parse_config(IDENTITY) == DEFAULT
    assert (DEFAULT.journal.segment_bytes, DEFAULT.journal.segment_age_s) == (64 << 20, 86_400)
    assert (DEFAULT.publish.interval_ms, DEFAULT.publish.wait_for) == (1_000, ())
    assert (DEFAULT.intake.max_events, DEFAULT.intake.group_events) == (200_000, 4_000)
    assert (DEFAULT.intake.max_bytes, DEFAULT.intake.max_request_bytes) == (256 << 20, 16 << 20)
    assert (DEFAULT.idempotency.window_s, DEFAULT.idempotency.max_ids) == (86_400, 1_000_000)
    assert (DEFAULT.server.listen, DEFAULT.server.public_log) == ("127.0.0.1:4780", True)
    assert list(DEFAULT.classes) == ["default"]


def test_a_configuration_is_frozen() -> None:
    for value, name in ((DEFAULT, "origin"), (DEFAULT.publish, "interval_ms")):
        with pytest.raises(AttributeError):
            setattr(value, name, 1)


def test_the_file_of_a_new_log_is_all_comments_but_its_identity() -> None:
    text = format_config(DEFAULT)
    lines = [line.split(" = ")[0] for line in text.splitlines() if " = " in line and not line.startswith("#")]
    assert lines == ["format", "origin", "log_id", "vkeys", "description"]
    hook = WebhookConfig(kind="hmac", secret_files=("x",))
    with_one = format_config(
        structs.replace(DEFAULT, authorities={"one": AuthorityConfig(ca_file="x")}, webhooks={"one": hook})
    )
    for section, knob in ALL_KNOBS:
        text = with_one if section.startswith(("authorities", "webhooks")) else text
        assert re.search(rf"^(# )?{knob.name} = ", text, re.MULTILINE), knob.name
        assert describe(knob)[:60] in text or knob.name == "description"


def test_every_commented_default_can_be_uncommented() -> None:
    text = format_config(DEFAULT)
    given_all = re.sub(r"^# ([a-z_]+ = (?!\"…\"))", r"\1", text, flags=re.MULTILINE)
    assert given_all.count("\n# ") < text.count("\n# ")
    assert parse_config(given_all) == DEFAULT


PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
CLASS_NAMES = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True).filter(lambda name: name != "graven")


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Any configuration that may be written."""
    values: dict[str, Any] = {}
    for section in sections():
        numbers = {
            knob.name: draw(st.integers(bounds(knob).ge, bounds(knob).le))  # type: ignore[arg-type]
            for knob in knobs(type(section.default))
            if bounds(knob).ge is not None
        }
        values[section.name] = structs.replace(section.default, **numbers)
    intake = values["intake"]
    values["intake"] = structs.replace(intake, max_bytes=max(intake.max_bytes, intake.max_request_bytes))
    places = draw(st.lists(PATHS, unique=True, max_size=4))
    values["keys"] = structs.replace(
        values["keys"],
        dir=places[0] if places else None,
        replicas=tuple(places[1:]),
        passphrase_file=draw(st.none() | PATHS),
        log=draw(
            st.sampled_from(["file:", "pkcs11:?pin-source=file:/x", "pkcs11:?module-path=/m.so&pin-source=file:/x"])
        ),
    )
    tls = draw(st.none() | st.tuples(PATHS, PATHS))
    values["server"] = structs.replace(
        values["server"],
        listen=f"{draw(st.sampled_from(['127.0.0.1', '[::1]', 'example.com']))}:{draw(st.integers(0, 65535))}",
        tls_cert=tls and tls[0],
        tls_key=tls and tls[1],
        public_log=draw(st.booleans()),
    )
    values["log"] = structs.replace(values["log"], level=draw(st.sampled_from(["debug", "info", "warning", "error"])))
    names = ["default", *draw(st.lists(CLASS_NAMES.filter(lambda name: name != "default"), unique=True, max_size=3))]
    classes = {name: ClassConfig(description=draw(TEXTS)) for name in names}
    authorities = {
        name: AuthorityConfig(
            url=draw(st.sampled_from(["", "http://tsa.example.com", "https://example.com:8/x"])),
            ca_file=draw(PATHS), policy=draw(st.sampled_from(["", "1.2.3.4.1"])), interval_s=draw(st.integers(1, 999)),
        )
        for name in draw(st.lists(CLASS_NAMES, unique=True, max_size=2))
    }  # fmt: skip
    return structs.replace(DEFAULT, dir=draw(st.none() | PATHS), classes=classes, authorities=authorities, **values)


@settings(max_examples=60, deadline=None)
@given(configs())
def test_parse_of_format(config: Config) -> None:
    again = parse_config(format_config(config))
    assert again == config
    assert list(again.classes) == list(config.classes)
    assert config_sha256(again) == config_sha256(config)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200) | st.text('[]=".\n#abc 0123', max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for whole in (text, IDENTITY + text):
        try:
            assert isinstance(parse_config(whole), Config)
        except BadInput as error:
            assert error.place.startswith("graven.toml")


VALUES = st.sampled_from(['"x"', "1", "-1", "1.5", "true", "[]", '["a"]', "{a = 1}", "1979-05-27", '""', "nan"])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ALL_KNOBS), VALUES)
def test_any_value_of_any_knob_is_read_or_refused_by_name(which: tuple[str, structs.FieldInfo], value: str) -> None:
    section, knob = which
    tree = tomllib.loads(IDENTITY)
    head = f"[{section}]\n".replace("NAME", "default") if section else ""
    given = "".join(f"{name} = {show(old)}\n" for name, old in tree.items() if (section, knob.name) != ("", name))
    try:
        parse_config(f"{given}{head}{knob.name} = {value}\n")
    except BadInput as error:
        assert knob.name in str(error) or section.partition(".")[0] in str(error)


@pytest.mark.parametrize(("section", "knob"), NUMBERS, ids=lambda value: getattr(value, "name", value))
def test_numbers_are_bounded(section: str, knob: structs.FieldInfo) -> None:
    meta = bounds(knob)
    assert isinstance(meta.ge, int)
    assert isinstance(meta.le, int)
    assert meta.ge <= knob.default <= meta.le
    roomy = "max_request_bytes = 1048576\n" if section == "intake" and knob.name != "max_request_bytes" else ""
    roomy = "max_bytes = 68719476736\n" if knob.name == "max_request_bytes" else roomy
    roomy = {"authorities.one": "ca_file = 'x'\n", "webhooks.one": "kind = 'github'\nsecret_files = ['x']\n"}.get(
        section, roomy
    )
    table, _, one = section.partition(".")
    for value in (meta.ge, meta.le):
        parsed = parse_config(f"{IDENTITY}[{section}]\n{roomy}{knob.name} = {value}\n")
        held: Any = getattr(parsed, table)
        assert getattr(held[one] if one else held, knob.name) == value
    for wrong in (meta.ge - 1, meta.le + 1, 2**70, "true", "1.0", '"1"'):
        with pytest.raises(BadInput) as caught:
            parse_config(f"{IDENTITY}[{section}]\n{roomy}{knob.name} = {wrong}\n")
        assert f"[{section.replace('.one', '[...]')}] {knob.name}" in caught.value.place
        assert describe(knob) in caught.value.mend


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("[publish]\ninterval = 1\n", "[publish] interval", "did you mean [publish] interval_ms?"),
        ("interval_ms = 1\n", "interval_ms", "did you mean [publish] interval_ms?"),
        ("[publsh]\n", "publsh", "did you mean publish?"),
        (
            "[publish.x]\n",
            "[publish] x",
            "known here: interval_ms, wait_for, witness_policy, witness_deadline_ms, "
            "witness_require, witness_refresh_s, witness_start",
        ),
        ("[classes.a]\ndescr = 'x'\n", "[classes.a] descr", "did you mean [classes.a] description?"),
        (
            "[keys]\nwholly_other = 1\n",
            "[keys] wholly_other",
            "known here: dir, replicas, passphrase_file, log, signer",
        ),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest(text: str, place: str, hint: str) -> None:
    with pytest.raises(BadInput, match="unknown key") as caught:
        parse_config(IDENTITY + text, place="f")
    assert caught.value.place == f"f, {place}"
    assert caught.value.mend == hint


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "missing required field `origin`"),
        (f"origin = '{ORIGIN}'\nvkeys = {VKEYS[:2]}\n", "missing required field `log_id`"),
        (IDENTITY.replace(LOG_ID, LOG_ID.upper()), "cannot stand here"),
        (IDENTITY.replace(LOG_ID, LOG_ID + "\\n"), "cannot stand here"),
        (IDENTITY.replace(f"'{ORIGIN}'\n", "'with space'\n"), "space"),
        (IDENTITY.replace(f"'{ORIGIN}'\n", "'example.com/other'\n"), "not a log key named as the origin"),
        (f"origin = '{ORIGIN}'\nlog_id = '{LOG_ID}'\nvkeys = []\n", "length >= 1"),
        (f"origin = '{ORIGIN}'\nlog_id = '{LOG_ID}'\nvkeys = ['x']\n", "verifier key"),
        (f"origin = '{ORIGIN}'\nlog_id = '{LOG_ID}'\nvkeys = {VKEYS[2:]}\n", "not a log key named as the origin"),
        (f"origin = '{ORIGIN}'\nlog_id = '{LOG_ID}'\nvkeys = {VKEYS[1:2]}\n", "no Ed25519 key"),
        (f"origin = '{ORIGIN}'\nlog_id = '{LOG_ID}'\nvkeys = {VKEYS[:1] * 2}\n", "type of key twice"),
        (IDENTITY + "format = 2\n", "Invalid enum value 2"),
        (IDENTITY + "keys = 3\n", "Expected `object`"),
        (IDENTITY + "classes = 3\n", "Expected `object`"),
        (IDENTITY + "[classes.Big]\n", "a class name has"),
        (IDENTITY + "[authorities.a_b]\n", "an authority's name has"),
        (IDENTITY + "[authorities.a]\n", "without ca_file"),
        (IDENTITY + "[authorities.a]\nca_file = 'x'\nurl = 'http://user@host'\n", "cannot stand here"),
        (IDENTITY + "[authorities.a]\nca_file = 'x'\npolicy = 'x'\n", "cannot stand here"),
        (IDENTITY + "".join(f"[authorities.a{n}]\nca_file = 'x'\n" for n in range(17)), "more than 16"),
        (IDENTITY + "[classes.graven]\n", "Graven's own"),
        (IDENTITY + "[classes.a]\ndescription = 3\n", "Expected `str`"),
        (IDENTITY + "".join(f"[classes.c{n}]\n" for n in range(65)), "more than 64"),
        (IDENTITY + "[keys]\nreplicas = ['a', 'a']\n", "one directory"),
        (IDENTITY + "[keys]\ndir = 'a'\nreplicas = ['a']\n", "one directory"),
        (IDENTITY + "[keys]\nreplicas = ['']\n", "cannot stand here"),
        (IDENTITY + "[keys]\ndir = 'a\\u0000b'\n".replace("'", '"'), "cannot stand here"),
        (IDENTITY + "[keys]\nlog = 'pkcs11:x'\n", "cannot stand here"),
        (IDENTITY + "[publish]\nwait_for = ['bucket']\n", "length <= 0"),
        (IDENTITY + "[intake]\nmax_bytes = 2000000\n", "largest request would never fit"),
        (IDENTITY + "[server]\ntls_cert = 'x'\n", "one of tls_cert and tls_key"),
        (IDENTITY + "[server]\nlisten = 'nowhere'\n", "not an address"),
        (IDENTITY + "[log]\nlevel = 'loud'\n", "Invalid enum value 'loud'"),
        (IDENTITY + IDENTITY, "no TOML"),
        ("x = " + "[" * 5000, "no TOML"),
    ],
)
def test_refusals(text: str, what: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_config(text)
    assert what in str(caught.value)


def test_the_default_class_always_exists() -> None:
    assert list(parse_config(IDENTITY + "[classes.payroll]\n").classes) == ["default", "payroll"]
    described = parse_config(IDENTITY + "[classes.payroll]\n[classes.default]\ndescription = 'x'\n")
    assert described.classes["default"].description == "x"


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:4780", ("127.0.0.1", 4780)),
        ("[::1]:0", ("::1", 0)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
        ("log.example.com:80", ("log.example.com", 80)),
    ],
)
def test_listen(listen: str, expected: tuple[str, int]) -> None:
    assert parse_listen(listen) == expected


@pytest.mark.parametrize(
    "listen", ["", ":80", "host", "host:", "host:x", "host:-1", "host:65536", "::1:80", "[]:1", "a:٣"]
)
def test_no_listen(listen: str) -> None:
    with pytest.raises(BadInput):
        parse_listen(listen)


def test_load_makes_paths_absolute(tmp_path: Path) -> None:
    path = tmp_path / "graven.toml"
    path.write_text(
        IDENTITY
        + "dir = 'data'\n[keys]\ndir = 'k'\nreplicas = ['/else/r', 'r']\npassphrase_file = 'pw'\n"
        + "[server]\ntls_cert = 'c.pem'\ntls_key = 'k.pem'\n"
    )
    config = load_config(path)
    assert config.dir == str(tmp_path / "data")
    assert config.keys.dir == str(tmp_path / "k")
    assert config.keys.replicas == ("/else/r", str(tmp_path / "r"))
    assert config.keys.passphrase_file == str(tmp_path / "pw")
    assert (config.server.tls_cert, config.server.tls_key) == (str(tmp_path / "c.pem"), str(tmp_path / "k.pem"))
    path.write_text(format_config(DEFAULT))
    assert load_config(str(path)) == DEFAULT


def test_load_refuses_what_is_no_file_of_text(tmp_path: Path) -> None:
    path = tmp_path / "graven.toml"
    with pytest.raises(BadInput, match="no configuration file"):
        load_config(path)
    path.write_bytes(b"origin = '\xff'")
    with pytest.raises(BadInput, match="not UTF-8"):
        load_config(path)
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(BadInput, match="more than"):
        load_config(path)
    with pytest.raises(BadInput, match="cannot be read"):
        load_config(tmp_path)


def test_flatten_and_hash() -> None:
    flat = flatten(DEFAULT)
    assert flat["publish.interval_ms"] == "1000"
    assert flat["server.public_log"] == "true"
    assert flat["keys.replicas"] == "[]"
    assert flat["origin"] == ORIGIN
    assert flat["classes.default.description"] == ""
    assert "keys.dir" not in flat
    changed = structs.replace(DEFAULT, publish=structs.replace(DEFAULT.publish, interval_ms=999))
    assert {key for key, value in flatten(changed).items() if flat[key] != value} == {"publish.interval_ms"}
    assert config_sha256(changed) != config_sha256(DEFAULT)
    assert re.fullmatch("[0-9a-f]{64}", config_sha256(DEFAULT))
    given_default = parse_config(IDENTITY + "# a comment\n[publish]\ninterval_ms = 1000\n")
    assert config_sha256(given_default) == config_sha256(DEFAULT)


def secret_file(path: Path, words: str, mode: int = 0o600) -> str:
    path.write_text(words)
    path.chmod(mode)
    return str(path)


def test_where_the_passphrase_comes_from(tmp_path: Path) -> None:
    def words(config: Config, environment: Environment) -> bytes | None:
        found = read_passphrase(config, environment)
        return None if found is None else found.derive(b"salt", n=2, r=1, p=1)

    first, second, third = (secret_file(tmp_path / name, name) for name in ("env", "toml", "graven-passphrase"))
    with_file = structs.replace(DEFAULT, keys=structs.replace(DEFAULT.keys, passphrase_file=second))
    credentials = Environment(credentials_directory=str(tmp_path))
    everything = Environment(passphrase_file=first, credentials_directory=str(tmp_path))
    assert words(DEFAULT, Environment()) is None
    assert words(DEFAULT, Environment(credentials_directory=str(tmp_path / "none"))) is None
    answers = [words(with_file, everything), words(with_file, credentials), words(DEFAULT, credentials)]
    assert len({*answers, None}) == 4
    assert answers[0] == words(DEFAULT, Environment(passphrase_file=first))
    Path(third).chmod(0o440)
    assert words(DEFAULT, credentials) == answers[2], "systemd guards its credentials itself"
    with pytest.raises(BadInput, match="read by others"):
        words(DEFAULT, Environment(passphrase_file=third))
    with pytest.raises(BadInput, match="cannot be read"):
        words(DEFAULT, Environment(passphrase_file=str(tmp_path / "nowhere")))


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_environment({}) == Environment()
    assert read_environment({"GRAVEN_DIR": ""}) == Environment()
    monkeypatch.setenv("GRAVEN_DIR", "/var/lib/graven")
    monkeypatch.setenv("GRAVEN_TOKEN", "a secret token")
    found = read_environment()
    assert (found.dir, found.token) == ("/var/lib/graven", "a secret token")
    assert "a secret token" not in repr(found)


def test_only_this_package_reads_the_environment() -> None:
    source = Path(graven_config.__file__).parents[1]
    reading = [
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if re.search(r"\bos\.(environ|getenv)\b", path.read_text())
    ]
    assert reading == ["config/environment.py"]


def documented() -> dict[tuple[str, str], tuple[str, str, str]]:
    rows: dict[tuple[str, str], tuple[str, str, str]] = {}
    section = ""
    for line in DOCS.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip("[]").replace("Top level", "")
        elif match := re.fullmatch(r"\| `([a-z_]+)` \| (.+?) \| (.+?) \| (.+) \|", line):
            rows[section, match[1]] = (match[2], match[3], match[4])
    return rows


def test_every_key_is_documented_and_nothing_else() -> None:
    assert list(documented()) == [
        (section, knob.name)
        for section, knob in sorted(
            ALL_KNOBS, key=lambda one: list(dict.fromkeys(s for s, _ in documented())).index(one[0])
        )
    ]


@pytest.mark.parametrize(("section", "knob"), ALL_KNOBS, ids=lambda value: getattr(value, "name", value))
def test_documented_defaults_and_bounds_are_true(section: str, knob: structs.FieldInfo) -> None:
    default, limits, text = documented()[section, knob.name]
    if knob.required:
        assert default == "required"
    else:
        assert default == ("none" if default_of(knob) is None else f"`{show(default_of(knob))}`")
    meta = bounds(knob)
    if meta.ge is not None:
        assert limits == f"{meta.ge} to {meta.le}"
    if knob.name == "level":
        assert limits == ", ".join(get_args(get_args(knob.type)[0]))
    assert len(text) > 20


def test_every_variable_is_documented() -> None:
    environment = (Path(graven_config.__file__).parent / "environment.py").read_text()
    variables = set(re.findall(r'variables\.get\("([A-Z_]+)"\)', environment))
    assert len(variables) == len(structs.fields(Environment))
    assert variables == set(re.findall(r"^\| `([A-Z_]+)` \|", DOCS.read_text(), re.MULTILINE))


def test_units_stand_last() -> None:
    for section, knob in NUMBERS:
        units = {"bytes", "s", "ms", "events", "ids", "days", "connections"}
        assert knob.name.rsplit("_", 1)[-1] in units, (section, knob.name)


def test_where_a_pin_is(tmp_path: Path) -> None:
    config = default_config(origin="example.com/log", log_id="0" * 32, vkeys=())
    said = msgspec.structs.replace(config, keys=msgspec.structs.replace(config.keys, log="pkcs11:?pin-source=file:/c"))
    (tmp_path / "graven-pin").write_text("1234")
    variable, credential = Environment(pin_file="/e"), Environment(credentials_directory=str(tmp_path))
    assert read_token_access(None, Environment()) == read_token_access(config, Environment()) == Access()
    assert read_token_access(said, variable) == Access(None, "/e")
    assert read_token_access(said, credential) == Access(None, "/c")
    assert read_token_access(config, credential) == Access(None, f"{tmp_path}/graven-pin", pin_private=False)
