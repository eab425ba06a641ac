"""The numbers that charts draw, and the sentences that say the same without them."""

from __future__ import annotations

from typing import Any

import numpy as np

from merilo.instants import HOUR_MS, MINUTE_MS, QUARTER_MS
from merilo_api.bodies import rounded
from merilo_api.page.days import STATES
from merilo_api.page.view import Live, PageView
from merilo_api.page.words import Words


def chart_data(view: PageView, words: Words) -> dict[str, Any]:
    """Series, labels and words of every chart."""
    days = view.days

    def kwh(values: list[float]) -> list[float]:
        return [round(value / 1000, 3) for value in values]

    return {
        "lang": words.language,
        "tz": view.tz.key,
        "live": {
            "start": view.live[0].start_ms if view.live else 0,
            "series": [
                {
                    "name": one.meter,
                    "power": rounded(one.power_w, 1),
                    "quarters": {"start": one.quarters_ms, "power": rounded(one.quarters_w, 1)},
                }
                for one in view.live
            ],
        },
        "days": {
            "labels": [words.day(day.start_ms, view.tz) for day in days],
            "titles": [words.weekday(day.start_ms, view.tz) for day in days],
            "metered": kwh([day.metered_wh for day in days]),
            "bridged": kwh([day.bridged_wh for day in days]),
            "estimated": kwh([day.estimated_wh for day in days]),
            "missing": [round(day.missing_h, 2) for day in days],
            "notyet": [day.not_yet for day in days],
        },
        "strip": view.strip.codes if view.strip is not None else [],
        "words": {
            **{name: words.text(name) for name in STATES.values()},
            "minute": words.text("minute"),
            "quarter": words.text("quarter of an hour, booked"),
            "notyet": words.text("not yet there"),
            "hours": words.text("hours"),
            "per day": words.text("kWh a day"),
        },
    }


def live_summary(view: PageView, words: Words) -> str:
    """The last 24 hours in a sentence: of the minutes, or of the quarters of an hour where few minutes are there."""
    found = []
    for one in view.live:
        at_ms = one.start_ms + np.arange(len(one.power_w)) * MINUTE_MS
        power = one.power_w
        minutes = int(np.count_nonzero(~np.isnan(power)))
        booked = int(np.count_nonzero(~np.isnan(one.quarters_w))) * QUARTER_MS // MINUTE_MS
        if minutes < len(power) // 2 and booked > minutes:
            at_ms, power = one.quarters_ms, one.quarters_w
        here = ~np.isnan(power)
        if not bool(here.any()):
            continue
        at_ms, power = at_ms[here], power[here]
        low, high = int(np.argmin(power)), int(np.argmax(power))
        found.append(
            words.text(
                "{meter}: lowest {low} at {low_at}, highest {high} at {high_at}, mean {mean}.",
                meter=one.meter,
                low=words.power(float(power[low])),
                low_at=words.time(int(at_ms[low]), view.tz),
                high=words.power(float(power[high])),
                high_at=words.time(int(at_ms[high]), view.tz),
                mean=words.power(float(power.mean())),
            )
        )
    return " ".join(found) or words.text("No power has been seen in the last 24 hours.")


def live_hours(one: Live) -> list[tuple[int, float | None, float | None]]:
    """Mean of the booked quarters of an hour and largest minute of each whole hour, for the chart's table."""
    found: list[tuple[int, float | None, float | None]] = []
    first = -(-one.start_ms // HOUR_MS) * HOUR_MS
    for at in range(first, one.start_ms + len(one.power_w) * MINUTE_MS - HOUR_MS + 1, HOUR_MS):
        low = (at - one.start_ms) // MINUTE_MS
        minutes = one.power_w[low : low + 60]
        booked = one.quarters_w[(one.quarters_ms >= at) & (one.quarters_ms < at + HOUR_MS)]
        mean = float(booked.mean()) if len(booked) == HOUR_MS // QUARTER_MS and not np.isnan(booked).any() else None
        minutes = minutes[~np.isnan(minutes)]
        found.append((at, mean, float(minutes.max()) if len(minutes) else None))
    return found


def days_summary(view: PageView, words: Words) -> str:
    """The last days in a sentence."""
    whole = [day for day in view.days[:-1] if day.energy_wh is not None and (day.coverage or 0) >= 0.9]
    if not whole:
        return words.text("No whole day has been measured yet.")
    most = max(whole, key=lambda day: day.energy_wh or 0.0)
    mean = sum(day.energy_wh or 0.0 for day in whole) / len(whole)
    return words.text(
        "A day takes {mean} on average; the most was {most} on {day}.",
        mean=words.energy(mean),
        most=words.energy(most.energy_wh),
        day=words.weekday(most.start_ms, view.tz),
    )


def begins_ms(view: PageView) -> int | None:
    """When the first of the meters came to be, where that was within the last days."""
    return view.strip.since_ms if view.strip is not None else None


def states_summary(view: PageView, words: Words) -> str:
    """How much of the time is known, in a sentence."""
    if view.strip is None:
        return ""
    hours = view.strip.hours.sum(axis=0)
    total = float(hours.sum())
    if not total:
        return ""
    if hours[0] == total:
        return words.text("Every quarter of an hour was metered.")
    return words.text(
        "Of {total} hours {metered} were metered, {bridged} bridged, {estimated} estimated, {missing} missing.",
        total=words.hours(total),
        **{name: words.hours(float(h)) for name, h in zip(STATES.values(), hours, strict=True)},
    )
