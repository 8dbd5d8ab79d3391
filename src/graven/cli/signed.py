"""How far a keyring has signed."""

from graven.core.checkpoint import parse_checkpoint
from graven.core.note import parse_note
from graven.keys.signer import LogSigner


def highest_size(signer: LogSigner) -> int:
    """The size of the largest tree signed, 0 for none. Means something only where `signer.mark_known`."""
    note = signer.highest()
    return parse_checkpoint(parse_note(note).text)[0].size if note is not None else 0
