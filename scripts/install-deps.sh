#!/bin/sh
# install-deps.sh [build|test|dev|all]: installs the Debian packages that are missing, after saying
# which and why. Needs root, or sudo, for apt-get alone. Services that come with a package are
# neither started nor left enabled.
set -eu
. "$(dirname "$0")/packages.sh"

case ${1:-build} in
build) groups="build" ;;
test) groups="build test" ;;
dev | all) groups="build test dev" ;;
*)
	echo "usage: install-deps.sh [build|test|dev|all]" >&2
	exit 2
	;;
esac

missing=$(missing_packages $groups)
[ -n "$missing" ] || exit 0
packages=$(echo "$missing" | cut -d' ' -f1)
if ! command -v apt-get >/dev/null 2>&1; then
	echo "install-deps.sh: this system has no apt-get; please install the like of these:" $packages >&2
	exit 1
fi

as_root=
if [ "$(id -u)" != 0 ]; then
	as_root="sudo"
	if ! command -v sudo >/dev/null 2>&1; then
		echo "install-deps.sh: needs root (or sudo) to install:" $packages >&2
		exit 1
	fi
fi

echo "About to install with ${as_root:+$as_root }apt-get:"
echo "$missing" | while read -r package what; do
	printf '  %-22s %s\n' "$package" "$what"
done

# Debian's hook for "do not start services", there only while we install; one that is already
# there has its own reasons and stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap '$as_root rm -f "$policy"' EXIT
	trap 'exit 1' INT TERM HUP
	printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
	$as_root chmod 755 "$policy"
fi

install_packages() {
	# Output only matters when it fails.
	log=$(mktemp)
	if $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
		--no-install-recommends $packages >"$log" 2>&1; then
		rm -f "$log"
		return 0
	fi
	tail -n 20 "$log" >&2
	rm -f "$log"
	return 1
}

$as_root apt-get update -q >/dev/null 2>&1 || echo "install-deps.sh: apt-get update failed; going on with old lists" >&2
install_packages

# On a machine with systemd, what we brought for tests should not start at its next boot either.
for package in $packages; do
	case $package in
	transmission-daemon | opentracker)
		if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
			$as_root systemctl disable --quiet "$package" 2>/dev/null || true
		fi
		;;
	esac
done

still=$(missing_packages $groups | cut -d' ' -f1 | tr '\n' ' ')
if [ -n "$still" ]; then
	echo "install-deps.sh: installed, but still not found: $still" >&2
	exit 1
fi
echo "Installed."
