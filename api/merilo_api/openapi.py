"""The description of the API (OpenAPI 3.1), made from the routes."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from merilo_api.answers import Problem
from merilo_api.problems import MEDIA_TYPE

ABOUT = """Everything below `/v1` answers with a key: `Authorization: Bearer merilo_live_…`, made by `merilo key add`.
On the machine itself, with one company, no key is needed.

- Periods are half-open, `[from, to)`. Instants carry their offset, or `tz` is named.
- A value that is missing is `null`, never 0; energies are in Wh and powers in W.
- Series come in columns of equal length; each interval of 15 minutes has a state: metered, bridged, estimated, missing.
- Errors are `application/problem+json` with a code, what was expected, what was found, and where.
- Answers carry an `ETag`; send it back in `If-None-Match`.
- CSV files by `Accept: text/csv` or `format=csv`; `locale=bg` for a Bulgarian spreadsheet.
"""
TAGS = [
    {"name": "what there is", "description": "Companies, sites, devices, meters."},
    {"name": "numbers", "description": "Energy, power, readings, quality, events."},
    {"name": "health", "description": "Does data move, and what to do where it does not."},
]
_REFUSALS = {
    "401": "No key, or an unknown or revoked one",
    "403": "The key may not read",
    "404": "Not there, or not yours: the two look alike",
    "422": "A parameter is wrong",
    "429": "Too many requests; Retry-After says when to try again",
    "503": "Store or registry does not answer; Retry-After says when to try again",
}
_CSV = {"get_energy", "get_series", "get_quality", "list_events"}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "from": {"october": {"value": "2026-10-01T00:00:00+03:00"}},
    "to": {"october": {"value": "2026-11-01T00:00:00+02:00"}},
    "period": {"month": {"value": "2026-10"}, "day": {"value": "2026-10-25"}},
    "last": {"days": {"value": "30d"}},
    "tz": {"sofia": {"value": "Europe/Sofia"}},
    "company": {"acme": {"value": "acme"}},
    "site": {"hq": {"value": "hq"}},
}

router = APIRouter(include_in_schema=False)


@router.get("/v1/openapi.json")
def description(request: Request) -> Response:
    """The description: no login, no data."""
    headers = {"Cache-Control": "no-cache"}
    return Response(orjson.dumps(request.app.openapi()), media_type="application/json", headers=headers)


def describe(app: FastAPI) -> None:
    """Gives the application its description, with our refusals in place of the framework's."""

    def made() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _refined(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    summary=app.summary,
                    description=app.description,
                    routes=app.routes,
                    tags=app.openapi_tags,
                )
            )
        return app.openapi_schema

    app.openapi = made  # type: ignore[method-assign]  # the framework's own way


def _refined(found: dict[str, Any]) -> dict[str, Any]:
    schemas = found["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs", {}) | {"Problem": problem}
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in found["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            answers |= {status: {"description": text, "content": content} for status, text in _REFUSALS.items()}
            answers["200"]["description"] = operation["summary"]
            if operation["operationId"] in _CSV:
                answers["200"]["content"]["text/csv"] = {"schema": {"type": "string"}}
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    parameter["schema"]["pattern"] = "^[a-z0-9][a-z0-9-]{0,31}$"
                if parameter["name"] in _EXAMPLES:
                    parameter["examples"] = _EXAMPLES[parameter["name"]]
    found["components"]["schemas"] = dict(sorted(schemas.items()))
    return found


def committed(app: FastAPI) -> str:
    """The description as a file that a review can read."""
    return orjson.dumps(app.openapi(), option=orjson.OPT_INDENT_2).decode() + "\n"
