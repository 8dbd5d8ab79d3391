"""Snowflake: the login history of an account, as rows in JSON.

Source: the view LOGIN_HISTORY of ACCOUNT_USAGE.
"""

from graven.ingest.record import SURE
from graven.ingest.table import Match, Table, Words

TYPE = "snowflake-login"
VERSION = 1
KEYS = frozenset({"EVENT_TYPE"})

_TABLE = Table(
    type=TYPE,
    version=VERSION,
    match=Match(has=("EVENT_TYPE", "USER_NAME", "IS_SUCCESS"), score=SURE),
    fields={
        "id": ("EVENT_ID",),
        "time": ("EVENT_TIMESTAMP",),
        "action": ("EVENT_TYPE",),
        "actor.id": ("USER_NAME",),
        "origin.ip": ("CLIENT_IP",),
        "origin.user_agent": ("REPORTED_CLIENT_TYPE",),
        "reason": ("ERROR_MESSAGE",),
        "scope.account": ("ACCOUNT_NAME", "ORGANIZATION_NAME"),
    },
    fixed={"actor.type": "user", "verb": "login", "category": "authentication"},
    words={"outcome": Words({"YES": "success", "NO": "failure"}, ["IS_SUCCESS"])},
    taken=frozenset(("EVENT_ID", "EVENT_TIMESTAMP", "EVENT_TYPE", "USER_NAME", "CLIENT_IP")),
)

recognise = _TABLE.recognise
normalise = _TABLE.normalise
