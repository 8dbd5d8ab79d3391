"""One pure file a source type, and the order in which they are asked when a record does not say what it is."""

from graven.ingest.normalize import (
    anthropic,
    auth0,
    azure,
    bitbucket,
    cloudtrail,
    databricks,
    entra,
    gcp,
    github,
    json_usual,
    kubernetes,
    m365,
    mongodb_atlas,
    okta,
    onelogin,
    openai,
    salesforce,
    slack,
    snowflake,
    teleport,
    workspace,
)
from graven.ingest.record import Normaliser

__all__ = ["SOURCES"]

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
    json_usual,
)
"""The types most often sent first. Where two are equally sure, the first counts; `json_usual` is never more than
maybe.
"""
