# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Sourced by the scripts that get packages of a release of Debian: another one than this
# machine's, or packages that it need not have. They are unpacked, not installed. The
# script sets
#   apt     a directory of its own, for lists and downloads
#   cache   where logs go
# and takes a lock: two of them must not use one directory.

archive=http://deb.debian.org/debian
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# apt as if nothing were installed: the lists and caches of this machine are not
# touched.
apt() { # TOOL ARGUMENTS...
	local tool=$1
	shift
	# shellcheck disable=SC2154 # apt: see above
	"$tool" -o APT::Architecture=amd64 -o APT::Architectures=amd64 \
		-o Dir::State::Lists="$apt/lists" -o Dir::State::status="$apt/status" \
		-o Dir::Cache="$apt/cache" -o Dir::Etc::SourceList="$apt/sources.list" \
		-o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null \
		-o Dir::Etc::PreferencesParts=/dev/null \
		-o APT::Sandbox::User=root -o APT::Install-Recommends=false \
		-qq "$@"
}

# update LOG SUITE...: gets the lists of all of these, or fails.
update() {
	local log=$1
	shift
	[ -e "$keyring" ] ||
		die "$keyring is missing: it is in debian-archive-keyring"
	rm -rf "$apt"
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	printf "deb [signed-by=$keyring] $archive %s main\n" "$@" |
		sed '/-security /s|/debian |/debian-security |' >"$apt/sources.list"
	apt apt-get --error-on=any update >"$log" 2>&1 || {
		tail -n 20 "$log" >&2
		die "the lists of $archive are not complete"
	}
}

libraries=usr/lib/x86_64-linux-gnu
loader=$libraries/ld-linux-x86-64.so.2

# unpack ROOT: what was downloaded, through the links that Debian's own package of them
# would bring.
unpack() {
	local deb
	mkdir -p "$1"/usr/lib "$1"/usr/lib64
	ln -s usr/lib "$1/lib"
	ln -s usr/lib64 "$1/lib64"
	for deb in "$apt"/cache/archives/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -C "$1" --keep-directory-symlink -x
	done
}

# linked ROOT FILE...: the libraries there that programs, or libraries, are linked with.
linked() {
	local root=$1 file library
	shift
	for file; do
		"$root/$loader" --library-path "$root/$libraries" --list "$file" |
			sed -n 's| (0x[0-9a-f]*)$||; s|.* => ||p'
	done | sort -u | while read -r library; do
		case $library in
		"$root"/*) echo "$library" ;;
		*) die "a library that is not in the packages: $library" ;;
		esac
	done
}

# use_choice FILE LINK: takes what was chosen before, if it is there.
use_choice() {
	[ -e "$1" ] && [ -d "$(cat "$1")" ] || return 1
	mkdir -p "$(dirname "$2")"
	ln -sfn "$(cat "$1")" "$2"
	touch "$2/."
}

# use_fresh_choice FILE LINK: a choice stands for a week.
use_fresh_choice() {
	[ -n "$(find "$1" -mtime -7 2>/dev/null)" ] && use_choice "$1" "$2"
}

# choose FILE LINK: what LINK names stands from now on.
choose() {
	readlink -f "$2" >"$1.part"
	mv "$1.part" "$1"
	find "${1%/*}" -maxdepth 1 -name "$(basename "${1%-*}")-*" -mtime +60 -delete
}

# choose_anew FILE LINK COMMAND...: the command makes LINK name the newest there is,
# which stands from now on. If it fails, what was chosen before will do.
choose_anew() {
	local choice=$1 link=$2
	shift 2
	(
		trap '[ $? -eq 0 ] || ! use_choice "$choice" "$link" || {
			say "there is nothing newer that can be had"
			exit 0
		}' EXIT
		"$@"
		choose "$choice" "$link"
		rm -rf "$apt"
	)
}
