"""MongoDB Atlas: events of organisations and projects.

Source: the `Event` resources of the Atlas Administration API.
"""

from graven.ingest.record import SURE
from graven.ingest.table import Match, Table, TargetRule, Words

TYPE = "mongodb-atlas"
VERSION = 1
KEYS = frozenset({"eventTypeName"})

_TABLE = Table(
    type=TYPE,
    version=VERSION,
    match=Match(has=("eventTypeName", "id", "created"), score=SURE),
    fields={
        "id": ("id",),
        "time": ("created",),
        "action": ("eventTypeName",),
        "actor.id": ("userId", "apiKeyId", "username", "publicKey"),
        "actor.name": ("username", "publicKey"),
        "actor.email": ("username",),
        "actor.credential": ("publicKey", "apiKeyId"),
        "origin.ip": ("remoteAddress",),
        "scope.tenant": ("orgId",),
        "scope.project": ("groupId",),
    },
    fixed={"actor.type": "user", "outcome": "success"},
    words={
        "verb": Words(
            {"INVITED_TO_*": "grant", "JOINED_*": "grant", "REMOVED_FROM_*": "revoke", "*_DELETED*": "delete",
             "*_CREATED*": "create", "*_ADDED*": "create", "*_CHANGED*": "update", "*_NOT_REQUIRED": "configure",
             "*_REQUIRED": "configure", "*_LOGIN*": "login"}
        ),
        "category": Words(
            {"INVITED_TO_*": "permission", "JOINED_*": "permission", "REMOVED_FROM_*": "permission",
             "ALERT_CONFIG_*": "configuration", "*ACCESS_LIST*": "network", "*WHITELIST*": "network",
             "*_ROLE*": "permission", "*API_KEY*": "authentication", "*USER*": "permission"}
        ),
    },
    targets=(
        TargetRule("user", ("targetUsername",)),
        TargetRule("alert_config", ("alertConfigId",)),
        TargetRule("team", ("teamId",)),
        TargetRule("cluster", ("clusterName",)),
        TargetRule("api_key", ("targetPublicKey",)),
    ),
    taken=frozenset(("id", "created", "eventTypeName", "remoteAddress", "links")),
)  # fmt: skip

recognise = _TABLE.recognise
normalise = _TABLE.normalise
