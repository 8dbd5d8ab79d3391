"""Reading a configuration file strictly: what is unknown, out of bounds or does not fit together is refused."""

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from graven.config.doors import parse_senders
from graven.config.model import (
    AUTHORITIES_MAX,
    CLASSES_MAX,
    DEFAULT_CLASS,
    RESERVED_CLASS,
    TABLES,
    ClassConfig,
    Config,
    describe,
    is_section,
    knobs,
    sections,
)
from graven.core.checkpoint import LOG_KEY_TYPES, check_origin
from graven.core.errors import BadInput
from graven.core.note import ED25519, parse_vkey
from graven.keys.token_uri import parse_access

CONFIG_NAME = "graven.toml"
CONFIG_BYTES_MAX = 1 << 20

_TABLE_NAMES = {
    "retention.by_class": "a class name has 1 to 32 of the characters a-z, 0-9 and -",
    "classes": "a class name has 1 to 32 of the characters a-z, 0-9 and -",
    "authorities": "an authority's name has 1 to 32 of the characters a-z, 0-9 and -",
    "webhooks": "a webhook's name has 1 to 64 letters, digits and . _ @ -",
}
_NOTHING_SET = Config(origin="", log_id="", vkeys=())


def default_config(*, origin: str, log_id: str, vkeys: Sequence[str]) -> Config:
    """The configuration of a new log: its identity, and the default of every knob."""
    return Config(origin=origin, log_id=log_id, vkeys=tuple(vkeys), classes={DEFAULT_CLASS: ClassConfig()})


def load_config(path: str | Path) -> Config:
    """Read a configuration file. Paths in it may be relative to the directory it is in; they are absolute afterwards.

    Raises BadInput as `parse_config`, or if the file cannot be read.
    """
    place = str(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
    except FileNotFoundError:
        raise BadInput(
            "there is no configuration file", place=place, mend="give the directory of a log, or make one: graven init"
        ) from None
    except OSError as error:
        raise BadInput(f"the configuration file cannot be read: {error.strerror}", place=place) from error
    if len(data) > CONFIG_BYTES_MAX:
        raise BadInput(f"the configuration file has more than {CONFIG_BYTES_MAX} bytes", place=place)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadInput("the configuration file is not UTF-8", place=f"{place}, byte {error.start}") from None
    return _resolve(parse_config(text, place=place), Path(path).absolute().parent)


def parse_config(text: str, *, place: str = CONFIG_NAME) -> Config:
    """The configuration a TOML text spells.

    Raises BadInput: no TOML, an unknown key (naming it and the nearest known one), a value of the wrong type or out of
    its bounds, values that do not fit together.
    """
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise BadInput(f"the configuration is no TOML: {error}", place=place) from None
    _refuse_unknown(tree, Config, (), place)
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        raise _not_valid(str(error), place) from None
    _check(config, place)
    if DEFAULT_CLASS not in config.classes:
        config = structs.replace(config, classes={DEFAULT_CLASS: ClassConfig(), **config.classes})
    return config


def parse_listen(listen: str, *, place: str = "") -> tuple[str, int]:
    """Host and port of `HOST:PORT`, the host of IPv6 in brackets. Raises BadInput, naming `place`."""
    host, colon, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not colon or not bare or (":" in bare) is not bracketed or not (port.isascii() and port.isdecimal()):
        mend = "HOST:PORT, as 127.0.0.1:4780 or [::1]:4780"
        raise BadInput(f"not an address to listen on: {listen!r}", place=place, mend=mend)
    if int(port) > 65_535:
        raise BadInput(f"there is no port {port}", place=place, mend="0 to 65535; 0 takes a free one")
    return bare, int(port)


def _not_valid(message: str, place: str) -> BadInput:
    """msgspec's complaint in our words: which knob, what it takes, and what it is for."""
    what, _, where = message.partition(" - at `")
    if where.startswith("key`"):
        table = next((one for one in _TABLE_NAMES if one in where), "classes")
        what, where = _TABLE_NAMES[table], f"$.{table}"
    keys = tuple(where.rstrip("`").removeprefix("$").strip(".").split(".")) if where else ()
    kind: type[Struct] = Config
    if keys[1:]:
        table = keys[0].partition("[")[0]
        kind = TABLES[table] if table in TABLES else type(getattr(_NOTHING_SET, keys[0]))
    named = keys[-1].partition("[")[0] if keys else ""
    mend = next((f"{knob.name}: {describe(knob)}" for knob in knobs(kind) if knob.name == named), "")
    if " matching regex" in what:
        what = "this text cannot stand here"
    return BadInput(f"the configuration is not valid: {what}", place=f"{place}, {_spell(keys)}", mend=mend)


def _check(config: Config, place: str) -> None:
    """What the types cannot say."""
    try:
        check_origin(config.origin)
        keys, coming = ([parse_vkey(vkey) for vkey in vkeys] for vkeys in (config.vkeys, config.next_vkeys))
        parse_listen(config.server.listen)
        for knob, listen in (("listen", config.syslog.listen), ("tls_listen", config.syslog.tls_listen)):
            if listen is not None:
                parse_listen(listen, place=f"[syslog] {knob}")
        parse_senders(config.syslog.sources)
        if config.keys.log != "file:":
            parse_access(config.keys.log)
    except BadInput as error:
        raise BadInput(error.what, place=f"{place}, {error.place}" if error.place else place, mend=error.mend) from None
    names = (config.keys.dir, *config.keys.replicas)
    rules = [
        (
            all(key.name == config.origin and key.type in LOG_KEY_TYPES for key in keys),
            "vkeys lists a key that is not a log key named as the origin",
            "copy the lines of `graven vkey --all`",
        ),
        (
            len({key.type for key in keys}) == len(keys) and any(key.type == ED25519 for key in keys),
            "vkeys lists a type of key twice, or no Ed25519 key",
            "copy the lines of `graven vkey --all`",
        ),
        (
            all(key.name == config.origin and key.type in LOG_KEY_TYPES and key not in keys for key in coming),
            "next_vkeys lists a key that is not a new log key named as the origin",
            "leave it to `graven keys rotate`",
        ),
        (
            RESERVED_CLASS not in config.classes,
            f"the class {RESERVED_CLASS!r} is Graven's own",
            "choose another name",
        ),
        (
            set(config.retention.by_class) <= {DEFAULT_CLASS, RESERVED_CLASS, *config.classes},
            "[retention] by_class names a class that is not declared",
            "declare it: [classes.NAME]",
        ),
        (
            len(config.classes) <= CLASSES_MAX,
            f"there are more than {CLASSES_MAX} classes",
            "each costs two keys a segment: use fewer",
        ),
        (
            len(config.authorities) <= AUTHORITIES_MAX,
            f"there are more than {AUTHORITIES_MAX} time authorities",
            "two or three that are independent of each other are enough",
        ),
        (
            all(one.ca_file is not None for one in config.authorities.values()),
            "a time authority without ca_file: its stamps could not be checked",
            "[authorities.NAME] ca_file = FILE",
        ),
        (len(set(names)) == len(names), "two copies of the keyring are in one directory", "use different disks"),
        (
            config.intake.max_bytes >= config.intake.max_request_bytes,
            "[intake] max_bytes is smaller than max_request_bytes: the largest request would never fit",
            "raise the one or lower the other",
        ),
        (
            (config.server.tls_cert is None) == (config.server.tls_key is None),
            "[server] has one of tls_cert and tls_key",
            "give both, or neither",
        ),
        (
            config.syslog.tls_listen is None or None not in (config.syslog.tls_cert, config.syslog.tls_key),
            "[syslog] tls_listen needs tls_cert and tls_key",
            "name the PEM files",
        ),
        (
            all("{body}" in hook.signed for hook in config.webhooks.values()),
            "[webhooks] signed does not hold {body}: whoever has one signature could send anything",
            "the sender's documentation says what it signs",
        ),
        (
            all(hook.header for hook in config.webhooks.values() if hook.kind == "hmac"),
            '[webhooks] kind = "hmac" needs header',
            "name the header with the signature",
        ),
        (
            all("{timestamp}" in hook.signed for hook in config.webhooks.values() if hook.timestamp_header),
            "[webhooks] timestamp_header is given, but signed does not hold {timestamp}: the time would not be signed",
            "the sender's documentation says what it signs",
        ),
    ]
    for good, what, mend in rules:
        if not good:
            raise BadInput(what, place=place, mend=mend)


def _refuse_unknown(tree: Mapping[str, object], kind: type[Struct], path: tuple[str, ...], place: str) -> None:
    known = {field.name: field for field in structs.fields(kind)}
    for key, value in tree.items():
        if key not in known:
            raise BadInput(
                f"the configuration has an unknown key {key[:80]!r}",
                place=f"{place}, {_spell((*path, key[:80]))}",
                mend=_hint(key, known, path),
            )
        if key in TABLES and not path and isinstance(value, Mapping):
            for name, section in value.items():
                if isinstance(section, Mapping):
                    _refuse_unknown(section, TABLES[key], (*path, key, name), place)
        elif isinstance(value, Mapping) and is_section(known[key]):
            _refuse_unknown(value, type(known[key].default), (*path, key), place)


def _hint(key: str, known: Mapping[str, object], path: tuple[str, ...]) -> str:
    for near in get_close_matches(key, known, n=1):
        return f"did you mean {_spell((*path, near))}?"
    everywhere = {
        knob.name: _spell((field.name, knob.name)) for field in sections() for knob in knobs(type(field.default))
    }
    for near in get_close_matches(key, everywhere, n=1, cutoff=0.8):
        return f"did you mean {everywhere[near]}?"
    return f"known here: {', '.join(known)}"


def _spell(path: tuple[str, ...]) -> str:
    """A path as people look for it in the file: `[publish] interval_ms`, `[classes.x] description`, `origin`."""
    return f"[{'.'.join(path[:-1])}] {path[-1]}" if path[1:] else "".join(path) or "top level"


def _resolve(config: Config, base: Path) -> Config:
    def absolute(path: str | None) -> str | None:
        return None if path is None else str(base / path)

    keys, server, publish, worm = config.keys, config.server, config.publish, config.worm
    return structs.replace(
        config,
        dir=absolute(config.dir),
        keys=structs.replace(
            keys,
            dir=absolute(keys.dir),
            replicas=tuple(str(base / path) for path in keys.replicas),
            passphrase_file=absolute(keys.passphrase_file),
        ),
        authorities={
            name: structs.replace(one, ca_file=absolute(one.ca_file)) for name, one in config.authorities.items()
        },
        publish=structs.replace(publish, witness_policy=absolute(publish.witness_policy)),
        server=structs.replace(server, tls_cert=absolute(server.tls_cert), tls_key=absolute(server.tls_key)),
        worm=structs.replace(worm, credentials_file=absolute(worm.credentials_file)),
        mappings=structs.replace(config.mappings, dir=absolute(config.mappings.dir)),
        redaction=structs.replace(config.redaction, key_file=absolute(config.redaction.key_file)),
        syslog=structs.replace(
            config.syslog,
            tls_cert=absolute(config.syslog.tls_cert),
            tls_key=absolute(config.syslog.tls_key),
            tls_client_ca=absolute(config.syslog.tls_client_ca),
        ),
        webhooks={
            name: structs.replace(hook, secret_files=tuple(str(base / path) for path in hook.secret_files))
            for name, hook in config.webhooks.items()
        },
    )
