// SPDX-License-Identifier: Apache-2.0
/*
 * The whole daemon where it cannot write: full disks, read-only mounts,
 * directories that are missing or go away. It serves all the same, says once
 * what is wrong and what to do, and makes up for it when it can.
 */
#include "../unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../../device-plugin/daemon.h"
#include "../failopen.h"
#include "../fake_kubelet.h"
#include "../fake_plugin.h"
#include "../fakefs.h"
#include "../sandbox.h"
#include "kubelet/message.h"

#define TREES "tests/unit/sysfs/trees/"
#define GAUDI1 "0000:07:00.0"
#define KUBELET_DIR "var/lib/kubelet/device-plugins"
#define STATE "var/lib/gaudi-p2p"
#define PAIRS STATE "/pairs.json"
#define CDI "var/run/cdi"
#define SPEC CDI "/gaudi-p2p-habana.ai-gaudi.json"
#define LINK "dev/gaudi/by-id/" GAUDI1 "/accel"
#define LIMIT_MS 10000

struct fixture {
	struct fakefs *fs;
	struct loop *loop;
	struct options options;
	struct daemon *daemon;
	struct fake_kubelet *kubelet;
	const struct fake_kubelet_view *view;
	const char *mounted;
	int stderr_fd;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	/* First: a directory that was opened before does not see the mounts that come. */
	(void)sandbox_enter();
	f->fs = fakefs_new();
	fake_plugin_options(f->fs, 50, &f->options);
	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_mkdir(f->fs, "dev");
	fakefs_mkdir(f->fs, KUBELET_DIR);
	fakefs_put(f->fs, "log", "");
	assert_int_equal(loop_new(&f->loop), 0);
	/* What it says is what these tests are about. */
	f->stderr_fd = dup(STDERR_FILENO);
	assert_int_equal(
		dup2(open(fakefs_join(f->fs, "log"), O_WRONLY | O_APPEND | O_CLOEXEC), STDERR_FILENO),
		STDERR_FILENO);
	log_init("test", LOG_LEVEL_INFO, LOG_TEXT);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fake_kubelet_free(f->kubelet);
	daemon_free(f->daemon);
	loop_free(f->loop);
	(void)dup2(f->stderr_fd, STDERR_FILENO);
	(void)close(f->stderr_fd);
	if (f->mounted)
		sandbox_unmount(f->mounted);
	fakefs_free(f->fs);
	free(f);
	return 0;
}

static size_t times_said(struct fixture *f, const char *text)
{
	size_t n = 0;

	for (const char *p = fakefs_get(f->fs, "log"); (p = strstr(p, text)); p++)
		n++;
	return n;
}

/* Fails with what was said so far, in the place where it can be read. */
static void fail_with_log(struct fixture *f, int line, const char *what)
{
	(void)dup2(f->stderr_fd, STDERR_FILENO);
	fail_msg("line %d: %s; log:\n%s", line, what, fakefs_get(f->fs, "log"));
}

#define ASSERT_SAID(f, n, text)                                                     \
	do {                                                                        \
		if (times_said(f, text) != (n))                                     \
			fail_with_log(f, __LINE__, "not said " #n " times: " text); \
	} while (0)

#define WAIT_FOR(f, condition)                                                         \
	do {                                                                           \
		uint64_t end_ = loop_now_ms() + LIMIT_MS;                              \
                                                                                       \
		while (!(condition)) {                                                 \
			assert_true(loop_step((f)->loop, 50) >= 0);                    \
			if (loop_now_ms() > end_)                                      \
				fail_with_log(f, __LINE__, "never came: " #condition); \
		}                                                                      \
	} while (0)

static void mount_at(struct fixture *f, const char *path, const char *options)
{
	if (!sandbox_enter())
		skip();
	fakefs_mkdir(f->fs, path);
	f->mounted = fakefs_join(f->fs, path);
	sandbox_mount(f->mounted, options);
}

static void start_kubelet(struct fixture *f)
{
	f->kubelet = fake_kubelet_new(f->loop, fakefs_join(f->fs, KUBELET_DIR));
	f->view = fake_kubelet_view(f->kubelet);
}

static void start_daemon(struct fixture *f)
{
	assert_int_equal(daemon_new(f->loop, &f->options, &f->daemon), 0);
}

static void scan_often(struct fixture *f)
{
	for (unsigned i = 0; i < 5; i++)
		daemon_scan(f->daemon);
}

/* What Allocate answers for one device; the caller frees. */
static V1beta1__AllocateResponse *allocate(struct fixture *f)
{
	char *ids[] = { (char *)GAUDI1 };
	V1beta1__ContainerAllocateRequest container = V1BETA1__CONTAINER_ALLOCATE_REQUEST__INIT;
	V1beta1__ContainerAllocateRequest *containers[] = { &container };
	V1beta1__AllocateRequest request = V1BETA1__ALLOCATE_REQUEST__INIT;
	ProtobufCMessage *answer = NULL;

	container.n_devices_ids = 1;
	container.devices_ids = ids;
	request.n_container_requests = 1;
	request.container_requests = containers;
	assert_int_equal(fake_kubelet_call(f->kubelet, "Allocate", &request.base,
					   &v1beta1__allocate_response__descriptor, LIMIT_MS, &answer, NULL),
			 0);
	return (V1beta1__AllocateResponse *)answer;
}

static void assert_allocates(struct fixture *f, const char *host_path, size_t n_cdi)
{
	V1beta1__AllocateResponse *answer = allocate(f);
	const V1beta1__ContainerAllocateResponse *container = answer->container_responses[0];

	assert_int_equal(container->n_cdi_devices, n_cdi);
	assert_int_equal(container->n_devices, host_path ? 4 : 0);
	if (host_path)
		assert_string_equal(container->devices[0]->host_path, host_path);
	kubelet_message_free(&answer->base);
}

/* --- one directory that cannot be written --------------------------------------- */

#define PLAIN "/dev/accel/accel1"
#define LINKED "/dev/gaudi/by-id/" GAUDI1 "/accel"

static const struct fault {
	const char *dir;
	enum options_inject inject;
	const char *says;
	/* What a container gets while it lasts, and when it is over. */
	const char *host_path, *host_path_after;
	size_t n_cdi_after;
	const char *made_after; /* what is there when it is over */
} faults[] = {
	{ STATE, INJECT_DEVICES, "pairs.json: cannot write the pairing that cni-rdma needs", LINKED, LINKED,
	  0, PAIRS },
	{ "dev", INJECT_DEVICES, "cannot keep stable links, containers get plain device nodes", PLAIN, LINKED,
	  0, LINK },
	{ CDI, INJECT_CDI, "cannot keep CDI specs, containers get device nodes", LINKED, NULL, 1, SPEC },
};

static bool exists(struct fixture *f, const char *path)
{
	struct stat st;

	return lstat(fakefs_join(f->fs, path), &st) == 0;
}

static void serves_all_the_same(struct fixture *f, const struct fault *fault, const char *remedy,
				const char *mend)
{
	f->options.inject = fault->inject;
	start_kubelet(f);
	start_daemon(f);
	WAIT_FOR(f, daemon_is_registered(f->daemon) && f->view->devices && f->view->devices->n_devices == 2);
	assert_allocates(f, fault->host_path, 0);
	scan_often(f);
	if (times_said(f, fault->says) != 1 || times_said(f, remedy) != 1)
		fail_with_log(f, __LINE__, remedy);
	assert_false(exists(f, fault->made_after));
	sandbox_remount(f->mounted, mend);
	scan_often(f);
	ASSERT_SAID(f, 1, "works again");
	assert_true(exists(f, fault->made_after));
	assert_allocates(f, fault->host_path_after, fault->n_cdi_after);
	assert_true(daemon_is_registered(f->daemon));
}

static void on_full_disk(void **state, const struct fault *fault)
{
	struct fixture *f = *state;
	char filler[128];

	/* Room for the root and one file of one page. */
	mount_at(f, fault->dir, "size=4k,nr_inodes=2");
	(void)snprintf(filler, sizeof(filler), "%s/filler", fault->dir);
	fakefs_put(f->fs, filler, "full");
	serves_all_the_same(f, fault, "make room on that file system: No space left on device",
			    "size=1m,nr_inodes=100");
}

static void on_read_only_mount(void **state, const struct fault *fault)
{
	mount_at(*state, fault->dir, "ro");
	serves_all_the_same(*state, fault, "mount it writable into the container: Read-only file system",
			    "size=1m");
}

static void with_a_full_disk_for_the_pairing_it_serves(void **state)
{
	on_full_disk(state, &faults[0]);
}

static void with_a_full_disk_for_links_it_serves(void **state)
{
	on_full_disk(state, &faults[1]);
}

static void with_a_full_disk_for_cdi_specs_it_serves(void **state)
{
	on_full_disk(state, &faults[2]);
}

static void with_a_read_only_pairing_it_serves(void **state)
{
	on_read_only_mount(state, &faults[0]);
}

static void with_read_only_links_it_serves(void **state)
{
	on_read_only_mount(state, &faults[1]);
}

static void with_read_only_cdi_specs_it_serves(void **state)
{
	on_read_only_mount(state, &faults[2]);
}

/* --- the kubelet's directory ------------------------------------------------------ */

static void it_registers_when_the_kubelets_directory_can_be_written(void **state)
{
	struct fixture *f = *state;

	mount_at(f, KUBELET_DIR, "size=1m");
	start_kubelet(f);
	sandbox_remount(f->mounted, "ro,size=1m");
	start_daemon(f);
	WAIT_FOR(f, times_said(f, "cannot register with the kubelet") > 0);
	for (unsigned i = 0; i < 20; i++)
		assert_true(loop_step(f->loop, 50) >= 0);
	ASSERT_SAID(f, 1, "Read-only file system");
	sandbox_remount(f->mounted, "size=1m");
	WAIT_FOR(f, daemon_is_registered(f->daemon));
}

/* --- directories that are not there ----------------------------------------------- */

static void missing_directories_are_made(void **state)
{
	struct fixture *f = *state;

	f->options.inject = INJECT_BOTH;
	start_kubelet(f);
	start_daemon(f);
	WAIT_FOR(f, daemon_is_registered(f->daemon));
	assert_true(exists(f, PAIRS));
	assert_true(exists(f, LINK));
	assert_true(exists(f, SPEC));
	assert_allocates(f, LINKED, 1);
	ASSERT_SAID(f, 0, "error");
}

static void directories_that_go_away_come_back(void **state)
{
	struct fixture *f = *state;

	f->options.inject = INJECT_BOTH;
	start_kubelet(f);
	start_daemon(f);
	WAIT_FOR(f, daemon_is_registered(f->daemon));
	fakefs_remove(f->fs, STATE);
	fakefs_remove(f->fs, "dev/gaudi");
	fakefs_remove(f->fs, "var/run");
	daemon_scan(f->daemon);
	assert_true(exists(f, PAIRS));
	assert_true(exists(f, LINK));
	assert_true(exists(f, SPEC));
	assert_allocates(f, LINKED, 1);
}

static void what_a_killed_plugin_left_half_written_goes(void **state)
{
	struct fixture *f = *state;

	fakefs_put(f->fs, STATE "/.pairs.json.0123456789abcdef", "{");
	fakefs_put(f->fs, CDI "/.gaudi-p2p-habana.ai-gaudi.json.0123456789abcdef", "{");
	start_daemon(f);
	assert_false(exists(f, STATE "/.pairs.json.0123456789abcdef"));
	assert_false(exists(f, CDI "/.gaudi-p2p-habana.ai-gaudi.json.0123456789abcdef"));
}

static void without_a_dev_it_gives_plain_nodes_until_there_is_one(void **state)
{
	struct fixture *f = *state;

	fakefs_remove(f->fs, "dev");
	start_kubelet(f);
	start_daemon(f);
	WAIT_FOR(f, daemon_is_registered(f->daemon));
	assert_allocates(f, PLAIN, 0);
	scan_often(f);
	ASSERT_SAID(f, 1, "cannot keep stable links");
	fakefs_mkdir(f->fs, "dev");
	daemon_scan(f->daemon);
	ASSERT_SAID(f, 1, "works again");
	assert_allocates(f, LINKED, 0);
}

static void something_in_the_way_is_named(void **state)
{
	struct fixture *f = *state;

	f->options.inject = INJECT_CDI;
	fakefs_put(f->fs, "dev/gaudi", "a file");
	fakefs_put(f->fs, CDI, "a file");
	start_kubelet(f);
	start_daemon(f);
	WAIT_FOR(f, daemon_is_registered(f->daemon));
	assert_allocates(f, PLAIN, 0);
	scan_often(f);
	ASSERT_SAID(f, 2, "move what is in its place out of the way: Not a directory");
}

/* Of a look at sysfs and what follows from it, each file in turn cannot be opened. */
static void for_want_of_descriptors_no_device_is_given_up(void **state)
{
	struct fixture *f = *state;
	unsigned long n = 0;

	start_kubelet(f);
	start_daemon(f);
	WAIT_FOR(f, daemon_is_registered(f->daemon));
	for (bool more = true; more; n++) {
		failopen_arm(n, ENFILE);
		daemon_scan(f->daemon);
		more = failopen_disarm();
		ASSERT_SAID(f, 0, ": unhealthy");
		ASSERT_SAID(f, 0, "gone");
	}
	assert_true(n > 20);
	ASSERT_SAID(f, 1,
		    "cannot scan sysfs, going on with what was seen before: Too many open files in system");
	ASSERT_SAID(f, 1, "cannot scan sysfs, going on with what was seen before: works again");
	assert_allocates(f, LINKED, 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(with_a_full_disk_for_the_pairing_it_serves),
	test(with_a_full_disk_for_links_it_serves),
	test(with_a_full_disk_for_cdi_specs_it_serves),
	test(with_a_read_only_pairing_it_serves),
	test(with_read_only_links_it_serves),
	test(with_read_only_cdi_specs_it_serves),
	test(it_registers_when_the_kubelets_directory_can_be_written),
	test(missing_directories_are_made),
	test(directories_that_go_away_come_back),
	test(what_a_killed_plugin_left_half_written_goes),
	test(without_a_dev_it_gives_plain_nodes_until_there_is_one),
	test(something_in_the_way_is_named),
	test(for_want_of_descriptors_no_device_is_given_up),
};

UNIT_MAIN(tests)
