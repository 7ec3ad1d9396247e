# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What is compiled in the build chroot: the driver, the modules of the tests,
# the shipped programs.

# build_module SOURCE NAME KERNEL [TREE]: SOURCE is a folder with a Kbuild file, TREE
# what to compile against if not Debian's headers of KERNEL. Into build/NAME/KERNEL.
build_module() {
	local out=$LAB_ROOT/build/$2/$3
	mkdir -p "$out"
	stage "$2 for $3" in_buildroot make -C "${4:-/lib/modules/$3/build}" "M=$LAB_ROOT/$1" "MO=$out" -j2 modules ||
		die "$1 does not compile against $3: the compiler's words are above"
}

# The driver for the newest kernel, also as build/driver/gaudi_p2p.ko.
driver_newest() {
	local newest
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

# soft_roce_build OUT KERNEL [OPTION...]: rdma_rxe.ko and its provider.
soft_roce_build() {
	stage "Soft-RoCE with dma-buf import for $2${3:+, debug kernel}" "$LAB_DIR/soft-roce/build" "$(buildroot_path)" "$1" --kver "$2" "${@:3}" ||
		die "Soft-RoCE with dma-buf import could not be built: the reason is above"
}

# Everything that a guest loads, for the newest kernel: build/driver/,
# build/vm-modules/ and build/soft-roce/.
cmd_modules() {
	local newest
	driver_newest
	newest=$(newest_kernel)
	build_module tests/vm/modules vm-modules "$newest"
	soft_roce_build "$LAB_ROOT/build/soft-roce" "$newest"
}

# Programs that run on bare nodes are static; what runs in the trixie container
# is linked as usual, because libibverbs loads its plug-ins at run time.
cmd_static() {
	buildroot_ready
	stage "static programs" in_buildroot make -C "$LAB_ROOT" -j2 STATIC=1 O=build/lab/static \
		build/lab/static/gaudi-device-plugin build/lab/static/cni-rdma build/lab/static/cni-rdma-install \
		build/lab/static/gaudi-driver-loader ||
		die "the static programs do not compile: the compiler's words are above"
	stage "container programs" in_buildroot make -C "$LAB_ROOT" -j2 O=build/lab/shared \
		build/lab/shared/p2p-copy build/lab/shared/ring-allreduce ||
		die "the container programs do not compile: the compiler's words are above"
}
