# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The emulated node, in three layers by how often they change: the kubelet (a Go
# build of many minutes), the base disk (Debian, kernel, kubelet, keys) and the
# top layer (what this project builds and configures), a tar that the initrd
# unpacks over a fresh overlay of the base at every boot. A change of ours costs seconds.

LAB_NODE_OUT=$LAB_ROOT/build/lab/node
# The kubelet as a Go module, and the tests that use parts of it.
LAB_KUBELET_DIR=$LAB_ROOT/tests/kubelet

# kubelet_version: go.mod says it, so that it stands in one place only.
kubelet_version() {
	sed -n 's|^require k8s.io/kubernetes ||p' "$LAB_KUBELET_DIR/go.mod"
}

kubelet_path() {
	printf '%s/kubelet-%s\n' "$LAB_CACHE" \
		"$(hash_of "$LAB_KUBELET_DIR/go.mod" "$LAB_KUBELET_DIR/go.sum" <<<"$LAB_GO_PACKAGE")"
}

# kubelet_make TARGET: static and stripped.
kubelet_make() {
	# Not in the chroot's /tmp: that is memory, and the linker's input is big.
	rm -rf -- "$LAB_CACHE/go/tmp" && mkdir -p "$LAB_CACHE/go/tmp"
	(cd "$LAB_KUBELET_DIR" &&
		in_buildroot env CGO_ENABLED=0 GOTMPDIR="$LAB_CACHE/go/tmp" go build -v -trimpath -buildvcs=false \
			-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$(kubelet_version)" \
			-o "$1.tmp" k8s.io/kubernetes/cmd/kubelet) &&
		mv -T -- "$1.tmp" "$1"
}

kubelet_ready() {
	local target
	target=$(kubelet_path)
	[ ! -x "$target" ] || return 0
	buildroot_ready
	need_space "$LAB_CACHE" 6000 "the build of the kubelet"
	cache_lock kubelet
	if [ ! -x "$target" ]; then
		stage "kubelet $(kubelet_version) from the Go module proxy (about 10 minutes)" kubelet_make "$target" ||
			die "the kubelet could not be built: if the log names a download, check the Go module proxy (go env GOPROXY) and run this again; what was fetched and compiled is kept"
	fi
	cache_unlock
}

# go_tests_make FOLDER TARGET: its tests as one program. The same flags as above, so that what
# either compiles is there for the other.
go_tests_make() {
	mkdir -p "$(dirname "$2")" "$LAB_CACHE/go/tmp" &&
		(cd "$LAB_ROOT/$1" && in_buildroot env CGO_ENABLED=0 GOTMPDIR="$LAB_CACHE/go/tmp" \
			go test -c -trimpath -buildvcs=false -ldflags '-s -w' -o "$2" .)
}

# go_tests_ready FOLDER NAME MEGABYTES WHAT
go_tests_ready() {
	buildroot_ready
	need_space "$LAB_CACHE" "$3" "$4"
	cache_lock kubelet
	stage "$4 (minutes when nothing is cached)" go_tests_make "$1" "$LAB_ROOT/build/lab/$2-tests" ||
		die "the $4 could not be built: if the log names a download, check the Go module proxy (go env GOPROXY) and run this again; what was fetched and compiled is kept"
	cache_unlock
}

kubelet_tests_ready() {
	go_tests_ready tests/kubelet kubelet 6000 "tests with the kubelet's device manager"
}

interop_tests_ready() {
	go_tests_ready tests/interop interop 1000 "tests with grpc-go"
}

# --- top layer -------------------------------------------------------------
# node_layer_make: the tar at build/lab/node/layer.tar.
node_layer_make() {
	local tree=$LAB_NODE_OUT/layer base kernel updates file
	base=$(node_base_path)
	kernel=$(cat "$base/kernel")
	rm -rf -- "$tree" && mkdir -p "$tree/lib/modules/$kernel" "$tree/opt/cni/bin" "$tree/usr/share/gaudi-p2p" || return 1
	# The host files that are shipped, as an administrator would copy them, and the lab's own.
	mkdir -p "$tree/etc" && cp -r "$LAB_ROOT/deploy/host/etc/." "$tree/etc/" && cp -a "$LAB_NODE_DIR/rootfs/." "$tree/" || return 1
	install -m 755 "$LAB_ROOT/build/lab/static/cni-rdma" "$tree/opt/cni/bin/" || return 1
	install -D -m 755 "$LAB_ROOT/build/lab/static/podresources" "$tree/usr/local/bin/podresources" || return 1
	install -m 755 "$LAB_ROOT/build/lab/shared/p2p-copy" "$tree/usr/local/bin/" || return 1
	for file in ptp host-local loopback; do ln -s "/usr/lib/cni/$file" "$tree/opt/cni/bin/$file" || return 1; done
	"$LAB_NODE_DIR/mkimage.py" --output "$tree/usr/share/gaudi-p2p/images.tar" --bundle "$LAB_IMAGES"/*.tar || return 1
	# The index of the modules is made here, because depmod is slow in the guest.
	rm -rf -- "$tree.modules" && mkdir -p "$tree.modules/lib" && cp -al "$base/modules/lib/modules" "$tree.modules/lib/" || return 1
	updates=$tree.modules/lib/modules/$kernel/updates
	mkdir -p "$updates" && cp "$LAB_ROOT/build/driver/gaudi_p2p.ko" "$LAB_ROOT/build/soft-roce/rdma_rxe.ko" "$updates/" || return 1
	rm -f -- "$tree.modules/lib/modules/$kernel"/modules.{dep,alias,symbols,devname,softdep,weakdep}* \
		"$tree.modules/lib/modules/$kernel"/modules.builtin*.bin
	depmod -b "$tree.modules" "$kernel" || return 1
	cp -a "$tree.modules/lib/modules/$kernel"/{updates,modules.*} "$tree/lib/modules/$kernel/" || return 1
	rm -rf -- "$tree.modules"
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$tree" -cf "$tree.tar.tmp" . &&
		rm -rf -- "$tree" && mv -T -- "$tree.tar.tmp" "$tree.tar" # a guest may be reading the old one
}

# node_ready: everything that a boot of the node needs, built from the tree as
# it is; build/lab/node/node.env (KEY=value) tells node.py where it lies.
node_ready() {
	local accel
	node_base_ready
	# One at a time from here on: all that follows is written into the tree's own build/.
	mkdir -p "$LAB_ROOT/build/lab"
	exec 8>"$LAB_ROOT/build/lab/.lock"
	flock -n 8 || { say "waiting for another build of the node in this tree" && flock 8; }
	cmd_modules
	images_ready
	mkdir -p "$LAB_NODE_OUT"
	stage "top layer of the node" node_layer_make || die "the node's top layer could not be made: the reason is above"
	accel=$("$LAB_DIR/guest.py" "$LAB_CACHE" "$(buildroot_path)" "$(newest_kernel)") || die "the probe for KVM failed"
	printf 'BASE=%s\nLAYER=%s\nACCEL=%s\n' "$(node_base_path)" "$LAB_NODE_OUT/layer.tar" "$accel" >"$LAB_NODE_OUT/node.env"
}
