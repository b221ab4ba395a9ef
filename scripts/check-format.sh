#!/bin/sh
# check-format.sh [--fix]: holds every C file to .clang-format, as clang-format 14 reads it (others
# differ). Exits 77 when that is not here.
set -eu
cd "$(dirname "$0")/.."

tool=
for name in clang-format-14 clang-format; do
	if command -v "$name" >/dev/null 2>&1 && "$name" --version | grep -q 'version 14\.'; then
		tool=$name
		break
	fi
done
[ -n "$tool" ] || {
	echo "clang-format 14 is not installed"
	exit 77
}

list() {
	git ls-files '*.c' '*.h' 2>/dev/null || find src include tests fuzz bench examples -name '*.[ch]'
}

if [ "${1:-}" = --fix ]; then
	list | xargs "$tool" -i
else
	list | xargs "$tool" --dry-run --Werror || exit 1
fi
