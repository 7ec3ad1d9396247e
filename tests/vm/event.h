/* SPDX-License-Identifier: Apache-2.0 */
/* What can befall a card while somebody uses it. */
#ifndef VM_EVENT_H
#define VM_EVENT_H

#include <stdbool.h>

struct card_event {
	/* Returns when the card is gone for programs, or was reset. */
	void (*happen)(unsigned int card);
	/* Brings it back; NULL: it never went. Returns when its node is there. */
	void (*undo)(unsigned int card);
};

/* The driver lets go of it and gets it again. */
extern const struct card_event event_unbind;
/* The kernel forgets the device, and finds it again. */
extern const struct card_event event_remove;
/* Pulled after the kernel was asked, and plugged in again. Topologies without pciehp. */
extern const struct card_event event_pull;
/* Pulled without a word. Topologies with pciehp. */
extern const struct card_event event_rip_out;
/* PCI reset by sysfs. */
extern const struct card_event event_reset;

/*
 * EACH_EVENT(running_dma, parameters) { ... event ... } is one test for each event, called unbind_with_running_dma and so
 * on; the body gets the event as `event`. EACH_EVENT_IN_TIME: without LONG=1 only the one that no other test has.
 */
#define EACH_EVENT(life, ...) EACH_EVENT_UNLESS(life, false, __VA_ARGS__)
#define EACH_EVENT_IN_TIME(life, ...) EACH_EVENT_UNLESS(life, true, __VA_ARGS__)

#define EACH_EVENT_UNLESS(life, long_, ...)                                    \
	static void life(const struct card_event *event);                      \
	TEST(unbind_with_##life, .only_long = long_, .driver = __VA_ARGS__)    \
	{                                                                      \
		life(&event_unbind);                                           \
	}                                                                      \
	TEST(pull_with_##life, .only_long = long_, .driver = __VA_ARGS__)      \
	{                                                                      \
		life(&event_pull);                                             \
	}                                                                      \
	TEST(reset_with_##life, .only_long = long_, .driver = __VA_ARGS__)     \
	{                                                                      \
		life(&event_reset);                                            \
	}                                                                      \
	TEST(rip_out_with_##life, .topology = "pciehp", .driver = __VA_ARGS__) \
	{                                                                      \
		life(&event_rip_out);                                          \
	}                                                                      \
	static void life(const struct card_event *event)

#endif
