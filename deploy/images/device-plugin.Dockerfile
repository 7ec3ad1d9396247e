# SPDX-License-Identifier: Apache-2.0
# docker build -f deploy/images/device-plugin.Dockerfile -t gaudi-p2p/device-plugin:dev .
FROM debian:trixie AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
	gcc make pkg-config libc6-dev libjansson-dev libnghttp2-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler
COPY . /src
RUN make -C /src STATIC=1 O=/out /out/gaudi-device-plugin && strip /out/gaudi-device-plugin

FROM scratch
COPY --from=build /out/gaudi-device-plugin /gaudi-device-plugin
ENTRYPOINT ["/gaudi-device-plugin"]
