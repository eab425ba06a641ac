"""The README's demo, checked against the simulator's truth, and with a busy port and a second start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

MERILO = [sys.executable, "-m", "merilo_cli.main"]


def test_demo_check_loses_nothing_and_agrees_with_the_truth(tmp_path: Path) -> None:
    environment = {**os.environ, "MERILO_DATA": str(tmp_path)}

    run = subprocess.run(
        [*MERILO, "demo", "--check"], env=environment, capture_output=True, text=True, timeout=300, check=False
    )

    print(run.stderr)
    found = json.loads(run.stdout)
    print(found)
    assert set(found) == {
        "first_live_s",
        "readings_sent",
        "readings_stored",
        "missing",
        "energy_error_pct",
        "store",
        "broker",
    }
    assert found["missing"] == 0
    assert found["readings_sent"] == found["readings_stored"] > 1_000
    assert found["energy_error_pct"] <= 0.1
    assert run.returncode == 0
