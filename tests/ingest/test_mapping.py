"""A user's own mapping: the tutorial does what it says, and mistakes are told with their place."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.config.ingest import read_mappings
from graven.core.errors import BadInput
from graven.ingest import Pipeline, Record
from graven.ingest.mapping import parse_mapping
from graven.ingest.normalize import SOURCES

PAGE = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text()
BLOCKS = dict(re.findall(r"```(?:json|toml) (\w+)\n(.*?)```", PAGE, re.DOTALL))
SMALL = 'type = "a"\n[match]\nhas = ["x"]\n[fields]\naction = "x"\n'


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "acme-billing.toml").write_text(BLOCKS["mapping"])
    (tmp_path / "notes.txt").write_text("not a mapping")
    own = read_mappings(tmp_path)
    pipeline = Pipeline((*own, *SOURCES))
    assert "acme-billing" in pipeline.types
    for type_ in ("", "acme-billing"):
        (made,) = pipeline.run([Record(BLOCKS["record"].strip().encode(), type_)])
        assert (made.type, made.quarantined) == ("acme-billing", "")
        assert json.loads(made.event) == json.loads(BLOCKS["event"])
        assert made.raw == BLOCKS["record"].strip().encode()


def test_the_words_of_the_tutorial(tmp_path: Path) -> None:
    pipeline = Pipeline((parse_mapping(BLOCKS["mapping"]), *SOURCES))
    for said, outcome in (("ok", "success"), ("OK", "success"), ("error 7", "failure"), ("?", None)):
        (made,) = pipeline.run(
            [
                Record(
                    json.dumps({"app": "billing", "ev": "invoice.create", "user": {"login": "a"}, "res": said}).encode()
                )
            ]
        )
        event = json.loads(made.event)
        assert (event.get("outcome"), event["verb"]) == (outcome, "create")


def test_a_record_of_the_type_without_an_action_is_quarantined() -> None:
    pipeline = Pipeline((parse_mapping(SMALL.replace('has = ["x"]', 'has = ["y"]')), *SOURCES))
    (made,) = pipeline.run([Record(b'{"y":1}')])
    assert made.quarantined and json.loads(made.event)["data"]["path"] == "$.x"


def test_a_list_gives_targets() -> None:
    mapping = parse_mapping(SMALL + '[[targets]]\ntype_from = "kind"\nid = "no"\neach = "rows"\n')
    (made,) = Pipeline((mapping,)).run([Record(b'{"x":"do","rows":[{"no":1,"kind":"row"},{"no":"2"},{"other":3}]}')])
    assert json.loads(made.event)["targets"] == [{"type": "row", "id": "1"}, {"id": "2"}]


def test_fields_may_be_written_either_way() -> None:
    mapping = parse_mapping(
        SMALL + '"actor.id" = "u"\nactor.name = "n"\n[words.actor.type]\nfrom = "t"\ntable = { h = "user" }\n'
    )
    (made,) = Pipeline((mapping,)).run([Record(b'{"x":"do","u":"1","n":"m","t":"H"}')])
    assert json.loads(made.event)["actor"] == {"type": "user", "id": "1", "name": "m"}


@pytest.mark.parametrize(
    ("text", "what", "place", "mend"),
    [
        ("type = ", "no TOML", "mapping", ""),
        ("kind = 'a'", "unknown key 'kind'", "kind", "known here"),
        ('typ = "a"', "unknown key 'typ'", "typ", "did you mean type?"),
        (SMALL.replace('"a"', '"A b"'), "does not name its type", "type", "a-z"),
        (SMALL.replace('"a"', '"okta"'), "'okta' already", "type", "another"),
        ("version = 0\n" + SMALL, "no number", "version", "version = 1"),
        (SMALL.replace('[match]\nhas = ["x"]\n', ""), "which records it is for", "[match]", "has"),
        (SMALL.replace('["x"]', "[]"), "every record would", "[match]", "only these"),
        (SMALL.replace("has", "hass"), "unknown key 'hass'", "[match] hass", "did you mean has?"),
        (SMALL.replace('action = "x"', 'tme = "x"'), "no field 'tme'", "[fields] tme", "did you mean time?"),
        (SMALL.replace('action = "x"', 'time = "x"'), "what the action is", "[fields]", "action ="),
        (SMALL + 'verb = "x"\n', "no field 'verb'", "[fields] verb", "[words.verb]"),
        (SMALL + "time = 7\n", "no text", "[fields] time", "another"),
        (SMALL + '[fixed]\nid = "x"\n', "cannot be always the same", "[fixed] id", ""),
        (SMALL + '[fixed]\nverb = "reed"\n', "'reed' is no verb", "[fixed] verb", "did you mean read?"),
        (SMALL + '[words.verb.table]\nr = "reads"\n', "'reads' is no verb", "[words.verb]", "did you mean read?"),
        (SMALL + '[words.outcome]\nfrom = "r"\n', "table of words is missing", "[words.outcome]", "table"),
        (SMALL + '[words.mood.table]\na = "b"\n', "no table of words for 'mood'", "[words.mood]", "one of"),
        (SMALL + '[words.verb.table]\n"a*b" = "read"\n', "star in its midst", "[words.verb]", "x*"),
        (SMALL + '[[targets]]\ntype = "t"\n', "path of its id", "[[targets]] 0", "id ="),
        (SMALL + '[[targets]]\nidd = "t"\n', "unknown key 'idd'", "[[targets]] idd", "did you mean id?"),
        (SMALL + 'leave_out = 3\n', "no text", "[fields]", ""),
    ],
)  # fmt: skip
def test_mistakes_are_told(text: str, what: str, place: str, mend: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_mapping(text, taken={"okta"})
    error = caught.value
    assert what in error.what or "leave_out" in error.what
    assert place in error.place and mend in error.mend


def test_a_folder_of_mappings(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_mappings(tmp_path / "none")
    (tmp_path / "b.toml").write_text(SMALL)
    (tmp_path / "a.toml").write_text(SMALL.replace('"a"', '"z"'))
    assert [one.type for one in read_mappings(tmp_path)] == ["z", "a"]
    (tmp_path / "c.toml").write_text(SMALL)
    with pytest.raises(BadInput, match="already") as caught:
        read_mappings(tmp_path)
    assert caught.value.place.startswith(str(tmp_path / "c.toml"))
    (tmp_path / "c.toml").write_bytes(b"\xff")
    with pytest.raises(BadInput, match="UTF-8"):
        read_mappings(tmp_path)


@given(st.text(max_size=80) | st.sampled_from(SMALL.split("\n")).map(lambda line: line + " = 1"), st.integers(0, 60))
def test_any_text_is_a_mapping_or_bad_input(text: str, at: int) -> None:
    for whole in (text, SMALL[:at] + text + SMALL[at:]):
        try:
            parse_mapping(whole)
        except BadInput:
            continue
