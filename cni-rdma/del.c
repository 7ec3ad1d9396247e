// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "ipam.h"
#include "lease.h"
#include "netns.h"
#include "session.h"
#include "sysfs/pairs.h"
#include "verbs.h"

/* Without a record: what an ADD that got no further than IPAM may have been given. */
static void release_unrecorded_address(const struct request *req)
{
	const char *percent = strchr(req->pod_ifname, '%');
	struct cni_error error = { 0 };
	char name[64];

	if (!req->ipam)
		return;
	snprintf(name, sizeof(name), "%.*s0%s", (int)(percent - req->pod_ifname), req->pod_ifname,
		 percent + 2);
	if (ipam_run(req, "DEL", name, NULL, &error) < 0)
		log_warning("DEL %.12s/%s: %s", req->container, req->ifname, error.msg);
}

/* As it is: there is nothing to compare it with. 0: it has none. */
static uint64_t rescued_number(const struct place *pod, uint32_t index)
{
	struct rdmanl_chardev chardev = { 0 };

	return rdmanl_chardev(pod->rdma, index, &chardev) == 0 ? chardev.dev : 0;
}

/* One NIC of the pairing, or what of it is in that pod: the pairing knows its names on the host, though not whether
 * it was up. */
static int rescue_nic(struct session *session, const struct place *pod, const struct pairs_nic *known)
{
	const struct move move = session_move(session, pod);
	struct state_nic nic = { .up = true };
	struct rdmanl_device device;
	struct rtlink link = { 0 };
	enum rdma_kind kind;
	int r, r2;

	/* With several netdevs, of which the pod may have made some, what counts is the RDMA device. */
	r = place_find_netdev(pod, known->pci, "", &link);
	if (r < 0 && r != -ENODEV && r != -ENXIO && r != -ENOTUNIQ)
		return r;
	r2 = place_find_rdma(pod, known->pci, link.index, &device);
	if (r2 == -ENODEV && (r == -ENODEV || r == -ENXIO))
		return 0;
	if (r2 == 0)
		r2 = place_classify(pod, known->pci, device.name, &kind);
	if (r2 < 0 && r2 != -ENODEV)
		return r2;
	if (r2 == 0) {
		nic.node_guid = device.node_guid;
		nic.soft = kind == RDMA_SOFT;
		nic.infiniband = kind == RDMA_INFINIBAND;
	}
	snprintf(nic.pci, sizeof(nic.pci), "%s", known->pci);
	snprintf(nic.rdma, sizeof(nic.rdma), "%s", known->rdma);
	snprintf(nic.netdev, sizeof(nic.netdev), "%s", known->netdev[0] ? known->netdev : link.name);
	snprintf(nic.uverbs, sizeof(nic.uverbs), "%s", known->uverbs);
	memcpy(nic.pod_netdev, link.name, sizeof(nic.pod_netdev));
	nic.mtu = link.mtu;
	nic.chardev = rescued_number(pod, r2 == 0 ? device.index : 0);
	log_info("%s: NIC %s is in the pod without a record", session->who, nic.pci);
	return move_out(&move, &nic, 0);
}

/*
 * The record cannot be read, but the NICs must not stay in the pod: whatever
 * the pairing file knows and is found there comes out. 0, or the first -errno.
 */
static int rescue(struct session *session)
{
	_cleanup_(place_freep) struct place *pod = NULL;
	_cleanup_(pairs_freep) struct pairs *pairs = NULL;
	struct netns_id id, host;
	_cleanup_close_ int fd = -EBADF;
	char why[160] = "";
	int r, r2;

	if (!session->req->netns)
		return 0;
	r = netns_open(session->req->netns, &fd);
	if (r == 0)
		r = netns_identify(fd, &id);
	if (r == 0)
		r = netns_identify(session->host->netns_fd, &host);
	if (r == 0 && netns_id_equal(&id, &host))
		return 0;
	if (r == 0)
		r = place_open(TAKE_FD(fd), session->host, &pod);
	if (r == 0)
		r = pairs_load(session->req->pairs, &pairs, why, sizeof(why));
	for (size_t i = 0; pairs && i < pairs->n; i++) {
		r2 = pairs->pair[i].has_nic ? rescue_nic(session, pod, &pairs->pair[i].nic) : 0;
		r = worse(r, r2);
	}
	if (r < 0)
		log_error_errno(r, "%s: cannot take out what belongs to the record that cannot be read%s%s",
				session->who, why[0] ? ": " : "", why);
	return r;
}

/* The Gaudis of a record; what is given back is no longer in it. */
struct gaudis {
	char id[STATE_MAX_NICS][64];
	size_t n;
};

static void gaudis_of(const struct state *state, struct gaudis *ret)
{
	ret->n = 0;
	for (size_t i = 0; i < state->n; i++) {
		if (state->nics[i].gaudi[0])
			memcpy(ret->id[ret->n++], state->nics[i].gaudi, sizeof(ret->id[0]));
	}
}

static int load(struct session *session, struct state **ret)
{
	const struct request *req = session->req;
	char why[160] = "";
	int r;

	r = state_load(session->state_fd, req->container, req->ifname, ret, why, sizeof(why));
	if (r < 0 && r != -ENOENT)
		log_error("%s: state file: %s", session->who, why);
	return r;
}

/* The runtime asks again, and the record is there still. */
static int fail_for_now(struct cni_error *error, int r)
{
	return cni_error_set(error, CNI_ERR_TRY_AGAIN, r, "not everything is back on the host");
}

int verbs_del(const struct request *req, struct cni_error *error)
{
	_cleanup_(session_close) struct session session = { .state_fd = -EBADF,
							    .lock_fd = -EBADF,
							    .proc_fd = -EBADF };
	_cleanup_(state_freep) struct state *state = NULL;
	struct gaudis gaudis;
	int r;

	/* The quick way out of the DEL of every pod that has nothing of ours, also on a node without RDMA. */
	if (!state_exists(req->state_dir, req->container, req->ifname)) {
		release_unrecorded_address(req);
		return 0;
	}
	r = session_open(&session, req, "DEL", error);
	if (r < 0)
		return r;
	r = load(&session, &state);
	if (is_shortage(r))
		return fail_for_now(error, r);
	/* Every address goes, whatever else happens, and before anything looks at a namespace that may be gone. */
	if (state)
		session_release_addresses(&session, state);
	else
		release_unrecorded_address(req);
	if (r == -ENOENT)
		return 0;
	r = session_lock(&session, req->lock_timeout_ms, error);
	if (r < 0)
		return r;
	if (!state) {
		r = rescue(&session);
		return is_shortage(r) ? fail_for_now(error, r) : 0;
	}
	/* An ADD of another pod may have taken over what this one lost while we waited. */
	state_free(TAKE_PTR(state));
	r = load(&session, &state);
	if (r < 0)
		return r == -ENOENT ? 0 : fail_for_now(error, r);
	gaudis_of(state, &gaudis);
	r = session_release(&session, state);
	if (is_shortage(r))
		return fail_for_now(error, r);
	/* What could not be returned stays recorded; failing would only stop the plugins behind us. */
	if (r < 0)
		log_error(
			"%s: not everything is back; the record stays, and the next ADD, DEL or GC tries again",
			session.who);
	session_unlock(&session);
	for (size_t i = 0; i < gaudis.n; i++)
		lease_report(session.host->sys_fd, session.who, gaudis.id[i], req->lease_timeout_ms);
	return 0;
}
