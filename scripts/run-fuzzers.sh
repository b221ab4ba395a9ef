#!/bin/bash
# run-fuzzers.sh BUILD SECONDS [TARGET...]: builds the fuzz targets and runs each for so long, from
# the corpus of the source tree; what is new is kept in BUILD/corpus, crashes in BUILD/crashes, logs
# in BUILD/fuzz-TARGET.log. Ends with a table. An input that takes two minutes is a finding, too (by the
# clock on the wall: on a busy machine try it alone before you believe it).
#
# FUZZ_JOBS=n runs n targets at once (default 1). FUZZ_MERGE=1 adds to the tree's corpora, once all
# have run, the smallest set of new inputs that reach what the tree's own do not.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)

run_one() { # BUILD SECONDS TARGET
	local build=$1 seconds=$2 name=$3 log=$1/fuzz-$3.log
	mkdir -p "$build/corpus/$name" "$build/crashes" "$root/fuzz/corpus/$name"
	"$build/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=120 -rss_limit_mb=2048 \
		-print_final_stats=1 -entropic=0 -artifact_prefix="$build/crashes/$name-" \
		"$build/corpus/$name" "$root/fuzz/corpus/$name" >"$log" 2>&1 || echo "exit: $?" >>"$log"
	row "$build" "$seconds" "$name"
}

last_of() { # LOG PATTERN: what stands after it in the last line that has it
	sed -n "s/.*$2 *\([0-9][0-9]*\).*/\1/p" "$1" | tail -n 1
}

row() { # BUILD SECONDS TARGET
	local log=$1/fuzz-$3.log findings=0
	! grep -q '^exit: \|SUMMARY: ' "$log" || findings=1
	printf '%-20s %8s %12s %8s %8s %9s %9s\n' "$3" "$(last_of "$log" 'Done [0-9]* runs in')" \
		"$(last_of "$log" 'number_of_executed_units:')" "$(last_of "$log" ' cov:')" \
		"$(last_of "$log" ' ft:')" "$(find "$1/corpus/$3" -type f | wc -l)" "$findings"
}

merge_one() { # BUILD TARGET
	timeout 900 "$1/fuzz/fuzz_$2" -set_cover_merge=1 -use_counters=0 -max_len=8192 "$root/fuzz/corpus/$2" "$1/corpus/$2" \
		>"$1/merge-$2.log" 2>&1 || echo "$2: merge failed, see $1/merge-$2.log"
}

if [ "${1:-}" = --one ]; then
	shift
	run_one "$@"
	exit
fi

build=$1 seconds=$2
shift 2
if [ $# = 0 ]; then
	set -- $(sed -n "/^fuzz_targets = \[/,/^\]/s/^ *'\(.*\)',.*/\1/p" "$root/fuzz/meson.build")
fi
ninja -C "$build" "${@/#/fuzz/fuzz_}" >"$build/fuzz-build.log" 2>&1 || {
	cat "$build/fuzz-build.log"
	exit 1
}
table=$build/fuzz-table.txt
header=$(printf '%-20s %8s %12s %8s %8s %9s %9s' target seconds execs edges features inputs findings)
echo "$header"
printf '%s\n' "$@" | xargs -P "${FUZZ_JOBS:-1}" -I{} "$0" --one "$build" "$seconds" {} |
	tee "$table.now"
{
	echo "$header"
	sort "$table.now"
} >"$table"
rm "$table.now"
echo "($table)"
failed=$(awk 'NR > 1 && $NF != 0 { print $1 }' "$table")
for name in $failed; do
	tail -n 40 "$build/fuzz-$name.log"
done
if [ "${FUZZ_MERGE:-0}" = 1 ]; then
	for name; do
		merge_one "$build" "$name"
	done
fi
[ -z "$failed" ] || {
	echo "failed:" $failed "; inputs in $build/crashes" >&2
	exit 1
}
