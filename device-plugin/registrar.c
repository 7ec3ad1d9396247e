// SPDX-License-Identifier: Apache-2.0
#include "registrar.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/log.h"
#include "kubelet/plugin.h"
#include "kubelet/registration.h"

#define RETRY_MIN_MS 20
#define RETRY_MAX_MS 2000
#define REGISTER_TIMEOUT_MS 10000
/* A kubelet that accepted the registration asks for the devices at once. */
#define STREAM_TIMEOUT_MS 10000

enum state {
	STATE_WAITING, /* for the kubelet */
	STATE_REGISTERING,
	STATE_REGISTERED,
};

struct registrar {
	struct loop *loop;
	const char *kubelet_dir;
	const char *resource;
	struct service *service;
	enum state state;
	struct kubelet_plugin *plugin;
	struct grpc_client_call *call;
	struct loop_source *timer; /* begins anew */
	unsigned retry_ms;
	unsigned n_streams;
	struct stat kubelet; /* its socket when we registered */
	char endpoint[64];
	unsigned sequence;
	bool said_waiting; /* each said once per absence */
	bool said_failure;
};

static int kubelet_path(const struct registrar *registrar, char *path, size_t size, const char *name)
{
	int n = snprintf(path, size, "%s/%s", registrar->kubelet_dir, name);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static void stop(struct registrar *registrar)
{
	loop_timer_cancel(registrar->timer);
	grpc_client_call_free(TAKE_PTR(registrar->call));
	kubelet_plugin_free(TAKE_PTR(registrar->plugin));
	registrar->state = STATE_WAITING;
	registrar->n_streams = 0;
}

/* Later, because a plugin cannot be freed from inside its own callbacks; and not in a tight circle. */
static void begin_later(struct registrar *registrar)
{
	loop_timer_set(registrar->timer, registrar->retry_ms);
	registrar->retry_ms = registrar->retry_ms * 2 < RETRY_MAX_MS ? registrar->retry_ms * 2 : RETRY_MAX_MS;
}

static void begin_soon(struct registrar *registrar)
{
	registrar->retry_ms = RETRY_MIN_MS;
	loop_timer_set(registrar->timer, 0);
}

static void fail_and_retry(struct registrar *registrar, int r, const char *text)
{
	if (!registrar->said_failure)
		log_warning("%s: cannot register with the kubelet (%s), trying again: %s",
			    registrar->resource, registrar->kubelet_dir, text ? text : strerror(-r));
	registrar->said_failure = true;
	stop(registrar);
	begin_later(registrar);
}

static void wait_for_kubelet(struct registrar *registrar, int r)
{
	if (!registrar->said_waiting)
		log_info("%s: the kubelet is not there yet (%s/%s: %s), waiting for it", registrar->resource,
			 registrar->kubelet_dir, KUBELET_SOCKET_NAME, strerror(-r));
	registrar->said_waiting = true;
	stop(registrar);
	begin_later(registrar);
}

static void on_registered(const struct grpc_result *result, void *data)
{
	struct registrar *registrar = data;

	/* What result points to lives as long as the call: it is freed last. */
	if (result->r == -ENOENT || result->r == -ECONNREFUSED) {
		wait_for_kubelet(registrar, result->r);
		return;
	}
	if (result->r < 0) {
		fail_and_retry(registrar, result->r, result->error.text);
		return;
	}
	log_info("%s: registered with the kubelet (%s)", registrar->resource, registrar->endpoint);
	registrar->state = STATE_REGISTERED;
	registrar->said_waiting = registrar->said_failure = false;
	registrar->retry_ms = RETRY_MIN_MS;
	grpc_client_call_free(TAKE_PTR(registrar->call));
	if (registrar->n_streams == 0)
		loop_timer_set(registrar->timer, STREAM_TIMEOUT_MS);
}

static void on_watchers(unsigned n, void *data)
{
	struct registrar *registrar = data;
	unsigned before = registrar->n_streams;

	registrar->n_streams = n;
	if (n > 0 && registrar->state == STATE_REGISTERED) {
		loop_timer_cancel(registrar->timer);
	} else if (n == 0 && before > 0) {
		log_info("%s: the kubelet has ended the stream of devices, registering again",
			 registrar->resource);
		begin_soon(registrar);
	}
}

/* A name no socket of ours had before: in a container, process ids repeat. */
static void endpoint_name(struct registrar *registrar)
{
	const char *slash = strrchr(registrar->resource, '/');
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)snprintf(registrar->endpoint, sizeof(registrar->endpoint),
		       REGISTRAR_PREFIX "%.16s-%llx-%u.sock", slash ? slash + 1 : registrar->resource,
		       (unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000,
		       ++registrar->sequence);
}

static int serve(struct registrar *registrar)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct kubelet_plugin_options options = {
		.socket = path,
		.pre_start_required = true,
		.preferred_available = true,
		.ops = &service_ops,
		.data = registrar->service,
	};
	int r;

	endpoint_name(registrar);
	r = kubelet_path(registrar, path, sizeof(path), registrar->endpoint);
	if (r < 0)
		return r;
	r = kubelet_plugin_new(registrar->loop, &options, &registrar->plugin);
	return r < 0 ? r : service_publish(registrar->service, registrar->plugin);
}

static int on_begin(void *data)
{
	struct registrar *registrar = data;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct kubelet_registration registration = {
		.kubelet_socket = path,
		.endpoint = registrar->endpoint,
		.resource = registrar->resource,
		.pre_start_required = true,
		.preferred_available = true,
		.timeout_ms = REGISTER_TIMEOUT_MS,
	};
	int r;

	stop(registrar);
	r = kubelet_path(registrar, path, sizeof(path), KUBELET_SOCKET_NAME);
	if (r < 0) {
		fail_and_retry(
			registrar, r,
			"the directory's name is too long for a Unix socket (107 bytes with the name)");
		return 0;
	}
	if (stat(path, &registrar->kubelet) < 0) {
		wait_for_kubelet(registrar, negative_errno());
		return 0;
	}
	r = serve(registrar);
	if (r < 0) {
		fail_and_retry(registrar, r, NULL);
		return 0;
	}
	r = kubelet_register(registrar->loop, &registration, on_registered, registrar, &registrar->call);
	if (r == -ENOENT || r == -ECONNREFUSED)
		wait_for_kubelet(registrar, r);
	else if (r < 0)
		fail_and_retry(registrar, r, NULL);
	else
		registrar->state = STATE_REGISTERING;
	return 0;
}

int registrar_new(struct loop *loop, const char *kubelet_dir, const char *resource, struct service *service,
		  struct registrar **ret)
{
	_cleanup_(registrar_freep) struct registrar *registrar = calloc(1, sizeof(*registrar));
	int r;

	if (!registrar)
		return -ENOMEM;
	*registrar = (struct registrar){
		.loop = loop,
		.kubelet_dir = kubelet_dir,
		.resource = resource,
		.service = service,
		.retry_ms = RETRY_MIN_MS,
	};
	r = loop_add_timer(loop, on_begin, registrar, &registrar->timer);
	if (r < 0)
		return r;
	service->watchers = on_watchers;
	service->watchers_data = registrar;
	loop_timer_set(registrar->timer, 0);
	*ret = TAKE_PTR(registrar);
	return 0;
}

void registrar_free(struct registrar *registrar)
{
	if (!registrar)
		return;
	if (registrar->timer)
		stop(registrar);
	loop_source_free(registrar->timer);
	registrar->service->watchers = NULL;
	free(registrar);
}

void registrar_publish(struct registrar *registrar)
{
	int r = registrar->plugin ? service_publish(registrar->service, registrar->plugin) : 0;

	if (r < 0)
		log_warning_errno(r, "%s: cannot send the devices to the kubelet", registrar->resource);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	/* An inode number is soon used again, the time of change is not. */
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

void registrar_check(struct registrar *registrar)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct stat now;

	if (kubelet_path(registrar, path, sizeof(path), KUBELET_SOCKET_NAME) < 0)
		return;
	if (stat(path, &now) < 0) {
		/* Registered, and its socket is gone: the stream's end will say so, if it is true. */
		return;
	}
	/* A dead kubelet's socket that was tried is tried again by the timer; our own files make events here too. */
	if (!same_file(&now, &registrar->kubelet)) {
		if (registrar->state == STATE_REGISTERED)
			log_info("%s: the kubelet's socket was replaced, registering again",
				 registrar->resource);
		begin_soon(registrar);
		return;
	}
	if (registrar->plugin && kubelet_path(registrar, path, sizeof(path), registrar->endpoint) == 0 &&
	    stat(path, &now) < 0 && errno == ENOENT) {
		log_info("%s: our socket was deleted, registering again", registrar->resource);
		begin_soon(registrar);
	}
}

bool registrar_is_registered(const struct registrar *registrar)
{
	return registrar->state == STATE_REGISTERED;
}

static bool socket_is_dead(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return false;
	strcpy(address.sun_path, path);
	return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 && errno == ECONNREFUSED;
}

void registrar_sweep(const char *kubelet_dir)
{
	_cleanup_closedir_ DIR *dir = opendir(kubelet_dir);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char path[sizeof(((struct sockaddr_un *)0)->sun_path)];

		if (strncmp(entry->d_name, REGISTRAR_PREFIX, strlen(REGISTRAR_PREFIX)) != 0 ||
		    (size_t)snprintf(path, sizeof(path), "%s/%s", kubelet_dir, entry->d_name) >= sizeof(path))
			continue;
		if (socket_is_dead(path) && unlink(path) == 0)
			log_debug("%s: removed, nobody serves it", path);
	}
}
