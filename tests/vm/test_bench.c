// SPDX-License-Identifier: Apache-2.0
/*
 * `make bench` part driver: card 0 with our driver beside card 1 under vfio-pci, both behind the IOMMU and with the same
 * importer. Without BENCH=1 only a few rounds, so that the benchmarks are known to work.
 *
 * vm-modules: edu_peer vfio_pci vfio_iommu_type1 vgem
 * vm-sources: tests/bench/driver*.c
 * vm-kernel: CONFIG_VFIO_PCI_DMABUF CONFIG_DRM_VGEM
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <drm/drm.h>
#include <drm/drm_mode.h>
#include <drm/habanalabs_accel.h>
#include <gaudi_p2p.h>

#include "../bench/driver.h"
#include "card.h"
#include "vm.h"

#define MIB (1ull << 20)
#define PIECE (2 * MIB)
#define PIECES_MAX 512
#define LIVE_MAX 10000

static struct world {
	struct bench_vfio vfio;
	uint64_t card_size;
	uint64_t size; /* of the exports */
	int card, peer;
	uint64_t va;
	unsigned int attachments;
	struct edu_peer_bench ours, theirs;
	int virtual, vgem;
} w;

/* --- export ----------------------------------------------------------------------------- */
static double export_ours(void *unused)
{
	unsigned int i, n = bench_iterations(300);
	uint64_t start = bench_now();

	(void)unused;
	for (i = 0; i < n; i++) {
		int fd = card_export(w.card, w.va, 0, w.size);

		CHECK(fd >= 0);
		close(fd);
	}
	return (double)(bench_now() - start) / n;
}

static double export_theirs(void *unused)
{
	unsigned int i, n = bench_iterations(300);
	uint64_t start = bench_now();

	(void)unused;
	for (i = 0; i < n; i++) {
		int fd = bench_vfio_export(&w.vfio, 0, w.size, 1);

		CHECK(fd >= 0);
		close(fd);
	}
	return (double)(bench_now() - start) / n;
}

/* --- import ------------------------------------------------------------------------------- */
static double import(struct edu_peer_bench *bench)
{
	bench->rounds = bench_iterations(50);
	CHECK_MSG(ioctl(w.peer, EDU_PEER_BENCH, bench) == 0, "the peer cannot import: %s", strerror(errno));
	return (double)bench->ns / bench_iterations(50);
}

static double import_ours(void *unused)
{
	(void)unused;
	return import(&w.ours);
}

static double import_theirs(void *unused)
{
	(void)unused;
	return import(&w.theirs);
}

static void close_files(struct edu_peer_bench *bench)
{
	while (bench->files)
		close(bench->fd[--bench->files]);
}

static void bench_contiguous(void)
{
	w.ours = (struct edu_peer_bench){ .files = 1, .fd = { card_export(w.card, w.va, 0, w.size) } };
	w.theirs = (struct edu_peer_bench){ .files = 1, .fd = { bench_vfio_export(&w.vfio, 0, w.size, 1) } };
	CHECK(w.ours.fd[0] >= 0 && w.theirs.fd[0] >= 0);
	bench_run(&(struct bench){ .name = "import_contiguous",
				   .unit = "ns",
				   .peer = "vfio-pci",
				   .ours = import_ours,
				   .theirs = import_theirs });
	close_files(&w.ours);
	close_files(&w.theirs);
}

/* An allocation that cannot be but in pieces of 2 MiB: every second one of a full card. */
static uint64_t alloc_scattered(unsigned int pieces)
{
	uint64_t handle[PIECES_MAX], scattered;
	unsigned int i, n = (unsigned int)((w.card_size - w.size) / PIECE);

	CHECK(n <= PIECES_MAX && 2 * pieces <= n);
	for (i = 0; i < n; i++)
		CHECK_EQ(card_alloc(w.card, PIECE, 0, &handle[i]), 0);
	for (i = 0; i < 2 * pieces; i += 2)
		CHECK_EQ(card_free(w.card, handle[i]), 0);
	CHECK_EQ(card_alloc(w.card, pieces * PIECE, 0, &scattered), 0);
	for (i = 0; i < n; i++)
		if (i >= 2 * pieces || i & 1)
			CHECK_EQ(card_free(w.card, handle[i]), 0);
	return scattered;
}

static void bench_scattered(void)
{
	unsigned int pieces = (unsigned int)(w.size / PIECE), i;
	const char *peer = "vfio-pci, one dma-buf of all ranges";
	struct edu_peer_state state = { 0 };
	uint64_t handle = alloc_scattered(pieces), va;
	int fd;

	CHECK_EQ(card_map(w.card, handle, &va), 0);
	fd = card_export(w.card, va, 0, w.size);
	CHECK(fd >= 0);
	w.ours = (struct edu_peer_bench){ .files = 1, .fd = { fd } };
	CHECK_EQ(peer_attach(w.peer, fd, EDU_PEER_DYNAMIC, 0), 0);
	CHECK_EQ(peer_map(w.peer), 0);
	peer_state(w.peer, &state);
	CHECK_EQ(peer_detach(w.peer), 0);
	vm_note("scattered: %u pieces in %u segments", pieces, state.segments);

	fd = bench_vfio_export(&w.vfio, 0, PIECE, pieces);
	CHECK(fd >= 0);
	w.theirs = (struct edu_peer_bench){ .files = 1, .rounds = 1, .fd = { fd } };
	if (ioctl(w.peer, EDU_PEER_BENCH, &w.theirs)) {
		/* Behind an IOMMU the kernel's helper does not map several ranges; what is left is a dma-buf for each. */
		vm_note("vfio-pci cannot map %u ranges: %s", pieces, strerror(errno));
		close_files(&w.theirs);
		peer = "vfio-pci, a dma-buf per range";
		for (i = 0; i < pieces; i++) {
			w.theirs.fd[i] = bench_vfio_export(&w.vfio, 2 * i * PIECE, PIECE, 1);
			CHECK(w.theirs.fd[i] >= 0);
		}
		w.theirs.files = pieces;
	}
	bench_run(&(struct bench){ .name = "import_scattered",
				   .unit = "ns",
				   .peer = peer,
				   .ours = import_ours,
				   .theirs = import_theirs });
	close_files(&w.ours);
	close_files(&w.theirs);
	CHECK_EQ(card_unmap(w.card, va), 0);
	CHECK_EQ(card_free(w.card, handle), 0);
}

/* --- revoke --------------------------------------------------------------------------------- */
static void attach_all(int dmabuf)
{
	struct edu_peer_attach args = { .fd = dmabuf, .kind = EDU_PEER_DYNAMIC, .count = w.attachments };

	CHECK_EQ(ioctl(w.peer, EDU_PEER_ATTACH, &args), 0);
	CHECK_EQ(peer_map(w.peer), 0);
}

static void detach_all(int dmabuf)
{
	struct edu_peer_state state;

	peer_state(w.peer, &state);
	CHECK_EQ(state.invalidations, w.attachments);
	CHECK_EQ(state.mapped, 0);
	CHECK_EQ(peer_detach(w.peer), 0);
	close(dmabuf);
}

static double revoke_ours(void *unused)
{
	unsigned int i, n = bench_iterations(10);
	uint64_t sum = 0;

	(void)unused;
	for (i = 0; i < n; i++) {
		struct gaudi_p2p_revoke args = { .flags = GAUDI_P2P_REVOKE_FD };
		uint64_t start;

		args.fd = card_export(w.card, w.va, 0, PIECE);
		CHECK(args.fd >= 0);
		attach_all(args.fd);
		start = bench_now();
		CHECK_EQ(ioctl(w.card, DRM_IOCTL_GAUDI_P2P_REVOKE, &args), 0);
		sum += bench_now() - start;
		CHECK_EQ(args.held, 0);
		detach_all(args.fd);
	}
	return (double)sum / n;
}

static double revoke_theirs(void *unused)
{
	unsigned int i, n = bench_iterations(10);
	uint64_t sum = 0;

	(void)unused;
	for (i = 0; i < n; i++) {
		int fd = bench_vfio_export(&w.vfio, 0, PIECE, 1);
		uint64_t start;

		CHECK(fd >= 0);
		attach_all(fd);
		start = bench_now();
		bench_vfio_sleep(&w.vfio, true);
		sum += bench_now() - start;
		detach_all(fd);
		bench_vfio_sleep(&w.vfio, false);
	}
	return (double)sum / n;
}

static void bench_revoke(unsigned int attachments)
{
	char name[32];

	snprintf(name, sizeof(name), "revoke_%u", attachments);
	w.attachments = attachments;
	bench_run(&(struct bench){ .name = name,
				   .unit = "ns",
				   .peer = "vfio-pci, low power entry",
				   .ours = revoke_ours,
				   .theirs = revoke_theirs });
}

/* --- scrub ------------------------------------------------------------------------------------ */
/* The worker begins when memory is freed, and an allocation of all of it waits until it is done. */
static double scrub_ours(void *all)
{
	uint64_t *handle = all, start = bench_now();

	CHECK_EQ(card_free(w.card, *handle), 0);
	CHECK_EQ(card_alloc(w.card, w.card_size, HL_MEM_CONTIGUOUS, handle), 0);
	return (double)w.card_size / MIB / ((double)(bench_now() - start) / 1e9);
}

static double fill_user(void *unused)
{
	uint64_t start = bench_now();

	(void)unused;
	memset(w.vfio.memory, 0, w.card_size);
	return (double)w.card_size / MIB / ((double)(bench_now() - start) / 1e9);
}

static double fill_kernel(void *kernel)
{
	uint64_t ns;

	CHECK_EQ(ioctl(*(int *)kernel, EDU_PEER_FILL, &ns), 0);
	return (double)w.size / MIB / ((double)ns / 1e9);
}

/* --- allocation ------------------------------------------------------------------------------- */
static double alloc_ours(void *unused)
{
	unsigned int i, n = bench_iterations(1000);
	uint64_t handle, start = bench_now();

	(void)unused;
	for (i = 0; i < n; i++) {
		CHECK_EQ(card_alloc(w.virtual, CARD_PAGE, 0, &handle), 0);
		CHECK_EQ(card_free(w.virtual, handle), 0);
	}
	return (double)(bench_now() - start) / n;
}

static uint32_t vgem_create(void)
{
	struct drm_mode_create_dumb args = { .width = 256, .height = 64, .bpp = 32 };

	CHECK_EQ(ioctl(w.vgem, DRM_IOCTL_MODE_CREATE_DUMB, &args), 0);
	return args.handle;
}

static void vgem_destroy(uint32_t handle)
{
	struct drm_mode_destroy_dumb args = { .handle = handle };

	CHECK_EQ(ioctl(w.vgem, DRM_IOCTL_MODE_DESTROY_DUMB, &args), 0);
}

static double alloc_theirs(void *unused)
{
	unsigned int i, n = bench_iterations(1000);
	uint64_t start = bench_now();

	(void)unused;
	for (i = 0; i < n; i++)
		vgem_destroy(vgem_create());
	return (double)(bench_now() - start) / n;
}

static double bench_alloc(unsigned int live)
{
	static uint64_t handle[LIVE_MAX];
	static uint32_t dumb[LIVE_MAX];
	char name[32];
	unsigned int i;
	double ns;

	for (i = 0; i < live; i++) {
		CHECK_EQ(card_alloc(w.virtual, CARD_PAGE, 0, &handle[i]), 0);
		dumb[i] = vgem_create();
	}
	snprintf(name, sizeof(name), "alloc_free_%u_live", live);
	ns = bench_run(&(struct bench){ .name = name,
					.unit = "ns",
					.peer = "vgem, dumb buffer",
					.ours = alloc_ours,
					.theirs = alloc_theirs });
	for (i = 0; i < live; i++) {
		CHECK_EQ(card_free(w.virtual, handle[i]), 0);
		vgem_destroy(dumb[i]);
	}
	return ns;
}

/* --- all ------------------------------------------------------------------------------------------ */
static int open_vgem(void)
{
	char path[32], name[32];
	unsigned int i;

	for (i = 0; i < 8; i++) {
		struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };
		int fd;

		snprintf(path, sizeof(path), "/dev/dri/card%u", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && !ioctl(fd, DRM_IOCTL_VERSION, &version) && !strncmp(name, "vgem", 4))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	vm_fail(__FILE__, __LINE__, "no vgem");
}

static int open_virtual(void)
{
	char path[64], target[256];
	unsigned int i;

	for (i = 0; i < 16; i++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/sys/class/accel/accel%u", i);
		n = readlink(path, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = 0;
		if (strstr(target, "/pci0"))
			continue;
		snprintf(path, sizeof(path), "/dev/accel/accel%u", i);
		return open(path, O_RDWR | O_CLOEXEC);
	}
	vm_fail(__FILE__, __LINE__, "no virtual device");
}

static void bench_scrub(void)
{
	int kernel = peer_open(), fd;
	uint64_t handle, va;

	CHECK_EQ(card_alloc(w.card, w.card_size, HL_MEM_CONTIGUOUS, &handle), 0);
	bench_run(&(struct bench){ .name = "scrub",
				   .unit = "MiB/s",
				   .peer = "memset of the BAR in user space",
				   .ours = scrub_ours,
				   .theirs = fill_user,
				   .context = &handle });
	CHECK_EQ(card_free(w.card, handle), 0);

	/* The kernel's fill goes through a vmap of card 0, beside memory that is scrubbed. */
	CHECK_EQ(card_alloc(w.card, w.size, HL_MEM_CONTIGUOUS, &handle), 0);
	CHECK_EQ(card_map(w.card, handle, &va), 0);
	fd = card_export(w.card, va, 0, w.size);
	CHECK(fd >= 0);
	CHECK_EQ(peer_attach(kernel, fd, EDU_PEER_KERNEL, 0), 0);
	CHECK_EQ(peer_map(kernel), 0);
	bench_run(&(struct bench){ .name = "fill_memset_io",
				   .unit = "MiB/s",
				   .peer = "memset of the BAR in user space",
				   .ours = fill_kernel,
				   .theirs = fill_user,
				   .context = &kernel });
	close(kernel);
	close(fd);
	CHECK_EQ(card_unmap(w.card, va), 0);
	CHECK_EQ(card_free(w.card, handle), 0);
}

static void clean_up(void)
{
	char pci[32], path[96];

	close(w.peer);
	close(w.card);
	close(w.virtual);
	close(w.vgem);
	bench_vfio_close(&w.vfio);
	WAIT_FOR(vm_rmmod("gaudi_p2p") == 0, 20);
	/* The next test finds card 1 as it was. */
	card_pci(1, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", pci);
	CHECK_EQ(vm_write(path, "\n"), 0);
	CHECK_EQ(vm_write("/sys/bus/pci/drivers/vfio-pci/unbind", pci), 0);
	CHECK_EQ(vm_rmmod("vgem"), 0);
}

TEST(benchmarks_run_beside_their_peers, .seconds = 120, .long_seconds = 3600)
{
	bool whole = bench_iterations(10) == 10;
	uint64_t handle;
	double few, many;

	bench_vfio_open(&w.vfio, 1);
	CHECK_EQ(vm_insmod("gaudi_p2p", whole ? "emulated=1 virtual=1 virtual_mb=700"
					      : "emulated=1 virtual=1 virtual_mb=64"),
		 0);
	w.card = card_open(0, 0);
	CHECK(w.card >= 0);
	w.peer = peer_open();
	w.virtual = open_virtual();
	w.vgem = open_vgem();
	CHECK(w.virtual >= 0);
	w.card_size = host_card_size(0);
	w.size = w.card_size / 4;
	vm_note("exports of %llu MiB, card of %llu MiB", (unsigned long long)(w.size / MIB),
		(unsigned long long)(w.card_size / MIB));

	CHECK_EQ(card_alloc(w.card, w.size, HL_MEM_CONTIGUOUS, &handle), 0);
	CHECK_EQ(card_map(w.card, handle, &w.va), 0);
	bench_run(&(struct bench){ .name = "export_close",
				   .unit = "ns",
				   .peer = "vfio-pci",
				   .ours = export_ours,
				   .theirs = export_theirs });
	bench_contiguous();
	bench_scattered();
	bench_revoke(1);
	bench_revoke(10);
	bench_revoke(100);
	CHECK_EQ(card_unmap(w.card, w.va), 0);
	CHECK_EQ(card_free(w.card, handle), 0);
	bench_scrub();
	few = bench_alloc(100);
	many = bench_alloc(whole ? LIVE_MAX : 500);
	bench_result("driver/alloc_free_many_live", many, "ns", "100 live", few);
	clean_up();
}
