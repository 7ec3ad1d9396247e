// SPDX-License-Identifier: Apache-2.0
/*
 * The driver's KUnit suites, one verdict per case.
 *
 * vm-kernel: CONFIG_KUNIT
 * vm-modules: kunit
 * vm-loads: gaudi_p2p_kunit
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../driver/gaudi_kunit.h"
#include "vm.h"

static const char *const suites[] = { "gaudi_state", "gaudi_owner", "gaudi_export", "gaudi_va", "gaudi_mem" };

#define SUITES (sizeof(suites) / sizeof(*suites))

/* Loading the module runs all suites. Once per boot is enough: what they said is kept. */
static void run_suites(void)
{
	static char results[SUITES][32768];
	char path[128];
	unsigned int i;

	CHECK_EQ(vm_insmod("gaudi_p2p", ""), 0);
	CHECK_EQ(vm_insmod("gaudi_p2p_kunit", NULL), 0);
	for (i = 0; i < SUITES; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/kunit/%s/results", suites[i]);
		CHECK_MSG(vm_read(path, results[i], sizeof(results[i])) > 0, "%s cannot be read", path);
	}
	CHECK_EQ(vm_rmmod("gaudi_p2p_kunit"), 0);
	CHECK_EQ(vm_rmmod("gaudi_p2p"), 0);
	for (i = 0; i < SUITES; i++) {
		FILE *f;

		snprintf(path, sizeof(path), "/tmp/kunit-%s", suites[i]);
		f = fopen(path, "w");
		CHECK(f && fputs(results[i], f) >= 0 && !fclose(f));
	}
}

static void check_case(const char *suite, const char *name)
{
	char path[64], results[32768], wanted[128];
	const char *found;

	/* The last that is written. */
	snprintf(path, sizeof(path), "/tmp/kunit-%s", suites[SUITES - 1]);
	if (access(path, R_OK))
		run_suites();
	snprintf(path, sizeof(path), "/tmp/kunit-%s", suite);
	CHECK(vm_read(path, results, sizeof(results)) > 0);

	/* "    ok 3 name" */
	snprintf(wanted, sizeof(wanted), " %s\n", name);
	found = strstr(results, wanted);
	CHECK_MSG(found, "the suite did not run it:\n%s", results);
	while (found > results && found[-1] != '\n')
		found--;
	CHECK_MSG(!strncmp(found + strspn(found, " "), "ok ", 3), "%s", results);
}

#define KUNIT_CASE_TEST(suite, name)       \
	TEST(kunit_##suite##_##name)       \
	{                                  \
		check_case(#suite, #name); \
	}

GAUDI_KUNIT_ALL(KUNIT_CASE_TEST)
