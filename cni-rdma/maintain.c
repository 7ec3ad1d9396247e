// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/log.h"
#include "ipam.h"
#include "result.h"
#include "session.h"
#include "verbs.h"

/* What is no longer there as ADD left it, or else cannot be seen. */
#define fail_gone(error, r, ...)                                                  \
	((r) == -ENODEV ? cni_error_set(error, CNI_ERR_NO_DEVICE, 0, __VA_ARGS__) \
			: cni_error_set(error, CNI_ERR_IO, r, "cannot look into the pod"))

/* Whatever prevResult says of the interface: a later plugin of the chain may have changed it, and says so there. */
static int check_interface(const struct rtlink *link, const json_t *interface, struct cni_error *error)
{
	const char *mac = json_string_value(json_object_get(interface, "mac"));
	json_int_t mtu = json_integer_value(json_object_get(interface, "mtu"));

	if (mac && mac[0] && strcasecmp(mac, link->mac) != 0)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, 0,
				     "netdev %s has the MAC address %s, not %s of prevResult", link->name,
				     link->mac, mac);
	if (mtu > 0 && mtu != (json_int_t)link->mtu)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, 0,
				     "netdev %s has an MTU of %u, not %lld of prevResult", link->name,
				     link->mtu, (long long)mtu);
	return 0;
}

static int check_addresses(const struct request *req, const struct place *pod, const struct rtlink *link,
			   struct cni_error *error)
{
	struct rtlink_address addresses[IPAM_MAX_ADDRESSES];
	int n = result_addresses(req->prev_result, link->name, addresses, IPAM_MAX_ADDRESSES);

	if (n < 0)
		return cni_error_set(error, CNI_ERR_DECODE, 0, "the addresses of prevResult make no sense");
	for (int i = 0; i < n; i++) {
		int r = rtlink_find_address(pod->rt, link->index, &addresses[i]);

		if (r < 0)
			return fail_gone(error, r, "netdev %s has lost address %d of prevResult", link->name,
					 i);
	}
	return 0;
}

static int check_gid(const struct place *pod, const char *rdma, struct cni_error *error)
{
	int r = place_wait_gid(pod, rdma, NULL, 0);

	if (r == -ETIMEDOUT)
		return cni_error_set(error, CNI_ERR_NO_GID, 0, "RDMA device %s has no RoCE GID", rdma);
	return r < 0 ? cni_error_set(error, CNI_ERR_IO, r, "cannot read the GIDs of %s", rdma) : 0;
}

static int check_rdma(const struct place *pod, const struct state_nic *nic, struct cni_error *error)
{
	struct rdmanl_chardev chardev;
	struct rdmanl_device device;
	int r;

	r = rdmanl_find(pod->rdma, nic->rdma, &device);
	if (r < 0)
		return fail_gone(error, r, "RDMA device %s is not in the pod any more", nic->rdma);
	r = rdmanl_chardev(pod->rdma, device.index, &chardev);
	if (r < 0 || chardev.dev != nic->chardev)
		return cni_error_set(error, CNI_ERR_CHARDEV, is_shortage(r) ? r : 0,
				     "RDMA device %s is not %s any more", nic->rdma, nic->uverbs);
	return check_gid(pod, nic->rdma, error);
}

static int check_nic(const struct request *req, const struct place *pod, const struct state_nic *nic,
		     struct cni_error *error)
{
	const json_t *interface = NULL;
	struct rtlink link;
	int r;

	r = rtlink_get(pod->rt, nic->pod_netdev, &link);
	if (r < 0)
		return fail_gone(error, r, "netdev %s is not in the pod any more", nic->pod_netdev);
	if (!link.up)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, 0, "netdev %s is down", nic->pod_netdev);
	if (result_find_interface(req->prev_result, nic->pod_netdev, &interface) < 0)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, 0,
				     "prevResult does not name %s, which ADD gave this pod", nic->pod_netdev);
	r = check_interface(&link, interface, error);
	if (r == 0)
		r = check_addresses(req, pod, &link, error);
	if (r == 0)
		r = check_rdma(pod, nic, error);
	if (r == 0 && req->ipam)
		r = ipam_run(req, "CHECK", nic->pod_netdev, NULL, error);
	return r;
}

/* Those of the whole chain: a result does not say whose a route is. */
static int check_routes(const struct request *req, const struct place *pod, struct cni_error *error)
{
	struct rtlink_route routes[IPAM_MAX_ROUTES];
	int n = ipam_routes(req->prev_result, routes, IPAM_MAX_ROUTES);

	if (n < 0)
		return cni_error_set(error, CNI_ERR_DECODE, 0, "'routes' of prevResult");
	for (int i = 0; i < n; i++) {
		int r = rtlink_find_route(pod->rt, &routes[i]);

		if (r < 0)
			return fail_gone(error, r, "the pod has lost route %d of prevResult", i);
	}
	return 0;
}

static int check_link(const struct place *pod, const struct state_link *link, struct cni_error *error)
{
	struct rdmanl_device device;
	int r = rdmanl_find(pod->rdma, link->rdma, &device);

	if (r < 0)
		return fail_gone(error, r, "Soft-RoCE link %s is not in the pod any more", link->rdma);
	return check_gid(pod, link->rdma, error);
}

int verbs_check(const struct request *req, struct cni_error *error)
{
	_cleanup_(session_close) struct session session = { .state_fd = -EBADF,
							    .lock_fd = -EBADF,
							    .proc_fd = -EBADF };
	_cleanup_(state_freep) struct state *state = NULL;
	_cleanup_(place_freep) struct place *pod = NULL;
	char why[160] = "";
	int r;

	/* A pod without our resource passes through ADD without a record. */
	if (!state_exists(req->state_dir, req->container, req->ifname))
		return 0;
	if (!req->prev_result) {
		cni_error_set(error, CNI_ERR_CONFIG, 0, "CHECK needs the prevResult of ADD");
		return cni_error_explain(
			error, "the runtime hands it on; when calling by hand, use cnitool, which keeps it");
	}
	r = session_open(&session, req, "CHECK", error);
	if (r < 0)
		return r;
	r = state_load(session.state_fd, req->container, req->ifname, &state, why, sizeof(why));
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, is_shortage(r) ? r : 0, "state file: %s", why);
	r = session_reach(&session, state, &pod);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot look into %s", state->netns);
	if (!pod)
		return cni_error_set(error, CNI_ERR_CONTAINER, 0, "the network namespace %s of ADD is gone",
				     state->netns);
	if (state->link.rdma[0])
		return check_link(pod, &state->link, error);
	for (size_t i = 0; i < state->n; i++) {
		r = check_nic(req, pod, &state->nics[i], error);
		if (r < 0)
			return r;
	}
	return req->ipam ? check_routes(req, pod, error) : 0;
}

static bool has_orphan(const struct session *session)
{
	_cleanup_(state_list_done) struct state_list list = { 0 };

	if (state_list_load(session->state_fd, &list) < 0)
		return false;
	for (size_t i = 0; i < list.n; i++) {
		if (session_is_orphan(session, list.states[i]))
			return true;
	}
	return false;
}

/* What a crash, a reboot or a lost DEL left, unless somebody is at work: the next STATUS is seconds away. */
static void repair(struct session *session)
{
	_cleanup_(state_list_done) struct state_list list = { 0 };
	struct cni_error busy = { 0 };

	if (!has_orphan(session) || session_lock(session, 0, &busy) < 0 ||
	    state_list_load(session->state_fd, &list) < 0)
		return;
	session->return_wait_ms = 0;
	for (size_t i = 0; i < list.n; i++) {
		if (!session_is_orphan(session, list.states[i]))
			continue;
		log_info("%s: the pod of %.12s is gone", session->who, list.states[i]->container);
		session_forget(session, list.states[i]);
	}
}

static int ipam_status(const struct request *req, struct cni_error *error)
{
	const struct ipam_call call = { .command = "STATUS", .config = req->root };

	return ipam_call(req, &call, NULL, error);
}

/* Asked every few seconds, and a failure makes the node not ready: only what would fail every ADD. */
int verbs_status(const struct request *req, struct cni_error *error)
{
	_cleanup_(session_close) struct session session = { .state_fd = -EBADF,
							    .lock_fd = -EBADF,
							    .proc_fd = -EBADF };
	struct cni_error why = { 0 };

	if (session_open(&session, req, "STATUS", &why) < 0 || session_check_mode(&session, &why) < 0 ||
	    (req->ipam && ipam_status(req, &why) < 0)) {
		*error = why;
		error->code = CNI_ERR_UNAVAILABLE;
		return CNI_FAILED;
	}
	repair(&session);
	return 0;
}

static bool is_valid_attachment(const json_t *attachments, const struct state *state)
{
	const json_t *item;
	size_t i;

	json_array_foreach(attachments, i, item) {
		const char *container = json_string_value(json_object_get(item, "containerID"));
		const char *ifname = json_string_value(json_object_get(item, "ifname"));

		if (container && ifname && strcmp(container, state->container) == 0 &&
		    strcmp(ifname, state->ifname) == 0)
			return true;
	}
	return false;
}

static int add_attachment(json_t *list, const struct state *state, const char *ifname)
{
	json_t *item = json_pack("{s:s, s:s}", "containerID", state->container, "ifname", ifname);

	return json_array_append_new(list, item);
}

/*
 * IPAM knows our addresses under the names of the NICs in the pod, of which the runtime's list says
 * nothing: without them it would take the addresses of running pods for garbage.
 */
static int ipam_gc(const struct request *req, const struct state_list *list, struct cni_error *error)
{
	json_auto_t *config = json_copy(req->root);
	json_auto_t *attachments = json_copy(req->attachments);
	const struct ipam_call call = { .command = "GC", .config = config };
	int r = config && attachments ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < list->n; i++) {
		const struct state *state = list->states[i];

		/* What was given back just now has none left. */
		for (size_t n = 0; r == 0 && n < state->n; n++) {
			if (is_valid_attachment(req->attachments, state))
				r = add_attachment(attachments, state, state->nics[n].pod_netdev);
		}
	}
	if (r == 0)
		r = json_object_set(config, "cni.dev/valid-attachments", attachments);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, -ENOMEM, "GC");
	return ipam_call(req, &call, NULL, error);
}

int verbs_gc(const struct request *req, struct cni_error *error)
{
	_cleanup_(session_close) struct session session = { .state_fd = -EBADF,
							    .lock_fd = -EBADF,
							    .proc_fd = -EBADF };
	_cleanup_(state_list_done) struct state_list list = { 0 };
	int r;

	if (!req->attachments) /* no information, which is not the same as no attachment */
		return 0;
	r = session_open(&session, req, "GC", error);
	if (r == 0)
		r = session_lock(&session, req->lock_timeout_ms, error);
	if (r < 0)
		return r;
	r = state_list_load(session.state_fd, &list);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot read the state files in %s",
				     req->state_dir);
	for (size_t i = 0; i < list.n; i++) {
		/* The list speaks of one network only. */
		if (!session_is_orphan(&session, list.states[i]) &&
		    (strcmp(list.states[i]->network, req->network) != 0 ||
		     is_valid_attachment(req->attachments, list.states[i])))
			continue;
		log_info("GC: attachment %.12s/%s is gone", list.states[i]->container,
			 list.states[i]->ifname);
		session_forget(&session, list.states[i]);
	}
	/* It would take the addresses of a record that cannot be read for garbage. */
	if (req->ipam && list.skipped)
		log_warning("GC: IPAM is not asked to clear: %zu records cannot be read", list.skipped);
	return req->ipam && !list.skipped ? ipam_gc(req, &list, error) : 0;
}
