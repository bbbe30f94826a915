#!/usr/bin/env bash
# Installs Ansible for rollouts, without touching the system. Running it again changes nothing.
#
#   ops/rollout/install-tools.sh [DIR]      DIR: the argument, or TOOLS_DIR, or .tools in the package (ignored by git)
#
# Needs python3 (3.11 or later) with venv, and ssh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${1:-${TOOLS_DIR:-$here/../../.tools}}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

version=$(sed -n 's/^ansible-core==//p' "$here/requirements.txt")
# Read to its end: a reader who leaves early (grep -q, head) makes Ansible fail with a broken pipe now and then.
if ! "$dir/ansible/bin/ansible-playbook" --version 2>/dev/null | grep -F "core $version" >/dev/null; then
  command -v python3 >/dev/null || { echo "install-tools: python3 is missing" >&2; exit 1; }
  echo "installing ansible-core $version into $dir/ansible" >&2
  python3 -m venv "$dir/ansible"
  "$dir/ansible/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
fi
"$dir/ansible/bin/ansible-playbook" --version | sed -n 1p
