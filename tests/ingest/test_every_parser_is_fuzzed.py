"""Everything that reads a sender's bytes is read to by Hypothesis, too: a parser without such a test fails here."""

import functools
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import graven.agent
import graven.event
import graven.ingest
import graven.server

TESTS = Path(__file__).parents[1]

FUZZED = {
    "graven.agent.doors.spoken": "agent/doors/test_doors_http.py::test_any_request_is_records_or_refused",
    "graven.agent.pull.page": "agent/test_pullers.py::test_any_answer_is_records_or_refused",
    "graven.agent.trail.digest": "agent/test_trail.py::test_any_bytes_are_a_digest_or_refused",
    "graven.agent.wire": "agent/test_doors.py::test_any_bytes_are_a_body_or_refused",
    "graven.event.body": "event/test_body.py::test_arbitrary_bytes",
    "graven.event.decode": "event/test_decode.py::test_any_json_is_taken_as_data_and_has_no_duplicates",
    "graven.ingest.assemble": "ingest/test_hostile_lines.py::test_no_line_is_lost",
    "graven.ingest.audit_messages": "ingest/test_audit_messages.py::test_any_bytes_pass_or_wait",
    "graven.ingest.csv_export": "ingest/test_stream.py::test_any_lines_behind_a_header_give_records",
    "graven.ingest.fields": "ingest/test_fields.py::test_any_path_in_any_document",
    "graven.ingest.history": "ingest/test_history_parts.py::test_any_bytes_are_parts_or_refused",
    "graven.ingest.host_lines": "ingest/test_host_lines.py::test_any_bytes_are_read_as_the_whole_way_reads_them",
    "graven.ingest.mapping": "ingest/test_mapping.py::test_any_text_is_a_mapping_or_bad_input",
    "graven.ingest.pipeline": "ingest/test_pipeline.py::test_any_bytes_give_events_that_fit_the_model",
    "graven.ingest.protocol.bulk": "ingest/protocol/test_bulk.py::test_anything_is_read_without_an_error",
    "graven.ingest.protocol.cloudevents": "ingest/protocol/test_cloudevents.py::test_anything_is_read_or_refused",
    "graven.ingest.protocol.compressed": "ingest/protocol/test_compressed.py::test_any_bytes_are_unpacked_or_refused",
    "graven.ingest.protocol.credential": "ingest/protocol/test_credential.py::test_any_header_is_a_bearer_or_none",
    "graven.ingest.protocol.delivery": "ingest/protocol/test_delivery.py::test_any_number_is_a_time_or_none",
    "graven.ingest.protocol.framing": "ingest/protocol/test_framing.py::test_counted_messages_survive_any_cut",
    "graven.ingest.protocol.hec": "ingest/protocol/test_hec.py::test_anything_is_read_without_an_error",
    "graven.ingest.protocol.loki": "ingest/protocol/test_loki.py::test_any_message_is_read_or_refused",
    "graven.ingest.protocol.otlp": "ingest/protocol/test_otlp.py::test_any_record_is_kept",
    "graven.ingest.protocol.protobuf": "ingest/protocol/test_protobuf.py::test_any_bytes_are_read_or_refused",
    "graven.ingest.protocol.snappy": "ingest/protocol/test_loki.py::test_any_block_is_unpacked_or_refused",
    "graven.ingest.protocol.syslog_header": "ingest/test_hostile_lines.py::test_a_header_never_loses_the_message",
    "graven.ingest.protocol.webhook": "ingest/protocol/test_webhook.py::test_nothing_unsigned_passes",
    "graven.ingest.redact": "ingest/test_redact.py::test_any_bytes",
    "graven.ingest.redact_paths": "ingest/test_redact.py::test_any_bytes",
    "graven.ingest.split": "ingest/test_split.py::test_no_bytes_make_it_fail",
    "graven.ingest.stream": "ingest/test_stream.py::test_any_bytes_give_records_and_no_error",
    "graven.ingest.times": "ingest/test_times.py::test_anything_is_a_utc_time_or_none",
    "graven.ingest.words": "ingest/test_words.py::test_any_action_has_a_verb_and_a_category_of_the_model",
}
"""Module → the test that gives it anything."""

BY_PIPELINE = {
    "graven.ingest.around", "graven.ingest.detect", "graven.ingest.detectors", "graven.ingest.envelope",
    "graven.ingest.record", "graven.ingest.sources", "graven.ingest.table", "graven.ingest.quarantine",
}  # fmt: skip
"""They see what the pipeline has decoded, and are fuzzed with it."""

NORMALISED = "ingest/test_any_record.py::test_anything_anywhere_is_an_event_or_a_clear_refusal"
LINES = "ingest/test_hostile_lines.py::test_any_line_becomes_an_event"


def test_every_module_of_ingest_is_named() -> None:
    found = {one.name for one in pkgutil.walk_packages(graven.ingest.__path__, "graven.ingest.") if not one.ispkg}
    ours = {name for name in found if not name.startswith("graven.ingest.normalize.")}
    assert ours - BY_PIPELINE <= set(FUZZED), sorted(ours - BY_PIPELINE - set(FUZZED))
    assert ours >= BY_PIPELINE


@pytest.mark.parametrize("module", sorted(FUZZED))
def test_the_test_exists_and_is_given_anything(module: str) -> None:
    importlib.import_module(module)
    source = fuzz_test(FUZZED[module])
    assert module in source or module.rpartition(".")[0] in source, f"{FUZZED[module]} does not import {module}"


@pytest.mark.parametrize("name", [NORMALISED, LINES])
def test_every_normaliser_is_given_anything(name: str) -> None:
    assert "SOURCES" in fuzz_test(name) or "sampled_from" in fuzz_test(name)


def test_no_cache_grows_with_what_senders_choose() -> None:
    """A million sources, names or words: every cache on their way has a bound, and no table is kept beside them."""
    unbounded = []
    for package in (graven.ingest, graven.event, graven.server, graven.agent):
        for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if one.name.endswith("__main__"):
                continue
            module = importlib.import_module(one.name)
            for name, value in vars(module).items():
                is_cache = isinstance(value, functools._lru_cache_wrapper)
                if is_cache and value.cache_parameters()["maxsize"] is None and takes_something(value):
                    unbounded.append(f"{one.name}.{name}")
    assert unbounded == []


def takes_something(cached: object) -> bool:
    return bool(inspect.signature(inspect.unwrap(cached)).parameters)  # type: ignore[arg-type]


def fuzz_test(name: str) -> str:
    """The text of the module of a Hypothesis test, which exists."""
    path, _, function = name.partition("::")
    text = (TESTS / path).read_text()
    head, found, _ = text.partition(f"def {function}(")
    assert found, f"there is no {name}"
    decorators = head.rpartition("\n\n")[2]
    assert "@given(" in decorators or "@rule(" in decorators, f"{name} is not given anything"
    return text
