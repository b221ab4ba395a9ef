#!/bin/sh
# check-symbols.sh LIBRARY...: what a library, shared or static, exports begins with shoal_, and
# there is some.
set -eu
for library; do
	case $library in
	*.a) symbols=$(nm -g --defined-only "$library") ;;
	*) symbols=$(nm -D --defined-only "$library") ;;
	esac
	symbols=$(echo "$symbols" | awk 'NF == 3 {print $3}' | sed 's/@.*//')
	others=$(echo "$symbols" | grep -v '^shoal_' || true)
	[ -z "$others" ] || {
		echo "$library exports, but not as shoal_:" $others
		exit 1
	}
	echo "$library: $(echo "$symbols" | grep -c '^shoal_') symbols, all shoal_"
done
