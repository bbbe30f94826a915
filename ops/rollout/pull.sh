#!/bin/sh
# Brings this node to the release that a Git repository names: what toonfleet-pull.timer runs. The repository's FILE says
#   release_id: 0.2.0-15b271812a
#   sha256: (of the tarball)
#   tarball: https://… or a path on this node
# A node that has it is left alone, and so is one where this very release has failed before. Exit code 0 unless it failed now.
#
# usage: pull.sh [options] REPOSITORY
#   --branch NAME        (main)            --file FILE        in the repository (release.yml)
#   --root DIR           (/opt/toonfleet)  --config FILE      (/etc/toonfleet/toonfleet.yaml)
#   --supervisor NAME    (systemd)         --node PROGRAM     (node)
#   --verify-commit      only commits with a good signature: git verify-commit, with the keys of the user that runs this
set -eu

branch=main file=release.yml root=/opt/toonfleet config=/etc/toonfleet/toonfleet.yaml supervisor=systemd node=node verify=
while [ $# -gt 1 ] || case ${1:-} in --*) true ;; *) false ;; esac; do
  case $1 in
  --verify-commit) verify=--verify-commit; shift; continue ;;
  --branch | --file | --root | --config | --supervisor | --node) ;;
  *) echo "pull.sh: unknown: $1" >&2; exit 2 ;;
  esac
  [ $# -ge 2 ] || { echo "pull.sh: $1 needs a value" >&2; exit 2; }
  case $1 in
  --branch) branch=$2 ;;
  --file) file=$2 ;;
  --root) root=$2 ;;
  --config) config=$2 ;;
  --supervisor) supervisor=$2 ;;
  --node) node=$2 ;;
  esac
  shift 2
done
[ $# -eq 1 ] || { sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 2; }
repository=$1

plays=$(cd "$(dirname "$0")" && pwd)/ansible
own=$root/pull
mkdir -p "$own"
# ansible-pull does not stand two of itself in one folder.
exec 8>"$own/busy"
flock -n 8 || { echo 'another pull is at work' >&2; exit 0; }

ansible=ansible-pull
for folder in "$root" "$plays/../../.."; do
  [ ! -x "$folder/.tools/ansible/bin/ansible-pull" ] || ansible=$folder/.tools/ansible/bin/ansible-pull
done
case $ansible in */*) PATH=$(dirname "$ansible"):$PATH; export PATH ;; esac

key=pull-$(cat /proc/sys/kernel/random/uuid)
trap 'sh -s unlock "$root" "$key" <"$plays/files/releases.sh"' EXIT
cat >"$own/hosts.json" <<JSON
{"nodes": {"hosts": {"localhost": {"ansible_connection": "local"}}}}
JSON
cat >"$own/vars.json" <<JSON
{"root": "$root", "config": "$config", "supervisor": "$supervisor", "node_program": "$node", "key": "$key",
 "unit": "toonfleet-node.service", "use_become": false, "checkout": "$own/checkout", "named": "$file",
 "toonfleet": ["$node", "$root/current/ops/toonfleet.mjs", "--config", "$config"],
 "drain_within": "2m", "ready_within": "2m", "bake": "30s", "keep": 3}
JSON
export ANSIBLE_CONFIG="$plays/ansible.cfg" ANSIBLE_HOME="$own/ansible" LC_ALL=C.UTF-8
# shellcheck disable=SC2086 -- empty or one word
"$ansible" --url "$repository" --checkout "$branch" --directory "$own/checkout" $verify \
  --inventory "$own/hosts.json" --extra-vars "@$own/vars.json" "$plays/pull.yml"
