"""What Grafana is given at its start: the files, and the compose file that shows them to it, agree."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from merilo.schema import database
from merilo_dashboards.board import DATASOURCE_NAME
from merilo_dashboards.files import FOLDER
from merilo_dashboards.texts import LANGUAGES

ROOT = Path(__file__).parents[3]
PROVISIONING = ROOT / "dashboards" / "merilo_dashboards" / "provisioning"
SECRETS = {
    "INFLUXDB_PASSWORD": "a",
    "INFLUXDB_TOKEN": "b",
    "GRAFANA_PASSWORD": "c",
    "MERILO_COMPANY": "acme",
    "MERILO_GRAFANA_TOKEN": "d",
}


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def grafana() -> Any:
    return read(ROOT / "docker-compose.yml")["services"]["grafana"]


def mounts() -> dict[str, str]:
    """Path inside the container to path here."""
    parts = [volume.split(":") for volume in grafana()["volumes"]]
    return {part[1]: part[0] for part in parts}


def test_boards_and_provisioning_are_mounted_where_the_files_name_them() -> None:
    found = mounts()

    assert (ROOT / found["/etc/grafana/provisioning"]).resolve() == PROVISIONING
    assert (ROOT / found["/var/lib/merilo/boards"]).resolve() == FOLDER
    for provider in read(PROVISIONING / "dashboards" / "merilo.yaml")["providers"]:
        inside = Path(provider["options"]["path"])
        assert inside.parent == Path("/var/lib/merilo/boards")
        assert list((FOLDER / inside.name).glob("*.json")), f"{inside} holds no board"


def test_mounts_are_read_only() -> None:
    for volume in grafana()["volumes"]:
        if volume.startswith("./"):
            assert volume.endswith(":ro"), volume


def test_every_name_of_the_environment_is_set_by_the_compose_file() -> None:
    texts = [path.read_text(encoding="utf-8") for path in PROVISIONING.rglob("*.yaml")]
    code = [line for text in texts for line in text.splitlines() if not line.lstrip().startswith("#")]
    named = {name for line in code for name in re.findall(r"\$\{?([A-Z_]+)", line)}

    assert named == {"MERILO_INFLUX_URL", "MERILO_INFLUX_TOKEN", "MERILO_COMPANY"}
    assert named <= grafana()["environment"].keys()


def test_the_data_source_reads_one_companys_database_by_influxql() -> None:
    (source,) = read(PROVISIONING / "datasources" / "merilo.yaml")["datasources"]

    assert (source["name"], source["type"], source["access"]) == (DATASOURCE_NAME, "influxdb", "proxy")
    assert source["jsonData"] == {
        "version": "InfluxQL",
        "dbName": database("$MERILO_COMPANY"),
        "httpMode": "POST",
        "timeInterval": "10s",
    }
    assert source["secureJsonData"] == {"password": "$MERILO_INFLUX_TOKEN"}
    assert source["editable"] is False
    assert len(source["uid"]) <= 40


def test_boards_cannot_be_deleted_or_edited_and_folders_keep_their_uid() -> None:
    providers = read(PROVISIONING / "dashboards" / "merilo.yaml")["providers"]

    assert [one["folderUid"] for one in providers] == [f"merilo-{language}" for language in LANGUAGES]
    assert len({one["folder"] for one in providers}) == len(providers)
    for one in providers:
        assert one["orgId"] == 1  # an organisation that does not exist keeps the server from starting
        assert one["disableDeletion"] is True
        assert one["allowUiUpdates"] is False
        assert one["updateIntervalSeconds"] == 10


def test_docker_compose_accepts_the_file() -> None:
    for command in (["docker", "compose"], ["docker-compose"]):
        found = shutil.which(command[0])
        if found and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            checked = subprocess.run(
                [*command, "-f", str(ROOT / "docker-compose.yml"), "config", "--quiet"],
                env={**SECRETS, "PATH": str(Path(found).parent)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert checked.returncode == 0, checked.stderr
            return
    pytest.skip("neither docker compose nor docker-compose is on this machine")
