"""All witnesses of a policy, asked at once; what they said is kept until the log shows another tree.

`gather` brings cosignatures together for one signed checkpoint and says whether the quorum is met; `learn` asks, before
the first signature after a start, what each witness has seen. One thread a question, and one question at a time for
each witness: a slow one is not asked again before it has answered, and what it answers late is not lost (`on_late`).

Never a signature of the log's own: it is made before, and stands first in every note. The sizes in
`state/witnesses.json` save a request after a start, and may be deleted.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graven.anchor.policies import WitnessPolicy, describe_trust
from graven.anchor.witness_client import Answer, ProveGrowth, WitnessClient
from graven.core.checkpoint import SignedCheckpoint, message_to_sign
from graven.core.errors import BadInput, Broken, Busy, Disproved
from graven.core.handover import Tenures
from graven.core.note import Key, Note, Signature, VerifySignature, format_note, open_note
from graven.core.policy import Policy, shown
from graven.runtime.files import Files, write_atomic
from graven.runtime.telemetry import get_logger

GRACE_S = 0.05
"""Once the quorum is met: how long the others are waited for."""
PAUSE_S = 0.25
"""Between two questions to a witness that failed, while the quorum is short."""
LEARN_TIMEOUT_S = 5.0
LEARN_PAUSE_S = 2.0

logger = get_logger("witnesses")


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A checkpoint with the cosignatures there are. `counted`: the policy's witnesses among them, by name."""

    signed: SignedCheckpoint
    counted: tuple[str, ...]
    met: bool


class WitnessPanel:
    """The witnesses of one log. One owner (the publisher) asks; `status` and `numbers` may be read by any thread."""

    def __init__(
        self,
        policy: WitnessPolicy,
        tenures: Tenures,
        verify: VerifySignature,
        *,
        deadline_s: float,
        state: Path,
        files: Files,
    ) -> None:
        self.policy: Policy = policy.policy
        self.sha256 = policy.sha256
        self.on_late: Callable[[], None] = lambda: None
        """Called when an answer came too late for `gather`."""
        self._tenures, self._verify, self._deadline_s = tenures, verify, deadline_s
        self._state, self._files = state / "witnesses.json", files
        by_url: dict[str, list[Key]] = {}
        for witness in self.policy.witnesses:
            if witness.url is not None:
                by_url.setdefault(witness.url, []).append(witness.key)
        timeout_s = max(deadline_s, LEARN_TIMEOUT_S)
        self._clients = [WitnessClient(url, of, verify, timeout_s=timeout_s) for url, of in by_url.items()]
        self._changed = threading.Condition()
        self._busy: set[str] = set()
        self._text = ""
        self._lines: dict[Key, Signature] = {}
        self._last: dict[str, Answer] = {}
        self._gathering = False
        self._shown: Witnessed | None = None
        self._load_sizes()

    def adopt(self, published: SignedCheckpoint) -> Witnessed:
        """Begin with the published checkpoint and the good cosignatures it carries."""
        with self._changed:
            self._show(published.note.text)
            for witness in self.policy.witnesses:
                line = _line_of(published.note, witness.key)
                if line is not None and witness.key not in self._lines and self._is_good(witness.key, line):
                    self._lines[witness.key] = line
        self._shown = self.merged(published)
        return self._shown

    def learn(
        self,
        published: SignedCheckpoint,
        highest: SignedCheckpoint,
        prove: ProveGrowth,
        *,
        go_on: bool,
        wait_s: float | None,
        give_up: Callable[[], bool],
    ) -> None:
        """Before the first signature after a start: what has each witness seen?

        Witnesses that do not answer are asked again until those that did meet the quorum, for `wait_s` (None: for
        ever, unless `give_up()`). With `go_on` once is enough. Raises Broken: a witness has seen a larger tree than
        this log knows it signed, or another one. Busy: too few answered.
        """
        self.adopt(published)
        until_s = None if wait_s is None else time.monotonic() + wait_s
        silent, told = list(self._clients), dict[str, str]()
        while True:
            answers = self._ask_all(silent, lambda client: client.learn(published, highest, prove))
            for url, answer in answers.items():
                self._judge_learned(url, answer, highest)
            silent = [client for client in silent if answers[client.url].why]
            names = self._names([key for client in self._clients if client not in silent for key in client.keys])
            if self.policy.meets(names) or go_on:
                if silent:
                    logger.warning("witnesses do not answer", extra={"fields": _whys(answers)})
                return
            if give_up() or (until_s is not None and time.monotonic() >= until_s):
                raise Busy(
                    "too few witnesses said what they have seen, so nothing is signed",
                    retry_after_s=30,
                    place="; ".join(f"{url}: {why}" for url, why in _whys(answers).items()),
                    mend='bring them back; or `[publish] witness_start = "go_on"`, which gives up being told of a '
                    "rollback",
                )
            if (whys := _whys(answers)) != told:
                told = whys
                logger.warning("waiting for witnesses; nothing is signed before", extra={"fields": whys})
            time.sleep(LEARN_PAUSE_S if until_s is None else min(LEARN_PAUSE_S, PAUSE_S))

    def gather(self, target: SignedCheckpoint, prove: ProveGrowth) -> Witnessed:
        """Ask every witness to cosign `target`; returns when all answered, when the quorum is met (and shortly
        after, for the others' sake), or at the deadline. Failed ones are asked again meanwhile."""
        until_s = time.monotonic() + self._deadline_s
        with self._changed:
            self._show(target.note.text)
            self._gathering = True
            asked = {client.url for client in self._clients if self._start(client, target, prove)}
        met_s: float | None = None
        try:
            while True:
                with self._changed:
                    waiting = asked & self._busy
                    now_s = time.monotonic()
                    met = self.policy.meets(self._names(self._lines))
                    if met and met_s is None:
                        met_s = now_s
                    end_s = until_s if met_s is None else min(until_s, met_s + GRACE_S)
                    if now_s >= end_s or (met and not waiting):
                        break
                    self._changed.wait(min(end_s - now_s, PAUSE_S if not met else GRACE_S))
                    met = self.policy.meets(self._names(self._lines))  # by what came while it waited
                    if not met and not asked & self._busy and time.monotonic() < until_s:
                        self._changed.wait(min(PAUSE_S, max(0.0, until_s - time.monotonic())))
                        short = [one for one in self._clients if not any(key in self._lines for key in one.keys)]
                        asked |= {client.url for client in short if self._start(client, target, prove)}
        finally:
            with self._changed:
                self._gathering = False
        return self.merged(target)

    def merged(self, target: SignedCheckpoint) -> Witnessed:
        """`target` with the log's own lines first, then the newest cosignature of each witness known for its text."""
        with self._changed:
            lines = dict(self._lines) if self._text == target.note.text else {}
        must, may = self._tenures.at(target.checkpoint.size)
        own = [line for key in (*must, *may) if (line := _line_of(target.note, key)) is not None]
        theirs = [lines[witness.key] for witness in self.policy.witnesses if witness.key in lines]
        data = format_note(Note(target.note.text, (*own, *theirs)))
        cosigners = [witness.key for witness in self.policy.witnesses]
        signed = self._tenures.open(data, self._verify, cosigners=cosigners)
        counted = self._names(lines)
        return Witnessed(signed, counted, self.policy.meets(counted))

    def show(self, witnessed: Witnessed) -> None:
        """What is published now, for `status`."""
        self._shown = witnessed

    @property
    def trust(self) -> str:
        """Who vouches for the published checkpoint, in one line."""
        return describe_trust(self.policy, self._shown.counted if self._shown else ())

    @property
    def cosigned(self) -> int:
        """How many of the policy's witness lines the published checkpoint has."""
        return len(self._shown.counted) if self._shown else 0

    @property
    def numbers(self) -> tuple[int, int, bool]:
        """(members of the quorum that cosigned what is published, members, whether the quorum is met)."""
        counted = self._shown.counted if self._shown else ()
        seen, members = self.policy.tally(counted)
        return len(seen), len(members), self.policy.meets(counted)

    def status(self) -> list[dict[str, object]]:
        """A row for each witness line of the policy: name, URL, whether it cosigned, its size, what it said last."""
        counted = self._shown.counted if self._shown else ()
        sizes = {client.url: client.size for client in self._clients}
        rows: list[dict[str, object]] = []
        for witness in self.policy.witnesses:
            url = witness.url or ""
            answer = self._last.get(url)
            why = "no URL: never asked" if witness.url is None else answer.why if answer else "not asked yet"
            rows.append(
                {
                    "name": shown(witness.name),
                    "url": witness.url,
                    "cosigned": witness.name in counted,
                    "size": sizes.get(url),
                    "trouble": why or None,
                }
            )
        return rows

    def save(self) -> None:
        """Keep the sizes for the next start. Raises OSError."""
        sizes = {client.url: client.size for client in self._clients if client.size is not None}
        write_atomic(self._files, str(self._state), json.dumps({"sizes": sizes}).encode(), sync=False)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def _judge_learned(self, url: str, answer: Answer, highest: SignedCheckpoint) -> None:
        """Raises Broken where a witness has seen what this log does not know it signed."""
        head = highest.checkpoint
        larger = answer.size is not None and answer.size > head.size
        if not larger and not answer.forked:
            return
        what = (
            f"a witness has cosigned a tree of {answer.size} entries, but the largest this host knows it signed has "
            f"{head.size}: data and keys were rolled back together"
            if larger
            else "a witness has cosigned another history than this host holds"
        )
        raise Broken(
            f"{what}. Nothing is signed",
            place=f"{url}: {answer.why}",
            mend="bring back the newest copy of the data and name the newest checkpoint, from the witness "
            f"(GET {url.rstrip('/')}/<hex SHA-256 of the origin>/checkpoint) or a mirror: `graven keys seen FILE`; or "
            "begin a successor: `graven init NEW_DIR --successor-of FILE`; where the witness lies (its checkpoint of "
            "that size does not verify), take it out of the policy",
        )

    def _ask_all(self, clients: Sequence[WitnessClient], ask: Callable[[WitnessClient], Answer]) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}

        def one(client: WitnessClient) -> None:
            answers[client.url] = _guarded(lambda: ask(client))

        threads = [threading.Thread(target=one, args=(client,), daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        until_s = time.monotonic() + 2 * max(self._deadline_s, LEARN_TIMEOUT_S)
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        told = {client.url: answers.get(client.url, Answer(why="no answer in time")) for client in clients}
        with self._changed:
            self._last |= told
            for answer in told.values():
                self._take(answer)
        return told

    def _start(self, client: WitnessClient, target: SignedCheckpoint, prove: ProveGrowth) -> bool:
        """Begin a question, unless one is under way. The lock is held."""
        if client.url in self._busy:
            return False
        self._busy.add(client.url)
        threading.Thread(target=self._ask, args=(client, target, prove), name="graven-witness", daemon=True).start()
        return True

    def _ask(self, client: WitnessClient, target: SignedCheckpoint, prove: ProveGrowth) -> None:
        answer = _guarded(lambda: client.ask(target, prove))
        with self._changed:
            before = self._last.get(client.url)
            self._last[client.url] = answer
            self._busy.discard(client.url)
            good = self._text == target.note.text and bool(answer.lines)
            if good:
                self._take(answer)
            late = good and not self._gathering
            self._changed.notify_all()
        if answer.why and (before is None or before.why != answer.why):
            level = logger.error if answer.forked else logger.warning
            level("a witness did not cosign", extra={"fields": {"url": client.url, "why": answer.why}})
        for dropped in answer.dropped:
            logger.warning("a cosignature was dropped", extra={"fields": {"url": client.url, "why": dropped}})
        if late:
            self.on_late()

    def _take(self, answer: Answer) -> None:
        """Believe the lines of an answer about the text shown now. The lock is held."""
        for key, line in answer.lines:
            if self._is_good(key, line):
                self._lines[key] = line

    def _show(self, text: str) -> None:
        if self._text != text:
            self._text, self._lines = text, {}

    def _is_good(self, key: Key, line: Signature) -> bool:
        try:
            open_note(Note(self._text, (line,)), [key], self._verify, message=_message)
        except (Disproved, BadInput):
            return False
        return True

    def _names(self, keys: Sequence[Key] | dict[Key, Signature]) -> tuple[str, ...]:
        return tuple(witness.name for witness in self.policy.witnesses if witness.key in keys)

    def _load_sizes(self) -> None:
        try:
            sizes = json.loads(self._state.read_bytes())["sizes"]
            for client in self._clients:
                size = sizes.get(client.url)
                client.size = size if isinstance(size, int) and size >= 0 else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return


def _guarded(ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except Exception as error:
        logger.exception("asking a witness failed")
        return Answer(why=f"{type(error).__name__}: {error}")


def _line_of(note: Note, key: Key) -> Signature | None:
    return next((line for line in note.signatures if (line.name, line.key_id) == (key.name, key.id)), None)


def _message(key: Key, time_s: int | None, text: str) -> bytes:
    return message_to_sign(key.type, name=key.name, time=time_s, text=text)


def _whys(answers: dict[str, Answer]) -> dict[str, str]:
    return {url: answer.why for url, answer in answers.items() if answer.why}
