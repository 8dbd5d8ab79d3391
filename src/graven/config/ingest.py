"""What the configuration says about other programs' records: mappings of the user's own, and redaction."""

from collections.abc import Sequence
from pathlib import Path

from graven.config.model import RedactionConfig
from graven.core.errors import BadInput
from graven.ingest.mapping import MAPPING_BYTES_MAX, parse_mapping
from graven.ingest.normalize import SOURCES
from graven.ingest.pipeline import NATIVE_TYPE
from graven.ingest.record import UNKNOWN_TYPE
from graven.ingest.redact import SecretRedactor
from graven.ingest.redact_paths import ACTIONS, RedactionRule, parse_path
from graven.ingest.table import Table

__all__ = ["KEY_BYTES_MIN", "build_redactor", "read_mappings"]

KEY_BYTES_MIN = 32

_MAPPINGS_MAX = 200
_KEY_BYTES_MAX = 4096


def read_mappings(directory: Path) -> tuple[Table, ...]:
    """The source types of `*.toml` in a directory, in the order of their names. Raises BadInput."""
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix == ".toml" and path.is_file())
    except OSError as error:
        what = f"the directory of mappings cannot be read: {error.strerror}"
        raise BadInput(what, place=str(directory), mend="make it, or take [mappings] dir out") from None
    if len(paths) > _MAPPINGS_MAX:
        raise BadInput(f"there are more than {_MAPPINGS_MAX} mappings", place=str(directory), mend="use fewer")
    taken = {source.TYPE for source in SOURCES} | {NATIVE_TYPE, UNKNOWN_TYPE}
    found: list[Table] = []
    for path in paths:
        mapping = parse_mapping(_read_text(path), place=str(path), taken=taken)
        taken.add(mapping.type)
        found.append(mapping)
    return tuple(found)


def build_redactor(config: RedactionConfig) -> SecretRedactor | None:
    """What redaction does; None where nothing is to be redacted.

    Raises BadInput: a path that is none, a hash without a key, a key file that is missing, open to others or too short.
    """
    rules: list[RedactionRule] = []
    listed: Sequence[tuple[str, ...]] = (config.mask, config.hash, config.drop)
    for action, paths in zip(ACTIONS, listed, strict=True):
        rules += [parse_path(path, action) for path in paths]
    if not rules and not config.detect:
        return None
    key = _read_key(Path(config.key_file)) if config.key_file is not None else None
    return SecretRedactor(detect=config.detect, rules=rules, key=key)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAPPING_BYTES_MAX + 1)
        if len(data) > MAPPING_BYTES_MAX:
            raise BadInput(f"the mapping has more than {MAPPING_BYTES_MAX} bytes", place=str(path), mend="split it")
        return data.decode()
    except OSError as error:
        raise BadInput(f"the mapping cannot be read: {error.strerror}", place=str(path)) from None
    except UnicodeDecodeError:
        raise BadInput("the mapping is not UTF-8", place=str(path)) from None


def _read_key(path: Path) -> bytes:
    mend = f"umask 077; head -c {KEY_BYTES_MIN} /dev/urandom > {path}"
    try:
        with path.open("rb") as file:
            if path.stat().st_mode & 0o077:
                raise BadInput("the redaction key can be read by others", place=str(path), mend=f"chmod 600 {path}")
            key = file.read(_KEY_BYTES_MAX)
    except OSError as error:
        what = f"the redaction key cannot be read: {error.strerror}"
        raise BadInput(what, place=str(path), mend=mend) from None
    if len(key) < KEY_BYTES_MIN:
        raise BadInput(f"the redaction key has fewer than {KEY_BYTES_MIN} bytes", place=str(path), mend=mend)
    return key
