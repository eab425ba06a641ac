#!/usr/bin/env bash
# Makes the virtual environment, which is all the set-up there is: setup.sh PYTHON VENV
set -euo pipefail
python="$1" venv="$2"

fail() { echo "setup: $*" >&2; exit 3; }

command -v "$python" >/dev/null || fail "expected Python 3.11 or newer, found no '$python'. Name one: make setup PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "expected Python 3.11 or newer, found $("$python" -V 2>&1) at $(command -v "$python"). Name another: make setup PYTHON=/path/to/python3"

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing python3-venv"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; } >/dev/null ||
      fail "python3-venv could not be installed: run 'apt-get install python3-venv', then this again"
  else
    fail "this Python lacks venv: run 'sudo apt-get install python3-venv', then this again"
  fi
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "setup: installing pinned packages into $venv (once; a minute or two)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
rm -f "$venv"/.merilo-*
echo "setup: done"
