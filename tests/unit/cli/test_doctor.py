"""What ``merilo doctor`` finds wrong, and what it only finds new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from merilo.ids import DeviceKey, GatewayKey
from merilo.instants import HOUR_MS, MINUTE_MS
from merilo.site import Company, Site
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.installation import Installation
from merilo_adapters.registry import Registry
from merilo_cli.doctor import Finding, _company, _ports

NOW = 1_795_000_000_000
GATEWAY = GatewayKey("acme", "hq", "gw1")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """Acme with one site, without a gateway."""
    found = Registry.open(f"sqlite:///{tmp_path}/registry.db")
    found.add_company(Company(id="acme", name="Acme", raw_days=90))
    found.add_site(Site(company="acme", id="hq", name="HQ", zone="Europe/Sofia"))
    yield found
    found.close()


def looked_at(folder: Path, registry: Registry) -> dict[str, Finding]:
    stores = CompanyStores(Installation(data=folder), registry)
    return {one.what: one for one in _company(registry, cast(object, stores), "acme", NOW)}


@pytest.mark.parametrize(("age_ms", "good"), [(20 * MINUTE_MS, True), (2 * HOUR_MS, False)])
def test_energy_that_is_not_booked_is_a_finding_once_a_device_is_an_hour_old(
    tmp_path: Path, registry: Registry, age_ms: int, good: bool
) -> None:
    registry.add_gateway(GATEWAY, NOW - age_ms)
    registry.see_devices([DeviceKey(*GATEWAY, "m1")], NOW - age_ms)

    energy = looked_at(tmp_path, registry)["energy of acme"]

    assert energy.good is good
    assert ("too early" in energy.found) is good
    assert bool(energy.step) is not good


def test_nothing_of_a_meter_that_has_just_been_connected_is_a_finding(tmp_path: Path, registry: Registry) -> None:
    registry.add_gateway(GATEWAY, NOW - MINUTE_MS)
    registry.see_devices([DeviceKey(*GATEWAY, "m1")], NOW - MINUTE_MS)

    found = looked_at(tmp_path, registry)

    assert [one for one in found.values() if not one.good] == []
    assert "too early to judge" in found["gateway acme/hq/gw1"].found
    assert found["devices of acme"].step == "merilo meter confirm acme/hq"


def test_a_gateway_that_was_never_heard_and_a_device_that_nobody_confirmed_become_findings(
    tmp_path: Path, registry: Registry
) -> None:
    registry.add_gateway(GATEWAY, NOW - 2 * HOUR_MS)
    registry.see_devices([DeviceKey(*GATEWAY, "m1")], NOW - 2 * HOUR_MS)

    found = looked_at(tmp_path, registry)

    assert found["gateway acme/hq/gw1"].found == "never heard in the last day"
    assert found["devices of acme"].found == "1 wait to be confirmed: m1"
    assert not found["gateway acme/hq/gw1"].good
    assert not found["devices of acme"].good


def test_a_serial_port_of_the_gateway_here_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    gone = tmp_path / "ttyUSB7"
    (tmp_path / "site.yaml").write_text(f"buses:\n  - {{device: {gone}}}\n  - {{host: 10.0.0.5}}\n")

    [finding] = _ports(tmp_path)

    assert (finding.good, finding.found) == (False, f"{gone} is not there")
    assert "adapter" in finding.step
    gone.touch()
    assert list(_ports(tmp_path)) == []
