"""From what shippers and programs send to events of the model: split, recognise, normalise, redact, encode.

`record` is the seam that doors, agents and normalisers share; `pipeline` runs a batch of records through it; `split`
takes a body or file apart; `normalize/` holds one pure file a source type. Nothing here reads a clock, a disk or a
network.
"""

from graven.ingest.pipeline import Pipeline, Redactor
from graven.ingest.record import AROUND_MAX, Normalised, Normaliser, Record, Unparsed
from graven.ingest.split import split_records

__all__ = ["AROUND_MAX", "Normalised", "Normaliser", "Pipeline", "Record", "Redactor", "Unparsed", "split_records"]
