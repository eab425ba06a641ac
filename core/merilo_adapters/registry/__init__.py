"""The registry: what exists, who it belongs to, how it is connected, since when; and who may come in.

One database holds it, with the work tables beside it (`work.py`). Every change is one transaction, is logged with its
author, raises the registry's version, and marks the work that follows from it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from merilo import wire
from merilo.errors import RegistryError
from merilo.ids import DeviceKey, GatewayKey, MeterKey, RegisterKey
from merilo.instants import QUARTER_MS, floor_ms
from merilo.site import (
    BookedKind,
    Company,
    Device,
    Event,
    EventKind,
    Gateway,
    MeterVersion,
    Phase,
    Place,
    Site,
    leaf_devices,
    place_of,
)
from merilo_adapters.mosquitto_files import Login
from merilo_adapters.registry import births, companies, decisions, devices, events, facts, keys, meters, tables
from merilo_adapters.registry.births import BirthChanges
from merilo_adapters.registry.database import Database, RegistryUnavailableError
from merilo_adapters.registry.decisions import DecisionRecord
from merilo_adapters.registry.keys import SCOPES, Key
from merilo_adapters.registry.work import ALL, FORM, Work, touch_rows

if TYPE_CHECKING:
    from merilo.decisions import Decision
    from merilo.ledger import LedgerEvent, RegisterFacts

__all__ = [
    "ALL",
    "FORM",
    "KEEP",
    "SCOPES",
    "BirthChanges",
    "DecisionRecord",
    "Key",
    "Registry",
    "RegistryUnavailableError",
    "Work",
]

DEVICES_PER_GATEWAY_MAX = 200
"""Unconfirmed devices that one gateway may bring: a bound on what a broken or hostile payload can create."""


class _Keep:
    """Marks an argument that was not given: the attribute stays as it is."""


KEEP: Final = _Keep()


class Registry:
    """Everything that programs ask of the registry. Reads are one consistent view, writes one transaction.

    All methods raise RegistryUnavailableError when the database cannot be used now, and NotFoundError, ConflictError
    or RegistryError when a change is refused; then nothing was changed.
    """

    def __init__(self, database: Database, actor: str = "program") -> None:
        self._database = database
        self._actor = actor

    @classmethod
    def open(cls, url: str, actor: str = "program") -> Registry:
        """Opens the registry, creating or migrating it; an existing file is copied before it is migrated.

        Args:
            url: ``sqlite:////path/registry.db`` or ``postgresql://…``.
            actor: Who the changes are logged as.

        Raises:
            ConfigError: The URL cannot be used.
            RegistryError: A newer release wrote it.
        """
        return cls(Database(url), actor)

    def close(self) -> None:
        """Closes the connections that are not in use."""
        self._database.close()

    def work(self) -> Work:
        """The work tables in the same database."""
        return Work(self._database)

    def version(self) -> int:
        """A number that grows with every change but events and work: callers cache on it."""
        return self._database.scalar("SELECT value FROM versions WHERE name = 'registry'")

    @contextlib.contextmanager
    def _change(self, action: str, subject: str, at_ms: int, **detail: object) -> Iterator[sa.Connection]:
        """One transaction that is logged and raises the version."""
        with self._database.write() as connection:
            yield connection
            self._log(connection, action, subject, at_ms, detail)

    def _log(
        self, connection: sa.Connection, action: str, subject: str, at_ms: int, detail: Mapping[str, object]
    ) -> None:
        text = json.dumps(detail, default=str, ensure_ascii=False)
        row = {"at_ms": at_ms, "actor": self._actor[:120], "action": action, "subject": subject[:400], "detail": text}
        connection.execute(sa.insert(tables.changes).values(row))
        grown = sa.update(tables.versions).where(tables.versions.c.name == "registry")
        connection.execute(grown.values(value=tables.versions.c.value + 1))

    def changes(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest changes: number, at_ms, actor, action, subject, detail."""
        query = sa.select(tables.changes).order_by(tables.changes.c.number.desc()).limit(limit)
        with self._database.read() as connection:
            return [{**row._asdict(), "detail": json.loads(row.detail)} for row in connection.execute(query)]

    # Companies, sites, gateways ---------------------------------------------------------------------------------------

    def companies(self) -> list[Company]:
        """All companies, by id."""
        with self._database.read() as connection:
            return companies.companies(connection)

    def company(self, company: str) -> Company:
        """One company. Raises NotFoundError."""
        with self._database.read() as connection:
            return companies.company(connection, company)

    def add_company(self, new: Company) -> Company:
        """Enters a company. Raises ConflictError where the id is taken."""
        with self._change("company.add", new.id, new.created_ms, name=new.name) as connection:
            companies.add_company(connection, new)
        return new

    def sites(self, company: str | None = None) -> list[Site]:
        """The sites of a company, or of all."""
        with self._database.read() as connection:
            return companies.sites(connection, company)

    def site(self, company: str, site: str) -> Site:
        """One site. Raises NotFoundError."""
        with self._database.read() as connection:
            return companies.site(connection, company, site)

    def add_site(self, new: Site, at_ms: int = 0) -> Site:
        """Enters a site. Raises ConflictError, NotFoundError, or RegistryError for an unknown time zone."""
        with self._change("site.add", f"{new.company}/{new.id}", at_ms, zone=new.zone) as connection:
            companies.add_site(connection, new)
        return new

    def gateways(self, company: str | None = None) -> list[Gateway]:
        """The gateways of a company, or of all, the revoked ones too."""
        with self._database.read() as connection:
            return companies.gateways(connection, company)

    def gateway(self, key: GatewayKey) -> Gateway | None:
        """One gateway, None if there is none."""
        with self._database.read() as connection:
            return companies.gateway(connection, key)

    def add_gateway(self, key: GatewayKey, at_ms: int = 0) -> tuple[Gateway, str]:
        """Enters a gateway; gives it and its password, which is shown this once. A revoked one gets a new login."""
        with self._change("gateway.add", "/".join(key), at_ms) as connection:
            return companies.add_gateway(connection, key, at_ms)

    def revoke_gateway(self, key: GatewayKey, at_ms: int) -> Gateway:
        """Takes a gateway's login away; its devices and readings stay."""
        with self._change("gateway.revoke", "/".join(key), at_ms) as connection:
            return companies.revoke_gateway(connection, key, at_ms)

    def logins(self) -> list[Login]:
        """What the broker must know: every gateway that may log in."""
        with self._database.read() as connection:
            return companies.logins(connection)

    # Devices and their facts ------------------------------------------------------------------------------------------

    def devices(self, company: str, site: str | None = None) -> list[Device]:
        """The devices of a company or one of its sites."""
        with self._database.read() as connection:
            return devices.devices(connection, company, site)

    def see_devices(
        self, keys: Iterable[DeviceKey], at_ms: int, max_per_gateway: int = DEVICES_PER_GATEWAY_MAX
    ) -> list[DeviceKey]:
        """Enters unknown devices as "to be confirmed" with their default meter; gives those that are refused."""
        with self._database.write() as connection:
            entered, refused = devices.see(connection, keys, at_ms, max_per_gateway)
            if entered:
                subjects = " ".join("/".join(key) for key in entered)
                self._log(connection, "device.see", subjects, at_ms, {"refused": len(refused)})
        return refused

    def apply_birth(
        self,
        key: GatewayKey,
        birth: wire.Birth,
        at_ms: int,
        max_per_gateway: int = DEVICES_PER_GATEWAY_MAX,
    ) -> BirthChanges:
        """Takes over what a gateway proposes and marks the work that follows; again, it changes nothing."""
        with self._database.write() as connection:
            found = births.apply(connection, key, birth, at_ms, max_per_gateway)
            if found:
                detail = {"epoch": birth.epoch, "software": birth.software, "config": birth.config_hash}
                self._log(connection, "gateway.birth", "/".join(key), at_ms, detail)
        return found

    def set_device(
        self,
        key: DeviceKey,
        at_ms: int,
        *,
        from_ms: int,
        max_power_w: float | _Keep | None = KEEP,
        zero_is_valid: bool | _Keep | None = KEEP,
    ) -> dict[RegisterKey, int]:
        """Decides facts of a device from a grid instant on; None: back to what its gateway says.

        Returns:
            The registers whose facts changed, and from when they are walked again.
        """
        _on_grid(from_ms)
        if isinstance(max_power_w, float | int) and not 0 < max_power_w <= births.POWER_MAX_W:
            raise RegistryError(f"device {'/'.join(key)}: max_power_w = {max_power_w}, expected above 0 to 1e9")
        values = {"decided_max_power_w": max_power_w, "decided_zero_is_valid": zero_is_valid}
        values = {name: value for name, value in values.items() if not isinstance(value, _Keep)}
        with self._change("device.set", "/".join(key), at_ms, from_ms=from_ms, **values) as connection:
            devices.device(connection, key)
            if values:
                connection.execute(sa.update(tables.devices).where(devices.is_device(key)).values(**values))
            return self._settle(connection, [key], from_ms, at_ms)

    def _settle(
        self, connection: sa.Connection, changed: Iterable[DeviceKey], from_ms: int, at_ms: int
    ) -> dict[RegisterKey, int]:
        found: dict[RegisterKey, int] = {}
        for key in changed:
            device = devices.device(connection, key)
            zero = devices.zero_is_valid(device, meters.meters(connection, key.company, key.site))
            raw_ms = facts.raw_start_ms(connection, key.company, at_ms)
            since = facts.settle(connection, device, zero, None, max(from_ms, raw_ms))
            found |= {register: max(start, raw_ms) for register, start in since.items()}
        touch_rows(connection, {register: (start, max(start, at_ms)) for register, start in found.items()})
        return found

    def facts(self, key: DeviceKey) -> dict[str, tuple[RegisterFacts, ...]]:
        """The dated facts of every register that a birth described, oldest first; none before the first birth."""
        from merilo.ledger import RegisterFacts

        names = ("valid_from_ms", "step_mwh", "rollover_mwh", "max_power_mw", "poll_interval_ms", "zero_is_valid")
        with self._database.read() as connection:
            found = facts.facts(connection, key)
        return {
            register: tuple(RegisterFacts(**{name: getattr(one, name) for name in names}) for one in dated)
            for register, dated in found.items()
        }

    def assumed_facts(self, key: DeviceKey) -> RegisterFacts:
        """Facts for a register that no birth described yet: everything is an assumption, and flagged as such."""
        from merilo.ledger import RegisterFacts

        with self._database.read() as connection:
            device = devices.device(connection, key)
            zero = devices.zero_is_valid(device, meters.meters(connection, key.company, key.site))
        one = facts.wanted(device, zero, None, None)
        return RegisterFacts(
            step_mwh=one.step_mwh,
            max_power_mw=one.max_power_mw,
            poll_interval_ms=one.poll_interval_ms,
            zero_is_valid=one.zero_is_valid,
        )

    def assumptions(self, key: DeviceKey) -> dict[str, frozenset[str]]:
        """Of each register the present facts that nobody stated: ``max_power_mw``, ``step_mwh``."""
        with self._database.read() as connection:
            return {register: dated[-1].assumed for register, dated in facts.facts(connection, key).items()}

    def identity_instants(self, key: DeviceKey) -> tuple[int, ...]:
        """When another device appeared under this id, oldest first."""
        with self._database.read() as connection:
            return devices.identity_instants(connection, key)

    # Meters -----------------------------------------------------------------------------------------------------------

    def meters(self, company: str, site: str | None = None) -> list[MeterVersion]:
        """All versions of all meters of a company or one of its sites."""
        with self._database.read() as connection:
            return meters.meters(connection, company, site)

    def set_meter(
        self,
        key: MeterKey,
        *,
        from_ms: int,
        at_ms: int,
        to_ms: int | None = None,
        role: str | _Keep = KEEP,
        parent: str | _Keep | None = KEEP,
        device: DeviceKey | _Keep = KEEP,
        phase: Phase = "",
        expression: str | _Keep = KEEP,
        confirmed: bool = True,
    ) -> int:
        """Changes a meter in [from_ms, to_ms), or makes it; what is not given stays as it is.

        Returns:
            From which instant the books must form again; the work is marked.

        Raises:
            RegistryError: A cycle, shares above 1, an unknown parent or role, an instant off the 15-minute grid.
            NotFoundError: An unknown device, or a new meter without a source.
        """
        given = {"role": role, "parent": parent}
        changes: dict[str, Any] = {name: value for name, value in given.items() if not isinstance(value, _Keep)}
        changes["confirmed"] = confirmed
        if not isinstance(device, _Keep) and not isinstance(expression, _Keep):
            raise RegistryError(f"meter {'/'.join(key)}: expected either a device or an expression")
        if not isinstance(device, _Keep):
            changes |= {"device": device, "phase": phase, "expression": None}
        elif not isinstance(expression, _Keep):
            changes |= {"device": None, "phase": "", "expression": expression}
        with self._change("meter.set", "/".join(key), at_ms, from_ms=from_ms, to_ms=to_ms, **changes) as connection:
            companies.site(connection, key.company, key.site)
            before, after = meters.change(connection, key, from_ms=from_ms, to_ms=to_ms, changes=changes, at_ms=at_ms)
            self._reform(connection, key, [before, after], from_ms, at_ms if to_ms is None else to_ms, at_ms)
        return from_ms

    def confirm_meter(self, key: MeterKey, at_ms: int) -> None:
        """Confirms a meter as it is, in all its versions, and the devices behind it."""
        with self._change("meter.confirm", "/".join(key), at_ms) as connection:
            versions = meters.existing(connection, key)
            meters.store(connection, key, [replace(version, confirmed=True) for version in versions])
            for version in versions:
                if version.device is not None:
                    mine = devices.is_device(version.device)
                    connection.execute(sa.update(tables.devices).where(mine).values(confirmed=True))

    def end_meter(self, key: MeterKey, from_ms: int, at_ms: int) -> int:
        """Ends a meter at a grid instant; gives from when the books must form again."""
        _on_grid(from_ms)
        with self._change("meter.end", "/".join(key), at_ms, from_ms=from_ms) as connection:
            before = meters.end(connection, key, from_ms)
            self._reform(connection, key, [before], from_ms, at_ms, at_ms)
        return from_ms

    def _reform(
        self,
        connection: sa.Connection,
        key: MeterKey,
        states: Sequence[list[MeterVersion]],
        from_ms: int,
        to_ms: int,
        at_ms: int,
    ) -> None:
        """Marks the devices behind a meter, before and after, to be formed again; roles may change facts too."""
        leaves = frozenset[DeviceKey]().union(*(leaf_devices(key.meter, versions) for versions in states))
        span = (from_ms, max(from_ms, to_ms))
        touch_rows(connection, {RegisterKey(*leaf, FORM): span for leaf in leaves})
        self._settle(connection, sorted(leaves), from_ms, at_ms)

    # Decisions --------------------------------------------------------------------------------------------------------

    def decisions(
        self,
        company: str,
        site: str | None = None,
        *,
        device: DeviceKey | None = None,
        register: str | None = None,
        meter: str | None = None,
    ) -> list[Decision]:
        """Decisions as the domain applies them, the revoked ones too, in the order they were made."""
        found = self.decision_records(company, site, device=device, register=register, meter=meter)
        return [one.decision() for one in found]

    def decision_records(
        self,
        company: str,
        site: str | None = None,
        *,
        device: DeviceKey | None = None,
        register: str | None = None,
        meter: str | None = None,
    ) -> list[DecisionRecord]:
        """Decisions with reason, evidence and author, the revoked ones too, in the order they were made."""
        with self._database.read() as connection:
            return decisions.records(connection, company, site, device=device, register=register, meter=meter)

    def add_decision(self, new: DecisionRecord) -> DecisionRecord:
        """Enters a decision and marks the work; gives it with its number."""
        what = "/".join(new.register or new.meter or ())
        with self._change("decision.add", what, new.created_ms, kind=new.kind, reason=new.reason) as connection:
            known = {device.key for device in devices.devices(connection, new.company, new.site)}
            decisions.checked(new, known, set(meters.names(connection, new.company, new.site)))
            found = decisions.add(connection, new)
            self._redecide(connection, found)
        return found

    def revoke_decision(self, number: int, at_ms: int, by: str = "", reason: str = "") -> DecisionRecord:
        """Revokes a decision, as if it had never been, and marks the work; the reason stays in the log of changes."""
        if len(reason) > decisions.REASON_MAX:
            raise RegistryError(f"decision {number}: expected a reason of at most {decisions.REASON_MAX} characters")
        with self._change(decisions.REVOKE, str(number), at_ms, reason=reason) as connection:
            found = decisions.revoke(connection, number, at_ms, by or self._actor)
            self._redecide(connection, found)
        return found

    def revoke_reasons(self, numbers: Collection[int]) -> dict[int, str]:
        """Why these decisions were revoked, of those for which somebody said so."""
        with self._database.read() as connection:
            return decisions.revoke_reasons(connection, numbers)

    def _redecide(self, connection: sa.Connection, decision: DecisionRecord) -> None:
        span = (floor_ms(decision.from_ms, QUARTER_MS), decision.to_ms)
        if decision.register is not None:
            touched = frozenset({decision.register.device_key})
        else:
            versions = meters.meters(connection, decision.company, decision.site)
            touched = leaf_devices(decision.meter.meter if decision.meter else "", versions)
        touch_rows(connection, {RegisterKey(*device, FORM): span for device in touched})

    # Events -----------------------------------------------------------------------------------------------------------

    def replace_events(
        self,
        key: RegisterKey,
        after_ms: int,
        to_ms: int,
        found: Sequence[LedgerEvent],
        kind: BookedKind = "ledger",
    ) -> list[int]:
        """Afterwards a register's events of this kind in (after_ms, to_ms] are exactly these; gives their numbers."""
        with self._database.write() as connection:
            return events.replace(connection, key, after_ms, to_ms, found, kind)

    def ledger_events(
        self, key: RegisterKey, after_ms: int, to_ms: int, kind: BookedKind = "ledger"
    ) -> list[tuple[int, LedgerEvent]]:
        """A register's events of this kind in (after_ms, to_ms] with their numbers."""
        with self._database.read() as connection:
            return events.ledger_events(connection, key, after_ms, to_ms, kind)

    def events(
        self,
        company: str,
        from_ms: int,
        to_ms: int,
        *,
        kinds: Sequence[EventKind] | None = None,
        limit: int = 1_000,
        **place: str,
    ) -> list[Event]:
        """Events that meet [from_ms, to_ms), oldest first; ``place``: site, gateway, device, register, meter."""
        unknown = set(place) - set(Place._fields[1:])
        if unknown:
            raise RegistryError(f"events: unknown filter {', '.join(sorted(unknown))}")
        with self._database.read() as connection:
            return events.events(connection, company, from_ms, to_ms, kinds=kinds, limit=limit, place=place)

    def events_after(self, company: str, number: int, limit: int = 1_000) -> list[Event]:
        """Events of other kinds than ledger that were entered after this one, for whoever mirrors them."""
        with self._database.read() as connection:
            return events.after(connection, company, number, limit)

    def add_event(
        self,
        kind: EventKind,
        scope: Place | GatewayKey | DeviceKey | RegisterKey | MeterKey,
        at_ms: int,
        parameters: Mapping[str, Any] | None = None,
        *,
        code: str = "",
        end_ms: int | None = None,
    ) -> int:
        """Enters an event of any kind but ledger; the same one again gives the same number."""
        with self._database.write() as connection:
            return events.add(connection, kind, place_of(scope), at_ms, parameters or {}, code=code, end_ms=end_ms)

    def add_gateway_event(self, gateway: GatewayKey, event: wire.GatewayEvent, now_ms: int) -> int | None:
        """Enters what a gateway reports; gives its number, None if it reports more than a day may hold.

        A changed identity is also recorded as such, and the device is walked again from there.
        """
        with self._database.write() as connection:
            number = events.report(connection, gateway, event, now_ms)
            if event.kind == "identity_changed" and number is not None:
                key, serial = DeviceKey(*gateway, event.device), str(event.parameters.get("serial", ""))
                since = events.instant_of(event.at, now_ms)
                if births.reported_identity(connection, key, serial, since, now_ms):
                    self._log(connection, "device.identity", "/".join(key), now_ms, {"serial": serial, "at": since})
        return number

    def end_event(self, number: int, end_ms: int) -> None:
        """Says when an event was over. Raises NotFoundError."""
        with self._database.write() as connection:
            events.end(connection, number, end_ms)

    # API keys ---------------------------------------------------------------------------------------------------------

    def add_key(self, company: str | None, scopes: Sequence[str], name: str, at_ms: int = 0) -> tuple[Key, str]:
        """Makes an API key; gives it and its text, which is shown this once."""
        with self._change("key.add", name, at_ms, company=company, scopes=list(scopes)) as connection:
            return keys.add_key(connection, company, tuple(scopes), name, at_ms)

    def check_key(self, text: str, now_ms: int) -> Key | None:
        """The key of this text, None if it is none or revoked."""
        with self._database.read() as connection:
            return keys.check_key(connection, text, now_ms)

    def list_keys(self, company: str | None = None) -> list[Key]:
        """All keys, or those of one company, without their secrets."""
        with self._database.read() as connection:
            return keys.keys(connection, company)

    def revoke_key(self, key_id: str, at_ms: int) -> Key:
        """Takes an API key away."""
        with self._change("key.revoke", key_id, at_ms) as connection:
            return keys.revoke_key(connection, key_id, at_ms)


def _on_grid(instant_ms: int) -> None:
    if instant_ms % QUARTER_MS:
        raise RegistryError(f"instant {instant_ms} ms: expected one on the 15-minute grid")
