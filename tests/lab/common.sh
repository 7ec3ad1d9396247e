# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What every file of the lab uses: where things are, how it speaks, how it fails.

LAB_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
LAB_DIR=$LAB_ROOT/tests/lab
LAB_CACHE=${GAUDI_P2P_CACHE:-${HOME:-/root}/.cache/gaudi-p2p}
LAB_RESULTS=$LAB_ROOT/build/results
LAB_STARTED=${LAB_STARTED:-$EPOCHSECONDS}
export LAB_ROOT LAB_DIR LAB_CACHE LAB_RESULTS LAB_STARTED

# shellcheck source=tests/lab/versions
. "$LAB_DIR/versions"

say() {
	printf '[%4d s] %s\n' $((EPOCHSECONDS - LAB_STARTED)) "$*"
}

# die TEXT: one line that says what is wrong and what to do about it.
die() {
	printf 'lab: %s\n' "$*" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" -eq 0 ] || die "$1 needs root: run it with sudo"
}

# need_space DIR MIB WHAT
need_space() {
	local free
	mkdir -p "$1" || die "cannot make $1: choose another place with GAUDI_P2P_CACHE=DIR"
	free=$(df --output=avail -m "$1" | tail -n 1)
	[ "$free" -ge "$2" ] ||
		die "$3 needs $2 MiB in $1, where $free MiB are free: make room, or set GAUDI_P2P_CACHE to a bigger disk"
}

# stage TEXT COMMAND...: says what is being done, keeps the output in a log, says
# how long it took; in between it shows that it is alive. Fails as the command
# does, after showing the end of the log.
stage() {
	local text=$1 log start=$EPOCHSECONDS rc=0 pid beat=0
	shift
	mkdir -p "$LAB_CACHE/log"
	log=$LAB_CACHE/log/$(tr -cs 'a-zA-Z0-9.\n' '-' <<<"$text").log
	say "$text ..."
	# A process group of its own, so that a stopped lab takes all of its stage with it.
	set -m
	# The lock of the caller must not live on in what the command leaves behind.
	"$@" >"$log" 2>&1 </dev/null 9>&- &
	pid=$!
	set +m
	trap 'kill -- "-$pid" 2>/dev/null; exit 130' INT TERM HUP
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		beat=$((beat + 1))
		[ $((beat % 150)) -ne 0 ] || say "  ... still at it ($((EPOCHSECONDS - start)) s): $(tail -c 90 "$log" | tail -n 1 | tr -cd '[:print:]')"
	done
	wait "$pid" || rc=$?
	trap - INT TERM HUP
	if [ "$rc" -ne 0 ]; then
		tail -n 15 "$log" | sed 's/^/    /' >&2
		printf 'lab: %s failed after %d s; the whole log is %s\n' "$text" $((EPOCHSECONDS - start)) "$log" >&2
		return "$rc"
	fi
	[ $((EPOCHSECONDS - start)) -lt 2 ] || say "  done in $((EPOCHSECONDS - start)) s"
}

# hash_of [FILE...]: content hash of the files and of standard input.
hash_of() {
	{ cat -- "$@" && cat; } | sha256sum | cut -c1-16
}

# cache_lock NAME: from here to the end of the process (or to unlock) one
# builder of NAME at a time, on descriptor 9.
cache_lock() {
	mkdir -p "$LAB_CACHE" || die "cannot make $LAB_CACHE: choose another place with GAUDI_P2P_CACHE=DIR"
	exec 9>"$LAB_CACHE/.lock-$1"
	if ! flock -n 9; then
		say "waiting for another build of $1"
		flock 9
	fi
}

cache_unlock() {
	exec 9>&-
}
