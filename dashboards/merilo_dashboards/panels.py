"""The kinds of panels as the boards use them: what a tile, a bar chart, a table needs beside its query."""

from __future__ import annotations

from collections.abc import Mapping

from merilo_dashboards.palette import NEUTRAL
from merilo_dashboards.parts import PLAIN, Meaning, Override, Panel, Place, Span, Target, Threshold
from merilo_dashboards.texts import Text, Value

_LEGEND: Mapping[str, Value] = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
_NO_LEGEND: Mapping[str, Value] = {**_LEGEND, "showLegend": False}
_TOOLTIP: Mapping[str, Value] = {"mode": "multi", "sort": "none", "hideZeros": False}
_TOOLTIP_ONE: Mapping[str, Value] = {"mode": "single", "sort": "none", "hideZeros": False}


def _reduced(calculation: str) -> Mapping[str, Value]:
    return {"values": False, "calcs": [calculation], "fields": ""}


def tile(
    title: Text,
    description: Text,
    place: Place,
    *targets: Target,
    unit: str,
    no_value: Text,
    decimals: int = 1,
    span: Span | None = None,
    thresholds: tuple[Threshold, ...] = PLAIN,
    meanings: tuple[Meaning, ...] = (),
    coloured: bool = False,
    sizes: tuple[int, int] | None = None,
) -> Panel:
    """One number, or a word that stands for one.

    Args:
        sizes: Of name and value in pixels; without, as large as fits.
        coloured: Whether the value has the colour of its threshold or meaning; a plain number has the text's colour.
    """
    return Panel(
        kind="stat",
        title=title,
        description=description,
        place=place,
        targets=targets,
        unit=unit,
        decimals=decimals,
        no_value=no_value,
        thresholds=thresholds,
        meanings=meanings,
        span=span,
        options={
            "reduceOptions": _reduced("lastNotNull"),
            "orientation": "horizontal",
            "textMode": "auto",
            "colorMode": "value" if coloured else "none",
            "graphMode": "none",
            "justifyMode": "center",
            "wideLayout": True,
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
            **({"text": {"titleSize": sizes[0], "valueSize": sizes[1]}} if sizes else {}),
        },
    )


def share_gauge(
    title: Text, description: Text, place: Place, target: Target, *, no_value: Text, thresholds: tuple[Threshold, ...]
) -> Panel:
    """A ratio from 0 to 1 on a dial."""
    return Panel(
        kind="gauge",
        title=title,
        description=description,
        place=place,
        targets=(target,),
        unit="percentunit",
        decimals=1,
        no_value=no_value,
        thresholds=thresholds,
        bounds=(0, 1),
        options={
            "reduceOptions": _reduced("lastNotNull"),
            "orientation": "auto",
            "showThresholdLabels": False,
            "showThresholdMarkers": True,
            "sizing": "auto",
            "minVizWidth": 75,
            "minVizHeight": 75,
        },
    )


def stacked_bars(
    title: Text,
    description: Text,
    place: Place,
    *targets: Target,
    unit: str,
    no_value: Text,
    overrides: tuple[Override, ...],
    span: Span | None = None,
    bar_width: float = 0.8,
) -> Panel:
    """Stacked bars on a true axis of time: a stretch without a row is an empty stretch.

    A bar begins at its row's instant, which is the start of what it stands for.
    """
    return Panel(
        kind="timeseries",
        title=title,
        description=description,
        place=place,
        targets=targets,
        unit=unit,
        decimals=1,
        no_value=no_value,
        bounds=(0, None),
        colour={"mode": "fixed", "fixedColor": NEUTRAL},
        overrides=overrides,
        span=span,
        custom={
            "drawStyle": "bars",
            "barAlignment": 1,
            "barWidthFactor": bar_width,
            "lineWidth": 0,
            "fillOpacity": 90,
            "gradientMode": "none",
            "spanNulls": False,
            "insertNulls": False,
            "showPoints": "never",
            "stacking": {"mode": "normal", "group": "A"},
            "axisPlacement": "auto",
            "axisLabel": "",
            "axisBorderShow": False,
            "axisCenteredZero": False,
            "scaleDistribution": {"type": "linear"},
            "thresholdsStyle": {"mode": "off"},
            "hideFrom": {"legend": False, "tooltip": False, "viz": False},
        },
        options={"legend": _LEGEND, "tooltip": _TOOLTIP},
    )


def month_bars(
    title: Text,
    description: Text,
    place: Place,
    target: Target,
    *,
    unit: str,
    no_value: Text,
    overrides: tuple[Override, ...],
    span: Span,
) -> Panel:
    """One stacked bar per month, labelled with year and month."""
    return Panel(
        kind="barchart",
        title=title,
        description=description,
        place=place,
        targets=(target,),
        unit=unit,
        decimals=1,
        no_value=no_value,
        bounds=(0, None),
        colour={"mode": "fixed", "fixedColor": NEUTRAL},
        span=span,
        overrides=(Override("Time", {"unit": "time:YYYY-MM"}), *overrides),
        custom={
            "lineWidth": 0,
            "fillOpacity": 90,
            "gradientMode": "none",
            "axisPlacement": "auto",
            "axisLabel": "",
            "axisBorderShow": False,
            "axisCenteredZero": False,
            "scaleDistribution": {"type": "linear"},
            "thresholdsStyle": {"mode": "off"},
            "hideFrom": {"legend": False, "tooltip": False, "viz": False},
        },
        options={
            "orientation": "vertical",
            "xTickLabelRotation": -45,
            "xTickLabelSpacing": 0,
            "xTickLabelMaxLength": 10,
            "showValue": "never",
            "stacking": "normal",
            "groupWidth": 0.8,
            "barWidth": 0.9,
            "barRadius": 0,
            "fullHighlight": False,
            "legend": _LEGEND,
            "tooltip": _TOOLTIP,
        },
    )


def table(
    title: Text,
    description: Text,
    place: Place,
    target: Target,
    *,
    no_value: Text,
    transformation: Mapping[str, Value],
    overrides: tuple[Override, ...],
    sort: tuple[Text, bool] | None = None,
    span: Span | None = None,
) -> Panel:
    """Rows of several columns.

    Args:
        sort: Shown name of the column to sort by, and whether the largest comes first.
    """
    by: list[Value] = [{"displayName": sort[0], "desc": sort[1]}] if sort else []
    return Panel(
        kind="table",
        title=title,
        description=description,
        place=place,
        targets=(target,),
        no_value=no_value,
        transformations=(transformation,),
        overrides=overrides,
        span=span,
        custom={
            "align": "auto",
            "cellOptions": {"type": "auto"},
            "inspect": False,
            "filterable": False,
        },
        options={
            "showHeader": True,
            "cellHeight": "sm",
            "sortBy": by,
            "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
        },
    )


def states(
    title: Text,
    description: Text,
    place: Place,
    *targets: Target,
    no_value: Text,
    thresholds: tuple[Threshold, ...],
    meanings: tuple[Meaning, ...],
    span: Span,
) -> Panel:
    """One line of coloured stretches per thing; where nothing is known, nothing is drawn."""
    return Panel(
        kind="state-timeline",
        title=title,
        description=description,
        place=place,
        targets=targets,
        unit="none",
        no_value=no_value,
        thresholds=thresholds,
        meanings=meanings,
        span=span,
        interval="1m",
        points_max=720,
        custom={
            "lineWidth": 0,
            "fillOpacity": 80,
            "spanNulls": False,
            "insertNulls": False,
            "axisPlacement": "auto",
            "hideFrom": {"legend": False, "tooltip": False, "viz": False},
        },
        options={
            "mergeValues": True,
            "showValue": "never",
            "alignValue": "left",
            "rowHeight": 0.8,
            "perPage": 20,
            "legend": _NO_LEGEND,
            "tooltip": _TOOLTIP_ONE,
        },
    )
