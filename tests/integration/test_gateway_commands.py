"""``merilo gateway read`` and ``check``: what they print and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from merilo_gateway.commands import app
from real import free_port, mosquitto
from unit.gateway.fakes import Server, f32, sdm630
from unit.gateway.rig import MAIN, config, tcp_bus


def file(folder: Path, broker: int, device: int, devices: str = MAIN) -> str:
    path = folder / "gateway.yaml"
    path.write_text(config(broker, tcp_bus(device, devices), interval="10s"))
    return str(path)


def call(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_read_shows_each_value_beside_its_register_and_words(tmp_path: Path) -> None:
    with Server({1: sdm630(1234.5)}) as device:
        code, out, _ = call("read", "main", "-c", file(tmp_path, 1, device.port), "--raw", "--json")

    found = json.loads(out)
    values = {v["quantity"]: v for v in found["values"]}
    assert code == 0
    assert (found["device"], found["serial"]) == ("main", "4711")
    assert values["active_power_w"]["value"] == pytest.approx(1234.5)
    assert values["active_power_w"]["register"] == "4:52"
    assert values["active_power_w"]["words"] == list(f32(1234.5))
    assert found["missing"] == []


def test_read_says_what_is_missing_and_ends_with_5(tmp_path: Path) -> None:
    image = sdm630()
    image.put(4, 0, (0x7FC0, 0))  # not a number, IEEE 754

    with Server({1: image}) as device:
        code, out, _ = call("read", "main", "-c", file(tmp_path, 1, device.port))

    assert code == 5
    assert "missing: voltage_l1_n_v not_a_number" in out


def test_a_device_that_does_not_answer_ends_with_4(tmp_path: Path) -> None:
    code, out, err = call("read", "main", "-c", file(tmp_path, 1, free_port()))

    assert (code, out) == (4, "")
    assert "cannot be opened" in err


def test_a_device_that_the_file_does_not_have_ends_with_3_and_names_the_nearest(tmp_path: Path) -> None:
    code, _, err = call("read", "mian", "-c", file(tmp_path, 1, 1))

    assert code == 3
    assert "main" in err


def test_a_wrong_file_ends_with_3_and_shows_the_line(tmp_path: Path) -> None:
    path = file(tmp_path, 1, 1, MAIN.replace("unit: 1", "unit: 300"))

    for command in (["check", "--offline"], ["read", "main"], ["run"]):
        code, _, err = call(*command, "-c", path)
        assert code == 3
        assert "gateway.yaml:" in err
        assert "unit: 300" in err


def test_a_missing_file_ends_with_3_and_an_unknown_option_with_2(tmp_path: Path) -> None:
    assert call("check", "-c", str(tmp_path / "none.yaml"))[0] == 3
    assert call("check", "--nonsense")[0] == 2


def test_check_without_the_site_shows_the_bus_time(tmp_path: Path) -> None:
    code, out, _ = call("check", "--offline", "-c", file(tmp_path, 1, 1))

    assert code == 0
    assert "main: " in out
    assert "reads" in out


@pytest.mark.real
def test_check_asks_every_device_and_the_broker(tmp_path: Path) -> None:
    with Server({1: sdm630()}) as device, mosquitto() as broker:
        code, out, _ = call("check", "--json", "-c", file(tmp_path, broker.port, device.port))

    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert {line["level"] for line in lines} == {"ok"}
    assert any("MQTT 5" in line["detail"] for line in lines)


@pytest.mark.real
def test_check_ends_with_5_when_a_part_does_not_answer(tmp_path: Path) -> None:
    two = MAIN + "      - {id: second, profile: eastron_sdm630, unit: 2}\n"
    with Server({1: sdm630()}) as device, mosquitto() as broker:
        code, out, _ = call("check", "-c", file(tmp_path, broker.port, device.port, two))

    assert code == 5
    assert "unreachable  device second" in out
