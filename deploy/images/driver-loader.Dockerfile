# SPDX-License-Identifier: Apache-2.0
# docker build -f deploy/images/driver-loader.Dockerfile -t gaudi-p2p/driver-loader:dev \
#	--build-arg KERNELS="7.3.4+deb13-amd64 7.2.12+deb13-amd64" .
#
# One module for each kernel named in KERNELS (as `uname -r` says it on the nodes), which must be Debian's own; without
# KERNELS for the newest one. For other distributions put modules built against their headers into modules/RELEASE/, or use
# dkms on the nodes: then the image needs none.
FROM debian:trixie AS build
ARG KERNELS=""
RUN echo 'deb http://deb.debian.org/debian trixie-backports main' >/etc/apt/sources.list.d/backports.list && \
	apt-get update && apt-get install -y --no-install-recommends \
	gcc make pkg-config libc6-dev libnghttp2-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libnl-3-dev && \
	if [ -n "$KERNELS" ]; then for k in $KERNELS; do echo "linux-headers-$k"; done; \
	else echo linux-headers-amd64/trixie-backports; fi | xargs apt-get install -y --no-install-recommends
COPY . /src
RUN make -C /src STATIC=1 O=/out /out/gaudi-driver-loader && strip /out/gaudi-driver-loader && \
	for build in /lib/modules/*/build; do \
		release=$(basename "$(dirname "$build")") && \
		make -C "$build" M=/src/driver MO="/out/driver/$release" modules && \
		install -D -m 644 -t "/out/modules/$release" "/out/driver/$release/gaudi_p2p.ko" && \
		strip --strip-debug "/out/modules/$release/gaudi_p2p.ko" || exit 1; \
	done

FROM scratch
COPY --from=build /out/gaudi-driver-loader /
COPY --from=build /out/modules /modules
COPY deploy/host/etc/udev/rules.d/60-gaudi-p2p.rules /etc/udev/rules.d/
COPY deploy/host/etc/modules-load.d/gaudi-p2p.conf /etc/modules-load.d/
ENTRYPOINT ["/gaudi-driver-loader"]
