"""Health: what is found, and the next step for it."""

from __future__ import annotations

from typing import Any

import pytest

from merilo.errors import ConfigError, StoreRefusedError, StoreUnavailableError
from merilo.ids import DeviceKey, RegisterKey
from merilo.instants import HOUR_MS, MINUTE_MS
from merilo.ports import Point
from merilo_adapters.registry.work import DeadLetter, WorkBatch
from merilo_adapters.stores import Store
from merilo_api.page.notices import CODES, told
from merilo_api.page.shell import Shell
from merilo_api.page.words import Words
from unit.api.asking import Client
from unit.api.scene import ACME, BETA, FIRST, NOW, Scene, write_life


def company(scene: Scene, **more: Any) -> dict[str, Any]:
    """Acme's health."""
    found: dict[str, Any] = Client(scene).get("/v1/health", **more)["companies"][0]
    return found


def codes(scene: Scene) -> list[str]:
    return [one["code"] for one in company(scene)["notices"]]


def test_a_sound_company_needs_nothing(single: Client) -> None:
    body = single.get("/v1/health")
    acme = body["companies"][0]

    assert (body["ok"], acme["notices"]) == (True, [])
    assert acme["store"]["ok"] is True
    assert acme["store"]["kind"].startswith("sqlite ")
    assert acme["sites"] == [{"id": "hq", "booked_until": "2026-11-25T09:00:00.000Z"}]
    assert acme["gateways"][0]["outbox_rows"] == 3.0
    assert acme["gateways"][0]["version"] == "0.1.0"
    assert [one["id"] for one in acme["devices"]] == ["main", "office", "servers"]


def test_a_site_without_a_gateway_says_how_to_add_one(empty: Scene) -> None:
    empty.add_company(ACME, "Acme Ltd")
    found = company(empty)["notices"]

    assert [one["code"] for one in found] == ["no_gateway"]
    assert (found[0]["level"], found[0]["command"]) == ("step", "merilo gateway add acme/hq/gw1")


def test_a_gateway_that_was_never_heard_is_told_from_a_silent_one(empty: Scene) -> None:
    empty.add_company(ACME, "Acme Ltd")
    empty.registry.add_gateway(ACME, FIRST)
    write_life(empty.store, ACME, [], up=0.0)
    assert codes(empty) == ["gateway_never_seen"]

    empty.registry.see_devices([DeviceKey(*ACME, "main")], FIRST)
    assert codes(empty) == ["devices_unconfirmed", "gateway_silent"]


def test_behind_a_silent_gateway_no_device_is_blamed(scene: Scene) -> None:
    write_life(scene.store, ACME, ["main", "office", "servers"], up=0.0)

    assert codes(scene) == ["gateway_silent"]


def test_a_device_that_does_not_answer_is_named(scene: Scene) -> None:
    start = NOW // MINUTE_MS * MINUTE_MS
    scene.store.write("acme", "device_health", [Point((*ACME, "office"), start, {"up": 0.0})])
    found = company(scene)["notices"]

    assert [(one["code"], one["parameters"]["device"]) for one in found] == [("device_silent", "office")]
    assert found[0]["command"] == "merilo gateway read office -c gateway.yaml"


def test_new_devices_are_one_notice_however_many(scene: Scene) -> None:
    scene.registry.see_devices([DeviceKey(*ACME, f"outlet-{i}") for i in range(6)], NOW)
    found = company(scene)["notices"]

    assert [one["code"] for one in found] == ["devices_unconfirmed"]
    assert found[0]["text"] == "6 devices are new: outlet-0, outlet-1, outlet-2, outlet-3 …."
    assert found[0]["command"] == "merilo meter confirm acme/hq"


def test_life_signs_that_stopped_mean_that_nothing_takes_readings(scene: Scene) -> None:
    scene.now_ms += 4 * MINUTE_MS

    assert codes(scene) == ["collector_silent"]


def test_a_gateway_of_this_minute_is_given_time(empty: Scene) -> None:
    empty.add_company(ACME, "Acme Ltd")
    empty.registry.add_gateway(ACME, NOW - MINUTE_MS)

    assert codes(empty) == []


def test_books_that_stand_still_are_named_with_their_delay(scene: Scene) -> None:
    scene.now_ms += HOUR_MS
    write = scene.store.write
    for minute in range(3):
        start = (scene.now_ms - minute * MINUTE_MS) // MINUTE_MS * MINUTE_MS
        write("acme", "gateway_health", [Point(tuple(ACME), start, {"up": 1.0})])
    found = company(scene)

    assert [one["code"] for one in found["notices"]] == ["books_behind"]
    assert "1.1 hrs" in found["notices"][0]["text"]
    assert found["sites"][0]["booked_until"] == "2026-11-25T09:00:00.000Z"


def test_books_that_stood_still_for_weeks_are_found_too(scene: Scene) -> None:
    scene.now_ms += 30 * 24 * HOUR_MS

    assert company(scene)["sites"][0]["booked_until"] == "2026-11-25T09:00:00.000Z"


def test_a_store_that_forgot_is_told(scene: Scene) -> None:
    scene.registry.work().set_counter("store/acme", "forgotten_days", 3)
    found = company(scene)

    assert [one["code"] for one in found["notices"]] == ["store_forgot"]
    assert found["store"]["forgotten_days"] == 3
    assert "3 days" in found["notices"][0]["text"]


class BrokenStores:
    """Stores that cannot be opened."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def of(self, company: str) -> Store:
        raise self._error


BROKEN = [
    (StoreUnavailableError("http://10.1.2.3:8086: no answer"), "unavailable"),
    (StoreRefusedError("token of /etc/secret"), "refused"),
    (ConfigError("store", "'/srv/x' is not an address"), "configuration"),
]


@pytest.mark.parametrize(("error", "reason"), BROKEN)
def test_a_store_that_is_away_is_told_without_its_address(scene: Scene, error: Exception, reason: str) -> None:
    app = scene.app()
    app.state.stores = BrokenStores(error)
    answer = Client(scene, app=app).ask("/v1/health")
    acme = answer.json()["companies"][0]

    assert answer.status_code == 200
    assert acme["store"] == {"ok": False, "reason": reason, "forgotten_days": 0}
    assert [one["code"] for one in acme["notices"]] == ["store_away"]
    assert not any(text in answer.text for text in ("10.1.2.3", "secret", "/srv"))


@pytest.mark.parametrize(("error", "reason"), BROKEN)
def test_numbers_of_a_store_that_is_away_are_refused_for_now(scene: Scene, error: Exception, reason: str) -> None:
    app = scene.app()
    app.state.stores = BrokenStores(error)
    answer = Client(scene, app=app).ask("/v1/companies/acme/sites/hq/energy")

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert not any(text in answer.text for text in ("10.1.2.3", "secret", "/srv"))


def refuse(scene: Scene, key: tuple[str, str, str], reason: str, day: str, number: int) -> None:
    """What ingest leaves behind when it refuses messages."""
    batch = WorkBatch()
    batch.count("/".join(key), f"rejected:{reason}:{day}", number)
    gateway = ACME if key[0] == "acme" else BETA
    batch.dead.append(DeadLetter(NOW, "t", reason, "detail", b"\x00" * 10, gateway))
    scene.registry.work().commit(batch)


def test_refusals_are_counted_by_reason_and_old_ones_ask_for_nothing(two: Scene) -> None:
    refuse(two, ACME, "future", "2026-11-24", 2)
    refuse(two, ACME, "schema", "2026-01-01", 5)
    refuse(two, BETA, "version", "2026-11-24", 7)
    body = Client(two).get("/v1/health", "acme")
    acme = body["companies"][0]

    assert body["rejected"] == {"future": 2, "schema": 5}
    assert (acme["rejected"], acme["dead_letters"]) == ({"future": 2}, {"future": 1, "schema": 1})
    assert [one["code"] for one in acme["notices"]] == ["messages_refused"]
    assert "2 messages were refused" in acme["notices"][0]["text"]


def test_work_of_another_company_is_not_counted(two: Scene) -> None:
    work = two.registry.work()
    before = Client(two).get("/v1/health", "acme")["books"]["waiting"]
    work.touch(RegisterKey(*BETA, "main", "active_energy_import_wh"), FIRST, NOW)

    assert Client(two).get("/v1/health", "acme")["books"]["waiting"] == before
    assert Client(two).get("/v1/health", "beta")["books"]["waiting"] > 0


def test_notices_speak_the_language_asked_for(empty: Scene) -> None:
    empty.add_company(ACME, "Acme Ltd")

    assert company(empty, headers={"Accept-Language": "bg-BG,bg;q=0.9"})["notices"][0]["text"] == "Още няма шлюз."


@pytest.mark.parametrize(
    ("code", "command"),
    [
        ("store_away", "merilo doctor"),
        ("store_forgot", "merilo store check"),
        ("messages_refused", "merilo collector dead list"),
    ],
)
def test_what_is_wrong_here_names_the_command_that_looks_at_it(code: str, command: str) -> None:
    for language in ("en", "bg"):
        found = told(code, {"days": 2, "number": 3, "reasons": ["schema"]}, Words(language), Shell("/srv/m"))
        assert found["command"] == command.replace("merilo", "merilo --data /srv/m", 1)


def test_every_notice_ends_with_a_step() -> None:
    given = {
        "site": "acme/hq",
        "gateway": "gw1",
        "device": "main",
        "devices": ["a"],
        "days": 1,
        "behind_s": 3_600,
        "number": 1,
        "reasons": ["schema"],
        "meter": "acme/hq/main",
    }
    for code in CODES:
        for language in ("en", "bg"):
            found = told(code, given, Words(language), Shell())
            assert found["level"] in ("fault", "warning", "step")
            assert found["text"].endswith(".")
            assert found["step"].endswith((".", ":"))
            assert found["step"].endswith(":") == bool(found["command"])
