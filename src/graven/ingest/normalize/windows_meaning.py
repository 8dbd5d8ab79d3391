"""What a Windows event id means, by channel: a table, a line an event.

event id, verb, category, outcome (`-`: the event does not say), what is acted upon, the event's own title
"""

from dataclasses import dataclass
from typing import cast

from graven.event.model import Category, Outcome, Verb

__all__ = ["Meaning", "meaning_of"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """`target` says under which names of the event's data the thing acted upon stands."""

    title: str
    verb: Verb
    category: Category
    outcome: Outcome | None
    target: str


def meaning_of(channel: str, event_id: int) -> Meaning | None:
    """The meaning of an event; None for one that is not in the table."""
    return _MEANINGS.get((channel, event_id))


_TABLE = """
[Security]
1100  execute   admin          success user      The event logging service has shut down
1102  delete    admin          success user      The audit log was cleared
4608  execute   system         success user      Windows is starting up
4616  configure system         success user      The system time was changed
4624  login     authentication success user      An account was successfully logged on
4625  login     authentication failure user      An account failed to log on
4634  logout    authentication success user      An account was logged off
4647  logout    authentication success user      User initiated logoff
4648  login     authentication -       user      A logon was attempted using explicit credentials
4656  read      data           -       object    A handle to an object was requested
4657  update    configuration  success object    A registry value was modified
4660  delete    data           success object    An object was deleted
4663  read      data           success object    An attempt was made to access an object
4670  update    permission     success object    Permissions on an object were changed
4672  grant     permission     success user      Special privileges assigned to new logon
4673  execute   permission     -       process   A privileged service was called
4688  execute   execution      success process   A new process has been created
4689  other     execution      success process   A process has exited
4697  create    configuration  success service   A service was installed in the system
4698  create    configuration  success task      A scheduled task was created
4699  delete    configuration  success task      A scheduled task was deleted
4700  configure configuration  success task      A scheduled task was enabled
4701  configure configuration  success task      A scheduled task was disabled
4702  update    configuration  success task      A scheduled task was updated
4719  configure admin          success policy    System audit policy was changed
4720  create    permission     success user      A user account was created
4722  update    permission     success user      A user account was enabled
4723  update    authentication success user      An attempt was made to change an account's password
4724  update    authentication success user      An attempt was made to reset an account's password
4725  revoke    permission     success user      A user account was disabled
4726  delete    permission     success user      A user account was deleted
4727  create    permission     success group     A security-enabled global group was created
4728  grant     permission     success member    A member was added to a security-enabled global group
4729  revoke    permission     success member    A member was removed from a security-enabled global group
4730  delete    permission     success group     A security-enabled global group was deleted
4731  create    permission     success group     A security-enabled local group was created
4732  grant     permission     success member    A member was added to a security-enabled local group
4733  revoke    permission     success member    A member was removed from a security-enabled local group
4734  delete    permission     success group     A security-enabled local group was deleted
4735  update    permission     success group     A security-enabled local group was changed
4738  update    permission     success user      A user account was changed
4740  revoke    authentication success user      A user account was locked out
4741  create    permission     success user      A computer account was created
4743  delete    permission     success user      A computer account was deleted
4756  grant     permission     success member    A member was added to a security-enabled universal group
4757  revoke    permission     success member    A member was removed from a security-enabled universal group
4767  update    authentication success user      A user account was unlocked
4768  login     authentication success user      A Kerberos authentication ticket (TGT) was requested
4769  login     authentication success service   A Kerberos service ticket was requested
4771  login     authentication failure user      Kerberos pre-authentication failed
4776  login     authentication success user      The computer attempted to validate the credentials for an account
4778  login     authentication success user      A session was reconnected to a Window Station
4779  logout    authentication success user      A session was disconnected from a Window Station
4798  read      permission     success user      A user's local group membership was enumerated
4799  read      permission     success group     A security-enabled local group membership was enumerated
4946  create    network        success rule      A rule was added to the Windows Firewall exception list
4947  update    network        success rule      A rule was modified in the Windows Firewall exception list
4948  delete    network        success rule      A rule was deleted from the Windows Firewall exception list
5136  update    permission     success directory A directory service object was modified
5137  create    permission     success directory A directory service object was created
5140  read      data           success share     A network share object was accessed
5145  read      data           success share     A network share object was checked for access
5156  other     network        success process   The Windows Filtering Platform has permitted a connection
5157  other     network        denied  process   The Windows Filtering Platform has blocked a connection
[System]
104   delete    admin          success user      The log file was cleared
7045  create    configuration  success service   A service was installed in the system
[Microsoft-Windows-PowerShell/Operational]
4104  execute   execution      -       script    Script block logged
[Microsoft-Windows-Sysmon/Operational]
1     execute   execution      success process   Process Create
3     other     network        success process   Network connection detected
11    create    data           success object    File created
13    update    configuration  success object    Registry value set
"""


def _read(table: str) -> dict[tuple[str, int], Meaning]:
    found: dict[tuple[str, int], Meaning] = {}
    channel = ""
    for line in table.strip().splitlines():
        if line.startswith("["):
            channel = line.strip("[]")
            continue
        number, verb, category, outcome, target, title = line.split(None, 5)
        ending = None if outcome == "-" else cast(Outcome, outcome)
        meaning = Meaning(title, cast(Verb, verb), cast(Category, category), ending, target)
        found[channel, int(number)] = meaning
    return found


_MEANINGS = _read(_TABLE)
