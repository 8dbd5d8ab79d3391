"""The attacks on a live Graven log, by what they attack."""

from tamper.graven_log import doors, faces, history, limits, proofs, storage, times
from tamper.model import Act

ACTS: dict[str, Act] = (
    history.ACTS | storage.ACTS | faces.ACTS | times.ACTS | proofs.ACTS | doors.ACTS | limits.ACTS
)  # fmt: skip
"""What each row does to a live log."""
