// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who owns a lease: the opener's network namespace, which is the pod. In the initial namespace (host network) it is
 * the opener's cgroup.
 */
#include <linux/cgroup.h>
#include <linux/nsproxy.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <net/net_namespace.h>

#include "gaudi_device.h"

/* Owners of living leases. */
static LIST_HEAD(gaudi_owner_list);
static DEFINE_SPINLOCK(gaudi_owner_lock);

static u64 gaudi_owner_current_cgroup(void)
{
	guard(rcu)();
	return cgroup_id(task_dfl_cgroup(current));
}

/* The calling task becomes the owner. */
void gaudi_owner_init(struct gaudi_owner *owner)
{
	struct net *net = current->nsproxy->net_ns;

	owner->net_inum = net->ns.inum;
	owner->pid = task_tgid_nr(current);
	if (net_eq(net, &init_net)) {
		struct cgroup *cgrp;

		rcu_read_lock();
		cgrp = task_dfl_cgroup(current);
		/* Ids are never used again, so the cgroup itself need not be kept. */
		owner->cgroup = cgroup_id(cgrp);
		owner->cgroup_root = !cgroup_parent(cgrp);
		cgroup_path(cgrp, owner->path, sizeof(owner->path));
		rcu_read_unlock();
	}
	spin_lock(&gaudi_owner_lock);
	owner->net = net;
	list_add(&owner->node, &gaudi_owner_list);
	spin_unlock(&gaudi_owner_lock);
}

/* The lease is over; idempotent only through its caller. */
void gaudi_owner_done(struct gaudi_owner *owner)
{
	spin_lock(&gaudi_owner_lock);
	list_del(&owner->node);
	spin_unlock(&gaudi_owner_lock);
}

/*
 * The pointer is compared, never followed. It cannot be one that was used again: the exit hook clears it before the
 * namespace is freed, and the caller's own namespace is alive.
 */
bool gaudi_owner_is_current(const struct gaudi_owner *owner)
{
	const struct nsproxy *ns = current->nsproxy;

	if (!ns || READ_ONCE(owner->dead) || ns->net_ns != READ_ONCE(owner->net))
		return false;
	return !owner->cgroup || owner->cgroup == gaudi_owner_current_cgroup();
}

/*
 * Whether no task lives in the namespace, and no file or mount names it. Sockets that were passed elsewhere may keep
 * such a namespace from dying; they shall not keep the device.
 */
bool gaudi_owner_is_idle(struct gaudi_owner *owner)
{
	bool idle;

	spin_lock(&gaudi_owner_lock);
	idle = !owner->net || !ns_ref_active_read(owner->net);
	spin_unlock(&gaudi_owner_lock);
	return idle;
}

/*
 * A namespace dies. Its leases answer -ENODEV from here on; the worker ends them, because importers' callbacks have no
 * place inside the cleanup of a namespace.
 */
static void __net_exit gaudi_owner_net_exit(struct net *net)
{
	struct gaudi_owner *owner;

	spin_lock(&gaudi_owner_lock);
	list_for_each_entry(owner, &gaudi_owner_list, node) {
		struct gaudi_lease *lease = container_of(owner, struct gaudi_lease, owner);

		if (owner->net != net)
			continue;
		WRITE_ONCE(owner->dead, true);
		WRITE_ONCE(owner->net, NULL);
		queue_work(gaudi_wq, &lease->gdev->work);
	}
	spin_unlock(&gaudi_owner_lock);
}

static struct pernet_operations gaudi_owner_net_ops = {
	.pre_exit = gaudi_owner_net_exit,
};

int gaudi_owner_register(void)
{
	return register_pernet_device(&gaudi_owner_net_ops);
}

void gaudi_owner_unregister(void)
{
	unregister_pernet_device(&gaudi_owner_net_ops);
}
