#!/usr/bin/env bash
# Installs k6 and Locust for the scripts beside this file, without touching the system. Running it again changes nothing.
#
#   loadtest/install-tools.sh [DIR]      DIR: the argument, or TOOLS_DIR, or .tools in the package (ignored by git)
#
# Needs go (1.25 or later) for k6 and python3 (3.11 or later) with venv for Locust.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${1:-${TOOLS_DIR:-$here/../.tools}}
k6_version=v1.8.1

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

if ! "$dir/k6" version 2>/dev/null | grep -F "$k6_version" >/dev/null; then
  command -v go >/dev/null || { echo "install-tools: go is missing (k6 is built from its source)" >&2; exit 1; }
  echo "building k6 $k6_version into $dir" >&2
  GOBIN=$dir GOFLAGS=-mod=mod go install "go.k6.io/k6@$k6_version"
fi

if ! "$dir/locust/bin/python" -c 'import locust' 2>/dev/null; then
  command -v python3 >/dev/null || { echo "install-tools: python3 is missing" >&2; exit 1; }
  echo "installing Locust into $dir/locust" >&2
  python3 -m venv "$dir/locust"
  "$dir/locust/bin/pip" install --quiet --disable-pip-version-check -r "$here/locust/requirements.txt"
fi

"$dir/k6" version
"$dir/locust/bin/locust" --version
