# packages.sh: sourced by check-deps.sh and install-deps.sh. Reads packages.txt.

is_there() { # one probe of packages.txt
	case $1 in
	pc:*) pkg-config --exists "${1#pc:}" 2>/dev/null ;;
	cmd:*) command -v "${1#cmd:}" >/dev/null 2>&1 || [ -x "/usr/sbin/${1#cmd:}" ] ;;
	py:*) /usr/bin/python3 -c "import ${1#py:}" >/dev/null 2>&1 ;;
	file:*) ls ${1#file:} >/dev/null 2>&1 ;;
	esac
}

missing_packages() { # groups: prints "package what for" of those that are not there
	while read -r group package probe what; do
		case " $* " in
		*" $group "*) is_there "$probe" || echo "$package $what" ;;
		esac
	done <"$(dirname "$0")/packages.txt"
}
