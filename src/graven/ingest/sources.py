"""What is supported, and how it is known: the page docs/sources.md, computed from samples.

A manifest (TOML) names the samples and what each truly is; the page shows how much of the model each source type fills,
and the confusion matrix of detection with every record's type unstated. A type without any sample is not on the page.

    [roots]                       name = "path", relative to the manifest
    [types.TYPE]                  title, documentation (an address)
    [[samples]]                   root, path (a glob), type, own (written by us from documentation);
                                  but = {"4" = "other-type"}: records of the file, by position, that are something else
    [[not_records]]               root, path, why
"""

import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graven.event import Event, decode_event
from graven.ingest.pipeline import Pipeline
from graven.ingest.record import UNKNOWN_TYPE, Record
from graven.ingest.split import split_records

__all__ = ["Measured", "Sample", "format_page", "load_samples", "measure"]

FIELDS = (
    "id", "time", "actor", "verb", "category", "targets", "changes", "outcome", "reason", "origin", "scope",
    "correlation",
)  # fmt: skip
"""The fields counted, besides `action`, which every event has."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One record of a sample file and what it truly is. `own`: written by us."""

    path: Path
    position: int
    type: str
    record: Record
    own: bool


@dataclass(slots=True)
class Measured:
    """What the samples gave. `filled`: type → field → events that have it; `confusion`: truth → found → records."""

    records: Counter[str] = field(default_factory=Counter)
    own: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    filled: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    confusion: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    quarantined: list[str] = field(default_factory=list)


def load_samples(manifest: Path) -> list[Sample]:
    """Every record the manifest names, in its order. Raises BadInput for a file it does not account for."""
    listed = tomllib.loads(manifest.read_text())
    roots = {name: (manifest.parent / path).resolve() for name, path in listed["roots"].items()}
    found: list[Sample] = []
    taken: set[Path] = set()
    for row in listed.get("not_records", ()):
        taken |= set(roots[row["root"]].glob(row["path"]))
    for row in listed["samples"]:
        for path in sorted(roots[row["root"]].glob(row["path"])):
            if path in taken:
                continue
            taken.add(path)
            but = row.get("but", {})
            for position, record in enumerate(split_records(path.read_bytes())):
                truth = but.get(str(position), row["type"])
                found.append(Sample(path, position, truth, record, row.get("own", False)))
    return found


def measure(samples: Sequence[Sample], pipeline: Pipeline) -> Measured:
    """Each record twice: with its type stated, for the fields; unstated, for detection."""
    found = Measured()
    for sample in samples:
        found.records[sample.type] += 1
        found.own[sample.type] += sample.own
        for made in pipeline.run([Record(sample.record.raw, type=sample.type)]):
            if made.quarantined:
                found.quarantined.append(f"{sample.path.name} {sample.position} as {sample.type}: {made.quarantined}")
                continue
            event = decode_event(made.event)
            found.events[sample.type] += 1
            found.filled[sample.type].update(name for name in FIELDS if _has(event, name))
        types = {made.type if not made.quarantined else UNKNOWN_TYPE for made in pipeline.run([sample.record])}
        found.confusion[sample.type]["+".join(sorted(types))] += 1
    return found


def format_page(manifest: Path, found: Measured, pipeline: Pipeline) -> str:
    """The page as Markdown."""
    types: dict[str, dict[str, Any]] = tomllib.loads(manifest.read_text())["types"]
    shown = [name for name in pipeline.types if found.records[name]]
    lines = [_HEAD.rstrip(), "", "| type | source | evidence | records | " + " | ".join(FIELDS) + " |"]
    lines.append("|---|---|---|---:|" + "---:|" * len(FIELDS))
    for name in shown:
        about = types.get(name, {})
        title = f"[{about['title']}]({about['documentation']})" if "documentation" in about else about["title"]
        counts = (str(round(100 * found.filled[name][one] / max(1, found.events[name]))) for one in FIELDS)
        lines.append(
            f"| `{name}` | {title} | {_evidence(found, name)} | {found.records[name]} | {' | '.join(counts)} |"
        )
    lines += ["", _MATRIX.rstrip(), "", "| true type | records | found as |", "|---|---:|---|"]
    for name in shown:
        ways = ", ".join(f"`{way}` {count}" for way, count in sorted(found.confusion[name].items(), key=_most))
        lines.append(f"| `{name}` | {found.records[name]} | {ways} |")
    right = sum(found.confusion[name][name] for name in shown)
    lines += [
        "",
        f"{right} of {sum(found.records[name] for name in shown)} records are recognised for what they are.",
        "",
    ]
    return "\n".join(lines)


_HEAD = """# Sources

Records of other programs that Graven reads out of the box. `graven parse FILE` shows what becomes of a file without
storing it; a source that is not here is added by a mapping, without code. This page is computed from sample records by
`python -m graven.ingest.sources MANIFEST`; a source without any is not on it.

*Evidence*: "real" are records of the producer, as others published them (names and addresses often replaced);
"documentation" are records we wrote from the vendor's documentation, so such a source may meet surprises. The numbers
are per cent of the sample events in which a field is filled: a field the records do not have cannot be.
"""

_MATRIX = """## Detection

The same records, each without saying what it is: how many were taken for what. A door, an agent or a configuration that
states the type is never second-guessed.
"""


def _evidence(found: Measured, name: str) -> str:
    own, real = found.own[name], found.records[name] - found.own[name]
    return "real" if not own else "documentation" if not real else f"real ({real}), documentation ({own})"


def _most(way: tuple[str, int]) -> tuple[int, str]:
    return -way[1], way[0]


def _has(event: Event, name: str) -> bool:
    value = getattr(event, name)
    return value is not None and not (name in ("verb", "category") and value == "other")


def _main(manifest: Path) -> None:
    pipeline = Pipeline()
    sys.stdout.write(format_page(manifest, measure(load_samples(manifest), pipeline), pipeline))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
