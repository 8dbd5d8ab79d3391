"""The records of files of any size: the same as of a body read whole, in bounded memory, nothing left out."""

import csv
import gzip
import io
import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.ingest.csv_export import CsvRows, is_export
from graven.ingest.record import Record
from graven.ingest.split import split_records
from graven.ingest.stream import KEPT_BYTES, RECORD_BYTES_MAX, open_clear, stream_records
from graven.log.seal import zstd

A, B = b'{"a":1}', b'{ "b" : [1, 2] }'
SHAPES = [
    b"", b" \r\n\n", A, b"\xef\xbb\xbf" + A, A + b"\n\n  " + B + b"\r\n", b"[" + A + b", " + B + b"]", b"[]",
    b"[null, " + A + b"]", b'{"Records":[' + A + b"," + B + b"]}", b'{\n "records": [\n' + A + b"]}\n",
    b'{\n "a": 1\n}',
    b"one line\nanother\n", b'{"broken\n' + A, b'["a","b"]', b"[2026-03-01] a line\n[2026-03-02] another\n",
    b'{"results":[' + A + b'],"totalCount":1}', b'[{"a":"\xff\xc3"},{"b":"\xc3\xa4"}]',
    b"<38>Oct 11 22:14:15 h sshd[1]: one\n goes on\n<38>Oct 11 22:14:16 h sshd[1]: two\n",
    b"type=SYSCALL msg=audit(1.1:1): a\ntype=USER_CMD msg=audit(1.2:2): b\ntype=EOE msg=audit(1.1:1): \n",
]  # fmt: skip


def streamed(data: bytes, type_: str = "") -> list[Record]:
    return list(stream_records(open_clear(io.BytesIO(data)), type_))


@pytest.mark.parametrize("body", SHAPES)
def test_as_a_body_read_whole(body: bytes) -> None:
    assert streamed(body) == split_records(body)
    assert streamed(gzip.compress(body[:3]) + gzip.compress(body[3:])) == split_records(body)
    assert streamed(zstd.compress(body)) == split_records(body)


@given(st.binary(max_size=400), st.sampled_from([b"", b"[", b"[{", b"{", b'[{"a":"', b"AuditData,x\n"]))
def test_any_bytes_give_records_and_no_error(data: bytes, start: bytes) -> None:
    try:
        found = streamed(start + data)
    except BadInput as error:
        assert "uncompressed" in error.what
        return
    assert all(record.raw for record in found)


@given(st.lists(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
    st.text(), inner), max_leaves=6).map(lambda value: {"v": value}), min_size=1, max_size=8))  # fmt: skip
def test_arrays_are_taken_apart_verbatim(documents: list[dict[str, object]]) -> None:
    pieces = [json.dumps(one, ensure_ascii=bool(at % 2)).encode("utf-8", "replace") for at, one in enumerate(documents)]
    assert [record.raw for record in streamed(b"[\n" + b" ,\n\t".join(pieces) + b"\n]\n")] == pieces


def test_a_long_array_in_chunks() -> None:
    pieces = [b'{"n":%d,"pad":"%b"}' % (number, b'\xc3\xa4\\"]}' * (number % 700)) for number in range(3_000)]
    assert [record.raw for record in streamed(b"[" + b",\n".join(pieces) + b"]")] == pieces


def test_where_an_array_breaks_off_the_rest_is_kept_as_one() -> None:
    found = streamed(b'[{"a":1}, {"b": nonsense' + b"x" * 100_000)
    assert found[0].raw == A
    rest = found[1]
    whole = b'{"b": nonsense' + b"x" * 100_000
    assert (rest.size_bytes, rest.sha256, rest.raw) == (len(whole), sha256(whole).hexdigest(), whole[:KEPT_BYTES])
    assert "stops being JSON" in rest.fault


@pytest.mark.parametrize("start", [b"", A + b"\n", b"plain text\n", b"CreationDate,AuditData\n"])
def test_a_line_that_is_too_long_is_cut_and_harms_no_other(start: bytes) -> None:
    long = b"y" * (RECORD_BYTES_MAX + 1_500_000)
    found = streamed(start + long + b"\nthe last\n")
    cut = next(record for record in found if record.size_bytes)
    assert (cut.size_bytes, cut.sha256) == (len(long), sha256(long).hexdigest())
    assert cut.raw == long[:KEPT_BYTES]
    assert found[-1].raw == b"the last"


def test_a_file_that_was_cut_gives_what_it_holds_and_says_so() -> None:
    packed = gzip.compress(b"".join(b'{"n":%d}\n' % number for number in range(50_000)), 1)
    found: list[Record] = []
    with pytest.raises(BadInput, match="uncompressed to its end"):
        found += stream_records(open_clear(io.BytesIO(packed[: len(packed) // 2])))
    for damaged in (zstd.compress(A * 1_000)[:-3], b"\x1f\x8bnonsense", b"\x28\xb5\x2f\xfdnonsense"):
        with pytest.raises(BadInput):
            streamed(damaged)


def test_a_bomb_costs_no_memory() -> None:
    bomb = gzip.compress(bytes(64 << 20), 1)
    (found,) = streamed(bomb)
    assert (found.size_bytes, len(found.raw)) == (64 << 20, KEPT_BYTES)


PURVIEW: list[dict[str, object]] = [
    {"CreationTime": "2026-03-02T08:14:31", "Id": "1", "Operation": "FileDownloaded", "Workload": "OneDrive",
     "UserId": "mara@example.com", "ObjectId": 'https://example.com/a "b", c.xlsx'},
    {"CreationTime": "2026-03-02T08:15:02", "Id": "2", "Operation": "UserLoggedIn", "RecordType": 15, "Note": "a;b"},
]  # fmt: skip


def export(delimiter: str, columns: tuple[str, ...]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, delimiter=delimiter, restval="x")
    writer.writeheader()
    for row in PURVIEW:
        writer.writerow({"RecordId": row["Id"], "AuditData": json.dumps(row)} if "RecordId" in columns else {
            "AuditData": json.dumps(row)})  # fmt: skip
    return out.getvalue().encode()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("columns", [("RecordId", "CreationDate", "AuditData", "Units"), ("CreationDate", "AuditData")])
def test_exports_of_purview(delimiter: str, columns: tuple[str, ...]) -> None:
    body = export(delimiter, columns)
    for one in (body, b"\xef\xbb\xbf" + body, b"#TYPE Selected.Object\r\n" + body):
        found = split_records(one)
        assert [json.loads(record.raw) for record in found] == PURVIEW
        assert {record.type for record in found} == {"microsoft-365"}
        assert streamed(one) == found


def test_rows_of_an_export_that_are_none_are_kept() -> None:
    body = b'CreationDate,AuditData\nonly one cell\nx,"{""a"":1}"\ny,\n"never closed,"{""Id"":1}\n'
    found = split_records(body)
    assert [record.raw for record in found if not record.fault] == [A]
    assert [record.raw for record in found if record.fault] == [b"only one cell", b"y,", b'"never closed,"{""Id"":1}']


def test_what_only_looks_like_an_export() -> None:
    assert not is_export(b'{"AuditData": 1, "x": 2}\n')
    assert not is_export(b"AuditData\n")  # one column: a line of text
    assert not is_export(b"x,AuditData\n", "aws-cloudtrail")
    assert not is_export(b"")


@given(st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), max_size=20))
def test_any_lines_behind_a_header_give_records(lines: list[bytes]) -> None:
    rows = CsvRows()
    found = [*rows.feed([b"a,AuditData", *lines]), *rows.finish()]
    assert all(record.raw.strip() for record in found if not record.fault)
