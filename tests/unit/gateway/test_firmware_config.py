"""What ships to a site is what the program understands, and what systemd and udev accept."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from merilo_gateway.settings import load_settings

FOLDER = Path(__file__).parents[3] / "firmware_config"
UNIT = FOLDER / "systemd" / "merilo-gateway.service"
RULES = FOLDER / "udev" / "60-merilo-rs485.rules"


def test_the_commented_file_is_valid_and_names_every_kind_of_source() -> None:
    settings = load_settings(FOLDER / "gateway.yaml", {}, secrets=False)

    assert {bus.endpoint.kind for bus in settings.model.buses} == {"serial", "tcp", "rtu-over-tcp"}
    assert settings.model.mqtt_in
    assert all(plan.load < 1 for plan in settings.plans())


def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not on this machine")
    return found


def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    program = analyze()
    unit = tmp_path / UNIT.name
    # The program is not installed where the unit expects it: only its path is changed for the check.
    unit.write_text(UNIT.read_text().replace("/opt/merilo/bin/merilo", "/bin/true"))

    done = subprocess.run([program, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)

    said = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line or "rror" in line]
    assert said == []


def test_the_unit_is_kept_apart_from_the_rest_of_the_machine() -> None:
    program = analyze()

    done = subprocess.run(
        [program, "security", "--offline=true", "--no-pager", "--threshold=30", str(UNIT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    level = re.search(r"Overall exposure level for \S+: (\d+\.\d)", done.stdout)
    assert level is not None, done.stdout + done.stderr
    assert float(level[1]) <= 3.0
    assert done.returncode == 0


def test_the_unit_is_fed_by_the_program_and_never_gives_up() -> None:
    text = UNIT.read_text()

    for line in ("Type=notify", "NotifyAccess=main", "Restart=always", "StartLimitIntervalSec=0"):
        assert line in text.splitlines()
    assert "time-sync.target" not in [
        w for line in text.splitlines() if line.startswith("After=") for w in line.split()
    ]


def test_every_udev_line_is_made_of_keys_operators_and_quoted_values() -> None:
    item = r'[A-Z]+(\{[A-Za-z0-9_/]+\})?(==|!=|\+=|=)"[^"]*"'
    lines = [line for line in RULES.read_text().splitlines() if line and not line.startswith("#")]

    assert all(re.fullmatch(rf"{item}(, {item})*", line) for line in lines)
    text = "\n".join(lines)
    assert set(re.findall(r'GOTO="([^"]+)"', text)) == set(re.findall(r'LABEL="([^"]+)"', text))
    vendors = set(re.findall(r'ID_VENDOR_ID\}=="([0-9a-f]{4})"', text))
    assert vendors == {"0403", "10c4", "067b", "1a86"}  # FTDI, Silicon Labs, Prolific, WCH: usb.ids
