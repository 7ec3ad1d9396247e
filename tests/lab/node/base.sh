# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The node's base disk: Debian, kernel, kubelet, keys. Kept by the hash of this
# file, so what changes often does not belong here.

LAB_NODE_DIR=$LAB_DIR/node
LAB_NODE_PACKAGES="
systemd-sysv udev dbus kmod iproute2 nftables openssh-server containerd runc containernetworking-plugins
ibverbs-utils ibverbs-providers busybox-static ca-certificates
"

node_base_path() {
	printf '%s/node-%s\n' "$LAB_CACHE" \
		"$(hash_of "$LAB_DIR/versions" "$LAB_NODE_DIR/base.sh" "$LAB_NODE_DIR/base-hook.sh" "$LAB_NODE_DIR/initrd-init" \
			<<<"$(newest_kernel) $(basename "$(kubernetes_path)")")"
}

# node_modules DIR: the modules of the newest kernel, unpacked, because
# decompressing them is slow work for an emulated CPU, and without the big
# drivers that no emulated machine has.
node_modules() {
	local kernel from to
	kernel=$(newest_kernel)
	from=$(buildroot_path)/lib/modules/$kernel to=$1/lib/modules/$kernel
	mkdir -p "$to"
	(cd "$from" && find kernel modules.order modules.builtin modules.builtin.modinfo -type f \
		-not -path 'kernel/drivers/media/*' -not -path 'kernel/sound/*' -not -path 'kernel/drivers/scsi/*' \
		-not -path 'kernel/drivers/usb/*' -not -path 'kernel/drivers/iio/*' -not -path 'kernel/drivers/hwmon/*' \
		-not -path 'kernel/drivers/gpu/drm/*/*' -not -path 'kernel/drivers/net/ethernet/*' \
		-not -path 'kernel/drivers/net/wireless/*' -not -path 'kernel/drivers/ata/*' -not -path 'kernel/drivers/input/*' \
		-not -path 'kernel/drivers/hid/*' -not -path 'kernel/drivers/platform/*' -not -path 'kernel/drivers/i2c/*' \
		-not -path 'kernel/drivers/mfd/*' -not -path 'kernel/drivers/watchdog/*' -not -path 'kernel/arch/x86/kvm/*' -print0 |
		tar -c --null -T - -f -) | tar -x -C "$to" -f - &&
		find "$to" -name '*.ko.xz' -print0 | xargs -0 -r -P 2 -n 64 xz -d &&
		sed -i 's/\.ko\.xz$/.ko/' "$to/modules.order" &&
		depmod -b "$1" "$kernel"
}

# node_initrd DIR MODULES: busybox, the few modules up to the root disk, our init.
node_initrd() {
	local tree=$1/initrd kernel path
	kernel=$(newest_kernel)
	mkdir -p "$tree/bin" "$tree/dev" "$tree/root" "$tree/modules"
	cp "$(buildroot_path)/bin/busybox" "$tree/bin/busybox"
	install -m 755 "$LAB_NODE_DIR/initrd-init" "$tree/init"
	for path in virtio_pci virtio_blk crc32c-cryptoapi ext4; do
		modprobe -d "$2" -S "$kernel" --show-depends "$path" 2>/dev/null || :
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$1/initrd.list"
	while read -r path; do
		cp "$path" "$tree/modules/" && basename "$path" >>"$tree/modules.list"
	done <"$1/initrd.list"
	(cd "$tree" && find . -print0 | LC_ALL=C sort -z | cpio --null --quiet -o -H newc -R 0:0) | gzip -1 >"$1/initrd.img"
	rm -rf -- "$tree" "$1/initrd.list"
}

# node_base_make TARGET
node_base_make() {
	local tmp=$1.tmp kernel mirror opts
	kernel=$(newest_kernel)
	mirror=$(debian_mirror) || return 1
	mapfile -t opts < <(apt_options)
	rm -rf --one-file-system -- "$tmp" && mkdir -p "$tmp"
	printf 'deb %s %s main\n' "$mirror" "$LAB_SUITE" >"$tmp/debian.list"
	mmdebstrap --variant=apt "${opts[@]}" \
		--include="$(tr -s ' \n' ',' <<<"$LAB_NODE_PACKAGES" | sed 's/^,//; s/,$//')" \
		--aptopt='APT::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		"$LAB_SUITE" "$tmp/root" "$tmp/debian.list" || return 1
	node_modules "$tmp/modules" || return 1
	mkdir -p "$tmp/root/lib/modules" && cp -al "$tmp/modules/lib/modules/$kernel" "$tmp/root/lib/modules/" || return 1
	install -D -m 755 -t "$tmp/root/usr/local/bin" "$(kubernetes_path)"/{kubelet,kube-proxy} || return 1
	ssh-keygen -q -t ed25519 -N '' -C gaudi-p2p-lab -f "$tmp/id_ed25519" || return 1
	bash "$LAB_NODE_DIR/base-hook.sh" "$tmp/root" "$tmp" || return 1
	cp "$(buildroot_path)/boot/vmlinuz-$kernel" "$tmp/vmlinuz" && node_initrd "$tmp" "$tmp/modules" || return 1
	printf '%s\n' "$kernel" >"$tmp/kernel"
	truncate -s 6G "$tmp/root.img" &&
		mkfs.ext4 -q -F -L root -m 0 -E lazy_itable_init=1,lazy_journal_init=1 -d "$tmp/root" "$tmp/root.img" || return 1
	rm -rf -- "$tmp/root" "$tmp/debian.list" && mv -T -- "$tmp" "$1"
}

node_base_ready() {
	local target
	kubernetes_ready
	target=$(node_base_path)
	[ ! -d "$target" ] || return 0
	need_root "building the node image"
	need_space "$LAB_CACHE" 3000 "the node image"
	cache_lock node
	if [ ! -d "$target" ]; then
		stage "node image ($LAB_SUITE, kernel $(newest_kernel), containerd; about 1 minute)" node_base_make "$target" ||
			die "the node image could not be made: if the log names the network or a package, check the mirror $(debian_mirror) and run this again"
	fi
	cache_unlock
}
