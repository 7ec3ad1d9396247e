// SPDX-License-Identifier: Apache-2.0
/* ring-allreduce: a data-parallel training whose gradients go from Gaudi to Gaudi by RDMA. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fileio.h"
#include "base/log.h"
#include "options.h"
#include "rail.h"
#include "stop.h"
#include "train.h"

#define HELLO_MS 10000

/* What the Job's podFailurePolicy goes by: deploy/examples/ring-allreduce.yaml. */
enum status {
	STATUS_USAGE = 2,
	STATUS_PEER_LOST = 3,
	STATUS_NOT_ZERO = 4,
};

struct gaudis {
	struct rail *rail[HELLO_RAILS_MAX];
	unsigned n;
};

static int gaudis_open(void *data, unsigned world, const size_t *count, struct ring *ring,
		       struct hello_rail *place)
{
	struct gaudis *gaudis = data;

	for (unsigned i = 0; i < gaudis->n; i++) {
		int r = rail_open(i, world, count[i], &gaudis->rail[i]);

		if (r < 0)
			return r;
		ring[i].window = rail_window(gaudis->rail[i]);
		ring[i].io = rail_io(gaudis->rail[i]);
		rail_describe(gaudis->rail[i], &place[i]);
	}
	return 0;
}

static int gaudis_connect(void *data, unsigned i, const struct hello_rail *left,
			  const struct hello_rail *right)
{
	struct gaudis *gaudis = data;

	return rail_connect(gaudis->rail[i], left, right);
}

static void gaudis_close(struct gaudis *gaudis)
{
	for (unsigned i = 0; i < gaudis->n; i++)
		if (gaudis->rail[i])
			rail_close(gaudis->rail[i]);
}

static int folder_open(const char *path, int *ret_fd)
{
	int r;

	if (!path[0])
		return 0;
	r = fileio_mkdirs(AT_FDCWD, path, 0770);
	if (r == 0)
		r = RET_NERRNO(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (r < 0)
		return log_error_errno(r, "cannot use %s for checkpoints", path);
	*ret_fd = r;
	return 0;
}

static int run(const struct options *options)
{
	_cleanup_close_ int checkpoints = -EBADF;
	struct gaudis gaudis = { .n = 0 };
	struct train_rails rails = { .data = &gaudis, .open = gaudis_open, .connect = gaudis_connect };
	struct train_options train = {
		.job = options->job,
		.rank = options->rank,
		.world = options->world,
		.meet = {
			/* Rank 0 listens at all addresses of the pod. */
			.host = options->rank == 0 ? NULL : options->host,
			.port = options->port_text,
			.join_ms = options->join_s * 1000,
			.hello_ms = HELLO_MS,
		},
		.steps = options->steps,
		.batch = options->batch,
		.hidden = options->hidden,
		.rate = options->rate,
		.seed = options->seed,
		.every = options->every,
		.step_ms = options->step_s * 1000,
		.pace_ms = options->pace_ms,
	};
	int r;

	r = folder_open(options->checkpoint_dir, &checkpoints);
	train.checkpoints = checkpoints;
	if (r == 0 && options->world > 1)
		r = rail_count(&gaudis.n);
	rails.n = gaudis.n;
	if (r == 0)
		r = train_run(&train, &rails);
	gaudis_close(&gaudis);
	return r;
}

static int status_of(int r)
{
	switch (r) {
	case 0:
		return EXIT_SUCCESS;
	case -ECANCELED:
		log_info("told to stop: ends here, and goes on from the last checkpoint when started again");
		return STOP_STATUS;
	case -ECONNRESET:
		log_info("all ranks should start again: they go on from the last checkpoint");
		return STATUS_PEER_LOST;
	case -EPERM:
		return STATUS_USAGE;
	case -EUCLEAN:
		return STATUS_NOT_ZERO;
	default:
		return EXIT_FAILURE;
	}
}

int main(int argc, char **argv)
{
	struct options options;
	char why[OPTIONS_WHY_SIZE], hostname[256] = "";
	int r;

	log_init("ring-allreduce", LOG_LEVEL_INFO, LOG_TEXT);
	(void)gethostname(hostname, sizeof(hostname) - 1);
	if (options_parse(argc, argv, environ, hostname, &options, why) < 0) {
		log_error("%s; ring-allreduce --help explains", why);
		return STATUS_USAGE;
	}
	if (options.help) {
		options_help(stdout);
		return EXIT_SUCCESS;
	}
	r = stop_init();
	if (r < 0) {
		log_error_errno(r, "cannot listen to signals");
		return EXIT_FAILURE;
	}
	return status_of(run(&options));
}
