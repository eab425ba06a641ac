"""Commands that the page shows can be typed as they stand, on the machine where they are read."""

from __future__ import annotations

import html
from pathlib import Path

import pytest

from merilo.ids import DeviceKey
from merilo.instants import MINUTE_MS
from merilo.ports import Point
from merilo_api.page.shell import Shell, shell_at
from unit.api.asking import ELSEWHERE, Client
from unit.api.scene import ACME, NOW, Scene


def commands(scene: Scene, **more: str) -> list[str]:
    found = Client(scene).get("/v1/health", **more)["companies"][0]["notices"]
    return [one["command"] for one in found]


@pytest.fixture
def troubled(scene: Scene) -> Scene:
    """A device that is silent and one that is new, in a data folder with a space in its name."""
    start = NOW // MINUTE_MS * MINUTE_MS
    scene.registry.see_devices([DeviceKey(*ACME, "new")], NOW)
    scene.store.write("acme", "device_health", [Point((*ACME, "office"), start, {"up": 0.0})])
    scene.shell = Shell("/srv/my data", "/srv/my data/site.yaml")
    return scene


def test_a_command_names_the_data_folder_and_the_gateways_file(troubled: Scene) -> None:
    assert commands(troubled) == [
        "merilo --data '/srv/my data' meter confirm acme/hq",
        "merilo gateway read office -c '/srv/my data/site.yaml'",
    ]
    assert "merilo --data '/srv/my data' meter confirm acme/hq" in html.unescape(Client(troubled).ask("/").text)


def test_paths_of_this_machine_are_told_to_nobody_elsewhere(two: Scene) -> None:
    two.shell = Shell("/srv/secret", "/srv/secret/site.yaml")
    start = NOW // MINUTE_MS * MINUTE_MS
    two.store.write("acme", "device_health", [Point((*ACME, "office"), start, {"up": 0.0})])

    elsewhere = commands(two, key="acme", host=ELSEWHERE)

    assert elsewhere == ["merilo gateway read office -c gateway.yaml"]
    assert "/srv" not in Client(two).ask("/", host=ELSEWHERE).text


def test_without_a_company_the_first_command_names_the_data_folder(empty: Scene) -> None:
    empty.shell = Shell("/srv/merilo")

    assert 'merilo --data /srv/merilo company add acme --name "Acme Ltd"' in html.unescape(Client(empty).ask("/").text)


def test_what_lies_in_the_data_folder_is_named_and_the_usual_folder_is_not(tmp_path: Path) -> None:
    assert shell_at(tmp_path, tmp_path) == Shell("", "gateway.yaml")

    (tmp_path / "site.yaml").touch()

    assert shell_at(tmp_path, tmp_path) == Shell("", f"{tmp_path}/site.yaml")
    assert shell_at(tmp_path, tmp_path / "usual") == Shell(str(tmp_path), f"{tmp_path}/site.yaml")
