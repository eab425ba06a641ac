"""The door: sizes, times, how often, headers, and logging in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI

from merilo_api.limits import BODY_MAX, Door
from merilo_api.rates import CALLERS_MAX, RATES, Rate, Rates
from unit.api.asking import ELSEWHERE, LOOP, SITE, Client
from unit.api.scene import Scene

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Hands:
    """A clock that stands until it is told."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


def answer_of(app: Any, messages: Iterator[dict[str, Any]], *, headers: list[tuple[bytes, bytes]] | None = None) -> int:
    """Status of one raw request to the login form; when the messages are used up, the client sends no more."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        await asyncio.sleep(3_600)
        raise AssertionError("nobody waits so long")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/login",
        "raw_path": b"/login",
        "query_string": b"",
        "root_path": "",
        "http_version": "1.1",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/x-www-form-urlencoded"), *(headers or [])],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
    }
    LOOP.run(app(scope, receive, send))
    return int(sent[0]["status"])


def chunks(size: int, number: int) -> Iterator[dict[str, Any]]:
    for _ in range(number):
        yield {"type": "http.request", "body": b"x" * size, "more_body": True}


# Size and time --------------------------------------------------------------------------------------------------------


def test_a_body_that_is_announced_too_large_is_refused_unread(single: Client) -> None:
    assert single.refused("/login", method="POST", content=b"x" * (BODY_MAX + 1), headers=FORM)[:2] == (
        413,
        "too_large",
    )


def test_a_body_of_the_limit_is_read(single: Client) -> None:
    answer = single.ask("/login", method="POST", content=b"key=" + b"x" * (BODY_MAX - 4), headers=FORM)

    assert answer.status_code == 401


def test_a_body_that_grows_too_large_is_cut_off(single: Client) -> None:
    assert answer_of(single.app, chunks(65_536, 10_000)) == 413


def test_a_body_that_does_not_end_is_given_up(single: Client) -> None:
    door = Door(partial(FastAPI.__call__, single.app), Rates(), body_s=0.05)

    assert answer_of(door, chunks(1, 3)) == 408


@pytest.mark.parametrize("length", [b"-1", b"abc", b"1e3", b"9" * 400])
def test_a_length_that_is_no_number_is_refused(single: Client, length: bytes) -> None:
    assert answer_of(single.app, iter(()), headers=[(b"content-length", length)]) == 413


# Headers --------------------------------------------------------------------------------------------------------------

PATHS = [
    "/",
    "/docs",
    "/healthz",
    "/v1/companies",
    "/v1/nowhere",
    f"{SITE}/energy?x=1",
    "/static/merilo.css",
    "/a" * 1_500,
]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_carries_the_headers_that_keep_a_browser_safe(single: Client, path: str) -> None:
    headers = single.ask(path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-frame-options"] == "DENY"
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "strict-transport-security" not in headers


def test_https_is_kept_once_it_was_used(single: Client) -> None:
    answer = single.ask("/healthz", base="https://merilo.example")

    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_what_a_key_opens_is_never_kept_by_a_proxy(single: Client) -> None:
    for path in ("/", "/v1/companies", "/v1/health", f"{SITE}/energy", f"{SITE}/now", "/v1/nowhere"):
        assert single.ask(path).headers["cache-control"].startswith("private")


def test_versioned_files_are_kept_for_good_and_the_others_are_asked_for(single: Client) -> None:
    vendored = single.ask("/static/vendor/echarts-6.1.0.min.js", headers={"Accept-Encoding": "gzip"})

    assert vendored.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert vendored.headers["content-encoding"] == "gzip"
    assert single.ask("/static/merilo.js").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/static/../routes.py", "/static/%2e%2e/routes.py", "/static/..%2froutes.py", "/static/"]
)
def test_no_file_outside_of_the_folder_is_served(single: Client, path: str) -> None:
    assert single.ask(path).status_code == 404


def test_a_fault_of_ours_tells_nothing_of_itself(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    app = scene.app()

    class Stores:
        def of(self, company: str) -> Any:
            raise RuntimeError("secret detail of line 7")

    app.state.stores = Stores()
    with caplog.at_level(logging.CRITICAL, "merilo_api.limits"):
        answer = Client(scene, app=app).ask(f"{SITE}/energy")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


# How often ------------------------------------------------------------------------------------------------------------


def test_a_bucket_lets_its_burst_through_and_fills_again() -> None:
    hands = Hands()
    rates = Rates(hands)
    burst, per_s = RATES["login"]

    assert [rates.take("login", "a") for _ in range(int(burst))] == [0] * int(burst)
    wait_s = rates.take("login", "a")
    assert wait_s == round(1 / per_s)
    assert rates.take("login", "b") == 0
    hands.at += wait_s
    assert (rates.take("login", "a"), rates.take("login", "a")) == (0, wait_s)


def test_waiting_long_gives_no_more_than_the_burst() -> None:
    hands = Hands()
    rates = Rates(hands)
    rates.take("login", "a")
    hands.at += 1e6

    passed = [rates.take("login", "a") for _ in range(20)]

    assert passed.count(0) == RATES["login"].burst


def test_buckets_are_bounded_in_number() -> None:
    rates = Rates(Hands())
    for number in range(CALLERS_MAX + 50):
        rates.take("key", str(number))

    assert len(rates._buckets) == CALLERS_MAX


def test_who_asks_too_often_is_told_when_to_come_back(two: Scene) -> None:
    hands = Hands()
    client = Client(two, app=two.app(Rates(hands, {"key": Rate(3, 1)})))
    answers = [client.ask("/v1/companies", key="acme", host=ELSEWHERE) for _ in range(4)]

    assert {answer.status_code for answer in answers[:-1]} == {200}
    assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (429, "1")
    assert answers[-1].json()["code"] == "too_many_requests"
    assert client.ask("/v1/companies", key="beta", host=ELSEWHERE).status_code == 200
    hands.at += 1
    assert client.ask("/v1/companies", key="acme", host=ELSEWHERE).status_code == 200


def test_supervisors_and_files_are_not_counted(scene: Scene) -> None:
    client = Client(scene, app=scene.app(Rates(Hands(), {"address": Rate(1, 1)})))
    for path in ("/healthz", "/readyz", "/static/merilo.css", "/healthz", "/v1/companies"):
        assert client.ask(path).status_code == 200
    assert client.ask("/v1/companies").status_code == 429


def test_wrong_keys_are_slowed_down_and_a_right_one_is_not(two: Scene) -> None:
    client = Client(two, app=two.app(Rates(Hands())))
    wrong = {"Authorization": "Bearer merilo_live_aaaaaaaaaa_" + "a" * 40}
    found = [client.ask("/v1/companies", headers=wrong, host=ELSEWHERE).status_code for _ in range(25)]

    assert found == [401] * 20 + [429] * 5
    assert client.ask("/v1/companies", key="acme", host=ELSEWHERE).status_code == 200


# Logging in -----------------------------------------------------------------------------------------------------------


def login(client: Client, key: str, **more: Any) -> Any:
    headers = {**FORM, **more.pop("headers", {})}
    return client.ask("/login", method="POST", data={"key": key}, headers=headers, host=ELSEWHERE, **more)


def test_a_right_key_opens_the_page_by_a_cookie_that_scripts_cannot_read(pair: Client) -> None:
    answer = login(pair, pair.scene.keys["acme"])
    cookie = answer.headers["set-cookie"]

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    page = pair.ask("/", headers={"Cookie": cookie.split(";")[0]}, host=ELSEWHERE)
    assert (page.status_code, "Acme Ltd" in page.text, "Beta AD" in page.text) == (200, True, False)


def test_over_https_the_cookie_stays_there(pair: Client) -> None:
    assert "Secure" in login(pair, pair.scene.keys["acme"], base="https://merilo.example").headers["set-cookie"]


def test_a_wrong_key_sets_no_cookie_and_says_so(pair: Client) -> None:
    answer = login(pair, "merilo_live_wrong")

    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    assert "unknown, revoked" in answer.text
    assert "merilo_live_wrong" not in answer.text


def test_many_tries_have_to_wait(two: Scene) -> None:
    client = Client(two, app=two.app(Rates(Hands())))
    found = [login(client, "wrong").status_code for _ in range(11)]

    assert found == [401] * 10 + [429]
    assert login(client, two.keys["acme"]).status_code == 429


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_a_form_of_another_site_is_refused(pair: Client, path: str, headers: dict[str, str]) -> None:
    answer = pair.ask(path, method="POST", data={"key": pair.scene.keys["acme"]}, headers={**FORM, **headers})

    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_a_form_of_our_own_page_is_taken(pair: Client) -> None:
    headers = {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}

    assert login(pair, pair.scene.keys["acme"], headers=headers).status_code == 303


@pytest.mark.parametrize("body", [b"", b"key", b"key=a&key=b", b"key=a&more=b", b"\xff\xfe", b"kee=a", b"&" * 50])
def test_a_form_that_is_not_ours_is_refused(pair: Client, body: bytes) -> None:
    assert pair.refused("/login", method="POST", content=body, headers=FORM)[:2] == (422, "form")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
def test_another_content_type_is_refused(pair: Client, kind: str) -> None:
    answer = pair.ask("/login", method="POST", content=b'{"key":1}', headers={"Content-Type": kind})

    assert answer.status_code == 415


def test_leaving_forgets_the_key(pair: Client) -> None:
    answer = pair.ask("/logout", method="POST", host=ELSEWHERE)

    assert answer.status_code == 303
    assert 'merilo_key=""' in answer.headers["set-cookie"]
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_no_log_line_has_a_key(two: Scene, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(two)
    canary = "merilo_live_canarycana_" + "c" * 40
    with caplog.at_level(logging.DEBUG):
        client.ask("/v1/companies", headers={"Authorization": f"Bearer {canary}"}, host=ELSEWHERE)
        login(client, canary)
        client.ask("/v1/companies", key="acme", host=ELSEWHERE)

    assert "key refused" in caplog.text
    assert canary not in caplog.text
    assert two.keys["acme"] not in caplog.text


def test_a_registry_that_is_away_is_told_with_a_time_to_come_back(scene: Scene) -> None:
    client = Client(scene)
    scene.registry.close()
    database = scene.folder / "registry.db"
    database.rename(scene.folder / "away.db")
    for name in ("registry.db-wal", "registry.db-shm"):
        (scene.folder / name).unlink(missing_ok=True)
    database.mkdir()

    page, answer, ready = (client.ask(path) for path in ("/", "/v1/companies", "/readyz"))

    assert (page.status_code, answer.status_code, ready.status_code) == (503, 503, 503)
    assert "The registry does not answer" in page.text
    assert (answer.json()["code"], answer.headers["retry-after"]) == ("registry_away", "10")


def test_the_door_lets_other_connections_through() -> None:
    seen: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    LOOP.run(Door(inner, Rates())({"type": "lifespan"}, None, None))  # type: ignore[arg-type]  # nothing is sent

    assert seen == ["lifespan"]
