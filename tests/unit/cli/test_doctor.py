"""What ``merilo doctor`` finds wrong, and what it only finds new."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from merilo.ids import DeviceKey, GatewayKey
from merilo.instants import HOUR_MS, MINUTE_MS
from merilo.site import Company, Site
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.installation import Installation
from merilo_adapters.registry import Registry
from merilo_cli.doctor import _company

NOW = 1_795_000_000_000
GATEWAY = GatewayKey("acme", "hq", "gw1")


@pytest.mark.parametrize(("age_ms", "good"), [(20 * MINUTE_MS, True), (2 * HOUR_MS, False)])
def test_energy_that_is_not_booked_is_a_finding_once_a_device_is_an_hour_old(
    tmp_path: Path, age_ms: int, good: bool
) -> None:
    registry = Registry.open(f"sqlite:///{tmp_path}/registry.db")
    registry.add_company(Company(id="acme", name="Acme", raw_days=90))
    registry.add_site(Site(company="acme", id="hq", name="HQ", zone="Europe/Sofia"))
    registry.add_gateway(GATEWAY, NOW - age_ms)
    registry.see_devices([DeviceKey(*GATEWAY, "m1")], NOW - age_ms)
    stores = CompanyStores(Installation(data=tmp_path), registry)

    found = {one.what: one for one in _company(registry, cast(object, stores), "acme", NOW)}

    energy = found["energy of acme"]
    assert energy.good is good
    assert ("too early" in energy.found) is good
    assert bool(energy.step) is not good
    registry.close()
