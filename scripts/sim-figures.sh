#!/bin/sh
# The figures of docs/simulator.md and the tables they come with:
#   scripts/sim-figures.sh SHOAL [scale]
# With `scale` also the one of 10,000 machines, which takes minutes and some gigabytes. Same program,
# same bytes.
set -eu
shoal=$1
out=$(cd "$(dirname "$0")/.." && pwd)/docs/img
mkdir -p "$out"
draw() {
  name=$1
  shift
  echo "--- shoal sim $name $*"
  "$shoal" sim "$name" "$@" --svg "$out/sim-$name.svg"
}
draw free-riders
draw clusters
draw newcomers
draw churn
draw links
draw crash-sweep
draw adversaries
draw nat
draw selection
draw flash-crowd
draw partition
draw chain
draw swarm
draw tracker-dies
draw stuck
draw hostile
draw crash-restart
draw disk-faults
draw fault-sweep
if [ "${2:-}" = scale ]; then draw scale --peers 10000; else draw scale; fi
