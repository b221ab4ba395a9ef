#!/bin/sh
# run-benches.sh BUILD: runs every micro benchmark, then one seed to one downloader, shoal beside
# the other clients that are installed.
set -eu
build=$1
root=$(cd "$(dirname "$0")/.." && pwd)

for name in $(sed -n "/^bench_programs = \[/,/^\]/s/^ *'\(.*\)',.*/\1/p" "$root/bench/meson.build"); do
	ninja -C "$build" "bench/bench_$name" >/dev/null
	echo "== $name"
	"$build/bench/bench_$name"
done
echo "== swarm"
SHOAL="$(cd "$build" && pwd)/shoal" python3 "$root/bench/swarm.py"
