"""The certificates of the receipt key that a copy holds, each believed by the log's key of its time.

Without them a receipt that came alone cannot be judged after the host is lost. Anybody who can write to the store can
add objects here; what is no certificate of this log under its own name is told, and never restored.
"""

from collections.abc import Iterator
from hashlib import sha256

from graven.core.errors import Disproved, GravenError
from graven.core.policy import Succession
from graven.core.receipt import open_certificate
from graven.keys.signature import verify_signature
from graven.log.certificates import NOTE_BYTES_MAX
from graven.log.verify.report import Findings
from graven.worm import layout
from graven.worm.originals import Originals
from graven.worm.store import Store, Version, by_name

NO_CERTIFICATE = "an object where a certificate of the receipt key belongs is none"
"""Anybody who can write to the store can put one there, and it certifies nothing."""


def read_copy_certificates(
    store: Store, originals: Originals, trust: Succession, findings: Findings
) -> Iterator[tuple[int, int, bytes]]:
    """(first size, last size, note) of each that is one; what is wrong with others is told."""
    for group in by_name(store.list(layout.CERTIFICATES, deep=False)):
        refused: GravenError | None = None
        for version in originals.judge(group):
            try:
                found = _open(store, version, trust)
            except GravenError as error:
                refused = refused or error
                continue
            originals.took(version)
            yield found
            break
        else:
            if refused is not None:
                findings.disprove(NO_CERTIFICATE, f"{group[0].name}: {refused.what}")


def _open(store: Store, version: Version, trust: Succession) -> tuple[int, int, bytes]:
    named = layout.parse_certificate_name(version.name)
    if named is None or version.size > NOTE_BYTES_MAX:
        raise Disproved("it has another name or length")
    first, last, digest = named
    note = store.read(version)
    if sha256(note).hexdigest()[:16] != digest:
        raise Disproved("it is not the one its name says")
    found = open_certificate(note, trust, verify_signature)
    if (found.first, found.last) != (first, last):
        raise Disproved("it covers other sizes than its name says")
    return first, last, note
