"""The short way of a program's line gives what the whole way gives, byte for byte, whatever the line."""

import re
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from graven.event import Event, decode_event
from graven.ingest import Pipeline, Record
from graven.ingest.detect import Detector
from graven.ingest.host_lines import LINE_BYTES_MAX, HostLines
from graven.ingest.normalize import SOURCES, accounts, cron, pam, sshd, su, sudo
from graven.ingest.record import Normalised
from graven.ingest.sources import load_samples

MANIFEST = Path(__file__).parent / "samples.toml"
ABOUT = {source.TYPE: (source.TYPE, f"{source.TYPE}/{source.VERSION}") for source in SOURCES}
PROGRAMS = sorted({name for source in SOURCES for name in getattr(source, "PROGRAMS", ())})
RULES = [rule.pattern for module in (accounts, cron, pam, sshd, su, sudo) for rule in module._RULES.rules]


class Untouched:
    """A redactor that finds nothing. Where there is one, nothing goes the short way."""

    def apply(self, event: Event, raw: bytes) -> tuple[Event, bytes]:
        return event, raw

    def apply_raw(self, raw: bytes) -> bytes:
        return raw


SHORT, WHOLE = Pipeline(), Pipeline(redactor=Untouched())
LINES = HostLines(Detector(SOURCES), ABOUT)  # one for all examples: what it kept of earlier ones must do no harm


def check(records: list[Record]) -> list[Normalised | None]:
    """What the short way made of the records, once that is known to be what the whole way makes of them."""
    whole = WHOLE.run(records)
    assert SHORT.run(records) == whole
    reader = LINES.reader()
    short = [reader.take(record, position) for position, record in enumerate(records)]
    for record, one in zip(records, short, strict=True):
        if one is not None:
            found = [other for other in whole if other.position == one.position]
            assert found == [one], record.raw
            decode_event(one.event)
    return short


def test_samples_are_read_as_the_whole_way_reads_them(shared: Path) -> None:
    around = {"syslog.peer": "192.0.2.1", "time": "2026-03-02T08:14:31.5Z", "zone": "+01:00", "x\n": '"'}
    records = [
        Record(line, "", around, "", "syslog")
        for sample in load_samples(MANIFEST)
        for line in sample.record.raw.splitlines()[:2]
        if line[:1] not in (b"{", b"[", b"")
    ]
    taken = [one for one in check(records) if one is not None]
    assert len(taken) > 50
    assert {one.type for one in taken} >= {"cron", "sshd", "su", "sudo", "syslog"}


def mostly(usual: st.SearchStrategy[str], *odd: str) -> st.SearchStrategy[str]:
    """A line of which one part is odd tells more than one of which every part is."""
    return st.integers(0, 11).flatmap(lambda dice: usual if dice else st.sampled_from(odd))


PRIORITY = mostly(st.sampled_from(("<86>", "<13>", "<191>")), "<192>", "<086>", "<>", "", "<86> ", ">", "<0>")
HOST = mostly(st.sampled_from(("web1", "db-2.example")), "-", "2001:db8::1", "Änne", "a b", "x:", "[::1]", "", "h\t")
PROGRAM = mostly(
    st.sampled_from((*PROGRAMS, "/usr/sbin/sshd", "nginx")),
    "-", "kernel", "a/", "x y", 'q"', "é", "auditd", "sshd(x)", "", "postgres",
)  # fmt: skip
PROCID = mostly(st.sampled_from(("1", "4711")), "-", "", "0", "x", "١", "1" * 21, "12]", "1 2", "7\x1c")
FRACTION = mostly(
    st.one_of(st.just(""), st.from_regex(r"\A\.[0-9]{1,9}\Z")),
    ".",
    ".000",
    ".0000004",
    ".١٢",
    ".+1",
    ",5",
    ".1234567890123",
)
ZONE = mostly(st.sampled_from(("Z", "+01:00", "-05:30")), "+0100", "", "z", "-00:00", "+23:59", "+30:00", "UTC")
DAY = mostly(
    st.just("2026-03-02T08:14:31"),
    "2026-03-02 08:14:31", "0001-01-01T00:00:00", "9999-12-31T23:59:59", "2016-12-31T23:59:60", "2026-13-02T08:14:31",
    "1970-01-01T00:00:00", "2026-03-02t08:14:31", "2026-03-02T08:14", "٢026-03-02T08:14:31",
)  # fmt: skip
ISO = st.builds("".join, st.tuples(DAY, FRACTION, ZONE))
BSD = mostly(
    st.sampled_from(("Mar  2 08:14:31", "Mar 12 08:14:31", "Dec 31 23:59:59")),
    "Mar 2 08:14:31", "Feb 29 23:59:59", "Foo  2 08:14:31", "Mar  2 2026 08:14:31", "Mar  2 08:14:31.123",
    "MAR  2 08:14:31", "Dec 31 08:14:60", "Mar  2 08:14:31:", "Mar 32 08:14:31", "-",
)  # fmt: skip
MESSAGE = mostly(
    st.one_of(
        st.sampled_from(RULES).flatmap(lambda rule: st.from_regex(re.compile(rf"\A(?:{rule.pattern})", rule.flags))),
        st.text(max_size=80),
        st.sampled_from(
            ("message repeated 3 times: [ Failed password for root from 192.0.2.1 port 1 ssh2]", "\ufeffhello", " a",
             "ann : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/true", "Accepted password for - from ? port 1 ssh2")
        ),
    ),
    "", " ", "-", "pam_unix(sshd:session): session opened for user a", "CEF:0|a|b|c|d|e|5|",
    "type=USER msg=audit(1.2:3): x", "a | b", "LOG:  x", "AUDIT: x", " <info>: x", "=" * 2100,
)  # fmt: skip
MODERN = st.builds(
    "{}1 {} {} {} {} {} {} {}".format,
    PRIORITY, mostly(ISO, "-", "Mar", "\t"), HOST, PROGRAM, PROCID, mostly(st.sampled_from(("-", "ID47")), ""),
    mostly(st.just("-"), '[a@1 b="c"]', "[", ""), MESSAGE,
)  # fmt: skip
TAG = st.builds(
    lambda app, procid, end: f"{app}[{procid}]{end}" if procid else app + end,
    PROGRAM, PROCID, mostly(st.just(":"), ": ", "", " <info>:", "::", ":x"),
)  # fmt: skip
DATED = st.builds("{}{} {} {} {}".format, mostly(PRIORITY, ""), st.one_of(BSD, ISO), HOST, TAG, MESSAGE)
AROUND = st.sampled_from(
    (
        {},
        {"time": "2026-03-02T09:00:00Z", "syslog.peer": "192.0.2.1"},
        {"time": "2026-03-02T09:00:00Z", "zone": "+02:00", "k" * 200: "v" * 2000, "k" * 201: "w"},
        {"time": "2026-03-02T09:00:00Z", "zone": "-03:30"},
        {"time": "2026-03-02T09:00:00Z", "syslog.hostname": "other"},
        {"syslog.severity": "x", "graven.type": "y"},
        {"time": "no time", "file.path": "/var/log/auth.log", "graven.history": "imported", "q": '"\\\n\x1b\u2028é'},
        {f"k{number}": "v" for number in range(70)},
    )
)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.one_of(MODERN, DATED), min_size=1, max_size=4), AROUND, st.data())
def test_a_line_is_read_as_the_whole_way_reads_it(
    lines: list[str], around: dict[str, str], data: st.DataObject
) -> None:
    at, what = data.draw(st.integers(0, 60)), data.draw(st.sampled_from((" ", "\t", ":", "1", "\0", "<", "é")))
    changed = [line[:at] + what + line[at:] for line in lines]
    records = [Record(line.encode("utf-8", "surrogatepass"), "", around, "", "syslog") for line in [*lines, *changed]]
    check(records)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(("", "sshd", "syslog", "graven")), st.sampled_from(("", "id")))
@example(b"<86>Mar  2 08:14:31 h sshd: x", "sshd", "")
@example(b"<86>Mar  2 08:14:31 h sshd: \xff", "", "")
@example(b"<86>Mar  2 08:14:31 h sshd: x", "", "id")
def test_any_bytes_are_read_as_the_whole_way_reads_them(raw: bytes, type_: str, id_: str) -> None:
    check([Record(raw, type_, {}, id_), Record(b"<86>Mar  2 08:14:31 h " + raw, type_, {}, id_)])


def test_the_usual_lines_go_the_short_way() -> None:
    said = "Failed password for root from 192.0.2.1 port 1 ssh2"
    lines = [
        f"<86>1 2026-03-02T08:14:31.204Z web1 sshd 4711 - - {said}",
        f"<86>1 2026-03-02T08:14:31.204123+01:00 web1 sshd - - - \ufeff{said}",
        f"<86>Mar  2 08:14:31 web1 sshd[4711]: {said}",
        f"Mar  2 08:14:31 web1 sshd: {said}",
        f"2026-03-02T08:14:31.204123+01:00 web1 sshd[1]: {said}",
        "<13>Mar  2 08:14:31 web1 ann: something",
    ]
    around = {"time": "2026-03-02T09:00:00Z"}
    taken = check([Record(line.encode(), "", around) for line in lines])
    assert [one.type for one in taken if one is not None] == ["sshd"] * 5 + ["syslog"]


def test_what_is_kept_of_fronts_is_bounded() -> None:
    lines = HostLines(Detector(SOURCES), ABOUT)
    reader = lines.reader()
    for number in range(9_000):
        line = f"<86>1 2026-03-02T08:14:31Z web{number} x 1 - - y".encode()
        assert reader.take(Record(line), 0) is not None
    assert len(lines.fronts) <= 8_192
    long = f"<86>1 2026-03-02T08:14:31Z {'h' * 200} x 1 - - y".encode()
    assert reader.take(Record(long), 0) is None
    assert reader.take(Record(b"<86>1 2026-03-02T08:14:31Z h x 1 - - " + b"y" * LINE_BYTES_MAX), 0) is None
