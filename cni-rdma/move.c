// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "fault.h"
#include "move.h"
#include "numbers.h"

#define LINK_TYPE "rxe"
#define LINK_GONE_MS 5000
#define LINK_DYING_MS 1000
#define POLL_MS 5

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void pause_ms(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/* One line per step, with what it cost since *since, which it moves on. */
#define step_done(move, since, format, ...)                                    \
	do {                                                                   \
		uint64_t now_ = now_us();                                      \
		log_info("%s: " format " (%.1f ms)", (move)->who, __VA_ARGS__, \
			 (double)(now_ - *(since)) / 1000);                    \
		*(since) = now_;                                               \
	} while (0)

/* "" or ", the kernel says: ..." with the kernel's own words. */
static const char *kernel_words(const struct nlchan *chan, char *buf, size_t size)
{
	const char *text = nlchan_error_text(chan);

	snprintf(buf, size, "%s%s", text[0] ? ", the kernel says: " : "", text);
	return buf;
}

static int fail_netlink(struct cni_error *error, int code, int r, const struct nlchan *chan, const char *what,
			const char *name)
{
	char words[NLCHAN_TEXT_MAX + 32];

	return cni_error_set(error, code, r, "cannot %s %s%s", what, name,
			     kernel_words(chan, words, sizeof(words)));
}

/* Its netdevs end with the move: one can be made as it was, but ports' cannot be told apart, and children are lost. */
static int check_infiniband(const struct move *move, const char *pci, const struct rtlink *link,
			    struct cni_error *error)
{
	struct rtlink child;
	char names[256];
	int r;

	r = place_name_netdevs(move->host, pci, names, sizeof(names));
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot tell the netdevs of NIC %s", pci);
	if (strchr(names, ',')) {
		cni_error_set(error, CNI_ERR_CANNOT_MOVE, 0,
			      "NIC %s is InfiniBand and has a netdev for each of its ports: %s", pci, names);
		return -EOPNOTSUPP;
	}
	r = place_is_connected(move->host, link->name);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot tell the mode of netdev %s", link->name);
	if (r > 0) {
		cni_error_set(error, CNI_ERR_CANNOT_MOVE, 0,
			      "netdev %s of NIC %s is in connected mode, which ends when it moves",
			      link->name, pci);
		cni_error_explain(error, "echo datagram >/sys/class/net/%s/mode, or use another NIC",
				  link->name);
		return -EOPNOTSUPP;
	}
	r = rtlink_find_child(move->host->rt, link->index, &child);
	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot look for netdevs on %s", link->name);
	cni_error_set(error, CNI_ERR_CANNOT_MOVE, 0,
		      "NIC %s is InfiniBand, and netdev %s on its %s would end when it moves", pci,
		      child.name, link->name);
	cni_error_explain(error, "take it down (ip link del %s), or use another NIC", child.name);
	return -EOPNOTSUPP;
}

/* Refuses what cannot be moved, or would not come out as it went in. */
static int check_kind(const struct move *move, const char *pci, const struct rtlink *link, const char *rdma,
		      struct state_nic *nic, struct cni_error *error)
{
	enum rdma_kind kind;
	int r = place_classify(move->host, pci, rdma, &kind);

	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot tell the kind of RDMA device %s", rdma);
	nic->soft = kind == RDMA_SOFT;
	nic->infiniband = kind == RDMA_INFINIBAND;
	if (kind == RDMA_ALIEN) {
		cni_error_set(error, CNI_ERR_CANNOT_MOVE, 0,
			      "RDMA device %s is neither of NIC %s itself nor Soft-RoCE on it", rdma, pci);
		return -EOPNOTSUPP;
	}
	return kind == RDMA_INFINIBAND ? check_infiniband(move, pci, link, error) : 0;
}

int move_inspect(const struct move *move, const char *pci, const char *netdev_hint, struct state_nic *nic,
		 struct cni_error *error)
{
	struct rdmanl_chardev chardev;
	struct rdmanl_device device;
	struct rtlink link;
	char names[256];
	int r;

	r = place_find_netdev(move->host, pci, netdev_hint, &link);
	if (r == -ENXIO)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, 0, "there is no PCI function %s", pci);
	if (r == -ENODEV)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, 0,
				     "NIC %s has no netdev in the host's namespace", pci);
	if (r == -ENOTUNIQ) {
		(void)place_name_netdevs(move->host, pci, names, sizeof(names));
		return cni_error_set(error, CNI_ERR_NO_DEVICE, 0,
				     "NIC %s has several netdevs, and nothing says which is meant: %s", pci,
				     names);
	}
	if (r < 0)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, r, "cannot tell the netdev of NIC %s", pci);
	r = place_find_rdma(move->host, pci, link.index, &device);
	if (r == -ENODEV)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, 0,
				     "NIC %s (%s) has no RDMA device in the host's namespace", pci,
				     link.name);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, r, "cannot tell the RDMA device of NIC %s",
				     pci);
	r = rdmanl_chardev(move->host->rdma, device.index, &chardev);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, r, "RDMA device %s has no uverbs device",
				     device.name);
	r = check_kind(move, pci, &link, device.name, nic, error);
	if (r < 0)
		return r;
	snprintf(nic->pci, sizeof(nic->pci), "%s", pci);
	memcpy(nic->rdma, device.name, sizeof(nic->rdma));
	memcpy(nic->netdev, link.name, sizeof(nic->netdev));
	memcpy(nic->uverbs, chardev.name, sizeof(nic->uverbs));
	nic->chardev = chardev.dev;
	nic->rdma_index = device.index;
	nic->node_guid = device.node_guid;
	nic->mtu = link.mtu;
	nic->up = link.up;
	return 0;
}

/* --- in -------------------------------------------------------------------- */

static int check_number(const struct state_nic *nic, struct nlchan *chan, uint32_t index, const char *when,
			struct cni_error *error)
{
	struct rdmanl_chardev chardev;
	int r = rdmanl_chardev(chan, index, &chardev);

	if (r < 0)
		return cni_error_set(error, CNI_ERR_CHARDEV, r, "RDMA device %s has no uverbs device %s",
				     nic->rdma, when);
	if (chardev.dev != nic->chardev || strcmp(chardev.name, nic->uverbs) != 0)
		return cni_error_set(error, CNI_ERR_CHARDEV, 0, "RDMA device %s was %s and is %s %s",
				     nic->rdma, nic->uverbs, chardev.name, when);
	return 0;
}

static int netdev_in(const struct move *move, const struct state_nic *nic, uint64_t *since,
		     struct cni_error *error)
{
	struct rtlink link;
	int r;

	r = rtlink_get(move->host->rt, nic->netdev, &link);
	if (r == 0)
		r = fault_point("netdev-move");
	if (r == 0)
		r = rtlink_move(move->host->rt, link.index, move->pod->netns_fd, nic->pod_netdev);
	if (r < 0)
		return fail_netlink(error, CNI_ERR_CANNOT_MOVE, r, move->host->rt, "move into the pod netdev",
				    nic->netdev);
	step_done(move, since, "moved netdev %s into the pod as %s", nic->netdev, nic->pod_netdev);
	return 0;
}

/*
 * A soft link dies when its netdev changes namespace, and the kernel takes it
 * apart at a time of its own. Taken down first, its number is free when this returns.
 */
static int soft_link_in(const struct move *move, const struct state_nic *nic, uint64_t *since,
			uint32_t *ret_index, struct cni_error *error)
{
	struct rdmanl_device device;
	int r;

	r = fault_point("link-delete");
	if (r == 0)
		r = rdmanl_del_link(move->host->rdma, nic->rdma_index);
	if (r < 0)
		return fail_netlink(error, CNI_ERR_CANNOT_MOVE, r, move->host->rdma, "take down link",
				    nic->rdma);
	step_done(move, since, "took down Soft-RoCE link %s, so that %s is free", nic->rdma, nic->uverbs);
	r = netdev_in(move, nic, since, error);
	if (r < 0)
		return r;
	r = fault_point("link-add");
	if (r == 0)
		r = rdmanl_add_link(move->pod->rdma, nic->rdma, LINK_TYPE, nic->pod_netdev);
	if (r < 0)
		return fail_netlink(error, CNI_ERR_CANNOT_MOVE, r, move->pod->rdma, "make in the pod link",
				    nic->rdma);
	/* Made for a netdev in the pod, yet it appears in the first namespace. */
	r = fault_point("link-find");
	if (r == 0)
		r = rdmanl_find(move->host->rdma, nic->rdma, &device);
	if (r < 0)
		return fail_netlink(error, CNI_ERR_NO_DEVICE, r, move->host->rdma, "find the new link",
				    nic->rdma);
	step_done(move, since, "made link %s on %s in the pod", nic->rdma, nic->pod_netdev);
	r = fault_point("number-before");
	if (r < 0)
		return cni_error_set(error, CNI_ERR_CHARDEV, r, "fault");
	*ret_index = device.index;
	return check_number(nic, move->host->rdma, device.index, "as a new link", error);
}

static int rdma_in(const struct move *move, const struct state_nic *nic, uint32_t index, uint64_t *since,
		   struct cni_error *error)
{
	struct rdmanl_device device;
	int r;

	r = fault_point("rdma-move");
	if (r == 0)
		r = rdmanl_move(move->host->rdma, index, move->pod->netns_fd);
	if (r < 0) {
		fail_netlink(error, CNI_ERR_CANNOT_MOVE, r, move->host->rdma, "move into the pod RDMA device",
			     nic->rdma);
		return r == -EOPNOTSUPP ? r : CNI_FAILED;
	}
	/* Older kernels report success for what they did not do: believe only what the pod shows. */
	r = fault_point("rdma-find");
	if (r == 0)
		r = rdmanl_find_index(move->pod->rdma, index, &device);
	if (r < 0)
		return fail_netlink(error, CNI_ERR_CANNOT_MOVE, r, move->pod->rdma,
				    "find in the pod RDMA device", nic->rdma);
	if (strcmp(device.name, nic->rdma) != 0) {
		r = rdmanl_rename(move->pod->rdma, index, nic->rdma);
		if (r < 0)
			return fail_netlink(error, CNI_ERR_CANNOT_MOVE, r, move->pod->rdma,
					    "rename in the pod RDMA device", device.name);
	}
	step_done(move, since, "moved RDMA device %s into the pod", nic->rdma);
	r = fault_point("number-after");
	if (r < 0)
		return cni_error_set(error, CNI_ERR_CHARDEV, r, "fault");
	return check_number(nic, move->pod->rdma, index, "after its move", error);
}

/*
 * InfiniBand: the RDMA device first. ib_ipoib ends its netdev with the move and makes a new one, on newer kernels in the
 * pod, on older ones in the first namespace (ipoib_add_port() in drivers/infiniband/ulp/ipoib/ipoib_main.c).
 */
static int infiniband_in(const struct move *move, const struct state_nic *nic, uint64_t *since,
			 struct cni_error *error)
{
	const struct place *place = move->pod;
	struct rtlink link;
	int r;

	r = rdma_in(move, nic, nic->rdma_index, since, error);
	if (r < 0)
		return r;
	r = fault_point("netdev-move");
	if (r == 0)
		r = place_find_netdev(move->pod, nic->pci, "", &link);
	if (r == 0) {
		r = rtlink_rename(move->pod->rt, link.index, nic->pod_netdev);
	} else if (r == -ENODEV) {
		place = move->host;
		r = place_find_netdev(move->host, nic->pci, "", &link);
		if (r == 0)
			r = rtlink_move(move->host->rt, link.index, move->pod->netns_fd, nic->pod_netdev);
	}
	if (r < 0)
		return fail_netlink(error, CNI_ERR_CANNOT_MOVE, r, place->rt,
				    "have in the pod the new netdev of", nic->rdma);
	step_done(move, since, "made netdev %s of %s", nic->pod_netdev, nic->rdma);
	return 0;
}

static int netdev_up(const struct move *move, const struct state_nic *nic, uint64_t *since,
		     struct cni_error *error)
{
	int r;

	r = place_skip_dad(move->host, move->pod, nic->pod_netdev);
	if (r < 0) /* then the first connections take a second longer */
		log_warning_errno(r, "%s: cannot have %s use its address at once", move->who,
				  nic->pod_netdev);
	r = fault_point("netdev-up");
	if (r == 0)
		r = rtlink_bring_up(move->pod->rt, nic->pod_netdev, nic->mtu);
	if (r < 0)
		return fail_netlink(error, CNI_ERR_IO, r, move->pod->rt, "bring up in the pod netdev",
				    nic->pod_netdev);
	step_done(move, since, "brought up %s, MTU %u", nic->pod_netdev, nic->mtu);
	return 0;
}

static int move_in_filled(const struct move *move, const struct state_nic *nic, struct cni_error *error)
{
	uint32_t index = nic->rdma_index;
	uint64_t since = now_us();
	int r;

	if (nic->infiniband && !move->shared) {
		r = infiniband_in(move, nic, &since, error);
	} else {
		r = nic->soft ? soft_link_in(move, nic, &since, &index, error)
			      : netdev_in(move, nic, &since, error);
		if (r == 0 && !move->shared)
			r = rdma_in(move, nic, index, &since, error);
	}
	if (r == 0)
		r = netdev_up(move, nic, &since, error);
	return r;
}

int move_in(const struct move *move, const struct state_nic *nic, struct cni_error *error)
{
	int r = numbers_fill(move->host, nic->uverbs);

	/* Without fillers it may still go well; the check of the number decides. */
	if (r < 0)
		log_warning_errno(r, "%s: cannot occupy the free numbers below %s", move->who, nic->uverbs);
	else if (r > 0)
		log_info("%s: occupied %d free numbers below %s for a moment", move->who, r, nic->uverbs);
	r = move_in_filled(move, nic, error);
	numbers_release(move->host);
	return r;
}

/* --- out ------------------------------------------------------------------- */

struct rdma_out {
	struct nlchan *chan;
	uint32_t index;
	int host_netns_fd;
};

/* In the pod: the kernel moves only what is in the caller's own namespace. */
static int rdma_move_out(void *arg)
{
	const struct rdma_out *out = arg;

	return rdmanl_move(out->chan, out->index, out->host_netns_fd);
}

/*
 * A link that was made for the netdev in the pod and never moved there. It would
 * die with the netdev's move, but in its own time, and hold its name meanwhile.
 */
static int stray_link_down(const struct move *move, const struct state_nic *nic, uint64_t *since)
{
	struct rdmanl_device device;
	struct rdmanl_port port;
	int r;

	r = rdmanl_find(move->host->rdma, nic->rdma, &device);
	if (r == -ENODEV || (r == 0 && device.node_guid != nic->node_guid))
		return 0;
	if (r == 0)
		r = rdmanl_port(move->host->rdma, device.index, &port);
	if (r == 0 && port.ndev_index)
		return 0; /* its netdev is on the host, where it belongs */
	if (r == 0)
		r = rdmanl_del_link(move->host->rdma, device.index);
	if (r < 0)
		return log_error_errno(r, "%s: cannot take down link %s", move->who, nic->rdma);
	step_done(move, since, "took down link %s, which had not reached the pod", nic->rdma);
	return 0;
}

/*
 * A name that the host has given away meanwhile, or that the pod has chosen, must not keep it there. restore_rdma()
 * says what its name is then.
 */
static int rdma_leave(const struct move *move, uint32_t index)
{
	struct rdma_out out = { .chan = move->pod->rdma,
				.index = index,
				.host_netns_fd = move->host->netns_fd };
	char name[RDMANL_NAME_MAX];
	int r;

	r = netns_call(move->host->netns_fd, move->pod->netns_fd, rdma_move_out, &out, "rdma-out");
	if (r != -EEXIST)
		return r;
	snprintf(name, sizeof(name), "cniout%u", index);
	r = rdmanl_rename(move->pod->rdma, index, name);
	return r < 0 ? r
		     : netns_call(move->host->netns_fd, move->pod->netns_fd, rdma_move_out, &out, "rdma-out");
}

/* The RDMA device first: whatever else fails, its regions are then gone. */
static int rdma_out_of_pod(const struct move *move, const struct state_nic *nic, unsigned netdev_index,
			   uint64_t *since)
{
	struct rdmanl_device device;
	int r;

	r = place_find_rdma(move->pod, nic->pci, netdev_index, &device);
	if (r == -ENODEV) {
		r = rdmanl_find(move->pod->rdma, nic->rdma, &device);
		if (r == 0 && device.node_guid != nic->node_guid)
			r = -ENODEV; /* a namesake on another netdev */
	}
	if (r == -ENODEV && nic->soft)
		return stray_link_down(move, nic, since);
	if (r == -ENODEV)
		return 0;
	if (r == 0)
		r = fault_point("rdma-out");
	if (r == 0 && nic->soft) {
		r = rdmanl_del_link(move->pod->rdma, device.index);
		if (r == 0)
			step_done(move, since, "took down link %s in the pod: every region on it is gone",
				  device.name);
	} else if (r == 0 && move->shared) {
		log_warning("%s: RDMA devices are shared: regions on %s live on as long as whoever has them",
			    move->who, device.name);
	} else if (r == 0) {
		r = rdma_leave(move, device.index);
		if (r == 0)
			step_done(move, since,
				  "took RDMA device %s out of the pod: every region on it is gone",
				  device.name);
	}
	if (r < 0)
		log_error_errno(r, "%s: cannot take RDMA device %s out of the pod", move->who, nic->rdma);
	return r;
}

static bool is_gone(const struct place *place, const char *netdev)
{
	struct rtlink link;

	return rtlink_get(place->rt, netdev, &link) == -ENODEV;
}

static int netdev_out_of_pod(const struct move *move, const struct state_nic *nic, const struct rtlink *link,
			     uint64_t *since)
{
	int r;

	r = fault_point("netdev-out");
	if (r == 0)
		r = rtlink_move(move->pod->rt, link->index, move->host->netns_fd, nic->netdev);
	if (r < 0 && !is_gone(move->pod, link->name)) {
		log_warning_errno(r, "%s: cannot take %s out as %s, trying any name", move->who, link->name,
				  nic->netdev);
		r = rtlink_move(move->pod->rt, link->index, move->host->netns_fd, "dev%d");
	}
	if (r < 0 && !is_gone(move->pod, link->name))
		return log_error_errno(r, "%s: cannot take netdev %s out of the pod", move->who, link->name);
	step_done(move, since, "took netdev %s out of the pod", link->name);
	return 0;
}

static int out_of_pod(const struct move *move, const struct state_nic *nic, uint64_t *since)
{
	struct rtlink link = { 0 };
	int found, r, r2 = 0;

	found = place_find_netdev(move->pod, nic->pci, nic->pod_netdev, &link);
	r = rdma_out_of_pod(move, nic, found == 0 ? link.index : 0, since);
	if (nic->infiniband) /* ended with the move */
		found = place_find_netdev(move->pod, nic->pci, nic->pod_netdev, &link);
	if (found == 0)
		r2 = netdev_out_of_pod(move, nic, &link, since);
	else if (found != -ENODEV && found != -ENXIO)
		r2 = log_error_errno(found, "%s: cannot tell whether NIC %s is in the pod", move->who,
				     nic->pci);
	return worse(r, r2);
}

/* The netdev on the host; a namespace that is going away returns it at a time of its own. */
static int await_netdev(const struct move *move, const struct state_nic *nic, unsigned wait_ms,
			struct rtlink *ret)
{
	uint64_t deadline = now_us() + (uint64_t)wait_ms * 1000;
	int r;

	for (;;) {
		r = place_find_netdev(move->host, nic->pci, nic->netdev, ret);
		if (r != -ENODEV || now_us() >= deadline)
			return r;
		pause_ms(POLL_MS);
	}
}

/*
 * The netdevs that ib_ipoib makes get the lowest free names: two that came back from dead namespaces may have each
 * other's. One that is up is in use under its name, and stays.
 */
static int swap_names(const struct move *move, const struct rtlink *link, const char *name)
{
	struct nlchan *rt = move->host->rt;
	struct rtlink holder;
	int r;

	r = rtlink_get(rt, name, &holder);
	if (r == 0 && holder.up)
		return -EEXIST;
	if (r == 0)
		r = rtlink_rename(rt, link->index, "cniswap%d");
	if (r == 0)
		r = rtlink_rename(rt, holder.index, link->name);
	return r < 0 ? r : rtlink_rename(rt, link->index, name);
}

static int restore_name(const struct move *move, const struct state_nic *nic, struct rtlink *link,
			uint64_t *since)
{
	int r;

	if (strcmp(link->name, nic->netdev) == 0)
		return 0;
	if (link->up)
		(void)rtlink_set_up(move->host->rt, link->index, false);
	link->up = false;
	r = rtlink_rename(move->host->rt, link->index, nic->netdev);
	if (r == -EEXIST && nic->infiniband)
		r = swap_names(move, link, nic->netdev);
	if (r < 0)
		return log_error_errno(r, "%s: cannot rename %s back to %s", move->who, link->name,
				       nic->netdev);
	step_done(move, since, "renamed netdev %s back to %s", link->name, nic->netdev);
	memcpy(link->name, nic->netdev, sizeof(link->name));
	return 0;
}

static int restore_netdev(const struct move *move, const struct state_nic *nic, struct rtlink *link,
			  uint64_t *since)
{
	int r = restore_name(move, nic, link, since);

	if (r < 0)
		return r;
	if (nic->mtu && link->mtu != nic->mtu) {
		r = rtlink_set_mtu(move->host->rt, link->index, nic->mtu);
		if (r < 0)
			return log_error_errno(r, "%s: cannot give %s back its MTU of %u", move->who,
					       nic->netdev, nic->mtu);
	}
	return 0;
}

/* A link of that name that is being taken apart, or is left over from a netdev that went. */
static int clear_old_link(const struct move *move, const struct state_nic *nic)
{
	uint64_t deadline = now_us() + LINK_GONE_MS * 1000;
	struct rdmanl_device device;
	struct rdmanl_port port;
	int r;

	while ((r = rdmanl_find(move->host->rdma, nic->rdma, &device)) == 0) {
		if (device.node_guid != nic->node_guid)
			return log_error_errno(-EEXIST, "%s: another RDMA device has the name %s", move->who,
					       nic->rdma);
		if (now_us() >= deadline) {
			r = rdmanl_port(move->host->rdma, device.index, &port);
			if (r == 0 && port.ndev_index == 0)
				r = rdmanl_del_link(move->host->rdma, device.index);
			return r < 0 ? log_error_errno(r, "%s: the old link %s stays", move->who, nic->rdma)
				     : 0;
		}
		pause_ms(POLL_MS);
	}
	return r == -ENODEV ? 0 : r;
}

/* A link that is being taken apart is in no list any more, but for a moment still has its name and netdev. */
static int add_link_again(const struct move *move, const struct state_nic *nic, const char *netdev)
{
	uint64_t deadline = now_us() + LINK_GONE_MS * 1000;
	int r;

	for (;;) {
		r = rdmanl_add_link(move->host->rdma, nic->rdma, LINK_TYPE, netdev);
		if (r != -EEXIST || now_us() >= deadline)
			return r;
		pause_ms(POLL_MS);
	}
}

/*
 * A soft link found on the host. The one from before ADD is as it was. Any other sat on the netdev
 * when that moved, and is being taken apart at this moment though it still shows itself; or
 * it was made again by a call that was killed before it could say so. Time tells them apart.
 */
static int outlive_dying_link(const struct move *move, const struct state_nic *nic, const struct rtlink *link,
			      struct rdmanl_device *device)
{
	uint64_t deadline = now_us() + LINK_DYING_MS * 1000;
	int r = 0;

	while (r == 0 && device->index != nic->rdma_index && now_us() < deadline) {
		pause_ms(POLL_MS);
		r = place_find_rdma(move->host, nic->pci, link->index, device);
	}
	return r;
}

static int restore_rdma(const struct move *move, const struct state_nic *nic, const struct rtlink *link,
			uint64_t *since, struct rdmanl_device *ret_device)
{
	int r;

	r = place_find_rdma(move->host, nic->pci, link->index, ret_device);
	if (r == 0 && nic->soft)
		r = outlive_dying_link(move, nic, link, ret_device);
	if (r == 0 && strcmp(ret_device->name, nic->rdma) == 0)
		return 0;
	if (r == 0) {
		r = rdmanl_rename(move->host->rdma, ret_device->index, nic->rdma);
		if (r == 0)
			step_done(move, since, "renamed RDMA device %s back to %s", ret_device->name,
				  nic->rdma);
		return r < 0 ? log_error_errno(r, "%s: cannot rename %s back to %s", move->who,
					       ret_device->name, nic->rdma)
			     : 0;
	}
	if (r != -ENODEV || !nic->soft)
		return log_error_errno(r, "%s: RDMA device %s is not back", move->who, nic->rdma);
	r = clear_old_link(move, nic);
	if (r < 0)
		return r;
	/* Only now are the numbers of the old link and of its like known to be free. */
	if (numbers_fill(move->host, nic->uverbs) < 0)
		log_warning("%s: cannot occupy the free numbers below %s", move->who, nic->uverbs);
	r = fault_point("link-again");
	if (r == 0)
		r = add_link_again(move, nic, link->name);
	if (r == 0)
		r = rdmanl_find(move->host->rdma, nic->rdma, ret_device);
	if (r < 0)
		return log_error_errno(r, "%s: cannot make link %s on %s again", move->who, nic->rdma,
				       link->name);
	step_done(move, since, "made link %s on %s again", nic->rdma, link->name);
	return 0;
}

static int restore_host(const struct move *move, const struct state_nic *nic, unsigned wait_ms,
			uint64_t *since)
{
	struct rdmanl_chardev chardev;
	struct rdmanl_device device;
	struct rtlink link;
	int r, r2;

	r = fault_point("host-restore");
	if (r == 0)
		r = await_netdev(move, nic, wait_ms, &link);
	if (r < 0)
		return log_error_errno(r, "%s: NIC %s (%s) is not back in the host's namespace", move->who,
				       nic->pci, nic->netdev);
	r = restore_netdev(move, nic, &link, since);
	r2 = restore_rdma(move, nic, &link, since, &device);
	r = worse(r, r2);
	if (nic->up && !link.up) {
		r2 = rtlink_set_up(move->host->rt, link.index, true);
		if (r2 < 0)
			log_error_errno(r2, "%s: cannot bring %s up again", move->who, link.name);
		r = worse(r, r2);
	}
	if (r < 0)
		return r;
	r = rdmanl_chardev(move->host->rdma, device.index, &chardev);
	if (r < 0)
		return log_error_errno(r, "%s: RDMA device %s has no uverbs device", move->who, nic->rdma);
	if (chardev.dev != nic->chardev) {
		log_warning(
			"%s: RDMA device %s was %s and is %s now; the device plugin will offer it under the new number",
			move->who, nic->rdma, nic->uverbs, chardev.name);
		return -EUCLEAN;
	}
	return 0;
}

int move_out(const struct move *move, const struct state_nic *nic, unsigned wait_ms)
{
	uint64_t since = now_us();
	int r = 0, r2;

	if (move->pod) {
		/* Before its own number is let go: see numbers.h. */
		if (numbers_fill(move->host, nic->uverbs) < 0)
			log_warning("%s: cannot occupy the free numbers below %s", move->who, nic->uverbs);
		r = out_of_pod(move, nic, &since);
	}
	r2 = restore_host(move, nic, wait_ms, &since);
	numbers_release(move->host);
	return worse(r, r2);
}
