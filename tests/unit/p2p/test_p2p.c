// SPDX-License-Identifier: Apache-2.0
/*
 * lib/p2p against a fake of its edge: this file defines every call of edge.h,
 * so edge.o stays out. Each call can be made to fail, and after each test
 * nothing may be left: no descriptor, no memory of the device, no verbs object.
 */
#include "../unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "p2p/abi.h"
#include "p2p/edge.h"
#include "p2p/p2p.h"
#include "p2p/window.h"

static struct fake {
	int fail_at; /* which call fails, counted from 1; 0: none */
	int fail_errno;
	int calls;
	int interruptions; /* how often ioctl answers EINTR before it works */
	int ioctls;
	int handles, mappings; /* of device memory */
	int lists, contexts, pds, mrs;
	const char *fdinfo; /* NULL: no dma-buf */
	enum ibv_port_state port_state;
	const struct ibv_gid_entry *gids;
	int n_gids;
	struct ibv_context context;
	struct ibv_pd pd;
	struct ibv_mr mr;
} fake;

static const char our_fdinfo[] = "pos:\t0\nflags:\t02\nsize:\t65536\ncount:\t2\nexp_name:\tgaudi_p2p\n";

static bool fails(void)
{
	if (++fake.calls != fake.fail_at)
		return false;
	errno = fake.fail_errno;
	return true;
}

static int open_memory(void)
{
	int fd = memfd_create("fake", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 65536), 0);
	return fd;
}

int p2p_edge_open(const char *path, int flags)
{
	assert_int_equal(flags, O_RDWR | O_CLOEXEC);
	if (fails())
		return -1;
	assert_string_equal(path, "/dev/accel/accel3");
	return open_memory();
}

static int fake_info(const struct p2p_abi_info *args)
{
	assert_int_equal(args->pad, 0);
	if (args->op == P2P_ABI_INFO_HW_IP) {
		struct p2p_abi_hw_ip *ip = (void *)(uintptr_t)args->return_pointer;

		assert_int_equal(args->return_size, sizeof(*ip));
		*ip = (struct p2p_abi_hw_ip){ .dram_size = 1 << 20,
					      .module_id = 5,
					      .default_page_size = 4096 };
		/* Not terminated: all sixteen are used. */
		memcpy(ip->card_name, "HL-225-emulated!", 16);
		return 0;
	}
	if (args->op == P2P_ABI_INFO_DRAM_USAGE) {
		struct p2p_abi_dram_usage *usage = (void *)(uintptr_t)args->return_pointer;

		*usage = (struct p2p_abi_dram_usage){ .free = 4096 };
		return 0;
	}
	errno = EINVAL;
	return -1;
}

static int fake_memory(union p2p_abi_memory *args)
{
	switch (args->in.op) {
	case P2P_ABI_MEM_ALLOC:
		assert_int_equal(args->in.flags, P2P_ABI_MEM_CONTIGUOUS);
		fake.handles++;
		args->out.value = 77;
		return 0;
	case P2P_ABI_MEM_MAP:
		assert_int_equal(args->in.b, 77);
		fake.mappings++;
		args->out.value = 0x1000000;
		return 0;
	case P2P_ABI_MEM_UNMAP:
		assert_int_equal(args->in.a, 0x1000000);
		fake.mappings--;
		return 0;
	case P2P_ABI_MEM_FREE:
		assert_int_equal(args->in.a, 77);
		fake.handles--;
		return 0;
	case P2P_ABI_MEM_EXPORT:
		assert_int_equal(args->in.a, 0x1000000);
		assert_int_equal(args->in.flags, O_RDWR | O_CLOEXEC);
		args->fd = open_memory();
		return 0;
	default:
		errno = EINVAL;
		return -1;
	}
}

int p2p_edge_ioctl(int fd, unsigned long request, void *arg)
{
	assert_true(fd >= 0);
	fake.ioctls++;
	if (fake.interruptions > 0) {
		fake.interruptions--;
		errno = EINTR;
		return -1;
	}
	if (fails())
		return -1;
	return request == P2P_ABI_IOC_INFO ? fake_info(arg) : fake_memory(arg);
}

ssize_t p2p_edge_fdinfo(int fd, char *buf, size_t size)
{
	const char *text = fake.fdinfo ? fake.fdinfo : "pos:\t0\nflags:\t02\n";

	assert_true(fd >= 0);
	if (fails())
		return -fake.fail_errno;
	assert_true(strlen(text) < size);
	memcpy(buf, text, strlen(text) + 1);
	return (ssize_t)strlen(text);
}

static struct ibv_device fake_devices[2] = { { .dev_name = "uverbs1" }, { .dev_name = "uverbs12" } };
static struct ibv_device *fake_list[3] = { &fake_devices[0], &fake_devices[1], NULL };

struct ibv_device **p2p_edge_get_device_list(int *ret_n)
{
	if (fails())
		return NULL;
	fake.lists++;
	*ret_n = 2;
	return fake_list;
}

void p2p_edge_free_device_list(struct ibv_device **list)
{
	assert_ptr_equal(list, fake_list);
	fake.lists--;
}

struct ibv_context *p2p_edge_open_device(struct ibv_device *device)
{
	assert_string_equal(device->dev_name, "uverbs12");
	if (fails())
		return NULL;
	fake.contexts++;
	return &fake.context;
}

int p2p_edge_close_device(struct ibv_context *context)
{
	assert_ptr_equal(context, &fake.context);
	fake.contexts--;
	return 0;
}

struct ibv_pd *p2p_edge_alloc_pd(struct ibv_context *context)
{
	assert_ptr_equal(context, &fake.context);
	if (fails())
		return NULL;
	fake.pds++;
	return &fake.pd;
}

int p2p_edge_dealloc_pd(struct ibv_pd *pd)
{
	assert_ptr_equal(pd, &fake.pd);
	fake.pds--;
	return 0;
}

struct ibv_mr *p2p_edge_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova,
				      int fd, int access)
{
	(void)iova;
	(void)access;
	assert_ptr_equal(pd, &fake.pd);
	assert_true(fd >= 0);
	assert_true(offset + length <= 65536);
	if (fails())
		return NULL;
	fake.mrs++;
	return &fake.mr;
}

int p2p_edge_dereg_mr(struct ibv_mr *mr)
{
	assert_ptr_equal(mr, &fake.mr);
	if (fails())
		return fake.fail_errno;
	fake.mrs--;
	return 0;
}

int p2p_edge_query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *ret)
{
	assert_ptr_equal(context, &fake.context);
	assert_int_equal(port, 1);
	if (fails())
		return fake.fail_errno;
	ret->state = fake.port_state;
	ret->active_mtu = IBV_MTU_1024;
	return 0;
}

ssize_t p2p_edge_query_gid_table(struct ibv_context *context, struct ibv_gid_entry *entries, size_t max)
{
	assert_ptr_equal(context, &fake.context);
	if (fails())
		return -fake.fail_errno;
	assert_true((size_t)fake.n_gids <= max);
	memcpy(entries, fake.gids, (size_t)fake.n_gids * sizeof(*entries));
	return fake.n_gids;
}

static int open_descriptors(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n;
}

static int descriptors_before;

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	fake.fdinfo = our_fdinfo;
	fake.port_state = IBV_PORT_ACTIVE;
	descriptors_before = open_descriptors();
	return 0;
}

static void assert_nothing_left(void)
{
	assert_int_equal(fake.lists, 0);
	assert_int_equal(fake.contexts, 0);
	assert_int_equal(fake.pds, 0);
	assert_int_equal(fake.mrs, 0);
	assert_int_equal(open_descriptors(), descriptors_before);
}

static int teardown(void **state)
{
	(void)state;
	assert_nothing_left();
	return 0;
}

/* --- tests ---------------------------------------------------------------- */

static void pairs_are_parsed(void **state)
{
	struct p2p_pair pairs[3];
	size_t n = 9;

	(void)state;
	assert_int_equal(
		p2p_pairs_parse(
			"/dev/accel/accel0=/dev/infiniband/uverbs2,/dev/accel/accel10,/dev/accel/accel1=",
			pairs, 3, &n),
		0);
	assert_int_equal(n, 3);
	assert_string_equal(pairs[0].accel, "/dev/accel/accel0");
	assert_string_equal(pairs[0].uverbs, "/dev/infiniband/uverbs2");
	assert_string_equal(pairs[1].accel, "/dev/accel/accel10");
	assert_string_equal(pairs[1].uverbs, "");
	assert_string_equal(pairs[2].uverbs, "");
}

static void pairs_that_name_no_devices_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		",",
		"/dev/accel/accel0,",
		"=/dev/infiniband/uverbs0",
		"/dev/accel/accel",
		"/dev/accel/accel01",
		"/dev/accel/accel-1",
		"/dev/accel/accel0/../../sda",
		"/dev/sda=/dev/infiniband/uverbs0",
		"/dev/accel/accel0=/dev/sda",
		"/dev/accel/accel0=/dev/infiniband/uverbs0=",
		"/dev/accel/accel0 ",
		"/dev/accel/accel0,/dev/accel/accel0",
		"/dev/accel/accel_controlD0",
		"/dev/accel/accel00000000000000000000000000000000000000000000000000000000000000000000001",
	};
	struct p2p_pair pairs[2];
	size_t n = 9;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(p2p_pairs_parse(bad[i], pairs, 2, &n), -EINVAL);
	assert_int_equal(
		p2p_pairs_parse("/dev/accel/accel0,/dev/accel/accel1,/dev/accel/accel2", pairs, 2, &n),
		-E2BIG);
	assert_int_equal(n, 9);
}

static void environment_names_the_devices(void **state)
{
	struct p2p_pair pairs[4];
	struct p2p_device *dev = NULL;
	size_t n;

	(void)state;
	unsetenv("GAUDI_P2P_PAIRS");
	unsetenv("HABANA_VISIBLE_DEVICES");
	assert_int_equal(p2p_pairs_from_env(pairs, 4, &n), -ENOENT);
	assert_int_equal(p2p_open_index(0, &dev, NULL), -ENOENT);
	setenv("HABANA_VISIBLE_DEVICES", "3,11", 1);
	assert_int_equal(p2p_pairs_from_env(pairs, 4, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(pairs[1].accel, "/dev/accel/accel11");
	assert_string_equal(pairs[1].uverbs, "");
	setenv("HABANA_VISIBLE_DEVICES", "all", 1);
	assert_int_equal(p2p_pairs_from_env(pairs, 4, &n), -EINVAL);
	/* Ours goes first. */
	setenv("GAUDI_P2P_PAIRS", "/dev/accel/accel3=/dev/infiniband/uverbs12", 1);
	assert_int_equal(p2p_open_index(1, &dev, NULL), -ERANGE);
	assert_int_equal(p2p_open_index(0, &dev, &pairs[0]), 0);
	assert_string_equal(pairs[0].uverbs, "/dev/infiniband/uverbs12");
	p2p_close(dev);
	unsetenv("GAUDI_P2P_PAIRS");
	unsetenv("HABANA_VISIBLE_DEVICES");
}

static void information_is_read_with_its_bounds(void **state)
{
	_cleanup_(p2p_closep) struct p2p_device *dev = NULL;
	struct p2p_info info;

	(void)state;
	assert_int_equal(p2p_open("/dev/accel/accel3", &dev), 0);
	assert_int_equal(p2p_info(dev, &info), 0);
	assert_string_equal(info.card_name, "HL-225-emulated!");
	assert_int_equal(info.module_id, 5);
	assert_int_equal(info.memory_size, 1 << 20);
	assert_int_equal(info.page_size, 4096);
	assert_int_equal(info.memory_free, 4096);
}

static void interruptions_are_retried_but_not_for_ever(void **state)
{
	_cleanup_(p2p_closep) struct p2p_device *dev = NULL;

	(void)state;
	fake.interruptions = 3;
	assert_int_equal(p2p_open("/dev/accel/accel3", &dev), 0);
	p2p_close(TAKE_PTR(dev));
	fake.interruptions = 1000000;
	fake.ioctls = 0;
	assert_int_equal(p2p_open("/dev/accel/accel3", &dev), -EINTR);
	assert_true(fake.ioctls < 20);
}

/* The whole life, as a program does it. Stops at the first failure and releases what it has. */
static int life(void)
{
	_cleanup_(p2p_closep) struct p2p_device *dev = NULL;
	_cleanup_(p2p_nic_closep) struct p2p_nic *nic = NULL;
	_cleanup_close_ int dmabuf = -EBADF;
	struct p2p_memory *mem = NULL;
	struct p2p_info info;
	struct ibv_mr *mr = NULL;
	void *map;
	int r;

	r = p2p_open("/dev/accel/accel3", &dev);
	if (r < 0)
		return r;
	r = p2p_info(dev, &info);
	if (r < 0)
		return r;
	r = p2p_alloc(dev, 65536, &mem);
	if (r < 0)
		return r;
	r = p2p_export(mem, 0, 65536, &dmabuf);
	if (r < 0)
		return r;
	r = p2p_dmabuf_map(dmabuf, 65536, true, &map);
	if (r < 0)
		return r;
	memset(map, 1, 65536);
	p2p_dmabuf_unmap(map, 65536);
	r = p2p_nic_open("/dev/infiniband/uverbs12", &nic);
	if (r < 0)
		return r;
	r = p2p_register(nic, dmabuf, 0, 65536, 0, 0, &mr);
	if (r < 0)
		return r;
	r = p2p_unregister(mr);
	if (r < 0) {
		assert_int_equal(p2p_unregister(mr), 0); /* it is still there */
		return r;
	}
	r = p2p_free(mem);
	if (r < 0)
		assert_int_equal(p2p_free(mem), 0); /* goes on where it stopped */
	return r;
}

static void every_failure_is_reported_and_leaks_nothing(void **state)
{
	int total;

	(void)state;
	assert_int_equal(life(), 0);
	assert_int_equal(fake.handles, 0);
	assert_int_equal(fake.mappings, 0);
	total = fake.calls;
	assert_true(total >= 14);
	for (int i = 1; i <= total; i++) {
		fake.calls = 0;
		fake.handles = 0;
		fake.mappings = 0;
		fake.fail_at = i;
		fake.fail_errno = EIO;
		assert_int_equal(life(), -EIO);
		assert_nothing_left();
	}
}

static void failed_map_gives_the_handle_back(void **state)
{
	_cleanup_(p2p_closep) struct p2p_device *dev = NULL;
	struct p2p_memory *mem = NULL;

	(void)state;
	assert_int_equal(p2p_open("/dev/accel/accel3", &dev), 0);
	fake.calls = 0;
	fake.fail_at = 2;
	fake.fail_errno = ENOMEM;
	assert_int_equal(p2p_alloc(dev, 4096, &mem), -ENOMEM);
	assert_null(mem);
	assert_int_equal(fake.handles, 0);
	assert_int_equal(p2p_alloc(dev, 0, &mem), -EINVAL);
}

static void free_after_the_end_of_the_lease_succeeds(void **state)
{
	_cleanup_(p2p_closep) struct p2p_device *dev = NULL;
	struct p2p_memory *mem = NULL;

	(void)state;
	assert_int_equal(p2p_open("/dev/accel/accel3", &dev), 0);
	assert_int_equal(p2p_alloc(dev, 4096, &mem), 0);
	fake.calls = 0;
	fake.fail_at = 1; /* UNMAP */
	fake.fail_errno = ENODEV;
	assert_int_equal(p2p_free(mem), 0);
}

static void export_refuses_sizes_that_wrap(void **state)
{
	_cleanup_(p2p_closep) struct p2p_device *dev = NULL;
	struct p2p_memory *mem = NULL;
	int fd = -EBADF;

	(void)state;
	assert_int_equal(p2p_open("/dev/accel/accel3", &dev), 0);
	assert_int_equal(p2p_alloc(dev, 4096, &mem), 0);
	assert_int_equal(p2p_export(mem, 4096, UINT64_MAX - 4095, &fd), -EINVAL);
	assert_int_equal(p2p_export(mem, 0, 0, &fd), -EINVAL);
	assert_int_equal(fd, -EBADF);
}

static void nic_is_found_by_its_whole_name(void **state)
{
	struct p2p_nic *nic = NULL;

	(void)state;
	assert_int_equal(p2p_nic_open("/dev/infiniband/uverbs2", &nic), -ENOENT);
	assert_int_equal(p2p_nic_open("/dev/infiniband/rdma_cm", &nic), -EINVAL);
	assert_int_equal(p2p_nic_open("", &nic), -EINVAL);
	assert_int_equal(p2p_nic_open("uverbs12", &nic), 0);
	p2p_nic_close(nic);
}

static void only_dmabufs_of_gaudis_are_registered(void **state)
{
	_cleanup_(p2p_nic_closep) struct p2p_nic *nic = NULL;
	_cleanup_close_ int fd = open_memory();
	struct ibv_mr *mr = NULL;

	(void)state;
	assert_int_equal(p2p_nic_open("/dev/infiniband/uverbs12", &nic), 0);
	assert_int_equal(p2p_register(nic, -1, 0, 4096, 0, 0, &mr), -EBADF);
	assert_int_equal(p2p_register(nic, 1000, 0, 4096, 0, 0, &mr), -EBADF);
	fake.fdinfo = NULL;
	assert_int_equal(p2p_register(nic, fd, 0, 4096, 0, 0, &mr), -EINVAL);
	fake.fdinfo = "size:\t65536\ncount:\t1\nexp_name:\tsystem\nname:\tgaudi_p2p\n";
	assert_int_equal(p2p_register(nic, fd, 0, 4096, 0, 0, &mr), -EXDEV);
	fake.fdinfo = "size:\t65536\ncount:\t1\nexp_name:\tgaudi_p2p2\n";
	assert_int_equal(p2p_register(nic, fd, 0, 4096, 0, 0, &mr), -EXDEV);
	fake.fdinfo = "size:\tmany\nexp_name:\tgaudi_p2p\n";
	assert_int_equal(p2p_register(nic, fd, 0, 4096, 0, 0, &mr), -EINVAL);
	fake.fdinfo = "size:\t65536\nexp_name:\thabanalabs\n";
	assert_int_equal(p2p_register(nic, fd, 0, 4096, 0, 0, &mr), 0);
	assert_int_equal(p2p_unregister(mr), 0);
}

static void regions_must_lie_inside_the_dmabuf(void **state)
{
	_cleanup_(p2p_nic_closep) struct p2p_nic *nic = NULL;
	_cleanup_close_ int fd = open_memory();
	struct ibv_mr *mr = NULL;

	(void)state;
	assert_int_equal(p2p_nic_open("/dev/infiniband/uverbs12", &nic), 0);
	assert_int_equal(p2p_register(nic, fd, 0, 0, 0, 0, &mr), -EINVAL);
	assert_int_equal(p2p_register(nic, fd, 0, 65537, 0, 0, &mr), -EINVAL);
	assert_int_equal(p2p_register(nic, fd, 65536, 1, 0, 0, &mr), -EINVAL);
	assert_int_equal(p2p_register(nic, fd, UINT64_MAX, 2, 0, 0, &mr), -EINVAL);
	assert_int_equal(p2p_register(nic, fd, 4096, SIZE_MAX - 4095, 0, 0, &mr), -EINVAL);
	assert_int_equal(p2p_register(nic, fd, 61440, 4096, 0, 0, &mr), 0);
	assert_int_equal(p2p_unregister(mr), 0);
}

static void answer_of_the_kernel_to_register_is_passed_on(void **state)
{
	static const int errors[] = { EPERM, EOPNOTSUPP, ENODEV, 0 };
	_cleanup_(p2p_nic_closep) struct p2p_nic *nic = NULL;
	_cleanup_close_ int fd = open_memory();
	struct ibv_mr *mr = NULL;

	(void)state;
	assert_int_equal(p2p_nic_open("/dev/infiniband/uverbs12", &nic), 0);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		fake.calls = 0;
		fake.fail_at = 2; /* after fdinfo */
		fake.fail_errno = errors[i];
		/* A failure without errno is still a failure. */
		assert_int_equal(p2p_register(nic, fd, 0, 4096, 0, 0, &mr), errors[i] ? -errors[i] : -EIO);
	}
	assert_null(mr);
}

static void gid_is_chosen_by_its_kind(void **state)
{
	static const struct ibv_gid_entry gids[] = {
		{ .gid.raw = { 0xfe, 0x80, [15] = 1 },
		  .gid_index = 0,
		  .port_num = 1,
		  .gid_type = IBV_GID_TYPE_ROCE_V1 },
		{ .gid.raw = { 0xfe, 0x80, [15] = 1 },
		  .gid_index = 1,
		  .port_num = 1,
		  .gid_type = IBV_GID_TYPE_ROCE_V2 },
		{ .gid.raw = { 0xfd, 0x01, [15] = 1 },
		  .gid_index = 2,
		  .port_num = 1,
		  .gid_type = IBV_GID_TYPE_ROCE_V2 },
		{ .gid.raw = { [10] = 0xff, 0xff, 10, 0, 0, 1 },
		  .gid_index = 3,
		  .port_num = 1,
		  .gid_type = IBV_GID_TYPE_ROCE_V1 },
		{ .gid.raw = { [10] = 0xff, 0xff, 10, 0, 0, 1 },
		  .gid_index = 4,
		  .port_num = 1,
		  .gid_type = IBV_GID_TYPE_ROCE_V2 },
	};
	_cleanup_(p2p_nic_closep) struct p2p_nic *nic = NULL;
	struct p2p_gid gid = { .index = 99 };

	(void)state;
	assert_int_equal(p2p_nic_open("/dev/infiniband/uverbs12", &nic), 0);
	fake.gids = gids;
	fake.n_gids = 1;
	assert_int_equal(p2p_nic_gid(nic, &gid), -EADDRNOTAVAIL);
	assert_int_equal(gid.index, 99);
	fake.n_gids = 2;
	assert_int_equal(p2p_nic_gid(nic, &gid), 0);
	assert_int_equal(gid.index, 1);
	fake.n_gids = 4;
	assert_int_equal(p2p_nic_gid(nic, &gid), 0);
	assert_int_equal(gid.index, 2);
	assert_false(gid.is_ipv4);
	fake.n_gids = 5;
	assert_int_equal(p2p_nic_gid(nic, &gid), 0);
	assert_int_equal(gid.index, 4);
	assert_int_equal(gid.mtu, IBV_MTU_1024);
	assert_true(gid.is_ipv4);
	fake.port_state = IBV_PORT_DOWN;
	assert_int_equal(p2p_nic_gid(nic, &gid), -ENETDOWN);
}

static void a_window_is_of_whole_pages_and_seen_by_cpu_and_nic(void **state)
{
	struct p2p_window w = P2P_WINDOW_INIT;
	char why[P2P_WHY_SIZE];

	(void)state;
	setenv("GAUDI_P2P_PAIRS", "/dev/accel/accel3=/dev/infiniband/uverbs12", 1);
	assert_int_equal(p2p_window_open(&w, 0, why, sizeof(why)), 0);
	assert_string_equal(w.pair.uverbs, "/dev/infiniband/uverbs12");
	assert_int_equal(p2p_window_alloc(&w, 4097, why, sizeof(why)), 0);
	assert_int_equal(w.size, 8192);
	assert_int_equal(p2p_memory_size(w.mem), 8192);
	assert_ptr_equal(w.mr, &fake.mr);
	memset(w.map, 0x5a, w.size);
	p2p_window_done(&w);
	assert_int_equal(fake.handles, 0);
	assert_int_equal(fake.mappings, 0);
	/* Once more harms nothing. */
	p2p_window_done(&w);
}

static void a_window_needs_a_gaudi_with_a_nic(void **state)
{
	struct p2p_window w = P2P_WINDOW_INIT;
	char why[P2P_WHY_SIZE];

	(void)state;
	setenv("GAUDI_P2P_PAIRS", "/dev/accel/accel3=", 1);
	assert_int_equal(p2p_window_open(&w, 0, why, sizeof(why)), -ENXIO);
	assert_non_null(strstr(why, "/dev/accel/accel3 has no RDMA NIC"));
	p2p_window_done(&w);
	assert_int_equal(p2p_window_open(&w, 1, why, sizeof(why)), -ERANGE);
	assert_non_null(strstr(why, "fewer Gaudis"));
	p2p_window_done(&w);
}

/* A size that wraps is the driver's to refuse, whatever the page. */
static void a_window_of_absurd_size_is_refused(void **state)
{
	struct p2p_window w = P2P_WINDOW_INIT;
	char why[P2P_WHY_SIZE];

	(void)state;
	setenv("GAUDI_P2P_PAIRS", "/dev/accel/accel3=/dev/infiniband/uverbs12", 1);
	assert_int_equal(p2p_window_open(&w, 0, why, sizeof(why)), 0);
	assert_true(p2p_window_alloc(&w, UINT64_MAX, why, sizeof(why)) < 0);
	p2p_window_done(&w);
}

static void every_failure_of_a_window_is_told_and_leaks_nothing(void **state)
{
	char why[P2P_WHY_SIZE];
	int total = 1;

	(void)state;
	setenv("GAUDI_P2P_PAIRS", "/dev/accel/accel3=/dev/infiniband/uverbs12", 1);
	for (int i = 0; i <= total; i++) {
		struct p2p_window w = P2P_WINDOW_INIT;
		int r;

		why[0] = '\0';
		fake.calls = 0;
		fake.fail_at = i;
		fake.fail_errno = EIO;
		r = p2p_window_open(&w, 0, why, sizeof(why));
		if (r == 0)
			r = p2p_window_alloc(&w, 4096, why, sizeof(why));
		if (i == 0)
			total = fake.calls;
		assert_int_equal(r, i == 0 ? 0 : -EIO);
		assert_true(i == 0 || strncmp(why, "cannot ", 7) == 0);
		p2p_window_done(&w);
		assert_nothing_left();
	}
	assert_true(total >= 10);
}

static void errors_have_words(void **state)
{
	(void)state;
	assert_non_null(strstr(p2p_describe(P2P_ACTION_REGISTER, -EPERM), "another pod"));
	assert_non_null(strstr(p2p_describe(P2P_ACTION_REGISTER, EOPNOTSUPP), "nonrevocable"));
	assert_non_null(strstr(p2p_describe(P2P_ACTION_OPEN, -EBUSY), "another owner"));
	assert_non_null(strstr(p2p_describe(P2P_ACTION_REGISTER, -ENODEV), "gone"));
	assert_non_null(strstr(p2p_describe(P2P_ACTION_REGISTER, -EXDEV), "another driver"));
	assert_non_null(p2p_describe(P2P_ACTION_GID, -ELOOP));
	assert_non_null(p2p_describe(P2P_ACTION_GID, 123456));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(pairs_are_parsed, setup, teardown),
	cmocka_unit_test_setup_teardown(pairs_that_name_no_devices_are_refused, setup, teardown),
	cmocka_unit_test_setup_teardown(environment_names_the_devices, setup, teardown),
	cmocka_unit_test_setup_teardown(information_is_read_with_its_bounds, setup, teardown),
	cmocka_unit_test_setup_teardown(interruptions_are_retried_but_not_for_ever, setup, teardown),
	cmocka_unit_test_setup_teardown(every_failure_is_reported_and_leaks_nothing, setup, teardown),
	cmocka_unit_test_setup_teardown(failed_map_gives_the_handle_back, setup, teardown),
	cmocka_unit_test_setup_teardown(free_after_the_end_of_the_lease_succeeds, setup, teardown),
	cmocka_unit_test_setup_teardown(export_refuses_sizes_that_wrap, setup, teardown),
	cmocka_unit_test_setup_teardown(nic_is_found_by_its_whole_name, setup, teardown),
	cmocka_unit_test_setup_teardown(only_dmabufs_of_gaudis_are_registered, setup, teardown),
	cmocka_unit_test_setup_teardown(regions_must_lie_inside_the_dmabuf, setup, teardown),
	cmocka_unit_test_setup_teardown(answer_of_the_kernel_to_register_is_passed_on, setup, teardown),
	cmocka_unit_test_setup_teardown(gid_is_chosen_by_its_kind, setup, teardown),
	cmocka_unit_test_setup_teardown(a_window_is_of_whole_pages_and_seen_by_cpu_and_nic, setup, teardown),
	cmocka_unit_test_setup_teardown(a_window_needs_a_gaudi_with_a_nic, setup, teardown),
	cmocka_unit_test_setup_teardown(a_window_of_absurd_size_is_refused, setup, teardown),
	cmocka_unit_test_setup_teardown(every_failure_of_a_window_is_told_and_leaks_nothing, setup, teardown),
	cmocka_unit_test_setup_teardown(errors_have_words, setup, teardown),
};

UNIT_MAIN(tests)
