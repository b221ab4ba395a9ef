#!/bin/sh
# check-headers.sh: every public header compiles alone as C and as C++, every internal one as C.
set -u
cd "$(dirname "$0")/.."

failed=0
n=0
try() { # name of the header as it is included, then compiler and flags
	header=$1
	shift
	n=$((n + 1))
	echo "#include \"$header\"" | "$@" -Wall -Wextra -Wpedantic -Werror -fsyntax-only - || {
		echo "$header does not compile alone: $*"
		failed=$((failed + 1))
	}
}

for path in include/shoal/*.h; do
	[ -e "$path" ] || continue
	try "${path#include/}" cc -std=c99 -Iinclude -x c
	if command -v g++ >/dev/null 2>&1; then
		try "${path#include/}" g++ -std=c++11 -Iinclude -x c++
	fi
done
for path in src/*/*.h; do
	try "${path#src/}" cc -std=c17 -D_GNU_SOURCE -include src/base/banned.h -Iinclude -Isrc -x c
done
echo "$n compilations of headers alone, $failed failed"
[ "$failed" = 0 ]
