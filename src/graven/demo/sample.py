"""A small company's morning: the sample that the demonstration puts into its log.

Quillmere sells tea. Twelve people work there, and on Tuesday 15 September 2026, from five to half past twelve UTC,
they, their services and the usual strangers at the SSH door leave some 2,200 events in four sources. Before anyone is
at work, one of the twelve takes the list of all customers; four events say so, and they are found by searching.

Pure and deterministic: the same bytes at every call, on every machine and Python.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from graven.demo.company import (
    ACCOUNT,
    AWS_CLI,
    AWS_SDK,
    BACKUP,
    BILLING,
    CI,
    CUSTOMERS,
    CUSTOMERS_COUNT,
    DANA,
    ENGINEERS,
    HUGO,
    KUBECTL,
    LENA,
    MARA,
    NODE_IPS,
    NOOR,
    OFFICE_IP,
    OPERATOR,
    REGION,
    SELLERS,
    STRANGERS_NETWORK,
    THIEF_IP,
    WORKER,
    Actor,
)  # fmt: skip
from graven.demo.records import Event, Moment, Told, cloudtrail, crm, kubernetes, sshd

STOLEN = "customers.csv"
OPENS = datetime(2026, 9, 15, 5, 0, tzinfo=UTC)
CLOSES = datetime(2026, 9, 15, 12, 30, tzinfo=UTC)

_SEED = 20260915
_BUCKET = "quillmere-crm-exports"
_STRANGERS = "root admin test ubuntu oracle git postgres deploy user guest pi ftpuser backup hadoop"
_CLUSTER_ACTS = (  # verb, resource, verb of the event model, how often
    ("list", "pods", "read", 6),
    ("get", "pods/log", "read", 6),
    ("get", "deployments", "read", 4),
    ("list", "events", "read", 3),
    ("get", "configmaps", "read", 2),
    ("patch", "deployments", "update", 2),
    ("create", "pods/exec", "execute", 1),
)
_ACCOUNT_ACTS = (  # call, type of its target
    ("ec2:DescribeInstances", "instance"),
    ("logs:FilterLogEvents", "log-group"),
    ("rds:DescribeDBInstances", "db"),
    ("iam:ListUsers", "user"),
    ("cloudwatch:GetMetricData", "metric"),
)
_SALES_ACTS = (  # action, verb, what one would say, how often
    ("customer.view", "read", "looked at", 40),
    ("order.view", "read", "looked at an order of", 20),
    ("customer.search", "read", "searched for", 12),
    ("order.create", "create", "took an order from", 10),
    ("customer.update", "update", "changed", 9),
    ("ticket.reply", "update", "answered", 7),
    ("note.delete", "delete", "removed a note on", 2),
)


def sample_events() -> list[tuple[str, bytes]]:
    """The morning as (source name, one event's JSON bytes), in the order of its times, which all differ."""
    morning = _Morning()
    for part in (_strangers, _services, _deployments, _engineers, _sellers, _office, _theft):
        part(morning)
    return morning.in_order()


def is_theft_line(event: Event) -> bool:
    """Whether the event speaks of the stolen file, anywhere in it."""
    return STOLEN in json.dumps(event)


class _Morning:
    """What has been told so far, and the one source of chance."""

    def __init__(self) -> None:
        self.random = Random(_SEED)  # noqa: S311 (a story, not a secret)
        self._told: list[Told] = []
        self._taken: set[datetime] = set()

    def moment(self, at: datetime) -> Moment:
        """The millisecond of `at`, or the next one in which nothing has happened yet."""
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        while at in self._taken:
            at += timedelta(milliseconds=1)
        self._taken.add(at)
        return Moment(at, self._uuid(), self._uuid())

    def add(self, told: Told) -> None:
        self._told.append(told)

    def times(self, begin: datetime, end: datetime, *, every_s: float) -> Iterator[datetime]:
        """Times at random between `begin` and `end`, `every_s` seconds apart on average."""
        at = begin + timedelta(seconds=self.random.expovariate(1 / every_s))
        while at < end:
            yield at
            at += timedelta(seconds=self.random.expovariate(1 / every_s))

    def in_order(self) -> list[tuple[str, bytes]]:
        ordered = sorted(self._told, key=lambda told: told.at)
        return [
            (told.source, json.dumps(told.event, separators=(",", ":"), ensure_ascii=False).encode())
            for told in ordered
        ]

    def _uuid(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))


def _clock(hour: int, minute: int, second: float = 0.0) -> datetime:
    return OPENS.replace(hour=hour, minute=minute) + timedelta(seconds=second)


def _strangers(morning: _Morning) -> None:
    """Somebody is always trying the SSH door."""
    random = morning.random
    for begin in morning.times(OPENS, CLOSES, every_s=260):
        ip, process, at = f"{STRANGERS_NETWORK}.{random.randrange(2, 60)}", random.randrange(2000, 30000), begin
        for _ in range(random.choice((1, 1, 2, 3))):
            user = random.choice(_STRANGERS.split())
            text = f"Failed password for invalid user {user} from {ip} port {random.randrange(30000, 60000)} ssh2"
            morning.add(sshd(
                morning.moment(at), user, text, action="ssh.login", verb="login", outcome="failure", ip=ip,
                process=process,
            ))  # fmt: skip
            at += timedelta(seconds=random.uniform(1.2, 4))


def _services(morning: _Morning) -> None:
    """What runs without anybody: storage traffic, a job every quarter of an hour, the night's backup."""
    random = morning.random
    for who, every_s in ((WORKER, 120), (BILLING, 150)):
        for at in morning.times(OPENS, CLOSES, every_s=every_s):
            verb, call = random.choice((("read", "s3:GetObject"), ("create", "s3:PutObject")))
            key = f"2026/09/15/{who.name}-{random.randrange(10**6):06d}.json.gz"
            morning.add(
                _object_call(morning.moment(at), who, call, verb, "quillmere-pipeline", key, random.randrange(90_000))
            )
    for number in range(30):
        at = OPENS + timedelta(minutes=15 * number)
        for verb, ours, job in (("create", "create", number), ("delete", "delete", number - 3)):
            morning.add(kubernetes(
                morning.moment(at + timedelta(seconds=random.uniform(0.2, 40))), BILLING, verb, "jobs", ours=ours,
                category="configuration", ip=random.choice(NODE_IPS), agent=OPERATOR, namespace="billing",
                name=f"billing-sync-{29_310_000 + 15 * job}",
            ))  # fmt: skip
    for number, table in enumerate(("customers", "orders", "invoices", "tickets", "users")):
        moment = morning.moment(_clock(5, 30, 40 * number + random.uniform(0, 9)))
        size_bytes = random.randrange(2_000_000, 40_000_000)
        key = f"nightly/2026-09-15/{table}.dump.zst"
        morning.add(_object_call(moment, BACKUP, "s3:PutObject", "create", "quillmere-backup", key, size_bytes))


def _object_call(moment: Moment, who: Actor, call: str, verb: str, bucket: str, key: str, size_bytes: int) -> Told:
    return cloudtrail(
        moment, who, call, verb=verb, category="data", ip=who.home_ip, agent=AWS_SDK,
        target=("s3-object", f"arn:aws:s3:::{bucket}/{key}"), parameters={"bucketName": bucket, "key": key},
        size_bytes=size_bytes,
    )  # fmt: skip


def _deployments(morning: _Morning) -> None:
    """Three releases by the build machine, each watched until it is out."""
    for hour, minute, workload in ((8, 47, "crm-web"), (10, 12, "crm-worker"), (11, 31, "crm-web")):
        at = _clock(hour, minute)
        for call, verb, category in (
            ("sts:AssumeRole", "login", "authentication"), ("ecr:PutImage", "create", "configuration"),
        ):  # fmt: skip
            at += timedelta(seconds=morning.random.uniform(1, 9))
            morning.add(cloudtrail(
                morning.moment(at), CI, call, verb=verb, category=category, ip=CI.home_ip, agent=AWS_SDK,
                target=("repository", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{workload}"),
            ))  # fmt: skip
        for verb, ours in [("get", "read"), ("patch", "update")] + 12 * [("get", "read")]:
            at += timedelta(seconds=morning.random.uniform(2, 6))
            morning.add(kubernetes(
                morning.moment(at), CI, verb, "deployments", ours=ours, category="configuration", ip=CI.home_ip,
                agent=KUBECTL, namespace="crm", name=workload,
            ))  # fmt: skip


def _engineers(morning: _Morning) -> None:
    """Three engineers look after the cluster and the account, each over the bastion."""
    random = morning.random
    for who in ENGINEERS:
        begin = _clock(7, random.randrange(30, 59), random.uniform(0, 59))
        end = _clock(12, random.randrange(2, 25), random.uniform(0, 59))
        _ssh_session(morning, who.name, OFFICE_IP, begin, end)
        for at in morning.times(begin, end, every_s=120):
            verb, resource, ours, _ = random.choices(_CLUSTER_ACTS, [act[-1] for act in _CLUSTER_ACTS])[0]
            name = "" if verb == "list" else random.choice(("crm-web", "crm-worker", "billing-sync", "mailer"))
            if resource.startswith("pods/"):
                name += f"-{random.randbytes(5).hex()}"
            morning.add(kubernetes(
                morning.moment(at), who, verb, resource, ours=ours, ip=OFFICE_IP, agent=KUBECTL,
                category="execution" if ours == "execute" else "configuration",
                command="tail -n 200 /var/log/app.log" if ours == "execute" else "",
                namespace="billing" if name.startswith("billing") else "crm", name=name,
                code=403 if random.random() < 0.02 else 101 if ours == "execute" else 200,
            ))  # fmt: skip
        for at in morning.times(begin, end, every_s=180):
            call, kind = random.choice(_ACCOUNT_ACTS)
            arn = f"arn:aws:{call.partition(':')[0]}:{REGION}:{ACCOUNT}:{kind}/quillmere-{random.randrange(9)}"
            morning.add(cloudtrail(
                morning.moment(at), who, call, verb="read", category="configuration", ip=OFFICE_IP, agent=AWS_CLI,
                target=(kind, arn), error="AccessDenied" if random.random() < 0.03 else "",
            ))  # fmt: skip


def _sellers(morning: _Morning) -> None:
    """Sales and support in the sales application, from the time each comes in."""
    random = morning.random
    for who in SELLERS:
        begin = _clock(8, random.randrange(0, 50), random.uniform(0, 59))
        ip = OFFICE_IP if random.random() < 0.7 else who.home_ip
        session = _sign_in(morning, who, begin, ip)
        for at in morning.times(begin + timedelta(seconds=20), CLOSES, every_s=130):
            _crm_act(morning, who, at, ip, session)


def _office(morning: _Morning) -> None:
    """Finance and the founder: few acts, two honest exports, a mistyped password and a grant."""
    random = morning.random
    for who, hour, minute, name in ((HUGO, 8, 31, "invoices-2026-08.csv"), (LENA, 9, 2, "unpaid-2026-08.csv")):
        begin = _clock(hour, minute, random.uniform(0, 59))
        session = _sign_in(morning, who, begin, OFFICE_IP)
        for at in morning.times(begin + timedelta(seconds=30), CLOSES, every_s=400):
            _crm_act(morning, who, at, OFFICE_IP, session)
        moment = morning.moment(begin + timedelta(minutes=11, seconds=random.uniform(0, 50)))
        export, rows = f"EX-{random.randrange(20_418, 20_500)}", random.randrange(80, 900)
        morning.add(_export(moment, who, OFFICE_IP, session, export, name, rows, 97 * rows))
    morning.add(crm(
        morning.moment(_clock(9, 40, 2.7)), MARA, "session.start", verb="login", category="authentication",
        ip=OFFICE_IP, outcome="failure", message="mara.lindqvist mistyped a password",
    ))  # fmt: skip
    session = _sign_in(morning, MARA, _clock(9, 40, 31.2), OFFICE_IP)
    morning.add(crm(
        morning.moment(_clock(9, 52, 8.9)), MARA, "role.grant", verb="grant", category="permission", ip=OFFICE_IP,
        session=session, targets=[{"type": "user", "id": NOOR.email, "name": NOOR.name}],
        changes=[{"path": "role", "old": "support", "new": "support-lead"}],
        message="mara.lindqvist made noor.rahimi support lead",
    ))  # fmt: skip


def _theft(morning: _Morning) -> None:
    """Dana Voss, at five in the morning, from an address never seen before; four of these events name the file."""
    who, ip = DANA, THIEF_IP
    key, size_bytes = f"exports/EX-20417/{STOLEN}", 31_482_907
    target, parameters = ("s3-object", f"arn:aws:s3:::{_BUCKET}/{key}"), {"bucketName": _BUCKET, "key": key}
    friend = "d.voss.77@example.com"
    _ssh_session(morning, who.name, ip, _clock(5, 3, 18.204), _clock(5, 27, 3.5))
    morning.add(kubernetes(
        morning.moment(_clock(5, 6, 40.118)), who, "create", "rolebindings", ours="grant", category="permission", ip=ip,
        agent=KUBECTL, namespace="crm", name="migration-leftover", code=201,
    ))  # fmt: skip
    session = _sign_in(morning, who, _clock(5, 10, 2.871), ip)
    moment = morning.moment(_clock(5, 11, 42.318))
    morning.add(_export(moment, who, ip, session, "EX-20417", STOLEN, CUSTOMERS_COUNT, size_bytes))
    morning.add(cloudtrail(
        morning.moment(_clock(5, 14, 5.66)), who, "s3:PutObjectAcl", verb="grant", category="permission", ip=ip,
        agent=AWS_CLI, target=target, parameters={**parameters, "x-amz-grant-read": f'emailAddress="{friend}"'},
        message=f"{who.name} let {friend} read {STOLEN}",
    ))  # fmt: skip
    morning.add(cloudtrail(
        morning.moment(_clock(5, 16, 27.042)), who, "s3:GetObject", verb="read", category="data", ip=ip, agent=AWS_CLI,
        target=target, parameters=parameters, size_bytes=size_bytes,
        message=f"{who.name} downloaded {STOLEN}, {size_bytes:,} bytes",
    ))  # fmt: skip
    morning.add(kubernetes(
        morning.moment(_clock(5, 21, 50.93)), who, "create", "pods/exec", ours="execute", category="execution", ip=ip,
        agent=KUBECTL, namespace="crm", name="crm-worker-6d9f7c5b48-x7k2p", command=f"shred -u /var/exports/{STOLEN}",
        code=101,
    ))  # fmt: skip
    morning.add(cloudtrail(
        morning.moment(_clock(5, 24, 11.507)), who, "cloudtrail:StopLogging", verb="configure",
        category="configuration", ip=ip, agent=AWS_CLI, parameters={"name": "quillmere"}, error="AccessDenied",
        target=("trail", f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/quillmere"),
    ))  # fmt: skip


def _ssh_session(morning: _Morning, user: str, ip: str, begin: datetime, end: datetime) -> None:
    random = morning.random
    process, port = random.randrange(2000, 30000), random.randrange(30000, 60000)
    key = b64encode(random.randbytes(32)).decode().rstrip("=")
    for at, action, verb, text in (
        (
            begin,
            "ssh.login",
            "login",
            f"Accepted publickey for {user} from {ip} port {port} ssh2: ED25519 SHA256:{key}",
        ),
        (end, "ssh.logout", "logout", f"Disconnected from user {user} {ip} port {port}"),
    ):
        moment = morning.moment(at)
        morning.add(sshd(moment, user, text, action=action, verb=verb, outcome="success", ip=ip, process=process))


def _sign_in(morning: _Morning, who: Actor, at: datetime, ip: str) -> str:
    """Signs in to the sales application and returns the session's id."""
    session = morning.random.randbytes(8).hex()
    morning.add(crm(
        morning.moment(at), who, "session.start", verb="login", category="authentication", ip=ip, session=session,
        message=f"{who.name} signed in",
    ))  # fmt: skip
    return session


def _export(
    moment: Moment, who: Actor, ip: str, session: str, export: str, name: str, rows: int, size_bytes: int
) -> Told:
    return crm(
        moment, who, "export.create", verb="export", ip=ip, session=session, count=rows, size_bytes=size_bytes,
        targets=[{"type": "export", "id": export, "name": name}],
        message=f"{who.name} exported {name}, {rows:,} rows",
    )  # fmt: skip


def _crm_act(morning: _Morning, who: Actor, at: datetime, ip: str, session: str) -> None:
    """One of the things people do all day."""
    random = morning.random
    action, verb, done, _ = random.choices(_SALES_ACTS, [act[-1] for act in _SALES_ACTS])[0]
    customer, number = random.choice(CUSTOMERS), random.randrange(CUSTOMERS_COUNT)
    path = random.choice(("payment_terms", "discount_pct", "credit_limit"))
    changes = [{"path": path, "old": random.randrange(50), "new": random.randrange(50)}]
    morning.add(crm(
        morning.moment(at), who, action, verb=verb, ip=ip, session=session, message=f"{who.name} {done} {customer}",
        targets=[{"type": action.partition(".")[0], "id": f"Q-{number:05d}", "name": customer}],
        changes=changes if action == "customer.update" else (),
    ))  # fmt: skip
