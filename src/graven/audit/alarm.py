"""Telling people: a JSON POST when something is wrong, and a Prometheus textfile after each round."""

import json
from pathlib import Path

import urllib3
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from graven.audit.follow import Round
from graven.core.errors import BadInput, Broken, GravenError

WEBHOOK_TIMEOUT_S = 10.0

_KINDS = ((1, "disproved"), (2, "bad_input"), (3, "broken"))


def round_fields(found: Round) -> dict[str, object]:
    """A round as a JSON object: what is printed, and posted to a webhook."""
    return {
        "time_s": found.at_s,
        "origin": found.origin,
        "size": found.size,
        "root": found.root.hex(),
        "grown": found.grown,
        "age_s": found.age_s,
        "stamp_age_s": found.stamp_age_s,
        "witnesses": list(found.witnesses),
        "peers_agreed": found.peers_agreed,
        "checked": found.checked,
        "problems": [problem_fields(one) for one in found.problems],
        "exit_code": found.exit_code,
    }


def problem_fields(error: GravenError) -> dict[str, object]:
    """One problem of a round."""
    return {"kind": dict(_KINDS)[error.exit_code], "what": error.what, "place": error.place, "mend": error.mend}


class Webhook:
    """POSTs a round that found something, when what it found is not what the round before found."""

    def __init__(self, url: str) -> None:
        """Raises BadInput for what is no URL of http or https."""
        if not url.startswith(("http://", "https://")):
            raise BadInput("not a URL of a webhook", place=url[:200], mend="https://HOST/PATH")
        self._url = url
        self._told: list[str] = []
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(WEBHOOK_TIMEOUT_S), retries=False)

    def tell(self, found: Round) -> bool:
        """Whether something was posted. Raises Broken when nobody took it; the next round tries again."""
        news = [one.what for one in found.problems]
        if not news or news == self._told:
            self._told = news
            return False
        body = json.dumps(round_fields(found)).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "graven-audit"}
        try:
            answer = self._pool.request("POST", self._url, body=body, headers=headers, preload_content=False)
            status = answer.status
            answer.close()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Broken(f"the webhook does not answer: {type(error).__name__}", place="webhook") from None
        if not 200 <= status < 300:
            raise Broken(f"the webhook answers with status {status}", place="webhook")
        self._told = news
        return True


def write_metrics(path: Path, found: Round) -> None:
    """Write the textfile, whole. Raises Broken."""
    registry = CollectorRegistry()
    rows: list[tuple[str, str, float]] = [
        ("round_time_seconds", "When the last round began, POSIX seconds.", found.at_s),
        ("size", "Entries of the copy that lead to a signed root.", found.size),
        ("problems", "What the last round found wrong.", len(found.problems)),
        ("exit_code", "0 good, 1 disproved, 2 wrong input, 3 broken.", found.exit_code),
        ("peers_agreed", "Peers that see the same log.", found.peers_agreed),
    ]
    if found.stamp_age_s is not None:
        rows.append(("stamp_age_seconds", "How old the newest good time stamp is.", found.stamp_age_s))
    if found.age_s is not None:
        rows.append(("checkpoint_age_seconds", "How long ago the newest checkpoint was made.", found.age_s))
    for name, meaning, value in rows:
        gauge = Gauge(f"graven_audit_{name}", meaning, ["origin"], registry=registry)
        gauge.labels(origin=found.origin).set(value)
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise Broken(f"the metrics cannot be written: {error.strerror}", place=str(path)) from None
