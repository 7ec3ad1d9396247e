# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The driver tests: everything is built here, tests/vm/run.py boots and judges.

# cni_tools_make TARGET: what tests/lab/cni-tools/go.mod names, static and stripped.
cni_tools_make() {
	rm -rf -- "$1.tmp" && mkdir -p "$1.tmp" &&
		(cd "$LAB_DIR/cni-tools" && in_buildroot env CGO_ENABLED=0 \
			go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$1.tmp/" tool) &&
		mv -T -- "$1.tmp" "$1"
}

# cnitool and the reference plugins, also as build/lab/cni-tools.
cni_tools_ready() {
	local target
	target=$LAB_CACHE/cni-tools-$(hash_of "$LAB_DIR/cni-tools/go.mod" "$LAB_DIR/cni-tools/go.sum" <<<"$LAB_GO_PACKAGE")
	cache_lock cni-tools
	[ -d "$target" ] || stage "CNI's tool and plugins from the Go module proxy (about a minute)" cni_tools_make "$target" ||
		die "the CNI plugins could not be built: if the log names a download, check the Go module proxy (go env GOPROXY) and run this again"
	cache_unlock
	ln -sfn "$target" "$LAB_ROOT/build/lab/cni-tools"
}

# cmd_vm [--debug] [TEST...]
cmd_vm() {
	local kernel image config directory soft_roce=$LAB_ROOT/build/soft-roce out=build/vm modules accel tree
	if [ "${1:-}" = --debug ]; then
		shift
		buildroot_ready
		debug_kernel_ready
		tree=$(debug_kernel_path)
		kernel=debug-$(cat "$tree/release") out=build/vm-debug
		image=$tree/bzImage config=$tree/build/.config directory=$tree/lib/modules/$(cat "$tree/release")
		build_module driver driver "$kernel" "$tree/build"
		build_module tests/vm/modules vm-modules "$kernel" "$tree/build"
		# The user-space side of Soft-RoCE is the same for every kernel.
		soft_roce_build "$soft_roce" "$(newest_kernel)"
		soft_roce=$soft_roce-debug
		soft_roce_build "$soft_roce" "$(newest_kernel)" --kdir "$tree/build"
		export GAUDI_P2P_PATIENCE=${GAUDI_P2P_PATIENCE:-10}
	else
		cmd_modules
		kernel=$(newest_kernel)
		image=$(buildroot_path)/boot/vmlinuz-$kernel config=/boot/config-$kernel directory=/lib/modules/$kernel
	fi
	mapfile -t modules < <(find "$LAB_ROOT/build/driver/$kernel" "$LAB_ROOT/build/vm-modules/$kernel" "$soft_roce" -name '*.ko')
	stage "cni-rdma that can be told to fail" in_buildroot make -j2 STATIC=1 O=build/lab/faults CPPFLAGS=-DCNI_RDMA_FAULTS \
		build/lab/faults/cni-rdma build/lab/faults/cni-rdma-install || die "cni-rdma does not compile: the compiler's words are above"
	stage "cni-rdma as it is shipped" in_buildroot make -j2 STATIC=1 O=build/lab/static build/lab/static/cni-rdma ||
		die "cni-rdma does not compile: the compiler's words are above"
	cni_tools_ready
	stage "test guest" in_buildroot "$LAB_ROOT/tests/vm/build.py" "$out" "$kernel" "$config" "$directory" "${modules[@]}" ||
		die "the test guest could not be built: the reason is above"
	accel=${LAB_VM_ACCEL:-$("$LAB_DIR/guest.py" "$LAB_CACHE" "$(buildroot_path)" "$(newest_kernel)")} || die "the probe for KVM failed"
	exec "$LAB_ROOT/tests/vm/run.py" "$LAB_ROOT/$out" "$image" "$accel" "$@"
}
