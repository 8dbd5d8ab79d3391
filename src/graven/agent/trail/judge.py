"""Judging CloudTrail's digests one after the other: the chain, the signatures, and every log file they list.

A digest's own signature may be known only from the next one, so a verdict may come in two parts: open, then decided. A
digest without problems whose signature is not known stays `unknown`.
"""

import gzip
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from graven.agent.trail.digest import ALGORITHM, Digest, Seen, parse_digest, text_signed, verify_signed
from graven.agent.trail.store import TrailStore
from graven.core.errors import BadInput, Disproved
from graven.event.model import Outcome

CONTENT_BYTES_MAX = 1 << 30
DIGEST_FOLDER = "CloudTrail-Digest"
PROBLEMS_MAX = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a digest. `seen` is what the next one is judged by, under the name of its `chain`."""

    message: str
    outcome: Outcome
    data: Mapping[str, Any]
    chain: str = ""
    seen: Seen | None = None


class Judgement:
    """The digests of a store, each chain in its order. `chains`: the newest digest of each, where there is one."""

    def __init__(
        self, store: TrailStore, keys: Mapping[str, rsa.RSAPublicKey], chains: Mapping[str, Seen] | None = None
    ) -> None:
        self._store, self._keys = store, keys
        self._chains = dict(chains or {})  # folder and trail -> its newest digest

    def judge(self, folder: str, name: str, content: bytes, signature: str, *, files: bool = True) -> Iterator[Verdict]:
        """The verdict on a digest, and on the one before where only now its signature is known. `files`: read the log
        files that it lists again.
        """
        try:
            digest = parse_digest(content)
        except BadInput as error:
            yield verdict_of(name, "failure", [error.what], {})
            return
        problems: list[str] = []
        chain = f"{folder}:{_trail_of(name)}"
        before = self._chains.get(chain)
        if not name.endswith(digest.name) or self._store.bucket not in ("", digest.bucket):
            problems.append("it says that it is another file")
        if digest.algorithm != ALGORITHM:
            problems.append("it is signed by an algorithm that is not known")
        if before is not None:
            if digest.previous_name is None or not before.name.endswith(digest.previous_name):
                problems.append("it does not follow the digest before: one is missing, or the chain was begun anew")
            elif digest.previous_hash != before.content_sha256:
                problems.append("the digest before is not the one it names: that one was changed")
            elif not before.proved:
                yield self._later(before, digest.previous_signature or "")
        if files:
            problems += self._log_files(digest)
        signed, proved = text_signed(digest, content), False
        data: dict[str, Any] = {
            "from": digest.start,
            "until": digest.end,
            "log_files": len(digest.files),
            "follows": digest.previous_name or "",
            "signature": "with the next digest",
        }
        if signature:
            word = self._signature(signed, signature, digest.fingerprint)
            data["signature"], proved = word, word == "good"
            if word == "bad":
                problems.append("its signature is not CloudTrail's")
        seen = Seen(name, sha256(content).hexdigest(), digest.fingerprint, signed, proved)
        self._chains[chain] = seen
        outcome: Outcome = "failure" if problems else "success" if proved else "unknown"
        verdict = verdict_of(name, outcome, problems, data)
        yield replace(verdict, chain=chain, seen=seen)

    def _later(self, before: Seen, signature: str) -> Verdict:
        word = self._signature(before.signed, signature, before.fingerprint)
        outcome: Outcome = "success" if word == "good" else "failure" if word == "bad" else "unknown"
        problems = ["its signature, as the next digest has it, is not CloudTrail's"] if word == "bad" else []
        return verdict_of(before.name, outcome, problems, {"signature": word})

    def _signature(self, signed: str, signature: str, fingerprint: str) -> str:
        try:
            verify_signed(signed, signature, self._keys, fingerprint)
            return "good"
        except BadInput:
            return "not checked: its key is not known here"
        except Disproved:
            return "bad"

    def _log_files(self, digest: Digest) -> list[str]:
        """What is wrong with the log files a digest lists: each is read again."""
        problems: list[str] = []
        root = self._root() if digest.files else ""
        for listed in digest.files:
            name = f"{root}/{listed.name}" if root and listed.name.startswith("AWSLogs/") else listed.name
            try:
                content = content_of(self._store.read(name)[0])
            except FileNotFoundError:
                problems.append(f"a log file is missing: {listed.name}")
                continue
            except BadInput:
                content = b""
            if listed.hash_algorithm != "SHA-256" or sha256(content).hexdigest() != listed.hash_value:
                problems.append(f"a log file was changed: {listed.name}")
        return problems

    def _root(self) -> str:
        """Where AWSLogs/ is in the store: it may begin inside the bucket, or hold several of them."""
        return next((own.split("/AWSLogs/")[0] for own in self._store.folders() if "/AWSLogs/" in own), "")


def verdict_of(name: str, outcome: Outcome, problems: list[str], data: Mapping[str, Any]) -> Verdict:
    """A verdict in words."""
    shown = {"digest": name, "verdict": outcome, **data}
    if problems:
        shown["problems"], shown["problem_count"] = problems[:PROBLEMS_MAX], len(problems)
    what = "CloudTrail's digest " + ("holds" if outcome == "success" else problems[0] if problems else "is open yet")
    return Verdict(what, outcome, shown)


def content_of(data: bytes) -> bytes:
    """A file, uncompressed. Raises BadInput: cut, damaged or beyond the bound."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(CONTENT_BYTES_MAX + 1)
    except (OSError, EOFError, ValueError):
        raise BadInput("a file that cannot be uncompressed") from None
    if len(content) > CONTENT_BYTES_MAX:
        raise BadInput(f"a file of more than {CONTENT_BYTES_MAX} bytes")
    return content


def _trail_of(name: str) -> str:
    """The trail a digest is of: its file name without the time at its end."""
    return name.rpartition("/")[2].rpartition("_")[0]
