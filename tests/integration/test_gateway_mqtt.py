"""The broker session on a real mosquitto: versions, addresses, refusals, stale acknowledgements, exceptions."""

from __future__ import annotations

import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from merilo.errors import BrokerError
from merilo_adapters.mqtt import LOST, UNHEARD, Broker, Connected, Message, Session, Will
from real import free_port, mosquitto
from unit.gateway.rig import wait_for

pytestmark = pytest.mark.real


class Peer:
    """A session and what happened on it."""

    def __init__(self, *urls: str, client_id: str = "peer", subscribe: str = "", **options: object) -> None:
        self.messages: list[Message] = []
        self.connects: list[Connected] = []
        self.losses: list[str] = []
        self.session = Session(
            Broker(urls=urls),
            client_id=client_id,
            on_message=self.messages.append,
            subscriptions=[(subscribe, 1)] if subscribe else [],
            on_connected=self.connects.append,
            on_lost=self.losses.append,
            chance=random.Random(1),
            **options,  # type: ignore[arg-type]  # options of the session, as they are
        )

    def __enter__(self) -> Peer:
        self.session.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.session.stop()

    def up(self) -> bool:
        return wait_for(lambda: self.session.connected, 15)


def url(port: int) -> str:
    return f"mqtt://127.0.0.1:{port}"


def test_mqtt_5_is_spoken_where_the_broker_has_it() -> None:
    with mosquitto() as broker, Peer(url(broker.port)) as peer:
        assert peer.up()

    assert peer.connects[0].protocol == 5


@contextmanager
def only_311(port: int, answer: bytes) -> Iterator[int]:
    """A broker of the past: refuses MQTT 5 with the answer given, passes 3.1.1 on."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(4096):
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                end.close()

    def serve() -> None:
        while not stop.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            first = client.recv(4096)
            if first and first[8] == 5:  # protocol level, MQTT 5 section 3.1.2.2
                if answer:
                    client.sendall(answer)
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", port))
            server.sendall(first)
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        listener.close()


@pytest.mark.parametrize("answer", [b"\x20\x02\x00\x01", b""], ids=["refused by code", "hung up"])
def test_mqtt_311_is_spoken_where_the_broker_has_no_5(answer: bytes) -> None:
    with mosquitto() as broker, only_311(broker.port, answer) as port, Peer(url(port), subscribe="a/b") as peer:
        assert peer.up()
        code = peer.session.publish("a/b", b"x").result(5)
        assert wait_for(lambda: len(peer.messages) == 1)

    assert peer.connects[0].protocol == 4
    assert code == 0


def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    with mosquitto() as broker, Peer(url(free_port()), url(broker.port)) as peer:
        assert peer.up()

    assert peer.connects[0].url == url(broker.port)


def test_a_publish_gives_the_brokers_reason_code(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite mine/#\n")
    acl.chmod(0o644)
    with (
        mosquitto("allow_anonymous true", f"acl_file {acl}") as broker,
        Peer(url(broker.port), subscribe="mine/a") as peer,
    ):
        assert peer.up()
        codes = [peer.session.publish(topic, b"x").result(5) for topic in ("mine/a", "mine/b", "theirs/a")]

    assert codes == [0, UNHEARD, 0x87]


def test_a_publish_without_an_answer_is_lost_when_the_connection_ends() -> None:
    with mosquitto() as broker, Peer(url(broker.port)) as peer:
        assert peer.up()
        broker.pause()
        future = peer.session.publish("a/b", b"x")
        peer.session.drop("test")
        assert future.result(5) == LOST
        assert wait_for(lambda: bool(peer.losses))
        with pytest.raises(BrokerError):
            peer.session.publish("a/b", b"x")
        broker.resume()
        assert peer.up()
        assert peer.session.generation > 1


def test_an_exception_in_a_callback_does_not_stop_the_session() -> None:
    seen: list[bytes] = []

    def raises(message: Message) -> None:
        seen.append(message.payload)
        raise RuntimeError("poison")

    with mosquitto() as broker:
        session = Session(
            Broker(urls=(url(broker.port),)), client_id="t", on_message=raises, subscriptions=[("a/#", 1)]
        )
        session.start()
        assert wait_for(lambda: session.connected)
        for n in range(5):
            session.publish("a/b", str(n).encode()).result(5)
        assert wait_for(lambda: len(seen) == 5)
        assert session.alive
        assert session.failures == 5
        session.stop()
        assert not session.alive


def test_unacknowledged_messages_come_again_and_a_stale_acknowledgement_touches_none_of_them() -> None:
    with (
        mosquitto() as broker,
        Peer(
            url(broker.port), client_id="c", subscribe="a/b", clean=False, manual_ack=True, session_expiry_s=60
        ) as peer,
        Peer(url(broker.port), client_id="p") as sender,
    ):
        assert peer.up()
        assert sender.up()
        for n in range(3):
            sender.session.publish("a/b", str(n).encode()).result(5)
        assert wait_for(lambda: len(peer.messages) == 3)
        old = list(peer.messages)
        broker.kill()  # and with it its memory of the session
        assert wait_for(lambda: not peer.session.connected)
        broker.start()
        assert peer.up()
        assert wait_for(lambda: sender.session.connected)
        for n in range(3, 6):
            sender.session.publish("a/b", str(n).encode()).result(5)
        assert wait_for(lambda: len(peer.messages) == 6)

        assert [peer.session.ack(m) for m in old] == [False, False, False]
        peer.session.drop("test")
        assert wait_for(lambda: len(peer.messages) == 9)
        assert all(peer.session.ack(m) for m in peer.messages[6:])

    assert [m.payload for m in peer.messages[6:]] == [b"3", b"4", b"5"]


def test_the_will_is_published_when_a_session_dies_and_not_when_it_says_goodbye() -> None:
    def will() -> Will:
        return Will("a/state", b"lost")

    with mosquitto() as broker, Peer(url(broker.port), client_id="watch", subscribe="a/#") as watcher:
        assert watcher.up()
        with Peer(url(broker.port), client_id="one", will=will) as polite:
            assert polite.up()
        with Peer(url(broker.port), client_id="two", will=will) as dying:
            assert dying.up()
            dying.session.drop("test")
            assert wait_for(lambda: len(watcher.messages) >= 1)
        time.sleep(0.2)

    assert [m.payload for m in watcher.messages] == [b"lost"]


def test_a_flapping_broker_is_asked_at_most_about_once_a_second() -> None:
    with mosquitto() as broker, Peer(url(broker.port)) as peer:
        assert peer.up()
        began = time.monotonic()
        for _ in range(6):
            broker.kill()
            time.sleep(0.2)
            broker.start()
            time.sleep(0.4)
        seconds = time.monotonic() - began

    assert peer.session.connects <= seconds + 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a failed TLS socket to gc
def test_a_certificate_from_the_future_is_said_to_be_the_clock(tmp_path: Path) -> None:
    openssl = subprocess.run(["openssl", "version"], capture_output=True, check=False)
    if openssl.returncode:
        pytest.skip("openssl is not on this machine")
    for name, subject in (("ca", "/CN=test ca"), ("server", "/CN=127.0.0.1")):
        subprocess.run(
            ["openssl", "req", "-x509" if name == "ca" else "-new", "-newkey", "rsa:2048", "-nodes", "-subj", subject]
            + ["-keyout", f"{name}.key", "-out", f"{name}.{'pem' if name == 'ca' else 'csr'}"]
            + (["-days", "9"] if name == "ca" else []),
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
    (tmp_path / "index").write_text("")
    (tmp_path / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n"
        "x509_extensions=x\n[p]\ncommonName=supplied\n[x]\nsubjectAltName=IP:127.0.0.1\n"
    )
    subprocess.run(
        [
            "openssl",
            "ca",
            "-batch",
            "-config",
            "ca.cnf",
            "-cert",
            "ca.pem",
            "-keyfile",
            "ca.key",
            "-in",
            "server.csr",
            "-out",
            "server.pem",
            "-startdate",
            "20400101000000Z",
            "-enddate",
            "20410101000000Z",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    for file in tmp_path.iterdir():
        file.chmod(0o644)
    tmp_path.chmod(0o755)
    tls = free_port()
    lines = [
        "allow_anonymous true",
        f"listener {tls} 127.0.0.1",
        f"certfile {tmp_path}/server.pem",
        f"keyfile {tmp_path}/server.key",
    ]
    with mosquitto(*lines):
        broker = Broker(urls=(f"mqtts://127.0.0.1:{tls}",), ca_file=tmp_path / "ca.pem")
        session = Session(broker, client_id="t", on_message=lambda _m: None)
        session.start()
        assert wait_for(lambda: "clock" in session.last_reason, 15), session.last_reason
        session.stop()
