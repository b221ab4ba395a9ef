#!/bin/sh
# newer-secp256k1.sh DIR: builds libsecp256k1 from the source package of Debian's next release, to be
# linked into shoal statically: it checks signatures faster than the 0.2.0 of Debian 12.
#
#   scripts/newer-secp256k1.sh build-secp256k1
#   meson setup build -Dsecp256k1="$PWD/build-secp256k1"      (or: make MESON_FLAGS=-Dsecp256k1=...)
#
# The package is found and verified by apt with Debian's own keys, through a configuration that lives
# in DIR: the system's list of sources, its package lists and its packages stay as they are. Needs
# no root; needs dpkg-dev and a compiler.
set -eu
[ $# = 1 ] || {
	echo "usage: newer-secp256k1.sh DIR" >&2
	exit 2
}
release=${SHOAL_SECP_RELEASE:-trixie}
mirror=${SHOAL_DEBIAN_MIRROR:-http://deb.debian.org/debian}
keys=/usr/share/keyrings/debian-archive-keyring.gpg
for tool in apt-get dpkg-source cc ar; do
	command -v $tool >/dev/null || {
		echo "newer-secp256k1.sh: $tool is missing (packages apt, dpkg-dev, gcc, binutils)" >&2
		exit 1
	}
done
mkdir -p "$1"
dir=$(cd "$1" && pwd)
mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
: >"$dir/apt/status"
echo "deb-src [signed-by=$keys] $mirror $release main" >"$dir/apt/sources.list"
private_apt() {
	apt-get -q -o Dir::Etc::SourceList="$dir/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
		-o Dir::State::Lists="$dir/apt/lists" -o Dir::State::Status="$dir/apt/status" \
		-o Dir::Cache="$dir/apt/cache" -o APT::Sandbox::User= "$@"
}

# Without --allow-unauthenticated apt takes nothing that Debian's keys do not vouch for.
private_apt update
cd "$dir"
rm -rf source libsecp256k1_*
private_apt source --download-only libsecp256k1
dpkg-source --no-check -q -x libsecp256k1_*.dsc source

# The library is one translation unit and two tables; the modules are those that shoal may use.
modules="-DENABLE_MODULE_EXTRAKEYS=1 -DENABLE_MODULE_SCHNORRSIG=1 -DENABLE_MODULE_ECDH=1
	-DENABLE_MODULE_RECOVERY=1 -DENABLE_MODULE_ELLSWIFT=1"
assembly=
[ "$(uname -m)" != x86_64 ] || assembly=-DUSE_ASM_X86_64=1
for unit in secp256k1 precomputed_ecmult precomputed_ecmult_gen; do
	# shellcheck disable=SC2086 # modules are several words
	cc -O3 -fPIC -fvisibility=hidden -w $modules -DECMULT_WINDOW_SIZE=15 -DECMULT_GEN_KB=86 \
		-DECMULT_GEN_PREC_BITS=4 -DSECP256K1_STATIC $assembly \
		-Isource -Isource/include -Isource/src -c "source/src/$unit.c" -o "$unit.o"
done
rm -f libsecp256k1.a
ar rcs libsecp256k1.a secp256k1.o precomputed_ecmult.o precomputed_ecmult_gen.o
rm -rf include && cp -r source/include include
ls libsecp256k1_*.dsc | sed 's/libsecp256k1_\(.*\).dsc/libsecp256k1 \1 is in '"$(echo "$dir" | sed 's,/,\\/,g')"'/'
