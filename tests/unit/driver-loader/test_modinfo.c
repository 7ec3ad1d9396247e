// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../deploy/driver-loader/modinfo.h"
#include "../../../deploy/driver-loader/moddep.h"
#include "../fake_node.h"
#include "base/fileio.h"

static int setup(void **state)
{
	*state = fakefs_new();
	return 0;
}

static int teardown(void **state)
{
	fakefs_free(*state);
	return 0;
}

/* Memory of exactly its size, so that the sanitizers see a byte beyond it. */
static char *module(struct fakefs *fs, size_t *ret_len)
{
	char *data = NULL;

	node_put_module(fs, "m.ko", NODE_RELEASE, "1.2", "ABC");
	assert_int_equal(fileio_read(fakefs_root(fs), "m.ko", 1 << 20, &data, ret_len), 0);
	return data;
}

static int parse_copy(const char *data, size_t len, struct modinfo *ret)
{
	char *copy = malloc(len ?: 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, data, len);
	r = modinfo_parse(copy, len, ret);
	free(copy);
	return r;
}

static void what_a_module_says_is_read(void **state)
{
	struct modinfo info;
	size_t len;
	char *data = module(*state, &len);

	assert_int_equal(parse_copy(data, len, &info), 0);
	assert_string_equal(info.name, "gaudi_p2p");
	assert_string_equal(info.version, "1.2");
	assert_string_equal(info.srcversion, "ABC");
	assert_string_equal(info.depends, "drm");
	assert_string_equal(info.vermagic, NODE_RELEASE " SMP preempt mod_unload ");
	free(data);
	node_put_module(*state, "m.ko", NODE_RELEASE, NULL, NULL);
	assert_int_equal(fileio_read(fakefs_root(*state), "m.ko", 1 << 20, &data, &len), 0);
	assert_int_equal(modinfo_parse(data, len, &info), 0);
	assert_string_equal(info.version, "");
	assert_string_equal(info.srcversion, "");
	free(data);
}

static void a_file_cut_off_anywhere_is_damaged(void **state)
{
	struct modinfo info = { .name = "untouched" };
	size_t len;
	char *data = module(*state, &len);

	for (size_t n = 0; n < len; n++)
		assert_int_equal(parse_copy(data, n, &info), -EBADMSG);
	assert_string_equal(info.name, "untouched");
	free(data);
}

static void no_byte_of_its_headers_leads_outside(void **state)
{
	static const unsigned char values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
	struct modinfo info;
	size_t len;
	char *data = module(*state, &len);

	for (size_t i = 0; i < len; i++) {
		char before = data[i];

		for (size_t v = 0; v < sizeof(values); v++) {
			data[i] = (char)values[v];
			/* Whatever it makes of it: the sanitizers watch. */
			assert_true(parse_copy(data, len, &info) == 0 ||
				    parse_copy(data, len, &info) == -EBADMSG);
		}
		data[i] = before;
	}
	free(data);
}

static void other_kinds_of_file_are_no_modules(void **state)
{
	struct modinfo info;
	Elf64_Ehdr *header;
	size_t len;
	char *data = module(*state, &len);

	header = (Elf64_Ehdr *)data;
	header->e_type = ET_EXEC;
	assert_int_equal(parse_copy(data, len, &info), -EBADMSG);
	header->e_type = ET_REL;
	header->e_ident[EI_CLASS] = ELFCLASS32;
	assert_int_equal(parse_copy(data, len, &info), -EBADMSG);
	header->e_ident[EI_CLASS] = ELFCLASS64;
	header->e_shnum = 1;
	assert_int_equal(parse_copy(data, len, &info), -EBADMSG);
	header->e_shnum = 3;
	header->e_shoff = UINT64_MAX - 8;
	assert_int_equal(parse_copy(data, len, &info), -EBADMSG);
	free(data);
}

static void values_too_long_to_be_ours_are_refused(void **state)
{
	char version[65];
	struct modinfo info;
	size_t len;
	char *data = NULL;

	memset(version, 'v', 64);
	version[64] = '\0';
	node_put_module(*state, "m.ko", NODE_RELEASE, version, NULL);
	assert_int_equal(fileio_read(fakefs_root(*state), "m.ko", 1 << 20, &data, &len), 0);
	assert_int_equal(modinfo_parse(data, len, &info), -EBADMSG);
	free(data);
}

static void files_are_named_after_modules(void **state)
{
	char name[16];

	(void)state;
	assert_true(moddep_name("kernel/a/dma-buf.ko.xz", name, sizeof(name)));
	assert_string_equal(name, "dma_buf");
	assert_true(moddep_name("drm.ko", name, sizeof(name)));
	assert_string_equal(name, "drm");
	assert_false(moddep_name("drm.kop", name, sizeof(name)));
	assert_false(moddep_name("a.ko/drm", name, sizeof(name)));
	assert_false(moddep_name(".ko", name, sizeof(name)));
	assert_false(moddep_name("sixteen_letters_.ko", name, sizeof(name)));
}

static void options_that_do_not_fit_are_no_options(void **state)
{
	char options[8];

	assert_int_equal(moddep_options(fakefs_root(*state), "m", options, sizeof(options)), 0);
	assert_string_equal(options, "");
	fakefs_put(*state, "etc/modprobe.d/a.conf", "options m a=1\noptions m b=\n");
	assert_int_equal(moddep_options(fakefs_root(*state), "m", options, sizeof(options)), 0);
	assert_string_equal(options, "a=1 b=");
	fakefs_put(*state, "etc/modprobe.d/b.conf", "options m c=3\n");
	assert_int_equal(moddep_options(fakefs_root(*state), "m", options, sizeof(options)), -EMSGSIZE);
	fakefs_remove(*state, "etc/modprobe.d/b.conf");
	fakefs_mkdir(*state, "etc/modprobe.d/b.conf");
	assert_int_equal(moddep_options(fakefs_root(*state), "m", options, sizeof(options)), -EISDIR);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
	T(what_a_module_says_is_read),
	T(a_file_cut_off_anywhere_is_damaged),
	T(no_byte_of_its_headers_leads_outside),
	T(other_kinds_of_file_are_no_modules),
	T(values_too_long_to_be_ours_are_refused),
	T(files_are_named_after_modules),
	T(options_that_do_not_fit_are_no_options),
};

UNIT_MAIN(tests)
