#!/usr/bin/env bash
# Installs the real parts that demo and tests use, where this is root on Debian; elsewhere says what is missing.
set -euo pipefail

declare -A package=([mosquitto]=mosquitto [influxd]=influxdb [chromium]=chromium [mbpoll]=mbpoll [docker-compose]=docker-compose)
missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || missing+=("$program")
done
[ ${#missing[@]} -eq 0 ] && exit 0

names=(); for program in "${missing[@]}"; do names+=("${package[$program]}"); done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "parts: installing ${names[*]} (once)"
  # The servers that these packages would start are not wanted: every run starts its own on a free port.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${names[@]}"; } >/dev/null 2>&1 ||
    echo "parts: could not install ${names[*]}; what needs them is skipped" >&2
else
  echo "parts: not here: ${missing[*]}. What needs them is skipped or replaced (install: ${names[*]})" >&2
fi
