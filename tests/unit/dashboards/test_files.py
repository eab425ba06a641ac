"""The committed board files are what the boards give, and the command says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from merilo.errors import ConfigError
from merilo_dashboards.catalogue import boards
from merilo_dashboards.commands import app
from merilo_dashboards.files import FOLDER, differing, rendered_files, write
from merilo_dashboards.lint import faults


def test_committed_files_are_current_and_keep_every_rule() -> None:
    files = rendered_files(boards())

    assert differing(FOLDER, files) == []
    assert faults(files) == []


def test_what_is_missing_changed_or_stray_is_named(tmp_path: Path) -> None:
    files = rendered_files(boards())
    assert len(write(tmp_path, files)) == len(files) == 2
    assert write(tmp_path, files) == []

    (tmp_path / "en" / "merilo-company-en.json").unlink()
    (tmp_path / "bg" / "merilo-company-bg.json").write_text("{}")
    (tmp_path / "bg" / "old.json").write_text("{}")

    assert differing(tmp_path, files) == [
        "bg/merilo-company-bg.json: differs from what its board gives now",
        "en/merilo-company-en.json: missing",
        "bg/old.json: no board makes this file",
    ]


def test_check_fails_on_a_changed_file_and_says_what_to_run(tmp_path: Path) -> None:
    run = CliRunner()
    built = run.invoke(app, ["build", "--out", str(tmp_path)])
    assert built.exit_code == 0
    assert run.invoke(app, ["build", "--check", "--out", str(tmp_path)]).exit_code == 0

    path = tmp_path / "en" / "merilo-company-en.json"
    path.write_text(path.read_text().replace("Power now", "Power"))
    checked = run.invoke(app, ["build", "--check", "--out", str(tmp_path)])

    assert checked.exit_code == 1
    assert "en/merilo-company-en.json: differs" in checked.stderr
    assert "merilo boards build" in checked.stderr
    assert "Power now" not in path.read_text()


def test_the_zone_of_a_company_elsewhere_is_its_boards_zone(tmp_path: Path) -> None:
    built = CliRunner().invoke(app, ["build", "--out", str(tmp_path), "--zone", "Europe/Oslo"])

    assert built.exit_code == 0
    board = json.loads((tmp_path / "en" / "merilo-company-en.json").read_text())
    assert board["timezone"] == "Europe/Oslo"
    assert board["templating"]["list"][-1]["query"] == "Europe/Oslo"


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="Europe/Sofya"):
        rendered_files(boards(), "Europe/Sofya")
