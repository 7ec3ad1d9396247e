# SPDX-License-Identifier: Apache-2.0
# The parts of user space, what each may use, and the programs made of them.
#
#   base   below everything            grpc     frames, streams, sockets
#   lines  lines of words over sockets, for the examples
#   json   JSON out of text          node     files of the node, locks, reports
#   sysfs  devices, topology, pairs    kubelet  the kubelet's APIs, both sides
#   p2p    what a pod links            device-plugin, cni-rdma: the programs
#   cni-install  puts cni-rdma onto a node
#   driver-loader  puts the kernel module onto a node
#
# DIR: its folder. USES: other parts, in link order. LIBS: foreign libraries.
# GEN: .proto files below lib/ without their ending.

PARTS := base lines json node sysfs grpc kubelet p2p device-plugin cni-rdma cni-install driver-loader p2p-copy ring-allreduce

DIR_base := lib/base
USES_base :=
LIBS_base :=

DIR_lines := lib/lines
USES_lines := base
LIBS_lines :=

DIR_json := lib/json
USES_json := base
LIBS_json := -ljansson

DIR_node := lib/node
USES_node := base
LIBS_node :=

DIR_sysfs := lib/sysfs
USES_sysfs := json base
LIBS_sysfs :=

DIR_grpc := lib/grpc
USES_grpc := base
LIBS_grpc := -lnghttp2

DIR_kubelet := lib/kubelet
USES_kubelet := grpc base
LIBS_kubelet := -lprotobuf-c
GEN_kubelet := $(patsubst lib/%.proto,%,$(wildcard lib/kubelet/*.proto))

DIR_p2p := lib/p2p
USES_p2p := lines base
LIBS_p2p := -libverbs

DIR_device-plugin := device-plugin
USES_device-plugin := kubelet grpc sysfs json node base
LIBS_device-plugin :=

DIR_cni-rdma := cni-rdma
USES_cni-rdma := kubelet grpc sysfs json node base
# libnl and not libmnl: Debian ships only libnl as an archive, and the plugin is static.
# -u: takes noresolver.o before libnl asks the C library for the same.
LIBS_cni-rdma := -Wl,-u,getaddrinfo -lnl-route-3 -lnl-3 -lm
override CPPFLAGS += -isystem /usr/include/libnl3

DIR_cni-install := cni-rdma/install
USES_cni-install := cni-rdma sysfs json node base
LIBS_cni-install :=

DIR_driver-loader := deploy/driver-loader
USES_driver-loader := kubelet grpc node base
LIBS_driver-loader :=

DIR_p2p-copy := deploy/examples/p2p-copy
USES_p2p-copy := p2p lines base
LIBS_p2p-copy :=

DIR_ring-allreduce := deploy/examples/ring-allreduce
USES_ring-allreduce := p2p lines base
LIBS_ring-allreduce := -lm

PROGRAMS := gaudi-device-plugin cni-rdma cni-rdma-install gaudi-driver-loader p2p-copy ring-allreduce
PART_gaudi-device-plugin := device-plugin
PART_cni-rdma := cni-rdma
PART_cni-rdma-install := cni-install
PART_gaudi-driver-loader := driver-loader
PART_p2p-copy := p2p-copy
PART_ring-allreduce := ring-allreduce
