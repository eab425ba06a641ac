"""Companies are apart on a real mosquitto with our files: judged by what is delivered, not by what is granted."""

from __future__ import annotations

import os
import queue
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from merilo.ids import GatewayKey
from merilo.site import Company, Site
from merilo_adapters.mosquitto_files import COLLECTOR, Files, write_files
from merilo_adapters.registry import Registry
from real import Broker, mosquitto

pytestmark = pytest.mark.real

WAIT_S = 10.0
QUIET_S = 0.4
"""A message that was delivered at all was there within some milliseconds."""
MINE, FOREIGN = GatewayKey("acme", "hq", "gw1"), GatewayKey("beta", "hq", "gw1")
NEIGHBOUR = GatewayKey("acme", "hq", "gw10")


@dataclass
class Client:
    """A connected client and what it was sent."""

    client: mqtt.Client
    got: queue.Queue[tuple[str, bytes]] = field(default_factory=queue.Queue)
    answers: queue.Queue[tuple[int, ReasonCode]] = field(default_factory=queue.Queue)
    granted: queue.Queue[int] = field(default_factory=queue.Queue)

    def publish(self, topic: str, payload: bytes = b"x") -> bool:
        """Publishes at QoS 1; whether the broker took it."""
        number = self.client.publish(topic, payload, qos=1).mid
        while True:
            mid, reason = self.answers.get(timeout=WAIT_S)
            if mid == number:
                return not reason.is_failure

    def subscribe(self, *filters: str) -> None:
        """Subscribes and waits for the answer, whatever it is."""
        self.client.subscribe([(name, SubscribeOptions(qos=1)) for name in filters])
        self.granted.get(timeout=WAIT_S)

    def delivered(self, count: int) -> list[str]:
        """Topics of the next messages, and that no more come."""
        found = [self.got.get(timeout=WAIT_S)[0] for _ in range(count)]
        time.sleep(QUIET_S)
        return found + [topic for topic, _ in list(self.got.queue)]


@contextmanager
def login(broker: Broker, name: str, password: str) -> Iterator[Client]:
    """A client that is logged in.

    Raises:
        PermissionError: The broker refuses the login.
    """
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"test-{name}", protocol=mqtt.MQTTv5)
    client.username_pw_set(name, password)
    found = Client(client)
    connected: queue.Queue[ReasonCode] = queue.Queue()
    client.on_connect = lambda _c, _u, _f, reason, _p: connected.put(reason)
    client.on_publish = lambda _c, _u, mid, reason, _p: found.answers.put((mid, reason))
    client.on_subscribe = lambda _c, _u, mid, _r, _p: found.granted.put(mid)
    client.on_message = lambda _c, _u, message: found.got.put((message.topic, bytes(message.payload)))
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        reason = connected.get(timeout=WAIT_S)
        if reason != ReasonCode(PacketTypes.CONNACK, "Success"):
            raise PermissionError(str(reason))
        yield found
    finally:
        client.disconnect()
        client.loop_stop()


@dataclass
class Site1:
    """A broker with two companies' gateways and the collector."""

    broker: Broker
    registry: Registry
    files: Files
    passwords: dict[GatewayKey, str]
    folder: Path

    def gateway(self, key: GatewayKey) -> tuple[Broker, str, str]:
        """What a gateway logs in with."""
        found = self.registry.gateway(key)
        assert found is not None
        return self.broker, found.login, self.passwords[key]

    def collector(self) -> tuple[Broker, str, str]:
        """What the collector logs in with."""
        return self.broker, COLLECTOR, self.files.collector_password


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site1]:
    """Three gateways of two companies on one broker."""
    registry = Registry.open(f"sqlite:///{tmp_path}/registry.db")
    passwords = {}
    for company in ("acme", "beta"):
        registry.add_company(Company(id=company, name=company))
        registry.add_site(Site(company=company, id="hq", name="hq", zone="Europe/Sofia"))
    for key in (MINE, NEIGHBOUR, FOREIGN):
        _, passwords[key] = registry.add_gateway(key)
    files = write_files(tmp_path / "files", tmp_path, registry.logins())
    lines = ("allow_anonymous false", f"password_file {files.passwords}", f"acl_file {files.access}")
    with mosquitto(*lines, folder=tmp_path / "mosquitto") as broker:
        yield Site1(broker, registry, files, passwords, tmp_path)
    registry.close()


def topic(key: GatewayKey, channel: str) -> str:
    return f"merilo/v1/{key.company}/{key.site}/{key.gateway}/{channel}"


def test_a_gateways_own_messages_reach_the_collector(site: Site1) -> None:
    channels = ("state", "birth", "readings", "health", "event", "cmd/resync/reply")
    with login(*site.collector()) as collector, login(*site.gateway(MINE)) as gateway:
        collector.subscribe(*(f"merilo/v1/+/+/+/{channel}" for channel in channels[:5]), "merilo/v1/+/+/+/cmd/+/reply")

        assert all(gateway.publish(topic(MINE, channel)) for channel in channels)

        assert sorted(collector.delivered(6)) == sorted(topic(MINE, channel) for channel in channels)


def test_what_a_gateway_publishes_elsewhere_is_delivered_to_nobody(site: Site1) -> None:
    elsewhere = [
        topic(FOREIGN, "readings"),
        topic(NEIGHBOUR, "readings"),
        topic(MINE, "ack"),
        topic(FOREIGN, "ack"),
        topic(MINE, "cmd/resync"),
        topic(MINE, "readings/more"),
        "merilo/v1/acme/hq/readings",
        "$SYS/broker/uptime",
    ]
    with (
        login(*site.collector()) as collector,
        login(*site.gateway(FOREIGN)) as foreign,
        login(*site.gateway(MINE)) as gateway,
    ):
        collector.subscribe("merilo/v1/+/+/+/readings")
        foreign.subscribe("#")

        assert not any(gateway.publish(name) for name in elsewhere)
        assert gateway.publish(topic(MINE, "readings"))

        assert collector.delivered(1) == [topic(MINE, "readings")]
        assert foreign.delivered(0) == []


def test_whoever_subscribes_to_everything_gets_nothing_foreign(site: Site1) -> None:
    with (
        login(*site.gateway(FOREIGN)) as curious,
        login(*site.gateway(MINE)) as gateway,
        login(*site.collector()) as collector,
    ):
        curious.subscribe("#")
        curious.subscribe("merilo/v1/#")
        curious.subscribe(topic(MINE, "readings"), topic(MINE, "ack"), topic(MINE, "cmd/+"))
        assert gateway.publish(topic(MINE, "readings"))
        assert collector.publish(topic(MINE, "ack"))
        assert collector.publish(topic(MINE, "cmd/resync"))
        assert collector.publish(topic(FOREIGN, "ack"))

        assert set(curious.delivered(1)) == {topic(FOREIGN, "ack")}


def test_acknowledgements_and_commands_reach_their_gateway(site: Site1) -> None:
    with login(*site.gateway(MINE)) as gateway, login(*site.collector()) as collector:
        gateway.subscribe(topic(MINE, "ack"), topic(MINE, "cmd/+"))

        assert collector.publish(topic(MINE, "ack"))
        assert collector.publish(topic(MINE, "cmd/resync"))
        assert not collector.publish(topic(MINE, "readings"))

        assert gateway.delivered(2) == [topic(MINE, "ack"), topic(MINE, "cmd/resync")]


def test_a_wrong_password_or_name_is_refused(site: Site1) -> None:
    broker, name, password = site.gateway(MINE)
    for wrong in ((name, password[:-1]), (name, ""), ("gw-aaaaaaaaaa", password), ("monitor", "monitor"), ("", "")):
        with pytest.raises(PermissionError), login(broker, *wrong):
            pass


def test_a_gateway_revoked_and_the_files_read_again_is_out(site: Site1) -> None:
    with login(*site.gateway(MINE)):
        pass

    site.registry.revoke_gateway(MINE, 1)
    assert write_files(site.folder / "files", site.folder, site.registry.logins()).changed
    os.kill(site.broker.pid, signal.SIGHUP)

    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            with login(*site.gateway(MINE)):
                time.sleep(0.05)
        except PermissionError:
            break
    else:
        pytest.fail("the broker still lets the revoked gateway in")
    with login(*site.gateway(FOREIGN)) as other:
        assert other.publish(topic(FOREIGN, "readings"))
