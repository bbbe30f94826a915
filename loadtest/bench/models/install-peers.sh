#!/usr/bin/env bash
# Installs the rivals in Python that `npm run bench -- models` compares with, without touching the system. Running it again
# changes nothing.
#
#   loadtest/bench/models/install-peers.sh [DIR]      DIR: the argument, or .tools/peers in the package (ignored by git)
#
# Needs python3 (3.11 or later) with venv, and about 7 GB of disk, most of it CUDA's libraries that PyTorch is linked to.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${1:-$here/../../../.tools/peers}

if ! "$dir/bin/python" -c 'import numpy, onnx, openvino, torch' 2>/dev/null; then
  command -v python3 >/dev/null || { echo "install-peers: python3 is missing" >&2; exit 1; }
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  echo "installing PyTorch and OpenVINO into $dir" >&2
  python3 -m venv "$dir"
  "$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
fi

OPENVINO_TELEMETRY_OPT_OUT=1 "$dir/bin/python" -c '
import openvino, torch
print("PyTorch", torch.__version__)
print("OpenVINO", openvino.__version__)'
