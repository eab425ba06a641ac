"""What the registry says of one site, read once a pass: the view the books work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from merilo.decisions import Decision
from merilo.ids import DeviceKey, RegisterKey
from merilo.ledger import LedgerEvent, RegisterFacts
from merilo.meters import Scheme
from merilo.quantities import is_tariff
from merilo.site import BookedKind, Site
from merilo_adapters.registry import Registry


class RegistryFacts:
    """Satisfies the port SiteFacts on the registry."""

    def __init__(self, registry: Registry, site: Site) -> None:
        self._registry = registry
        self.site = site
        self.scheme = Scheme(registry.meters(site.company, site.id))
        self.devices: Mapping[DeviceKey, float] = {
            device.key: device.interval_s for device in registry.devices(site.company, site.id)
        }
        self._decisions = registry.decisions(site.company, site.id)
        self._facts: dict[DeviceKey, dict[str, tuple[RegisterFacts, ...]]] = {}

    def facts(self, key: RegisterKey) -> Sequence[RegisterFacts]:
        """See the port."""
        device = key.device_key
        if device not in self._facts:
            self._facts[device] = self._registry.facts(device)
        found = self._facts[device].get(key.register) or (self._registry.assumed_facts(device),)
        if is_tariff(key.register):
            return tuple(replace(one, zero_is_valid=True) for one in found)
        return found

    def identity(self, key: DeviceKey) -> tuple[int, ...]:
        """See the port."""
        return self._registry.identity_instants(key)

    def decisions(self) -> Sequence[Decision]:
        """See the port."""
        return self._decisions

    def replace_events(
        self,
        key: RegisterKey,
        after_ms: int,
        to_ms: int,
        events: Sequence[LedgerEvent],
        kind: BookedKind = "ledger",
    ) -> list[int]:
        """See the port."""
        return self._registry.replace_events(key, after_ms, to_ms, events, kind)

    def events(self, key: RegisterKey, after_ms: int, to_ms: int) -> list[LedgerEvent]:
        """See the port."""
        return [event for _, event in self._registry.ledger_events(key, after_ms, to_ms)]
