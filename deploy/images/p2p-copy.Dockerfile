# SPDX-License-Identifier: Apache-2.0
# docker build -f deploy/images/p2p-copy.Dockerfile -t gaudi-p2p/p2p-copy:dev .
#
# Stock libibverbs, for NICs whose driver can import dma-bufs (mlx5, irdma, bnxt_re, ...). The lab's
# image has a Soft-RoCE plug-in of its own in its place: `make images`.
FROM debian:trixie AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc make pkg-config libc6-dev libibverbs-dev
COPY . /src
RUN make -C /src O=/out /out/p2p-copy

FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends libibverbs1 ibverbs-providers && \
	rm -rf /var/lib/apt/lists/*
COPY --from=build /out/p2p-copy /usr/bin/p2p-copy
ENTRYPOINT ["/usr/bin/p2p-copy"]
