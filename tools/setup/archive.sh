# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Sourced by the scripts that get packages of trixie, Debian's release after this one,
# and of its backports. They are unpacked, not installed. The script sets
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

# update LOG: gets the lists of all of the archive, or fails.
update() {
	[ -e "$keyring" ] ||
		die "$keyring is missing: it is in debian-archive-keyring"
	rm -rf "$apt"
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	printf "deb [signed-by=$keyring] $archive %s main\n" trixie \
		trixie-security trixie-backports |
		sed '/trixie-security/s|/debian |/debian-security |' \
			>"$apt/sources.list"
	apt apt-get --error-on=any update >"$1" 2>&1 || {
		tail -n 20 "$1" >&2
		die "the lists of $archive are not complete"
	}
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
