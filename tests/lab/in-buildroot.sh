# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Commands inside the build chroot. They see the project and the cache at their
# own paths, writable; the chroot itself is read-only apart from apt's state and
# temporary folders, so that no build can change what others build in.

# Runs in a mount namespace of its own: arguments are chroot, project, cache, command.
# shellcheck disable=SC2016 # expanded by the inner shell
LAB_ENTER='
set -eu
root=$1 project=$2 cache=$3 cwd=$4
shift 4
mount --rbind "$root" "$root"
for d in proc sys dev; do mount --rbind "/$d" "$root/$d"; done
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=0700 tmpfs "$root/root"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mkdir -p "$root/run/lock"
for d in var/lib/apt var/cache/apt; do mount --bind "$root/$d" "$root/$d"; done
bind() {
	# The mount points of the project and the cache exist only here: below a tmpfs, or made once in the chroot.
	[ -d "$root$1" ] || mkdir -p "$root$1"
	mount --rbind "$1" "$root$1"
}
bind "$project"
[ "${cache#"$project"/}" != "$cache" ] || bind "$cache"
for f in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
	[ ! -e "$f" ] || mount --bind "$(readlink -f "$f")" "$root$f"
done
mount -o remount,bind,ro "$root"
exec chroot "$root" /bin/sh -c "cd \"\$1\" && shift && exec \"\$@\"" sh "$cwd" "$@"
'

# in_buildroot COMMAND...: with the machine's proxy, CA and Go settings.
in_buildroot() {
	local root pass=() name cwd=$PWD
	root=$(buildroot_path)
	need_root "working in the build chroot"
	mkdir -p "$LAB_CACHE/go"
	case $cwd/ in "$LAB_ROOT"/* | "$LAB_CACHE"/*) ;; *) cwd=$LAB_ROOT ;; esac
	while read -r name; do
		pass+=("$name=${!name}")
	done < <(compgen -e | grep -E -i '^(https?_proxy|no_proxy|all_proxy|ssl_cert_(file|dir)|curl_ca_bundle|go(proxy|sumdb|noproxy|nosumdb|private|flags|insecure)|gaudi_p2p_.*|lab_.*|v|ci)$')
	env -i "${pass[@]}" HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" USER=root \
		PATH="/usr/lib/go-${LAB_GO_PACKAGE//[!0-9.]/}/bin:/usr/sbin:/usr/bin:/sbin:/bin" GOTOOLCHAIN=local \
		GAUDI_P2P_CACHE="$LAB_CACHE" GOMODCACHE="$LAB_CACHE/go/mod" GOCACHE="$LAB_CACHE/go/build" GOPATH="$LAB_CACHE/go" \
		unshare --mount --propagation private sh -c "$LAB_ENTER" sh "$root" "$LAB_ROOT" "$LAB_CACHE" "$cwd" "$@"
}

cmd_in_buildroot() {
	[ $# -gt 0 ] || die "usage: tests/lab/lab in-buildroot COMMAND [ARGUMENT...]"
	buildroot_ready
	in_buildroot "$@"
}
