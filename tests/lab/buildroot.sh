# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The build chroot: Debian with the newest kernel and its headers, Go and every
# library that the shipped programs link statically. Kept by the hash of its
# recipe, so a changed package list makes a new one and an old one stays usable.

LAB_BUILDROOT_PACKAGES="
ca-certificates build-essential pkg-config dpkg-dev bc rsync kmod cpio xz-utils zstd python3 cmake ninja-build
flex bison libelf-dev libssl-dev busybox-static
linux-image-amd64/$LAB_BACKPORTS linux-headers-amd64/$LAB_BACKPORTS
$LAB_GO_PACKAGE/$LAB_BACKPORTS
libjansson-dev libnghttp2-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler
libnl-3-dev libnl-route-3-dev libmnl-dev libibverbs-dev ibverbs-providers libcmocka-dev libudev-dev libsystemd-dev
iproute2 ibverbs-utils rdmacm-utils
sparse spin
"

# debian_mirror: the archive that this machine is set up for.
debian_mirror() {
	local codename uri
	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	# shellcheck disable=SC2016 # apt's own variables
	uri=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk -v c="$codename" '$1 == c && $2 == "main" { print $3; exit }')
	# A machine whose lists were never fetched (or were thrown away) has no index targets yet.
	[ -n "$uri" ] || uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
		sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\) .*/\2/p' | grep -m 1 '/debian/*$')
	[ -n "$uri" ] || die "no Debian archive in /etc/apt/sources.list*: add one, for example: deb http://MIRROR/debian $codename main"
	printf '%s\n' "${uri%/}"
}

# apt_options: the machine's proxy settings as options for mmdebstrap.
apt_options() {
	apt-config dump 2>/dev/null | sed -n 's/^\(Acquire::https\{0,1\}::\(Proxy\|Verify-Peer\|CaInfo\).*"[^"][^"]*";\)$/--aptopt=\1/p'
}

# The recipe: suites, packages and what the functions below do, not their comments.
buildroot_hash() {
	{
		# shellcheck disable=SC2086 # spaces do not matter
		echo "$LAB_SUITE $LAB_BACKPORTS $LAB_KERNEL_MIN" $LAB_BUILDROOT_PACKAGES
		declare -f buildroot_make buildroot_older_headers
	} | hash_of
}

buildroot_path() {
	printf '%s/buildroot-%s\n' "$LAB_CACHE" "$(buildroot_hash)"
}

# Runs inside the chroot: headers of the newest kernel of every series that the
# driver supports, besides the newest of all.
buildroot_older_headers() {
	cat <<-END
	apt-cache pkgnames linux-headers- | sed -n 's/^linux-headers-\([0-9]*\.[0-9]*\)\.[0-9]*+[^-]*-amd64\$/& \1/p' |
	sort -rV | awk '!seen[\$2]++' | while read -r package series; do
		dpkg --compare-versions "\$series" lt $LAB_KERNEL_MIN || echo "\$package"
	done | xargs -r apt-get -q -y --no-install-recommends install
	END
}

# buildroot_make TARGET
buildroot_make() {
	local tmp=$1.tmp mirror opts
	mirror=$(debian_mirror) || exit 1
	mapfile -t opts < <(apt_options)
	rm -rf --one-file-system -- "$tmp"
	mkdir -p "$tmp.d"
	printf '%s %s %s main\n' \
		deb "$mirror" "$LAB_SUITE" deb "$mirror" "$LAB_BACKPORTS" \
		deb-src "$mirror" "$LAB_SUITE" deb-src "$mirror" "$LAB_BACKPORTS" >"$tmp.d/debian.list"
	buildroot_older_headers >"$tmp.d/headers"
	# shellcheck disable=SC2016 # the hook's own argument
	# The lists stay: sources and single packages are fetched through them later.
	mmdebstrap --variant=apt --skip=cleanup/apt/lists "${opts[@]}" \
		--include="$(tr -s ' \n' ',' <<<"$LAB_BUILDROOT_PACKAGES" | sed 's/^,//; s/,$//')" \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--customize-hook="copy-in $tmp.d/headers /tmp" \
		--customize-hook='chroot "$1" sh -eu /tmp/headers && rm "$1/tmp/headers"' \
		"$LAB_SUITE" "$tmp" "$tmp.d/debian.list" &&
		chroot "$tmp" gcc --version >/dev/null && ls -d "$tmp"/lib/modules/*/build >/dev/null &&
		rm -f "$tmp/etc/resolv.conf" "$tmp/etc/hosts" && touch "$tmp/etc/resolv.conf" "$tmp/etc/hosts" &&
		rm -rf -- "$tmp.d" && mv -T -- "$tmp" "$1"
}

# buildroot_ready: makes the chroot if it is not there.
buildroot_ready() {
	local target
	target=$(buildroot_path)
	[ ! -d "$target" ] || return 0
	need_root "building the build chroot"
	need_space "$LAB_CACHE" 7000 "the build chroot"
	command -v mmdebstrap >/dev/null || die "mmdebstrap is missing: run tests/lab/lab host"
	cache_lock buildroot
	if [ ! -d "$target" ]; then
		stage "build chroot ($LAB_SUITE, kernel and headers of $LAB_BACKPORTS; about 2 minutes)" buildroot_make "$target" ||
			die "the build chroot could not be made: if the log names the network or a package, check the mirror $(debian_mirror) and run this again"
	fi
	cache_unlock
}

cmd_buildroot() {
	buildroot_ready
	buildroot_path
}

# kernel_versions: of the chroot, newest first.
kernel_versions() {
	find "$(buildroot_path)"/lib/modules/*/build -maxdepth 0 2>/dev/null | sed 's|.*/lib/modules/||; s|/build$||' | sort -rV
}

# newest_kernel: the one with an image to boot.
newest_kernel() {
	find "$(buildroot_path)"/boot -name 'vmlinuz-*' | sed 's|.*/vmlinuz-||' | sort -rV | head -n 1
}
