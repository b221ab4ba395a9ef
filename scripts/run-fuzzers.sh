#!/bin/sh
# run-fuzzers.sh BUILD SECONDS [TARGET...]: builds the fuzz targets and runs each for so long, from
# the corpus of the source tree; what is new is kept in BUILD/corpus, crashes in BUILD/crashes.
set -eu
build=$1 seconds=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# = 0 ]; then
	set -- $(sed -n "/^fuzz_targets = \[/,/^\]/s/^ *'\(.*\)',.*/\1/p" "$root/fuzz/meson.build")
fi

failed=
for name; do
	ninja -C "$build" "fuzz/fuzz_$name" >"$build/fuzz-build.log" 2>&1 || {
		cat "$build/fuzz-build.log"
		exit 1
	}
	mkdir -p "$build/corpus/$name" "$build/crashes" "$root/fuzz/corpus/$name"
	echo "== $name, $seconds s"
	"$build/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
		-print_final_stats=1 -artifact_prefix="$build/crashes/$name-" \
		"$build/corpus/$name" "$root/fuzz/corpus/$name" 2>&1 | tee "$build/fuzz-$name.log" |
		grep -E 'number_of_executed|SUMMARY|ERROR|Assertion' || true
	if grep -q 'SUMMARY\|ERROR: ' "$build/fuzz-$name.log"; then
		tail -n 40 "$build/fuzz-$name.log"
		failed="$failed $name"
	fi
done
[ -z "$failed" ] || {
	echo "failed:$failed; inputs in $build/crashes" >&2
	exit 1
}
