"""Queries with variables filled in as Grafana fills them."""

from __future__ import annotations

import pytest

from merilo_dashboards.expand import ALL, Asked, expanded


def asked(**variables: str) -> Asked:
    return Asked(variables=variables, start_ms=1_000, end_ms=2_000, interval="2m")


def test_macros_become_a_stretch_and_an_interval() -> None:
    query = "SELECT 1 WHERE $timeFilter GROUP BY time($__interval)"

    assert expanded(query, asked()) == "SELECT 1 WHERE time >= 1000ms AND time <= 2000ms GROUP BY time(2m)"


def test_values_are_escaped_in_a_pattern_and_nowhere_else() -> None:
    query = '"$db" =~ /^$site$/ AND x =~ /^${site}$/'

    assert expanded(query, asked(db="a.b", site="x.y")) == r'"a.b" =~ /^x\.y$/ AND x =~ /^x\.y$/'
    assert expanded('"s" =~ /^$site$/', asked(site=ALL)) == '"s" =~ /^.*$/'


def test_a_variable_that_nobody_gave_is_named() -> None:
    with pytest.raises(ValueError, match="variable meter: not given"):
        expanded('"m" =~ /^$meter$/', asked())
