/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the plugin knows and decides, without any I/O: scans go in, devices,
 * pairs and answers come out. Time is an argument.
 */
#ifndef DEVICE_PLUGIN_CORE_H
#define DEVICE_PLUGIN_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "health.h"
#include "sysfs/inventory.h"
#include "sysfs/pairing.h"
#include "sysfs/pairs.h"

/* How long a missing NIC keeps its place in a pair: links are made anew on moves, drivers reloaded. */
#define CORE_NIC_MISSING_MS 60000

/*
 * The kubelet is asked who holds what only when that decides something (core_ask_ms).
 * A lease that it does not account for for so long is a stranger's. While it
 * lists no pod at all it has probably not read them yet, after a restart of its own.
 */
#define CORE_STRANGER_MS 5000
#define CORE_STRANGER_EMPTY_MS 60000
/* How long an allocation may be missing in its list: it gets there after Allocate was answered. */
#define CORE_ALLOCATION_MS 10000
/* How often it is asked: about a lease that is in doubt, about a stranger's, about unused allocations. */
#define CORE_ASK_DOUBT_MS 1000
#define CORE_ASK_STRANGER_MS 5000
#define CORE_ASK_UNUSED_MS 60000

struct device {
	struct gaudi *gaudi; /* as last seen; a reference */
	struct health health;
	bool is_allocated; /* the kubelet has given it to a pod, and it was not seen free after being in use */
	bool was_used;	   /* its lease was seen taken since then */
	uint64_t allocated_ms;	 /* when that became known */
	uint64_t nic_missing_ms; /* since when its NIC is nowhere to be seen; 0: it is there */
	/* About the lease that is held now: */
	bool is_accounted;    /* it began when the kubelet had given the device away */
	bool is_older;	      /* it is older than the allocation, and was not accounted for */
	bool is_strangers;    /* the kubelet knows nothing of the holder */
	uint64_t doubtful_ms; /* since when the kubelet's list lacks it; 0: it does not */
	char *holder;	      /* who that is, NULL when it cannot be seen */
};

struct core_options {
	const char *mode;	    /* of the pairing; "paired-strict": Gaudis without a NIC are unhealthy */
	const char *const *exclude; /* patterns of NICs never to be handed out */
	size_t n_exclude;
};

/*
 * How long a NIC must have been in no pair before it is offered by itself. In
 * mode paired Gaudis may come later than NICs (their driver is loaded, a slot
 * is filled), and what a pod has can no longer be paired. After a restart of the
 * plugin there is no wait when all Gaudis of before are there: the kubelet
 * would miss what it had.
 */
#define CORE_NIC_SINGLE_MS 30000

/* A NIC function in no pair. */
struct core_nic {
	struct pairs_nic name;
	int numa_node;
	bool is_offered;     /* handed out by itself; never taken back while it is in no pair */
	uint64_t since_ms;   /* in no pair since then */
	uint64_t missing_ms; /* since when it is nowhere to be seen; 0: it is there */
};

struct core {
	struct core_options options;
	struct inventory *inventory; /* the last scan; NULL before the first */
	struct pairs *pairs;
	size_t n_device;
	struct device *device; /* sorted by id */
	size_t n_nic;
	struct core_nic *nic; /* sorted by PCI address: functions in no pair */
	uint64_t started_ms;
	bool was_persisted; /* a pairing of an earlier process was there */
	bool is_strict;	    /* mode paired-strict; options.mode is then "paired" */
	bool was_asked;	    /* the kubelet, who holds what */
	uint64_t asked_ms;
};

enum {
	CORE_DEVICES = 1 << 0, /* the list for the kubelet may differ */
	CORE_PAIRS = 1 << 1,   /* the pairing differs */
};

/*
 * old_pairs (may be NULL) is what was persisted and becomes the core's. The
 * strings of options must outlive it. core_done() frees.
 */
void core_init(struct core *core, const struct core_options *options, struct pairs *old_pairs,
	       uint64_t now_ms);
void core_done(struct core *core);

/*
 * Takes a scan (which becomes the core's, also on failure): health, pairs,
 * devices that are new or gone. A set of CORE_ bits, or -ENOMEM: then nothing changed
 * but the time.
 */
int core_update(struct core *core, struct inventory *inventory, uint64_t now_ms);

/* Allocate has given the device to a pod. */
void core_allocate(struct core *core, const char *id, uint64_t now_ms);

/* In how many milliseconds the kubelet should be asked who holds what; UINT64_MAX: there is no need. */
uint64_t core_ask_ms(const struct core *core, uint64_t now_ms);

/* Whether the kubelet may know nothing of the lease that is held now. */
bool core_is_doubtful(const struct device *device);

/*
 * The kubelet's answer: it has given these Gaudis to pods, of n_pods that it
 * lists. It was asked at asked_ms. True when the health of a device changed.
 */
bool core_account(struct core *core, const char *const *ids, size_t n, size_t n_pods, uint64_t asked_ms,
		  uint64_t now_ms);

/* In how many milliseconds a scan is due although nothing happened; UINT64_MAX: never. */
uint64_t core_next_ms(const struct core *core, uint64_t now_ms);

struct device *core_find(const struct core *core, const char *id);
const struct core_nic *core_find_nic(const struct core *core, const char *pci);

/* Whether any NIC is offered by itself. */
bool core_offers_nics(const struct core *core);

/* The NIC that goes with a Gaudi, or NULL. */
const struct pairs_nic *core_nic_of(const struct core *core, const char *id);

/*
 * GetPreferredAllocation: chooses size of the available ids, the musts among
 * them. Ids that are not known are chosen last. The ids written to chosen
 * (size entries) are those of the arguments. Their number, or -ENOMEM.
 */
int core_prefer(const struct core *core, const char *const *available, size_t n_available,
		const char *const *must, size_t n_must, size_t size, const char **chosen);

/* Whether a container that holds this device may start. */
enum core_ready {
	CORE_READY,
	CORE_WAIT,  /* not yet, by itself it may become so */
	CORE_NEVER, /* not without somebody's help */
};

/* reason (size bytes) says why not; it is written unless CORE_READY is returned. */
enum core_ready core_is_ready(const struct core *core, const char *id, char *reason, size_t size);

#endif
