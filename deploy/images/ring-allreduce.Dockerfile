# SPDX-License-Identifier: Apache-2.0
# docker build -f deploy/images/ring-allreduce.Dockerfile -t gaudi-p2p/ring-allreduce:dev .
#
# Stock libibverbs, for NICs whose driver can import dma-bufs (mlx5, irdma, bnxt_re, ...). The lab's
# image has a Soft-RoCE plug-in of its own in its place: `make images`.
FROM debian:trixie AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc make pkg-config libc6-dev libibverbs-dev
COPY . /src
RUN make -C /src O=/out /out/ring-allreduce

FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends libibverbs1 ibverbs-providers && \
	rm -rf /var/lib/apt/lists/*
COPY --from=build /out/ring-allreduce /usr/bin/ring-allreduce
ENTRYPOINT ["/usr/bin/ring-allreduce"]
