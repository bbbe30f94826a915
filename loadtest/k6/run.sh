#!/usr/bin/env bash
# Runs a k6 plan against a toonfleet.
#
#   loadtest/k6/run.sh smoke|ceiling|soak|spike|reload [URL]
#
#   SIZES=512x512        sizes of the drawn photos        STYLE=meadow     instead of the default
#   START FACTOR STEPS HOLD (ceiling)   QPS DURATION (soak, spike, reload)   RELOAD="toonfleet reload"
#   PHOTOS=DIR           photos drawn earlier (loadtest/draw-photos.ts)
#   TOOLS_DIR=DIR        where install-tools.sh put k6; else .tools, else the PATH
#   JSON=FILE            the answer of ceiling            HTML=FILE        k6's own report (runs over 30 s)
#   I_OWN_THIS_HOST=1    needed for any address but loopback
#
# Exit codes are k6's: 0 all thresholds hold, 99 one does not, others are faults.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
plan=${1:-}
url=${2:-http://127.0.0.1:8080}
if [[ -z $plan || ! -f $here/$plan.js || $plan == toonfleet ]]; then
  sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
if [[ ! $url =~ ^https?://(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?/?$ && ${I_OWN_THIS_HOST:-} != 1 ]]; then
  echo "run.sh: $url is not loopback; if it is yours, set I_OWN_THIS_HOST=1" >&2
  exit 2
fi
tools=${TOOLS_DIR:-$here/../../.tools}
k6=$tools/k6
[[ -x $k6 ]] || k6=$(command -v k6) || { echo "run.sh: no k6; see loadtest/install-tools.sh" >&2; exit 2; }

if [[ -z ${PHOTOS:-} ]]; then
  PHOTOS=$(mktemp -d)
  trap 'rm -rf "$PHOTOS"' EXIT
  (cd "$here/../.." && node --import tsx loadtest/draw-photos.ts "$PHOTOS" ${SIZES:+--sizes "$SIZES"}) >&2
fi
export PHOTOS URL=${url%/} K6_NO_USAGE_REPORT=true
if [[ -n ${HTML:-} ]]; then
  export K6_WEB_DASHBOARD=true K6_WEB_DASHBOARD_PORT=-1 K6_WEB_DASHBOARD_EXPORT=$HTML
fi

environment=(-e URL="$URL" -e PHOTOS="$PHOTOS")
for name in STYLE START FACTOR STEPS HOLD QPS DURATION JSON; do
  [[ -n ${!name:-} ]] && environment+=(-e "$name=${!name}")
done
if [[ $plan == reload ]]; then
  (sleep $((${DURATION:-60} / 3)); ${RELOAD:-node "$here/../../ops/toonfleet.mjs" reload} >&2) &
  reload=$!
fi
"$k6" run --quiet "${environment[@]}" "$here/$plan.js"
[[ $plan != reload ]] || wait "$reload"
