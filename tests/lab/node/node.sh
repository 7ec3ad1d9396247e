# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The emulated node, in layers by how often they change: Kubernetes (a Go build of
# many minutes), the base disk (Debian, kernel, kubelet, keys), and tars that the
# initrd unpacks over a fresh overlay of the base at every boot, so that a change of
# ours costs seconds: the top layer (images, Soft-RoCE, the lab's own files), and what
# a node is: "alone", with driver and CNI plugin in place and a kubelet without a
# cluster, or "member" of one, where DaemonSets bring both.

LAB_NODE_OUT=$LAB_ROOT/build/lab/node
# Kubernetes as a Go module, and the tests that use parts of the kubelet.
LAB_KUBELET_DIR=$LAB_ROOT/tests/kubelet

# kubernetes_version: go.mod says it, so that it stands in one place only.
kubernetes_version() {
	awk '{ sub(/^require/, "") } $1 == "k8s.io/kubernetes" { print $2; exit }' "$LAB_KUBELET_DIR/go.mod"
}

# kubernetes_path: a folder with the programs that go.mod calls tools.
kubernetes_path() {
	printf '%s/kubernetes-%s\n' "$LAB_CACHE" \
		"$(hash_of "$LAB_KUBELET_DIR/go.mod" "$LAB_KUBELET_DIR/go.sum" <<<"$LAB_GO_PACKAGE")"
}

# kubernetes_make TARGET: static and stripped.
kubernetes_make() {
	# Not in the chroot's /tmp: that is memory, and the linker's input is big.
	rm -rf -- "$LAB_CACHE/go/tmp" "$1.tmp" && mkdir -p "$LAB_CACHE/go/tmp" "$1.tmp"
	(cd "$LAB_KUBELET_DIR" &&
		in_buildroot env CGO_ENABLED=0 GOTMPDIR="$LAB_CACHE/go/tmp" go build -v -trimpath -buildvcs=false \
			-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$(kubernetes_version)" \
			-o "$1.tmp/" tool) &&
		mv -- "$1.tmp/server" "$1.tmp/etcd" && mv -T -- "$1.tmp" "$1"
}

kubernetes_ready() {
	local target
	target=$(kubernetes_path)
	[ ! -d "$target" ] || return 0
	buildroot_ready
	need_space "$LAB_CACHE" 9000 "the build of Kubernetes"
	cache_lock kubelet
	if [ ! -d "$target" ]; then
		stage "Kubernetes $(kubernetes_version) from the Go module proxy (about 15 minutes)" kubernetes_make "$target" ||
			die "Kubernetes could not be built: if the log names a download, check the Go module proxy (go env GOPROXY) and run this again; what was fetched and compiled is kept"
	fi
	cache_unlock
}

# control_plane_ready: all that a control plane without a node needs; build/lab/node/kubernetes.env says where it lies.
control_plane_ready() {
	kubernetes_ready
	mkdir -p "$LAB_NODE_OUT"
	printf 'KUBERNETES=%s\nCOREDNS=%s\nMULTUS=%s\n' "$(kubernetes_path)" "$(go_program_path coredns)" "$(go_program_path multus)" \
		>"$LAB_NODE_OUT/kubernetes.env"
}

# go_program_path NAME: a folder with a static program, what tests/lab/NAME is.
go_program_path() {
	printf '%s/%s-%s\n' "$LAB_CACHE" "$1" "$(hash_of "$LAB_DIR/$1"/* <<<"$LAB_GO_PACKAGE")"
}

# go_program_make NAME PACKAGE TARGET
go_program_make() {
	rm -rf -- "$3.tmp" && mkdir -p "$3.tmp" &&
		(cd "$LAB_DIR/$1" &&
			in_buildroot env CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$3.tmp/" "$2") &&
		mv -T -- "$3.tmp" "$3"
}

# go_program_ready NAME PACKAGE WORD: "tool" is what its go.mod calls so.
go_program_ready() {
	local target
	target=$(go_program_path "$1")
	[ ! -d "$target" ] || return 0
	buildroot_ready
	cache_lock kubelet
	[ -d "$target" ] || stage "$3 from the Go module proxy (about 3 minutes)" go_program_make "$1" "$2" "$target" ||
		die "$3 could not be built: if the log names a download, check the Go module proxy (go env GOPROXY) and run this again"
	cache_unlock
}

# coredns_ready: the control plane runs it, so that no emulated CPU has to.
coredns_ready() {
	go_program_ready coredns . CoreDNS
}

# multus_ready: no node has it until a test puts it there.
multus_ready() {
	go_program_ready multus tool Multus
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

# --- layers ----------------------------------------------------------------
# node_tar TREE: the folder as TREE.tar; the folder goes.
node_tar() {
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$1" -cf "$1.tar.tmp" . &&
		rm -rf -- "$1" && mv -T -- "$1.tar.tmp" "$1.tar" # a guest may be reading the old one
}

# node_modules_of TREE FILE...: modules into TREE, with an index that has them: depmod is slow in the guest.
node_modules_of() {
	local tree=$1 base kernel all=$1.modules updates
	base=$(node_base_path)
	kernel=$(cat "$base/kernel")
	rm -rf -- "$all" && mkdir -p "$all/lib" "$tree/lib/modules/$kernel" && cp -al "$base/modules/lib/modules" "$all/lib/" || return 1
	updates=$all/lib/modules/$kernel/updates
	mkdir -p "$updates" && cp -- "${@:2}" "$updates/" || return 1
	rm -f -- "$all/lib/modules/$kernel"/modules.{dep,alias,symbols,devname,softdep,weakdep}* \
		"$all/lib/modules/$kernel"/modules.builtin*.bin
	depmod -b "$all" "$kernel" && cp -a "$all/lib/modules/$kernel"/{updates,modules.*} "$tree/lib/modules/$kernel/" &&
		rm -rf -- "$all"
}

# The lab's own files, the images, the emulated NICs' driver.
node_layer_make() {
	local tree=$LAB_NODE_OUT/layer file images
	rm -rf -- "$tree" && mkdir -p "$tree/opt/cni/bin" "$tree/usr/share/gaudi-p2p" && cp -a "$LAB_NODE_DIR/rootfs/." "$tree/" || return 1
	install -D -m 755 "$LAB_ROOT/build/lab/static/podresources" "$tree/usr/local/bin/podresources" || return 1
	install -m 755 "$LAB_ROOT/build/lab/shared/p2p-copy" "$tree/usr/local/bin/" || return 1
	for file in bridge ptp host-local loopback; do ln -s "/usr/lib/cni/$file" "$tree/opt/cni/bin/$file" || return 1; done
	mapfile -t images < <(printf '%s\n' "$LAB_IMAGES"/*.tar | grep -v /perftest.tar)
	"$LAB_NODE_DIR/mkimage.py" --output "$tree/usr/share/gaudi-p2p/images.tar" --bundle "${images[@]}" || return 1
	node_modules_of "$tree" "$LAB_ROOT/build/soft-roce/rdma_rxe.ko" && node_tar "$tree"
}

# The host files that are shipped, as an administrator would copy them, the driver, the CNI plugin.
node_alone_make() {
	local tree=$LAB_NODE_OUT/alone
	rm -rf -- "$tree" && mkdir -p "$tree/etc" && cp -r "$LAB_ROOT/deploy/host/etc/." "$tree/etc/" &&
		cp -a "$LAB_NODE_DIR/rootfs-alone/." "$tree/" || return 1
	install -D -m 755 "$LAB_ROOT/build/lab/static/cni-rdma" "$tree/opt/cni/bin/cni-rdma" || return 1
	install -D -m 644 -t "$tree/usr/share/gaudi-p2p" "$LAB_IMAGES/perftest.tar" || return 1
	node_modules_of "$tree" "$LAB_ROOT/build/driver/gaudi_p2p.ko" "$LAB_ROOT/build/soft-roce/rdma_rxe.ko" && node_tar "$tree"
}

# tests/lab/cluster adds keys and addresses to it.
node_member_make() {
	rm -rf -- "$LAB_NODE_OUT/member" && cp -a "$LAB_NODE_DIR/rootfs-member" "$LAB_NODE_OUT/member" && node_tar "$LAB_NODE_OUT/member"
}

node_layers_make() {
	node_layer_make && node_alone_make && node_member_make
}

# node_ready: everything that a boot of the node needs, built from the tree as
# it is; build/lab/node/node.env (KEY=value) tells node.py where it lies.
node_ready() {
	local accel
	control_plane_ready
	node_base_ready
	# One at a time from here on: all that follows is written into the tree's own build/.
	mkdir -p "$LAB_ROOT/build/lab"
	exec 8>"$LAB_ROOT/build/lab/.lock"
	flock -n 8 || { say "waiting for another build of the node in this tree" && flock 8; }
	cmd_modules
	images_ready
	mkdir -p "$LAB_NODE_OUT"
	stage "layers of the node" node_layers_make ||
		die "the node's layers could not be made: the reason is above"
	accel=$("$LAB_DIR/guest.py" "$LAB_CACHE" "$(buildroot_path)" "$(newest_kernel)") || die "the probe for KVM failed"
	printf 'BASE=%s\nLAYERS=%s\nACCEL=%s\n' "$(node_base_path)" "$LAB_NODE_OUT" "$accel" >"$LAB_NODE_OUT/node.env"
}
