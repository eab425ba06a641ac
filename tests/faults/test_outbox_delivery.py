"""Why the outbox is freed by the collector only: a broker that took everything and then forgot it."""

from __future__ import annotations

from pathlib import Path

import pytest

from merilo import topics, wire
from merilo.reading import Reading
from merilo_adapters.mqtt import Broker, Message, Session
from merilo_adapters.outbox import Outbox, Span
from real import mosquitto
from unit.gateway.rig import KEY, Collector, wait_for

pytestmark = pytest.mark.real
START = 1_796_083_200_000
READINGS = 200


def drain(box: Outbox, port: int, *, weak: bool) -> int:
    """Sends everything that waits; the weak way frees what the broker took. Gives how many the broker took."""
    taken = 0

    def arrived(message: Message) -> None:
        ack = wire.from_payload(message.payload, wire.Ack)
        box.free(ack.epoch, ack.first, ack.last, START)

    session = Session(
        Broker(urls=(f"mqtt://127.0.0.1:{port}",)),
        client_id="gateway",
        on_message=arrived,
        subscriptions=[(topics.build(KEY, "ack"), 0)],
    )
    session.start()
    assert wait_for(lambda: session.connected)
    sent: list[Span] = []
    while (batch := box.waiting(2_000, skip=sent)) is not None:
        payload = wire.readings_payload(batch.epoch, batch.first, batch.readings)
        code = session.publish(topics.build(KEY, "readings"), payload).result(10)
        assert code < 0x80
        taken += len(batch.readings)
        sent.append(batch.span)
        if weak:
            box.free(batch.epoch, batch.first, batch.last, START)
    wait_for(lambda: box.stats().rows == 0, 1.0)
    session.stop()
    return taken


@pytest.mark.parametrize("weak", [False, True], ids=["freed by the collector", "control: freed by the broker"])
def test_a_broker_that_crashes_with_everything_in_its_memory(tmp_path: Path, weak: bool) -> None:
    box = Outbox(tmp_path / "o")
    readings = [Reading(device="d0", at_ms=START + n, values={"active_power_w": float(n)}) for n in range(READINGS)]
    box.append_all([(START + n, readings[n : n + 10]) for n in range(0, READINGS, 10)])
    with mosquitto() as broker:
        with Collector(broker.port):
            pass  # its session stays with the broker, which queues for it
        taken = drain(box, broker.port, weak=weak)
        broker.kill()
        broker.start()
        with Collector(broker.port) as collector:
            drain(box, broker.port, weak=weak)
            wait_for(lambda: len(collector.received) == READINGS, 3.0)
            received = len(collector.received)
    box.close()

    assert taken == READINGS, "the broker did not take everything: the fault was not there"
    assert received == (0 if weak else READINGS)
