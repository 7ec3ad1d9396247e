# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the host needs: Debian 12 packages, each with what it is for.

LAB_HOST_PACKAGES='
gcc                     user space and its unit tests
make                    the build
libc6-dev               the build
pkg-config              the build
libcmocka-dev           unit tests
libjansson-dev          JSON of the device plugin and the CNI plugin
libnghttp2-dev          gRPC to the kubelet
libprotobuf-c-dev       gRPC to the kubelet
protobuf-c-compiler     gRPC to the kubelet
protobuf-compiler       gRPC to the kubelet
libibverbs-dev          memory registration in lib/p2p
libnl-3-dev             RDMA netlink in the CNI plugin
libnl-route-3-dev       RDMA netlink in the CNI plugin
clang                   make fuzz
libclang-rt-14-dev      make fuzz
llvm                    make fuzz: names in its findings
clang-format            make lint
shellcheck              make lint
valgrind                unit tests
universal-ctags         make lint
git                     make lint
spin                    make model
python3                 control of the guests
python3-yaml            manifests of deploy/ on the emulated node
chromium-headless-shell a look at the report of make demo, as a browser shows it
mmdebstrap              build chroot and node image
debian-archive-keyring  build chroot and node image
ca-certificates         downloads
e2fsprogs               disk of the node image
qemu-system-x86         the guests
qemu-utils              disks of the emulated node
openssh-client          commands in the emulated node
xz-utils                modules of the guests
patch                   the plug-in of Soft-RoCE, built from a Debian source package
kmod                    modules of the guests
cpio                    first file system of the emulated node
openssl                 certificate of the kubelet in the emulated node
'

# The names of the packages that are not there.
host_missing() {
	local names
	names=$(awk 'NF { print $1 }' <<<"$LAB_HOST_PACKAGES")
	# shellcheck disable=SC2086 # a list of words
	dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package} ${Package}\n' $names 2>/dev/null |
		awk 'NR == FNR { if ($1 == "ii") have[$3] = 1; next } NF && !($1 in have)' - <(printf '%s\n' "$names") || true
}

cmd_host() {
	local missing name
	[ -x /usr/bin/dpkg-query ] ||
		die "the lab builds on Debian 12 (no dpkg here): use a Debian 12 machine, or a privileged container of it"
	missing=$(host_missing)
	[ -n "$missing" ] || return 0
	echo "These packages are missing on this machine and get installed now:"
	for name in $missing; do
		awk -v n="$name" '$1 == n { w = $1; $1 = ""; printf "  %-24s for:%s\n", w, $0 }' <<<"$LAB_HOST_PACKAGES"
	done
	[ "$(id -u)" -eq 0 ] || die "installing them needs root: run this once as root, or: sudo apt-get install $(tr '\n' ' ' <<<"$missing")"
	stage "apt-get update" apt-get -q update ||
		die "apt cannot reach its mirror: check the network, the proxy and /etc/apt/sources.list*, then run this again"
	# shellcheck disable=SC2086 # a list of words
	stage "apt-get install" env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing ||
		die "apt could not install: $(tr '\n' ' ' <<<"$missing"); mend that by hand, then run this again"
	missing=$(host_missing)
	[ -z "$missing" ] || die "still missing after apt-get install: $(tr '\n' ' ' <<<"$missing")"
}
