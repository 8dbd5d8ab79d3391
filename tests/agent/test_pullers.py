"""Pullers against services that show records late, twice, out of order and with errors: each record once."""

import json
import random
import time
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from agent.agents import wait_for
from agent.services import Service
from graven.agent.pull.auth import read_secret, sign_jwt
from graven.agent.pull.page import identity_of, records_of
from graven.agent.pull.preset import load_preset, parse_preset, preset_names
from graven.agent.pull.puller import PullSource
from graven.core.errors import BadInput, Broken, GravenError
from graven.ingest import Pipeline, Record

VALUES: dict[str, dict[str, str]] = {
    "okta": {"domain": "x"},
    "okta-oauth": {"domain": "x", "client_id": "c"},
    "github": {"scope": "orgs/acme"},
    "google-workspace": {"application": "login", "admin": "root@example.com"},
    "microsoft-365": {"tenant": "t", "client_id": "c", "content": "Audit.General"},
    "slack": {},
    "auth0": {"domain": "x", "client_id": "c"},
    "salesforce-setup": {"domain": "x", "client_id": "c"},
    "salesforce-login": {"domain": "x", "client_id": "c", "user": "u@example.com"},
}
RSA_KEY = rsa.generate_private_key(65537, 2048)
PEM = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
ACCOUNT = json.dumps({"private_key": PEM.decode(), "client_email": "robot@example.com"}).encode()
SECRETS = {"google-workspace": ACCOUNT, "okta-oauth": PEM, "salesforce-login": PEM}


class Pulling:
    """A puller of a service, with the places a spool would keep, and no real waiting."""

    def __init__(self, service: Service, folder: Path, **how: Any) -> None:
        self.service, self.how = service, how
        self.secret = folder / "secret"
        self.secret.write_bytes(SECRETS.get(service.preset, service.token.encode()))
        self.secret.chmod(0o600)
        self.places: dict[str, Any] = {}
        self.records: list[bytes] = []
        self.waits: list[float] = []
        self.source = self._open()

    def _open(self) -> PullSource:
        values = {**VALUES[self.service.preset], "base": self.service.base}
        if self.service.preset == "google-workspace":
            values["token_base"] = self.service.base
        if self.service.preset == "microsoft-365":
            values["login"] = self.service.base
        how: dict[str, Any] = {"history_s": 3600, **self.how}
        return PullSource(
            self.service.preset, load_preset(self.service.preset), values, self.places, secret_file=self.secret,
            interval_s=30, now_s=lambda: self.service.now_s, wait=self._wait, timeout_s=5, **how,
        )  # fmt: skip

    def _wait(self, wanted_s: float) -> bool:
        self.waits.append(wanted_s)
        time.sleep(0.002)
        return False

    def take(self) -> None:
        try:
            taken = self.source.take(1 << 20)
        except GravenError:
            return
        for one in taken:
            self.records += one.records
            for key, place in one.places.items():
                if place is None:
                    self.places.pop(key, None)
                else:
                    self.places[key] = json.loads(json.dumps(place))

    def restart(self) -> None:
        self.source.close()
        self.source = self._open()

    def until(self, records: int) -> None:
        def there() -> bool:
            self.take()
            self.service.now_s += 1
            return len(self.records) >= records

        wait_for(there, f"for {records} records of {self.service.preset}, {len(self.records)} came")

    def settle(self) -> None:
        """Let windows pass in which nothing new may come."""
        before = len(self.service.requests)
        deadline = time.monotonic() + 90
        while len(self.service.requests) < before + 8 and time.monotonic() < deadline:
            self.take()
            self.service.now_s += 20
            time.sleep(0.001)


def test_a_page_may_be_an_export_of_purview() -> None:
    page = b'CreationDate,AuditData\nx,"{""Id"":""1"",""Operation"":""A""}"\ny,"{""Id"":""2""}"\n'
    assert records_of(page, "value", place="x") == [b'{"Id":"1","Operation":"A"}', b'{"Id":"2"}']


@pytest.mark.parametrize("preset", preset_names())
def test_every_record_once(preset: str, tmp_path: Path) -> None:
    chance = random.Random(preset)
    with Service(preset, chance, trouble=0.2) as service:
        pulling = Pulling(service, tmp_path)
        try:
            for _ in range(4):
                service.happen(30, over_s=120, late_s=200)
                for _ in range(30):
                    service.now_s += 10
                    pulling.take()
                    time.sleep(0.002)
                if chance.random() < 0.7:
                    pulling.restart()
            service.trouble = 0.1
            pulling.until(len(service.entries))
            pulling.settle()
        finally:
            pulling.source.close()
        found = sorted(record.decode() for record in pulling.records)
        assert found == sorted(json.dumps(service.record(entry)) for entry in service.entries)
        assert service.begun == (preset == "microsoft-365")
        assert len(pulling.places) < 60  # what is remembered does not grow


@pytest.mark.parametrize("preset", preset_names())
def test_records_are_of_the_type_that_is_stated(preset: str, tmp_path: Path) -> None:
    assert load_preset(preset).type in Pipeline().types


def test_left_alone_for_as_long_as_it_says(tmp_path: Path) -> None:
    with Service("okta", random.Random(1)) as service:
        service.happen(3, over_s=1, late_s=0)
        service.trouble, service.chance = 1.0, _Fixed(1)
        pulling = Pulling(service, tmp_path)
        try:
            service.now_s += 60
            wait_for(lambda: len(pulling.waits) > 2)
            assert min(pulling.waits[:2]) >= 2
            service.trouble, service.chance = 0.0, random.Random(1)
            pulling.until(3)
        finally:
            pulling.source.close()


class _Fixed(random.Random):
    """Always this number."""

    def randint(self, a: int, b: int) -> int:
        return int(self._number)

    def random(self) -> float:
        return 0.5

    def __init__(self, number: int) -> None:
        super().__init__(0)
        self._number = number


def test_a_token_that_ended_is_renewed(tmp_path: Path) -> None:
    with Service("auth0", random.Random(2)) as service:
        service.happen(5, over_s=1, late_s=0)
        service.now_s += 60
        pulling = Pulling(service, tmp_path)
        try:
            pulling.until(5)
            service.token = "another"
            service.happen(5, over_s=1, late_s=0)
            pulling.until(10)
        finally:
            pulling.source.close()
        assert service.tokens_given == 2
        assert service.forms[0]["grant_type"] == ["client_credentials"]
        assert service.forms[0]["client_id"] == ["c"]


def test_a_jwt_says_who_asks_for_whom(tmp_path: Path) -> None:
    with Service("google-workspace", random.Random(2)) as service:
        service.happen(2, over_s=1, late_s=0)
        service.now_s += 120
        pulling = Pulling(service, tmp_path)
        try:
            pulling.until(2)
        finally:
            pulling.source.close()
        signed, _, signature = service.forms[0]["assertion"][0].rpartition(".")
        RSA_KEY.public_key().verify(_decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        claims = json.loads(_decode(signed.partition(".")[2]))
        assert (claims["iss"], claims["sub"]) == ("robot@example.com", "root@example.com")
        assert claims["scope"].endswith("admin.reports.audit.readonly")


def test_es256() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    signed, _, signature = sign_jwt({"iss": "x"}, pem).rpartition(".")
    raw = _decode(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.public_key().verify(der, signed.encode(), ec.ECDSA(hashes.SHA256()))
    with pytest.raises(BadInput):
        sign_jwt({}, b"no key")


@pytest.mark.parametrize("preset", ["okta", "microsoft-365", "salesforce-setup"])
@pytest.mark.parametrize("evil", ["http://127.0.0.2:1/steal", "https://evil.example/x", "http://user@127.0.0.1/x"])
def test_the_token_goes_nowhere_else(preset: str, evil: str, tmp_path: Path) -> None:
    with Service(preset, random.Random(3), evil_next=evil) as service:
        service.happen(3, over_s=1, late_s=0)
        service.now_s += 120
        pulling = Pulling(service, tmp_path)
        try:
            wait_for(lambda: pulling.source.error)
            assert "not the service's" in str(pulling.source.error)
        finally:
            pulling.source.close()


def test_secrets_are_files_that_nobody_else_reads(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("  s3cret\n")
    path.chmod(0o644)
    with pytest.raises(BadInput, match="others") as refused:
        read_secret(path)
    assert "s3cret" not in str(refused.value)
    path.chmod(0o600)
    assert read_secret(path) == "s3cret"
    path.write_text("\n")
    with pytest.raises(BadInput):
        read_secret(path)


def test_values_are_those_the_preset_asks_for(tmp_path: Path) -> None:
    preset = load_preset("okta")
    with pytest.raises(BadInput, match="domain"):
        preset.check({}, "okta")
    with pytest.raises(BadInput, match="dmain"):
        preset.check({"domain": "x", "dmain": "y"}, "okta")
    with pytest.raises(BadInput, match="client_id"):
        load_preset("auth0").check({"domain": "x"}, "auth0")
    with pytest.raises(BadInput):
        load_preset("nothing")
    with pytest.raises(BadInput, match="pagng"):
        parse_preset(b'type = "x"\nabout = ""\n[pagng]\n', place="x")
    with pytest.raises(BadInput, match="https"):
        PullSource("okta", preset, {"domain": "x", "base": "http://okta.example"}, {}, secret_file=tmp_path)


@given(st.binary(max_size=200), st.sampled_from(["", "a", "a.b"]))
def test_any_answer_is_records_or_refused(data: bytes, path: str) -> None:
    try:
        for record in records_of(data, path, place="x"):
            identity_of(record, ["id", "a.b"])
    except Broken:
        return


def test_records_keep_their_bytes() -> None:
    data = b'{"items": [ {"id":1.0, "a" : "\\u00e9"} ,{"id":null}]}'
    records = records_of(data, "items", place="x")
    assert records == [b'{"id":1.0, "a" : "\\u00e9"}', b'{"id":null}']
    assert Pipeline().run([Record(records[0])])


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
