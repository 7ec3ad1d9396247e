// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who owns a lease, or was granted an export: a network namespace, which is the pod. In the initial namespace (host
 * network) it is a cgroup.
 */
#include <linux/cgroup.h>
#include <linux/nsproxy.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <net/net_namespace.h>

#include "gaudi_device.h"

/* How often it is looked for owners of whom no task is left. */
#define GAUDI_OWNER_POLL	HZ
/* Searches through all tasks, for grantees, each time. */
#define GAUDI_OWNER_SEARCHES	16

/* Owners of living leases, and grantees. */
static LIST_HEAD(gaudi_owner_list);
static DEFINE_SPINLOCK(gaudi_owner_lock);

static void gaudi_owner_poll(struct work_struct *work);
static DECLARE_DELAYED_WORK(gaudi_owner_poll_work, gaudi_owner_poll);

static u64 gaudi_owner_cgroup(struct task_struct *task)
{
	guard(rcu)();
	return cgroup_id(task_dfl_cgroup(task));
}

/**
 * gaudi_owner_init - make the pod of a task the owner
 * @owner: zeroed, but for @grantee
 * @task: any task, referenced
 * @died: called once when the namespace has died, under a spinlock; may be NULL
 *
 * Returns 0, for gaudi_owner_done() later, or -ESRCH: the task has left its namespaces, it exits.
 */
int gaudi_owner_init(struct gaudi_owner *owner, struct task_struct *task, void (*died)(struct gaudi_owner *))
{
	struct net *net = NULL;

	task_lock(task);
	if (task->nsproxy)
		net = get_net(task->nsproxy->net_ns);
	task_unlock(task);
	if (!net)
		return -ESRCH;

	owner->died = died;
	owner->net_inum = net->ns.inum;
	owner->pid = task_tgid_nr(task);
	owner->seen = owner->pid;
	if (net_eq(net, &init_net)) {
		struct cgroup *cgrp;

		rcu_read_lock();
		cgrp = task_dfl_cgroup(task);
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
	queue_delayed_work(gaudi_wq, &gaudi_owner_poll_work, GAUDI_OWNER_POLL);
	/* If this was the last reference, the exit hook finds the owner on the list. */
	put_net(net);
	return 0;
}

/* Idempotent only through its caller. */
void gaudi_owner_done(struct gaudi_owner *owner)
{
	spin_lock(&gaudi_owner_lock);
	list_del(&owner->node);
	spin_unlock(&gaudi_owner_lock);
}

/* Whether both are the same pod; a dead one is nobody. Both are between init and done. */
bool gaudi_owner_is_same(const struct gaudi_owner *a, const struct gaudi_owner *b)
{
	struct net *net = READ_ONCE(a->net);

	return net && net == READ_ONCE(b->net) && a->cgroup == b->cgroup;
}

/* The owner rule: the same network namespace, and for owners in the initial one the same cgroup. */
bool gaudi_owner_is_pod(const struct gaudi_owner *owner, const struct net *net, u64 cgroup)
{
	if (READ_ONCE(owner->dead) || !net || net != READ_ONCE(owner->net))
		return false;
	return !owner->cgroup || owner->cgroup == cgroup;
}

/*
 * The pointer is compared, never followed. It cannot be one that was used again: the exit hook clears it before the
 * namespace is freed, and the task's own namespace is alive.
 */
static bool gaudi_owner_is_task(const struct gaudi_owner *owner, struct task_struct *task, const struct nsproxy *ns)
{
	return ns && gaudi_owner_is_pod(owner, ns->net_ns, owner->cgroup ? gaudi_owner_cgroup(task) : 0);
}

bool gaudi_owner_is_current(const struct gaudi_owner *owner)
{
	return gaudi_owner_is_task(owner, current, current->nsproxy);
}

static bool gaudi_owner_has(const struct gaudi_owner *owner, struct task_struct *task)
{
	bool has;

	task_lock(task);
	has = gaudi_owner_is_task(owner, task, task->nsproxy);
	task_unlock(task);
	return has;
}

/* Most often it is the same task as the last time; whose number that is by now is no matter. */
static bool gaudi_owner_is_seen(const struct gaudi_owner *owner)
{
	struct task_struct *task;

	lockdep_assert_held(&gaudi_owner_lock);
	guard(rcu)();
	task = pid_task(find_pid_ns(owner->seen, &init_pid_ns), PIDTYPE_PID);
	return task && gaudi_owner_has(owner, task);
}

/* Among all tasks; 0 if none is the owner's. */
static pid_t gaudi_owner_search(const struct gaudi_owner *owner)
{
	struct task_struct *process, *task;

	lockdep_assert_held(&gaudi_owner_lock);
	guard(rcu)();
	for_each_process_thread(process, task)
		if (gaudi_owner_has(owner, task))
			return task_pid_nr(task);
	return 0;
}

/*
 * Whether no task of the owner is left. Files of the namespace, mounts of it and sockets in it may be in others' hands
 * and keep it alive, as they may keep the accel file open; they shall not keep the device.
 */
bool gaudi_owner_is_idle(struct gaudi_owner *owner)
{
	guard(spinlock)(&gaudi_owner_lock);
	if (gaudi_owner_is_seen(owner))
		return false;
	owner->seen = gaudi_owner_search(owner);
	return !owner->seen;
}

/*
 * Leases answer -ENODEV and grants -EPERM from here on; workers end them, because importers' callbacks have no place in
 * the cleanup of a namespace.
 */
static void gaudi_owner_dies(struct gaudi_owner *owner)
{
	lockdep_assert_held(&gaudi_owner_lock);
	if (owner->dead)
		return;
	WRITE_ONCE(owner->dead, true);
	WRITE_ONCE(owner->net, NULL);
	if (owner->died)
		owner->died(owner);
}

static void __net_exit gaudi_owner_net_exit(struct net *net)
{
	struct gaudi_owner *owner;

	guard(spinlock)(&gaudi_owner_lock);
	list_for_each_entry(owner, &gaudi_owner_list, node)
		if (owner->net == net)
			gaudi_owner_dies(owner);
}

/* Once for everything that this pod owns. */
static void gaudi_owner_look(const struct gaudi_owner *pod)
{
	pid_t seen = gaudi_owner_search(pod);
	struct net *net = pod->net;
	struct gaudi_owner *owner;

	list_for_each_entry(owner, &gaudi_owner_list, node) {
		if (owner->net != net || owner->cgroup != pod->cgroup)
			continue;
		owner->seen = seen;
		if (!seen)
			gaudi_owner_dies(owner);
	}
}

/*
 * As long as there is somebody to look after. There are as many leases as devices, but as many grants as their givers
 * want: the latter take turns when too many of them need a search.
 */
static void gaudi_owner_poll(struct work_struct *work)
{
	unsigned int searches = GAUDI_OWNER_SEARCHES;
	struct gaudi_owner *owner;

	guard(spinlock)(&gaudi_owner_lock);
	list_for_each_entry(owner, &gaudi_owner_list, node)
		if (!owner->grantee && !owner->dead && !gaudi_owner_is_seen(owner))
			gaudi_owner_look(owner);
	list_for_each_entry(owner, &gaudi_owner_list, node) {
		if (!owner->grantee || owner->dead || gaudi_owner_is_seen(owner))
			continue;
		if (!searches--) {
			list_rotate_to_front(&owner->node, &gaudi_owner_list);
			break;
		}
		gaudi_owner_look(owner);
	}
	if (!list_empty(&gaudi_owner_list))
		queue_delayed_work(gaudi_wq, &gaudi_owner_poll_work, GAUDI_OWNER_POLL);
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
	cancel_delayed_work_sync(&gaudi_owner_poll_work);
}
