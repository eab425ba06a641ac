"""Addresses of brokers, and what a session does before there is a connection."""

from __future__ import annotations

import pytest

from merilo.errors import BrokerError, ConfigError
from merilo_adapters.mqtt import Address, Broker, Message, Session, address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker.example", Address("broker.example", 1883, False)),
        ("mqtts://broker.example", Address("broker.example", 8883, True)),
        ("mqtt://127.0.0.1:18830", Address("127.0.0.1", 18830, False)),
        ("mqtt://[::1]:1883", Address("::1", 1883, False)),
    ],
)
def test_a_broker_url_is_a_host_a_port_and_whether_it_is_encrypted(url: str, expected: Address) -> None:
    assert address(url) == expected


@pytest.mark.parametrize(
    "url", ["", "broker", "http://broker", "mqtt://", "mqtt://b:99999", "mqtt://b/path", "mqtt://b?x=1", "mqtt://b:x"]
)
def test_what_is_no_broker_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        address(url)


def test_a_login_inside_a_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError) as error:
        address("mqtt://me:hunter2@broker")

    assert "hunter2" not in str(error.value)


def test_a_broker_without_an_address_is_refused() -> None:
    with pytest.raises(ConfigError):
        Broker(urls=())


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in repr(Broker(urls=("mqtt://b",), login="gw-1", password="hunter2"))


def test_nothing_is_queued_without_a_connection() -> None:
    def ignored(_message: Message) -> None:
        """Nothing arrives here."""

    session = Session(Broker(urls=("mqtt://127.0.0.1:9",)), client_id="t", on_message=ignored)

    with pytest.raises(BrokerError, match="no connection"):
        session.publish("a/b", b"x")

    assert not session.connected
    assert session.generation == 0
    assert session.ack(Message("a", b"", 1, False, 1, 1)) is False
