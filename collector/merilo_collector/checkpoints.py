"""Anchors of the walk in the work tables, and raw readings from the series store: what recompute asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from merilo.frame import Frame
from merilo.ids import DeviceKey, RegisterKey
from merilo.ledger import Anchor
from merilo.ports import SeriesStore
from merilo_adapters.registry.work import Checkpoint, Work
from merilo_collector.recompute import Head

_encoder = msgspec.msgpack.Encoder()
_anchors = msgspec.msgpack.Decoder(Anchor)
_heads = msgspec.msgpack.Decoder(Head)


class WorkCheckpoints:
    """Satisfies the port Checkpoints on the work tables."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def head(self, key: RegisterKey) -> Head | None:
        """See the port."""
        found = self._work.head(key)
        return _heads.decode(found.blob) if found else None

    def newest_before(self, key: RegisterKey, v_below_ms: int, t_below_ms: int) -> Anchor | None:
        """See the port."""
        for point in reversed(self._work.day_checkpoints(key, 0, min(v_below_ms, t_below_ms) - 1)):
            if point.v_ms < v_below_ms:
                return _anchors.decode(point.blob)
        return None

    def days(self, key: RegisterKey, after_ms: int, to_ms: int) -> dict[int, Anchor]:
        """See the port."""
        found = self._work.day_checkpoints(key, after_ms + 1, to_ms)
        return {point.t_ms: _anchors.decode(point.blob) for point in found}

    def put(self, key: RegisterKey, after_ms: int, to_ms: int, days: Sequence[Anchor], head: Head | None) -> None:
        """See the port."""
        points = [Checkpoint("day", anchor.t_ms, anchor.v_ms, _encoder.encode(anchor)) for anchor in days]
        newest = None
        if head is not None:
            t_ms, v_ms = (head.anchor.t_ms, head.anchor.v_ms) if head.anchor else (0, 0)
            newest = Checkpoint("head", t_ms, v_ms, _encoder.encode(head))
        self._work.put_checkpoints(key, after_ms, to_ms, points, newest)

    def drop(self, key: RegisterKey) -> None:
        """See the port."""
        self._work.drop_checkpoints(key)


class StoreReader:
    """Satisfies the port RawReader on a series store; remembers the last frame, since registers share their device."""

    def __init__(self, store_of: Callable[[str], SeriesStore]) -> None:
        self._store_of = store_of
        self._key: tuple[DeviceKey, int, int] | None = None
        self._frame = Frame.empty()

    def forget(self) -> None:
        """Readings may have come: ask the store again."""
        self._key = None

    def frame(self, key: DeviceKey, start_ms: int, end_ms: int) -> Frame:
        """See the port."""
        if self._key is not None and self._key[0] == key and self._key[1] <= start_ms and self._key[2] >= end_ms:
            return self._frame.between(start_ms, end_ms)
        found = self._store_of(key.company).read(key.company, "readings", key._asdict(), start_ms, end_ms)
        self._frame = found[0].frame if found else Frame.empty()
        self._key = (key, start_ms, end_ms)
        return self._frame
