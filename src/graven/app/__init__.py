"""The composition root: the one room that names concrete classes and puts a log together.

`Log` is a log open for writing, for the server and for programs that embed one; `create_log` makes a new
one; `open_view` opens one for reading, beside a writer or without one.
"""

from graven.app.create import create_log
from graven.app.log import LOCAL_SOURCE, Log
from graven.app.pieces import (
    VERSION,
    build_pipeline,
    class_names,
    committed_size,
    keys_dir,
    open_follower,
    open_keyring,
    open_signing,
    open_store,
    open_view,
    public_keys,
    retention,
    time_authorities,
    time_roots,
)
from graven.app.start import check_keys

__all__ = [
    "LOCAL_SOURCE",
    "VERSION",
    "Log",
    "build_pipeline",
    "check_keys",
    "class_names",
    "committed_size",
    "create_log",
    "keys_dir",
    "open_follower",
    "open_keyring",
    "open_signing",
    "open_store",
    "open_view",
    "public_keys",
    "retention",
    "time_authorities",
    "time_roots",
]
