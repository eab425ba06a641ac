"""What ``merilo up`` says before anything runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from merilo_cli.up import check_file, missing_lines, up

SITE = """\
version: 1
company: acme
site: hq
timezone: Europe/Sofia
buses:
  - device: /dev/ttyUSB0
    devices:
      - {id: main, profile: eastron_sdm630, unit: 1, role: main}
"""


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


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("company: Acme Ltd", "site.yaml:2:10: company: company 'Acme Ltd': expected 1 to 32 of a-z"),
        ("timezone: Europe/Sofa", "site.yaml:4:11: timezone: expected the name of a time zone"),
        ("role: kitchen", "role: expected one of main, it, ups_in"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_full_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str, says: str
) -> None:
    key = wrong.partition(":")[0]
    file = tmp_path / "site.yaml"
    file.write_text(re.sub(rf"{key}: [\w/]+", wrong, SITE))

    with pytest.raises(SystemExit) as ended:
        up(file, tmp_path / "data")

    assert ended.value.code == 3
    said = capsys.readouterr().err
    assert says in said
    assert "^" in said
    assert not (tmp_path / "data").exists()


def test_a_file_that_is_right_is_let_through_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.yaml").write_text(SITE)

    check_file(tmp_path / "site.yaml")

    assert capsys.readouterr() == ("", "")
