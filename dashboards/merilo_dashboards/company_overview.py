"""Company overview: power now, energy so far, how complete it is; for owners and facility managers.

Titles stay true when somebody picks dates by hand, because Grafana then drops a panel's own stretch of time: tiles
that are called by a period read the stored row of exactly that period and are empty where the dates leave it out.
"""

from __future__ import annotations

from merilo_dashboards import company_texts as words
from merilo_dashboards import influxql as q
from merilo_dashboards import limits, palette
from merilo_dashboards.board import Annotation, Board, Header, Period, Section, Variable
from merilo_dashboards.panels import month_bars, share_gauge, stacked_bars, states, table, tile
from merilo_dashboards.parts import (
    Meaning,
    Override,
    Panel,
    Place,
    Span,
    Target,
    Threshold,
    coloured,
    columns,
    meanings,
    shaded,
    steps,
)
from merilo_dashboards.texts import Named, Value

NAME = "merilo-company"

_SHARES = (
    Threshold(None, palette.POOR),
    Threshold(limits.COVERAGE_FAIR, palette.FAIR),
    Threshold(limits.COVERAGE_GOOD, palette.GOOD),
)
_ALIVE = (Threshold(None, palette.POOR), Threshold(1, palette.GOOD))
_STATE_COLOURS = {"metered": palette.METERED, "bridged": palette.BRIDGED, "estimated": palette.ESTIMATED}
_STATE_NAMES = {"metered": words.METERED, "bridged": words.BRIDGED, "estimated": words.ESTIMATED}


def company_overview() -> Board:
    """The board, not yet in one language."""
    return Board(
        name=NAME,
        title=words.TITLE,
        description=words.ABOUT,
        variables=_variables(),
        annotations=(_disturbances(),),
        header=Header(
            about=words.HEADER_ABOUT,
            content=words.HEADER,
            place=Place(0, 0, 24, 2),
            periods=(
                Period(words.TODAY, "now/d", "now/d"),
                Period(words.YESTERDAY, "now-1d/d", "now-1d/d"),
                Period(words.THIS_MONTH, "now/M", "now/M"),
                Period(words.LAST_MONTH, "now-1M/M", "now-1M/M"),
                Period(words.THIS_YEAR, "now/y", "now/y"),
                Period(words.LAST_YEAR, "now-1y/y", "now-1y/y"),
            ),
        ),
        sections=(Section(words.BY_MONTH, 14), Section(words.BY_METER, 23), Section(words.BY_DEVICE, 31)),
        panels=(
            (1, _power_now(Place(0, 2, 4, 4))),
            (2, _today(Place(4, 2, 4, 4))),
            (3, _this_month(Place(8, 2, 4, 4))),
            (4, _month_before(Place(12, 2, 4, 4))),
            (5, _complete(Place(16, 2, 4, 4))),
            (6, _devices(Place(20, 2, 4, 4))),
            (7, _power(Place(0, 6, 24, 8))),
            (8, _meters(Place(0, 24, 24, 7))),
            (9, _per_day(Place(0, 15, 14, 8))),
            (10, _per_month(Place(14, 15, 10, 8))),
            (11, _states(Place(0, 32, 24, 7))),
            (12, _events(Place(0, 39, 24, 8))),
        ),
        start="now/M",
        end="now/M",
        refresh="5m",
    )


def _variables() -> tuple[Variable, ...]:
    mine = '"company" =~ /^$company$/'
    return (
        Variable(name="company", label=words.COMPANY, query=q.values_of("company", "energy_1d")),
        Variable(name="site", label=words.SITE, query=q.values_of("site", "energy_1d", mine), many=True),
        # The name of the company's database, found among those that the credential may see.
        Variable(name="db", label=words.DATABASE, query="SHOW DATABASES", pattern="/^merilo-${company}$/", hidden=True),
    )


def _disturbances() -> Annotation:
    def query(title: str) -> str:
        picked = [f'"{title}"', '"device"', '"tags"', '"end_ms"']
        limit = f"LIMIT {limits.ANNOTATIONS_MAX}"
        return q.select(picked, q.source("events"), q.SCOPE, "\"kind\" = 'ledger'", q.PICKED, tail=limit)

    return Annotation(
        name=words.DISTURBANCES,
        query=Named(query("title_en"), query("title_bg")),
        title=Named("events.title_en", "events.title_bg"),
        text="device",
        colour=palette.POOR,
    )


def _power_now(place: Place) -> Panel:
    query = q.total_of_newest("power_1m", "power_mean_w", q.MAIN, q.last(limits.LIVE_SPAN))
    return tile(
        words.POWER_NOW, words.POWER_NOW_ABOUT, place, Target(query=query), unit="watt", no_value=words.NO_POWER
    )


def _today(place: Place) -> Panel:
    query = q.total("energy_1d", "energy_wh", "energy", q.MAIN, q.last(limits.DAY_SPAN), q.PICKED)
    return tile(
        words.TODAY,
        words.TODAY_ABOUT,
        place,
        Target(query=query),
        unit="watth",
        no_value=words.NO_ENERGY,
        span=Span(start="now/d"),
    )


def _this_month(place: Place) -> Panel:
    query = q.total("energy_1mo", "energy_wh", "energy", q.MAIN, q.last(limits.MONTH_SPAN), q.PICKED)
    return tile(
        words.THIS_MONTH,
        words.THIS_MONTH_ABOUT,
        place,
        Target(query=query),
        unit="watth",
        no_value=words.NO_ENERGY,
        span=Span(start="now/M"),
    )


def _month_before(place: Place) -> Panel:
    query = q.total("energy_1h", "energy_wh", "energy", q.MAIN, q.PICKED)
    return tile(
        words.MONTH_BEFORE,
        words.MONTH_BEFORE_ABOUT,
        place,
        Target(query=query),
        unit="watth",
        no_value=words.NO_ENERGY,
        span=Span(start="now/M", shift="1M"),
    )


def _complete(place: Place) -> Panel:
    query = q.select(['mean("coverage") AS "coverage"'], q.source("quality_1d"), q.SCOPE, q.PICKED)
    return share_gauge(
        words.COMPLETE,
        words.COMPLETE_ABOUT,
        place,
        Target(query=query),
        no_value=words.NO_QUALITY,
        thresholds=_SHARES,
    )


def _devices(place: Place) -> Panel:
    when = q.last(limits.HEALTH_SPAN)
    return tile(
        words.DEVICES,
        words.DEVICES_ABOUT,
        place,
        Target(query=q.total_of_newest("gateway_health", "up", q.SCOPE, when, "min"), alias=words.GATEWAYS_NAME),
        Target(query=q.total_of_newest("device_health", "up", q.SCOPE, when, "min"), alias=words.DEVICES_NAME),
        unit="none",
        decimals=0,
        no_value=words.NO_SIGNS,
        thresholds=_ALIVE,
        meanings=(Meaning("1", words.ALL_UP, palette.GOOD), Meaning("0", words.NOT_ALL_UP, palette.POOR)),
        coloured=True,
        sizes=(12, 18),
    )


def _power(place: Place) -> Panel:
    states = (
        Target(query=q.quarter_power(state, q.MAIN, q.PICKED), alias=name) for state, name in _STATE_NAMES.items()
    )
    missing = Target(query=q.quarters_without(q.MAIN, q.PICKED), alias=words.MISSING)
    return stacked_bars(
        words.POWER,
        words.POWER_ABOUT,
        place,
        missing,  # first, so that bars are drawn over the shade
        *states,
        unit="watt",
        no_value=words.NO_ENERGY,
        overrides=(
            *(coloured(_STATE_NAMES[state], colour) for state, colour in _STATE_COLOURS.items()),
            shaded(words.MISSING, words.MISSING, palette.MISSING),
        ),
        span=Span(start="7d", shown=True),
        bar_width=1.0,
    )


def _meters(place: Place) -> Panel:
    fields = {"energy": "energy_wh", "peak": "power_max_w", "complete": "coverage"}
    query = q.newest_rows("energy_1mo", fields, q.SCOPE, q.last(limits.MONTH_SPAN), q.PICKED)
    only_site: Value = {
        "title": words.ONLY_SITE,
        "url": "/d/${__dashboard.uid}?${company:queryparam}&var-site=${__value.raw}",
    }
    roles = tuple(Meaning(role, text) for role, text in words.ROLES.items())
    bar: Value = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
    return table(
        words.METERS,
        words.METERS_ABOUT,
        place,
        Target(query=query, format="table"),
        no_value=words.NOTHING,
        transformation=columns(("meter", "role", "site", "energy", "peak", "complete"), ("Time", "company")),
        sort=(words.ENERGY, True),
        span=Span(start="now/M"),
        overrides=(
            Override("meter", {"displayName": words.METER}),
            Override("role", {"displayName": words.ROLE, "mappings": meanings(roles), "custom.width": 150}),
            Override("site", {"displayName": words.SITE, "links": [only_site], "custom.width": 110}),
            Override(
                "energy",
                {
                    "displayName": words.ENERGY,
                    "unit": "watth",
                    "decimals": 1,
                    "min": 0,
                    "custom.cellOptions": bar,
                    "custom.minWidth": 200,
                },
            ),
            Override("peak", {"displayName": words.PEAK, "unit": "watt", "decimals": 1, "custom.width": 110}),
            Override(
                "complete",
                {
                    "displayName": words.COVERAGE,
                    "unit": "percentunit",
                    "decimals": 1,
                    "thresholds": steps(_SHARES),
                    "custom.cellOptions": {"type": "color-text"},
                    "custom.width": 100,
                },
            ),
        ),
    )


def _by_state(measurement: str) -> Target:
    fields = {state: f"energy_{state}_wh" for state in _STATE_NAMES}
    return Target(query=q.stacked_rows(measurement, fields, q.MAIN, q.PICKED), alias="$col")


def _states_named() -> tuple[Override, ...]:
    return tuple(
        Override(state, {"displayName": name, "color": {"mode": "fixed", "fixedColor": _STATE_COLOURS[state]}})
        for state, name in _STATE_NAMES.items()
    )


def _per_day(place: Place) -> Panel:
    below = q.rows_below("energy_1d", "coverage", limits.COVERAGE_FAIR, q.MAIN, q.PICKED)
    return stacked_bars(
        words.PER_DAY,
        words.PER_DAY_ABOUT,
        place,
        Target(query=below, alias="$col"),  # first, so that bars are drawn over the shade
        _by_state("energy_1d"),
        unit="watth",
        no_value=words.NO_ENERGY,
        overrides=(*_states_named(), shaded("below", words.INCOMPLETE, palette.MISSING)),
    )


def _per_month(place: Place) -> Panel:
    return month_bars(
        words.PER_MONTH,
        words.PER_MONTH_ABOUT,
        place,
        _by_state("energy_1mo"),
        unit="watth",
        no_value=words.NO_MONTH,
        overrides=_states_named(),
        span=Span(start="now-12M/M"),
    )


def _states(place: Place) -> Panel:
    return states(
        words.STATES,
        words.STATES_ABOUT,
        place,
        Target(query=q.lowest("gateway_health", "up", q.SCOPE, q.PICKED), alias="$tag_site · $tag_gateway"),
        Target(
            query=q.lowest("device_health", "up", q.SCOPE, q.PICKED),
            alias="$tag_site · $tag_gateway · $tag_device",
        ),
        no_value=words.NO_SIGNS_HERE,
        thresholds=_ALIVE,
        meanings=(Meaning("1", words.ANSWERS, palette.GOOD), Meaning("0", words.SILENT, palette.POOR)),
        span=Span(start="24h", shown=True),
    )


def _events(place: Place) -> Panel:
    shown = ("kind", "site", "device", "meter", "estimated_wh")

    def query(title: str) -> str:
        picked = [f'"{title}" AS "title"', *(f'"{name}"' for name in shown)]
        newest = f"ORDER BY time DESC LIMIT {limits.EVENTS_MAX}"
        return q.select(picked, q.source("events"), q.SCOPE, q.last(limits.EVENTS_SPAN), tail=newest)

    around: Value = {
        "title": words.AROUND,
        "url": "/d/${__dashboard.uid}?${company:queryparam}&${site:queryparam}"
        "&time=${__value.raw}&time.window=172800000",
    }
    kinds = tuple(Meaning(kind, text) for kind, text in words.KINDS.items())
    return table(
        words.EVENTS,
        words.EVENTS_ABOUT,
        place,
        Target(query=Named(query("title_en"), query("title_bg")), format="table"),
        no_value=words.NO_EVENTS,
        transformation=columns(("Time", "title", *shown), ()),
        overrides=(
            Override("Time", {"displayName": words.EVENT_TIME, "links": [around], "custom.width": 165}),
            Override("title", {"displayName": words.EVENT, "custom.minWidth": 240}),
            Override("kind", {"displayName": words.EVENT_KIND, "mappings": meanings(kinds), "custom.width": 100}),
            Override("site", {"displayName": words.SITE, "custom.width": 90}),
            Override("device", {"displayName": words.DEVICE, "custom.width": 130}),
            Override("meter", {"displayName": words.METER, "custom.width": 100}),
            Override(
                "estimated_wh",
                {
                    "displayName": words.ESTIMATED_ENERGY,
                    "unit": "watth",
                    "decimals": 1,
                    "noValue": "–",
                    "custom.width": 110,
                },
            ),
        ),
    )
