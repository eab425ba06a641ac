"""Which unit tests are quick: pure decisions, no disk, few examples. ``make test-unit`` runs those."""

from __future__ import annotations

from pathlib import Path

import pytest

UNIT = Path(__file__).parent / "unit"
THOROUGH = (
    "adapters",
    "api",
    "cli",
    "collector",
    "dashboards",
    "registry",
    "simulators",
    "any_order",
    "ledger/test_properties.py",
    "ledger_spec/test_properties.py",
    "ledger_spec/test_accuracy.py",
    "ledger_spec/test_fault_table.py",
    "test_decisions_walk.py",
    "test_mqtt.py",
    "test_outbox.py",
)
"""Folders and files that use a disk or many random examples."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is thorough."""
    places = tuple(str(UNIT / name) for name in THOROUGH)
    for item in items:
        if str(item.path).startswith(places):
            item.add_marker(pytest.mark.thorough)
