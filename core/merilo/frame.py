"""Rows of one stored series, in columns: what stores give and what `replace` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Instants = NDArray[np.int64]
Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Rows of one series, ordered by instant, instants unique.

    ``numbers`` holds one float64 column per field; NaN means that the row has no such field.
    ``texts`` holds one list per text field; None means that the row has no such field.

    Raises:
        ValueError: Columns of different length, or instants that do not strictly increase.
    """

    at_ms: Instants
    numbers: Mapping[str, Column] = field(default_factory=dict)
    texts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.at_ms)
        lengths = {name: len(column) for name, column in self.numbers.items()}
        lengths |= {name: len(texts) for name, texts in self.texts.items()}
        for name, length in lengths.items():
            if length != n:
                raise ValueError(f"column {name} has {length} rows, expected {n}")
        if n > 1 and not bool(np.all(np.diff(self.at_ms) > 0)):
            raise ValueError("instants of a frame must strictly increase")

    def __len__(self) -> int:
        return len(self.at_ms)

    @classmethod
    def empty(cls) -> Frame:
        """A frame without rows."""
        return cls(np.empty(0, np.int64))

    def between(self, start_ms: int, end_ms: int) -> Frame:
        """The rows of [start, end)."""
        low, high = (int(i) for i in np.searchsorted(self.at_ms, (start_ms, end_ms)))
        return Frame(
            self.at_ms[low:high],
            {name: column[low:high] for name, column in self.numbers.items()},
            {name: list(column[low:high]) for name, column in self.texts.items()},
        )

    def row(self, index: int) -> dict[str, float | str]:
        """The fields that this row has."""
        found: dict[str, float | str] = {}
        for name, column in self.numbers.items():
            value = float(column[index])
            if value == value:
                found[name] = value
        for name, texts in self.texts.items():
            text = texts[index]
            if text is not None:
                found[name] = text
        return found

    def rows(self) -> dict[int, dict[str, float | str]]:
        """All rows by instant: for comparisons and small frames."""
        return {int(at): self.row(i) for i, at in enumerate(self.at_ms)}


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A frame and whose it is."""

    measurement: str
    tags: Mapping[str, str]
    frame: Frame
