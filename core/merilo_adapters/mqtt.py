"""One session with an MQTT broker, around paho-mqtt: used by the gateway and by the collector.

What paho leaves open is closed here. An exception in a callback cannot end the network thread. Nothing is handed to
paho while there is no connection, so its queue in memory never carries a promise. Every connection is a client of its
own with a number (``generation``): an acknowledgement that belongs to a lost connection is dropped, because a broker
that forgot its session gives the same message numbers to other messages. A publish gives the broker's reason code.
"""

from __future__ import annotations

import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from merilo.errors import BrokerError, ConfigError

log = logging.getLogger(__name__)

REFUSED = 0x80
"""Reason codes from here on mean that the broker did not take it (MQTT 5, section 2.4)."""
UNHEARD = 0x10
"""The broker took it and has no subscriber for it (MQTT 5 only)."""
LOST = 0xFF
"""Given for a publish whose connection ended before the broker answered; no reason code of MQTT has this number."""
_UNSUPPORTED = 0x84
"""CONNACK: the broker does not speak this protocol version."""
PORTS = {"mqtt": 1883, "mqtts": 8883}
CONNECT_MAX_S = 10.0
"""For TCP, TLS and the broker's answer together: a broker that needs longer is as good as away."""
PAUSE_MIN_S = 0.5
PAUSE_MAX_S = 30.0
"""Back-off between two tries of the whole address list doubles from the first to the second, with jitter."""
STABLE_S = 10.0
"""A connection that lasted this long sets the back-off to its beginning."""


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int
    tls: bool


def address(url: str) -> Address:
    """Takes a broker URL apart.

    Raises:
        ConfigError: Not ``mqtt://host[:port]`` or ``mqtts://host[:port]``, or a login inside it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError("broker.url", f"expected mqtt://host:port, found {url!r}: {error}") from error
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ConfigError("broker.url", f"expected mqtt://host[:port] or mqtts://host[:port], found {url[:200]!r}")
    if parts.username or parts.password:
        raise ConfigError("broker.url", "expected no login inside the URL", "Write it as login and password")
    return Address(parts.hostname, port or PORTS[parts.scheme], parts.scheme == "mqtts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """How to reach and enter a broker.

    Raises:
        ConfigError: No URL, or one that is none.
    """

    urls: tuple[str, ...]
    """Tried in this order, over and over."""
    login: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    """Authority that signed the broker's certificate; None takes the system's."""
    certificate_file: Path | None = None
    key_file: Path | None = None
    keepalive_s: int = 30

    def __post_init__(self) -> None:
        if not self.urls:
            raise ConfigError("broker.url", "expected at least one address, found none")
        for url in self.urls:
            address(url)


class Message(NamedTuple):
    """What arrived."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    generation: int
    """Connection it came on: :meth:`Session.ack` needs it."""


class Will(NamedTuple):
    """What the broker publishes, retained, when the connection ends without a goodbye."""

    topic: str
    payload: bytes


class Connected(NamedTuple):
    """Facts of a new connection."""

    url: str
    protocol: int
    """5 or 4 (3.1.1)."""
    session_present: bool
    generation: int
    maximum_bytes: int | None = None
    """Longest packet that the broker takes, None if it did not say (MQTT 5 only)."""


@dataclass(slots=True)
class _Line:
    """One connection: a paho client and what waits for answers on it."""

    client: Client
    generation: int
    url: str
    protocol: MQTTProtocolVersion
    answered: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    up: bool = False
    refused: int = 0
    pending: dict[int, Future[int]] = field(default_factory=dict)
    early: dict[int, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Session:
    """Keeps a connection: connects, connects anew, subscribes again, and hands messages over.

    Callbacks run on a network thread: they must not wait for a publish result or block for long.

    Args:
        broker: Addresses and login.
        client_id: Unique at the broker; two sessions of one id throw each other out.
        on_message: Takes one message; its exceptions are logged and counted.
        subscriptions: Topic filter and QoS, sent at every connect.
        on_connected, on_lost: Told after the subscriptions were sent, and when the connection is gone.
        will: Made anew for every connection.
        clean: Whether the broker shall forget the session between connections.
        session_expiry_s: MQTT 5, how long the broker keeps a session that is not clean [s].
        manual_ack: Messages of QoS 1 stay with the broker until :meth:`ack`.
        receive_maximum: MQTT 5, messages that may be unacknowledged at a time.
        chance: Gives the jitter.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        client_id: str,
        on_message: Callable[[Message], None],
        subscriptions: Sequence[tuple[str, int]] = (),
        on_connected: Callable[[Connected], None] | None = None,
        on_lost: Callable[[str], None] | None = None,
        will: Callable[[], Will] | None = None,
        clean: bool = True,
        session_expiry_s: int = 0,
        manual_ack: bool = False,
        receive_maximum: int | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._on_message = on_message
        self._subscriptions = list(subscriptions)
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._will = will
        self._clean = clean
        self._session_expiry_s = session_expiry_s
        self._manual_ack = manual_ack
        self._receive_maximum = receive_maximum
        self._chance = chance or random.Random()  # noqa: S311  # jitter is no secret
        self._only_311: set[str] = set()
        self._line: _Line | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._generation = 0
        self.connects = 0
        """Connections made so far."""
        self.failures = 0
        """Callbacks that raised, and messages that were refused by subscription."""
        self.last_traffic = 0.0
        """When something last arrived from the broker [s, monotonic]."""
        self.last_reason = "not yet connected"
        """Why there is no connection; one line for people."""

    # Life

    def start(self) -> None:
        """Begins to connect; returns at once."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._keep, name=f"mqtt-{self._client_id}", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Says goodbye (the will is not published) and ends."""
        self._stopping.set()
        line = self._line
        if line is not None:
            line.client.disconnect()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the session and the connection has not ended since."""
        line = self._line
        return line is not None and line.up and not line.ended.is_set()

    @property
    def generation(self) -> int:
        """Number of the connection that is up; 0 if none is."""
        line = self._line
        return line.generation if line is not None and line.up and not line.ended.is_set() else 0

    @property
    def alive(self) -> bool:
        """Whether the threads that do the work are running; says nothing about the broker."""
        if self._thread is None or not self._thread.is_alive():
            return False
        line = self._line
        network = getattr(line.client, "_thread", None) if line is not None and line.up else None
        return network is None or network.is_alive()

    def drop(self, reason: str) -> None:
        """Ends the connection without a goodbye, so that a new one is made: for a line that looks open but is dead."""
        line = self._line
        if line is None:
            return
        log.warning("mqtt connection dropped client=%s reason=%s", self._client_id, reason)
        self._shut(line)

    # Traffic

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> Future[int]:
        """Sends one message and gives the broker's reason code once it is there.

        The future yields 0 (or 0x10, nobody subscribed) when the broker took it, from :data:`REFUSED` on when it did
        not, and :data:`LOST` when the connection ended first. With MQTT 3.1.1 a refused publish reads as taken.

        Raises:
            BrokerError: There is no connection; nothing was sent and nothing is queued.
        """
        line = self._line
        if line is None or not line.up or line.ended.is_set():
            raise BrokerError(f"no connection to {self._broker.urls[0]}: {self.last_reason}")
        found: Future[int] = Future()
        info = line.client.publish(topic, payload, qos=qos, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._shut(line)
            raise BrokerError(f"publish on {topic} was not sent: {info.rc.name}")
        with line.lock:
            if info.mid in line.early:
                found.set_result(line.early.pop(info.mid))
            elif line.ended.is_set():
                found.set_result(LOST)
            else:
                line.pending[info.mid] = found
        return found

    def ack(self, message: Message) -> bool:
        """Tells the broker that a message is done with.

        Returns:
            False if the connection it came on is gone: the broker sends the message again.
        """
        line = self._line
        if line is None or line.generation != message.generation or line.ended.is_set():
            return False
        if message.qos:
            line.client.ack(message.mid, message.qos)
        return True

    # Connecting, on the session's own thread

    def _keep(self) -> None:
        pause = PAUSE_MIN_S
        position = 0
        while not self._stopping.is_set():
            url = self._broker.urls[position % len(self._broker.urls)]
            lasted = self._one_connection(url)
            if self._stopping.is_set():
                return
            if lasted >= STABLE_S:
                pause = PAUSE_MIN_S
            else:
                position += 1
                if position % len(self._broker.urls) == 0:
                    pause = min(pause * 2, PAUSE_MAX_S)
            self._stopping.wait(pause * self._chance.uniform(0.5, 1.0))

    def _one_connection(self, url: str) -> float:
        """Connects, stays until the connection ends, and gives how long it was up [s]."""
        for protocol in (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311):
            if protocol == MQTTProtocolVersion.MQTTv5 and url in self._only_311:
                continue
            line = self._connect(url, protocol)
            if line is None or self._stopping.is_set():
                return 0.0
            if line.up:
                return self._stay(line)
            if line.refused not in (0, 1, _UNSUPPORTED):
                return 0.0
            if line.refused:
                self._only_311.add(url)
        return 0.0

    def _stay(self, line: _Line) -> float:
        began = time.monotonic()
        line.ended.wait()
        self._line = None
        self._settle(line)
        self._guarded(self._on_lost, self.last_reason)
        line.client.loop_stop()
        return time.monotonic() - began

    def _connect(self, url: str, protocol: MQTTProtocolVersion) -> _Line | None:
        """One try: a line that is up or was refused, None if nobody answered."""
        self._generation += 1
        where = address(url)
        try:
            client = self._client(protocol, where)
            line = _Line(client=client, generation=self._generation, url=url, protocol=protocol)
            self._wire(line)
            properties = None
            if protocol == MQTTProtocolVersion.MQTTv5:
                properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
                if not self._clean:
                    properties.SessionExpiryInterval = self._session_expiry_s
                if self._receive_maximum is not None:
                    properties.ReceiveMaximum = self._receive_maximum
                client.connect(
                    where.host, where.port, self._broker.keepalive_s, clean_start=self._clean, properties=properties
                )
            else:
                client.connect(where.host, where.port, self._broker.keepalive_s)
        except (OSError, ValueError) as error:
            self._failed(url, _clock_hint(error))
            return None
        self._line = line
        client.loop_start()
        if not line.answered.wait(CONNECT_MAX_S):
            self._failed(url, f"no answer within {CONNECT_MAX_S:g} s")
            self._shut(line)
        if not line.up:
            self._line = None
            self._shut(line)
            client.loop_stop()
            if line.refused:
                self._failed(url, f"refused with reason code {line.refused:#04x}: {self.last_reason}")
        return line

    def _failed(self, url: str, reason: str) -> None:
        if reason != self.last_reason:
            log.warning("mqtt not connected client=%s url=%s reason=%s", self._client_id, url, reason)
        self.last_reason = reason

    def _client(self, protocol: MQTTProtocolVersion, where: Address) -> Client:
        if protocol == MQTTProtocolVersion.MQTTv5:
            client = Client(
                CallbackAPIVersion.VERSION2,
                client_id=self._client_id,
                protocol=protocol,
                reconnect_on_failure=False,
                manual_ack=self._manual_ack,
            )
        else:
            client = Client(
                CallbackAPIVersion.VERSION2,
                client_id=self._client_id,
                clean_session=self._clean,
                protocol=protocol,
                reconnect_on_failure=False,
                manual_ack=self._manual_ack,
            )
        client.connect_timeout = CONNECT_MAX_S / 2
        if self._broker.login:
            client.username_pw_set(self._broker.login, self._broker.password or None)
        if where.tls:
            context = ssl.create_default_context(cafile=str(self._broker.ca_file) if self._broker.ca_file else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self._broker.certificate_file is not None:
                context.load_cert_chain(self._broker.certificate_file, self._broker.key_file)
            client.tls_set_context(context)
        if self._will is not None:
            will = self._will()
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        return client

    # Callbacks, on paho's network thread

    def _wire(self, line: _Line) -> None:
        def connected(_c: Client, _u: Any, flags: ConnectFlags, reason: ReasonCode, p: Properties | None) -> None:
            self._guarded(self._answered, line, flags.session_present, reason, getattr(p, "MaximumPacketSize", None))

        def lost(_c: Client, _u: Any, _f: DisconnectFlags, reason: ReasonCode, _p: Properties | None) -> None:
            if line.up:
                self.last_reason = str(reason)
            line.ended.set()
            line.answered.set()

        def published(_c: Client, _u: Any, mid: int, reason: ReasonCode, _p: Properties) -> None:
            self.last_traffic = time.monotonic()
            with line.lock:
                waiting = line.pending.pop(mid, None)
                if waiting is None:
                    line.early[mid] = reason.value
            if waiting is not None:
                waiting.set_result(reason.value)

        def arrived(_c: Client, _u: Any, m: MQTTMessage) -> None:
            self.last_traffic = time.monotonic()
            try:
                message = Message(m.topic, bytes(m.payload), m.qos, m.retain, m.mid, line.generation)
            except UnicodeDecodeError:
                self.failures += 1
                log.warning("mqtt message dropped reason=topic is not UTF-8 client=%s", self._client_id)
                return
            self._guarded(self._on_message, message)

        def subscribed(_c: Client, _u: Any, _mid: int, reasons: list[ReasonCode], _p: Properties | None) -> None:
            self.last_traffic = time.monotonic()
            for (name, _qos), reason in zip(self._subscriptions, reasons, strict=False):
                if reason.is_failure:
                    self.failures += 1
                    log.warning("mqtt subscription refused filter=%s reason=%s", name, reason)

        client = line.client
        client.on_connect = connected
        client.on_disconnect = lost
        client.on_publish = published
        client.on_message = arrived
        client.on_subscribe = subscribed

    def _answered(self, line: _Line, session_present: bool, reason: ReasonCode, maximum: int | None) -> None:
        if reason.is_failure:
            line.refused = reason.value
            self.last_reason = str(reason)
            line.answered.set()
            return
        if self._subscriptions:
            line.client.subscribe(self._subscriptions)
        self.connects += 1
        self.last_traffic = time.monotonic()
        self.last_reason = ""
        line.up = True
        line.answered.set()
        log.info("mqtt connected client=%s url=%s protocol=%s", self._client_id, line.url, int(line.protocol))
        if self._on_connected is not None:
            self._on_connected(Connected(line.url, int(line.protocol), session_present, line.generation, maximum))

    def _guarded(self, callback: Callable[..., None] | None, *arguments: object) -> None:
        """Runs a callback; whatever it raises stays here, or the network thread would be gone in silence."""
        if callback is None:
            return
        try:
            callback(*arguments)
        except Exception:
            self.failures += 1
            log.exception("mqtt callback failed client=%s callback=%s", self._client_id, callback)

    def _settle(self, line: _Line) -> None:
        with line.lock:
            waiting = list(line.pending.values())
            line.pending.clear()
        for future in waiting:
            future.set_result(LOST)

    def _shut(self, line: _Line) -> None:
        """Closes the socket under the client: the only way that does not wait for a dead peer."""
        held = line.client.socket()
        if held is not None:
            try:
                socket.socket.shutdown(held, socket.SHUT_RDWR)  # type: ignore[arg-type]  # paho names only what it uses
            except OSError:
                log.debug("socket was already closed client=%s", self._client_id)
        line.client.disconnect()


def _clock_hint(error: Exception) -> str:
    """The reason in one line; a certificate from the future most often means a clock that is not set."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ssl.SSLCertVerificationError) and "not yet valid" in text:
        return f"{text}. The clock of this machine is probably not set"
    return text
