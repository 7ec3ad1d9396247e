// SPDX-License-Identifier: Apache-2.0
/* One version of the driver in the place of another: whom the loader waits for, and that nobody loses a lease by it. */
#include "../unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "../fake_node.h"

static int setup(void **state)
{
	struct node *node;

	(void)node_setup(state);
	node = *state;
	node_load(node, "0.9\n", "SRC0\n");
	fakefs_put(node->fs, "sys/module/drm/initstate", "live\n");
	return 0;
}

static const char *state_of(struct node *node, unsigned i)
{
	return fakefs_get(node->fs,
			  i ? "sys/class/accel/accel1/device/state" : "sys/class/accel/accel0/device/state");
}

static void settle(void)
{
	node_world.now_ms += LOADER_SETTLE_MS;
}

static void grant(const char *id, const char *pod)
{
	(void)snprintf(node_world.grant.id, sizeof(node_world.grant.id), "%s", id);
	(void)snprintf(node_world.grant.pod, sizeof(node_world.grant.pod), "%s", pod);
}

static void free_cards_are_held_until_the_kubelet_knows_and_then_the_driver_is_replaced(void **state)
{
	struct node *node = *state;

	node_installs(node, REPORT_IN_USE,
		      "gaudi_p2p 0.9, built from SRC0 is replaced by 1, built from SRC1 within some seconds");
	assert_int_equal(node->loader.n_held, 2);
	assert_string_equal(state_of(node, 0), "owned\n");
	node_world.now_ms += LOADER_SETTLE_MS - 1;
	node_installs(node, REPORT_IN_USE, "within some seconds");
	assert_string_equal(node_world.said, "");
	node_world.now_ms++;
	node_installs(node, REPORT_DONE, "gaudi_p2p 1 was loaded from this image");
	assert_string_equal(node_world.said, "unload gaudi_p2p; load gaudi_p2p nonrevocable=hold; ");
	assert_int_equal(node->loader.n_held, 0);
}

static void the_same_version_of_other_sources_is_another(void **state)
{
	struct node *node = *state;

	node_load(node, "1\n", "SRC0\n");
	node_installs(node, REPORT_IN_USE, "1, built from SRC0 is replaced by 1, built from SRC1");
	node_load(node, "1\n", "SRC1\n");
	node_installs(node, REPORT_DONE, "was loaded already");
	/* Nothing is to be replaced any more. */
	assert_int_equal(node->loader.n_held, 0);
	/* One from before there were versions. */
	fakefs_remove(node->fs, "sys/module/gaudi_p2p/version");
	fakefs_remove(node->fs, "sys/module/gaudi_p2p/srcversion");
	node_installs(node, REPORT_IN_USE, "gaudi_p2p of no version is replaced");
}

static void a_pod_is_waited_for_and_named_also_while_it_has_nothing_open(void **state)
{
	struct node *node = *state;

	grant("0000:06:00.0", "default/user");
	node_installs(node, REPORT_IN_USE,
		      "when no Gaudi is in use; 1 of 2 is: 0000:06:00.0 is with pod default/user");
	assert_int_equal(node->loader.n_held, 1);
	assert_string_equal(state_of(node, 1), "free\n");
	settle();
	node_installs(node, REPORT_IN_USE, "default/user");
	assert_string_equal(node_world.said, "");
	grant("", "");
	node_installs(node, REPORT_IN_USE, "within some seconds");
	settle();
	node_installs(node, REPORT_DONE, "gaudi_p2p 1");
}

static void a_pod_is_found_by_serial_too(void **state)
{
	struct node *node = *state;

	fakefs_put(node->fs, "sys/devices/0000:05:00.0/serial", "S1\n");
	grant("S1", "team/job-0");
	node_installs(node, REPORT_IN_USE, "0000:05:00.0 is with pod team/job-0");
}

static void who_was_given_a_held_card_gets_it(void **state)
{
	struct node *node = *state;
	int fd;

	node_installs(node, REPORT_IN_USE, "");
	assert_int_equal(node->loader.n_held, 2);
	fd = node->loader.held[0].fd;
	assert_true(fcntl(fd, F_GETFD) >= 0);
	grant(strcmp(node->loader.held[0].card, "accel0") == 0 ? "0000:05:00.0" : "0000:06:00.0",
	      "default/late");
	settle();
	node_installs(node, REPORT_IN_USE, "is with pod default/late");
	assert_int_equal(node->loader.n_held, 1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_string_equal(node_world.said, "");
}

static void leases_of_all_states_are_waited_for_with_reason_and_holder(void **state)
{
	struct node *node = *state;

	node_put_card(node, 0, "owned\n", "\n", "netns:[4026]\n", "77\n");
	node_put_card(node, 1, "draining\n", "mlx5_0 maps 4096 bytes\n", "\n", "\n");
	node_installs(node, REPORT_IN_USE, "2 of 2 are: ");
	node_installs(node, REPORT_IN_USE, "0000:05:00.0 is owned (netns:[4026], process 77)");
	node_installs(node, REPORT_IN_USE, "0000:06:00.0 is draining: mlx5_0 maps 4096 bytes");
	node_put_card(node, 1, "scrubbing\n", "\n", "\n", "\n");
	node_installs(node, REPORT_IN_USE, "0000:06:00.0 is scrubbing");
	assert_int_equal(node->loader.n_held, 0);
	assert_string_equal(node_world.said, "");
}

static void a_lost_card_holds_nothing_up(void **state)
{
	struct node *node = *state;

	node_put_card(node, 0, "lost\n", "memory did not read back as zero\n", "\n", "\n");
	node_installs(node, REPORT_IN_USE, "within some seconds");
	assert_int_equal(node->loader.n_held, 1);
	settle();
	node_installs(node, REPORT_DONE, "");
}

static void devices_of_other_drivers_are_none_of_ours(void **state)
{
	struct node *node = *state;

	fakefs_put(node->fs, "sys/class/accel/accel9/device/status", "Operational\n");
	fakefs_put(node->fs, "sys/class/accel/accel_controlD0/device/state", "owned\n");
	node_installs(node, REPORT_IN_USE, "within some seconds");
}

static void who_opens_at_the_last_moment_keeps_his_card(void **state)
{
	static const int errors[] = { -EWOULDBLOCK, -EBUSY };
	struct node *node = *state;

	fakefs_put(node->fs, "sys/module/gaudi_p2p/refcnt", "1\n");
	fakefs_put(node->fs, "sys/module/gaudi_p2p/holders/gaudi_p2p_kunit/x", "");
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		node_installs(node, REPORT_IN_USE, "");
		settle();
		node_world.unload_error = errors[i];
		node_installs(node, REPORT_IN_USE, "still used (1 reference(s), module gaudi_p2p_kunit)");
		assert_int_equal(node->loader.n_held, 0);
		node_put_card(node, 0, "free\n", "\n", "\n", "\n");
		node_put_card(node, 1, "free\n", "\n", "\n", "\n");
	}
	assert_true(node_exists(node, "sys/module/gaudi_p2p"));
	/* It goes on as soon as that is over. */
	node_world.unload_error = 0;
	node_installs(node, REPORT_IN_USE, "");
	settle();
	node_installs(node, REPORT_DONE, "gaudi_p2p 1");
}

static void a_kernel_that_does_not_unload_is_told(void **state)
{
	struct node *node = *state;

	node->loader.pod_resources = NULL;
	node_world.unload_error = -EPERM;
	node_installs(node, REPORT_FAILED, "CAP_SYS_MODULE");
	assert_true(node_exists(node, "sys/module/gaudi_p2p"));
}

static void without_the_kubelet_s_answer_nothing_is_touched(void **state)
{
	struct node *node = *state;

	node_world.grants_error = -ENOENT;
	node_installs(node, REPORT_WAIT, "cannot ask the kubelet which pods have Gaudis (/kubelet.sock)");
	node_world.grants_error = -ETIMEDOUT;
	node_installs(node, REPORT_WAIT, "--pod-resources=none");
	assert_int_equal(node->loader.n_held, 0);
	assert_string_equal(node_world.said, "");
	/* Where there is none, the leases alone count, and there is nobody to wait for. */
	node->loader.pod_resources = NULL;
	node_installs(node, REPORT_DONE, "gaudi_p2p 1 was loaded");
}

static void a_card_that_cannot_be_held_is_waited_for(void **state)
{
	struct node *node = *state;

	node_world.open_error = -EPERM;
	node_installs(node, REPORT_IN_USE, "2 of 2 are: ");
	node_world.open_error = -EBUSY;
	node_installs(node, REPORT_IN_USE, "2 of 2 are: ");
	assert_int_equal(node->loader.n_held, 0);
	settle();
	node_installs(node, REPORT_IN_USE, "2 of 2 are: ");
	assert_string_equal(node_world.said, "");
}

static void what_we_lost_is_taken_again(void **state)
{
	struct node *node = *state;

	node_installs(node, REPORT_IN_USE, "");
	/* A reset has ended our lease, and a card was pulled. */
	node_put_card(node, 0, "scrubbing\n", "\n", "\n", "\n");
	fakefs_remove(node->fs, "sys/class/accel/accel1");
	settle();
	node_installs(node, REPORT_IN_USE, "1 of 1 is: 0000:05:00.0 is scrubbing");
	assert_int_equal(node->loader.n_held, 0);
	node_put_card(node, 0, "free\n", "\n", "\n", "\n");
	node_installs(node, REPORT_IN_USE, "within some seconds");
	assert_int_equal(node->loader.n_held, 1);
	settle();
	node_installs(node, REPORT_DONE, "");
}

static void cards_are_not_held_for_what_cannot_be_done(void **state)
{
	struct node *node = *state;

	node_installs(node, REPORT_IN_USE, "");
	assert_int_equal(node->loader.n_held, 2);
	fakefs_remove(node->fs, "sys/module/drm");
	node_world.need_error = -ENOEXEC;
	node_installs(node, REPORT_FAILED, "the kernel refuses dma_base");
	assert_int_equal(node->loader.n_held, 0);
	node_world.need_error = 0;
	node_put_card(node, 0, "free\n", "\n", "\n", "\n");
	node_put_card(node, 1, "free\n", "\n", "\n", "\n");
	node_installs(node, REPORT_IN_USE, "");
	assert_int_equal(node->loader.n_held, 2);
	/* The image with the other version is taken back. */
	fakefs_remove(node->source, NODE_IMAGE);
	node_installs(node, REPORT_DONE, "stays as it is");
	assert_int_equal(node->loader.n_held, 0);
}

static void giving_up_gives_the_cards_back(void **state)
{
	struct node *node = *state;
	int fds[2];

	node_installs(node, REPORT_IN_USE, "");
	fds[0] = node->loader.held[0].fd;
	fds[1] = node->loader.held[1].fd;
	loader_done(&node->loader);
	assert_int_equal(node->loader.n_held, 0);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	assert_int_equal(fcntl(fds[1], F_GETFD), -1);
}

static void the_old_driver_stays_until_what_the_new_one_needs_is_there(void **state)
{
	struct node *node = *state;

	fakefs_remove(node->fs, "sys/module/drm");
	node_world.need_error = -ENOEXEC;
	node->loader.pod_resources = NULL;
	node_installs(node, REPORT_FAILED, "the kernel refuses dma_base");
	assert_null(strstr(node_world.said, "unload"));
}

static void a_new_driver_that_is_refused_is_tried_again(void **state)
{
	struct node *node = *state;

	node->loader.pod_resources = NULL;
	node_world.load_error = -ENOKEY;
	node_installs(node, REPORT_FAILED, "mokutil");
	assert_string_equal(node_world.said, "unload gaudi_p2p; ");
	node_world.load_error = 0;
	node_installs(node, REPORT_DONE, "");
}

static void uninstalling_waits_in_the_same_way(void **state)
{
	struct node *node = *state;

	fakefs_put(node->fs, LOADER_RECORDS "/loaded", "b007\ngaudi_p2p\n");
	grant("0000:05:00.0", "default/user");
	node_uninstalls(node, REPORT_IN_USE,
			"gaudi_p2p is unloaded when no Gaudi is in use; 1 of 2 is: 0000:05:00.0 is with pod "
			"default/user");
	assert_int_equal(node->loader.n_held, 1);
	grant("", "");
	node_uninstalls(node, REPORT_IN_USE, "within some seconds");
	settle();
	node_uninstalls(node, REPORT_DONE, "no longer");
	assert_string_equal(node_world.said, "unload gaudi_p2p; ");
	assert_false(node_exists(node, "sys/module/gaudi_p2p"));
}

static void pods_keep_the_policy_that_they_began_with(void **state)
{
	struct node *node = *state;

	node_load(node, "1\n", "SRC1\n");
	node_installs(node, REPORT_DONE, "by the node");
	grant("0000:05:00.0", "default/user");
	node_uninstalls(node, REPORT_IN_USE,
			"gaudi_p2p gets the policy back that it had when no Gaudi is in use; 1 of 2 is: "
			"0000:05:00.0 is with pod default/user");
	assert_string_equal(fakefs_get(node->fs, NODE_POLICY), "hold");
	grant("", "");
	node_uninstalls(node, REPORT_IN_USE, "within some seconds");
	settle();
	node_uninstalls(node, REPORT_DONE, "stays on this node");
	assert_string_equal(fakefs_get(node->fs, NODE_POLICY), "refuse");
	assert_int_equal(node->loader.n_held, 0);
	assert_string_equal(node_world.said, "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, node_teardown)

static const struct CMUnitTest tests[] = {
	T(free_cards_are_held_until_the_kubelet_knows_and_then_the_driver_is_replaced),
	T(the_same_version_of_other_sources_is_another),
	T(a_pod_is_waited_for_and_named_also_while_it_has_nothing_open),
	T(a_pod_is_found_by_serial_too),
	T(who_was_given_a_held_card_gets_it),
	T(leases_of_all_states_are_waited_for_with_reason_and_holder),
	T(a_lost_card_holds_nothing_up),
	T(devices_of_other_drivers_are_none_of_ours),
	T(who_opens_at_the_last_moment_keeps_his_card),
	T(a_kernel_that_does_not_unload_is_told),
	T(without_the_kubelet_s_answer_nothing_is_touched),
	T(a_card_that_cannot_be_held_is_waited_for),
	T(what_we_lost_is_taken_again),
	T(cards_are_not_held_for_what_cannot_be_done),
	T(giving_up_gives_the_cards_back),
	T(the_old_driver_stays_until_what_the_new_one_needs_is_there),
	T(a_new_driver_that_is_refused_is_tried_again),
	T(uninstalling_waits_in_the_same_way),
	T(pods_keep_the_policy_that_they_began_with),
};

UNIT_MAIN(tests)
