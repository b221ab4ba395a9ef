#!/bin/sh
# check-symbols.sh LIBRARY: what the shared library exports begins with shoal_, and there is some.
set -eu
[ -e "${1:-}" ] || {
	echo "there is no shared library in this build"
	exit 77
}
symbols=$(nm -D --defined-only "$1" | awk '{print $3}' | sed 's/@.*//')
others=$(echo "$symbols" | grep -v '^shoal_' || true)
[ -z "$others" ] || {
	echo "exported, but not shoal_:" $others
	exit 1
}
echo "$(echo "$symbols" | grep -c '^shoal_') symbols, all shoal_"
