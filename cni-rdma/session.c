// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fileio.h"
#include "base/log.h"
#include "fault.h"
#include "ipam.h"
#include "netns.h"
#include "node/lock.h"
#include "numbers.h"
#include "session.h"
#include "soft.h"

#define RETURN_WAIT_MS 5000 /* the kernel ends namespaces on a work queue, usually within 100 ms */

static int open_state_dir(struct session *session, struct cni_error *error)
{
	const char *path = session->req->state_dir;
	int r;

	r = fileio_mkdirs(AT_FDCWD, path, 0700);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot make stateDir %s", path);
	session->state_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (session->state_fd < 0)
		return cni_error_set(error, CNI_ERR_IO, negative_errno(), "cannot open stateDir %s", path);
	return 0;
}

int session_open(struct session *session, const struct request *req, const char *verb,
		 struct cni_error *error)
{
	int fd, r;

	*session = (struct session){ .req = req,
				     .state_fd = -EBADF,
				     .lock_fd = -EBADF,
				     .proc_fd = -EBADF,
				     .return_wait_ms = RETURN_WAIT_MS };
	if (req->container && req->ifname)
		snprintf(session->who, sizeof(session->who), "%s %.12s/%s", verb, req->container,
			 req->ifname);
	else
		snprintf(session->who, sizeof(session->who), "%s", verb);
	session->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (session->proc_fd < 0)
		return cni_error_set(error, CNI_ERR_IO, negative_errno(), "cannot open /proc");
	/* Records of another boot count for nothing: whoever cannot tell must not go on. */
	r = (int)fileio_read_attr(session->proc_fd, "sys/kernel/random/boot_id", session->boot_id,
				  sizeof(session->boot_id));
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot read /proc/sys/kernel/random/boot_id");
	r = netns_open_self(&fd);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_NETNS, r, "cannot open the host's network namespace");
	r = place_open(fd, NULL, &session->host);
	if (r == -EPROTONOSUPPORT)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, 0,
				     "the kernel has no RDMA: module ib_core is not loaded");
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot look at the host's devices");
	r = rdmanl_is_shared(session->host->rdma, &session->shared);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot ask the kernel who sees RDMA devices");
	return open_state_dir(session, error);
}

void session_close(struct session *session)
{
	session_unlock(session);
	if (session->host)
		place_free(session->host);
	closep(&session->state_fd);
	closep(&session->proc_fd);
}

int session_lock(struct session *session, unsigned timeout_ms, struct cni_error *error)
{
	char holder[256];
	int r;

	r = lock_take(session->state_fd, timeout_ms, session->who, &session->lock_fd, holder, sizeof(holder));
	if (r == -ETIMEDOUT)
		return cni_error_set(error, CNI_ERR_TRY_AGAIN, 0,
				     "the node's lock was not free within %u s: held by %s",
				     timeout_ms / 1000, holder);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot lock %s/" LOCK_FILE,
				     session->req->state_dir);
	numbers_release(session->host); /* of a call that was killed */
	return 0;
}

void session_unlock(struct session *session)
{
	closep(&session->lock_fd);
	session->lock_fd = -EBADF;
}

int session_check_mode(struct session *session, struct cni_error *error)
{
	if (session->shared && !session->req->allow_shared)
		return cni_error_set(
			error, CNI_ERR_NOT_EXCLUSIVE, 0,
			"RDMA devices are shared by all network namespaces: no pod would have a NIC alone");
	return 0;
}

int session_reach(struct session *session, const struct state *state, struct place **ret)
{
	struct netns_id id = { 0 };
	int fd = -EBADF, r;

	*ret = NULL;
	/* The number of a dead namespace may be given to a new one, but not over a reboot's border. */
	if (strcmp(state->boot_id, session->boot_id) != 0)
		return 0;
	r = netns_open(state->netns, &fd);
	if (r < 0 && r != -ENOENT && r != -ENOTDIR && r != -EINVAL)
		return r;
	if (r == 0 && (netns_identify(fd, &id) < 0 || !netns_id_equal(&id, &state->netns_id)))
		closep(&fd); /* the path is another namespace's by now */
	if (r < 0 || !netns_id_equal(&id, &state->netns_id)) {
		r = netns_find(session->proc_fd, &state->netns_id, &fd);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		log_info("%s: the pod's namespace lives on in a process although %s is gone", session->who,
			 state->netns);
	}
	return place_open(fd, session->host, ret);
}

struct move session_move(const struct session *session, const struct place *pod)
{
	return (struct move){
		.host = session->host, .pod = pod, .who = session->who, .shared = session->shared
	};
}

static int release_nic(struct session *session, struct state *state, const struct place *pod,
		       const struct state_nic *nic)
{
	const struct move move = session_move(session, pod);
	char pci[sizeof(nic->pci)];
	int r;

	memcpy(pci, nic->pci, sizeof(pci));
	r = move_out(&move, nic, pod ? 0 : session->return_wait_ms);
	if (r < 0 && r != -EUCLEAN)
		return r;
	log_info("%s: NIC %s is back on the host: netdev %s, RDMA device %s", session->who, pci, nic->netdev,
		 nic->rdma);
	state_drop_nic(state, pci);
	return 0;
}

static int release_link(struct session *session, struct state *state, const struct place *pod)
{
	const struct move move = session_move(session, pod);
	int r = soft_out(&move, &state->link);

	if (r == 0)
		state->link.rdma[0] = '\0';
	return r;
}

int session_release(struct session *session, struct state *state)
{
	_cleanup_(place_freep) struct place *pod = NULL;
	size_t i = 0;
	int r = 0, r2;

	if (strcmp(state->boot_id, session->boot_id) != 0) {
		log_info("%s: the record of %.12s is from before a reboot: nothing to give back",
			 session->who, state->container);
		state->n = 0;
		state->link.rdma[0] = '\0';
	}
	if (state->n > 0 || state->link.rdma[0]) {
		r = session_reach(session, state, &pod);
		if (r < 0)
			return log_error_errno(r, "%s: cannot look into the pod's namespace", session->who);
	}
	while (i < state->n) {
		size_t before = state->n;

		r2 = release_nic(session, state, pod, &state->nics[i]);
		r = worse(r, r2);
		if (state->n == before)
			i++;
	}
	if (state->link.rdma[0]) {
		r2 = release_link(session, state, pod);
		r = worse(r, r2);
	}
	r2 = fault_point("state-drop");
	if (r2 == 0)
		r2 = state->n || state->link.rdma[0] ? state_save(session->state_fd, state)
						     : state_remove(session->state_fd, state);
	if (r2 < 0)
		log_error_errno(r2, "%s: cannot update the state file", session->who);
	return worse(r, r2);
}

void session_release_addresses(const struct session *session, const struct state *state)
{
	const struct request *req = session->req;
	struct ipam_call call = {
		.command = "DEL",
		.container = state->container,
		.netns = state->netns,
		.config = req->root,
	};

	if (!req->ipam || strcmp(state->network, req->network) != 0)
		return;
	/* Its path may be another pod's by now. */
	if (strcmp(state->boot_id, session->boot_id) != 0)
		call.netns = NULL;
	for (size_t i = 0; i < state->n; i++) {
		struct cni_error error = { 0 };

		call.ifname = state->nics[i].pod_netdev;
		if (ipam_call(req, &call, NULL, &error) < 0)
			log_warning("%s: %s", session->who, error.msg);
	}
}

bool session_is_orphan(const struct session *session, const struct state *state)
{
	return strcmp(state->boot_id, session->boot_id) != 0 ||
	       (access(state->netns, F_OK) < 0 && errno == ENOENT);
}

void session_forget(struct session *session, struct state *state)
{
	session_release_addresses(session, state);
	(void)session_release(session, state);
}
