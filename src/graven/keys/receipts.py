"""The receipt signer: promises to producers between checkpoints, by a key of their own.

Within the sizes that its certificate names: a note of the log's Ed25519 key. The key is in the keyring's files even
where the log's is in a token, or with a signer process: it signs a receipt a commit.
"""

from graven.core.errors import Broken
from graven.core.note import Key, Signature, format_signature, format_vkey
from graven.core.receipt import Certificate, Receipt, format_certificate, format_receipt
from graven.core.spelling import encode_base64
from graven.keys.keyring import Keyring
from graven.keys.rootkeys import RECEIPT_FILE
from graven.keys.signer import Signer


class ReceiptSigner:
    """Signs receipts: promises to producers, between checkpoints."""

    def __init__(self, keyring: Keyring, log: Signer) -> None:
        """Raises as `LogSigner` for a damaged key."""
        self._log = log
        self._signing = keyring.load_key(RECEIPT_FILE)
        self._origin = keyring.origin
        self._sign = self._signing.sign
        self._id = self._signing.key.id
        self._line = format_signature(Signature(self._signing.key.name, self._id, b"x")).rsplit(" ", 1)[0]
        self._first, self._last = 0, -1

    @property
    def key(self) -> Key:
        """The public key, named `<origin>/receipt`."""
        return self._signing.key

    def certificate(self, first: int, last: int) -> bytes:
        """A note by which the log's Ed25519 key says: receipts of this key count from size `first` to size `last`.

        The same numbers give the same bytes. From now on this signer signs within them. Raises BadInput for numbers
        that are no range of sizes.
        """
        certificate = Certificate(self._origin, format_vkey(self.key), first, last)
        note = self._log.sign_text(format_certificate(certificate))
        self._first, self._last = first, last
        return note

    def sign(self, size: int, root: bytes) -> bytes:
        """The receipt for the tree of `size` with this 32-byte `root`: about 40 µs.

        Only receipts of durable trees may be given away; that is the caller's duty. Raises Broken outside the certified
        sizes, where a receipt would prove nothing.
        """
        if not self._first <= size <= self._last:
            raise Broken(
                f"no certificate covers receipts of size {size} (from {self._first} to {self._last})",
                mend="make a new certificate before going on",
            )
        text = format_receipt(Receipt(self._origin, size, root))
        signature = encode_base64(self._id + self._sign(text.encode()))
        return f"{text}\n{self._line} {signature}\n".encode()
