#!/usr/bin/env bash
# All tests, quickest first: the style, the units, then what needs real parts.
set -euo pipefail
bin=.venv/bin

step() { printf '\n== %s\n' "$*"; }

step "format, lint, types, import contracts"
$bin/ruff format --check .
$bin/ruff check .
$bin/mypy
$bin/lint-imports --no-cache

step "unit tests: pure decisions"
$bin/pytest tests/unit -q -m "not long and not thorough" -p no:cacheprovider

step "unit tests with a disk or many examples"
$bin/pytest tests/unit -q -m "thorough and not long" -p no:cacheprovider

step "contracts, integration, faults, page"
if [ -z "${MERILO_TEST_INFLUXD2:-}${MERILO_TEST_INFLUX_URL:-}" ]; then
  echo "InfluxDB 2.x: not run here (name a server program in MERILO_TEST_INFLUXD2 or a server in MERILO_TEST_INFLUX_URL)"
fi
marks="not long"; [ "${MERILO_LONG:-}" = 1 ] && marks="long or not long"
$bin/pytest tests/contract tests/integration tests/faults tests/e2e tests/docs -q -m "$marks" -p no:cacheprovider --durations=10
