// SPDX-License-Identifier: Apache-2.0
/* Both ways to become known to the kubelet. Restarts of the kubelet in the first are in test_service. */
#include "../unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../../device-plugin/daemon.h"
#include "../../../device-plugin/registrar.h"
#include "../fake_kubelet.h"
#include "../fake_plugin.h"
#include "../fakefs.h"

#define GAUDI0 "0000:03:00.0"
#define NIC0 "0000:04:00.0"
#define KUBELET_DIR "var/lib/kubelet/device-plugins"
#define REGISTRY_DIR "var/lib/kubelet/plugins_registry"
#define LIMIT_MS 20000

struct fixture {
	struct fakefs *fs;
	struct loop *loop;
	struct options options;
	struct daemon *daemon;
	struct fake_kubelet *kubelet;
	const struct fake_kubelet_view *view;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	f->fs = fakefs_new();
	fake_plugin_options(f->fs, 50, &f->options);
	fakefs_load(f->fs, "tests/unit/sysfs/trees/lab.tree");
	fakefs_mkdir(f->fs, "dev");
	assert_int_equal(loop_new(&f->loop), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fake_kubelet_free(f->kubelet);
	daemon_free(f->daemon);
	loop_free(f->loop);
	fakefs_free(f->fs);
	free(f);
	return 0;
}

/* A kubelet whose own sockets are in dir; nothing is deleted there. */
static void start_kubelet(struct fixture *f, const char *dir)
{
	fake_kubelet_free(TAKE_PTR(f->kubelet));
	fakefs_mkdir(f->fs, dir);
	f->kubelet = fake_kubelet_new(f->loop, fakefs_join(f->fs, dir));
	f->view = fake_kubelet_view(f->kubelet);
}

static void start_daemon(struct fixture *f, enum options_registration how)
{
	f->options.registration = how;
	assert_int_equal(daemon_new(f->loop, &f->options, &f->daemon), 0);
}

#define WAIT_FOR(f, condition)                                                             \
	do {                                                                               \
		uint64_t end_ = loop_now_ms() + LIMIT_MS;                                  \
                                                                                           \
		while (!(condition)) {                                                     \
			assert_true(loop_step((f)->loop, 50) >= 0);                        \
			if (loop_now_ms() > end_)                                          \
				fail_msg("line %d: never came: %s", __LINE__, #condition); \
		}                                                                          \
	} while (0)

static void run_for(struct fixture *f, unsigned ms)
{
	for (uint64_t end = loop_now_ms() + ms; loop_now_ms() < end;)
		assert_true(loop_step(f->loop, 20) >= 0);
}

static bool exists(struct fixture *f, const char *path)
{
	return access(fakefs_join(f->fs, path), F_OK) == 0;
}

static unsigned count_offers(struct fixture *f)
{
	return fake_kubelet_offers(fakefs_join(f->fs, REGISTRY_DIR), "gaudi", NULL, 0);
}

/* The path of the socket that serves "gaudi" or "rdma" to the plugin watcher; "": there is none. */
static const char *offer(struct fixture *f, const char *what)
{
	static char path[512];

	(void)fake_kubelet_offers(fakefs_join(f->fs, REGISTRY_DIR), what, path, sizeof(path));
	return path;
}

static bool offers(struct fixture *f, const char *what)
{
	return offer(f, what)[0] != '\0';
}

static void find(struct fixture *f, const char *what, const char *refusal)
{
	WAIT_FOR(f, offers(f, what));
	fake_kubelet_find(f->kubelet, offer(f, what), refusal);
}

static bool listed(const struct fixture *f, const char *id)
{
	const V1beta1__ListAndWatchResponse *list = f->view->devices;

	for (size_t i = 0; list && i < list->n_devices; i++)
		if (strcmp(list->devices[i]->id, id) == 0)
			return true;
	return false;
}

/* The plugin watcher of a kubelet that serves elsewhere finds the Gaudis' socket. */
static void be_found(struct fixture *f)
{
	start_kubelet(f, "run");
	find(f, "gaudi", NULL);
	WAIT_FOR(f, listed(f, GAUDI0) && daemon_is_registered(f->daemon));
}

static void start_and_be_found(struct fixture *f)
{
	fakefs_mkdir(f->fs, REGISTRY_DIR);
	start_daemon(f, REGISTRATION_WATCHER);
	be_found(f);
}

static void the_plugin_watcher_finds_it(void **state)
{
	struct fixture *f = *state;
	_cleanup_message_ V1beta1__AllocateResponse *response = NULL;
	char *ids[] = { (char *)GAUDI0 };
	V1beta1__ContainerAllocateRequest container = V1BETA1__CONTAINER_ALLOCATE_REQUEST__INIT;
	V1beta1__ContainerAllocateRequest *containers[] = { &container };
	V1beta1__AllocateRequest request = V1BETA1__ALLOCATE_REQUEST__INIT;

	fakefs_mkdir(f->fs, KUBELET_DIR); /* not to be used */
	fakefs_mkdir(f->fs, REGISTRY_DIR);
	start_daemon(f, REGISTRATION_WATCHER);
	run_for(f, 100);
	assert_false(daemon_is_registered(f->daemon));
	be_found(f);
	assert_string_equal(f->view->resource, "habana.ai/gaudi");
	assert_true(f->view->pre_start_required);
	assert_true(f->view->preferred_available);
	assert_int_equal(f->view->n_registered, 0); /* not in the other way too */
	container.n_devices_ids = 1;
	container.devices_ids = ids;
	request.n_container_requests = 1;
	request.container_requests = containers;
	assert_int_equal(fake_kubelet_call(f->kubelet, "Allocate", &request.base,
					   &v1beta1__allocate_response__descriptor, 5000,
					   (ProtobufCMessage **)&response, NULL),
			 0);
	assert_int_equal(response->n_container_responses, 1);
}

static void both_resources_are_found(void **state)
{
	struct fixture *f = *state;

	fakefs_mkdir(f->fs, REGISTRY_DIR);
	f->options.pairing = "separate";
	start_daemon(f, REGISTRATION_WATCHER);
	be_found(f);
	find(f, "rdma", NULL);
	assert_string_equal(f->view->resource, "habana.ai/rdma");
	WAIT_FOR(f, listed(f, NIC0));
}

static void a_refusal_of_the_plugin_watcher_is_outlived(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *before = NULL;

	fakefs_mkdir(f->fs, REGISTRY_DIR);
	start_daemon(f, REGISTRATION_WATCHER);
	start_kubelet(f, "run");
	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	find(f, "gaudi", "no such version");
	assert_false(daemon_is_registered(f->daemon));
	before = strdup(offer(f, "gaudi"));
	/* The kubelet tries again by itself. */
	find(f, "gaudi", NULL);
	WAIT_FOR(f, listed(f, GAUDI0) && daemon_is_registered(f->daemon));
	assert_string_equal(offer(f, "gaudi"), before);
}

/* One that restarts finds the socket, which nobody made anew meanwhile. */
static void a_restarted_kubelet_finds_the_same_socket(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *before = NULL;

	start_and_be_found(f);
	before = strdup(offer(f, "gaudi"));
	for (unsigned i = 0; i < 5; i++) {
		fake_kubelet_free(TAKE_PTR(f->kubelet));
		WAIT_FOR(f, !daemon_is_registered(f->daemon));
		be_found(f);
		assert_string_equal(offer(f, "gaudi"), before);
	}
}

/* A kubelet that lives on looks only at new sockets. */
static void a_stream_that_ends_without_a_restart_is_offered_again(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *before = NULL;
	uint64_t begun;

	start_and_be_found(f);
	before = strdup(offer(f, "gaudi"));
	begun = loop_now_ms();
	fake_kubelet_stop_watching(f->kubelet);
	WAIT_FOR(f, offers(f, "gaudi") && strcmp(offer(f, "gaudi"), before) != 0);
	/* Sooner than to one that has not come at all: devices are unhealthy meanwhile. */
	assert_true(loop_now_ms() - begun < 2500);
	be_found(f);
}

static void a_deleted_socket_is_offered_again(void **state)
{
	struct fixture *f = *state;

	start_and_be_found(f);
	assert_int_equal(unlink(offer(f, "gaudi")), 0);
	be_found(f);
	/* The whole folder, below a parent that was renamed, which makes no event. */
	assert_int_equal(rename(fakefs_join(f->fs, "var/lib/kubelet"), fakefs_join(f->fs, "var/lib/old")), 0);
	run_for(f, 100);
	fakefs_mkdir(f->fs, REGISTRY_DIR);
	be_found(f);
}

static void a_folder_that_comes_late_is_used(void **state)
{
	struct fixture *f = *state;

	start_daemon(f, REGISTRATION_WATCHER);
	run_for(f, 100);
	fakefs_mkdir(f->fs, REGISTRY_DIR);
	be_found(f);
}

static int socket_at(struct fixture *f, const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(address->sun_path, sizeof(address->sun_path), "%.107s", fakefs_join(f->fs, path));
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* backlog -1: nobody listens. */
static int bind_at(struct fixture *f, const char *path, int backlog)
{
	struct sockaddr_un address;
	int fd = socket_at(f, path, &address);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (backlog >= 0)
		assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static int connect_to(struct fixture *f, const char *path)
{
	struct sockaddr_un address;
	int fd = socket_at(f, path, &address);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void only_sockets_of_the_dead_are_removed(void **state)
{
	const char *dead[] = { REGISTRY_DIR "/gaudi-p2p-gaudi-1-1.sock",
			       REGISTRY_DIR "/gaudi-p2p-rdma-1-1.sock" /* no longer offered */ },
		   *lives = REGISTRY_DIR "/gaudi-p2p-gaudi-2-1.sock",
		   *busy = REGISTRY_DIR "/gaudi-p2p-gaudi-3-1.sock",
		   *foreign = REGISTRY_DIR "/other-1-1.sock";
	struct fixture *f = *state;
	_cleanup_close_ int fd = -EBADF, full = -EBADF, peer = -EBADF;

	fakefs_mkdir(f->fs, REGISTRY_DIR);
	for (size_t i = 0; i < ARRAY_SIZE(dead); i++)
		(void)close(bind_at(f, dead[i], -1));
	(void)close(bind_at(f, foreign, -1));
	fd = bind_at(f, lives, 1);
	full = bind_at(f, busy, 0);
	peer = connect_to(f, busy); /* the queue has room for one */
	start_daemon(f, REGISTRATION_WATCHER);
	for (size_t i = 0; i < ARRAY_SIZE(dead); i++)
		assert_false(exists(f, dead[i]));
	assert_true(exists(f, lives));
	assert_true(exists(f, busy));
	assert_true(exists(f, foreign));
}

/* Both of an upgrade run for a while, and neither is in the other's way. */
static void a_living_predecessor_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct daemon *old;
	_cleanup_free_ char *before = NULL;

	start_and_be_found(f);
	old = f->daemon;
	before = strdup(offer(f, "gaudi"));
	start_daemon(f, REGISTRATION_WATCHER);
	WAIT_FOR(f, count_offers(f) == 2);
	assert_int_equal(access(before, F_OK), 0);
	assert_true(daemon_is_registered(old));
	daemon_free(old);
	assert_int_equal(count_offers(f), 1);
	be_found(f);
}

static void the_end_takes_the_socket_away(void **state)
{
	struct fixture *f = *state;

	start_and_be_found(f);
	daemon_free(TAKE_PTR(f->daemon));
	assert_false(offers(f, "gaudi"));
}

static void automatic_registers_where_there_is_a_folder_for_it(void **state)
{
	struct fixture *f = *state;

	fakefs_mkdir(f->fs, REGISTRY_DIR);
	fakefs_mkdir(f->fs, KUBELET_DIR);
	start_daemon(f, REGISTRATION_AUTO);
	/* Also while the kubelet is away: it would find both. */
	run_for(f, 100);
	assert_false(offers(f, "gaudi"));
	start_kubelet(f, KUBELET_DIR);
	WAIT_FOR(f, daemon_is_registered(f->daemon) && listed(f, GAUDI0));
	assert_int_equal(f->view->n_registered, 1);
	assert_false(offers(f, "gaudi"));
	/* And it stays, when the folders are made anew in another order. */
	fake_kubelet_free(TAKE_PTR(f->kubelet));
	fakefs_remove(f->fs, KUBELET_DIR);
	run_for(f, 100);
	assert_false(offers(f, "gaudi"));
	start_kubelet(f, KUBELET_DIR);
	WAIT_FOR(f, f->view->n_registered == 1);
}

static void automatic_is_found_where_there_is_only_the_registry(void **state)
{
	struct fixture *f = *state;

	start_daemon(f, REGISTRATION_AUTO);
	run_for(f, 100);
	fakefs_mkdir(f->fs, REGISTRY_DIR);
	be_found(f);
	/* One way at a time. */
	start_kubelet(f, KUBELET_DIR);
	run_for(f, 200);
	assert_int_equal(f->view->n_registered, 0);
}

static void register_does_nothing_else(void **state)
{
	struct fixture *f = *state;

	fakefs_mkdir(f->fs, REGISTRY_DIR);
	start_daemon(f, REGISTRATION_REGISTER);
	run_for(f, 100);
	assert_false(offers(f, "gaudi"));
	start_kubelet(f, KUBELET_DIR);
	WAIT_FOR(f, daemon_is_registered(f->daemon));
	assert_false(offers(f, "gaudi"));
}

static unsigned count_lines(const char *text, const char *part)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, part)); p++)
		n++;
	return n;
}

/* What is printed to standard error from now on goes into the file "log". Returns what to give to end_log(). */
static int begin_log(struct fixture *f)
{
	_cleanup_close_ int fd = -EBADF;
	int saved = dup(STDERR_FILENO);

	fakefs_put(f->fs, "log", "");
	fd = open(fakefs_join(f->fs, "log"), O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(fd >= 0);
	(void)dup2(fd, STDERR_FILENO);
	log_init("test", LOG_LEVEL_WARNING, LOG_TEXT);
	return saved;
}

static const char *end_log(struct fixture *f, int saved)
{
	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	return fakefs_get(f->fs, "log");
}

static void each_reason_of_a_failure_is_said_once(void **state)
{
	struct fixture *f = *state;
	const char *log;
	int saved;

	start_kubelet(f, KUBELET_DIR);
	fake_kubelet_refuse(f->kubelet, GRPC_UNAVAILABLE, "not today");
	saved = begin_log(f);
	start_daemon(f, REGISTRATION_REGISTER);
	run_for(f, 500);
	fake_kubelet_refuse(f->kubelet, GRPC_UNKNOWN, "no such resource");
	run_for(f, 1500);
	log = end_log(f, saved);
	assert_int_equal(count_lines(log, "not today"), 1);
	assert_int_equal(count_lines(log, "no such resource"), 1);
	/* The same again, when it was well in between. */
	fake_kubelet_refuse(f->kubelet, GRPC_OK, NULL);
	WAIT_FOR(f, daemon_is_registered(f->daemon) && listed(f, GAUDI0));
	saved = begin_log(f);
	fake_kubelet_refuse(f->kubelet, GRPC_UNKNOWN, "no such resource");
	fake_kubelet_stop_watching(f->kubelet);
	run_for(f, 500);
	assert_int_equal(count_lines(end_log(f, saved), "no such resource"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	TEST(the_plugin_watcher_finds_it),
	TEST(both_resources_are_found),
	TEST(a_refusal_of_the_plugin_watcher_is_outlived),
	TEST(a_restarted_kubelet_finds_the_same_socket),
	TEST(a_stream_that_ends_without_a_restart_is_offered_again),
	TEST(a_deleted_socket_is_offered_again),
	TEST(a_folder_that_comes_late_is_used),
	TEST(only_sockets_of_the_dead_are_removed),
	TEST(a_living_predecessor_is_left_alone),
	TEST(the_end_takes_the_socket_away),
	TEST(automatic_registers_where_there_is_a_folder_for_it),
	TEST(automatic_is_found_where_there_is_only_the_registry),
	TEST(register_does_nothing_else),
	TEST(each_reason_of_a_failure_is_said_once),
};

UNIT_MAIN(tests)
