"""Audit events to measure with: varied, deterministic, 568 bytes on average, two random UUIDs in each.

A `Feed` renders a pool of distinct events once (people who keep their addresses and browsers, services, buckets, pods,
clients of a sales system) and then hands them out in order, each time under fresh random UUIDs (`id` and
`correlation.request_id`), at about three microseconds an event: no two events of a feed are equal. A block smaller than
the pool never holds one pool event twice, so that compression gains nothing from the pool.

All names are invented; addresses are from the ranges set aside for documentation.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

MEAN_BYTES = 568  # what the benchmark's figures are stated for; a test holds the generator to it within 10
POOL_EVENTS = 20_000
PEOPLE = 600

_FIRST = (
    "Ada Ben Carla Dmitri Elif Farid Greta Hana Ivo Jonas Kofi Lena Marta Nils Olga Pavel Quinn Rosa Sami Tove Uma "
    "Viktor Wanda Xenia Yusuf Zoe Aino Bruno Chloe Dario Edda Fiona Goran Helmi Imre Jana Kaspar Lucia Mirko Noor"
)
_LAST = (
    "Abara Brandt Castell Dorn Eklund Fabre Gruber Halvorsen Ivanova Jensen Keller Lindqvist Moreau Novak Okafor "
    "Petrov Quist Rossi Sato Tamm Ulrich Varga Weber Xu Yilmaz Zeman Adler Bianchi Cerny Duval Ende Falk Gallo Horvat"
)
_BUCKETS = "invoices-archive crm-exports media-originals backups-nightly partner-dropbox reports-finance"
_NAMESPACES = "crm billing ingest web monitoring kube-system"
_WORKLOADS = "crm-api crm-worker billing-sync invoice-render web-frontend mail-relay ledger-writer search-index"
_FIELDS = "status credit_limit owner discount_pct address.city contact.phone payment_terms segment"
_VALUES = "open closed paused net-30 gold Turku Gent 1200 35 4999"
_SYSTEMS = ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 14.6", "X11; Linux x86_64", "Android 15; Mobile")
_REGIONS = ("eu-central-1", "eu-west-1", "us-east-1", "ap-southeast-2")
_REASONS = ("policy: device not enrolled", "wrong password", "role lacks permission", "second factor refused")
_STORAGE = (("read", "GetObject"), ("read", "GetObject"), ("create", "PutObject"), ("delete", "DeleteObject"))
_CLUSTER = (("get", "read"), ("list", "read"), ("patch", "update"), ("create", "create"), ("delete", "delete"))
_COMMANDS = (
    "/usr/bin/systemctl restart crm-worker",
    "/usr/bin/journalctl -u ledger-writer --since today",
    "/usr/bin/apt-get update",
    "/usr/bin/tail -n 500 /var/log/nginx/access.log",
    "/usr/bin/psql -d crm -c 'select count(*) from orders'",
)
_HOLE = "\x00"  # where a UUID goes; cannot occur in JSON text
_UUID = "HOLE"  # the same inside a value, before it becomes text


class Feed:
    """An endless, deterministic supply of events as NDJSON; not for use by several threads at once."""

    def __init__(self, *, seed: int = 1, pool_events: int = POOL_EVENTS) -> None:
        self._random = Random(seed)
        self._pool = [tuple(text.split(_HOLE)) for text in _render_pool(self._random, pool_events)]
        self._next = 0

    def batch(self, count: int) -> bytes:
        """The next `count` events, one a line, each line ended by a newline."""
        digits = self._random.randbytes(32 * count).hex()
        lines: list[str] = []
        append = lines.append
        pool, position = self._pool, self._next
        for at in range(0, 64 * count, 64):
            head, middle, tail = pool[position]
            position = position + 1 if position + 1 < len(pool) else 0
            u = digits[at : at + 64]
            append(
                f"{head}{u[:8]}-{u[8:12]}-4{u[13:16]}-a{u[17:20]}-{u[20:32]}"
                f"{middle}{u[32:40]}-{u[40:44]}-4{u[45:48]}-a{u[49:52]}-{u[52:]}{tail}\n"
            )
        self._next = position
        return "".join(lines).encode()

    def batches(self, count: int, *, events_each: int) -> Iterator[bytes]:
        """`count` batches of `events_each` events."""
        for _ in range(count):
            yield self.batch(events_each)


@dataclass(frozen=True, slots=True)
class _Person:
    name: str
    login: str
    email: str
    ip: str
    agent: str
    session: str
    tenant: str


def _render_pool(random: Random, count: int) -> Iterator[str]:
    people = [_person(random) for _ in range(PEOPLE)]
    kinds, weights = list(_KINDS), list(_KINDS.values())
    now = datetime(2026, 9, 14, 6, 0, tzinfo=UTC)
    for _ in range(count):
        now += timedelta(microseconds=int(random.expovariate(1 / 40_000)))
        person = people[min(int(random.paretovariate(0.7)) - 1, PEOPLE - 1)]  # few people do most, many do little
        event = random.choices(kinds, weights)[0](random, person)
        time = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        whole = {"id": _UUID, "time": time, **event, "correlation": {"request_id": _UUID}}
        yield json.dumps(whole, separators=(",", ":"), ensure_ascii=False).replace(_UUID, _HOLE)


def _pick(random: Random, words: str) -> str:
    return random.choice(words.split())


def _person(random: Random) -> _Person:
    first, last = _pick(random, _FIRST), _pick(random, _LAST)
    login = f"{first}.{last}{random.randrange(100)}".lower()
    version = random.randrange(118, 139)
    return _Person(
        name=f"{first} {last}",
        login=login,
        email=f"{login}@example.com",
        ip=f"{random.choice(('192.0.2', '198.51.100', '203.0.113'))}.{random.randrange(1, 255)}",
        agent=f"Mozilla/5.0 ({random.choice(_SYSTEMS)}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0",
        session=random.randbytes(8).hex(),
        tenant=random.choice(("north", "south", "lakeside", "harbour")),
    )


def _actor(who: _Person) -> dict[str, object]:
    return {"type": "user", "id": who.email, "name": who.name, "session": who.session}


def _origin(random: Random, who: _Person) -> dict[str, object]:
    ip = who.ip if random.random() < 0.9 else f"{who.ip.rpartition('.')[0]}.{random.randrange(1, 255)}"
    return {"ip": ip, "user_agent": who.agent}


def _view(random: Random, who: _Person) -> dict[str, object]:
    kind = random.choice(("customer", "order", "invoice", "ticket"))
    denied = random.random() < 0.02
    return {
        "actor": _actor(who),
        "action": f"crm.{kind}.view",
        "verb": "read",
        "category": "data",
        "targets": [{"type": kind, "id": f"{kind[:2].upper()}-{random.randrange(10**7):07d}"}],
        "outcome": "denied" if denied else "success",
        **({"reason": random.choice(_REASONS)} if denied else {}),
        "origin": _origin(random, who),
        "scope": {"tenant": who.tenant},
        "data": {"ms": random.randrange(2, 900)},
    }


def _change(random: Random, who: _Person) -> dict[str, object]:
    fields = random.sample(_FIELDS.split(), random.choice((1, 1, 2)))
    return {
        "actor": _actor(who),
        "action": "crm.customer.update",
        "verb": "update",
        "category": "data",
        "targets": [{"type": "customer", "id": f"CU-{random.randrange(10**7):07d}", "name": _pick(random, _LAST)}],
        "changes": [{"path": at, "old": _pick(random, _VALUES), "new": _pick(random, _VALUES)} for at in fields],
        "outcome": "success",
        "origin": _origin(random, who),
    }


def _login(random: Random, who: _Person) -> dict[str, object]:
    failed = random.random() < 0.12
    return {
        "actor": _actor(who),
        "action": "session.start",
        "verb": "login",
        "category": "authentication",
        "outcome": "failure" if failed else "success",
        **({"reason": random.choice(_REASONS)} if failed else {}),
        "origin": _origin(random, who),
        "scope": {"tenant": who.tenant},
        "message": f"{who.name} {'could not sign in' if failed else 'signed in'}",
        "labels": {"factor": random.choice(("passkey", "code", "push")), "attempt": str(random.randrange(1, 4))},
    }


def _storage(random: Random, who: _Person) -> dict[str, object]:
    verb, action = random.choice(_STORAGE)
    key = f"2026/{random.randrange(1, 13):02d}/{_pick(random, _WORKLOADS)}-{random.randrange(10**6):06d}.parquet"
    agent = f"aws-sdk-go-v2/1.{random.randrange(20, 33)}.0 os/linux lang/go#1.23.{random.randrange(6)}"
    role = f"arn:aws:sts::111122223333:assumed-role/{_pick(random, _WORKLOADS)}/{who.login}"
    return {
        "actor": {"type": "role", "id": role},
        "action": f"s3:{action}",
        "verb": verb,
        "category": "data",
        "targets": [{"type": "s3-object", "id": f"s3://{_pick(random, _BUCKETS)}/{key}"}],
        "outcome": "success",
        "origin": {"ip": who.ip, "user_agent": agent},
        "scope": {"region": random.choice(_REGIONS)},
        "bytes": int(random.paretovariate(0.6) * 900) % 10**9,
    }


def _cluster(random: Random, who: _Person) -> dict[str, object]:
    verb, ours = random.choice(_CLUSTER)
    kind = random.choice(("pods", "deployments", "configmaps", "secrets", "jobs"))
    space, workload = _pick(random, _NAMESPACES), _pick(random, _WORKLOADS)
    name = f"{workload}-{random.randbytes(5).hex()}-{random.randbytes(3).hex()[:5]}"
    denied = random.random() < 0.1
    return {
        "actor": {"type": "service", "id": f"system:serviceaccount:{space}:{workload}"},
        "action": f"k8s.{kind}.{verb}",
        "verb": ours,
        "category": "configuration",
        "targets": [{"type": kind, "id": f"/api/v1/namespaces/{space}/{kind}/{name}"}],
        "outcome": "denied" if denied else "success",
        "origin": {"ip": who.ip, "user_agent": f"{workload}/v0.{random.randrange(9)}.0 client-go"},
        "scope": {"project": "cluster-1", "tenant": who.tenant},
        "data": {"code": 403 if denied else 200, "decision": "forbid" if denied else "allow"},
    }


def _command(random: Random, who: _Person) -> dict[str, object]:
    tty, command = random.randrange(9), random.choice(_COMMANDS)
    return {
        "actor": _actor(who),
        "action": "sudo",
        "verb": "execute",
        "category": "execution",
        "targets": [{"type": "host", "id": f"{_pick(random, _WORKLOADS)}-{random.randrange(1, 40):02d}.example.com"}],
        "outcome": "success",
        "origin": {"ip": who.ip},
        "message": f"{who.login} : TTY=pts/{tty} ; PWD=/home ; USER=root ; COMMAND={command}",
        "data": {"pid": random.randrange(300, 4_000_000), "exit": random.choice((0, 0, 0, 1))},
    }


def _share(random: Random, who: _Person) -> dict[str, object]:
    other = f"{_pick(random, _FIRST)}.{_pick(random, _LAST)}@example.org".lower()
    name = f"{_pick(random, _LAST)} offer {random.randrange(1000)}.xlsx"
    return {
        "actor": _actor(who),
        "action": "drive.file.share",
        "verb": "grant",
        "category": "permission",
        "targets": [{"type": "file", "id": random.randbytes(6).hex(), "name": name}],
        "changes": [{"path": "permissions", "new": f"{other}:{random.choice(('reader', 'editor'))}"}],
        "outcome": "success",
        "origin": _origin(random, who),
    }


_KINDS: dict[Callable[[Random, _Person], dict[str, object]], int] = {  # how many of a hundred events are of each kind
    _view: 30,
    _change: 14,
    _login: 8,
    _storage: 22,
    _cluster: 14,
    _command: 6,
    _share: 6,
}
