// SPDX-License-Identifier: Apache-2.0
/* Calls on dma-bufs: mappings into processes, and the peer that attaches. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <edu_peer.h>
#include <linux/dma-buf.h>

#include "driver.h"
#include "vm.h"

#define PAGE 4096ull
/* What an owner writes: its own and nobody else's. */
#define TAG(lease) (0x6761756469000000ull | (lease))

/* --- mappings -------------------------------------------------------------------- */
static sigjmp_buf fault_return;

static void fault(int number)
{
	(void)number;
	siglongjmp(fault_return, 1);
}

/*
 * Reads and writes one word per page; -EFAULT when the mapping is, or becomes, one that raises a signal. Other tenants'
 * words, and anything that nobody wrote, fail the test.
 */
static int touch(const struct fuzz_thing *view, uint64_t first, uint64_t pages, bool check)
{
	struct sigaction action = { .sa_handler = fault }, bus, segv;
	volatile uint64_t *word;
	volatile int r = 0;
	volatile uint64_t i;

	sigaction(SIGBUS, &action, &bus);
	sigaction(SIGSEGV, &action, &segv);
	if (sigsetjmp(fault_return, 1)) {
		r = -EFAULT;
	} else {
		for (i = first; i < first + pages; i++) {
			uint64_t value;

			word = (volatile uint64_t *)(view->value + i * PAGE);
			value = *word;
			if (check && value && value != TAG(view->lease))
				vm_fail(__FILE__, __LINE__, "new memory of lease %u shows %#llx in page %llu",
					view->lease, (unsigned long long)value, (unsigned long long)i);
			*word = TAG(view->lease);
		}
	}
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	return r;
}

static int map_view(struct fuzz *f, const struct fuzz_file *dmabuf, struct fuzz_thing *view, int prot,
		    int flags, uint64_t offset)
{
	void *at;

	fuzz_called(f);
	at = mmap(NULL, view->size, prot, flags, dmabuf->fd, (off_t)offset);
	if (at == MAP_FAILED)
		return -errno;
	CHECK_MSG(!fuzz_is_stranger(f, dmabuf), "tenant %u mapped a dma-buf of tenant %u", f->tenant,
		  dmabuf->tenant);
	view->value = (uintptr_t)at;
	view->lease = dmabuf->lease;
	view->tenant = dmabuf->tenant;
	return 0;
}

int fuzz_view(struct fuzz *f, const struct fuzz_file *dmabuf, bool check)
{
	struct fuzz_thing view = { .size = dmabuf->size };
	int r = map_view(f, dmabuf, &view, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

	if (r)
		return r;
	r = touch(&view, 0, view.size / PAGE, check);
	fuzz_called(f);
	munmap((void *)view.value, view.size);
	return r;
}

/* What is revoked is tried again, but not all the time. */
static void forget_dead(struct fuzz *f, struct fuzz_file *dmabuf, int r)
{
	if (r == -ENODEV && fuzz_once_in(f, 3))
		fuzz_drop(f, dmabuf);
}

static int op_mmap(struct fuzz *f)
{
	struct fuzz_file *dmabuf = fuzz_pick(f, FUZZ_DMABUF);
	struct fuzz_thing view = { 0 };
	uint64_t offset = 0;
	int r;

	/* The pool forgets what it has no room for, and the address space is for more than this. */
	if (!dmabuf || f->views.n == FUZZ_THINGS)
		return FUZZ_NOTHING;
	view.size = dmabuf->size ? dmabuf->size : PAGE;
	if (fuzz_once_in(f, 6))
		offset = fuzz_below(f, 32) * PAGE;
	if (fuzz_once_in(f, 3))
		view.size = (1 + fuzz_below(f, 64)) * PAGE;
	view.size &= 0xfffffff;
	if (!view.size)
		view.size = PAGE;
	r = map_view(f, dmabuf, &view, (int)fuzz_below(f, 8) & (PROT_READ | PROT_WRITE),
		     fuzz_once_in(f, 10) ? MAP_PRIVATE : MAP_SHARED, offset);
	if (!r)
		fuzz_put(&f->views, f, view);
	forget_dead(f, dmabuf, r);
	return r;
}

static int op_touch(struct fuzz *f)
{
	struct fuzz_thing *view;
	uint64_t pages;

	if (!f->views.n)
		return FUZZ_NOTHING;
	view = &f->views.thing[fuzz_below(f, f->views.n)];
	pages = (view->size + PAGE - 1) / PAGE;
	return touch(view, fuzz_below(f, pages), 1, false);
}

static int op_change_view(struct fuzz *f)
{
	static const int advices[] = { MADV_DONTNEED, MADV_WILLNEED, MADV_DONTFORK,
				       MADV_DOFORK,   MADV_COLD,     MADV_PAGEOUT };
	struct fuzz_thing *view;
	void *at, *moved;
	int r;

	if (!f->views.n)
		return FUZZ_NOTHING;
	view = &f->views.thing[fuzz_below(f, f->views.n)];
	at = (void *)view->value;
	fuzz_called(f);
	switch (fuzz_below(f, 8)) {
	case 0:
		r = mprotect(at, view->size, (int)fuzz_below(f, 4));
		break;
	case 1:
		r = madvise(at, view->size, advices[fuzz_below(f, 6)]);
		break;
	case 2:
		r = mlock(at, view->size);
		break;
	case 3:
		moved = mremap(at, view->size, view->size, MREMAP_MAYMOVE | MREMAP_FIXED,
			       (void *)(0x200000000000 + (fuzz_below(f, 1 << 16) << 28)));
		r = moved == MAP_FAILED ? -1 : 0;
		if (!r)
			view->value = (uintptr_t)moved;
		break;
	case 4: /* a hole in it */
		r = munmap((char *)at + fuzz_below(f, (view->size + PAGE - 1) / PAGE) * PAGE, PAGE);
		break;
	default:
		r = munmap(at, view->size);
		fuzz_forget(&f->views, view);
	}
	return r ? -errno : 0;
}

/* --- the dma-buf's own calls ------------------------------------------------------- */
static int op_dmabuf(struct fuzz *f)
{
	struct fuzz_file *dmabuf = fuzz_pick(f, FUZZ_DMABUF);
	struct dma_buf_sync sync = { .flags = fuzz_below(f, 8) };
	struct dma_buf_export_sync_file out = { .flags = DMA_BUF_SYNC_RW };
	struct dma_buf_import_sync_file in = { .flags = DMA_BUF_SYNC_RW };
	struct pollfd wait = { .events = POLLIN | POLLOUT };
	int r;

	if (!dmabuf)
		return FUZZ_NOTHING;
	switch (fuzz_below(f, 5)) {
	case 0:
		return fuzz_ioctl(f, dmabuf, DMA_BUF_SET_NAME, (void *)"fuzz");
	case 1:
		fuzz_called(f);
		wait.fd = dmabuf->fd;
		return poll(&wait, 1, 0) < 0 ? -errno : 0;
	case 2:
		r = fuzz_ioctl(f, dmabuf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &out);
		if (r)
			return r;
		in.fd = out.fd;
		r = fuzz_ioctl(f, dmabuf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &in);
		close(out.fd);
		return r;
	case 3:
		fuzz_called(f);
		return lseek(dmabuf->fd, 0, SEEK_END) < 0 ? -errno : 0;
	default:
		return fuzz_ioctl(f, dmabuf, DMA_BUF_IOCTL_SYNC, &sync);
	}
}

/* --- the peer ------------------------------------------------------------------------ */
static int op_open_peer(struct fuzz *f)
{
	struct fuzz_file file = { .kind = FUZZ_PEER, .tenant = f->tenant };

	if (fuzz_count(f, FUZZ_PEER) >= 5)
		return FUZZ_NOTHING;
	fuzz_called(f);
	file.fd = open("/dev/edu_peer", O_RDWR | O_CLOEXEC);
	return file.fd < 0 ? -errno : fuzz_keep(f, file);
}

static int op_attach(struct fuzz *f)
{
	struct fuzz_file *peer = fuzz_pick(f, FUZZ_PEER), *dmabuf = fuzz_pick(f, FUZZ_DMABUF);
	struct edu_peer_attach args = { .kind = (uint32_t)fuzz_below(f, EDU_PEER_KINDS),
					.count = (uint32_t)fuzz_below(f, 4) };
	int r;

	if (!peer || !dmabuf)
		return FUZZ_NOTHING;
	args.fd = dmabuf->fd;
	if (fuzz_once_in(f, 3))
		args.delay_ms = fuzz_once_in(f, 8) ? EDU_PEER_NEVER : (uint32_t)fuzz_below(f, 20);
	/* It may have an attachment, and then cannot have another. */
	if (!fuzz_once_in(f, 8))
		fuzz_ioctl(f, peer, EDU_PEER_DETACH, NULL);
	r = fuzz_ioctl(f, peer, EDU_PEER_ATTACH, &args);
	CHECK_MSG(r || !fuzz_is_stranger(f, dmabuf), "tenant %u attached to a dma-buf of tenant %u",
		  f->tenant, dmabuf->tenant);
	/* Mapped at once, most of the time: attachments without mappings are the rarer case. */
	if (!r && !fuzz_once_in(f, 4))
		r = fuzz_ioctl(f, peer, EDU_PEER_MAP, NULL);
	forget_dead(f, dmabuf, r);
	return r;
}

static int op_peer(struct fuzz *f)
{
	static const unsigned long commands[] = { EDU_PEER_MAP, EDU_PEER_UNMAP, EDU_PEER_DETACH,
						  EDU_PEER_DETACH, EDU_PEER_SIGNAL };
	struct fuzz_file *peer = fuzz_pick(f, FUZZ_PEER);
	struct edu_peer_state state;

	if (!peer)
		return FUZZ_NOTHING;
	if (fuzz_once_in(f, 8))
		return fuzz_ioctl(f, peer, EDU_PEER_STATE, &state);
	return fuzz_ioctl(f, peer, commands[fuzz_below(f, 5)], NULL);
}

const struct fuzz_op fuzz_import_ops[] = {
	{ "mmap", 80, op_mmap },
	{ "touch a mapping", 100, op_touch },
	{ "change a mapping", 50, op_change_view },
	{ "calls of the dma-buf", 50, op_dmabuf },
	{ "open the peer", 15, op_open_peer },
	{ "attach", 140, op_attach },
	{ "map, unmap, detach", 50, op_peer },
	{ 0 },
};
