# SPDX-License-Identifier: Apache-2.0
# Compiles what runs in the test guest; run in the build chroot, from the project's
# root, by build.py. A program is a file that says what modules it needs; it is
# linked with NAME_*.c, NAME/*.c, what it names as vm-sources, and HELPERS.
O ?= build/vm
CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Werror
CPPFLAGS := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Idriver/uapi -Itests/vm -Itests/vm/modules -MMD -MP

SOURCES := $(wildcard tests/vm/*.c)
# LAB_VM_PROGRAMS, if set, are the only ones, by name.
PROGRAMS := $(if $(LAB_VM_PROGRAMS),$(LAB_VM_PROGRAMS:%=tests/vm/%.c),$(shell grep -l 'vm-modules:' $(SOURCES)))
HELPERS := $(addprefix tests/vm/,vm.c host.c ports.c card.c slot.c event.c hl_client.c)

.DELETE_ON_ERROR:
.SECONDARY:
all: $(O)/init $(PROGRAMS:tests/vm/%.c=$(O)/t/%)

$(O)/%.o: tests/vm/%.c tests/vm/vm.mk
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
$(O)/tests/%.o: tests/%.c tests/vm/vm.mk
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
$(O)/init: $(O)/init.o $(O)/ports.o
	$(CC) -static -o $@ $^
.SECONDEXPANSION:
$(O)/t/%: $(O)/%.o $$(call own,$$*) $(HELPERS:tests/vm/%.c=$(O)/%.o)
	@mkdir -p $(@D)
	$(CC) $(if $(call libs,$*),,-static) -o $@ $^ $(call libs,$*)
own = $(patsubst tests/vm/%.c,$(O)/%.o,$(wildcard tests/vm/$(1)_*.c tests/vm/$(1)/*.c)) \
	$(patsubst tests/%.c,$(O)/tests/%.o,$(wildcard $(shell sed -n 's/.*vm-sources: *//p' tests/vm/$(1).c)))
libs = $(shell sed -n 's/.*vm-libs: *//p' tests/vm/$(1).c | grep -o -- '-l[^ ]*')

-include $(wildcard $(O)/*.d $(O)/tests/*/*.d)
