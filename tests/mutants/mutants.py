"""The books with one rule broken each, at the seam where the rule stands. The any-order suite must notice every one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from merilo.ids import DeviceKey, RegisterKey
from merilo.ledger import Anchor, RowSums
from merilo_collector.books import SiteBooks
from merilo_collector.recompute import Head, Run
from unit.any_order.ports import Fuse, MemoryCheckpoints, MemoryStore, Table
from unit.any_order.world import MakeBooks, MakePorts, Ports, books_of, made


class Wrapped(MemoryCheckpoints):
    """Checkpoints that read another port's and change what a walk starts from."""

    def __init__(self, fuse: Fuse, inner: MemoryCheckpoints) -> None:
        super().__init__(fuse)
        self.heads, self.by_day = inner.heads, inner.by_day

    def changed(self, anchor: Anchor) -> Anchor:
        """What is read in the place of a stored state."""
        return anchor

    def head(self, key: RegisterKey) -> Head | None:
        """See the port."""
        found = super().head(key)
        return Head(found.until_ms, self.changed(found.anchor)) if found and found.anchor else found

    def newest_before(self, key: RegisterKey, v_below_ms: int, t_below_ms: int) -> Anchor | None:
        """See the port."""
        found = super().newest_before(key, v_below_ms, t_below_ms)
        return self.changed(found) if found else None


class AtOnceCertain(Wrapped):
    """``v`` ignored: a walk starts at the newest state before the first touched instant, certain or not."""

    def newest_before(self, key: RegisterKey, v_below_ms: int, t_below_ms: int) -> Anchor | None:
        """See the port."""
        states = list(self.by_day.get(key, {}).values())
        head = self.heads.get(key)
        if head is not None and head.anchor is not None:
            states.append(head.anchor)
        before = [one for one in states if one.t_ms < min(v_below_ms, t_below_ms)]
        return max(before, key=lambda one: one.t_ms, default=None)


class Rowless(Wrapped):
    """Row sums dropped: the row that a walk starts in begins with nothing."""

    def changed(self, anchor: Anchor) -> Anchor:
        """An empty row."""
        return msgspec.structs.replace(anchor, row=RowSums(anchor.row.start_ms))


class Meanless(Wrapped):
    """Mean power dropped."""

    def changed(self, anchor: Anchor) -> Anchor:
        """No mean."""
        return msgspec.structs.replace(anchor, mean_mw=None)


class AnyState(Anchor, frozen=True, eq=False):
    """Equal to whatever it is compared with."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = Anchor.__hash__


class ByInstant(Wrapped):
    """Stop by instant only: a stored state of the same instant is enough."""

    def days(self, key: RegisterKey, after_ms: int, to_ms: int) -> dict[int, Anchor]:
        """See the port."""
        found = super().days(key, after_ms, to_ms)
        return {t: AnyState(**msgspec.structs.asdict(anchor)) for t, anchor in found.items()}


class Uniting(MemoryStore):
    """Union without delete: a field that should go stays."""

    def delete(self, table: Table, lost: NDArray[np.int64]) -> None:
        """Nothing goes."""


class StopsAnywhere(SiteBooks):
    """Stop without ``last``: the first equal state is enough, even before the last touched reading."""

    def _recompute(self, key: RegisterKey, first_ms: int, last_ms: int | None, until_ms: int) -> Run:
        return super()._recompute(key, first_ms, None if last_ms is None else first_ms - 1, until_ms)


class WrongEvents(SiteBooks):
    """Wrong event range: events are replaced over the rows that are, not over (start, stop]."""

    def _store_rows(self, runs: Sequence[Run]) -> None:
        super()._store_rows([_over_rows(run) for run in runs])


def _over_rows(run: Run) -> Run:
    after_ms, to_ms = run.from_ms - 1, run.to_ms - 1
    events = tuple(event for event in run.events if after_ms < event.at_ms <= to_ms)
    return replace(run, events_after_ms=after_ms, events_to_ms=to_ms, events=events)


class CheckpointsFirst(SiteBooks):
    """Checkpoints before rows: a crash between them leaves rows that no later run repairs."""

    def _store_rows(self, runs: Sequence[Run]) -> None:
        super()._store_checkpoints(runs)
        super()._store_rows(runs)

    def _store_checkpoints(self, runs: Sequence[Run]) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One broken rule."""

    name: str
    make_books: MakeBooks = books_of
    make_ports: MakePorts = Ports.empty
    slow: bool = False
    """May need some thousand histories."""


def _books(kind: type[SiteBooks]) -> MakeBooks:
    return lambda ports, steps: made(kind, ports, ports.checkpoints, steps)


def _checkpoints(kind: type[Wrapped]) -> MakeBooks:
    return lambda ports, steps: made(SiteBooks, ports, kind(ports.fuse, ports.checkpoints), steps)


def _uniting(intervals: Mapping[DeviceKey, float]) -> Ports:
    ports = Ports.empty(intervals)
    return replace(ports, store=Uniting(ports.fuse))


MUTANTS = (
    Mutant("v ignored", make_books=_checkpoints(AtOnceCertain), slow=True),
    Mutant("stop without last", make_books=_books(StopsAnywhere)),
    Mutant("stop by instant only", make_books=_checkpoints(ByInstant)),
    Mutant("union without delete", make_ports=_uniting),
    Mutant("row sums dropped", make_books=_checkpoints(Rowless)),
    Mutant("mean power dropped", make_books=_checkpoints(Meanless)),
    Mutant("wrong event range", make_books=_books(WrongEvents)),
    Mutant("checkpoints before rows", make_books=_books(CheckpointsFirst)),
)
