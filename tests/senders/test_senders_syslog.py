"""rsyslog and syslog-ng through kills of either side and a cut wire.

Over HTTP (`_bulk`) every line stands in the log once: the answer is an acknowledgement, the line's place in its file is
its id, and the file itself the queue. Over TCP and TLS nothing is acknowledged: what a sender wrote into a connection
that then broke is lost, and neither end can know it. The tests hold both to exactly that: nothing doubled ever, and
nothing missing but one run of consecutive lines at the break.
"""

import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from senders.ground import Ground, Verdict, Wire, program, runs, wait_for, wait_quiet

RSYSLOG = Path("/usr/sbin/rsyslogd")
RSYSLOG_MODULES = Path("/usr/lib")
SYSLOG_NG = [Path(one) / "usr/sbin/syslog-ng" for one in ("/", Path(__file__).parents[2] / ".cache/syslog-ng")]

COUNT = 1_500
IN_FLIGHT = 400
"""Lines, at this pace, that may be on their way when a connection breaks."""

READ_AHEAD = 1_100
"""Lines that rsyslog reads from a file before it queues them: its batch of 1024, and some."""

pytestmark = pytest.mark.slow


class Lines:
    """A file that grows while everything else is killed."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0
        path.touch()

    def write(self, count: int, *, pace_s: float = 0.0005) -> None:
        with self.path.open("ab", buffering=0) as file:
            for _ in range(count):
                line = b"Failed password for invalid user u%05d from 203.0.113.9 port 4711 ssh2\n"
                file.write(line % self.number)
                self.number += 1
                if self.number % 20 == 0:
                    time.sleep(20 * pace_s)


RSYSLOG_CONF = """
{before}
global(workDirectory="{folder}"{tls})
module(load="imfile" mode="inotify")
main_queue(queue.type="Direct")
input(type="imfile" File="{lines}" Tag="sshd:" ruleset="out" addMetadata="on" persistStateInterval="{persist}"
      freshStartTail="off")
template(name="line" type="string" string="<86>1 2026-03-02T08:14:31Z web1 sshd 7 - - %msg%")
ruleset(name="out") {{ {action} }}
"""
QUEUE = (
    ' queue.type="Disk" queue.filename="graven" queue.checkpointInterval="1" queue.saveOnShutdown="on"'
    ' action.resumeRetryCount="-1" action.resumeInterval="1"'
)
NO_QUEUE = ' queue.type="Direct" action.resumeRetryCount="-1" action.resumeInterval="1"'


class Rsyslog:
    """rsyslogd with a queue on disk, which may be killed and started again."""

    def __init__(self, ground: Ground, action: str, *, tls: str = "", before: str = "", persist: int = 1) -> None:
        self._ground, self._folder = ground, ground.folder / "rsyslog"
        self._folder.mkdir()
        self._program = program("rsyslog", RSYSLOG)
        self.lines = Lines(self._folder / "lines")
        config = self._folder / "rsyslog.conf"
        config.write_text(
            RSYSLOG_CONF.format(
                folder=self._folder, lines=self.lines.path, action=action, tls=tls, before=before, persist=persist
            )
        )
        self._command = [self._program, "-n", "-f", str(config), "-i", str(self._folder / "pid")]
        self.process = ground.start(*self._command)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.wait(90)
        (self._folder / "pid").unlink(missing_ok=True)
        self.process = self._ground.start(*self._command)


class SyslogNg:
    """syslog-ng with its reliable disk buffer."""

    def __init__(self, ground: Ground, destination: str) -> None:
        self._ground, self._folder = ground, ground.folder / "syslog-ng"
        self._folder.mkdir()
        found = Path(program("syslog-ng", *SYSLOG_NG))
        modules = next((found.parents[1] / "lib/syslog-ng").glob("[0-9]*"))
        self.lines = Lines(self._folder / "lines")
        config = self._folder / "conf"
        config.write_text(
            f"""@version: 3.35
source s {{ file("{self.lines.path}" follow-freq(1) flags(no-parse)); }};
destination d {{ {destination} }};
log {{ source(s); destination(d); flags(flow-control); }};
"""
        )
        self._command = [
            str(found), "-F", "--no-caps", "-f", str(config), "-R", str(self._folder / "persist"),
            "-p", str(self._folder / "pid"), "-c", str(self._folder / "control"), f"--module-path={modules}",
        ]  # fmt: skip
        self._libraries = str(modules.parent)
        self.process = self._start()

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.wait(90)
        (self._folder / "pid").unlink(missing_ok=True)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return self._ground.start(*self._command, LD_LIBRARY_PATH=self._libraries, PATH="/usr/bin:/bin")


def write_through_breaks(ground: Ground, sender: Rsyslog | SyslogNg, breaks: Sequence[Callable[[], None]]) -> None:
    """Write COUNT lines; in the middle of them, one after the other, everything that may break does."""
    part = COUNT // (len(breaks) + 1)
    for number, break_ in enumerate(breaks):
        sender.lines.write(part - 100)
        wait_for(lambda number=number: max(ground.markers(), default=0) >= number * part + 50)  # type: ignore[misc]
        writer = threading.Thread(target=sender.lines.write, args=(100,))
        writer.start()
        time.sleep(0.02)
        break_()
        writer.join()
    sender.lines.write(COUNT - sender.lines.number)


def check_bound(verdict: Verdict, *, killed: bool) -> None:
    """What plain syslog promises: nothing missing but what a break had in flight, and nothing twice, unless the sender
    was `killed`: what its queue then sends again nobody can know for a repeat, but it is one run, sent twice.
    """
    gaps = runs(verdict.missing)
    print("missing", gaps, "twice", runs(verdict.doubled))
    bound = READ_AHEAD if killed else IN_FLIGHT
    assert len(gaps) <= 1 and all(last - first < bound for first, last in gaps), gaps
    if killed:
        assert len(runs(verdict.doubled)) <= 1 and max(Counter(verdict.arrived).values()) <= 2
    else:
        assert verdict.doubled == [] and verdict.arrived == sorted(verdict.arrived)


def test_rsyslog_over_bulk_loses_and_doubles_nothing(ground: Ground) -> None:
    if not list(RSYSLOG_MODULES.glob("*/rsyslog/omelasticsearch.so")):
        pytest.skip("rsyslog-elasticsearch is not installed")
    before = (
        'module(load="omelasticsearch")\n'
        'template(name="doc" type="list" option.jsonf="on") {\n'
        '  property(outname="action" name="msg" format="jsonf")\n'
        '  property(outname="message" name="rawmsg" format="jsonf") }\n'
        'template(name="id" type="string" string="web1-%$!metadata!filename%-%$!metadata!fileoffset%")\n'
    )
    action = (
        f'action(type="omelasticsearch" server="127.0.0.1" serverport="{ground.http.port}" uid="any"'
        f' pwd="{ground.log.token}" bulkmode="on" searchType="" searchIndex="syslog" template="doc"'
        f' bulkid="id" dynbulkid="on" writeoperation="create"{NO_QUEUE})'
    )
    sender = Rsyslog(ground, action, before=before, persist=0)
    write_through_breaks(ground, sender, [ground.kill_server, lambda: ground.http.down(1), sender.kill])
    ground.wait_for_all(COUNT)
    ground.check_each_once(COUNT)


def break_of(ground: Ground, sender: Rsyslog | SyslogNg, wire: Wire, which: str) -> Callable[[], None]:
    return {"server killed": ground.kill_server, "wire cut": wire.cut, "sender killed": sender.kill}[which]


@pytest.mark.parametrize("which", ["server killed", "wire cut", "sender killed"])
@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_rsyslog_over_streams(ground: Ground, transport: str, which: str) -> None:
    wire = ground.syslog if transport == "tcp" else ground.tls
    port = wire.port if which == "wire cut" else wire.target[1]  # a wire would take what a dead server does not
    action = f'action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" TCP_Framing="octet-counted"'
    action += f' template="line"{QUEUE}'
    tls = ""
    if transport == "tls":
        if not list(RSYSLOG_MODULES.glob("*/rsyslog/lmnsd_ossl.so")):
            pytest.skip("rsyslog-openssl is not installed")
        folder = ground.folder / "certificates"
        tls = (
            f' defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{folder}/ca.pem"'
            f' defaultNetstreamDriverCertFile="{folder}/web1.pem" defaultNetstreamDriverKeyFile="{folder}/web1.key"'
        )
        action += ' StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="x509/certvalid"'
    sender = Rsyslog(ground, action + ")", tls=tls)
    write_through_breaks(ground, sender, [break_of(ground, sender, wire, which)])
    wait_quiet(lambda: len(ground.markers()))
    check_bound(ground.judge(COUNT), killed=which == "sender killed")


@pytest.mark.parametrize("which", ["server killed", "wire cut", "sender killed"])
@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_syslog_ng_over_streams(ground: Ground, transport: str, which: str) -> None:
    wire, folder = (ground.syslog if transport == "tcp" else ground.tls), ground.folder / "certificates"
    port = wire.port if which == "wire cut" else wire.target[1]
    tls = (
        f' tls(ca-file("{folder}/ca.pem") cert-file("{folder}/web1.pem") key-file("{folder}/web1.key"))'
        if transport == "tls"
        else ""
    )
    form = 'template("<86>sshd: ${MSG}\\n")'
    buffer = f'disk-buffer(disk-buf-size(64M) mem-buf-size(1M) reliable(yes) dir("{ground.folder}"))'
    sender = SyslogNg(
        ground, f'network("127.0.0.1" port({port}) transport("{transport}"){tls} {form} time-reopen(1) {buffer});'
    )
    write_through_breaks(ground, sender, [break_of(ground, sender, wire, which)])
    wait_quiet(lambda: len(ground.markers()))
    check_bound(ground.judge(COUNT), killed=which == "sender killed")
