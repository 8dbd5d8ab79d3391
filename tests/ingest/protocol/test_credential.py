"""The token in each protocol's own words, and anything else."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.ingest.protocol.credential import as_bearer

T = b"gvn_token"
PAIR = base64.b64encode(b"any:" + T)


@pytest.mark.parametrize(
    "header", [b"Bearer " + T, b"Splunk " + T, b"ApiKey " + T, b"ApiKey " + PAIR, b"Basic " + PAIR, b"splunk  " + T]
)
def test_it_is_one_token(header: bytes) -> None:
    assert as_bearer(header) == b"Bearer " + T


@given(st.binary(max_size=100), st.sampled_from([b"", b"Bearer ", b"Splunk ", b"ApiKey ", b"Basic ", b"Digest "]))
def test_any_header_is_a_bearer_or_none(value: bytes, scheme: bytes) -> None:
    """Whatever comes out is at most what came in: no token is made of nothing."""
    found = as_bearer(scheme + value)
    assert found is not None
    assert len(found) <= len(scheme + value) + len(b"Bearer ")


def test_none_stays_none_and_too_much_stays_unknown() -> None:
    assert as_bearer(None) is None
    assert as_bearer(b"Splunk " + b"x" * 2000) == b"Splunk " + b"x" * 2000
