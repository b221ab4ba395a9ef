#!/bin/sh
# instructions.sh BUILD [NAME...]: instructions per operation of the engine's parts (bench_instructions.c),
# counted by callgrind: no clock, so other work on the machine does not disturb it. Each is done N
# and 2 N times; the difference is what N of them cost. The table in docs/benchmarks.md is what they cost when
# somebody last looked: the last column tells how much has changed.
set -eu
build=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
command -v valgrind >/dev/null || {
	echo "skipped: valgrind is not installed"
	exit 77
}
ninja -C "$build" bench/bench_instructions >/dev/null
program=$build/bench/bench_instructions

count() { # NAME N
	valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 >/dev/null |
		sed -n 's/.*Collected : //p'
}

echo "| operation | instructions | against docs |"
echo "| --- | --- | --- |"
"$program" list | while read -r name n; do
	case " $* " in
	"  " | *" $name "*) ;;
	*) continue ;;
	esac
	once=$(count "$name" "$n")
	twice=$(count "$name" $((2 * n)))
	before=$(sed -n "s/^| $name | \([0-9]*\) |.*/\1/p" "$root/docs/benchmarks.md" | head -1)
	awk -v name="$name" -v a="$once" -v b="$twice" -v n="$n" -v before="${before:-0}" 'BEGIN {
		per = (b - a) / n
		printf "| %s | %.0f | %s |\n", name, per, before ? sprintf("%+.1f %%", (per / before - 1) * 100) : "new"
	}'
done
