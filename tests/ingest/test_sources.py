"""Every sample file parses, is recognised for what it is, and docs/sources.md says exactly that."""

import tomllib
from pathlib import Path

import pytest

from graven.ingest import Pipeline, Record
from graven.ingest.normalize import SOURCES
from graven.ingest.sources import Measured, Sample, format_page, load_samples, measure

MANIFEST = Path(__file__).parent / "samples.toml"
PAGE = Path(__file__).parents[2] / "docs" / "sources.md"


@pytest.fixture(scope="module")
def samples(shared: Path) -> list[Sample]:
    assert (shared / "samples").is_dir()
    return load_samples(MANIFEST)


@pytest.fixture(scope="module")
def measured(samples: list[Sample]) -> Measured:
    return measure(samples, Pipeline())


def test_no_sample_is_quarantined(measured: Measured) -> None:
    assert measured.quarantined == []


def test_every_record_is_recognised_for_what_it_is(measured: Measured) -> None:
    wrong = {
        truth: dict(ways) for truth, ways in measured.confusion.items() if set(ways) - {truth}
    }  # a type that is confused shows on the page first; then this list says so
    assert wrong == {}


def test_the_page_is_what_the_samples_say(measured: Measured) -> None:
    assert PAGE.read_text() == format_page(MANIFEST, measured, Pipeline()), (
        "run: python -m graven.ingest.sources tests/ingest/samples.toml > docs/sources.md"
    )


def test_a_type_without_evidence_is_not_in_the_product(measured: Measured) -> None:
    assert {source.TYPE for source in SOURCES} == set(measured.records)


def test_raws_are_kept_as_they_came(samples: list[Sample]) -> None:
    pipeline = Pipeline()
    for sample in samples:
        for made in pipeline.run([sample.record]):
            assert made.raw == sample.record.raw


def test_every_file_among_the_samples_is_accounted_for(shared: Path) -> None:
    listed = tomllib.loads(MANIFEST.read_text())
    named = {path for row in (*listed["samples"], *listed["not_records"]) if row["root"] == "published"
             for path in (shared / "samples").glob(row["path"])}  # fmt: skip
    files = {path for folder in (shared / "samples").iterdir() if folder.is_dir() for path in folder.rglob("*")}
    assert {str(path) for path in files if path.is_file()} - {str(path) for path in named} == set()


def test_what_is_no_record_is_quarantined_and_not_guessed(shared: Path) -> None:
    hostile = (shared / "samples" / "kubernetes-audit-falco" / "fal_01_003.json").read_bytes()
    (found,) = Pipeline().run([Record(hostile)])
    assert found.quarantined and found.raw == hostile.strip()
