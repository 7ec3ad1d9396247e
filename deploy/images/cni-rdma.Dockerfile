# SPDX-License-Identifier: Apache-2.0
# docker build -f deploy/images/cni-rdma.Dockerfile -t gaudi-p2p/cni-rdma:dev .
FROM debian:trixie AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
	gcc make pkg-config libc6-dev libjansson-dev libnghttp2-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler \
	libnl-3-dev libnl-route-3-dev
COPY . /src
RUN make -C /src STATIC=1 O=/out /out/cni-rdma /out/cni-rdma-install && strip /out/cni-rdma /out/cni-rdma-install

FROM scratch
COPY --from=build /out/cni-rdma /out/cni-rdma-install /
COPY deploy/host/cni-rdma.json deploy/host/etc/modprobe.d/gaudi-p2p.conf /
ENTRYPOINT ["/cni-rdma-install"]
