"""The gateway against a real broker and simulated devices: nothing is lost, nothing counts twice."""

from __future__ import annotations

import json
import random
import time
from functools import partial
from pathlib import Path

import pytest

from merilo import topics, wire
from merilo.instants import to_text
from merilo_adapters.mqtt import Broker, Message, Session
from merilo_adapters.outbox import Outbox
from real import mosquitto
from unit.gateway.fakes import Server, sdm630
from unit.gateway.rig import KEY, MAIN, Collector, Process, config, tcp_bus, wait_for

pytestmark = pytest.mark.real


def gateway(folder: Path, broker: int, device: int, *, interval: str = "250ms") -> Process:
    return Process(folder, config(broker, tcp_bus(device, MAIN), interval=interval))


def _has(collector: Collector, count: int) -> bool:
    return len(collector.received) >= count


def left(process: Process) -> Outbox:
    """The outbox of a gateway that has ended."""
    return Outbox(process.data / "outbox.sqlite")


def waiting(process: Process) -> list[int]:
    """Numbers that wait to be acknowledged."""
    box = left(process)
    found: list[int] = []
    while (batch := box.waiting()) is not None:
        found += range(batch.first, batch.last + 1)
        box.free(batch.epoch, batch.first, batch.last, 0)
    box.close()
    return found


def everything(process: Process) -> list[int]:
    """All numbers that were given."""
    box = left(process)
    found = list(range(box.next_number))
    box.close()
    return found


def test_a_gateway_introduces_itself_then_sends_what_the_device_says_and_frees_what_is_acknowledged(
    tmp_path: Path,
) -> None:
    with (
        Server({1: sdm630(1234.5, 100.25)}) as device,
        mosquitto() as broker,
        Collector(broker.port) as collector,
        gateway(tmp_path, broker.port, device.port) as process,
    ):
        assert wait_for(lambda: len(collector.received) >= 5)
        assert process.stop() == 0
        assert wait_for(lambda: b"disconnected" in collector.payloads("state")[-1])

    states = [wire.from_payload(p, wire.State).state for p in collector.payloads("state")]
    births = [wire.from_payload(p, wire.Birth) for p in collector.payloads("birth")]
    assert states == ["init", "ready", "disconnected"]
    channels = [c for c, _ in collector.messages]
    assert channels.index("birth") < channels.index("readings")
    assert births[-1].devices["main"].serial == "4711"
    assert births[-1].devices["main"].quantities["active_energy_import_wh"].kind == "counter"
    reading = next(iter(collector.received.values()))
    assert reading.device == "main"
    assert reading.values["active_power_w"] == pytest.approx(1234.5)
    assert reading.values["active_energy_import_wh"] == 100_250.0
    with_store = left(process)
    assert collector.numbers(births[-1].epoch)[:5] == [0, 1, 2, 3, 4]
    assert with_store.stats().rows <= 1  # the last cycle may have been on its way
    with_store.close()
    assert set(collector.times.values()) == {1}


def test_kill_9_at_any_moment_loses_no_stored_reading_and_doubles_none(tmp_path: Path) -> None:
    chance = random.Random(20261125)
    with Server({1: sdm630()}) as device, mosquitto() as broker, Collector(broker.port) as collector:
        process = gateway(tmp_path, broker.port, device.port)
        for _ in range(6):
            process.start()
            time.sleep(1.2 + chance.random())
            process.kill()
        box = left(process)
        epoch, total = box.epoch, box.next_number
        box.close()
        process.start()
        assert wait_for(lambda: set(range(total)) <= set(collector.numbers(epoch)))
        process.stop()

    assert total >= 6
    assert collector.different == []
    instants = [(r.device, r.at_ms) for r in collector.received.values()]
    assert len(instants) == len(set(instants))


def test_a_broker_that_crashes_and_forgets_everything_costs_no_reading(tmp_path: Path) -> None:
    with (
        Server({1: sdm630()}) as device,
        mosquitto() as broker,
        Collector(broker.port) as collector,
        gateway(tmp_path, broker.port, device.port) as process,
    ):
        for _ in range(2):
            target = len(collector.received) + 2
            assert wait_for(partial(_has, collector, target))
            broker.kill()
            time.sleep(0.6)
            broker.start()
        epoch = next(iter(collector.received))[0]
        last = collector.numbers(epoch)[-1] + 5
        assert wait_for(lambda: set(range(last)) <= set(collector.numbers(epoch)), 40)
        process.stop()

    assert collector.different == []


def test_a_gateway_starts_without_a_broker_keeps_polling_and_delivers_the_backlog_oldest_first(tmp_path: Path) -> None:
    with Server({1: sdm630()}) as device, mosquitto() as broker:
        broker.kill()
        with gateway(tmp_path, broker.port, device.port) as process:
            assert wait_for(lambda: len(device.requests) > 30)
            polled = len([r for r in device.requests if r.start == 0])
            broker.start()
            with Collector(broker.port) as collector:
                assert wait_for(lambda: bool(collector.received), 40)
                epoch = next(iter(collector.received))[0]
                assert wait_for(lambda: set(range(polled + 2)) <= set(collector.numbers(epoch)), 40)
                process.stop()

    assert {name for name, _ in collector.received} == {epoch}
    assert "mqtt not connected" in process.log


def test_what_is_not_acknowledged_stays_and_an_ack_of_another_epoch_changes_nothing(tmp_path: Path) -> None:
    with (
        Server({1: sdm630()}) as device,
        mosquitto() as broker,
        Collector(broker.port, acknowledges=False) as collector,
        gateway(tmp_path, broker.port, device.port) as process,
    ):
        assert wait_for(lambda: len(collector.payloads("readings")) >= 4)
        collector.tell("ack", wire.Ack("0123456789abcdef", 0, 10_000))
        assert wait_for(lambda: len(collector.payloads("readings")) >= 6)
        process.stop()

    assert waiting(process) == everything(process)


def test_a_store_that_forgot_gets_exactly_the_ranges_it_asks_for(tmp_path: Path) -> None:
    with (
        Server({1: sdm630()}) as device,
        mosquitto() as broker,
        Collector(broker.port) as collector,
        gateway(tmp_path, broker.port, device.port) as process,
    ):
        assert wait_for(lambda: len(collector.received) >= 6)
        epoch = next(iter(collector.received))[0]
        later = to_text((time.time_ns() // 1_000_000) + 60_000)
        command = wire.Resync(id="r1", expires=later, epoch=epoch, ranges=((1, 2), (4, 4)))

        collector.tell("cmd", command, "resync")
        collector.tell("cmd", command, "resync")  # the same command again is not a second one
        collector.tell("cmd", wire.Resync(id="r2", expires="2020-01-01T00:00:00Z"), "resync")

        assert wait_for(lambda: len(collector.payloads("reply")) >= 2)
        assert wait_for(lambda: all(collector.times[epoch, n] == 2 for n in (1, 2, 4)))
        process.stop()

    replies = [json.loads(p) for p in collector.payloads("reply")]
    assert replies == [{"v": 1, "id": "r1", "status": "ok", "rows": 3}, {"v": 1, "id": "r2", "status": "expired"}]
    assert {n for (_, n), times in collector.times.items() if times > 1} == {1, 2, 4}
    assert collector.different == []


def test_a_publish_that_the_broker_refuses_is_kept_and_told(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    base = f"merilo/v1/{KEY.company}/{KEY.site}/{KEY.gateway}"
    allowed = ["state", "birth", "health", "event"]
    acl.write_text("\n".join(["topic read #", *(f"topic write {base}/{name}" for name in allowed)]) + "\n")
    acl.chmod(0o644)
    with (
        Server({1: sdm630()}) as device,
        mosquitto("allow_anonymous true", f"acl_file {acl}") as broker,
        Collector(broker.port) as collector,
        gateway(tmp_path, broker.port, device.port) as process,
    ):
        assert wait_for(lambda: any(e.kind == "publish_refused" for e in collector.events()))
        assert wait_for(lambda: len([r for r in device.requests if r.start == 0]) >= 4)
        process.stop()

    refused = next(e for e in collector.events() if e.kind == "publish_refused")
    assert refused.parameters == {"code": 0x87}
    assert waiting(process) == everything(process) != []


def test_a_broker_with_a_small_packet_limit_gets_messages_that_it_takes(tmp_path: Path) -> None:
    """Longer ones would end the connection again and again, and block everything behind them."""
    with Server({1: sdm630()}) as device, mosquitto("allow_anonymous true", "max_packet_size 6000") as broker:
        broker.kill()
        with gateway(tmp_path, broker.port, device.port) as process:
            assert wait_for(lambda: len([r for r in device.requests if r.start == 0]) > 12)
            broker.start()
            with Collector(broker.port) as collector:
                assert wait_for(lambda: len(collector.received) > 14, 40)
                assert collector.session.connects == 1
                process.stop()

    assert max(len(p) for p in collector.payloads("readings")) > 2_000
    assert max(len(p) for p in collector.payloads("readings")) < 6_000
    assert collector.payloads("state").count(collector.payloads("state")[0]) <= 2


def test_a_device_that_goes_silent_stops_its_series_and_is_told_once_each_way(tmp_path: Path) -> None:
    images = {1: sdm630()}
    with (
        Server(images) as device,
        mosquitto() as broker,
        Collector(broker.port) as collector,
        gateway(tmp_path, broker.port, device.port) as process,
    ):
        assert wait_for(lambda: len(collector.received) >= 2)
        image = images.pop(1)
        assert wait_for(lambda: any(e.kind == "device_silent" for e in collector.events()))
        count = len(collector.received)
        time.sleep(0.5)
        assert len(collector.received) <= count + 1
        images[1] = image
        assert wait_for(lambda: any(e.kind == "device_back" for e in collector.events()))
        assert wait_for(lambda: len(collector.received) > count + 2)
        process.stop()

    kinds = [e.kind for e in collector.events() if e.kind.startswith("device_")]
    assert kinds == ["device_silent", "device_back"]


def test_another_device_on_the_same_address_is_noticed(tmp_path: Path) -> None:
    images = {1: sdm630(serial=4711)}
    with (
        Server(images) as device,
        mosquitto() as broker,
        Collector(broker.port) as collector,
        gateway(tmp_path, broker.port, device.port) as process,
    ):
        assert wait_for(lambda: len(collector.received) >= 2)
        images.clear()
        assert wait_for(lambda: any(e.kind == "device_silent" for e in collector.events()))
        images[1] = sdm630(serial=4712)
        assert wait_for(lambda: any(e.kind == "identity_changed" for e in collector.events()))
        process.stop()

    changed = next(e for e in collector.events() if e.kind == "identity_changed")
    assert (changed.device, changed.parameters) == ("main", {"serial": "4712", "before": "4711"})


def test_a_strip_that_publishes_json_becomes_a_device_with_its_outlets(tmp_path: Path) -> None:
    source = """\
mqtt_in:
  - id: pdu1
    profile: netio_powerpdu_mqtt
    topic: devices/netio/rack/messages/events/
    interval: 250ms
    broker: {url: "mqtt://127.0.0.1:%d"}
"""
    payload = {
        "Agent": {"Model": "NETIO PowerPDU 4KS", "SerialNumber": "24:A4:2C:39:31:51"},
        "GlobalMeasure": {"Voltage": 231.4, "TotalCurrent": 2107, "TotalLoad": 462, "TotalEnergy": 12345},
        "Outputs": [
            {"ID": 1, "Current": 1000, "PowerFactor": 0.98, "Load": 220, "Energy": 5000},
            {"ID": 2, "Current": 1107, "PowerFactor": 0.95, "Load": 242, "Energy": 7345},
        ],
    }  # fmt: skip

    def ignored(_message: Message) -> None:
        """The strip takes no commands here."""

    with (
        mosquitto() as broker,
        Collector(broker.port) as collector,
        Process(tmp_path, config(broker.port, source % broker.port)) as process,
    ):
        strip = Session(Broker(urls=(f"mqtt://127.0.0.1:{broker.port}",)), client_id="strip", on_message=ignored)
        strip.start()
        assert wait_for(lambda: strip.connected)

        def publish() -> bool:
            strip.publish("devices/netio/rack/messages/events/", json.dumps(payload).encode())
            time.sleep(0.1)
            return len(collector.received) >= 6

        assert wait_for(publish)

        def publish_broken() -> bool:
            strip.publish("devices/netio/rack/messages/events/", b"{ broken")
            time.sleep(0.1)
            return any(e.kind == "message_refused" for e in collector.events())

        assert wait_for(publish_broken)
        process.stop()
        strip.stop()

    values = {r.device: r.values for r in collector.received.values()}
    assert set(values) == {"pdu1", "pdu1-outlet-1", "pdu1-outlet-2"}
    assert values["pdu1"]["active_energy_import_wh"] == 12345.0
    assert values["pdu1-outlet-2"] == pytest.approx(
        {"current_l1_a": 1.107, "power_factor": 0.95, "active_power_w": 242.0, "active_energy_import_wh": 7345.0}
    )
    birth = wire.from_payload(collector.payloads("birth")[-1], wire.Birth)
    assert birth.devices["pdu1-outlet-2"].channel_of == "pdu1"
    assert birth.devices["pdu1"].serial == "24:A4:2C:39:31:51"
    assert topics.build(KEY, "birth") == "merilo/v1/acme/hq/gw1/birth"
