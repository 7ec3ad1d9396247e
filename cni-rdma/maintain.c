// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/log.h"
#include "session.h"
#include "verbs.h"

static int check_nic(const struct place *pod, const struct state_nic *nic, struct cni_error *error)
{
	struct rdmanl_chardev chardev;
	struct rdmanl_device device;
	struct rtlink link;

	if (rtlink_get(pod->rt, nic->pod_netdev, &link) < 0)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, 0, "netdev %s is not in the pod any more",
				     nic->pod_netdev);
	if (!link.up)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, 0, "netdev %s is down", nic->pod_netdev);
	if (rdmanl_find(pod->rdma, nic->rdma, &device) < 0)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, 0, "RDMA device %s is not in the pod any more",
				     nic->rdma);
	if (rdmanl_chardev(pod->rdma, device.index, &chardev) < 0 || chardev.dev != nic->chardev)
		return cni_error_set(error, CNI_ERR_CHARDEV, 0, "RDMA device %s is not %s any more",
				     nic->rdma, nic->uverbs);
	if (place_wait_gid(pod, nic->rdma, NULL, 0) < 0)
		return cni_error_set(error, CNI_ERR_NO_GID, 0, "RDMA device %s has no RoCE GID", nic->rdma);
	return 0;
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
	r = session_open(&session, req, "CHECK", error);
	if (r < 0)
		return r;
	r = state_load(session.state_fd, req->container, req->ifname, &state, why, sizeof(why));
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, 0, "state file: %s", why);
	if (session_reach(&session, state, &pod) < 0 || !pod)
		return cni_error_set(error, CNI_ERR_CONTAINER, 0, "the network namespace %s of ADD is gone",
				     state->netns);
	for (size_t i = 0; i < state->n; i++) {
		r = check_nic(pod, &state->nics[i], error);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Asked every few seconds, and a failure makes the node not ready: only what would fail every ADD. */
int verbs_status(const struct request *req, struct cni_error *error)
{
	_cleanup_(session_close) struct session session = { .state_fd = -EBADF,
							    .lock_fd = -EBADF,
							    .proc_fd = -EBADF };
	struct cni_error why = { 0 };

	if (session_open(&session, req, "STATUS", &why) < 0 || session_check_exclusive(&session, &why) < 0) {
		*error = why;
		error->code = CNI_ERR_UNAVAILABLE;
		return CNI_FAILED;
	}
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
		r = session_lock(&session, error);
	if (r < 0)
		return r;
	r = state_list_load(session.state_fd, &list);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot read the state files in %s",
				     req->state_dir);
	for (size_t i = 0; i < list.n; i++) {
		/* The list speaks of one network only. */
		if (strcmp(list.states[i]->network, req->network) != 0 ||
		    is_valid_attachment(req->attachments, list.states[i]))
			continue;
		log_info("GC: attachment %.12s/%s is gone", list.states[i]->container,
			 list.states[i]->ifname);
		(void)session_release(&session, list.states[i]);
	}
	return 0;
}
