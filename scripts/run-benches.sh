#!/bin/sh
# run-benches.sh BUILD: runs every micro benchmark, counts instructions, then imports of two chains,
# create and verify, the tracker, and swarms, shoal beside what else is installed; the table of the
# imports goes to BUILD/chain.md, that of the swarms to BUILD/swarm.md.
set -eu
build=$1
root=$(cd "$(dirname "$0")/.." && pwd)

for name in $(sed -n "/^bench_programs = \[/,/^\]/s/^ *'\(.*\)',.*/\1/p" "$root/bench/meson.build"); do
	ninja -C "$build" "bench/bench_$name" >/dev/null
	echo "== $name"
	"$build/bench/bench_$name"
done
echo "== instructions"
"$root/bench/instructions.sh" "$build" || [ $? = 77 ]
echo "== chain"
ninja -C "$build" bench/bench_chain_import bench/bench_chain_parse >/dev/null
python3 "$root/bench/chain.py" --build "$build"
echo "== create and verify"
SHOAL="$(cd "$build" && pwd)/shoal" python3 "$root/bench/hash.py" --cold "$build"
echo "== tracker"
ninja -C "$build" bench/tracker_load >/dev/null
python3 "$root/bench/tracker.py" --build "$(cd "$build" && pwd)"
echo "== swarm"
SHOAL="$(cd "$build" && pwd)/shoal" python3 "$root/bench/swarm.py" --full --out "$build/swarm.md"
