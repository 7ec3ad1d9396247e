/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver onto a node, and away from it again. Every step leaves the node as it was or as it shall be, may be
 * repeated, and is left out when there is nothing to do.
 *
 * Which module: the one that dkms has installed for the running kernel, if it has, because then the host wants it so;
 * else that of the image, modules/RELEASE/gaudi_p2p.ko below the source. Nothing is compiled here: that needs the
 * compiler of the kernel, which is what dkms on the host is for.
 *
 * A module of another version is replaced only when no pod holds a Gaudi and every lease has ended. Until then the loader
 * takes the leases of free cards itself (by opening them), so that no pod can get one: nobody's lease is ever ended by
 * it, there is no moment between a look and the deed, and whatever becomes of the loader, the kernel ends its leases.
 * The device plugin shows such cards as unhealthy, with us as the holder.
 *
 * What it changed stands in RECORDS:
 *   NAME.wrote   the text of the host's file NAME as we wrote it
 *   loaded       this boot's id, then the modules that we loaded, the driver and what it needs, one a line
 *   policy       this boot's id, then what a driver that we did not load had as its policy before us
 * The folder is there as long as anything is to be taken back, and goes last.
 */
#ifndef DRIVER_LOADER_LOADER_H
#define DRIVER_LOADER_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/report.h"

#define LOADER_MODULE "gaudi_p2p"
#define LOADER_PACKAGE "gaudi-p2p" /* its name in dkms */
/* Below the root. */
#define LOADER_FOLDER "var/lib/gaudi-p2p" /* the device plugin's too */
#define LOADER_RECORDS LOADER_FOLDER "/driver-loader"
#define LOADER_CONF "etc/cni/net.d"
#define LOADER_POD_RESOURCES "/var/lib/kubelet/pod-resources/kubelet.sock"
#define LOADER_CARDS_MAX 256
#define LOADER_PARAMS_MAX 1024
/*
 * How long all cards must have been held before the module goes: the device plugin has then told the kubelet (it does so
 * after 5 s), which gives none of them to a pod any more, and what it gave before that it lists.
 */
#define LOADER_SETTLE_MS 8000

/* Who has a device, in the kubelet's words. */
struct loader_grant {
	char id[128];  /* Device ID: the card's serial or PCI address */
	char pod[320]; /* NAMESPACE/NAME */
};

struct loader_grants {
	struct loader_grant *list;
	size_t n;
};

/* The calls that a test answers itself; sys.h has the real ones. Each returns 0 (or what it says) or -errno. */
struct loader_sys {
	int (*load)(int fd, const char *params, bool compressed);
	int (*unload)(const char *module); /* never waits: -EWOULDBLOCK, -EBUSY while it is in use */
	int (*open_card)(int root, const char *path); /* a descriptor; never waits */
	/* -ENOENT: nobody serves that socket. The caller frees ret->list. */
	int (*grants)(const char *socket, struct loader_grants *ret);
	/* The kernel's log, or nothing of it where that is not allowed. The caller frees. */
	char *(*kernel_log)(void);
	uint64_t (*now_ms)(void);
};

enum loader_policy {
	LOADER_POLICY_AUTO, /* hold where cni-rdma ends regions, else refuse */
	LOADER_POLICY_REFUSE,
	LOADER_POLICY_HOLD,
};

/* A card whose lease we have. */
struct loader_held {
	char card[32];
	int fd;
	uint64_t since_ms;
};

struct loader {
	int root;   /* the node's file system */
	int source; /* the folder with modules/ and etc/ */
	const struct loader_sys *sys;
	const char *release;	   /* of the running kernel, */
	const char *machine;	   /* both as uname says */
	const char *conf;	   /* folder of the pod network, below root */
	const char *pod_resources; /* the kubelet's socket; NULL: the node has no kubelet */
	const char *params;	   /* for the module, over those of modprobe.d; "" for none */
	enum loader_policy policy;
	bool look; /* only look, change nothing */

	/* From one step to the next; zero at first. */
	struct loader_held held[LOADER_CARDS_MAX];
	size_t n_held;
	const char *loaded_from; /* what this process has loaded, in words; NULL: nothing */
};

/*
 * REPORT_IN_USE: cards are with pods or not free; REPORT_WAIT: no module for this kernel, or the kubelet does not
 * answer; REPORT_MISSING, when only looking: there is something to do.
 */
void loader_install(struct loader *loader, struct report *report);
void loader_uninstall(struct loader *loader, struct report *report);

/* Gives back every card that is held. */
void loader_done(struct loader *loader);

#endif
