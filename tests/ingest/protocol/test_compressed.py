"""Compressed bodies: bombs, members without end, and anything at all."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.ingest.protocol.compressed import ENCODINGS, MEMBERS_MAX, ZSTD_WINDOW_LOG_MAX, decompress
from graven.log.seal import zstd


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_is_not_unpacked(encoding: str) -> None:
    bomb = gzip.compress(bytes(64 << 20)) if encoding == "gzip" else zstd.compress(bytes(64 << 20))
    assert len(bomb) < 1 << 20
    assert decompress(bomb, encoding, bytes_max=1 << 20) is None


def test_a_window_that_is_too_wide_and_members_without_end_are_refused() -> None:
    wide = zstd.compress(bytes(1 << 20), options={zstd.CompressionParameter.window_log: ZSTD_WINDOW_LOG_MAX + 2})
    long = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: ZSTD_WINDOW_LOG_MAX + 2})
    streamed = long.compress(bytes(1 << 20)) + long.flush()
    assert decompress(wide, "zstd", bytes_max=2 << 20) is not None  # its frame is small, and so is its window
    with pytest.raises(BadInput, match="not zstd"):
        decompress(streamed, "zstd", bytes_max=2 << 20)
    with pytest.raises(BadInput, match="members"):
        decompress(gzip.compress(b"") * (MEMBERS_MAX + 1), "gzip", bytes_max=100)


@given(st.sampled_from(ENCODINGS), st.binary(max_size=200), st.integers(0, 300))
def test_any_bytes_are_unpacked_or_refused(encoding: str, data: bytes, bytes_max: int) -> None:
    packed = gzip.compress(data) if encoding == "gzip" else zstd.compress(data)
    assert decompress(packed, encoding, bytes_max=bytes_max) == (data if len(data) <= bytes_max else None)
    for hostile in (data, packed[:-1], packed + b"\0", packed[:5] + data, zlib.compress(data)):
        try:
            clear = decompress(hostile, encoding, bytes_max=bytes_max)
        except BadInput:
            continue
        assert clear is None or len(clear) <= bytes_max
