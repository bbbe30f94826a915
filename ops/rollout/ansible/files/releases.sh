#!/bin/sh
# The releases on one node: who may change them, which are there, which is the current one. The plays feed this file to `sh -s`
# on the node, so it may count on a POSIX shell, GNU coreutils, tar and flock only, and on no release being there yet.
#
#   ROOT/releases/ID/      a release, unpacked; ROOT/releases/.ID.partial while it is not
#   ROOT/current           -> releases/ID, what runs or will run; changed by one rename
#   ROOT/previous          -> releases/ID, what a rollback goes to
#   ROOT/incoming/         tarballs on their way
#   ROOT/rollout.lock      who is changing this node (JSON)
#
# Every failure is one sentence on standard error and exit code 1.
set -eu
umask 022

fail() {
  echo "$*" >&2
  exit 1
}

# The id that a link points to; nothing when there is no such release.
id_of() {
  target=$(readlink "$root/$1" 2>/dev/null) || return 0
  [ -d "$root/$target" ] && basename "$target" || true
}

# Points a link at a release; whoever looks meanwhile sees the old one or the new one.
point() {
  ln -sfn "releases/$2" "$root/.$1.fresh"
  mv -T "$root/.$1.fresh" "$root/$1"
}

need_release() {
  [ -f "$root/releases/$1/RELEASE" ] || fail "release $1 is not on this node"
}

megabytes() {
  echo "$((($1 + 999999) / 1000000)) MB"
}

# lock KEY TEXT [EXPECTED]: takes the lock by writing TEXT, which holds KEY, unless somebody else has it; prints the state,
# which says who has it now. With EXPECTED, a lock that holds EXPECTED is replaced: only one of two who found the same dead
# owner gets it.
lock() {
  mkdir -p "$root" || fail "$root cannot be made: is the user allowed to? (run: toonfleet rollout prepare)"
  exec 9>"$root/.lock.guard" || fail "$root cannot be written to (run: toonfleet rollout prepare)"
  flock 9
  if [ -s "$root/rollout.lock" ] && ! grep -qF "$1" "$root/rollout.lock"; then
    if [ -z "${3:-}" ] || ! grep -qF "$3" "$root/rollout.lock"; then
      state
      exit 0
    fi
  fi
  if ! { printf '%s\n' "$2" >"$root/.rollout.lock.fresh" && mv "$root/.rollout.lock.fresh" "$root/rollout.lock"; }; then
    rm -f "$root/.rollout.lock.fresh"
    fail "the lock could not be written: no space left in $root?"
  fi
  state
}

# unlock KEY: gives the lock back if it is still the one with KEY.
unlock() {
  [ -d "$root" ] || exit 0
  exec 9>"$root/.lock.guard"
  flock 9
  if [ -s "$root/rollout.lock" ] && grep -qF "$1" "$root/rollout.lock"; then rm -f "$root/rollout.lock"; fi
}

# state: a JSON object of what is here.
state() {
  current=$(id_of current)
  previous=$(id_of previous)
  printf '{"current": "%s", "previous": "%s", "releases": [' "$current" "$previous"
  first=yes
  for folder in "$root"/releases/*/; do
    [ -s "$folder/RELEASE" ] || continue
    [ $first = yes ] || printf ', '
    first=no
    cat "$folder/RELEASE"
  done
  printf '], "lock": '
  if [ -s "$root/rollout.lock" ]; then cat "$root/rollout.lock"; else printf 'null'; fi
  printf '}\n'
}

# room ID BYTES SHA256: makes the folders and says no when the disk has no room for the tarball and what is in it (BYTES
# together). Prints "here" when the release is there already, made from the same bytes.
room() {
  mkdir -p "$root/releases" "$root/incoming" || fail "$root cannot be made (run: toonfleet rollout prepare)"
  # Left over from a rollout that died.
  rm -rf "$root"/releases/.*.partial
  find "$root/incoming" -type f ! -name "toonfleet-$1.tar.gz" -delete
  if [ "$(cat "$root/releases/$1/.sha256" 2>/dev/null)" = "$3" ]; then
    echo here
    return 0
  fi
  free=$(df -B1 --output=avail "$root/releases" | tail -n 1 | tr -d ' ')
  # A tenth more for what files cost beside their bytes.
  needed=$(($2 + $2 / 10))
  [ "$free" -ge "$needed" ] ||
    fail "no space left: release $1 needs $(megabytes "$needed") in $root, and $(megabytes "$free") are free; remove old releases or enlarge the disk"
}

# unpack ID SHA256: ROOT/incoming/toonfleet-ID.tar.gz becomes ROOT/releases/ID, whole or not at all.
unpack() {
  tarball=$root/incoming/toonfleet-$1.tar.gz
  if [ -f "$root/releases/$1/RELEASE" ] && [ "$(cat "$root/releases/$1/.sha256" 2>/dev/null)" = "$2" ]; then
    rm -f "$tarball"
    echo 'already here'
    return 0
  fi
  [ "$1" != "$(id_of current)" ] ||
    fail "release $1 is the current one here, and was made from other bytes: give the new one an id of its own"
  [ -f "$tarball" ] || fail "$tarball has not arrived"
  found=$(sha256sum "$tarball" | cut -d ' ' -f 1)
  if [ "$found" != "$2" ]; then
    rm -f "$tarball"
    fail "the SHA-256 of what arrived is $found, and should be $2: it was damaged on its way; try again"
  fi
  partial=$root/releases/.$1.partial
  rm -rf "$partial"
  mkdir "$partial"
  if ! why=$(tar -xzf "$tarball" -C "$partial" --strip-components=1 --no-same-owner 2>&1 && printf '%s' "$2" >"$partial/.sha256"); then
    rm -rf "$partial"
    rm -f "$tarball"
    fail "release $1 could not be unpacked: $(echo "$why" | grep -v 'tar: Exiting' | tail -n 1)"
  fi
  if ! grep -q "\"id\": *\"$1\"" "$partial/RELEASE" 2>/dev/null; then
    rm -rf "$partial"
    fail "what was unpacked does not say that it is release $1"
  fi
  # Only now: other bytes of this name may be what a rollback goes to.
  rm -rf "$root/releases/$1"
  mv -T "$partial" "$root/releases/$1"
  rm -f "$tarball"
  echo unpacked
}

# switch ID: makes a release the current one; what was current is previous from now on.
switch() {
  need_release "$1"
  current=$(id_of current)
  [ "$current" = "$1" ] && return 0
  [ -z "$current" ] || point previous "$current"
  point current "$1"
}

# back ID [PREVIOUS]: takes a switch back: ID is current again, and PREVIOUS is what it was before; without it there is none.
back() {
  need_release "$1"
  point current "$1"
  if [ -n "${2:-}" ] && [ -d "$root/releases/$2" ]; then point previous "$2"; else rm -f "$root/previous"; fi
}

# prune KEEP: keeps the newest KEEP releases by their time of arrival; never removes the current one, the previous one, or
# one that a process was started from.
prune() {
  current=$(id_of current)
  previous=$(id_of previous)
  here=$(cd "$root/releases" && pwd -P)
  # Gathered before anything is compared: what searches for a path has that path in its own words.
  running=$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n')
  kept=0
  for folder in $(ls -1dt "$root"/releases/*/ 2>/dev/null); do
    id=$(basename "$folder")
    kept=$((kept + 1))
    [ "$kept" -gt "$1" ] || continue
    [ "$id" != "$current" ] && [ "$id" != "$previous" ] || continue
    case $running in *"$here/$id/"*) continue ;; esac
    rm -rf "$folder"
    echo "removed release $id"
  done
}

[ $# -ge 2 ] || fail 'usage: releases.sh VERB ROOT ...'
verb=$1
root=$2
shift 2
case $verb in
lock | unlock | state | room | unpack | switch | back | prune) "$verb" "$@" ;;
*) fail "there is no verb $verb" ;;
esac
