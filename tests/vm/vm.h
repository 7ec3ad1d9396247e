/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests that run in the guest.
 *
 * A test program is one .c file in tests/vm that says, in a comment, what it needs:
 *
 *	vm-modules: a b c	loaded before its first test, with what they depend on.
 *				Modules of ours count; gaudi_p2p is loaded by the test.
 *	vm-sources: PATTERN ...	files of other folders that it is linked with, from the project's root
 *	vm-loads: a b c		modules that its tests load themselves, on top of gaudi_p2p
 *	vm-libs: -lX ...	if given, the program is linked dynamically
 *	vm-files: FROM:TO ...	put into the guest; FROM is relative to the project, or
 *				absolute: then in the build chroot
 *	vm-topology: NAME	where the devices sit, see machine.py: ports (default), pciehp,
 *				switch, eight. The guest is booted once for each topology
 *	vm-kernel: CONFIG_A ...	part of the suite only on a kernel that has all of them
 *
 * NAME.c is linked with NAME_*.c, the files of a folder NAME and the helpers (vm.mk). A test is
 *
 *	TEST(name_that_says_the_behaviour, .driver = "emulated=1")
 *	{
 *		...
 *	}
 *
 * It passes when it returns. It runs in a process of its own, as root, in a network
 * namespace of its own (.initial_netns: in the initial one); gaudi_p2p is loaded with .driver as parameters
 * before and must be unloadable after. Any suspicious line in the kernel log fails it.
 */
#ifndef VM_H
#define VM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

struct vm_test {
	const char *name;
	void (*run)(void);
	const char *driver;	   /* parameters of gaudi_p2p; NULL: it is not loaded */
	unsigned int seconds;	   /* deadline, 0: 60 */
	unsigned int long_seconds; /* deadline with LONG=1, 0: the same */
	bool only_long;		   /* runs only with LONG=1, or when named by T= */
	bool initial_netns;
	const char *topology; /* NULL: what the file says */
	struct vm_test *next;
};

void vm_test_register(struct vm_test *test);

#define TEST(test_name, ...)                                                   \
	static void vm_run_##test_name(void);                                  \
	__attribute__((constructor)) static void vm_register_##test_name(void) \
	{                                                                      \
		static struct vm_test test = { .name = #test_name,             \
					       .run = vm_run_##test_name,      \
					       ##__VA_ARGS__ };                \
                                                                               \
		vm_test_register(&test);                                       \
	}                                                                      \
	static void vm_run_##test_name(void)

/* Ends the test (or a child of it) as failed, with place and words. */
void vm_fail(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
/* Ends the test as skipped: it cannot run here, and why. */
void vm_skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* The function is called when the test has returned, and may still fail it. */
void vm_at_end(void (*check)(void));
/* A line in the evidence. */
void vm_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(condition)                                                       \
	do {                                                                   \
		if (!(condition))                                              \
			vm_fail(__FILE__, __LINE__, "not so: %s", #condition); \
	} while (0)
#define CHECK_MSG(condition, ...)                                 \
	do {                                                      \
		if (!(condition))                                 \
			vm_fail(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
/* Equal integers; shows both. */
#define CHECK_EQ(value, expected)                                                                     \
	do {                                                                                          \
		long long value_ = (value), expected_ = (expected);                                   \
		if (value_ != expected_)                                                              \
			vm_fail(__FILE__, __LINE__, "%s is %lld (%s), not %s = %lld", #value, value_, \
				value_<0 && value_> - 200 ? strerror((int)-value_) : "-", #expected,  \
				expected_);                                                           \
	} while (0)
/* Waits until the condition holds, at most that many seconds. */
#define WAIT_FOR(condition, seconds)                                                                  \
	do {                                                                                          \
		double end_ = vm_now() + (seconds);                                                   \
		while (!(condition)) {                                                                \
			if (vm_now() > end_)                                                          \
				vm_fail(__FILE__, __LINE__, "not so within %d s: %s", (int)(seconds), \
					#condition);                                                  \
			vm_sleep(0.02);                                                               \
		}                                                                                     \
	} while (0)

/* Whether the run may take long (`make vm LONG=1`): a test may then go on for minutes. */
bool vm_long(void);

/*
 * How often the test has had the machine reset: after host_reset() it is run again, in the
 * next kernel, with gaudi_p2p loaded anew, on what the reset left of the cards' memory.
 */
unsigned int vm_resets(void);

double vm_now(void);
void vm_sleep(double seconds);

/* --- files of the guest ------------------------------------------------ */
/* Reads a small file without its last newline. Returns its length, or -errno. */
int vm_read(const char *path, char *buffer, size_t size);
/* 0 or -errno. */
int vm_write(const char *path, const char *text);
/* Loads a module by name with parameters (NULL: none), and removes it. 0 or -errno. */
int vm_insmod(const char *module, const char *parameters);
int vm_rmmod(const char *module);

/* --- processes ---------------------------------------------------------- */
/*
 * Runs function(argument) in a child with its own network namespace (if @netns) and
 * returns its pid; the child exits 0 when the function returns.
 */
pid_t vm_child(bool netns, void (*function)(void *), void *argument);
/* Waits for a child; fails the test unless it ended well. */
void vm_child_end(pid_t pid);
/* Passes a file descriptor. vm_recv_fd returns the new one. */
void vm_send_fd(int sock, int fd);
int vm_recv_fd(int sock);
/* One byte each way, to keep two processes in step. */
void vm_signal(int sock);
void vm_await(int sock);
/* A connected pair of sockets. */
void vm_pair(int sock[2]);

/* --- the host ------------------------------------------------------------ */
/*
 * Asks the host, which sees the machine from outside. Fails the test on any error.
 */
/* Whether the memory of a card (0, 1) is zero in [offset, offset + size); size 0: to the end. */
bool host_is_zero(unsigned int card, uint64_t offset, uint64_t size);
/* Writes a repeated byte into the memory of a card from outside. */
void host_plant(unsigned int card, uint64_t offset, uint64_t size, uint8_t value);
/* Whether every byte of a range has that value; size 0: to the end. */
bool host_is_filled(unsigned int card, uint64_t offset, uint64_t size, uint8_t value);
/* Goes on writing into the whole card from outside for so many seconds; returns at once. */
void host_disturb(unsigned int card, unsigned int seconds);
/* The same with a byte and a part (size 0: to the end). */
void host_disturb_range(unsigned int card, unsigned int seconds, uint64_t offset, uint64_t size,
			uint8_t value);
/* One byte of the card's memory. */
uint8_t host_peek(unsigned int card, uint64_t offset);
/* Where in the card's memory a text stands; -1: nowhere. */
int64_t host_find(unsigned int card, const char *text);
/* Size of a card's memory in bytes. */
uint64_t host_card_size(unsigned int card);
/*
 * Asks the guest's kernel to let a card go, pulls it out of its slot and returns when it is gone; puts one in. In
 * topologies with pciehp a card is removed by slot.h. A guest with an empty slot is booted anew after the test.
 */
void host_card_remove(unsigned int card);
void host_card_add(unsigned int card);
/* A fatal error of the PCI bus that a card sits on (AER); the guest resets that bus. */
void host_bus_error(unsigned int card);
/* The same with the peer (edu) and with a NIC (0, 1; its netdev comes back under another name). */
void host_peer_remove(void);
void host_peer_add(void);
void host_nic_remove(unsigned int nic);
void host_nic_add(unsigned int nic);
/* Resets the machine without a word to the guest's kernel; see vm_resets(). */
void host_reset(void) __attribute__((noreturn));
/*
 * The kernel log of this test must contain a match of the regular expression, and
 * lines that match it are no failure.
 */
void host_expect_log(const char *regex);
/* Lines that match it are no failure, and need not be there. */
void host_allow_log(const char *regex);

#endif
