"""Runs in the peers' environment: PyPI `signledger` by its own API, for tamper.peers.signledger.

    python drive_signledger.py append|read|forge|verify|signatures|proofs|guess STORE KEY      texts as JSON on stdin

`verify` is its `Ledger.verify_integrity` (its command line knows no store but memory); `signatures` checks each entry's
signature as its README shows, with the public key in KEY.pub.
"""

import json
import sys
from pathlib import Path
from typing import Any

import signledger.backends.sqlite  # type: ignore[import-not-found,unused-ignore]
from signledger import Ledger
from signledger.crypto import hashing  # type: ignore[import-not-found,unused-ignore]
from signledger.crypto.signatures import Ed25519Signer  # type: ignore[import-not-found,unused-ignore]

PROVED = 30


def signer(key: Path) -> Any:
    """The one whose key is there, else a new one; its public key is beside it."""
    if key.exists():
        return Ed25519Signer(private_key=key.read_bytes())
    made = Ed25519Signer()
    key.write_text(made.get_private_key_pem())
    key.with_suffix(".pub").write_text(made.get_public_key_pem())
    return made


def main(verb: str, store: str, key: Path, texts: list[str]) -> object:
    if verb == "forge":
        for path in Path(store).parent.glob(Path(store).name + "*"):
            path.unlink()
    ledger = Ledger(
        backend=signledger.backends.sqlite.SQLiteBackend(store), auto_verify=False, enable_signatures=True
    )  # fmt: skip
    if verb in ("append", "forge"):
        hand = signer(key)
        for text in texts:
            ledger.append(
                {"record": text}, {"source": "app"}, sign=True, signer=lambda digest: hand.sign(digest.encode())
            )
        return len(texts)
    entries = list(ledger.get_entries())
    if verb == "read":
        return [entry.data["record"] for entry in entries]
    if verb == "verify":
        ledger.verify_integrity()
        return f"{len(entries)} entries, the ledger is intact"
    if verb == "signatures":
        judge = Ed25519Signer(public_key=key.with_suffix(".pub").read_bytes())
        for number, entry in enumerate(entries):
            if not entry.signature or not judge.verify(entry.hash.encode(), entry.signature):
                raise ValueError(f"the signature of entry {number} is wrong")
        return f"{len(entries)} signatures are good"
    if verb == "guess":
        last = entries[-1]
        return [
            ledger.hash_chain.calculate_hash(last.model_copy(update={"data": {"record": text}})) for text in texts
        ]  # fmt: skip
    return proofs(ledger, entries, shortened=verb == "node")


def proofs(ledger: Any, entries: list[Any], *, shortened: bool) -> str:
    """Its Merkle proof of one entry; or that of the node above, offered as an entry's. Raises where it is refused."""
    tree = hashing.MerkleTree()
    root = tree.build(entries)
    leaves = [ledger.hash_chain.calculate_hash(entry) for entry in entries]
    path, offered = tree.get_proof(PROVED), leaves[PROVED]
    if shortened:
        import hashlib

        offered, path = hashlib.sha256((leaves[PROVED] + leaves[PROVED + 1]).encode()).hexdigest(), path[1:]
    if not tree.verify_proof(offered, path, root):
        raise ValueError("the proof is wrong")
    return "the proof holds: this is an entry"


if __name__ == "__main__":
    given = json.loads(sys.stdin.read())
    try:
        print(json.dumps(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), given or [])))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
