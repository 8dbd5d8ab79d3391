"""Asking one witness: `POST <url>/add-checkpoint`, C2SP tlog-witness v1, from the log's side.

Whatever comes back is judged as an enemy's: a status that is not 200, an answer that is too long, too slow or no
signature line, a name or key that is not this witness's in the policy, a cosignature that does not verify over exactly
the tree that was sent. Such lines are dropped and noted; they never reach a checkpoint.

A witness says which size it last cosigned (409); that size is remembered, and only a hint: a wrong one costs a request.
A 409 without a number is answered with the sizes that are likely. At most four requests a question.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from graven.anchor.http import WORDS_MAX, NoAnswer, post_bounded
from graven.core.checkpoint import SignedCheckpoint, message_to_sign
from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.note import Key, Note, Signature, VerifySignature, open_note, parse_note
from graven.core.spelling import parse_decimal
from graven.core.witness_request import format_add_checkpoint
from graven.runtime.timed_http import TimedPool

ANSWER_BYTES_MAX = 64 << 10
REQUESTS_MAX = 4

ProveGrowth = Callable[[int, int], Sequence[bytes]]
"""(old size, new size) -> the consistency proof of the log's own tree. Raises GravenError or OSError."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one witness said to one question.

    `lines`: its good cosignatures. `size`: the tree it last cosigned, as far as it said so. `why`: empty where it
    cosigned. `forked`: it says that the tree it was shown does not grow from the one it cosigned.
    """

    lines: tuple[tuple[Key, Signature], ...] = ()
    size: int | None = None
    why: str = ""
    forked: bool = False
    dropped: tuple[str, ...] = field(default=())


class WitnessClient:
    """One witness, by its URL, and the keys the policy gives it. One question at a time."""

    def __init__(self, url: str, keys: Sequence[Key], verify: VerifySignature, *, timeout_s: float) -> None:
        self.url, self.keys = url, tuple(keys)
        self.size: int | None = None
        """The size it last cosigned, as far as is known."""
        self._verify, self._timeout_s = verify, timeout_s
        self._target = url.rstrip("/") + "/add-checkpoint"
        self._http = TimedPool(num_pools=1, maxsize=1)

    def close(self) -> None:
        self._http.clear()

    def ask(self, target: SignedCheckpoint, prove: ProveGrowth) -> Answer:
        """Its cosignatures on `target`, from whatever size it stands at. Never raises for what the witness does."""
        new = target.checkpoint.size
        guesses = [size for size in (self.size, 0, new) if size is not None and size <= new]
        old, tried = guesses[0], set[int]()
        for _ in range(REQUESTS_MAX):
            tried.add(old)
            try:
                status, body = self._post(old, target, prove)
            except _Failed as error:
                return Answer(why=str(error))
            if status != 409:
                return self._judge(status, body, target)
            named = _size_in(body)
            if named is not None:
                self.size = named
                if named > new:
                    return Answer(size=named, why=f"it has cosigned a larger tree, of {named} entries")
                if named == old:
                    return Answer(size=named, why=f"409 for the size {named} that it names itself", forked=old == new)
            left = [named] if named is not None else [size for size in guesses if size not in tried]
            if not left or left[0] in tried:
                return Answer(size=named, why="409, and no size to go on from")
            old = left[0]
        return Answer(why="it names another size each time")

    def learn(self, published: SignedCheckpoint, highest: SignedCheckpoint, prove: ProveGrowth) -> Answer:
        """What it last cosigned, asked with checkpoints that are signed already: nothing new is needed.

        `published` is re-submitted with its own size as the old one. A 409 names the witness's size; then the next
        signed tree at or above it is submitted from there, so that the witness itself says whether both are one
        history. `size` larger than `highest` means a tree that this log does not know it signed.
        """
        size = published.checkpoint.size
        try:
            status, body = self._post(size, published, prove)
        except _Failed as error:
            return Answer(why=str(error))
        if status != 409:
            return self._judge(status, body, published)
        named = _size_in(body)
        if named == size:
            return Answer(size=named, why=f"it has cosigned another tree of {size} entries", forked=True)
        if named is not None and named > highest.checkpoint.size:
            return Answer(size=named, why=f"it has cosigned a tree of {named} entries")
        self.size = named if named is not None else self.size
        return self.ask(published if named is None or named < size else highest, prove)

    def _judge(self, status: int, body: bytes, target: SignedCheckpoint) -> Answer:
        if status != 200:
            words = body[:WORDS_MAX].decode("utf-8", "replace").strip()
            return Answer(why=f"{status}{': ' + words if words else ''}", forked=status == 422)
        lines, dropped = self._read_lines(body, target.note.text)
        if not lines:
            return Answer(why=f"200, but no good cosignature: {'; '.join(dropped) or 'nothing'}", dropped=dropped)
        self.size = target.checkpoint.size
        return Answer(lines, self.size, dropped=dropped)

    def _read_lines(self, body: bytes, text: str) -> tuple[tuple[tuple[Key, Signature], ...], tuple[str, ...]]:
        """The good lines by keys of this witness, each key's first; and what was dropped."""
        good: dict[Key, Signature] = {}
        dropped: list[str] = []
        for line in body.split(b"\n")[:100]:
            if not line:
                continue
            try:
                signature = parse_note(text.encode() + b"\n" + line + b"\n").signatures[0]
            except BadInput as error:
                dropped.append(error.what)
                continue
            key = next((k for k in self.keys if (k.name, k.id) == (signature.name, signature.key_id)), None)
            if key is None:
                continue  # a key nobody named: none of ours
            try:
                open_note(Note(text, (signature,)), [key], self._verify, message=_message)
            except Disproved as error:
                dropped.append(f"{key.name}: {error.what}")
                continue
            good.setdefault(key, signature)
        return tuple(good.items()), tuple(dropped)

    def _post(self, old: int, target: SignedCheckpoint, prove: ProveGrowth) -> tuple[int, bytes]:
        new = target.checkpoint.size
        try:
            proof = prove(old, new) if 0 < old < new else ()
            request = format_add_checkpoint(old, proof, target.data)
        except (GravenError, OSError) as error:
            raise _Failed(f"no proof from {old} to {new}: {error}") from None
        try:
            return post_bounded(
                self._http, self._target, request,
                content_type="text/plain; charset=utf-8", timeout_s=self._timeout_s, bytes_max=ANSWER_BYTES_MAX,
            )  # fmt: skip
        except NoAnswer as error:
            raise _Failed(str(error)) from None


class _Failed(Exception):
    """No answer that could be read."""


def _size_in(body: bytes) -> int | None:
    try:
        return parse_decimal(body.decode("ascii").removesuffix("\n"), place="size")
    except (BadInput, UnicodeDecodeError):
        return None


def _message(key: Key, time_s: int | None, text: str) -> bytes:
    return message_to_sign(key.type, name=key.name, time=time_s, text=text)
