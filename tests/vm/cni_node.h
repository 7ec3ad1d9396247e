/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node that cni-rdma works on: virtio NICs with Soft-RoCE links in
 * exclusive mode, pods that are network namespaces, calls of the plugin. What
 * the tests believe is read from sysfs, not from the plugin.
 */
#ifndef CNI_NODE_H
#define CNI_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define NODE_NICS 2
#define NODE_TEXT 8192
#define NODE_STATE_DIR "/var/lib/cni/cni-rdma"

struct node_nic {
	char pci[16];
	char netdev[16];
	char rdma[16];
	int uverbs; /* number */
};

extern struct node_nic node_nics[NODE_NICS];

/*
 * Exclusive mode, one link on each virtio NIC, no state files. Fails the test
 * when the machine is not made for it. Every test begins here; it also removes what a
 * failed one left.
 */
void node_begin(void);
void node_begin_shared(void);

/*
 * The same with NICs as hardware has them: instead of links, RDMA devices below the PCI functions, which live on when
 * their netdev moves (modules/rdma_card.c). parameters: more of that module's, or "".
 */
void node_begin_cards(const char *parameters);
/*
 * The NICs are InfiniBand's: their netdevs are ib_ipoib's, and end when the RDMA devices move. With "make_netdevs=1" they
 * are made as older kernels make them, in the first namespace.
 */
void node_begin_infiniband(const char *parameters);

/* A pairing file in which Gaudi HL1 has the first NIC. Its path. */
const char *node_write_pairs(void);

/* Leaves the machine as other tests expect it: shared mode, no links and no cards. */
void node_end(void);

/* The NICs and RDMA devices as the host sees them, one line each, always in the same order. */
void node_snapshot(char *text, size_t size);

/* Fails the test unless they are as node_begin() left them, or as they were at node_remember(). */
void node_remember(void);
void node_check_as_before(const char *when);

/* The names in a folder, sorted; the last is NULL. Never freed: a test is a short-lived process. */
char **node_names_in(const char *path);

/* How many attachments are on record. */
int node_state_files(void);

/* Runs a program of the guest and returns its exit status; words separated by blanks. */
int node_run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- pods ------------------------------------------------------------------ */
struct pod {
	char name[24];	/* container ID too */
	char netns[48]; /* path, as the runtime gives it */
};

/* Makes and ends a namespace with a name, as a container runtime does. */
struct pod pod_new(const char *name);
void pod_end(const struct pod *pod);

/*
 * The same, and waits until the kernel has taken it apart so far that RDMA no longer knows it: in shared mode ib_core uses
 * a namespace after it is gone when in that moment a device goes or the mode is set (remove_one_compat_dev() against
 * rdma_dev_exit_net() in drivers/infiniband/core/device.c). A namespace loses its netdevs after that, because net/core is
 * older than ib_core.
 */
void pod_end_and_wait(const struct pod *pod);

/* Runs fn(arg) in a child inside the pod, with the pod's sysfs on /sys; returns its pid. */
pid_t pod_child(const struct pod *pod, void (*fn)(void *arg), void *arg);

/* What the pod sees: "netdev rdma0 up ..." and "rdma rxe0 on rdma0 uverbs0 gid", one line each, sorted. */
void pod_snapshot(const struct pod *pod, char *text, size_t size);

/* Fails the test unless the pod has exactly the NICs of that bit mask, named rdma0 on, each under its number. */
void pod_check(const struct pod *pod, unsigned int mask);
/* The same beside other interfaces, as pod_snapshot() shows them. */
void pod_check_beside(const struct pod *pod, unsigned int mask, const char *others);

/* --- the plugin ------------------------------------------------------------ */
#define ALLOW_SHARED "\"allowShared\":true," /* for call.extra */

struct call {
	const char *verb;
	const struct pod *pod;
	const char *device; /* deviceID, or NULL */
	bool in_cluster;   /* for a pod of Kubernetes even with a device, which then is to be the pod's own */
	const char *fault; /* STEP or STEP:kill, or NULL */
	const char *pairs; /* path of the pairing file, or NULL */
	const char *extra; /* more keys of the configuration, ending with a comma, or NULL */
	const char *prev;  /* prevResult, or NULL */
	size_t memory;	   /* bytes of address space that it may have; 0: no limit */
	unsigned int files; /* open files that it may have; 0: no limit */
	const char *root;   /* its root folder, or NULL */
	int code;	    /* error code in the answer; 0: none */
	int status;	    /* exit status; 128 + n: signal n */
	double seconds;
	char answer[NODE_TEXT]; /* standard output */
};

/* Starts it; call_end() waits and fills the last four. */
pid_t call_begin(struct call *call, int *ret_pipe);
void call_end(struct call *call, pid_t pid, int pipe);

/* Both; returns the error code, 0 when it went well. */
int call_plugin(struct call *call);

#define CNI(...) call_plugin(&(struct call){ __VA_ARGS__ })

#endif
