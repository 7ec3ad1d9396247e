// SPDX-License-Identifier: Apache-2.0
/* What the plugin leaves on a node, and that --uninstall takes all of it and nothing else. */
#include "../unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../../device-plugin/daemon.h"
#include "../../../device-plugin/removal.h"
#include "../failalloc.h"
#include "../failopen.h"
#include "../fake_plugin.h"
#include "../fakefs.h"
#include "../sandbox.h"
#include "sysfs/pairs.h"

#define TREES "tests/unit/sysfs/trees/"
#define GAUDI1 "0000:07:00.0"
#define KUBELET_DIR "var/lib/kubelet/device-plugins"
#define REGISTRY_DIR "var/lib/kubelet/plugins_registry"
#define STATE "var/lib/gaudi-p2p"
#define PAIRS STATE "/pairs.json"
#define CDI "var/run/cdi"
#define SPEC CDI "/gaudi-p2p-habana.ai-gaudi.json"
#define BY_ID "dev/gaudi/by-id"
#define LINK BY_ID "/" GAUDI1 "/accel"

/* What the kubelet says: pods of one device each. */
static struct {
	int error;
	size_t n;
	const char *pods[4], *resources[4];
	unsigned asked;
} kubelet;

static int list_pods(const char *socket, V1__ListPodResourcesResponse **ret, char *why, size_t size)
{
	V1__ListPodResourcesResponse *list;

	assert_non_null(strstr(socket, "/var/lib/kubelet/pod-resources/kubelet.sock"));
	kubelet.asked++;
	if (kubelet.error) {
		(void)snprintf(why, size, "no answer");
		return kubelet.error;
	}
	failalloc_pause();
	list = calloc(1, sizeof(*list));
	v1__list_pod_resources_response__init(list);
	list->n_pod_resources = kubelet.n;
	list->pod_resources = kubelet.n ? calloc(kubelet.n, sizeof(*list->pod_resources)) : NULL;
	for (size_t i = 0; i < kubelet.n; i++) {
		V1__PodResources *pod = calloc(1, sizeof(*pod));
		V1__ContainerResources *container = calloc(1, sizeof(*container));
		V1__ContainerDevices *devices = calloc(1, sizeof(*devices));

		v1__pod_resources__init(pod);
		v1__container_resources__init(container);
		v1__container_devices__init(devices);
		devices->resource_name = strdup(kubelet.resources[i]);
		devices->n_device_ids = 1;
		devices->device_ids = calloc(1, sizeof(char *));
		devices->device_ids[0] = strdup(GAUDI1);
		container->n_devices = 1;
		container->devices = calloc(1, sizeof(devices));
		container->devices[0] = devices;
		pod->name = strdup(kubelet.pods[i]);
		pod->namespace_ = strdup("team");
		pod->n_containers = 1;
		pod->containers = calloc(1, sizeof(container));
		pod->containers[0] = container;
		list->pod_resources[i] = pod;
	}
	failalloc_resume();
	*ret = list;
	return 0;
}

struct fixture {
	struct fakefs *fs;
	struct options options;
	struct removal removal;
	char before[64 << 10]; /* the tree without us */
};

/* Every file below the root, with its type and mode. */
static char *tree_text;
static size_t tree_used, tree_skip;

static int add_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)type;
	(void)ftw;
	tree_used += (size_t)snprintf(
		tree_text + tree_used, sizeof(((struct fixture *)0)->before) - tree_used, "%s %o %ld\n",
		path + tree_skip, st->st_mode, S_ISREG(st->st_mode) ? (long)st->st_size : 0L);
	return tree_used < sizeof(((struct fixture *)0)->before) ? 0 : -1;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* text has sizeof(before) bytes. */
static void describe(struct fixture *f, char *text)
{
	static char unsorted[sizeof(f->before)];
	char *lines[4096], *rest = unsorted, *line;
	size_t n = 0;

	tree_text = unsorted;
	tree_used = 0;
	tree_skip = strlen(fakefs_path(f->fs));
	assert_int_equal(nftw(fakefs_path(f->fs), add_file, 16, FTW_PHYS), 0);
	while ((line = strsep(&rest, "\n")) && *line) {
		assert_true(n < ARRAY_SIZE(lines));
		lines[n++] = line;
	}
	qsort(lines, n, sizeof(*lines), compare);
	text[0] = '\0';
	for (size_t i = 0; i < n; i++)
		text = stpcpy(stpcpy(text, lines[i]), "\n");
}

static void assert_as_before(struct fixture *f)
{
	static char now[sizeof(f->before)];

	describe(f, now);
	assert_string_equal(now, f->before);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	memset(&kubelet, 0, sizeof(kubelet));
	/* First: a directory that was opened before does not see the mounts that come. */
	(void)sandbox_enter();
	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	f->fs = fakefs_new();
	fake_plugin_options(f->fs, 1000, &f->options);
	f->options.inject = INJECT_BOTH;
	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_mkdir(f->fs, "dev");
	fakefs_mkdir(f->fs, CDI);
	fakefs_mkdir(f->fs, KUBELET_DIR);
	fakefs_mkdir(f->fs, REGISTRY_DIR);
	f->removal = (struct removal){ .options = &f->options, .list = list_pods };
	describe(f, f->before);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fakefs_free(f->fs);
	free(f);
	return 0;
}

/* A socket that somebody serves, or has served. */
static int serve(struct fixture *f, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", fakefs_join(f->fs, path));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* A plugin that ran here and was killed. */
static void run_plugin(struct fixture *f)
{
	struct loop *loop;
	struct daemon *daemon;

	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(daemon_new(loop, &f->options, &daemon), 0);
	daemon_free(daemon);
	loop_free(loop);
	assert_non_null(strstr(fakefs_get(f->fs, PAIRS), "pairs"));
	assert_non_null(strstr(fakefs_get(f->fs, SPEC), "cdiVersion"));
	assert_int_equal(faccessat(fakefs_root(f->fs), LINK, F_OK, AT_SYMLINK_NOFOLLOW), 0);
	(void)close(serve(f, KUBELET_DIR "/gaudi-p2p-gaudi-1-1.sock"));
	(void)close(serve(f, REGISTRY_DIR "/gaudi-p2p-rdma-1-1.sock"));
}

static void check_step(struct fixture *f, int line, enum report_outcome outcome, const char *words)
{
	struct report report = { 0 };

	removal_step(&f->removal, &report);
	if (report.outcome != outcome || !strstr(report.text, words))
		fail_msg("line %d: outcome %d, \"%s\"", line, (int)report.outcome, report.text);
}

#define STEP(f, outcome, words) check_step(f, __LINE__, outcome, words)

static void all_that_it_left_goes(void **state)
{
	struct fixture *f = *state;

	run_plugin(f);
	fakefs_put(f->fs, PAIRS ".bad", "{");
	fakefs_put(f->fs, STATE "/.pairs.json.0123456789abcdef", "{");
	fakefs_put(f->fs, CDI "/gaudi-p2p-former.example-card.json", "{}");
	fakefs_put(f->fs, CDI "/.gaudi-p2p-habana.ai-gaudi.json.0123456789abcdef", "{");
	fakefs_link(f->fs, BY_ID "/" GAUDI1 "/.new", "x");
	fakefs_mkdir(f->fs, BY_ID "/0000:99:00.0");
	STEP(f, REPORT_DONE, "nothing of the device plugin is on this node");
	assert_as_before(f);
	STEP(f, REPORT_DONE, "nothing");
	assert_as_before(f);
}

static void a_node_without_it_is_not_touched_and_nobody_asked(void **state)
{
	struct fixture *f = *state;

	kubelet.error = -ENOENT;
	STEP(f, REPORT_DONE, "nothing");
	fakefs_remove(f->fs, "var");
	fakefs_remove(f->fs, "dev");
	STEP(f, REPORT_DONE, "nothing");
	assert_int_equal(kubelet.asked, 0);
}

static void what_is_left_can_be_asked_for(void **state)
{
	static const char *const left[] = {
		LINK,
		SPEC,
		PAIRS,
		PAIRS ".bad",
		KUBELET_DIR "/gaudi-p2p-x.sock",
		REGISTRY_DIR "/gaudi-p2p-x.sock",
		BY_ID "/x/",
		BY_ID "/",
		"dev/gaudi/",
		STATE "/",
	};
	struct fixture *f = *state;

	f->removal.look = true;
	for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
		char folder[64];

		(void)snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(left[i], '/') - left[i]),
			       left[i]);
		STEP(f, REPORT_DONE, "nothing");
		if (left[i][strlen(left[i]) - 1] == '/')
			fakefs_mkdir(f->fs, folder);
		else if (strcmp(left[i], LINK) == 0)
			fakefs_link(f->fs, left[i], "x");
		else
			fakefs_put(f->fs, left[i], "");
		STEP(f, REPORT_MISSING, "is still there");
		STEP(f, REPORT_MISSING, "is still there");
		fakefs_remove(f->fs, strncmp(left[i], "dev", 3) == 0		   ? "dev/gaudi"
				     : strncmp(left[i], STATE, strlen(STATE)) == 0 ? STATE
										   : left[i]);
	}
	assert_as_before(f);
	assert_int_equal(kubelet.asked, 0);
}

/* The order in which programs go does not matter: the folder goes with the last of them. */
static void files_of_others_stay(void **state)
{
	static const char *const foreign[] = {
		STATE "/driver-loader/loaded",
		CDI "/nvidia.yaml",
		CDI "/x-gaudi-p2p-.json",
		KUBELET_DIR "/kubelet_internal_checkpoint",
		KUBELET_DIR "/other.sock",
		BY_ID "/" GAUDI1 "/notes",
		BY_ID "/x/accel", /* no link */
		"dev/gaudi/notes",
		CDI "/gaudi-p2p-folder/file",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		fakefs_put(f->fs, foreign[i], "mine");
	describe(f, f->before);
	run_plugin(f);
	STEP(f, REPORT_DONE, "nothing");
	assert_as_before(f);
	f->removal.look = true;
	STEP(f, REPORT_DONE, "nothing");
}

static void links_in_the_place_of_our_folders_are_not_followed(void **state)
{
	struct fixture *f = *state;

	/* Names as ours, in folders of somebody else. */
	fakefs_link(f->fs, "srv/victim/accel", "x");
	fakefs_link(f->fs, "srv/victim/uverbs", "x");
	fakefs_link(f->fs, "srv/by-id/0000:01:00.0/accel", "x");
	fakefs_mkdir(f->fs, BY_ID);
	fakefs_link(f->fs, BY_ID "/0000:01:00.0", "../../../srv/victim");
	fakefs_put(f->fs, "srv/spec", "mine");
	describe(f, f->before);
	fakefs_link(f->fs, CDI "/gaudi-p2p-x.json", "../../../srv/spec");
	STEP(f, REPORT_DONE, "nothing");
	assert_as_before(f);
	fakefs_remove(f->fs, BY_ID);
	fakefs_link(f->fs, BY_ID, "../../srv/by-id");
	describe(f, f->before);
	STEP(f, REPORT_DONE, "nothing");
	assert_as_before(f);
	fakefs_remove(f->fs, "dev/gaudi");
	fakefs_link(f->fs, "dev/gaudi", "../srv");
	describe(f, f->before);
	STEP(f, REPORT_DONE, "nothing");
	assert_as_before(f);
}

static void a_folder_is_ours_by_its_name_only(void **state)
{
	struct fixture *f = *state;

	fakefs_mkdir(f->fs, "srv/data");
	(void)snprintf(f->options.state_dir, sizeof(f->options.state_dir), "%s",
		       fakefs_join(f->fs, "srv/data"));
	describe(f, f->before);
	fakefs_put(f->fs, "srv/data/pairs.json", "{}");
	STEP(f, REPORT_DONE, "nothing");
	assert_as_before(f);
}

static void a_plugin_that_runs_would_make_it_anew(void **state)
{
	static const char *const sockets[] = { KUBELET_DIR "/gaudi-p2p-gaudi-2-1.sock",
					       REGISTRY_DIR "/gaudi-p2p-gaudi-2-1.sock" };
	struct fixture *f = *state;

	run_plugin(f);
	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++) {
		int fd = serve(f, sockets[i]);

		STEP(f, REPORT_IN_USE, "a device plugin still runs on this node");
		assert_non_null(fakefs_get(f->fs, PAIRS));
		assert_int_equal(faccessat(fakefs_root(f->fs), LINK, F_OK, AT_SYMLINK_NOFOLLOW), 0);
		(void)close(fd);
	}
	STEP(f, REPORT_DONE, "nothing");
	assert_as_before(f);
}

static void pods_with_devices_are_named_and_waited_for(void **state)
{
	struct fixture *f = *state;
	static char long_name[600];

	run_plugin(f);
	kubelet.n = 3;
	kubelet.pods[0] = "job-0";
	kubelet.resources[0] = "habana.ai/gaudi";
	kubelet.pods[1] = "other";
	kubelet.resources[1] = "example.com/gaudi";
	kubelet.pods[2] = "job-1";
	kubelet.resources[2] = "habana.ai/rdma";
	STEP(f, REPORT_IN_USE,
	     "2 pods of this node have habana.ai/gaudi or habana.ai/rdma (team/job-0, team/job-1)");
	assert_non_null(fakefs_get(f->fs, PAIRS));
	kubelet.n = 2;
	STEP(f, REPORT_IN_USE,
	     "1 pod of this node has habana.ai/gaudi or habana.ai/rdma (team/job-0); nothing");
	memset(long_name, 'x', sizeof(long_name) - 1);
	kubelet.pods[0] = long_name;
	kubelet.resources[1] = "habana.ai/gaudi";
	STEP(f, REPORT_IN_USE, "2 pods of this node have");
	kubelet.error = -ECONNREFUSED;
	STEP(f, REPORT_WAIT, "cannot ask the kubelet which pods have devices");
	STEP(f, REPORT_WAIT, "no answer; nothing was taken away");
	kubelet.error = 0;
	kubelet.n = 0;
	STEP(f, REPORT_DONE, "nothing");
	assert_as_before(f);
	/* No kubelet, nobody to ask. */
	run_plugin(f);
	kubelet.asked = 0;
	strcpy(f->options.podresources, "none");
	STEP(f, REPORT_DONE, "nothing");
	assert_int_equal(kubelet.asked, 0);
	assert_as_before(f);
}

static void nics_that_are_with_pods_are_waited_for(void **state)
{
	struct fixture *f = *state;
	struct pairs *pairs = pairs_new("paired");
	/* One by its PCI function, and a Soft-RoCE link by its name alone, as in-pod.tree has them; one that is gone. */
	const struct pairs_nic hard = { .pci = "0000:03:00.0", .rdma = "mlx5_0", .uverbs = "uverbs0" },
			       soft = { .pci = "0000:04:00.0", .rdma = "rxe0", .uverbs = "uverbs1" },
			       gone = { .pci = "0000:55:00.0", .rdma = "mlx5_9" };

	assert_int_equal(pairs_add(pairs, "0000:01:00.0", &hard), 0);
	assert_int_equal(pairs_add(pairs, "0000:02:00.0", &soft), 0);
	assert_int_equal(pairs_add(pairs, "0000:54:00.0", &gone), 0);
	assert_int_equal(pairs_add(pairs, "0000:66:00.0", NULL), 0);
	fakefs_remove(f->fs, "sys");
	fakefs_load(f->fs, TREES "in-pod.tree");
	describe(f, f->before);
	fakefs_mkdir(f->fs, STATE);
	assert_int_equal(pairs_save(fakefs_join(f->fs, PAIRS), pairs), 0);
	pairs_free(pairs);
	STEP(f, REPORT_IN_USE, "NICs are with pods (0000:03:00.0, 0000:04:00.0)");
	assert_non_null(fakefs_get(f->fs, PAIRS));
	strcpy(f->options.sysfs_root, "/nonexistent");
	STEP(f, REPORT_FAILED, "/nonexistent: cannot look for NICs (--sysfs-root)");
	/* What cni-rdma cannot read helps it nothing. */
	fakefs_put(f->fs, PAIRS, "{");
	STEP(f, REPORT_DONE, "nothing");
	assert_as_before(f);
}

static void what_cannot_be_removed_is_told(void **state)
{
	static const struct {
		const char *path, *words;
	} cases[] = {
		{ "dev", "cannot remove the links in " },
		{ CDI, "cannot remove files in " },
		{ STATE, "mount that folder writable" },
	};
	struct fixture *f = *state;

	if (!sandbox_enter())
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		run_plugin(f);
		sandbox_bind(fakefs_join(f->fs, cases[i].path), fakefs_join(f->fs, cases[i].path), true);
		STEP(f, REPORT_FAILED, cases[i].words);
		sandbox_unmount(fakefs_join(f->fs, cases[i].path));
		STEP(f, REPORT_DONE, "nothing");
		assert_as_before(f);
	}
	/* As in the plugin's own pod, where the folders themselves are mounted. */
	run_plugin(f);
	sandbox_bind(fakefs_join(f->fs, "dev/gaudi"), fakefs_join(f->fs, "dev/gaudi"), false);
	sandbox_bind(fakefs_join(f->fs, STATE), fakefs_join(f->fs, STATE), false);
	STEP(f, REPORT_FAILED, "mount the folder above it in its place");
	sandbox_unmount(fakefs_join(f->fs, "dev/gaudi"));
	STEP(f, REPORT_FAILED, "it is mounted here: mount the folder above it in its place");
	sandbox_unmount(fakefs_join(f->fs, STATE));
	STEP(f, REPORT_DONE, "nothing");
	assert_as_before(f);
}

static void nothing_is_taken_for_gone_that_cannot_be_looked_at(void **state)
{
	struct fixture *f = *state;
	unsigned long n = 0;
	bool more = true;

	f->removal.look = true;
	run_plugin(f);
	for (; more; n++) {
		struct report report = { 0 };

		failopen_arm(n, EMFILE);
		removal_step(&f->removal, &report);
		more = failopen_disarm();
		assert_true(report.outcome == REPORT_MISSING || report.outcome == REPORT_FAILED);
	}
	assert_true(n > 3);
}

static void whatever_fails_the_next_step_ends_it(void **state)
{
	struct fixture *f = *state;
	unsigned long n = 0, broken = 0;
	bool more = true;

	for (; more; n++) {
		struct report report = { 0 };

		run_plugin(f);
		failopen_arm(n, EMFILE);
		removal_step(&f->removal, &report);
		more = failopen_disarm();
		broken += report.outcome != REPORT_DONE;
		STEP(f, REPORT_DONE, "nothing");
		assert_as_before(f);
		run_plugin(f);
		failalloc_arm(n);
		failalloc_resume();
		removal_step(&f->removal, &report);
		failalloc_pause();
		more = failalloc_disarm() || more;
		broken += report.outcome != REPORT_DONE;
		STEP(f, REPORT_DONE, "nothing");
		assert_as_before(f);
	}
	assert_true(n > 20 && broken > 20);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
	T(all_that_it_left_goes),
	T(a_node_without_it_is_not_touched_and_nobody_asked),
	T(what_is_left_can_be_asked_for),
	T(files_of_others_stay),
	T(links_in_the_place_of_our_folders_are_not_followed),
	T(a_folder_is_ours_by_its_name_only),
	T(a_plugin_that_runs_would_make_it_anew),
	T(pods_with_devices_are_named_and_waited_for),
	T(nics_that_are_with_pods_are_waited_for),
	T(what_cannot_be_removed_is_told),
	T(nothing_is_taken_for_gone_that_cannot_be_looked_at),
	T(whatever_fails_the_next_step_ends_it),
};

UNIT_MAIN(tests)
