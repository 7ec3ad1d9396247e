/* SPDX-License-Identifier: Apache-2.0 */
/* A folder that plays a node with Gaudis, and a kernel that loads modules from it. */
#ifndef FAKE_NODE_H
#define FAKE_NODE_H

#include "../../deploy/driver-loader/loader.h"
#include "fakefs.h"

#define NODE_RELEASE "7.3.4+deb13-amd64"
#define NODE_IMAGE "modules/" NODE_RELEASE "/gaudi_p2p.ko"
#define NODE_LIB "lib/modules/" NODE_RELEASE "/"
#define NODE_RULES "etc/udev/rules.d/60-gaudi-p2p.rules"
#define NODE_BOOT "etc/modules-load.d/gaudi-p2p.conf"
#define NODE_CNI "etc/cni/net.d/10-net.conflist"
#define NODE_POLICY "sys/module/gaudi_p2p/parameters/nonrevocable"

struct node {
	struct fakefs *fs, *source;
	struct loader loader;
};

/* What the kernel and the kubelet do; all zero: what they are asked for. */
extern struct node_world {
	struct node *node;
	int load_error;	  /* of our module, */
	int need_error;	  /* of others */
	int unload_error; /* of ours */
	int open_error;	  /* of a card that is free */
	int grants_error;
	struct loader_grant grant; /* with an id: the one that the kubelet lists */
	const char *kernel_log;
	uint64_t now_ms;
	void (*aside)(bool begin); /* around what the fake kernel does, for tests whose allocations fail */
	char said[4096]; /* "load drm(z) modeset=0; load gaudi_p2p emulated=1; unload gaudi_p2p; " */
} node_world;

/* Two free cards; an image with version 1; drm and quirks to be loaded from the host, which has a pod network with cni-rdma
 * in exclusive mode. Of a cmocka test. */
int node_setup(void **state);
int node_teardown(void **state);

/* A module file. NULL: it does not say that. */
void node_put_module(struct fakefs *fs, const char *path, const char *release, const char *version,
		     const char *srcversion);

/* The driver of that version, loaded by somebody. */
void node_load(struct node *node, const char *version, const char *srcversion);

void node_put_card(struct node *node, unsigned i, const char *state, const char *reason, const char *owner,
		   const char *pid);

bool node_exists(struct node *node, const char *path);

/* Fails the test when the outcome, or words that must be in it, are others. */
void node_installs(struct node *node, enum report_outcome outcome, const char *words);
void node_uninstalls(struct node *node, enum report_outcome outcome, const char *words);

#endif
