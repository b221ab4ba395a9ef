#!/bin/sh
# run-valgrind.sh BUILD [TEST...]: the unit tests under valgrind's memcheck, or those named
# (torrent/test_picker). Any error, and any memory lost for good, fails the test.
set -eu
build=$1
shift
command -v valgrind >/dev/null || {
	echo "valgrind is not installed" >&2
	exit 1
}
# Detached threads (libc's resolver has them) keep memory that is only possibly lost.
# What runs over many seeds or sizes runs over few here: valgrind is 20 to 50 times slower.
STORM_SEEDS=${STORM_SEEDS:-10} STORM_STRIDE=${STORM_STRIDE:-40}
export STORM_SEEDS STORM_STRIDE
[ $# != 0 ] || set -- --suite unit
exec meson test -C "$build" --no-rebuild --print-errorlogs -t 30 "$@" --wrapper \
	'valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite'
