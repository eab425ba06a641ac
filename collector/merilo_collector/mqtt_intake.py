"""The intake on one machine: an MQTT session that keeps messages at the broker until they are committed."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Sequence

from merilo.errors import BrokerError
from merilo.topics import upward_filters
from merilo_adapters.mqtt import Broker, Connected, Message, Session
from merilo_collector.intake import Delivery, Receipt

log = logging.getLogger(__name__)

BATCH_MAX = 1_000
"""Messages of one batch: bounds the memory and the time until the first acknowledgement."""
LINGER_S = 0.05
"""Longest wait for more messages once the first is there."""
IDLE_S = 0.004
"""A pause this long ends a batch: a broker sends no more than its window (mosquitto: 20) before the first receipt."""
WINDOW = 1_000
"""Messages the broker may leave unreleased, where it speaks MQTT 5 and is set to allow it."""
SESSION_EXPIRY_S = 7 * 86_400


class MqttIntake:
    """Satisfies the port ``Intake`` by MQTT with manual release."""

    def __init__(self, broker: Broker, client_id: str) -> None:
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.lost_acks = 0
        """Acknowledgements that could not leave: the gateways send those readings again."""
        self._session = Session(
            broker,
            client_id=client_id,
            on_message=self._queue.put,
            subscriptions=[(topic, 1) for topic in upward_filters()],
            on_connected=self._connected,
            clean=False,
            session_expiry_s=SESSION_EXPIRY_S,
            manual_ack=True,
            receive_maximum=WINDOW,
        )

    def start(self) -> None:
        """Begins to connect."""
        self._session.start()

    def stop(self) -> None:
        """Says goodbye; what was not released stays at the broker."""
        self._session.stop()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker."""
        return self._session.connected

    @property
    def alive(self) -> bool:
        """Whether the network threads run."""
        return self._session.alive

    @property
    def reason(self) -> str:
        """Why there is no connection."""
        return self._session.last_reason

    def batch(self, wait_s: float) -> list[Delivery]:
        """What has arrived; see the port."""
        try:
            found = [self._queue.get(timeout=wait_s)]
        except queue.Empty:
            return []
        end = time.monotonic() + LINGER_S
        while len(found) < BATCH_MAX:
            try:
                found.append(self._queue.get(timeout=max(0.0, min(IDLE_S, end - time.monotonic()))))
            except queue.Empty:
                break
        return [Delivery(m.topic, m.payload, m) for m in found]

    def publish(self, topic: str, payload: bytes) -> None:
        """Sends to a gateway; a failure is counted, the gateway's resend repairs it."""
        try:
            self._session.publish(topic, payload, qos=1)
        except BrokerError:
            self.lost_acks += 1

    def release(self, receipts: Sequence[Receipt]) -> None:
        """Releases deliveries of the connection they came on; others the broker sends again."""
        for receipt in receipts:
            assert isinstance(receipt, Message)
            self._session.ack(receipt)

    def _connected(self, facts: Connected) -> None:
        log.info(
            "broker connected url=%s protocol=%s session_present=%s", facts.url, facts.protocol, facts.session_present
        )
