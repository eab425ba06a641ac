"""What a gateway tells about itself and its devices: the retained description. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from merilo.instants import to_text
from merilo.profile import Profile
from merilo.profiles.facts import ProfileFacts, facts
from merilo.profiles.setup import Setup
from merilo.quantities import QUANTITIES
from merilo.wire import Birth, BirthDevice, BirthMeter, BirthQuantity
from merilo_gateway.gateway_file import DeviceModel, GatewayModel, MqttInModel, devices_of


def birth(
    model: GatewayModel,
    profiles: Mapping[str, Profile],
    setups: Mapping[str, Setup],
    channels: Mapping[str, frozenset[str]],
    serials: Mapping[str, Mapping[str, str]],
    *,
    now_ms: int,
    boot: str,
    epoch: str,
    software: str,
    config_hash: str,
) -> Birth:
    """The description as it is known now; devices that did not answer so far are in it as the file has them.

    Args:
        model: The file.
        profiles: Device id → profile of the model.
        setups: Device id → what the device said, of polled ones.
        channels: Device id → suffixes that it has spoken of: a strip has as many outlets as it gives values for.
        serials: Device id → model and serial as they say them, of MQTT sources.
        now_ms: Now [UTC ms].
        boot: Names the boot of the machine.
        epoch: Of the outbox.
        software: Version of the program.
        config_hash: Names the file's content.
    """
    devices: dict[str, BirthDevice] = {}
    for name, device in devices_of(model).items():
        setup = setups.get(name)
        profile = setup.profile if setup is not None else profiles[name]
        texts = setup.texts if setup is not None else serials.get(name, {})
        devices |= _parts(model, device, profile, texts, channels.get(name, frozenset()))
    return Birth(
        at=to_text(now_ms), boot=boot, epoch=epoch, software=software, config_hash=config_hash, devices=devices
    )


def _parts(
    model: GatewayModel,
    device: DeviceModel | MqttInModel,
    profile: Profile,
    texts: Mapping[str, str],
    heard: frozenset[str],
) -> dict[str, BirthDevice]:
    """A device and its channels, each a device of its own."""
    known = facts(
        profile,
        ct_primary_a=device.ct[0] if isinstance(device, DeviceModel) and device.ct is not None else None,
        fuse_a=device.fuse,
    )
    quantities: dict[str, dict[str, BirthQuantity]] = {}
    for suffix, quantity in _offered(profile, heard):
        quantities.setdefault(suffix, {})[quantity] = _quantity(quantity, known.get((suffix, quantity)))
    found: dict[str, BirthDevice] = {}
    for suffix in ("", *(s for s in quantities if s)):
        limits = [f.max_power_w for (s, _), f in known.items() if s == suffix and f.max_power_w is not None]
        found[f"{device.id}-{suffix}" if suffix else device.id] = BirthDevice(
            model=f"{profile.vendor} {profile.model}",
            serial=texts.get("serial", ""),
            profile=profile.name,
            profile_version=profile.version,
            role=device.role if not suffix else "",
            parent=device.parent if not suffix else "",
            channel_of=device.id if suffix else "",
            interval_s=_interval_s(model, device),
            max_power_w=device.max_power if device.max_power and not suffix else max(limits, default=None),
            meters=tuple(BirthMeter(meter=m.meter, role=m.role, phase=m.phase) for m in device.meters)
            if not suffix
            else (),
            quantities=quantities.get(suffix, {}),
        )
    return found


def _interval_s(model: GatewayModel, device: DeviceModel | MqttInModel) -> float:
    return (device.interval or model.interval) / 1000


def _offered(profile: Profile, heard: frozenset[str]) -> list[tuple[str, str]]:
    """Suffix and name of every value that the device can give, of those channels that it has."""
    found = [(r.channel, r.quantity) for r in profile.registers if not r.hidden and r.channel in ("", *heard)]
    found += [(d.channel, d.quantity) for d in profile.derived if d.channel in ("", *heard)]
    if profile.mqtt is not None:
        found += [("", v.quantity) for v in profile.mqtt.values]
        for mapped in profile.mqtt.channels:
            for n in range(mapped.most + 1):
                suffix = mapped.suffix.replace("{n}", str(n))
                if suffix in heard:
                    found += [(suffix, v.quantity) for v in mapped.values]
    return list(dict.fromkeys(found))


def _quantity(name: str, known: ProfileFacts | None) -> BirthQuantity:
    quantity = QUANTITIES[name]
    if known is None:
        return BirthQuantity(unit=quantity.unit, kind=quantity.kind)
    return BirthQuantity(
        unit=quantity.unit,
        kind=quantity.kind,
        step_wh=known.step_wh or None,
        rollover_wh=known.rollover_wh,
        resettable=known.resettable,
    )
