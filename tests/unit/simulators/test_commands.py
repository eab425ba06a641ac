"""The command's words: what history and truth print, and what a wrong option is told."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from merilo.errors import ConfigError
from merilo.instants import HOUR_MS
from merilo_simulators.commands import app
from merilo_simulators.physics import CIRCUITS, ORIGIN_MS
from merilo_simulators.truth import truth

HOUR = ["--from", "2024-01-01T00:00:00Z", "--to", "2024-01-01T01:00:00Z", "--seed", "7"]


def test_truth_prints_every_circuit_in_milliwatt_hours() -> None:
    said = CliRunner().invoke(app, ["truth", *HOUR])

    told = json.loads(said.stdout)
    assert set(told) == set(CIRCUITS)
    assert told["main"] == truth(7, "main", ORIGIN_MS, ORIGIN_MS + HOUR_MS)


def test_history_prints_one_reading_a_line() -> None:
    said = CliRunner().invoke(app, ["history", *HOUR, "--interval-s", "900"])

    rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert len(rows) == 4 * (6 + 8)
    assert rows[0]["device"] == "main"
    assert rows[0]["at_ms"] == ORIGIN_MS
    assert rows[0]["values"]["active_power_w"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["truth", "--from", "yesterday", "--to", "2024-01-01T00:00:00Z"], "not an ISO 8601 instant"),
        (["truth", "--from", "2024-01-01T00:00:00", "--to", "2024-01-01T00:00:00Z"], "no time zone"),
        (["run", "--site", "moon"], "not one of example"),
        (["run", "--baud", "300"], "outside 1200..115200"),
        (["run", "--unknown", "loud"], "not one of silent, exception"),
        (["run", "--clock", "1:2"], "expected three parts"),
    ],
)
def test_a_wrong_option_is_told_before_anything_starts(arguments: list[str], words: str) -> None:
    said = CliRunner().invoke(app, arguments)

    assert isinstance(said.exception, ConfigError)
    assert words in str(said.exception)
