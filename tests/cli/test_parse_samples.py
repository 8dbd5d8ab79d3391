"""Every sample file through `graven parse`, its type unstated and stated: no record of any is quarantined."""

import tomllib
from pathlib import Path

from cli.calls import Run, read_error, read_json

MANIFEST = Path(__file__).parents[1] / "ingest" / "samples.toml"

EMPTY = {
    "github-webhooks-octokit/deployment.payload.json": "no bytes: as it was published",
    "github-webhooks-octokit/push.payload.json": "no bytes: as it was published",
}
QUARANTINED = {
    ("kubernetes-audit-falco/fal_01_003.json", "unstated"): [0],  # a hostile input: {"kind": 0} says nothing of anyone
    ("saas-panther/onelogin-events.jsonl", "stated"): [4, 6],  # its authors keep events of two other sources in it
}
NO_TYPE = {
    "kubernetes-audit-falco/CMakeLists.txt": "instructions for a build: lines of text, of no type that could be stated",
    "kubernetes-audit-falco/fal_01_003.json": "of no type",
}


def test_no_file_has_a_record_that_is_quarantined(run: Run, shared: Path) -> None:
    samples = shared / "samples"
    stated = {
        path: row["type"]
        for row in tomllib.loads(MANIFEST.read_text())["samples"] if row["root"] == "published"
        for path in samples.glob(row["path"])
    }  # fmt: skip
    files = [path for folder in samples.iterdir() if folder.is_dir() for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 140
    quarantined: dict[tuple[str, str], list[int]] = {}
    empty: set[str] = set()
    for path in files:
        name = str(path.relative_to(samples))
        for how in ("unstated", "stated"):
            if how == "stated" and name in NO_TYPE:
                continue
            words = ["parse", path, "--json", *(["--type", stated[path]] if how == "stated" else [])]
            if not path.stat().st_size:
                assert "no record" in read_error(run(*words, exit_code=2))["what"]
                empty.add(name)
                continue
            events = read_json(run(*words))["events"]
            assert events
            if found := [position for position, event in enumerate(events) if event["quarantined"] is not None]:
                quarantined[name, how] = found
    assert quarantined == QUARANTINED
    assert empty == set(EMPTY)
