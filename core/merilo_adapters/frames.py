"""Frames compared and cut: what a replace must delete and write, what a read gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from merilo.frame import Column, Frame
from merilo.schema import Measurement

Mask = NDArray[np.bool_]


class Difference(NamedTuple):
    """Rows of the old and of the new frame that are touched."""

    lost: Mask
    """Per old row: the instant is gone, or the new row lacks a field that the old one has."""
    changed: Mask
    """Per new row: the instant is new, or a field is new, other or gone."""


def difference(old: Frame, new: Frame) -> Difference:
    """Compares two frames of one series, instant by instant and field by field; floats by value."""
    lost = np.ones(len(old), bool)
    changed = np.ones(len(new), bool)
    _, at_old, at_new = np.intersect1d(old.at_ms, new.at_ms, assume_unique=True, return_indices=True)
    loses = np.zeros(len(at_old), bool)
    differs = np.zeros(len(at_old), bool)
    for name in {*old.numbers, *new.numbers}:
        before, after = _column(old, name)[at_old], _column(new, name)[at_new]
        had, has = ~np.isnan(before), ~np.isnan(after)
        loses |= had & ~has
        differs |= (had != has) | (had & has & (before != after))
    for name in {*old.texts, *new.texts}:
        was, now = _texts(old, name), _texts(new, name)
        for i, (k_old, k_new) in enumerate(zip(at_old.tolist(), at_new.tolist(), strict=True)):
            if was[k_old] != now[k_new]:
                differs[i] = True
                loses[i] |= now[k_new] is None
    lost[at_old] = loses
    changed[at_new] = differs
    return Difference(lost, changed)


def _column(frame: Frame, name: str) -> Column:
    found = frame.numbers.get(name)
    return np.full(len(frame), np.nan) if found is None else found


def _texts(frame: Frame, name: str) -> Sequence[str | None]:
    found = frame.texts.get(name)
    return [None] * len(frame) if found is None else found


def select(frame: Frame, mask: Mask) -> Frame:
    """The rows of the mask."""
    chosen = np.flatnonzero(mask).tolist()
    return Frame(
        frame.at_ms[mask],
        {name: column[mask] for name, column in frame.numbers.items()},
        {name: [texts[i] for i in chosen] for name, texts in frame.texts.items()},
    )


def fields_of(frame: Frame) -> frozenset[str]:
    """The fields that at least one row has."""
    numbers = (name for name, column in frame.numbers.items() if not bool(np.isnan(column).all()))
    return frozenset((*numbers, *(name for name, texts in frame.texts.items() if any(t is not None for t in texts))))


def trimmed(measurement: Measurement, frame: Frame, chosen: tuple[str, ...] | None) -> Frame:
    """What a read gives: rows that have one of the fields, and all chosen columns, or those that have a value."""
    present = np.zeros(len(frame), bool)
    for column in frame.numbers.values():
        present |= ~np.isnan(column)
    for texts in frame.texts.values():
        present |= np.fromiter((text is not None for text in texts), bool, len(frame))
    if not bool(present.all()):
        frame = select(frame, present)
    if chosen is None:
        chosen = tuple(sorted(fields_of(frame)))
    count = len(frame)
    return Frame(
        frame.at_ms,
        {n: frame.numbers.get(n, np.full(count, np.nan)) for n in chosen if n in measurement.numbers},
        {n: frame.texts.get(n, [None] * count) for n in chosen if n in measurement.texts},
    )
