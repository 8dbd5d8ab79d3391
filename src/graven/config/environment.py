"""The environment: the only file that reads environment variables."""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from graven.config.model import Config
from graven.keys import passphrase
from graven.keys.token_uri import Access, parse_access

CREDENTIAL_NAME = "graven-passphrase"
PIN_CREDENTIAL_NAME = "graven-pin"


class Environment(Struct, frozen=True, kw_only=True):
    """What Graven takes from environment variables; None where one is unset or empty."""

    dir: str | None = None
    passphrase_file: str | None = None
    credentials_directory: str | None = None
    token: str | None = None
    pin_file: str | None = None

    def __repr__(self) -> str:
        return f"Environment(dir={self.dir!r}, passphrase_file={self.passphrase_file!r}, token=hidden)"


def read_environment(variables: Mapping[str, str] | None = None) -> Environment:
    """GRAVEN_DIR, GRAVEN_PASSPHRASE_FILE, GRAVEN_PIN_FILE, CREDENTIALS_DIRECTORY (from systemd), GRAVEN_TOKEN."""
    variables = os.environ if variables is None else variables
    return Environment(
        dir=variables.get("GRAVEN_DIR") or None,
        passphrase_file=variables.get("GRAVEN_PASSPHRASE_FILE") or None,
        credentials_directory=variables.get("CREDENTIALS_DIRECTORY") or None,
        token=variables.get("GRAVEN_TOKEN") or None,
        pin_file=variables.get("GRAVEN_PIN_FILE") or None,
    )


def read_passphrase(config: Config, environment: Environment | None = None) -> passphrase.Passphrase | None:
    """The passphrase of the keyring, or None if no place of it is named.

    The first of: the file in GRAVEN_PASSPHRASE_FILE; the file in `[keys] passphrase_file`; `graven-passphrase` among
    systemd's credentials. Raises BadInput if a file that is named cannot be read, is empty, or others may read it
    (systemd guards its credentials in its own way, so their mode is not looked at).
    """
    environment = read_environment() if environment is None else environment
    credentials = environment.credentials_directory
    path = environment.passphrase_file or config.keys.passphrase_file
    if path is None and credentials is not None and Path(credentials, CREDENTIAL_NAME).is_file():
        path = str(Path(credentials, CREDENTIAL_NAME))
    if path is None:
        return None
    return passphrase.read_passphrase(path, private=not _is_credential(path, credentials))


def read_token_access(config: Config | None = None, environment: Environment | None = None) -> Access:
    """How this host gets at keys in a token, as far as it is said outside the keyring.

    The PIN's file: the first of GRAVEN_PIN_FILE; `pin-source` in `[keys] log`; `graven-pin` among systemd's
    credentials. Nothing is read here.
    """
    environment = read_environment() if environment is None else environment
    credentials = environment.credentials_directory
    said = Access() if config is None or config.keys.log == "file:" else parse_access(config.keys.log)
    path = environment.pin_file or said.pin_file
    if path is None and credentials is not None and Path(credentials, PIN_CREDENTIAL_NAME).is_file():
        path = str(Path(credentials, PIN_CREDENTIAL_NAME))
    return Access(said.module, path, path is None or not _is_credential(path, credentials))


def _is_credential(path: str, credentials: str | None) -> bool:
    return credentials is not None and Path(path).absolute().is_relative_to(Path(credentials).absolute())
