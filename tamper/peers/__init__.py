"""What people use today, each as its own documentation says, judged by its own verifier."""

from contextlib import ExitStack

from tamper.model import System
from tamper.peers import auditchain, journald, postgres, signledger, syslog_ng
from tamper.world import World


def systems(world: World, stack: ExitStack) -> list[System]:
    """The columns beside Graven. What they start is stopped with `stack`."""
    return [
        postgres.system(world.place("postgres"), stack),
        journald.system(world.place("journald"), stack),
        syslog_ng.system(world.place("syslog-ng"), stack),
        auditchain.system(),
        signledger.system(),
    ]
