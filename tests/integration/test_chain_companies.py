"""Two companies in one installation, all parts real: whoever tries to cross, at topics, databases or keys, cannot."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from faults.harness import wait_for
from faults.nursery import Child, Nursery
from integration.test_broker_isolation import Client, login
from merilo import topics, wire
from merilo.ids import GatewayKey
from merilo.instants import QUARTER_MS, floor_ms
from merilo.reading import Reading
from merilo.site import Company, Site
from merilo_adapters.influx_http import Login
from merilo_adapters.influx_store import InfluxStore
from merilo_adapters.mosquitto_files import write_files
from merilo_adapters.registry import Registry
from real import Broker, InfluxServer, free_port, influx1, mosquitto

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

ACME, BETA = GatewayKey("acme", "hq", "gw1"), GatewayKey("beta", "hq", "gw1")
EPOCHS = {ACME: "00000000000000aa", BETA: "00000000000000bb"}
FAR_MS = 4_102_444_800_000


@dataclass
class Both:
    """Everything that runs."""

    broker: Broker
    server: InfluxServer
    store: InfluxStore
    registry: Registry
    passwords: dict[GatewayKey, str]
    page_port: int
    children: list[Child]
    now_ms: int

    def login(self, key: GatewayKey) -> Any:
        """The gateway's own connection."""
        found = self.registry.gateway(key)
        assert found is not None
        return login(self.broker, found.login, self.passwords[key])

    def ask(self, path: str, key: str | None) -> tuple[int, Any]:
        """Status and body of the API."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.page_port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def raw(self, company: str) -> list[tuple[dict[str, str], list[int], dict[str, list[float]]]]:
        """Everything that a company's database holds of readings."""
        return [
            (dict(s.tags), s.frame.at_ms.tolist(), {name: c.tolist() for name, c in s.frame.numbers.items()})
            for s in self.store.read(company, "readings", {}, 0, FAR_MS)
        ]

    def send(self, client: Client, key: GatewayKey, first: int, power_w: float, topic: str = "") -> bool:
        """Readings of one hour; whether the broker took them."""
        start_ms = floor_ms(self.now_ms, QUARTER_MS) - 4 * QUARTER_MS
        found = [
            Reading(
                device="main",
                at_ms=start_ms + (first + n) * 60_000,
                values={"active_power_w": power_w, "active_energy_import_wh": 1e6 + power_w / 60 * (first + n)},
            )
            for n in range(20)
        ]
        return client.publish(topic or topics.build(key, "readings"), wire.readings_payload(EPOCHS[key], first, found))


@contextmanager
def installation(folder: Path) -> Iterator[Both]:
    """Broker with the generated files, InfluxDB with logins, collector, books and API."""
    registry = Registry.open(f"sqlite:///{folder}/registry.db", actor="test")
    now_ms = time.time_ns() // 1_000_000
    passwords = {}
    for key in (ACME, BETA):
        registry.add_company(Company(id=key.company, name=key.company, raw_days=90, created_ms=now_ms))
        registry.add_site(Site(company=key.company, id="hq", name="HQ", zone="Europe/Sofia"), now_ms)
        passwords[key] = registry.add_gateway(key, now_ms)[1]
    files = write_files(folder / "broker", folder, registry.logins())
    secret = folder / "collector.secret"
    secret.write_text(files.collector_password)
    lines = ["allow_anonymous false", f"password_file {files.passwords}", f"acl_file {files.access}"]
    nursery, children = Nursery(), []
    try:
        with mosquitto(*lines) as broker, influx1(auth=True) as server:
            environment = {
                "MERILO_DATA": str(folder),
                "MERILO_STORE": server.url,
                "MERILO_STORE_LOGIN": str(server.username),
                "MERILO_STORE_TOKEN": str(server.password),
                "MERILO_BROKER": f"mqtt://127.0.0.1:{broker.port}",
                "MERILO_BROKER_LOGIN": "collector",
                "MERILO_BROKER_PASSWORD_FILE": str(secret),
            }
            port = free_port()
            for argv in (["collector", "run"], ["books", "run"], ["api", "run", "--port", str(port)]):
                children.append(nursery.start(argv, environment, folder / f"{argv[0]}.log"))
            store = InfluxStore(server.url, Login(None, server.username, server.password), "merilo")
            both = Both(broker, server, store, registry, passwords, port, children, now_ms)
            assert wait_for(lambda: _answers(both), 40), (folder / "api.log").read_text()
            yield both
            for child in children:
                child.kill()
                child.close()
            store.close()
    finally:
        nursery.close()
        registry.close()


def _answers(both: Both) -> bool:
    try:
        return both.ask("/v1/health", None)[0] == 401
    except OSError:
        return False


def query(server: InfluxServer, user: str, database: str, text: str, password: str = "reader's word") -> str:
    """What InfluxDB answers to this login: every number it gives, or the reason why not."""
    found = urllib.parse.urlencode({"db": database, "q": text, "u": user, "p": password})
    try:
        with urllib.request.urlopen(f"{server.url}/query?{found}", timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"


def test_neither_topics_nor_databases_nor_keys_let_one_company_reach_the_other(tmp_path: Path) -> None:
    with installation(tmp_path) as both, both.login(ACME) as acme, both.login(BETA) as beta:
        acme.subscribe(*topics.downward_filters(ACME))
        beta.subscribe("#", "merilo/v1/#", *topics.downward_filters(ACME))
        assert both.send(acme, ACME, 0, 600.0)
        assert both.send(beta, BETA, 0, 4242.0)
        assert wait_for(lambda: bool(both.raw("acme") and both.raw("beta")), 30)
        assert wait_for(lambda: both.registry.work().pending_count() == 0, 30)
        before = both.raw("acme")

        # Topics: judged by what arrives.
        assert not both.send(beta, BETA, 100, 4242.0, topics.build(ACME, "readings"))
        assert not beta.publish(topics.build(ACME, "ack"), wire.to_payload(wire.Ack(EPOCHS[ACME], 0, 10_000)))
        assert not beta.publish(topics.build(ACME, "cmd", "resync"), b"{}")
        assert both.send(beta, BETA, 20, 4242.0)
        assert wait_for(lambda: len(both.raw("beta")[0][1]) == 40, 30)
        acks = {(topic, wire.from_payload(payload, wire.Ack).last) for topic, payload in list(acme.got.queue)}
        heard = {topic for topic, _ in list(beta.got.queue)}

        # Databases: one for each company, and a reader's login opens one of them.
        for user, company in (("reads_acme", "acme"), ("reads_beta", "beta")):
            for text in (
                f"CREATE USER {user} WITH PASSWORD 'reader''s word'",
                f'GRANT READ ON "merilo-{company}" TO {user}',
            ):
                made = query(both.server, "admin", "", text.replace("''", "\\'"), str(both.server.password))
                assert "error" not in made, made
        own = query(both.server, "reads_beta", "merilo-beta", 'SELECT last(active_power_w) FROM "raw"."readings"')
        crossing = [
            query(both.server, "reads_beta", "merilo-acme", 'SELECT * FROM "raw"."readings"'),
            query(both.server, "reads_beta", "merilo-beta", 'SELECT * FROM "merilo-acme"."raw"."readings"'),
            query(both.server, "reads_beta", "merilo-beta", 'SELECT * FROM "merilo-acme"."autogen"./.*/'),
            query(both.server, "reads_beta", "merilo-beta", 'DROP DATABASE "merilo-acme"'),
        ]
        names = {tags["company"] for company in ("acme", "beta") for tags, _, _ in both.raw(company)}

        # Keys.
        key = both.registry.add_key("beta", ["read:series"], "beta's board", both.now_ms)[1]
        site = "/v1/companies/{}/sites/hq/energy?last=1d&resolution=15m"
        allowed = both.ask(site.format("beta"), key)
        refused = [both.ask(site.format("acme"), key), both.ask(site.format("nobody"), key)]
        health = both.ask("/v1/health", key)
        listed = both.ask("/v1/companies", key)
        without = both.ask(site.format("acme"), None)
        after = both.raw("acme")

    assert acks == {(topics.build(ACME, "ack"), 19)}
    assert heard == {topics.build(BETA, "ack")}
    assert after == before
    assert {values for _, _, fields in after for values in fields["active_power_w"]} == {600.0}
    assert "4242" in own
    for text in crossing:
        assert "error" in text, text
        assert "600" not in text, text
    assert names == {"acme", "beta"}
    assert allowed[0] == 200, allowed
    assert [status for status, _ in refused] == [refused[1][0]] * 2, "a foreign company and none must look the same"
    assert refused[0][0] in (403, 404)
    assert [company["id"] for company in health[1]["companies"]] == ["beta"]
    assert "acme" not in json.dumps(listed[1])
    assert without[0] == 401
