"""Verb and category from the words of an action, as fallbacks: closed words, and the strongest word first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.event import CATEGORIES, VERBS
from graven.ingest.words import category_of, verb_of, words_of


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("user.lifecycle.create", ("user", "lifecycle", "create")),
        ("CreateUser", ("create", "user")),
        ("S3PutObject", ("s", "3", "put", "object")),
        ("HTTPServerStopped", ("http", "server", "stopped")),
        ("app_installed", ("app", "installed")),
        ("ORG_SETTINGS", ("org", "settings")),
        ("—", ()),
    ],
)
def test_an_action_is_cut_into_words(action: str, words: tuple[str, ...]) -> None:
    assert words_of(action) == words


@pytest.mark.parametrize(
    ("action", "verb", "category"),
    [
        ("user.login", "login", "authentication"),
        ("user.logout", "logout", "authentication"),
        ("role.assignment.created", "create", "permission"),
        ("member_invited", "grant", "permission"),
        ("member_removed", "delete", "permission"),
        ("report.exported", "export", "data"),
        ("file_viewed", "read", "data"),
        ("workflow.run", "execute", "execution"),
        ("firewall.updated", "update", "network"),
        ("enable_setting", "configure", "configuration"),
        ("CAT_JUMPED", "other", "other"),
    ],
)
def test_what_words_mean(action: str, verb: str, category: str) -> None:
    assert (verb_of(action), category_of(action)) == (verb, category)


@given(st.text(max_size=400))
def test_any_action_has_a_verb_and_a_category_of_the_model(action: str) -> None:
    assert verb_of(action) in VERBS
    assert category_of(action) in CATEGORIES
