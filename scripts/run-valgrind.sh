#!/bin/sh
# run-valgrind.sh BUILD [TEST...]: the unit tests under valgrind's memcheck, or those named
# (torrent/test_picker, or --suite watched). Any error, and any memory that is or may be lost, fails the test,
# but for what valgrind.supp gives a reason for. Results: BUILD/meson-logs/testlog-valgrind.json
set -eu
build=$1
shift
command -v valgrind >/dev/null || {
	echo "valgrind is not installed" >&2
	exit 1
}
# What runs over many seeds or sizes runs over few here: valgrind is 20 to 50 times slower.
SHOAL_TEST_SLOW=1 STORM_SEEDS=${STORM_SEEDS:-5} STORM_STRIDE=${STORM_STRIDE:-80}
ALLOC_FAULT_STRIDE=${ALLOC_FAULT_STRIDE:-20}
export SHOAL_TEST_SLOW STORM_SEEDS STORM_STRIDE ALLOC_FAULT_STRIDE
supp=$(cd "$(dirname "$0")" && pwd)/valgrind.supp
[ $# != 0 ] || set -- --suite unit
# Threads take turns (fair-sched), or one that only waits may keep the others from ever running.
exec meson test -C "$build" --no-rebuild --print-errorlogs -t 10 "$@" --wrapper \
	"valgrind -q --error-exitcode=99 --fair-sched=try --leak-check=full --show-leak-kinds=definite,possible --errors-for-leak-kinds=definite,possible --suppressions=$supp"
