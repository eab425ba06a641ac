"""What ``merilo up`` says before anything runs."""

from __future__ import annotations

from pathlib import Path

from merilo_cli.up import missing_lines


def test_a_serial_port_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    there = tmp_path / "ttyUSB0"
    there.touch()
    gone = tmp_path / "ttyUSB1"
    buses = [{"device": str(there)}, {"host": "10.0.0.5"}, {"device": str(gone)}]

    [line] = missing_lines({"buses": buses})

    assert f"{gone} is not there" in line
    assert "plug the adapter in" in line


def test_a_site_without_buses_has_nothing_missing() -> None:
    assert missing_lines({}) == []
