# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The driver tests: everything is built here, tests/vm/run.py boots and judges.

# vm_modules KERNEL: our modules for that kernel, as paths.
vm_modules() {
	find "$LAB_ROOT/build/driver/$1" "$LAB_ROOT/build/vm-modules/$1" "$LAB_ROOT/build/soft-roce" -name '*.ko' 2>/dev/null
}

# cmd_vm [--debug] [TEST...]
cmd_vm() {
	local debug='' kernel modules accel root
	if [ "${1:-}" = --debug ]; then
		debug=1
		shift
	fi
	[ -z "$debug" ] || die "DEBUG=1 comes with a later version: the debug kernel is not built yet; run make vm without it"
	cmd_modules
	kernel=$(newest_kernel)
	root=$(buildroot_path)
	mapfile -t modules < <(vm_modules "$kernel")
	stage "cni-rdma that can be told to fail" in_buildroot make -j2 STATIC=1 O=build/lab/faults CPPFLAGS=-DCNI_RDMA_FAULTS \
		build/lab/faults/cni-rdma || die "cni-rdma does not compile: the compiler's words are above"
	stage "test guest" in_buildroot "$LAB_ROOT/tests/vm/build.py" build/vm "$kernel" "/lib/modules/$kernel" "${modules[@]}" ||
		die "the test guest could not be built: the reason is above"
	accel=$("$LAB_DIR/guest.py" "$LAB_CACHE" "$root" "$kernel") || die "the probe for KVM failed"
	exec "$LAB_ROOT/tests/vm/run.py" "$LAB_ROOT/build/vm" "$root/boot/vmlinuz-$kernel" "$accel" "$@"
}
