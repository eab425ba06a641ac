"""The page: server-rendered, readable without scripts; charts are added where scripts run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, FastAPI, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, RedirectResponse, Response

from merilo.errors import ConfigError, StoreError
from merilo.ids import is_id
from merilo.site import Company, Site
from merilo_adapters.registry import Registry, RegistryUnavailableError
from merilo_api.access import COOKIE, KEY_MAX, address, caller, checked
from merilo_api.bodies import encoded
from merilo_api.catalogue import current
from merilo_api.health import company_health
from merilo_api.now import lacks
from merilo_api.page import charts, quality
from merilo_api.page.notices import most_urgent
from merilo_api.page.shell import shell_of
from merilo_api.page.static_files import YEAR_S, Files
from merilo_api.page.view import PageView, Reader
from merilo_api.page.words import LANGUAGE_COOKIE, LANGUAGES, Words, of_request
from merilo_api.problems import Refused

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
FORM = "application/x-www-form-urlencoded"

router = APIRouter(include_in_schema=False)
_pages = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def mount(app: FastAPI) -> None:
    """Serves styles, scripts and the vendored charts."""
    app.mount("/static", GZipMiddleware(Files(directory=HERE / "static"), minimum_size=1_000), name="static")


def _render(request: Request, name: str, words: Words, status: int = 200, **values: Any) -> HTMLResponse:
    template = _pages.get_template(name)
    query = dict(request.query_params)
    others = [(code, "?" + urlencode({**query, "lang": code})) for code in LANGUAGES]
    text = template.render(
        _=words.text,
        _n=words.count,
        w=words,
        lang=words.language,
        languages=others,
        with_key=COOKIE in request.cookies,
        typed=shell_of(request).typed,
        **values,
    )
    answer = HTMLResponse(
        text, status, headers={"Cache-Control": "private, no-store", "Content-Language": words.language}
    )
    if query.get("lang") in LANGUAGES:
        secure = request.url.scheme == "https"
        kept = {"max_age": YEAR_S, "samesite": "strict", "httponly": True, "secure": secure}
        answer.set_cookie(LANGUAGE_COOKIE, words.language, **kept)  # type: ignore[arg-type]  # keyword options
    return answer


@router.get("/", response_class=HTMLResponse)
def home(request: Request) -> Response:
    """The company's page, or the form that asks for a key."""
    words = of_request(request)
    try:
        who = caller(request)
        registry: Registry = request.app.state.registry
        companies = [c for c in registry.companies() if who.company in (None, c.id)]
        if not companies:
            return _render(request, "empty.html", words, company=None, missing="")
        sites = {company.id: registry.sites(company.id) for company in companies}
        asked = _asked(request)
        company = next((c for c in companies if c.id == asked[0]), None) if asked[0] else companies[0]
        if company is None:
            return _render(request, "empty.html", words, 404, company=None, missing=asked[0])
        if not sites[company.id]:
            return _render(request, "empty.html", words, company=company, missing="")
        site = next((s for s in sites[company.id] if s.id == asked[1]), None) if asked[1] else sites[company.id][0]
        if site is None:
            return _render(request, "empty.html", words, 404, company=None, missing=asked[1])
        places = [(c, s) for c in companies for s in sites[c.id]]
        return _company(request, words, company, site, places)
    except Refused as refused:
        failed = "wrong" if COOKIE in request.cookies or refused.status == 403 else ""
        answer = _render(request, "login.html", words, refused.status, failed=failed)
        if refused.retry_after_s:
            answer.headers["Retry-After"] = str(refused.retry_after_s)
        return answer
    except RegistryUnavailableError as error:
        log.warning("page without registry reason=%s", error)
        return _render(request, "broken.html", words, 503)


def _asked(request: Request) -> tuple[str, str]:
    """Company and site of the address, empty where it names none."""
    place = request.query_params.get("place", "")
    company, _, site = place.partition("/")
    company, site = request.query_params.get("company", company), request.query_params.get("site", site)
    return company[:40], site[:40]


def _company(
    request: Request, words: Words, company: Company, site: Site, places: list[tuple[Company, Site]]
) -> Response:
    registry: Registry = request.app.state.registry
    now_ms: int = request.app.state.clock.now_ms()
    health = company_health(request, company, words)
    place = f"{company.id}/{site.id}"
    notices = [one for one in health["notices"] if one["parameters"].get("site", place) == place]
    devices = registry.devices(company.id, site.id)
    view: PageView | None = None
    device_rows: list[quality.DeviceView] = []
    chosen = request.query_params.get("meter", "")
    try:
        store = request.app.state.stores.of(company.id)
        reader = Reader(store, site, now_ms, registry.decision_records(company.id, site.id), devices)
        meters = current(registry.meters(company.id, site.id), now_ms)
        view = reader.page(meters, chosen if is_id(chosen) else None)
        notices += lacks(view, words, shell_of(request))
        device_rows = quality.device_views(store, site, devices, health, now_ms)
    except (StoreError, ConfigError) as error:
        log.warning("page without numbers company=%s reason=%s", company.id, error)
    gateways = [one for one in health["gateways"] if one["site"] == site.id]
    found = most_urgent(notices)
    values = {
        "company": company,
        "site": site,
        "place": place,
        "places": places,
        "view": view,
        "gateways": gateways,
        "devices": device_rows,
        "events": quality.event_views(registry, site, now_ms, words),
        "notices": found,
        "more": len(notices) - len(found),
        "rejected": health["rejected"],
        "query": {"place": place} if len(places) > 1 else {},
    }
    if view is None:
        answer = _render(request, "company.html", words, 503, **values, data="{}")
        answer.headers["Retry-After"] = "10"
        return answer
    data = encoded(charts.chart_data(view, words)).decode().replace("<", "\\u003c")
    return _render(request, "company.html", words, **values, data=data, charts=charts)


@router.post("/login")
async def login(request: Request) -> Response:
    """Takes an API key from the form and keeps it in a cookie that scripts cannot read."""
    words = of_request(request)
    _same_origin(request)
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != FORM:
        raise Refused(415, "content_type", f"expected {FORM}", "header/content-type")
    wait_s = request.app.state.rates.take("login", address(request))
    if wait_s:
        answer = _render(request, "login.html", words, 429, failed="often")
        answer.headers["Retry-After"] = str(wait_s)
        return answer
    key = _form_key(await request.body())
    try:
        checked(request, key)
    except Refused as refused:
        return _render(request, "login.html", words, refused.status, failed="wrong")
    redirect = RedirectResponse("/", 303)
    secure = request.url.scheme == "https"
    redirect.set_cookie(COOKIE, key, max_age=YEAR_S, samesite="strict", httponly=True, secure=secure)
    return redirect


def _form_key(body: bytes) -> str:
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=4)
    except ValueError:
        raise Refused(422, "form", "expected a form with the field key", "body") from None
    if [name for name, _ in fields] != ["key"]:
        raise Refused(422, "form", "expected the field key, once, and no other", "body")
    return fields[0][1].strip()[:KEY_MAX]


def _same_origin(request: Request) -> None:
    """Refuses a form that another site sends: a browser says so."""
    origin = request.headers.get("origin")
    foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    if foreign or (origin is not None and origin.partition("://")[2] != request.headers.get("host", "")):
        raise Refused(403, "origin", "this form was sent by another site", "header/origin")


@router.post("/logout")
def logout(request: Request) -> Response:
    """Forgets the key."""
    _same_origin(request)
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE, samesite="strict", httponly=True, secure=request.url.scheme == "https")
    return answer


@router.get("/docs", response_class=HTMLResponse)
def docs(request: Request) -> Response:
    """The description of the API, with assets of our own."""
    return _render(request, "docs.html", of_request(request))
