# SPDX-License-Identifier: Apache-2.0
# Small static programs of the emulated node, on top of the project's own build:
#   pause         what a pod's sandbox runs
#   podresources  prints what the kubelet's PodResources API says, as JSON
include Makefile

.DEFAULT_GOAL := tools
.PHONY: tools
tools: $(O)/pause $(O)/podresources

$(O)/pause: $(O)/obj/tests/lab/node/pause.o
	$(Q)$(CC) $(LDFLAGS) -static -o $@ $^

$(O)/podresources: $(O)/obj/tests/e2e/podresources.o $(O)/libkubelet.a $(O)/libgrpc.a $(O)/libbase.a
	$(Q)$(CC) $(LDFLAGS) -static -o $@ $^ $(LIBS_kubelet) $(LIBS_grpc) -ljansson -lpthread

$(O)/obj/tests/e2e/podresources.o: | $(GEN_kubelet:%=$(O)/gen/%.pb-c.h)
