#!/bin/sh
# check-deps.sh [GROUP...]: says which Debian packages are missing (default: those of the build).
# Exits 1 if any is.
set -eu
. "$(dirname "$0")/packages.sh"

missing=$(missing_packages "${@:-build}")
[ -n "$missing" ] || exit 0
echo "shoal cannot be built yet. Debian packages that are missing:" >&2
echo "$missing" | while read -r package what; do
	printf '  %-22s %s\n' "$package" "$what" >&2
done
echo "Run  scripts/install-deps.sh ${*:-build}  or  apt-get install" \
	"$(echo "$missing" | cut -d' ' -f1 | tr '\n' ' ')" >&2
exit 1
