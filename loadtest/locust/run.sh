#!/usr/bin/env bash
# Runs Locust without its web page against a toonfleet: users in steps, a table at the end.
#
#   loadtest/locust/run.sh [URL] [RestUser|GradioUser]
#
#   STEPS=5,10,20,30 STEP_SECONDS=30    users and length of each step
#   SIZES=512x512 STYLE=meadow          what is sent       PHOTOS=DIR   photos drawn earlier
#   TABLE=FILE.json  CSV=PREFIX  HTML=FILE                 reports
#   TOOLS_DIR=DIR                       where install-tools.sh put Locust; else .tools
#   I_OWN_THIS_HOST=1                   needed for any address but loopback
#
# Exit codes: 0 the first step meets the service level, 1 it does not, others are faults.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
url=${1:-http://127.0.0.1:8080}
user=${2:-RestUser}
if [[ $url == --help || $url == -h ]]; then
  sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
fi
if [[ ! $url =~ ^https?://(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?/?$ && ${I_OWN_THIS_HOST:-} != 1 ]]; then
  echo "run.sh: $url is not loopback; if it is yours, set I_OWN_THIS_HOST=1" >&2
  exit 2
fi
tools=${TOOLS_DIR:-$here/../../.tools}
locust=$tools/locust/bin/locust
[[ -x $locust ]] || { echo "run.sh: no Locust in $tools; see loadtest/install-tools.sh" >&2; exit 2; }

if [[ -z ${PHOTOS:-} ]]; then
  PHOTOS=$(mktemp -d)
  trap 'rm -rf "$PHOTOS"' EXIT
  (cd "$here/../.." && node --import tsx loadtest/draw-photos.ts "$PHOTOS" ${SIZES:+--sizes "$SIZES"}) >&2
fi
export PHOTOS
reports=()
[[ -n ${CSV:-} ]] && reports+=(--csv "$CSV" --csv-full-history)
[[ -n ${HTML:-} ]] && reports+=(--html "$HTML")
"$locust" -f "$here/locustfile.py" "$user" --headless --host "${url%/}" --only-summary --loglevel WARNING \
  ${reports[@]+"${reports[@]}"}
