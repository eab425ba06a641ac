"""The page: server-rendered, readable without scripts; charts are added where scripts run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, FastAPI, Request
from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from merilo.errors import StoreError
from merilo.instants import to_text
from merilo.site import Company, Site
from merilo_adapters.registry import Registry
from merilo_api.access import COOKIE, Caller, caller
from merilo_api.catalogue import current
from merilo_api.health import company_health, dropped
from merilo_api.page.notices import sentences
from merilo_api.page.view import PageView, page_view
from merilo_api.page.words import LANGUAGES, Words, choose
from merilo_api.problems import Refused

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
LANGUAGE_COOKIE = "merilo_lang"
YEAR_S = 31_536_000

router = APIRouter(include_in_schema=False)
_pages = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=select_autoescape(default=True),
    extensions=["jinja2.ext.i18n"],
    trim_blocks=True,
    lstrip_blocks=True,
)


def mount(app: FastAPI) -> None:
    """Serves styles, scripts and the vendored charts."""
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")


def _render(request: Request, name: str, words: Words, status: int = 200, **values: Any) -> HTMLResponse:
    template = _pages.get_template(name)
    query = dict(request.query_params)
    others = [(code, "?" + urlencode({**query, "lang": code})) for code in LANGUAGES]
    text = template.render(_=words.text, w=words, lang=words.language, languages=others, **values)
    answer = HTMLResponse(text, status, headers={"Cache-Control": "private, no-store"})
    if query.get("lang") in LANGUAGES:
        answer.set_cookie(LANGUAGE_COOKIE, words.language, max_age=YEAR_S, samesite="strict", httponly=True)
    return answer


def _words(request: Request) -> Words:
    asked, kept = request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)
    return Words(choose(asked, kept, request.headers.get("accept-language", "")))


@router.get("/", response_class=HTMLResponse)
def home(request: Request) -> Response:
    """The company's page, or the form that asks for a key."""
    words = _words(request)
    try:
        who = caller(request)
    except Refused as refused:
        return _render(request, "login.html", words, refused.status, failed=COOKIE in request.cookies)
    registry: Registry = request.app.state.registry
    companies = [c for c in registry.companies() if who.company in (None, c.id)]
    if not companies:
        return _render(request, "empty.html", words)
    asked = request.query_params.get("company")
    company = next((c for c in companies if c.id == asked), companies[0])
    sites = registry.sites(company.id)
    if not sites:
        return _render(request, "empty.html", words, company=company)
    site = next((s for s in sites if s.id == request.query_params.get("site")), sites[0])
    return _company(request, words, who, company, companies, site, sites)


def _company(
    request: Request,
    words: Words,
    who: Caller,
    company: Company,
    companies: list[Company],
    site: Site,
    sites: list[Site],
) -> Response:
    registry: Registry = request.app.state.registry
    now_ms: int = request.app.state.clock.now_ms()
    health = company_health(request, company, now_ms)
    view: PageView | None = None
    try:
        meters = current(registry.meters(company.id, site.id), now_ms)
        view = page_view(request.app.state.stores.of(company.id), site, meters, now_ms)
    except StoreError as error:
        log.warning("page without numbers company=%s reason=%s", company.id, error)
    found = sentences(health, view, words)
    return _render(
        request,
        "company.html",
        words,
        company=company,
        companies=companies,
        site=site,
        sites=sites,
        view=view,
        health=health,
        notices=found,
        rejected=dropped(request.app.state.work, company.id),
        data=orjson.dumps(chart_data(view, words)).decode().replace("</", "<\\/") if view else "{}",
        now=to_text(now_ms),
    )


def chart_data(view: PageView, words: Words) -> dict[str, Any]:
    """The series that the charts draw: the numbers of the tables, and their words."""
    mains = [row for row in view.meters if row.role == "main"] or view.meters
    days = view.days
    return {
        "lang": words.language,
        "live": [{"name": row.meter, "points": [[at, round(p, 1)] for at, p in row.live]} for row in mains],
        "days": {
            "labels": [words.day(day.start_ms, view.tz) for day in days],
            "metered": [round(day.metered_wh / 1000, 2) for day in days],
            "bridged": [round(day.bridged_wh / 1000, 2) for day in days],
            "estimated": [round(day.estimated_wh / 1000, 2) for day in days],
            "missing": [None if day.coverage is None else round(1 - day.coverage, 3) for day in days],
        },
        "words": {
            "metered": words.text("metered"),
            "bridged": words.text("bridged"),
            "estimated": words.text("estimated"),
            "missing": words.text("missing share of the day"),
            "power": words.text("Power"),
        },
        "tz": view.tz.key,
    }


@router.post("/login")
async def login(request: Request) -> Response:
    """Takes an API key from the form and keeps it in a cookie that scripts cannot read."""
    form = (await request.body()).decode("utf-8", errors="replace")
    from urllib.parse import parse_qs

    key = parse_qs(form).get("key", [""])[0].strip()
    answer = RedirectResponse("/", 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, key[:200], max_age=YEAR_S, samesite="strict", httponly=True, secure=secure)
    return answer


@router.post("/logout")
def logout() -> Response:
    """Forgets the key."""
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/docs", response_class=HTMLResponse)
def docs(request: Request) -> Response:
    """The description of the API, with assets of our own."""
    return _render(request, "docs.html", _words(request))
