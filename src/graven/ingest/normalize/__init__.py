"""One pure file a source type, and the order in which they are asked when a record does not say what it is."""

from graven.ingest.normalize import (
    accounts,
    anthropic,
    auditd,
    auth0,
    azure,
    bitbucket,
    cef,
    cloudevents,
    cloudtrail,
    cron,
    databricks,
    ecs,
    entra,
    gcp,
    github,
    json_usual,
    kubernetes,
    m365,
    mongodb_atlas,
    ocsf,
    okta,
    onelogin,
    openai,
    otel,
    pam,
    pgaudit,
    plain,
    postgresql,
    salesforce,
    slack,
    snowflake,
    sshd,
    su,
    sudo,
    syslog,
    teleport,
    windows,
    workspace,
)
from graven.ingest.record import Normaliser

__all__ = ["OF_DOORS", "SOURCES"]

SOURCES: tuple[Normaliser, ...] = (
    cloudtrail,
    kubernetes,
    gcp,
    entra,
    azure,
    m365,
    workspace,
    okta,
    github,
    slack,
    auth0,
    salesforce,
    teleport,
    anthropic,
    openai,
    databricks,
    mongodb_atlas,
    snowflake,
    onelogin,
    bitbucket,
    # hosts and databases: lines of text, and journald's JSON
    auditd,
    pam,
    sshd,
    sudo,
    su,
    cron,
    accounts,
    pgaudit,
    postgresql,
    syslog,
    # forms that many producers share
    windows,
    cef,
    ocsf,
    ecs,
    json_usual,
)
"""The types most often sent first. Where two are equally sure, the first counts; `json_usual` is never more than
maybe.
"""

OF_DOORS: tuple[Normaliser, ...] = (cloudevents, otel, plain)
"""Types that are never looked for: the door knows them by which a record came; and text that nothing recognises."""
