// SPDX-License-Identifier: Apache-2.0
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>

#include "base/fileio.h"
#include "base/log.h"
#include "dirwatch.h"
#include "links.h"
#include "nodes.h"
#include "pods.h"
#include "registrar.h"
#include "service.h"
#include "table.h"
#include "watch.h"

/* While a container waits for a lease. */
#define RESCAN_WAITING_MS 200
/* While the kubelet's directory is missing. */
#define RESCAN_NO_DIRECTORY_MS 250

struct daemon {
	struct loop *loop;
	const struct options *options;
	struct sysfs_root sysfs;
	struct core core;
	struct links links;
	struct cdi gaudi_cdi, nic_cdi;
	struct watch *watch;
	struct pods *pods;
	struct loop_source *scan_timer;
	struct dirwatch *dirs; /* the kubelet's */
	struct service gaudi, nic;
	struct registrar *gaudi_registrar, *nic_registrar;
	char pairs_path[OPTIONS_PATH_MAX + sizeof(PAIRS_FILE) + 1];
	bool pairs_saved;
	int scan_error, links_error, pairs_error, cdi_error; /* said already; 0: none */
};

/* What the reader can do about a file that cannot be written. */
static const char *remedy(int error)
{
	switch (-error) {
	case EROFS:
		return "; mount it writable into the container";
	case ENOSPC:
	case EDQUOT:
		return "; make room on that file system";
	case EACCES:
	case EPERM:
		return "; let the user of this process write there";
	case ENOENT:
		return "; make the directory, or mount it into the container";
	case ENOTDIR:
	case EISDIR:
	case ELOOP:
		return "; move what is in its place out of the way";
	default:
		return "";
	}
}

/* A failure that lasts is said once, and its end too. */
static void say_change(int *said, int r, const char *what)
{
	if (r < 0 && *said != r)
		(void)log_error_errno(r, "%s%s", what, remedy(r));
	else if (r >= 0 && *said < 0)
		log_info("%s: works again", what);
	*said = r < 0 ? r : 0;
}

/* --- scanning -------------------------------------------------------------- */

static void save_pairs(struct daemon *daemon)
{
	char what[sizeof(daemon->pairs_path) + 64];
	int r = pairs_save(daemon->pairs_path, daemon->core.pairs);

	if (r == -ENOENT) {
		r = fileio_mkdirs(AT_FDCWD, daemon->options->state_dir, 0755);
		if (r == 0)
			r = pairs_save(daemon->pairs_path, daemon->core.pairs);
	}
	daemon->pairs_saved = r == 0;
	(void)snprintf(what, sizeof(what), "%s: cannot write the pairing that cni-rdma needs",
		       daemon->pairs_path);
	say_change(&daemon->pairs_error, r, what);
}

static void update_links(struct daemon *daemon)
{
	char what[OPTIONS_PATH_MAX + 128];
	int r = -ENOENT;

	/* Somebody may have removed the directory that was opened: it is made anew. */
	for (unsigned tries = 0; r == -ENOENT && tries < 2; tries++) {
		r = daemon->links.dir_fd < 0 ? links_open(&daemon->links, daemon->options->dev_dir) : 0;
		if (r == 0)
			r = links_update(&daemon->links, &daemon->core);
		if (r == -ENOENT)
			links_done(&daemon->links);
	}
	(void)snprintf(what, sizeof(what),
		       "%s/gaudi/by-id: cannot keep stable links, containers get plain device nodes",
		       daemon->options->dev_dir);
	say_change(&daemon->links_error, r, what);
}

static void update_cdi(struct daemon *daemon)
{
	bool make = daemon->options->inject != INJECT_DEVICES;
	char what[OPTIONS_PATH_MAX + 128];
	int r = cdi_update(&daemon->gaudi_cdi, &daemon->core, make),
	    q = cdi_update(&daemon->nic_cdi, &daemon->core, make);

	(void)snprintf(what, sizeof(what),
		       "%s: cannot keep CDI specs, containers get device nodes from the kubelet instead",
		       daemon->options->cdi_dir);
	say_change(&daemon->cdi_error, r < 0 ? r : q, what);
}

static int start_registrar(struct daemon *daemon, struct service *service, const char *resource,
			   struct registrar **ret)
{
	const struct registrar_options options = {
		.kubelet_dir = daemon->options->kubelet_dir,
		.registry_dir = daemon->options->registry_dir,
		.registration = daemon->options->registration,
		.resource = resource,
		.service = service,
	};

	if (*ret)
		return 0;
	return registrar_new(daemon->loop, &options, ret);
}

static void set_timer(struct daemon *daemon, uint64_t now_ms)
{
	uint64_t next = core_next_ms(&daemon->core, now_ms);

	next = next < daemon->options->rescan_ms ? next : daemon->options->rescan_ms;
	if (!list_is_empty(&daemon->gaudi.waits) && next > RESCAN_WAITING_MS)
		next = RESCAN_WAITING_MS;
	if (!dirwatch_has_any(daemon->dirs) && next > RESCAN_NO_DIRECTORY_MS)
		next = RESCAN_NO_DIRECTORY_MS;
	loop_timer_set(daemon->scan_timer, next > 1 ? next : 1);
}

static void publish(struct daemon *daemon)
{
	if (daemon->gaudi_registrar)
		registrar_publish(daemon->gaudi_registrar);
	if (daemon->nic_registrar)
		registrar_publish(daemon->nic_registrar);
	service_check_waits(&daemon->gaudi);
}

/* Takes a scan, or r when there is none: what is kept on the host, and what the kubelet is told, follow. */
static void act(struct daemon *daemon, int r, struct inventory *inv, bool is_whole)
{
	uint64_t now_ms = loop_now_ms();

	log_hold(); /* hundreds of devices may have something said of them */
	if (r == 0)
		r = core_update(&daemon->core, inv, now_ms);
	say_change(&daemon->scan_error, r, "cannot scan sysfs, going on with what was seen before");
	if (r >= 0) {
		/* With another NIC, the nodes of a Gaudi are others too. */
		if (is_whole || (r & CORE_PAIRS)) {
			update_links(daemon);
			update_cdi(daemon);
		}
		/* Somebody may have removed the file. */
		if ((r & CORE_PAIRS) || !daemon->pairs_saved ||
		    (is_whole && access(daemon->pairs_path, F_OK) < 0))
			save_pairs(daemon);
		if (core_offers_nics(&daemon->core) &&
		    start_registrar(daemon, &daemon->nic, daemon->options->resource_nic,
				    &daemon->nic_registrar) < 0)
			log_error("out of memory");
		publish(daemon);
		if (daemon->pods)
			pods_check(daemon->pods);
	}
	log_release();
	set_timer(daemon, now_ms);
	/* The former inventory is as much again as the one that is kept. */
	(void)malloc_trim(0);
}

void daemon_scan(struct daemon *daemon)
{
	struct inventory *inv = NULL;
	int r = inventory_scan(&daemon->sysfs, &inv);

	act(daemon, r, inv, true);
}

/* The devices are the same and stay where they are; only states may differ. */
static void refresh_states(struct daemon *daemon)
{
	struct inventory *inv = NULL;
	int r = inventory_refresh(&daemon->sysfs, daemon->core.inventory, &inv);

	act(daemon, r, inv, false);
}

static void rescan(void *data)
{
	daemon_scan(data);
}

static void on_device_event(enum watch_news news, void *data)
{
	struct daemon *daemon = data;

	if (news == WATCH_STATES && daemon->core.inventory)
		refresh_states(daemon);
	else
		daemon_scan(daemon);
}

/*
 * Before an answer to Allocate: devices that came, went or got another number
 * have told the kernel, which may have told us. Without events there is only a scan.
 */
static void catch_up(void *data)
{
	struct daemon *daemon = data;

	if (daemon->watch)
		watch_look(daemon->watch);
	else
		daemon_scan(daemon);
}

static void on_pods(void *data)
{
	publish(data);
}

/* --- the kubelet's directories ---------------------------------------------- */

static void check_registrars(struct daemon *daemon)
{
	if (daemon->gaudi_registrar)
		registrar_check(daemon->gaudi_registrar);
	if (daemon->nic_registrar)
		registrar_check(daemon->nic_registrar);
}

static void on_directory_changed(void *data)
{
	struct daemon *daemon = data;

	check_registrars(daemon);
	set_timer(daemon, loop_now_ms()); /* they may be gone */
}

static void on_directory_appeared(const char *dir, void *data)
{
	(void)data;
	registrar_sweep(dir);
}

static int watch_directories(struct daemon *daemon)
{
	const enum options_registration how = daemon->options->registration;
	struct dirwatch_options options = {
		.appeared = on_directory_appeared,
		.changed = on_directory_changed,
		.data = daemon,
	};
	size_t n = 0;
	int r;

	if (how != REGISTRATION_WATCHER)
		options.dirs[n++] = daemon->options->kubelet_dir;
	if (how != REGISTRATION_REGISTER)
		options.dirs[n++] = daemon->options->registry_dir;
	r = dirwatch_new(daemon->loop, &options, &daemon->dirs);
	if (r < 0)
		return log_error_errno(r, "cannot watch files (is fs.inotify.max_user_instances used up?)");
	dirwatch_look(daemon->dirs);
	return 0;
}

static int on_scan_timer(void *data)
{
	struct daemon *daemon = data;

	dirwatch_look(daemon->dirs);
	check_registrars(daemon);
	daemon_scan(daemon);
	return 0;
}

/* --- life ------------------------------------------------------------------ */

/* The persisted pairing, or NULL when a new one is to be made. */
static int load_pairs(const char *path, bool read_only, struct pairs **ret)
{
	char why[256] = "", aside[OPTIONS_PATH_MAX + 64];
	int r = pairs_load(path, ret, why, sizeof(why));

	if (r == 0 || r == -ENOENT)
		return 0;
	if (r == -EPROTONOSUPPORT)
		return log_error_errno(
			r,
			"%s: %s; it was written by a newer gaudi-device-plugin: upgrade this one, or "
			"remove the file when no pod uses a Gaudi",
			path, why);
	if (r != -EBADMSG && r != -EFBIG)
		return log_error_errno(r, "%s: cannot read the pairing", path);
	log_warning("%s: not a pairing file (%s); a new pairing is made%s", path, why,
		    read_only ? "" : ", the file is kept as pairs.json.bad");
	if (!read_only && (size_t)snprintf(aside, sizeof(aside), "%s.bad", path) < sizeof(aside))
		(void)rename(path, aside);
	return 0;
}

static int open_sysfs(const struct options *options, struct sysfs_root *sysfs)
{
	int r = sysfs_root_open(sysfs, options->sysfs_root);

	return r < 0 ? log_error_errno(r, "%s: cannot open sysfs (--sysfs-root)", options->sysfs_root) : 0;
}

static void core_options_of(const struct options *options, struct core_options *core)
{
	*core = (struct core_options){
		.mode = options->pairing,
		.exclude = options->exclude,
		.n_exclude = options->n_exclude,
	};
}

static void init_services(struct daemon *daemon)
{
	struct service common = { .loop = daemon->loop,
				  .core = &daemon->core,
				  .rescan = rescan,
				  .catch_up = catch_up,
				  .data = daemon };

	daemon->gaudi = common;
	daemon->gaudi.kind = SERVICE_GAUDI;
	daemon->gaudi.grant = (struct grant_options){
		.links = &daemon->links,
		.cdi = daemon->options->inject == INJECT_DEVICES ? NULL : &daemon->gaudi_cdi,
		.both = daemon->options->inject == INJECT_BOTH,
	};
	service_init(&daemon->gaudi);
	daemon->nic = common;
	daemon->nic.kind = SERVICE_NIC;
	daemon->nic.grant = daemon->gaudi.grant;
	daemon->nic.grant.cdi = daemon->options->inject == INJECT_DEVICES ? NULL : &daemon->nic_cdi;
	service_init(&daemon->nic);
}

static int start_pods(struct daemon *daemon)
{
	const struct pods_options options = {
		.socket = daemon->options->podresources,
		.resource_gaudi = daemon->options->resource_gaudi,
		.resource_nic = daemon->options->resource_nic,
		.sysfs = &daemon->sysfs,
		.core = &daemon->core,
		.changed = on_pods,
		.data = daemon,
	};

	return pods_new(daemon->loop, &options, &daemon->pods);
}

static int start_sources(struct daemon *daemon)
{
	int r;

	r = loop_add_timer(daemon->loop, on_scan_timer, daemon, &daemon->scan_timer);
	if (r < 0)
		return log_error_errno(r, "cannot set up a timer");
	r = watch_directories(daemon);
	if (r < 0)
		return r;
	if (!daemon->options->events)
		return 0;
	r = watch_new(daemon->loop, on_device_event, daemon, &daemon->watch);
	if (r < 0) /* not the end: the slow rescan finds everything, only later */
		(void)log_warning_errno(r, "no kernel events here, changes are seen every %u ms only",
					daemon->options->rescan_ms);
	return 0;
}

int daemon_new(struct loop *loop, const struct options *options, struct daemon **ret)
{
	_cleanup_(daemon_freep) struct daemon *daemon = calloc(1, sizeof(*daemon));
	struct core_options core_options;
	struct pairs *pairs = NULL;
	int r;

	if (!daemon)
		return log_error_errno(-ENOMEM, "cannot start");
	daemon->loop = loop;
	daemon->options = options;
	daemon->sysfs.fd = daemon->links.dir_fd = -EBADF;
	init_services(daemon);
	cdi_init(&daemon->gaudi_cdi, CDI_GAUDIS, options->cdi_dir, options->resource_gaudi);
	cdi_init(&daemon->nic_cdi, CDI_NICS, options->cdi_dir, options->resource_nic);
	(void)snprintf(daemon->pairs_path, sizeof(daemon->pairs_path), "%s/%s", options->state_dir,
		       PAIRS_FILE);
	fileio_remove_leftovers(AT_FDCWD, daemon->pairs_path);
	fileio_remove_leftovers(AT_FDCWD, daemon->gaudi_cdi.path);
	fileio_remove_leftovers(AT_FDCWD, daemon->nic_cdi.path);
	cdi_sweep((const struct cdi *[]){ &daemon->gaudi_cdi, &daemon->nic_cdi }, 2);
	r = open_sysfs(options, &daemon->sysfs);
	if (r < 0)
		return r;
	r = load_pairs(daemon->pairs_path, false, &pairs);
	if (r < 0)
		return r;
	core_options_of(options, &core_options);
	core_init(&daemon->core, &core_options, pairs, loop_now_ms());
	r = start_sources(daemon);
	if (r < 0)
		return r;
	/* Before registering: the kubelet's first list is then a true one. */
	daemon_scan(daemon);
	r = start_registrar(daemon, &daemon->gaudi, options->resource_gaudi, &daemon->gaudi_registrar);
	if (r == 0)
		r = start_pods(daemon);
	if (r < 0)
		return log_error_errno(r, "cannot start");
	pods_check(daemon->pods);
	*ret = TAKE_PTR(daemon);
	return 0;
}

void daemon_free(struct daemon *daemon)
{
	if (!daemon)
		return;
	registrar_free(daemon->gaudi_registrar);
	registrar_free(daemon->nic_registrar);
	pods_free(daemon->pods);
	watch_free(daemon->watch);
	dirwatch_free(daemon->dirs);
	loop_source_free(daemon->scan_timer);
	links_done(&daemon->links);
	core_done(&daemon->core);
	sysfs_root_done(&daemon->sysfs);
	free(daemon);
}

bool daemon_is_registered(const struct daemon *daemon)
{
	return daemon->gaudi_registrar && registrar_is_registered(daemon->gaudi_registrar);
}

const struct core *daemon_core(const struct daemon *daemon)
{
	return &daemon->core;
}

static int on_signal(const struct signalfd_siginfo *info, void *data)
{
	log_info("ending on signal %u; the kubelet keeps its devices until a plugin registers again",
		 info->ssi_signo);
	loop_exit(data, 0);
	return 0;
}

int daemon_run(const struct options *options)
{
	_cleanup_(loop_freep) struct loop *loop = NULL;
	_cleanup_(loop_source_freep) struct loop_source *term = NULL, *interrupt = NULL;
	_cleanup_(daemon_freep) struct daemon *daemon = NULL;
	int r = loop_new(&loop);

	if (r == 0)
		r = loop_add_signal(loop, SIGTERM, on_signal, loop, &term);
	if (r == 0)
		r = loop_add_signal(loop, SIGINT, on_signal, loop, &interrupt);
	if (r < 0)
		return log_error_errno(r, "cannot start");
	r = daemon_new(loop, options, &daemon);
	if (r < 0)
		return r;
	r = loop_run(loop);
	return r < 0 ? log_error_errno(r, "the event loop failed") : 0;
}

static int print_core(const struct options *options, const struct core *core, FILE *out)
{
	int r = options->once == ONCE_JSON ? table_print_json(out, core, options) : table_print(out, core);

	if (r == 0 && (fflush(out) != 0 || ferror(out)))
		r = negative_errno();
	return r < 0 ? log_error_errno(r, "cannot print") : 0;
}

int daemon_print(const struct options *options, FILE *out)
{
	_cleanup_(sysfs_root_done) struct sysfs_root sysfs = SYSFS_ROOT_INIT;
	char path[OPTIONS_PATH_MAX + sizeof(PAIRS_FILE) + 1];
	struct core_options core_options;
	struct inventory *inv;
	struct pairs *pairs = NULL;
	struct core core;
	int r = open_sysfs(options, &sysfs);

	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%s/%s", options->state_dir, PAIRS_FILE);
	r = load_pairs(path, true, &pairs);
	if (r < 0)
		return r;
	core_options_of(options, &core_options);
	core_init(&core, &core_options, pairs, loop_now_ms());
	r = inventory_scan(&sysfs, &inv);
	if (r == 0)
		r = core_update(&core, inv, loop_now_ms());
	if (r < 0)
		(void)log_error_errno(r, "%s: cannot scan sysfs", options->sysfs_root);
	else
		r = print_core(options, &core, out);
	core_done(&core);
	return r;
}
