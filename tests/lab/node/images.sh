# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Container images as docker-archive files in build/images/, made without a
# registry and without a container engine; the same input gives the same bytes.

LAB_IMAGES=$LAB_ROOT/build/images
# Debian packages below the image of that name. The program's own needs: the libraries, the plug-in folder and a shell
# to look around with.
declare -A LAB_IMAGE_PACKAGES=(
	[p2p-copy]="base-files libibverbs1 ibverbs-providers busybox-static"
	# Only tests use it: what everybody measures RDMA with.
	[perftest]="base-files libibverbs1 ibverbs-providers busybox-static ibverbs-utils perftest"
)

# image_base_path NAME
image_base_path() {
	printf '%s/%s-base-%s.tar\n' "$LAB_CACHE" "$1" \
		"$(hash_of "$LAB_DIR/versions" <<<"${LAB_IMAGE_PACKAGES[$1]} $(declare -f image_base_make)")"
}

# image_base_make TARGET PACKAGES: unpacked, not configured: nothing in there runs at build time.
image_base_make() {
	local mirror opts list=$1.list
	mirror=$(debian_mirror) || return 1
	mapfile -t opts < <(apt_options)
	printf 'deb %s %s main\n' "$mirror" "$LAB_SUITE" >"$list"
	# shellcheck disable=SC2016 # expanded by mmdebstrap's shell
	SOURCE_DATE_EPOCH=0 mmdebstrap --variant=extract --format=tar "${opts[@]}" \
		--include="$(tr -s ' \n' ',' <<<"$2" | sed 's/^,//; s/,$//')" \
		--aptopt='APT::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt='path-exclude=/usr/lib/x86_64-linux-gnu/gconv/*' --dpkgopt='path-exclude=/usr/share/perl5/*' \
		--dpkgopt='path-exclude=/usr/share/lintian/*' --dpkgopt='path-exclude=/usr/share/initramfs-tools/*' \
		--extract-hook='[ -e "$1/bin/sh" ] || ln -s busybox "$1/bin/sh"' \
		--extract-hook='for n in ls cat sleep ip; do [ -e "$1/bin/$n" ] || ln -s busybox "$1/bin/$n"; done' \
		"$LAB_SUITE" "$1.tmp.tar" "$list" && rm -f -- "$list" && mv -T -- "$1.tmp.tar" "$1"
}

# image NAME TREE [BASE] [-- ENTRYPOINT...]: TREE becomes the top layer of gaudi-p2p/NAME:dev.
image() {
	"$LAB_DIR/node/mkimage.py" --name "gaudi-p2p/$1:dev" --output "$LAB_IMAGES/$1.tar" "${@:2}"
}

images_make() {
	local tree=$LAB_ROOT/build/lab/image static=$LAB_ROOT/build/lab/static shared=$LAB_ROOT/build/lab/shared
	rm -rf -- "$tree" && mkdir -p "$LAB_IMAGES" "$tree"/{pause,plugin,loader,copy,ring,perftest,tools}
	install -m 755 "$static/pause" "$tree/pause/pause" &&
		image pause --tree "$tree/pause" -- /pause || return 1

	install -m 755 "$static/gaudi-device-plugin" "$tree/plugin/gaudi-device-plugin" &&
		image device-plugin --tree "$tree/plugin" -- /gaudi-device-plugin || return 1

	# As deploy/images/cni-rdma.Dockerfile has it.
	install -D -m 755 -t "$tree/cni" "$static/cni-rdma" "$static/cni-rdma-install" &&
		cp "$LAB_ROOT/deploy/host/cni-rdma.json" "$LAB_ROOT/deploy/host/etc/modprobe.d/gaudi-p2p.conf" "$tree/cni/" &&
		image cni-rdma --tree "$tree/cni" -- /cni-rdma-install || return 1

	# As deploy/images/driver-loader.Dockerfile has it; the module is the one for the node's kernel.
	install -D -m 755 -t "$tree/loader" "$static/gaudi-driver-loader" &&
		mkdir -p "$tree/loader/etc" && cp -r "$LAB_ROOT/deploy/host/etc"/{udev,modules-load.d} "$tree/loader/etc/" &&
		install -D -m 644 -t "$tree/loader/modules/$(newest_kernel)" "$LAB_ROOT/build/driver/gaudi_p2p.ko" &&
		strip --strip-debug "$tree/loader/modules/$(newest_kernel)/gaudi_p2p.ko" &&
		image driver-loader --tree "$tree/loader" -- /gaudi-driver-loader || return 1

	mkdir -p "$tree/tools/bin" &&
		install -m 755 "$(buildroot_path)/bin/busybox" "$tree/tools/bin/busybox" &&
		ln -s busybox "$tree/tools/bin/sh" &&
		image tools --tree "$tree/tools" -- /bin/busybox || return 1

	# Our librxe takes the place of Debian's: libibverbs finds it under the same name.
	install -D -m 755 "$shared/p2p-copy" "$tree/copy/usr/bin/p2p-copy" &&
		cp -r "$LAB_ROOT/build/soft-roce/guest/." "$tree/copy/" &&
		image p2p-copy --base "$(image_base_path p2p-copy)" --tree "$tree/copy" -- /usr/bin/p2p-copy || return 1

	# It needs what p2p-copy needs.
	install -D -m 755 "$shared/ring-allreduce" "$tree/ring/usr/bin/ring-allreduce" &&
		cp -r "$LAB_ROOT/build/soft-roce/guest/." "$tree/ring/" &&
		image ring-allreduce --base "$(image_base_path p2p-copy)" --tree "$tree/ring" -- /usr/bin/ring-allreduce || return 1

	cp -r "$LAB_ROOT/build/soft-roce/guest/." "$tree/perftest/" &&
		image perftest --base "$(image_base_path perftest)" --tree "$tree/perftest" -- /bin/sh || return 1
	rm -rf -- "$tree"
}

# images_ready: all images from the tree as it is; cmd_modules was run before.
images_ready() {
	local name base
	buildroot_ready
	for name in "${!LAB_IMAGE_PACKAGES[@]}"; do
		base=$(image_base_path "$name")
		[ ! -e "$base" ] || continue
		need_root "building the container images"
		cache_lock images
		[ -e "$base" ] || stage "base of the $name image ($LAB_SUITE)" image_base_make "$base" "${LAB_IMAGE_PACKAGES[$name]}" ||
			die "the base of the $name image could not be made: if the log names the network or a package, check the mirror $(debian_mirror) and run this again"
		cache_unlock
	done
	cmd_static
	stage "node tools" in_buildroot make -s -C "$LAB_ROOT" -f tests/lab/node/tools.mk STATIC=1 O=build/lab/static ||
		die "the node's own small programs do not compile: the compiler's words are above"
	stage "container images" images_make || die "the container images could not be packed: the reason is above"
}
