"""The source type of a record that does not say it. Pure, and cheap: a few key look-ups a type."""

from collections.abc import Iterable

from graven.ingest.record import NO, SURE, Document, Normaliser

__all__ = ["detect"]


def detect(document: Document, sources: Iterable[Normaliser]) -> Normaliser | None:
    """The type that fits best; of equal ones the first. None where none fits."""
    best, best_score = None, NO
    for source in sources:
        score = source.recognise(document)
        if score > best_score:
            if score >= SURE:
                return source
            best, best_score = source, score
    return best
