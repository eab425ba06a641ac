"""Every route, asked by everybody: what belongs to another company looks like what is not there."""

from __future__ import annotations

import pytest
from fastapi.routing import iter_route_contexts

from unit.api.asking import ELSEWHERE, SITE, Client
from unit.api.scene import Scene

CALLERS = ("anonymous", "acme", "beta", "revoked", "reports", "installation", "forged")
OPEN = dict.fromkeys(CALLERS, 200)
"""No data, no login."""
ACMES = {
    "anonymous": 401,
    "acme": 200,
    "beta": 404,
    "revoked": 401,
    "reports": 403,
    "installation": 200,
    "forged": 401,
}
"""Acme's data."""
OWN = {**ACMES, "beta": 200}
"""What each key may see of its own."""
FORMS = dict.fromkeys(CALLERS, 415)
LEAVING = dict.fromkeys(CALLERS, 303)

ROUTES: dict[str, tuple[str, str, dict[str, int]]] = {
    "list_companies": ("GET", "/v1/companies", OWN),
    "list_sites": ("GET", "/v1/companies/acme/sites", ACMES),
    "list_devices": ("GET", f"{SITE}/devices", ACMES),
    "list_meters": ("GET", f"{SITE}/meters", ACMES),
    "get_energy": ("GET", f"{SITE}/energy", ACMES),
    "get_series": ("GET", f"{SITE}/series", ACMES),
    "get_quality": ("GET", f"{SITE}/quality", ACMES),
    "list_events": ("GET", f"{SITE}/events", ACMES),
    "get_now": ("GET", f"{SITE}/now", ACMES),
    "get_health": ("GET", "/v1/health", OWN),
    "alive": ("GET", "/healthz", OPEN),
    "ready": ("GET", "/readyz", OPEN),
    "description": ("GET", "/v1/openapi.json", OPEN),
    "docs": ("GET", "/docs", OPEN),
    "home": ("GET", "/", OWN),
    "login": ("POST", "/login", FORMS),
    "logout": ("POST", "/logout", LEAVING),
}
SCOPED = [path for _, path, wanted in ROUTES.values() if wanted is ACMES]


def test_every_route_stands_in_the_matrix(pair: Client) -> None:
    contexts = [one for one in iter_route_contexts(pair.app.routes) if one.name != "static"]

    assert sorted(str(getattr(one, "operation_id", None) or one.name) for one in contexts) == sorted(ROUTES)


@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.parametrize("who", CALLERS)
def test_each_caller_gets_what_is_due(pair: Client, name: str, who: str) -> None:
    method, path, wanted = ROUTES[name]
    key = who if who in pair.scene.keys else None
    forged = {"Authorization": "Bearer merilo_live_aaaaaaaaaa_" + "a" * 40} if who == "forged" else {}

    answer = pair.ask(path, method=method, key=key, host=ELSEWHERE, headers=forged)

    assert answer.status_code == wanted[who], answer.text
    if wanted[who] != 200:
        assert "servers" not in answer.text  # a meter of Acme's


@pytest.mark.parametrize("path", SCOPED)
def test_what_is_not_yours_looks_like_what_is_not_there(pair: Client, path: str) -> None:
    foreign = pair.ask(path, key="beta", host=ELSEWHERE)
    absent = pair.ask(path.replace("/acme", "/nobody"), key="beta", host=ELSEWHERE)
    nobody = pair.ask(path.replace("/acme", "/nobody"), key="installation", host=ELSEWHERE)

    assert foreign.status_code == absent.status_code == nobody.status_code == 404
    assert foreign.content == absent.content == nobody.content
    assert foreign.headers == absent.headers


@pytest.mark.parametrize("path", [path for path in SCOPED if path.startswith(SITE)])
def test_a_site_of_another_company_looks_like_no_site(pair: Client, path: str) -> None:
    own = pair.ask(path.replace("/hq/", "/elsewhere/"), key="acme", host=ELSEWHERE)

    assert (own.status_code, own.json()["code"]) == (404, "not_found")
    assert own.content == pair.ask(path, key="beta", host=ELSEWHERE).content


def test_keys_see_their_own_companies_only(pair: Client) -> None:
    def seen(key: str) -> list[str]:
        return [one["id"] for one in pair.get("/v1/companies", key, host=ELSEWHERE)["companies"]]

    assert (seen("acme"), seen("beta"), seen("installation")) == (["acme"], ["beta"], ["acme", "beta"])
    assert [one["id"] for one in pair.get("/v1/health", "beta", host=ELSEWHERE)["companies"]] == ["beta"]


def test_nobody_is_let_in_without_a_key_where_two_companies_are(pair: Client) -> None:
    assert pair.refused("/v1/companies") == (401, "key_missing", "header/authorization")
    assert pair.ask("/").status_code == 401


@pytest.mark.parametrize(
    ("host", "base", "headers"),
    [
        (ELSEWHERE, "http://127.0.0.1:8080", {}),
        ("127.0.0.1", "http://merilo.example:8080", {}),  # a name that was bound to this machine
        ("127.0.0.1", "http://127.0.0.1:8080", {"X-Forwarded-For": "192.0.2.7"}),
        ("127.0.0.1", "http://127.0.0.1:8080", {"Forwarded": "for=192.0.2.7"}),
        ("127.0.0.1", "http://127.0.0.1:8080", {"X-Real-IP": "192.0.2.7"}),
        ("127.0.0.1", "http://127.0.0.1:8080", {"Via": "1.1 proxy"}),
        ("testclient", "http://127.0.0.1:8080", {}),
    ],
)
def test_only_this_machine_itself_needs_no_key(single: Client, host: str, base: str, headers: dict[str, str]) -> None:
    assert single.ask("/v1/companies", host=host, base=base, headers=headers).status_code == 401


@pytest.mark.parametrize(("host", "base"), [("127.0.0.1", "http://localhost"), ("::1", "http://[::1]:8080")])
def test_this_machine_itself_needs_no_key(single: Client, host: str, base: str) -> None:
    assert single.get("/v1/companies", host=host, base=base)["companies"][0]["id"] == "acme"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer eyJhbGciOiJub25lIn0.eyJjb21wYW55IjoiYWNtZSJ9.",  # a token that says it needs no signature
        "Basic YWNtZTphY21l",
        "Bearer",
        "Bearer  ",
        "merilo_live_aaaaaaaaaa_" + "a" * 40,
        "Bearer merilo_live_aaaaaaaaaa_" + "a" * 40 + "\u00e9",
        "Bearer " + "x" * 5_000,
    ],
)
def test_credentials_that_are_not_ours_are_refused_even_on_this_machine(single: Client, header: str) -> None:
    answer = single.ask("/v1/companies", headers={"Authorization": header.encode()})  # type: ignore[dict-item]  # bytes

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "eyJ" not in answer.text
    assert "merilo_live_a" not in answer.text


def test_a_stale_cookie_does_not_lock_this_machine_out(single: Client) -> None:
    assert single.ask("/", headers={"Cookie": "merilo_key=merilo_live_old"}).status_code == 200


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route[0] == "GET"])
def test_other_methods_give_no_data(single: Client, name: str) -> None:
    for method in ("HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "POST"):
        answer = single.ask(ROUTES[name][1], method=method)

        assert answer.status_code == 405, method
        assert "acme" not in answer.text


def test_another_origin_gets_no_permission(single: Client) -> None:
    answer = single.ask("/v1/companies", headers={"Origin": "null"})

    assert "access-control-allow-origin" not in answer.headers


def test_a_revoked_key_is_refused_at_once(two: Scene) -> None:
    client = Client(two)
    client.get("/v1/companies", "acme")
    key = next(one for one in two.registry.list_keys("acme") if one.name == "acme")

    two.registry.revoke_key(key.id, two.now_ms)

    assert client.refused("/v1/companies", key="acme")[:2] == (401, "key")
