"""The configuration: one TOML file, read strictly into frozen values; and the environment.

Every knob has a unit in its name, bounds, a default and a reason. An unknown key is refused, with the nearest known
one. Nothing here is secret: passphrases and tokens are named by file or variable, never held. Whether the vkeys are
those of the keyring is for whoever opens both.
"""

from graven.config.doors import SyslogConfig, WebhookConfig
from graven.config.environment import Environment, read_environment, read_passphrase, read_token_access
from graven.config.model import (
    ClassConfig,
    Config,
    IdempotencyConfig,
    IntakeConfig,
    JournalConfig,
    KeysConfig,
    LogConfig,
    PublishConfig,
    ServerConfig,
)
from graven.config.outside import AuthorityConfig, RetentionConfig, TimeConfig, WormConfig
from graven.config.read import CONFIG_NAME, default_config, load_config, parse_config, parse_listen
from graven.config.write import config_sha256, flatten, format_config, set_vkeys, with_values

__all__ = [
    "CONFIG_NAME",
    "AuthorityConfig",
    "ClassConfig",
    "Config",
    "Environment",
    "IdempotencyConfig",
    "IntakeConfig",
    "JournalConfig",
    "KeysConfig",
    "LogConfig",
    "PublishConfig",
    "RetentionConfig",
    "ServerConfig",
    "SyslogConfig",
    "TimeConfig",
    "WebhookConfig",
    "WormConfig",
    "config_sha256",
    "default_config",
    "flatten",
    "format_config",
    "load_config",
    "parse_config",
    "parse_listen",
    "read_environment",
    "read_passphrase",
    "read_token_access",
    "set_vkeys",
    "with_values",
]
