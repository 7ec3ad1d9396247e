# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What is compiled in the build chroot: the driver, the modules of the tests,
# the shipped programs.

# build_module SOURCE NAME KERNEL: SOURCE is a folder with a Kbuild file.
build_module() {
	local out=$LAB_ROOT/build/$2/$3
	mkdir -p "$out"
	stage "$2 for $3" in_buildroot make -C "/lib/modules/$3/build" "M=$LAB_ROOT/$1" "MO=$out" "${LAB_MODULE_FLAGS[@]}" -j2 modules ||
		die "$1 does not compile against $3: the compiler's words are above"
}

# The driver for the newest kernel, also as build/driver/gaudi_p2p.ko.
driver_newest() {
	local newest
	LAB_MODULE_FLAGS=()
	buildroot_ready
	newest=$(newest_kernel)
	[ -n "$newest" ] || die "the build chroot has no kernel: remove $(buildroot_path) and run this again"
	[ -e "$LAB_ROOT/driver/Kbuild" ] || die "driver/Kbuild is missing: the checkout is not complete"
	build_module driver driver "$newest"
	cp "$LAB_ROOT/build/driver/$newest/gaudi_p2p.ko" "$LAB_ROOT/build/driver/gaudi_p2p.ko"
}

# The driver against every kernel whose headers the chroot has.
cmd_driver() {
	local kernel newest
	driver_newest
	newest=$(newest_kernel)
	for kernel in $(kernel_versions); do
		[ "$kernel" = "$newest" ] || build_module driver driver "$kernel"
	done
	say "build/driver/gaudi_p2p.ko is for $newest"
}

# Everything that a guest loads, for the newest kernel: build/driver/,
# build/vm-modules/ and build/soft-roce/.
cmd_modules() {
	local newest
	driver_newest
	newest=$(newest_kernel)
	if [ -e "$LAB_ROOT/tests/vm/modules/Kbuild" ]; then
		build_module tests/vm/modules vm-modules "$newest"
	fi
	if [ -x "$LAB_DIR/soft-roce/build" ]; then
		stage "Soft-RoCE with dma-buf import for $newest" \
			"$LAB_DIR/soft-roce/build" "$(buildroot_path)" "$LAB_ROOT/build/soft-roce" --kver "$newest" ||
			die "Soft-RoCE with dma-buf import could not be built: the reason is above"
	fi
}

# Programs that run on bare nodes are static; what runs in the trixie container
# is linked as usual, because libibverbs loads its plug-ins at run time.
cmd_static() {
	buildroot_ready
	stage "static programs" in_buildroot make -C "$LAB_ROOT" -j2 STATIC=1 O=build/lab/static \
		build/lab/static/gaudi-device-plugin build/lab/static/cni-rdma ||
		die "the static programs do not compile: the compiler's words are above"
	stage "container programs" in_buildroot make -C "$LAB_ROOT" -j2 O=build/lab/shared build/lab/shared/p2p-copy ||
		die "the container programs do not compile: the compiler's words are above"
}
