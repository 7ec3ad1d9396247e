# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Debian's linux-source package of the newest kernel's series.
# shellcheck disable=SC2016 # what stands in quotes runs inside the chroot

# linux_source_fetch DIR [MEMBER...]: unpacks it, or only these of it, to DIR/linux-source-X.Y.
linux_source_fetch() {
	local series
	series=$(newest_kernel | cut -d. -f1,2)
	(cd "$1" && shift && in_buildroot sh -euc '
		name=linux-source-$1
		shift
		apt-get -q -o APT::Sandbox::User=root download "$name" ||
			{ apt-get -q update && apt-get -q -o APT::Sandbox::User=root download "$name"; }
		dpkg-deb --fsys-tarfile linux-source-*.deb | tar -xf - --wildcards "./usr/src/linux-source-*.tar.*" --strip-components=3
		for member; do
			set -- "$@" "$name/$member"
			shift
		done
		tar -xf linux-source-*.tar.* "$@"
		rm -f linux-source-*.deb linux-source-*.tar.*' sh "$series" "$@")
}
