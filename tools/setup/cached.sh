# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Sourced by the scripts that build what is kept in the cache (see setup).

# Removes those of a kind that have not been used for longest, but for the last
# few.
prune() { # KIND
	local old keep=3
	while read -r old; do
		rm -rf "$old"
	done < <(find "${1%/*}" -maxdepth 1 -type d -name "${1##*/}-*" \
		-printf '%T@ %p\n' | sort -rn | tail -n +$((keep + 1)) |
		cut -d ' ' -f 2-)
}

# cached KIND KEY LINK COMMAND...: makes LINK a symbolic link to the directory
# KIND-KEY, which a command that gets it as its last argument fills if there is
# none. It is there whole or not at all. One of each kind is built at a time.
cached() {
	local kind=$1 dir=$1-$2 link=$3
	shift 3
	mkdir -p "${kind%/*}" "$(dirname "$link")"
	(
		flock -n 9 || {
			say "waiting for another build"
			flock 9
		}
		if [ ! -d "$dir" ]; then
			rm -rf "$kind"-*.part
			mkdir "$dir.part"
			"$@" "$dir.part"
			mv "$dir.part" "$dir"
			say "done, in $dir"
		fi
		touch "$dir"
		prune "$kind"
	) 9>"$kind.lock"
	ln -sfn "$dir" "$link"
}
