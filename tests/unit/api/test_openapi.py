"""The description of the API: current, complete, and in step with what is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from merilo_api.openapi import committed
from unit.api.asking import SITE, Client

FILE = Path(__file__).parents[3] / "docs" / "openapi.json"


def operations(client: Client) -> list[tuple[str, dict[str, Any]]]:
    found = client.app.openapi()["paths"]
    return [(path, operation) for path, methods in found.items() for operation in methods.values()]


def test_the_committed_description_is_current(single: Client) -> None:
    assert FILE.read_text(encoding="utf-8") == committed(single.app), "run: merilo api openapi > docs/openapi.json"


def test_the_description_is_of_version_3_1_and_is_served(single: Client) -> None:
    assert single.get("/v1/openapi.json")["openapi"].startswith("3.1")


def test_every_operation_is_named_described_and_has_its_refusals(single: Client) -> None:
    names = [operation["operationId"] for _, operation in operations(single)]

    assert len(names) == len(set(names)) == 10
    for path, operation in operations(single):
        assert operation["summary"], path
        assert operation["description"], path
        assert {"200", "401", "404", "422", "429", "503"} <= set(operation["responses"]), path
        assert operation["responses"]["200"]["content"]["application/json"]["schema"], path
        assert operation["security"] == [{"key": []}], path
        for status, answer in operation["responses"].items():
            if status != "200":
                assert list(answer["content"]) == ["application/problem+json"]


def test_every_parameter_is_described(single: Client) -> None:
    for path, operation in operations(single):
        for parameter in operation.get("parameters", []):
            assert parameter["in"] == "path" or parameter.get("description"), (path, parameter["name"])


def test_no_reference_leads_nowhere(single: Client) -> None:
    text = orjson.dumps(single.app.openapi()).decode()
    known = set(single.app.openapi()["components"]["schemas"])

    asked = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert asked <= known
    assert not any(name.startswith("HTTPValidation") for name in known)


EXAMPLES = {
    "list_companies": "/v1/companies",
    "list_sites": "/v1/companies/acme/sites",
    "list_devices": f"{SITE}/devices",
    "list_meters": f"{SITE}/meters",
    "get_energy": f"{SITE}/energy?last=1d&resolution=15m",
    "get_series": f"{SITE}/series?last=1h",
    "get_quality": f"{SITE}/quality",
    "list_events": f"{SITE}/events",
    "get_now": f"{SITE}/now",
    "get_health": "/v1/health",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_sent_is_what_is_described(single: Client, name: str) -> None:
    document = single.app.openapi()
    operation = next(one for _, one in operations(single) if one["operationId"] == name)
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]

    jsonschema.validate(single.get(EXAMPLES[name]), {**schema, "components": document["components"]})


def test_a_refusal_is_what_is_described(single: Client) -> None:
    document = single.app.openapi()
    schema = {"$ref": "#/components/schemas/Problem", "components": document["components"]}

    jsonschema.validate(single.ask(f"{SITE}/energy?last=x").json(), schema)
