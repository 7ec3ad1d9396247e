/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an attachment holds, on disk: STATEDIR/CONTAINERID-IFNAME.json, written
 * before the first device is touched and gone after the last one is back. It
 * is the only memory between ADD and DEL, and the record of who owns a NIC.
 */
#ifndef CNI_RDMA_STATE_H
#define CNI_RDMA_STATE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "netns.h"
#include "rdmanl.h"
#include "request.h"

#define STATE_VERSION 1
#define STATE_MAX_BYTES (256u * 1024)
#define STATE_MAX_NICS 64

/* One NIC function and how it was on the host. */
struct state_nic {
	char pci[24];
	char gaudi[64];		    /* the Gaudi it is paired with; "" when it was asked for by itself */
	char rdma[RDMANL_NAME_MAX]; /* name of the RDMA device, in both namespaces */
	char netdev[IFNAMSIZ];	    /* name on the host */
	char pod_netdev[IFNAMSIZ];  /* name in the pod */
	char uverbs[32];	    /* "uverbs0" */
	uint64_t chardev;	    /* its device number, as rdmanl_chardev() gives it */
	uint32_t rdma_index;	    /* of the RDMA device before ADD; 0: not known */
	uint64_t node_guid;
	unsigned mtu;
	bool up;	 /* the netdev was up */
	bool soft;	 /* Soft-RoCE: the link dies when its netdev moves */
	bool infiniband; /* the netdev ends when its RDMA device moves, and is made anew */
};

/* A Soft-RoCE link that we made on an interface of the pod: mode "soft". rdma is "" when there is none. */
struct state_link {
	char rdma[RDMANL_NAME_MAX];
	char netdev[IFNAMSIZ];
};

struct state {
	char container[REQUEST_ID_MAX + 1];
	char ifname[IFNAMSIZ];
	char network[256];
	char pod[512];	 /* "namespace/name", for messages; "" when not known */
	char netns[256]; /* path given at ADD */
	struct netns_id netns_id;
	char boot_id[40]; /* of the boot in which it was written */
	struct state_link link;
	size_t n;
	struct state_nic *nics; /* owned */
};

void state_free(struct state *state);
DEFINE_CLEANUP(struct state *, state_free)

/* An empty one for n NICs; NULL: out of memory. */
struct state *state_new(size_t n);

/*
 * From text. *ret is untouched on failure and why (size bytes) says what is wrong:
 * -EBADMSG not JSON, truncated, impossible; -EPROTONOSUPPORT a version this
 * program does not know; -EFBIG; -ENOMEM.
 */
int state_parse(const char *text, size_t len, struct state **ret, char *why, size_t size);

/* The text, freed by the caller; NULL: out of memory. */
char *state_format(const struct state *state);

/*
 * The files of a directory. state_load() fails as state_parse(), with
 * -ENOENT when there is none, with -EBADMSG when the file is another attachment's.
 */
int state_load(int dirfd, const char *container, const char *ifname, struct state **ret, char *why,
	       size_t size);
/* Whether there is a file of it, readable or not. */
bool state_exists(const char *dir, const char *container, const char *ifname);

int state_save(int dirfd, const struct state *state);
/* 0 also when there is none. */
int state_remove(int dirfd, const struct state *state);

/* All attachments of the directory. Files that make no sense are logged, left out and counted. */
struct state_list {
	struct state **states;
	size_t n, skipped;
};

int state_list_load(int dirfd, struct state_list *ret);
void state_list_done(struct state_list *list);

/* The recorded owner of a NIC, or NULL. */
struct state *state_list_owner(const struct state_list *list, const char *pci);

/* Forgets one NIC of a state (not of its file). */
void state_drop_nic(struct state *state, const char *pci);

#endif
