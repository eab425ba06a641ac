"""A source that publishes by itself: JSON messages on a broker of the site become readings, stamped as they arrive."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from merilo.errors import PayloadError
from merilo.instants import floor_ms
from merilo.mqttmap import decode_json, identity_json
from merilo.profile import Profile
from merilo.reading import Reading
from merilo.registers import Missing
from merilo_gateway.ports import Sink, told

log = logging.getLogger(__name__)

SILENT_INTERVALS = 3
SILENT_MIN_MS = 60_000
"""A source is silent after three intervals, at least a minute: message brokers and networks pause now and then."""


@dataclass(slots=True, kw_only=True)
class JsonSource:
    """One publishing device. Pure but for the sink: messages and instants come in."""

    device: str
    profile: Profile
    interval_ms: int
    sink: Sink
    messages: int = 0
    refused: int = 0
    last_ms: int | None = None
    """When the last good message came [UTC ms]."""
    reason: str = "no message so far"
    silent: bool = False
    channels: frozenset[str] = frozenset()
    """Parts that it has spoken of."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Model and serial as it says them."""
    _slot_ms: int | None = None
    _missing: frozenset[Missing] = frozenset()
    _began_ms: int | None = None

    def arrived(self, payload: bytes, *, retained: bool, now_ms: int) -> bool:
        """Takes a message; the first one of each interval becomes readings.

        Args:
            payload: The message.
            retained: The broker kept it from before: nobody knows how old it is, so it is not taken.
            now_ms: Now [UTC ms].

        Returns:
            Whether it became readings.
        """
        if retained:
            return False
        slot = floor_ms(now_ms, self.interval_ms)
        if slot == self._slot_ms:
            return False
        self.messages += 1
        try:
            confirmed, texts = identity_json(self.profile, payload)
            decoded = decode_json(self.profile, payload)
        except PayloadError as error:
            self._refuse(str(error))
            return False
        if confirmed is False:
            self._refuse(f"another model: {texts.get('model', '')}")
            return False
        self._slot_ms = slot
        self._identified(texts, frozenset(suffix for suffix in decoded.values if suffix))
        for suffix, values in decoded.values.items():
            name = f"{self.device}-{suffix}" if suffix else self.device
            self.sink.reading(Reading(device=name, at_ms=now_ms, values=values))
        new = sorted(frozenset(decoded.missing) - self._missing)
        if new:
            self._missing |= frozenset(new)
            self.sink.event("values_missing", self.device, {"values": told(new)})
        self.last_ms, self.reason = now_ms, ""
        if self.silent:
            self.silent = False
            log.info("device back device=%s", self.device)
            self.sink.event("device_back", self.device, {})
        return bool(decoded.values)

    def look(self, now_ms: int) -> None:
        """Notices that no message has come for too long."""
        if self._began_ms is None:
            self._began_ms = now_ms
        since = self.last_ms if self.last_ms is not None else self._began_ms
        if not self.silent and now_ms - since > max(SILENT_INTERVALS * self.interval_ms, SILENT_MIN_MS):
            self.silent = True
            self.reason = self.reason or f"no message for {(now_ms - since) / 1000:.0f} s"
            log.warning("device silent device=%s reason=%s", self.device, self.reason)
            self.sink.event("device_silent", self.device, {"reason": self.reason})

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        if reason != self.reason:
            log.warning("message not taken device=%s reason=%s", self.device, reason)
            self.sink.event("message_refused", self.device, {"reason": reason[:500]})
        self.reason = reason

    def _identified(self, texts: Mapping[str, str], channels: frozenset[str]) -> None:
        before = self.texts.get("serial")
        if before is not None and texts.get("serial") not in (None, before):
            self.sink.event("identity_changed", self.device, {"serial": texts["serial"], "before": before})
        if not channels <= self.channels or texts != self.texts:
            self.channels |= channels
            self.texts = dict(texts)
            self.sink.described(self.device)
