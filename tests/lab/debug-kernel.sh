# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A kernel that looks for bugs (KASAN, lockdep, kmemleak, ...), from Debian's
# linux-source package of the newest kernel. Kept by content: version and config.
# The result is a folder with bzImage, lib/modules/RELEASE and build/, the tree
# against which modules are compiled.
# shellcheck disable=SC2016 # what stands in quotes runs inside the chroot

debug_kernel_path() {
	printf '%s/debug-kernel-%s\n' "$LAB_CACHE" "$(hash_of "$LAB_DIR/debug.config" <<<"$(newest_kernel)")"
}

# debug_kernel_configure TREE: tinyconfig, our lines, and a look whether all survived.
debug_kernel_configure() {
	cp "$LAB_DIR/debug.config" "$1/../debug.config"
	(cd "$1" && in_buildroot sh -euc '
		make -s tinyconfig
		scripts/kconfig/merge_config.sh -m .config ../debug.config >/dev/null
		make -s olddefconfig
		grep "^CONFIG_" ../debug.config | while IFS="=" read -r name value; do
			case $value in
			n) ! grep -q "^$name=" .config || echo "$name" ;;
			*) grep -q "^$name=$value\$" .config || echo "$name" ;;
			esac
		done >../lost
		if [ -s ../lost ]; then
			echo "Kconfig dropped: $(tr "\n" " " <../lost)" >&2
			exit 1
		fi')
}

# debug_kernel_make TREE TARGET: compiles, installs, throws away what no module build needs.
debug_kernel_make() {
	(cd "$1" && in_buildroot sh -euc '
		nice make -s -j"$(nproc)" bzImage modules
		make -s INSTALL_MOD_PATH="$1" INSTALL_MOD_STRIP=1 modules_install
		cp arch/x86/boot/bzImage "$1/bzImage"
		make -s kernelrelease >"$1/release"
		find . -name "*.o" -not -path "./scripts/*" -not -path "./tools/*" -delete
		find . -name "*.c" -not -path "./scripts/*" -not -path "./tools/*" -delete
		rm -f vmlinux vmlinux.unstripped "$1"/lib/modules/*/build "$1"/lib/modules/*/source' sh "$2") && mv "$1" "$2/build"
}

debug_kernel_ready() {
	local target tmp tree
	target=$(debug_kernel_path)
	[ ! -d "$target" ] || return 0
	need_space "$LAB_CACHE" 8000 "the debug kernel"
	cache_lock debug-kernel
	if [ ! -d "$target" ]; then
		tmp=$target.tmp
		# An unpacked source of a run that was stopped is used again.
		if [ ! -e "$tmp/unpacked" ]; then
			rm -rf --one-file-system -- "$tmp"
			mkdir -p "$tmp"
			stage "source of the debug kernel" linux_source_fetch "$tmp" ||
				die "the package linux-source could not be had: check the mirror $(debian_mirror) and run this again"
			: >"$tmp/unpacked"
		fi
		tree=$(find "$tmp" -maxdepth 1 -name 'linux-source-*' -type d)
		stage "configuration of the debug kernel" debug_kernel_configure "$tree" ||
			die "the debug kernel cannot be configured: mend tests/lab/debug.config"
		stage "debug kernel (about 20 minutes on 2 cores)" debug_kernel_make "$tree" "$tmp" ||
			die "the debug kernel could not be built; what was compiled is kept, so run this again after mending the reason above"
		mv -T -- "$tmp" "$target"
	fi
	cache_unlock
}
