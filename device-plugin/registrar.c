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
/*
 * Watched: a kubelet that is there looks once a second, one that restarts finds the
 * socket by itself, and one that failed tries again by itself, ever more slowly.
 */
#define OFFER_MIN_MS 3000
/*
 * After the end of a stream: kubelets that keep only one plugin of a resource drop the new
 * one when the old one of an upgrade ends, and look only at a new socket then. One that
 * restarts is not back so soon, and does not care.
 */
#define OFFER_AGAIN_MS 1000
#define OFFER_MAX_MS 60000

#define SOCKET_PATH_MAX sizeof(((struct sockaddr_un *)0)->sun_path)
#define NAME_SIZE 64

enum state {
	STATE_WAITING, /* for the kubelet */
	STATE_REGISTERING,
	STATE_REGISTERED,
};

struct registrar {
	struct loop *loop;
	struct registrar_options options;
	enum options_registration way; /* taken now: REGISTER or WATCHER */
	bool way_is_proven;	       /* it registered once */
	enum state state;
	struct kubelet_plugin *plugin;
	struct grpc_client_call *call;
	struct loop_source *timer; /* begins anew */
	unsigned retry_ms;
	bool offer_is_due; /* watched: the timer is not to spare a kubelet that is connected */
	unsigned n_streams;
	struct stat kubelet; /* its socket when we registered */
	char socket[SOCKET_PATH_MAX];
	unsigned sequence;
	bool said_waiting;	/* said once per absence, and a failure once as long as it is the same */
	char said_failure[160]; /* "": none */
};

static const char *folder(const struct registrar *registrar)
{
	return registrar->way == REGISTRATION_WATCHER ? registrar->options.registry_dir
						      : registrar->options.kubelet_dir;
}

static int path_in(const char *dir, const char *name, char *path, size_t size)
{
	int n = snprintf(path, size, "%s/%s", dir, name);

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
	if (registrar->retry_ms > RETRY_MAX_MS)
		registrar->retry_ms = RETRY_MAX_MS;
	loop_timer_set(registrar->timer, registrar->retry_ms);
	registrar->retry_ms *= 2;
}

static void begin_soon(struct registrar *registrar)
{
	registrar->retry_ms = RETRY_MIN_MS;
	registrar->offer_is_due = true;
	loop_timer_set(registrar->timer, 0);
}

static bool is_news(struct registrar *registrar, const char *failure)
{
	char text[sizeof(registrar->said_failure)];

	(void)snprintf(text, sizeof(text), "%s", failure);
	if (strcmp(text, registrar->said_failure) == 0)
		return false;
	strcpy(registrar->said_failure, text);
	return true;
}

static void fail_and_retry(struct registrar *registrar, int r, const char *text)
{
	if (!text)
		text = strerror(-r);
	if (is_news(registrar, text))
		log_warning("%s: cannot register with the kubelet (%s), trying again: %s",
			    registrar->options.resource, folder(registrar), text);
	stop(registrar);
	begin_later(registrar);
}

static void wait_for_kubelet(struct registrar *registrar, int r)
{
	if (!registrar->said_waiting)
		log_info("%s: the kubelet is not there yet (%s: %s), waiting for it",
			 registrar->options.resource, folder(registrar), strerror(-r));
	registrar->said_waiting = true;
	stop(registrar);
	begin_later(registrar);
}

static void registered(struct registrar *registrar)
{
	log_info("%s: registered with the kubelet (%s)", registrar->options.resource, registrar->socket);
	registrar->state = STATE_REGISTERED;
	registrar->way_is_proven = true;
	registrar->said_waiting = false;
	registrar->said_failure[0] = '\0';
}

/* --- serving --------------------------------------------------------------- */

static void on_watchers(unsigned n, void *data)
{
	struct registrar *registrar = data;
	unsigned before = registrar->n_streams;

	registrar->n_streams = n;
	if (n > 0) {
		if (registrar->state == STATE_REGISTERED || registrar->way == REGISTRATION_WATCHER)
			loop_timer_cancel(registrar->timer);
		return;
	}
	if (before == 0)
		return;
	if (registrar->way == REGISTRATION_REGISTER) {
		log_info("%s: the kubelet has ended the stream of devices, registering again",
			 registrar->options.resource);
		begin_soon(registrar);
		return;
	}
	log_info("%s: the kubelet has ended the stream of devices; it finds %s when it starts again",
		 registrar->options.resource, registrar->socket);
	registrar->state = STATE_WAITING;
	registrar->retry_ms = OFFER_MIN_MS;
	loop_timer_set(registrar->timer, OFFER_AGAIN_MS);
}

static void on_notified(bool ok, const char *error, void *data)
{
	struct registrar *registrar = data;

	if (ok) {
		registered(registrar);
		return;
	}
	if (!error[0])
		error = "no reason given";
	if (is_news(registrar, error))
		log_warning("%s: the kubelet does not register %s: %s", registrar->options.resource,
			    registrar->socket, error);
}

/*
 * A name no socket of ours had before, also not one of another process: in a container,
 * process ids repeat. Both of an upgrade can then serve at once.
 */
static void fresh_name(struct registrar *registrar, char *name, size_t size)
{
	const char *slash = strrchr(registrar->options.resource, '/');
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)snprintf(name, size, REGISTRAR_PREFIX "%.16s-%llx-%u.sock",
		       slash ? slash + 1 : registrar->options.resource,
		       (unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000,
		       ++registrar->sequence);
}

static int serve(struct registrar *registrar, char *name, size_t size)
{
	struct kubelet_plugin_options options = {
		.socket = registrar->socket,
		.pre_start_required = true,
		.preferred_available = true,
		.watched_as = registrar->way == REGISTRATION_WATCHER ? registrar->options.resource : NULL,
		.ops = &service_ops,
		.data = registrar->options.service,
	};
	int r;

	fresh_name(registrar, name, size);
	r = path_in(folder(registrar), name, registrar->socket, sizeof(registrar->socket));
	if (r < 0)
		return r;
	r = kubelet_plugin_new(registrar->loop, &options, &registrar->plugin);
	return r < 0 ? r : service_publish(registrar->options.service, registrar->plugin);
}

static void serving_failed(struct registrar *registrar, int r)
{
	const char *text = NULL;

	if (r == -ENAMETOOLONG)
		text = "the directory's name is too long for a Unix socket (107 bytes with the name)";
	fail_and_retry(registrar, r, text);
}

/* --- Register -------------------------------------------------------------- */

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
	registered(registrar);
	registrar->retry_ms = RETRY_MIN_MS;
	grpc_client_call_free(TAKE_PTR(registrar->call));
	if (registrar->n_streams == 0)
		loop_timer_set(registrar->timer, STREAM_TIMEOUT_MS);
}

static void begin_register(struct registrar *registrar)
{
	char path[SOCKET_PATH_MAX], name[NAME_SIZE];
	struct kubelet_registration registration = {
		.kubelet_socket = path,
		.endpoint = name,
		.resource = registrar->options.resource,
		.pre_start_required = true,
		.preferred_available = true,
		.timeout_ms = REGISTER_TIMEOUT_MS,
	};
	int r;

	r = path_in(registrar->options.kubelet_dir, KUBELET_SOCKET_NAME, path, sizeof(path));
	if (r < 0) {
		serving_failed(registrar, r);
		return;
	}
	if (stat(path, &registrar->kubelet) < 0) {
		wait_for_kubelet(registrar, negative_errno());
		return;
	}
	r = serve(registrar, name, sizeof(name));
	if (r < 0) {
		serving_failed(registrar, r);
		return;
	}
	r = kubelet_register(registrar->loop, &registration, on_registered, registrar, &registrar->call);
	if (r == -ENOENT || r == -ECONNREFUSED)
		wait_for_kubelet(registrar, r);
	else if (r < 0)
		fail_and_retry(registrar, r, NULL);
	else
		registrar->state = STATE_REGISTERING;
}

/* --- watcher ----------------------------------------------------------------- */

static void begin_watched(struct registrar *registrar)
{
	char name[NAME_SIZE];
	int r = serve(registrar, name, sizeof(name));

	if (r == -ENOENT) {
		wait_for_kubelet(registrar, r);
		return;
	}
	if (r < 0) {
		serving_failed(registrar, r);
		return;
	}
	if (!registrar->said_waiting)
		log_info("%s: waiting for the kubelet's plugin watcher (%s)", registrar->options.resource,
			 registrar->socket);
	registrar->said_waiting = true;
	registrar->state = STATE_REGISTERING;
	if (registrar->retry_ms < OFFER_MIN_MS)
		registrar->retry_ms = OFFER_MIN_MS;
	loop_timer_set(registrar->timer, registrar->retry_ms);
	registrar->retry_ms = registrar->retry_ms * 2 < OFFER_MAX_MS ? registrar->retry_ms * 2 : OFFER_MAX_MS;
}

/* --- both ------------------------------------------------------------------ */

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void choose_way(struct registrar *registrar)
{
	if (registrar->options.registration != REGISTRATION_AUTO)
		registrar->way = registrar->options.registration;
	else if (!registrar->way_is_proven)
		registrar->way = !is_folder(registrar->options.kubelet_dir) &&
						 is_folder(registrar->options.registry_dir)
					 ? REGISTRATION_WATCHER
					 : REGISTRATION_REGISTER;
}

static int on_begin(void *data)
{
	struct registrar *registrar = data;

	/* A kubelet that is connected is perhaps just registering us. */
	if (registrar->way == REGISTRATION_WATCHER && registrar->plugin && !registrar->offer_is_due &&
	    kubelet_plugin_has_peer(registrar->plugin)) {
		loop_timer_set(registrar->timer, OFFER_MIN_MS);
		return 0;
	}
	registrar->offer_is_due = false;
	stop(registrar);
	choose_way(registrar);
	if (registrar->way == REGISTRATION_WATCHER)
		begin_watched(registrar);
	else
		begin_register(registrar);
	return 0;
}

int registrar_new(struct loop *loop, const struct registrar_options *options, struct registrar **ret)
{
	_cleanup_(registrar_freep) struct registrar *registrar = calloc(1, sizeof(*registrar));
	int r;

	if (!registrar)
		return -ENOMEM;
	*registrar = (struct registrar){ .loop = loop, .options = *options, .retry_ms = RETRY_MIN_MS };
	r = loop_add_timer(loop, on_begin, registrar, &registrar->timer);
	if (r < 0)
		return r;
	options->service->watchers = on_watchers;
	options->service->notified = on_notified;
	options->service->registrar = registrar;
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
	registrar->options.service->watchers = NULL;
	registrar->options.service->notified = NULL;
	free(registrar);
}

void registrar_publish(struct registrar *registrar)
{
	int r = registrar->plugin ? service_publish(registrar->options.service, registrar->plugin) : 0;

	if (r < 0)
		log_warning_errno(r, "%s: cannot send the devices to the kubelet",
				  registrar->options.resource);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	/* An inode number is soon used again, the time of change is not. */
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

void registrar_check(struct registrar *registrar)
{
	char path[SOCKET_PATH_MAX];
	struct stat now;

	if (registrar->way == REGISTRATION_REGISTER) {
		/* Registered, and its socket is gone: the stream's end will say so, if it is true. */
		if (path_in(registrar->options.kubelet_dir, KUBELET_SOCKET_NAME, path, sizeof(path)) < 0 ||
		    stat(path, &now) < 0)
			return;
		/* A dead kubelet's socket that was tried is tried again by the timer; our own files make events here too. */
		if (!same_file(&now, &registrar->kubelet)) {
			if (registrar->state == STATE_REGISTERED)
				log_info("%s: the kubelet's socket was replaced, registering again",
					 registrar->options.resource);
			begin_soon(registrar);
			return;
		}
	}
	if (registrar->plugin && stat(registrar->socket, &now) < 0 && errno == ENOENT) {
		log_info("%s: our socket was deleted, registering again", registrar->options.resource);
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
		char path[SOCKET_PATH_MAX];

		if (strncmp(entry->d_name, REGISTRAR_PREFIX, strlen(REGISTRAR_PREFIX)) != 0 ||
		    (size_t)snprintf(path, sizeof(path), "%s/%s", kubelet_dir, entry->d_name) >= sizeof(path))
			continue;
		if (socket_is_dead(path) && unlink(path) == 0)
			log_debug("%s: removed, nobody serves it", path);
	}
}
