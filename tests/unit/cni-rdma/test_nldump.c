// SPDX-License-Identifier: Apache-2.0
/*
 * Lists of addresses, routes and RDMA devices that change while they are read, which no real kernel does when asked to.
 * This file defines all of nlchan.h, so nlchan.o stays out.
 */
#include "../unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <rdma/rdma_netlink.h>

#include "../../../cni-rdma/nldump.h"
#include "../../../cni-rdma/rdmanl.h"
#include "../../../cni-rdma/rtlink.h"

static struct fake {
	int interruptions; /* how often the list changes meanwhile */
	int error;	   /* what the kernel says instead of a list */
	int asked;
	bool is_empty;
	bool empties; /* what was read before the change is gone after it */
} fake;

int nlchan_open(int protocol, struct nlchan **ret)
{
	(void)protocol;
	(void)ret;
	return -ENOSYS;
}

void nlchan_close(struct nlchan *chan)
{
	(void)chan;
}

const char *nlchan_error_text(const struct nlchan *chan)
{
	(void)chan;
	return "";
}

struct nl_msg *nlchan_request(int type, int flags)
{
	return nlmsg_alloc_simple(type, flags | NLM_F_REQUEST);
}

static int tell_address(nl_recvmsg_msg_cb_t parse, void *arg)
{
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWADDR, NLM_F_MULTI);
	struct ifaddrmsg info = { .ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = 7 };
	struct in_addr address = { inet_addr("10.9.0.1") };
	int r;

	assert_int_equal(nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO), 0);
	assert_int_equal(nla_put(msg, IFA_LOCAL, sizeof(address), &address), 0);
	r = parse(msg, arg);
	nlmsg_free(msg);
	return r;
}

static int tell_route(nl_recvmsg_msg_cb_t parse, void *arg)
{
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWROUTE, NLM_F_MULTI);
	struct rtmsg info = { .rtm_family = AF_INET, .rtm_dst_len = 24, .rtm_type = RTN_UNICAST };
	struct in_addr network = { inet_addr("192.168.5.0") };
	int r;

	assert_int_equal(nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO), 0);
	assert_int_equal(nla_put(msg, RTA_DST, sizeof(network), &network), 0);
	assert_int_equal(nla_put_u32(msg, RTA_TABLE, 100), 0);
	r = parse(msg, arg);
	nlmsg_free(msg);
	return r;
}

static int tell_device(nl_recvmsg_msg_cb_t parse, void *arg)
{
	struct nl_msg *msg =
		nlmsg_alloc_simple(RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_GET), NLM_F_MULTI);
	int r;

	assert_int_equal(nla_put_u32(msg, RDMA_NLDEV_ATTR_DEV_INDEX, 3), 0);
	assert_int_equal(nla_put_string(msg, RDMA_NLDEV_ATTR_DEV_NAME, "mlx5_0"), 0);
	r = parse(msg, arg);
	nlmsg_free(msg);
	return r;
}

static int tell_port(nl_recvmsg_msg_cb_t parse, void *arg)
{
	struct nl_msg *msg =
		nlmsg_alloc_simple(RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_PORT_GET), NLM_F_MULTI);
	int r;

	assert_int_equal(nla_put_u32(msg, RDMA_NLDEV_ATTR_PORT_INDEX, 1), 0);
	assert_int_equal(nla_put_u32(msg, RDMA_NLDEV_ATTR_NDEV_INDEX, 7), 0);
	r = parse(msg, arg);
	nlmsg_free(msg);
	return r;
}

static int tell(int type, nl_recvmsg_msg_cb_t parse, void *arg)
{
	switch (type) {
	case RTM_GETADDR:
		return tell_address(parse, arg);
	case RTM_GETROUTE:
		return tell_route(parse, arg);
	case RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_GET):
		return tell_device(parse, arg);
	default:
		return tell_port(parse, arg);
	}
}

int nlchan_talk(struct nlchan *chan, struct nl_msg *msg, nl_recvmsg_msg_cb_t parse, void *arg)
{
	int r = 0;

	(void)chan;
	assert_true(nlmsg_hdr(msg)->nlmsg_flags & NLM_F_DUMP);
	/* As nl_send_auto() does: a message that has a number keeps it, and its answer would belong to the one before. */
	assert_int_equal(nlmsg_hdr(msg)->nlmsg_seq, NL_AUTO_SEQ);
	nlmsg_hdr(msg)->nlmsg_seq = 1000 + (unsigned int)fake.asked++;
	if (fake.error)
		return fake.error;
	if (!fake.is_empty)
		r = tell(nlmsg_hdr(msg)->nlmsg_type, parse, arg);
	assert_true(r >= 0);
	if (fake.interruptions > 0) {
		fake.interruptions--;
		fake.is_empty = fake.empties;
		return -EAGAIN;
	}
	return 0;
}

static int setup(void **state)
{
	(void)state;
	fake = (struct fake){ 0 };
	return 0;
}

static int find_address(void)
{
	const struct rtlink_address address = { .family = AF_INET,
						.prefix = 24,
						.v4 = { inet_addr("10.9.0.1") } };

	return rtlink_find_address(NULL, 7, &address);
}

static int find_route(void)
{
	const struct rtlink_route route = {
		.dst = { .family = AF_INET, .prefix = 24, .v4 = { inet_addr("192.168.5.7") } },
		.table = 100,
	};

	return rtlink_find_route(NULL, &route);
}

static int find_device(void)
{
	struct rdmanl_device device;

	return rdmanl_find(NULL, "mlx5_0", &device);
}

/* The list has it once, however often it was read. */
static int find_device_once(void)
{
	struct rdmanl_device *devices = NULL;
	size_t n = 0;
	int r = rdmanl_list(NULL, &devices, &n);

	assert_true(r < 0 || n <= 1);
	free(devices);
	return r < 0 ? r : n ? 0 : -ENODEV;
}

static int find_netdev(void)
{
	struct rdmanl_port port;
	int r = rdmanl_port(NULL, 3, &port);

	return r < 0 ? r : port.ndev_index == 7 ? 0 : -ENODEV;
}

static int (*const finds[])(void) = { find_address, find_route, find_device, find_device_once, find_netdev };

static void what_is_there_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(finds); i++) {
		fake.is_empty = false;
		assert_int_equal(finds[i](), 0);
		fake.is_empty = true;
		assert_int_equal(finds[i](), -ENODEV);
	}
}

static void a_list_that_changed_meanwhile_is_read_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(finds); i++) {
		fake = (struct fake){ .interruptions = NLDUMP_TRIES - 1 };
		assert_int_equal(finds[i](), 0);
		assert_int_equal(fake.asked, NLDUMP_TRIES);
	}
}

static void what_went_meanwhile_is_not_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(finds); i++) {
		fake = (struct fake){ .interruptions = 1, .empties = true };
		assert_int_equal(finds[i](), -ENODEV);
		assert_int_equal(fake.asked, 2);
	}
}

/* Nobody may take it for lost. */
static void a_list_that_never_stays_is_told_as_that(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(finds); i++) {
		fake = (struct fake){ .interruptions = 1000 };
		assert_int_equal(finds[i](), -EAGAIN);
		assert_int_equal(fake.asked, NLDUMP_TRIES);
	}
}

static void an_error_is_told_at_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(finds); i++) {
		fake = (struct fake){ .error = -EPERM };
		assert_int_equal(finds[i](), -EPERM);
		assert_int_equal(fake.asked, 1);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup(what_is_there_is_found, setup),
	cmocka_unit_test_setup(a_list_that_changed_meanwhile_is_read_again, setup),
	cmocka_unit_test_setup(what_went_meanwhile_is_not_found, setup),
	cmocka_unit_test_setup(a_list_that_never_stays_is_told_as_that, setup),
	cmocka_unit_test_setup(an_error_is_told_at_once, setup),
};

UNIT_MAIN(tests)
