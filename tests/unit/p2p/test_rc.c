// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "lines/words.h"
#include "p2p/rc.h"

static int parse(struct words *w, const char *line)
{
	return words_parse(w, line, strlen(line));
}

static void addresses_survive_the_way(void **state)
{
	struct rc_address address = { .qpn = 0xabcdef, .psn = 17, .mtu = IBV_MTU_1024 }, got;
	char text[RC_ADDRESS_TEXT], line[128];
	struct words w;

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		address.gid.raw[i] = (uint8_t)(i * 17);
	rc_address_format(&address, text);
	(void)snprintf(line, sizeof(line), "x %s", text);
	assert_int_equal(parse(&w, line), 0);
	assert_int_equal(rc_address_parse(&w, &got), 0);
	assert_int_equal(got.qpn, address.qpn);
	assert_int_equal(got.psn, address.psn);
	assert_int_equal(got.mtu, address.mtu);
	assert_memory_equal(got.gid.raw, address.gid.raw, 16);
}

static void bad_addresses_are_refused(void **state)
{
	static const char *const bad[] = {
		"x",
		"x qpn=0 psn=1 mtu=3 gid=00000000000000000000000000000001",
		"x qpn=16777216 psn=1 mtu=3 gid=00000000000000000000000000000001",
		"x qpn=1 psn=16777216 mtu=3 gid=00000000000000000000000000000001",
		"x qpn=1 psn=1 mtu=0 gid=00000000000000000000000000000001",
		"x qpn=1 psn=1 mtu=6 gid=00000000000000000000000000000001",
		"x qpn=1 psn=1 mtu=3 gid=0000000000000000000000000000001",
		"x qpn=1 psn=1 mtu=3 gid=0000000000000000000000000000000g",
		"x qpn=1 psn=1 mtu=3 gid=0x0x0x0x0x0x0x0x0x0x0x0x0x0x0x0x",
		"x qpn=-1 psn=1 mtu=3 gid=00000000000000000000000000000001",
		"x qpn=1 psn=1 mtu=3",
	};
	struct rc_address got;
	struct words w;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(&w, bad[i]), 0);
		assert_int_equal(rc_address_parse(&w, &got), -EINVAL);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(addresses_survive_the_way),
	cmocka_unit_test(bad_addresses_are_refused),
};

UNIT_MAIN(tests)
