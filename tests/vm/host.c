// SPDX-License-Identifier: Apache-2.0
/* The guest's end of the channel to the host, port "gaudi.host": a line there, a line back. */
#include "vm.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "ports.h"

/* Returns what follows "ok". Processes of one test may ask at the same time. */
static void host_ask(char *answer, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void host_ask(char *answer, size_t size, const char *format, ...)
{
	int lock, fd, n;
	char text[1024];
	va_list args;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text) - 1, format, args);
	va_end(args);
	CHECK(n > 0 && (size_t)n < sizeof(text) - 1);
	text[n++] = '\n';

	lock = open("/tmp/host.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(lock >= 0);
	CHECK_EQ(flock(lock, LOCK_EX), 0);
	/* The kernel gives a port to one opener at a time. */
	fd = port_open("gaudi.host");
	CHECK_MSG(fd >= 0, "no channel to the host: %s", strerror(-fd));
	CHECK_EQ(write(fd, text, (size_t)n), n);
	CHECK(port_read_line(fd, answer, size) >= 0);
	close(fd);
	close(lock);
	text[n - 1] = 0;
	CHECK_MSG(!strncmp(answer, "ok ", 3), "the host, asked for \"%s\", says: %s", text, answer);
	memmove(answer, answer + 3, strlen(answer + 3) + 1);
}

bool host_is_zero(unsigned int card, uint64_t offset, uint64_t size)
{
	char answer[128];

	host_ask(answer, sizeof(answer), "zero %u %llu %llu", card, (unsigned long long)offset,
		 (unsigned long long)size);
	return answer[0] == '1';
}

bool host_is_filled(unsigned int card, uint64_t offset, uint64_t size, uint8_t value)
{
	char answer[128];

	host_ask(answer, sizeof(answer), "filled %u %llu %llu %u", card, (unsigned long long)offset,
		 (unsigned long long)size, value);
	return answer[0] == '1';
}

void host_plant(unsigned int card, uint64_t offset, uint64_t size, uint8_t value)
{
	char answer[128];

	host_ask(answer, sizeof(answer), "plant %u %llu %llu %u", card, (unsigned long long)offset,
		 (unsigned long long)size, value);
}

void host_disturb_range(unsigned int card, unsigned int seconds, uint64_t offset, uint64_t size,
			uint8_t value)
{
	char answer[128];

	host_ask(answer, sizeof(answer), "disturb %u %u %llu %llu %u", card, seconds,
		 (unsigned long long)offset, (unsigned long long)size, value);
}

void host_disturb(unsigned int card, unsigned int seconds)
{
	host_disturb_range(card, seconds, 0, 0, 0x55);
}

uint8_t host_peek(unsigned int card, uint64_t offset)
{
	char answer[128];

	host_ask(answer, sizeof(answer), "peek %u %llu", card, (unsigned long long)offset);
	return (uint8_t)strtoul(answer, NULL, 10);
}

int64_t host_find(unsigned int card, const char *text)
{
	char answer[128];

	host_ask(answer, sizeof(answer), "find %u %s", card, text);
	return strtoll(answer, NULL, 10);
}

uint64_t host_card_size(unsigned int card)
{
	char answer[128];

	host_ask(answer, sizeof(answer), "size %u", card);
	return strtoull(answer, NULL, 10);
}

static void host_slot(const char *verb, const char *device)
{
	char answer[128];

	host_ask(answer, sizeof(answer), "%s %s", verb, device);
}

static void host_slot_number(const char *verb, const char *device, unsigned int number)
{
	char name[16];

	snprintf(name, sizeof(name), "%s%u", device, number);
	host_slot(verb, name);
}

void host_card_remove(unsigned int card)
{
	host_slot_number("remove", "gaudi", card);
}

void host_card_add(unsigned int card)
{
	host_slot_number("add", "gaudi", card);
}

void host_peer_remove(void)
{
	host_slot("remove", "edu");
}

void host_peer_add(void)
{
	host_slot("add", "edu");
}

void host_nic_remove(unsigned int nic)
{
	host_slot_number("remove", "nic", nic);
}

void host_nic_add(unsigned int nic)
{
	host_slot_number("add", "nic", nic);
}

void host_reset(void)
{
	char answer[128];

	fflush(stdout);
	host_ask(answer, sizeof(answer), "reset");
	vm_fail(__FILE__, __LINE__, "the machine was not reset");
}

void host_expect_log(const char *regex)
{
	char answer[128];

	host_ask(answer, sizeof(answer), "expect %s", regex);
}

void host_bus_error(unsigned int card)
{
	char answer[128];

	host_ask(answer, sizeof(answer), "error %u", card);
}

void host_allow_log(const char *regex)
{
	char answer[128];

	host_ask(answer, sizeof(answer), "allow %s", regex);
}
