// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "node/lock.h"
#include "../../../cni-rdma/numbers.h"
#include "../../../cni-rdma/state.h"
#include "../fakefs.h"

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

static struct state *sample(const char *container, const char *pci)
{
	struct state *s = state_new(2);

	assert_non_null(s);
	strcpy(s->container, container);
	strcpy(s->ifname, "eth0");
	strcpy(s->network, "net");
	strcpy(s->pod, "default/a");
	strcpy(s->netns, "/run/netns/a");
	strcpy(s->boot_id, "b00t");
	s->netns_id = (struct netns_id){ .dev = 4, .ino = 4026532000 };
	strcpy(s->nics[0].pci, pci);
	strcpy(s->nics[0].gaudi, "HL1");
	strcpy(s->nics[0].rdma, "rxe0");
	strcpy(s->nics[0].netdev, "enp6s0");
	strcpy(s->nics[0].pod_netdev, "rdma0");
	strcpy(s->nics[0].uverbs, "uverbs0");
	s->nics[0].chardev = 0xe7c0;
	s->nics[0].node_guid = 0xfedcba9876543210;
	s->nics[0].mtu = 9000;
	s->nics[0].rdma_index = UINT32_MAX;
	s->nics[0].up = s->nics[0].soft = true;
	s->nics[1] = s->nics[0];
	strcpy(s->nics[1].pci, "0000:07:00.0");
	s->nics[1].up = false;
	s->nics[1].infiniband = true;
	return s;
}

static void state_comes_back_as_it_was_saved(void **state)
{
	struct fakefs *fs = *state;
	_cleanup_(state_freep) struct state *saved = sample("1a2b", "0000:06:00.0"), *loaded = NULL;
	char why[128] = "";

	assert_int_equal(state_load(fakefs_root(fs), "1a2b", "eth0", &loaded, why, sizeof(why)), -ENOENT);
	assert_int_equal(state_save(fakefs_root(fs), saved), 0);
	assert_non_null(fakefs_get(fs, "1a2b-eth0.json"));
	assert_int_equal(state_load(fakefs_root(fs), "1a2b", "eth0", &loaded, why, sizeof(why)), 0);
	assert_int_equal(loaded->n, 2);
	assert_memory_equal(loaded->nics, saved->nics, 2 * sizeof(*saved->nics));
	assert_string_equal(loaded->pod, saved->pod);
	assert_string_equal(loaded->boot_id, saved->boot_id);
	assert_true(netns_id_equal(&loaded->netns_id, &saved->netns_id));
	assert_int_equal(state_remove(fakefs_root(fs), loaded), 0);
	assert_int_equal(state_remove(fakefs_root(fs), loaded), 0);
}

static void every_truncated_state_is_refused(void **state)
{
	_cleanup_(state_freep) struct state *whole = sample("1a2b", "0000:06:00.0");
	_cleanup_free_ char *text = state_format(whole);
	char why[128];

	(void)state;
	for (size_t len = 0; len < strlen(text); len++) {
		struct state *loaded = NULL;

		why[0] = '\0';
		assert_int_equal(state_parse(text, len, &loaded, why, sizeof(why)), -EBADMSG);
		assert_null(loaded);
		assert_true(why[0]);
	}
}

static void foreign_and_future_states_are_told_apart(void **state)
{
	static const char *const foreign[] = { "[]",
					       "{}",
					       "{\"version\":\"1\"}",
					       "{\"version\":1}",
					       "{\"version\":0,\"nics\":[]}",
					       "{\"version\":1,\"nics\":[]}",
					       "{\"version\":1,\"nics\":{}}" };
	struct state *loaded = NULL;
	char why[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		assert_int_equal(state_parse(foreign[i], strlen(foreign[i]), &loaded, why, sizeof(why)),
				 -EBADMSG);
	assert_int_equal(state_parse("{\"version\":2}", 13, &loaded, why, sizeof(why)), -EPROTONOSUPPORT);
	assert_non_null(strstr(why, "later"));
	assert_int_equal(state_parse("{", STATE_MAX_BYTES + 1, &loaded, why, sizeof(why)), -EFBIG);
	assert_null(loaded);
}

static void infiniband_is_in_no_record_of_before_it_was_known(void **state)
{
	_cleanup_(state_freep) struct state *saved = sample("1a2b", "0000:06:00.0"), *loaded = NULL;
	static const char key[] = "\"infiniband\": false";
	_cleanup_free_ char *text = NULL;
	char why[128], *at;

	(void)state;
	saved->n = 1;
	text = state_format(saved);
	at = strstr(text, key);
	assert_non_null(at);
	memcpy(at, "\"infiniband\":    12", strlen(key));
	assert_int_equal(state_parse(text, strlen(text), &loaded, why, sizeof(why)), -EBADMSG);
	memcpy(at, "\"whatever\"  :    12", strlen(key));
	assert_int_equal(state_parse(text, strlen(text), &loaded, why, sizeof(why)), 0);
	assert_false(loaded->nics[0].infiniband);
}

static void link_of_soft_mode_is_part_of_it(void **state)
{
	_cleanup_(state_freep) struct state *saved = sample("1a2b", "0000:06:00.0"), *loaded = NULL;
	static const char *const bad[] = { "{}", "7", "{\"rdma\":\"\",\"netdev\":\"eth0\"}",
					   "{\"rdma\":\"a/b\",\"netdev\":\"eth0\"}",
					   "{\"rdma\":\"rxe\",\"netdev\":\"a/b\"}" };
	char why[128] = "";

	saved->n = 0;
	strcpy(saved->link.rdma, "rxe-1a2b-eth0");
	strcpy(saved->link.netdev, "eth0");
	assert_int_equal(state_save(fakefs_root(*state), saved), 0);
	assert_int_equal(state_load(fakefs_root(*state), "1a2b", "eth0", &loaded, why, sizeof(why)), 0);
	assert_int_equal(loaded->n, 0);
	assert_memory_equal(&loaded->link, &saved->link, sizeof(loaded->link));
	saved->link.rdma[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_free_ char *text = state_format(saved);
		char from[] = "\"link\": null", to[128];
		struct state *refused = NULL;
		char changed[8192];
		char *at = strstr(text, from);

		assert_non_null(at);
		snprintf(to, sizeof(to), "\"link\": %s", bad[i]);
		snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
		assert_int_equal(state_parse(changed, strlen(changed), &refused, why, sizeof(why)), -EBADMSG);
	}
}

/* Replaces the first occurrence, and expects a refusal. */
static void refuse_changed(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	struct state *loaded = NULL;
	char changed[8192], why[128];

	assert_non_null(at);
	snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
	assert_int_equal(state_parse(changed, strlen(changed), &loaded, why, sizeof(why)), -EBADMSG);
}

static void impossible_values_are_refused(void **state)
{
	_cleanup_(state_freep) struct state *whole = sample("1a2b", "0000:06:00.0");
	_cleanup_free_ char *text = state_format(whole);

	(void)state;
	refuse_changed(text, "0000:06:00.0", "../../etc");
	refuse_changed(text, "\"rxe0\"", "\"a/b\"");
	refuse_changed(text, "\"rxe0\"", "\"\"");
	refuse_changed(text, "enp6s0", "..");
	refuse_changed(text, "enp6s0", "averylongnetdevname");
	refuse_changed(text, "9000", "-1");
	refuse_changed(text, "9000", "\"9000\"");
	refuse_changed(text, "4294967295", "4294967296");
	refuse_changed(text, "true", "1");
	refuse_changed(text, "0xfedcba9876543210", "0x1fedcba9876543210");
	refuse_changed(text, "1a2b", "../1a2b");
	refuse_changed(text, "\"mtu\"", "\"mtv\"");
}

static void state_of_another_under_our_name_is_refused(void **state)
{
	struct fakefs *fs = *state;
	_cleanup_(state_freep) struct state *other = sample("other", "0000:06:00.0"), *loaded = NULL;
	_cleanup_free_ char *text = state_format(other);
	char why[128];

	fakefs_put(fs, "mine-eth0.json", text);
	assert_int_equal(state_load(fakefs_root(fs), "mine", "eth0", &loaded, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "other"));
	fakefs_mkdir(fs, "dir-eth0.json");
	assert_true(state_load(fakefs_root(fs), "dir", "eth0", &loaded, why, sizeof(why)) < 0);
	fakefs_link(fs, "link-eth0.json", "mine-eth0.json");
	assert_true(state_load(fakefs_root(fs), "link", "eth0", &loaded, why, sizeof(why)) < 0);
}

static void owner_is_found_among_files_that_cannot_be_read(void **state)
{
	struct fakefs *fs = *state;
	_cleanup_(state_freep) struct state *a = sample("a", "0000:06:00.0"),
					    *b = sample("b", "0000:08:00.0");
	_cleanup_(state_list_done) struct state_list list = { 0 };

	state_drop_nic(a, "0000:07:00.0");
	assert_int_equal(a->n, 1);
	assert_int_equal(state_save(fakefs_root(fs), a), 0);
	assert_int_equal(state_save(fakefs_root(fs), b), 0);
	fakefs_put(fs, "broken-eth0.json", "{\"version\":");
	fakefs_put(fs, "future-eth0.json", "{\"version\":9}");
	fakefs_put(fs, LOCK_FILE, "process 1\n");
	fakefs_put(fs, ".tmp.json", "x");
	assert_int_equal(state_list_load(fakefs_root(fs), &list), 0);
	assert_int_equal(list.n, 2);
	assert_string_equal(state_list_owner(&list, "0000:06:00.0")->container, "a");
	assert_string_equal(state_list_owner(&list, "0000:07:00.0")->container, "b");
	assert_null(state_list_owner(&list, "0000:09:00.0"));
}

static void lock_that_is_held_names_its_holder(void **state)
{
	struct fakefs *fs = *state;
	_cleanup_close_ int first = -EBADF, second = -EBADF;
	char holder[128] = "";

	assert_int_equal(lock_take(fakefs_root(fs), 0, "ADD a/eth0", &first, holder, sizeof(holder)), 0);
	assert_int_equal(lock_take(fakefs_root(fs), 30, "ADD b/eth0", &second, holder, sizeof(holder)),
			 -ETIMEDOUT);
	assert_non_null(strstr(holder, "ADD a/eth0"));
	assert_non_null(strstr(holder, "process "));
	closep(&first);
	first = -EBADF;
	assert_int_equal(lock_take(fakefs_root(fs), 0, "ADD b/eth0", &second, holder, sizeof(holder)), 0);
}

static void free_numbers_below_ours_are_counted(void **state)
{
	struct fakefs *fs = *state;

	fakefs_mkdir(fs, "class/infiniband_verbs/uverbs1");
	fakefs_mkdir(fs, "class/infiniband_verbs/uverbs4");
	fakefs_put(fs, "class/infiniband_verbs/abi_version", "6\n");
	assert_int_equal(numbers_count_free(fakefs_root(fs), 0), 0);
	assert_int_equal(numbers_count_free(fakefs_root(fs), 1), 1);
	assert_int_equal(numbers_count_free(fakefs_root(fs), 2), 1);
	assert_int_equal(numbers_count_free(fakefs_root(fs), 6), 4);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(state_comes_back_as_it_was_saved, setup, teardown),
	cmocka_unit_test(every_truncated_state_is_refused),
	cmocka_unit_test_setup_teardown(infiniband_is_in_no_record_of_before_it_was_known, setup, teardown),
	cmocka_unit_test_setup_teardown(link_of_soft_mode_is_part_of_it, setup, teardown),
	cmocka_unit_test(foreign_and_future_states_are_told_apart),
	cmocka_unit_test(impossible_values_are_refused),
	cmocka_unit_test_setup_teardown(state_of_another_under_our_name_is_refused, setup, teardown),
	cmocka_unit_test_setup_teardown(owner_is_found_among_files_that_cannot_be_read, setup, teardown),
	cmocka_unit_test_setup_teardown(lock_that_is_held_names_its_holder, setup, teardown),
	cmocka_unit_test_setup_teardown(free_numbers_below_ours_are_counted, setup, teardown),
};

UNIT_MAIN(tests)
