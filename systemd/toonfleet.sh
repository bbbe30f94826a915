#!/bin/sh
# toonfleet, from anywhere on this machine: the current release with the settings and the data of its service. Written by
# `toonfleet systemd install`, which fills in what stands in curly brackets and writes it again each time.
set -u

# As the units say it. Whoever names another settings file means another data_dir as well.
case " $* " in
*' --config '* | *' --config='*) ;;
*)
  TOONFLEET_CONFIG=${TOONFLEET_CONFIG:-'{{config}}'}
  TOONFLEET_DATA_DIR=${TOONFLEET_DATA_DIR:-'{{data_dir}}'}
  export TOONFLEET_CONFIG TOONFLEET_DATA_DIR
  ;;
esac

command=
skip=
for word in "$@"; do
  case $skip$word in
  skip*) skip= ;;
  --config) skip=skip ;;
  --config=*) ;;
  *)
    command=$word
    break
    ;;
  esac
done

set -- '{{node}}' '{{root}}/ops/toonfleet.mjs' "$@"
[ "$(id -u)" = 0 ] || exec "$@"
case $command in
# They write into data_dir, and what is written there has to be the service's own. As its user they may still read what root
# may: keys, and the file of a model wherever it lies.
models | autoscale | start | stop | reload)
  HOME='{{data_dir}}'
  export HOME
  exec setpriv --reuid '{{user}}' --regid '{{user}}' --init-groups --no-new-privs \
    --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search --bounding-set=-all,+dac_read_search -- "$@"
  ;;
esac
exec "$@"
