"""Companies, sites, gateways, keys, and the version that callers cache on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from merilo.errors import ConflictError, NotFoundError, RegistryError
from merilo.ids import GatewayKey
from merilo.site import Company, Site
from merilo_adapters.mosquitto_files import password_fits
from merilo_adapters.registry import Registry
from registry_parts import GATEWAY, NOW


def test_what_was_added_is_read_back(registry: Registry) -> None:
    other = Company(id="beta", name="Бета ООД", store_url="influxdb2://one", raw_days=None, created_ms=NOW)
    registry.add_company(other)

    assert registry.companies()[1] == other
    assert registry.company("beta") == other
    assert registry.site("acme", "hq").zone == "Europe/Sofia"
    assert registry.sites("beta") == []
    assert [site.id for site in registry.sites()] == ["hq"]


def test_an_id_is_taken_once(registry: Registry) -> None:
    with pytest.raises(ConflictError, match="company acme: exists already, named 'Acme'"):
        registry.add_company(Company(id="acme", name="Other"))
    with pytest.raises(ConflictError, match="site acme/hq"):
        registry.add_site(Site(company="acme", id="hq", name="x", zone="Europe/Oslo"))
    with pytest.raises(ConflictError, match="gateway acme/hq/gw1: exists already with login gw-"):
        registry.add_gateway(GATEWAY, NOW)


def test_what_is_not_there_is_named(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="company ghost"):
        registry.company("ghost")
    with pytest.raises(NotFoundError, match="site acme/ghost"):
        registry.site("acme", "ghost")
    with pytest.raises(NotFoundError, match="site acme/ghost"):
        registry.add_gateway(GatewayKey("acme", "ghost", "gw1"), NOW)
    assert registry.gateway(GatewayKey("acme", "hq", "ghost")) is None


def test_a_time_zone_that_does_not_exist_is_refused(registry: Registry) -> None:
    for zone in ("Europe/Plovdiv", "../etc/passwd", ""):
        with pytest.raises(RegistryError, match="unknown time zone"):
            registry.add_site(Site(company="acme", id="x", name="x", zone=zone))


def test_a_gateways_password_is_shown_once_and_only_its_hash_is_kept(registry: Registry, folder: Path) -> None:
    key = GatewayKey("acme", "hq", "gw2")
    gateway, password = registry.add_gateway(key, NOW)

    assert re.fullmatch("gw-[a-z2-9]{10}", gateway.login)
    assert registry.gateway(key) == gateway
    [login] = [login for login in registry.logins() if login.gateway == key]
    assert password_fits(password, login.password_hash)
    assert all(password.encode() not in file.read_bytes() for file in folder.iterdir())


def test_a_revoked_gateway_has_no_login_and_can_come_again_with_a_new_one(registry: Registry) -> None:
    before = registry.gateway(GATEWAY)
    assert before is not None

    assert registry.revoke_gateway(GATEWAY, NOW + 5).revoked_ms == NOW + 5
    assert registry.logins() == []
    with pytest.raises(ConflictError, match="is revoked already"):
        registry.revoke_gateway(GATEWAY, NOW + 6)

    again, _ = registry.add_gateway(GATEWAY, NOW + 7)
    assert again.revoked_ms is None
    assert again.login != before.login
    assert again.created_ms == before.created_ms


def test_every_change_raises_the_version_and_is_logged_with_its_author(url: str, registry: Registry) -> None:
    mine = Registry.open(url, actor="maria")
    before = registry.version()

    mine.add_company(Company(id="beta", name="Beta", created_ms=NOW))
    after = registry.version()
    with pytest.raises(ConflictError):
        mine.add_company(Company(id="beta", name="Beta", created_ms=NOW))

    assert after == before + 1
    assert registry.version() == after
    last = registry.changes(1)[0]
    assert (last["actor"], last["action"], last["subject"], last["at_ms"]) == ("maria", "company.add", "beta", NOW)
    mine.close()


def test_a_key_opens_until_it_is_revoked(registry: Registry, folder: Path) -> None:
    key, text = registry.add_key("acme", ["read:series", "read:reports"], "monthly Excel", NOW)

    assert re.fullmatch(f"merilo_live_{key.id}_[a-z2-9]{{40}}", text)
    assert registry.check_key(text, NOW) == key
    assert key.may("read:series")
    assert not key.may("write:measures")
    assert registry.list_keys("acme") == [key]
    assert registry.list_keys("other") == []
    secret = text.rpartition("_")[2]
    assert all(secret.encode() not in file.read_bytes() for file in folder.iterdir())

    registry.revoke_key(key.id, NOW + 10)
    assert registry.check_key(text, NOW + 9) is not None
    assert registry.check_key(text, NOW + 10) is None


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t[:-1] + "0", lambda t: t + "a", lambda t: "", str.upper]
)
def test_what_is_no_key_opens_nothing(registry: Registry, change):  # type: ignore[no-untyped-def]  # a table of functions
    _, text = registry.add_key(None, ["admin"], "test", NOW)

    assert registry.check_key(change(text), NOW) is None


def test_a_key_with_another_keys_secret_opens_nothing(registry: Registry) -> None:
    first, _ = registry.add_key(None, ["admin"], "one", NOW)
    _, second = registry.add_key(None, ["admin"], "two", NOW)

    assert registry.check_key(f"merilo_live_{first.id}_{second.rpartition('_')[2]}", NOW) is None


def test_a_key_needs_a_known_scope_a_name_and_its_company(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="found write:all"):
        registry.add_key(None, ["write:all"], "x", NOW)
    with pytest.raises(RegistryError, match="found none"):
        registry.add_key(None, [], "x", NOW)
    with pytest.raises(RegistryError, match="key name"):
        registry.add_key(None, ["admin"], " ", NOW)
    with pytest.raises(NotFoundError, match="company ghost"):
        registry.add_key("ghost", ["admin"], "x", NOW)
