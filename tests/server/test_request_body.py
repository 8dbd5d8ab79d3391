"""Taking compressed bodies apart, within bounds."""

import gzip
import os
import time
import zlib

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from graven.ingest.protocol.compressed import MEMBERS_MAX
from graven.server.answers import Refused
from graven.server.body import decompress

PACK = {"gzip": lambda data: gzip.compress(data, 1), "zstd": zstd.compress}
ENCODINGS = pytest.mark.parametrize("encoding", ["gzip", "zstd"])


@ENCODINGS
@given(parts=st.lists(st.binary(max_size=2000), min_size=1, max_size=4), spare=st.integers(0, 3))
def test_what_was_packed_comes_out(encoding: str, parts: list[bytes], spare: int) -> None:
    packed, whole = b"".join(PACK[encoding](part) for part in parts), b"".join(parts)
    assert decompress(packed, encoding, bytes_max=len(whole) + spare) == whole
    if whole:
        assert decompress(packed, encoding, bytes_max=len(whole) - 1) is None


@ENCODINGS
@given(data=st.binary(max_size=300), cut=st.integers(1, 400), tail=st.binary(min_size=1, max_size=20))
def test_what_is_cut_or_followed_by_anything_is_refused(encoding: str, data: bytes, cut: int, tail: bytes) -> None:
    packed = PACK[encoding](data)
    for bad in (packed[:-cut] if cut < len(packed) else b"", packed + b"\x00" + tail):
        with pytest.raises(Refused) as caught:
            decompress(bad, encoding, bytes_max=1 << 20)
        assert caught.value.status == 400


@ENCODINGS
def test_large_bodies_in_pieces(encoding: str) -> None:
    for data in (os.urandom(1_500_000), bytes(3_000_000)):
        assert decompress(PACK[encoding](data), encoding, bytes_max=3_000_000) == data


@ENCODINGS
def test_a_bomb_costs_no_more_than_the_limit(encoding: str) -> None:
    bomb = PACK[encoding](bytes(1 << 28))
    began = time.process_time()
    assert decompress(bomb, encoding, bytes_max=1 << 20) is None
    assert time.process_time() - began < 0.5


@ENCODINGS
def test_very_many_members_are_refused(encoding: str) -> None:
    one = PACK[encoding](b"")
    assert decompress(one * MEMBERS_MAX, encoding, bytes_max=10) == b""
    began = time.process_time()
    with pytest.raises(Refused, match="members"):
        decompress(one * 400_000, encoding, bytes_max=10)
    assert time.process_time() - began < 2


def test_a_window_beyond_the_standard_s_is_refused() -> None:
    packed = zstd.compress(os.urandom(9 << 20), options={int(zstd.CompressionParameter.window_log): 27})
    with pytest.raises(Refused, match="too much memory"):
        decompress(packed, "zstd", bytes_max=1 << 30)


def test_plain_zlib_is_not_gzip() -> None:
    with pytest.raises(Refused):
        decompress(zlib.compress(b"x"), "gzip", bytes_max=100)
