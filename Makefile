# SPDX-License-Identifier: Apache-2.0
# Every entry point of gaudi-p2p; `make help` lists them.
#
# User space is built here. The kernel modules, the node image and everything
# else that needs a particular Debian are built by tests/lab/lab in a chroot of
# its own, and cached outside the tree.

comma := ,
V ?= 0
SAN ?=
T ?=
O ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
Q := $(if $(filter 1,$(V)),,@)
PKG_CONFIG ?= pkg-config
LAB := tests/lab/lab

.DELETE_ON_ERROR:
.SUFFIXES:
# Without .SECONDARY make deletes the test objects after every run.
.SECONDARY:
.DEFAULT_GOAL := all

include mk/parts.mk

WARN := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes \
	-Wjump-misses-init -Wformat=2 -Wno-unknown-warning-option
override CPPFLAGS += -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Ilib -Idriver/uapi -I$(O)/gen
# What runs on every node (STATIC) waits for the kernel most of the time: there size counts, in memory too. It lies at
# an address that changes with every start, like any other program, and asks no name service: of that the linker warns.
STATIC_LD := mk/static.ld
STATIC_LDFLAGS := -static-pie -Wl,-z,relro,-z,now,-z,pack-relative-relocs,-T,$(STATIC_LD)
override CFLAGS += -std=gnu11 -g $(if $(STATIC),-Os -fPIE -fno-asynchronous-unwind-tables,-O2) -ffunction-sections -fdata-sections -fno-strict-aliasing $(WARN) -Werror=implicit-function-declaration \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all,-fstack-protector-strong)
override LDFLAGS += -Wl,--gc-sections $(if $(SAN),-fsanitize=$(SAN))
ifneq ($(WERROR),0)
override CFLAGS += -Werror
STATIC_LDFLAGS += -Wl,--fatal-warnings
endif

.PHONY: all test demo report unit unit-sanitized unit-valgrind kubelet model interop vm e2e fuzz bench lint images driver dkms clean help FORCE host
all: $(PROGRAMS:%=$(O)/%) ## Programs of user space, into build/

# --- compile ---------------------------------------------------------------
# Objects below obj/: the program cni-rdma has the name of its folder.
$(O)/obj/%.o: %.c $(O)/.flags
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(O)/gen/%.o: $(O)/gen/%.c $(O)/.flags
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) -Wno-shadow -MMD -MP -c $< -o $@
# Messages of the kubelet's APIs: written once as .proto, compiled by protobuf-c.
$(O)/gen/%.pb-c.c $(O)/gen/%.pb-c.h: lib/%.proto
	$(Q)mkdir -p $(@D) && protoc-c --proto_path=lib --c_out=$(O)/gen $<
# Changed flags rebuild; the same flags leave the stamp alone.
$(O)/.flags: FORCE
	@mkdir -p $(O); echo '$(CC) $(CPPFLAGS) $(CFLAGS)' | cmp -s - $@ || echo '$(CC) $(CPPFLAGS) $(CFLAGS)' >$@

# One archive per part; a part may only use what USES_part names, and its tests
# are linked with nothing else, so a forbidden dependency fails the build.
define part_rules
$(O)/lib$(1).a: $$(patsubst %.c,$(O)/obj/%.o,$$(filter-out %/main.c,$$(wildcard $$(DIR_$(1))/*.c))) $$(GEN_$(1):%=$(O)/gen/%.pb-c.o)
	$$(Q)rm -f $$@; mkdir -p $$(@D) && $$(AR) rcs $$@ $$^
$$(patsubst %.c,$(O)/obj/%.o,$$(wildcard $$(DIR_$(1))/*.c) $$(wildcard tests/unit/$(1)/*.c)): | $$(foreach p,$(1) $$(USES_$(1)),$$(GEN_$$(p):%=$(O)/gen/%.pb-c.h))
$(O)/tests/unit/$(1)/test_%: $(O)/obj/tests/unit/$(1)/test_%.o $(O)/libunit.a $(O)/lib$(1).a $$(foreach p,$$(USES_$(1)),$(O)/lib$$(p).a)
	$$(Q)mkdir -p $$(@D) && $$(CC) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(LIBS_$(1)) $$(foreach p,$$(USES_$(1)),$$(LIBS_$$(p))) -lcmocka
endef
$(foreach p,$(PARTS),$(eval $(call part_rules,$(p))))
# An archive, so that a test takes only the helpers that it calls: fake_kubelet needs parts that most may not use.
UNIT_HELPERS := $(patsubst %.c,$(O)/obj/%.o,$(wildcard tests/unit/*.c))
$(O)/libunit.a: $(UNIT_HELPERS)
	$(Q)rm -f $@; mkdir -p $(@D) && $(AR) rcs $@ $^
$(UNIT_HELPERS): | $(GEN_kubelet:%=$(O)/gen/%.pb-c.h)

define program_rules
$(O)/$(1): $(O)/obj/$$(DIR_$$(PART_$(1)))/main.o $(O)/lib$$(PART_$(1)).a $$(foreach p,$$(USES_$$(PART_$(1))),$(O)/lib$$(p).a) $(if $(STATIC),$(STATIC_LD))
	$$(Q)$$(CC) $$(LDFLAGS) $(if $(STATIC),$(STATIC_LDFLAGS)) -o $$@ $$(filter-out %.ld,$$^) $$(LIBS_$$(PART_$(1))) $$(foreach p,$$(USES_$$(PART_$(1))),$$(LIBS_$$(p))) $(if $(STATIC),-lpthread)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rules,$(p))))

# --- test ------------------------------------------------------------------
UNIT_TESTS := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/*/test_*.c))
ifneq ($(T),)
UNIT_PICKED := $(filter $(foreach t,$(T),%/$(t) %/test_$(t)),$(UNIT_TESTS))
else
UNIT_PICKED := $(UNIT_TESTS)
endif

test: ## Every test: unit, report, kubelet, interop, fuzz (short), model, vm, e2e. Installs what it needs; some 40 minutes on two cores, an hour the first time
	$(Q)tests/run-all

unit: host ## Unit tests (T=frame for one, SAN=address,undefined for sanitizers)
	$(Q)$(if $(UNIT_PICKED),,echo "make unit: no test is called '$(T)'; there are: $(notdir $(UNIT_TESTS))" >&2; exit 2)
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) SAN=$(SAN) V=$(V) $(UNIT_PICKED:%=$(O)/tests/unit/%)
	$(Q)tests/unit/run $(O) $(UNIT_PICKED:%=$(O)/tests/unit/%)

unit-sanitized: ## Unit tests with the address and undefined behaviour sanitizers (T=name)
	$(Q)UNIT_RESULTS=build/results/$@.json $(MAKE) --no-print-directory unit SAN=address,undefined

# Tests with failalloc have a malloc() of their own, which valgrind would replace; the sanitizers see those.
UNIT_STARVED = $(patsubst tests/unit/%.c,%,$(shell grep -l 'failalloc.h' tests/unit/*/test_*.c))
VALGRIND := valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible
UNIT_UNSTARVED = $(filter-out $(UNIT_STARVED),$(UNIT_PICKED))
unit-valgrind: ## Unit tests in valgrind (T=name)
	$(Q)$(if $(UNIT_UNSTARVED),,echo "make unit-valgrind: no test for valgrind is called '$(T)'; it cannot run those with a malloc() of their own: $(notdir $(UNIT_STARVED))" >&2; exit 2)
	$(Q)UNIT_RESULTS=build/results/$@.json UNIT_WRAP="$(VALGRIND)" $(MAKE) --no-print-directory unit \
		T="$(patsubst test_%,%,$(notdir $(UNIT_UNSTARVED)))"

$(O)/interop-peer: $(O)/obj/tests/interop/peer/peer.o $(O)/libkubelet.a $(O)/libgrpc.a $(O)/libbase.a
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_kubelet) $(LIBS_grpc)
$(O)/obj/tests/interop/peer/peer.o: | $(GEN_kubelet:%=$(O)/gen/%.pb-c.h)
interop: host $(O)/interop-peer $(O)/gaudi-device-plugin ## Our gRPC against grpc-go and the kubelet's code, our CDI specs against the runtimes' (T=name)
	$(Q)$(LAB) interop-tests
	$(Q)tests/run-go $(O) interop $(T)

kubelet: host $(O)/gaudi-device-plugin ## The device plugin beside the kubelet's own device manager and plugin watcher (T=name)
	$(Q)$(LAB) kubelet-tests
	$(Q)tests/run-go $(O) kubelet $(T)

model: host ## The lease protocol as a model, its properties, and its mutants (T=property, rule or row)
	$(Q)tests/model/run $(O) $(T)

vm: host ## Driver tests in a small guest with an IOMMU and a real DMA peer (T=name; DEBUG=1: KASAN, lockdep, kmemleak; LONG=1: the long ones whole)
	$(Q)$(LAB) vm $(if $(DEBUG),--debug) $(T)

e2e: host ## Tests with the real kubelet: an emulated node, the manifests on a real API server, a cluster of two nodes; LONG=1: all of it (T=name)
	$(Q)$(LAB) e2e $(T)

demo: host ## The main job on an emulated node: two pods, two Gaudis, one RDMA write. NODES=2: a training on a cluster of two. Writes build/results/demo.html
	$(Q)$(LAB) demo $(NODES)

report: host ## The report of the demo as headless Chromium shows it, made of recorded runs (T=name)
	$(Q)tests/report/run $(T)

driver: host ## Kernel module against the newest supported kernel, into build/driver/
	$(Q)$(LAB) driver

# What dkms on a host builds from: it goes to /usr/src/gaudi-p2p-VERSION there, as deploy/README.md says.
dkms: ## Sources of the driver as a dkms package, into build/dkms/
	$(Q)deploy/host/dkms/pack build/dkms

images: host ## Container images as docker-archive files, into build/images/
	$(Q)$(LAB) images

# Part of tests/fuzz/libfuzzer, which calls this with clang, the sanitizers and a build folder of its own.
define fuzzer # name, part whose code it tries
$(O)/fuzz/$(1): $(O)/obj/tests/fuzz/fuzz_$(1).o $(patsubst %,$(O)/lib%.a,$(2) $(USES_$(2)))
	$$(Q)mkdir -p $$(@D) && $$(CC) $$(LDFLAGS) -fsanitize=fuzzer -o $$@ $$^ $(foreach p,$(2) $(USES_$(2)),$(LIBS_$(p)))
endef
$(eval $(call fuzzer,grpc,device-plugin))
$(eval $(call fuzzer,sysfs,device-plugin))
$(eval $(call fuzzer,cni,cni-rdma))
$(O)/fuzz/sysfs: $(O)/obj/tests/fuzz/fuzz_tree.o
$(patsubst %.c,$(O)/obj/%.o,$(wildcard tests/fuzz/fuzz_*.c)): | $(GEN_kubelet:%=$(O)/gen/%.pb-c.h)

fuzz: host ## Random bytes against our parsers, random calls against a debug kernel (P=part, S=seconds, SEED=n replays)
	$(Q)S=$(S) SEED=$(SEED) tests/fuzz/run $(P)

bench: host ## Ours beside a peer in the same run (P=driver, P=device-plugin, P=cni; COUNT=1 with driver and cni: instructions, not time)
	$(Q)COUNT=$(COUNT) tests/bench/run $(P)

lint: host ## Format, shellcheck, SPDX lines, sizes; for kernel code checkpatch, sparse and W=1
	$(Q)tests/lint
	$(Q)$(LAB) lint

# What the host needs, installed by name and only when missing.
host:
	$(Q)$(LAB) host

clean: ## Removes build/; the cache outside the tree stays (tests/lab/lab clean removes that)
	rm -rf build build-*

help: ## This list
	@echo "gaudi-p2p: peer-to-peer memory for Gaudi and RDMA NICs on Kubernetes"
	@sed -n 's/^\([a-z0-9-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12
	@echo "  variables: T=test name, P=part, NODES=2 for demo, LONG=1 allows long tests, SAN=address,undefined, V=1 shows commands, WERROR=0 lets warnings pass, GAUDI_P2P_CACHE=where downloads and built tools are kept"

-include $(shell find $(O)/obj $(O)/gen -name '*.d' -type f 2>/dev/null)
