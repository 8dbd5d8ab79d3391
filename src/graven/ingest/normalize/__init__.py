"""One pure file a source type, and the order in which they are asked when a record does not say what it is."""

from graven.ingest.normalize import cloudtrail
from graven.ingest.record import Normaliser

__all__ = ["SOURCES"]

SOURCES: tuple[Normaliser, ...] = (cloudtrail,)
"""The types most often sent first. Where two are equally sure, the first counts."""
