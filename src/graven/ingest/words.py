"""Verb and category from the words of an action, for sources whose lists of actions are long and open.

An action is cut into words (`user.lifecycle.create`, `CreateUser`, `app_installed`); the first table entry whose word
stands in it decides. A source type puts its own table before this one wherever it knows better; what fits nothing is
`other`, which says "known, and none of these".
"""

import re
from functools import lru_cache

__all__ = ["category_of", "verb_of", "words_of"]

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", re.ASCII)
_ACTION_MAX = 256

# In order: a word further up is stronger, wherever it stands in the action.
_VERBS: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (verb, frozenset(words.split()))
    for verb, words in (
        ("logout", "logout signout loggedout logoff slo"),
        ("login", "login signin logon loggedin authenticate authenticated impersonate impersonated"),
        ("revoke", "revoke revoked revokes unassign unassigned unshare unshared ungrant detach detached"
         " disassociate deny denied ban banned block blocked suspend suspended lock locked"),
        ("grant", "grant granted grants assign assigned share shared attach attached invite invited invitation"
         " authorize authorized approve approved associate expanded unblock unlock unlocked unsuspend unsuspended"),
        ("export", "export exported download downloaded dump extract exfiltrate backup"),
        ("delete", "delete deleted deletes remove removed removes destroy destroyed purge purged terminate terminated"
         " deactivate deactivated drop erase uninstall uninstalled archive archived trash trashed expire expired"
         " cancel cancelled canceled"),
        ("execute", "execute executed exec run ran invoke invoked command start started stop stopped restart restarted"
         " reboot trigger triggered dispatch dispatched launch launched query queries"),
        ("create", "create created creates add added adds new insert inserted register registered provision provisioned"
         " upload uploaded import imported install installed generate generated issue issued joined submit submitted"
         " send sent publish published clone cloned copy copied restore restored"),
        ("configure", "configure configured configuration enable enabled disable disabled setting settings toggle"
         " toggled config preference preferences"),
        ("update", "update updated updates modify modified modifies change changed changes edit edited set reset put"
         " patch patched rename renamed transfer transferred move moved rotate rotated replace replaced write written"
         " activate activated connect connected merge merged sync synced verified verify"),
        ("read", "read view viewed get list listed describe search searched access accessed fetch lookup show preview"
         " previewed opened open check visited"),
    )
)  # fmt: skip

_CATEGORIES: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (category, frozenset(words.split()))
    for category, words in (
        ("authentication", "login logout signin signout logon logoff sso mfa otp authenticate authentication"
         " authenticated session sessions password passwords credential credentials factor saml oidc challenge webauthn"
         " passkey impersonate impersonated token tokens"),
        ("permission", "role roles permission permissions privilege privileges grant grants policy policies"
         " member members membership group groups team teams user users account accounts acl iam rbac collaborator"
         " owner owners share shared sharing scope scopes invite invited invitation access admin admins assignment"),
        ("execution", "exec execute command run invoke workflow job script session_command function task"),
        ("network", "network firewall ip subnet vpc dns route gateway port securitygroup ingress egress allowlist vpn"),
        ("configuration", "config configuration setting settings enable enabled disable disabled configure update"
         " updated app apps application applications integration integrations hook webhook rule rules org organization"
         " domain domains key keys project repo repository workspace channel connector branch ruleset"),
        ("data", "data file files document documents doc download upload export object objects report secret secrets"
         " message messages query table bucket blob record records artifact content view search"),
    )
)  # fmt: skip


def words_of(action: str) -> tuple[str, ...]:
    """The words of an action in lower case, in order; of its first 256 characters."""
    return _words_of(action[:_ACTION_MAX])


def verb_of(action: str) -> str:
    """One of the twelve verbs."""
    return _verb_of(action[:_ACTION_MAX])


def category_of(action: str) -> str:
    """One of the nine categories."""
    return _category_of(action[:_ACTION_MAX])


# Senders choose what is looked up here: the caches are bounded in number, and by the cut above in size.


@lru_cache(maxsize=4096)
def _words_of(action: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(action))


@lru_cache(maxsize=4096)
def _verb_of(action: str) -> str:
    words = _words_of(action)
    return next((verb for verb, known in _VERBS if not known.isdisjoint(words)), "other")


@lru_cache(maxsize=4096)
def _category_of(action: str) -> str:
    words = _words_of(action)
    return next((category for category, known in _CATEGORIES if not known.isdisjoint(words)), "other")
