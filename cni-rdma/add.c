// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "devices.h"
#include "fault.h"
#include "ipam.h"
#include "netns.h"
#include "result.h"
#include "session.h"
#include "soft.h"
#include "verbs.h"

struct add {
	const struct request *req;
	struct session session;
	struct place *pod;
	struct netns_id pod_id;
	struct devices devices;
	struct state *state;		/* NULL until something is to be undone */
	bool ipam_done[STATE_MAX_NICS]; /* of that NIC IPAM has an address */
};

/* add->pod stays NULL when it is on the host network and may be. */
static int open_pod(struct add *add, struct cni_error *error)
{
	_cleanup_close_ int fd = -EBADF;
	struct netns_id host;
	int r;

	r = netns_open(add->req->netns, &fd);
	if (r == 0)
		r = netns_identify(fd, &add->pod_id);
	if (r == 0)
		r = netns_identify(add->session.host->netns_fd, &host);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_NETNS, r, "network namespace %s", add->req->netns);
	if (netns_id_equal(&host, &add->pod_id) && add->req->allow_shared) {
		log_warning(
			"%s: allowShared: the pod is on the host network and has every NIC of the node; this is no "
			"isolation",
			add->session.who);
		return 0;
	}
	if (netns_id_equal(&host, &add->pod_id)) {
		cni_error_set(error, CNI_ERR_CANNOT_MOVE, 0,
			      "the pod is on the host network: it would have every NIC of the node");
		return cni_error_explain(
			error,
			"take hostNetwork: true out of the pod: a NIC belongs to a pod by its network namespace");
	}
	r = place_open(TAKE_FD(fd), add->session.host, &add->pod);
	return r < 0 ? cni_error_set(error, CNI_ERR_NETNS, r, "cannot look into %s", add->req->netns) : 0;
}

static int fail_unreturned(struct cni_error *error, const char *what, const char *container)
{
	cni_error_set(error, CNI_ERR_TRY_AGAIN, 0, "%s is not back as container %.12s got it", what,
		      container);
	return cni_error_explain(
		error,
		"the kubelet tries again by itself; if it lasts, the lines before this one in the runtime's log "
		"say what stands in the way, a name that another device has taken for example");
}

/* What an earlier attempt for this same attachment or an earlier boot left, and NICs whose recorded owner has lost them. */
static int repair(struct add *add, struct cni_error *error)
{
	_cleanup_(state_list_done) struct state_list list = { 0 };
	struct session *session = &add->session;
	int r;

	r = state_list_load(session->state_fd, &list);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot read the state files in %s",
				     add->req->state_dir);
	for (size_t i = 0; i < list.n; i++) {
		struct state *state = list.states[i];
		bool ours = strcmp(state->container, add->req->container) == 0 &&
			    strcmp(state->ifname, add->req->ifname) == 0;

		if (ours)
			log_info("%s: giving back what an earlier attempt took", session->who);
		/* No DEL comes for a pod that a reboot ended, and few runtimes call GC. */
		if (ours || session_is_orphan(session, state))
			session_forget(session, state);
		/* What it still holds is not as it was, and our record would say that it is meant to be so. */
		if (ours && (state->n || state->link.rdma[0]))
			return fail_unreturned(error, "what an earlier attempt took", state->container);
	}
	for (size_t i = 0; i < add->devices.n; i++) {
		struct state *owner = state_list_owner(&list, add->devices.nics[i].pci);
		_cleanup_(place_freep) struct place *pod = NULL;
		struct rdmanl_device device;
		struct rtlink link;

		if (!owner)
			continue;
		r = session_reach(session, owner, &pod);
		if (r < 0)
			return cni_error_set(error, CNI_ERR_OWNED, r,
					     "cannot tell whether container %.12s still has NIC %s",
					     owner->container, add->devices.nics[i].pci);
		r = pod ? place_find_netdev(pod, add->devices.nics[i].pci, "", &link) : -ENODEV;
		if (pod && (r == -ENODEV || r == -ENXIO)) /* though the RDMA device may be */
			r = place_find_rdma(pod, add->devices.nics[i].pci, 0, &device);
		if (r != -ENODEV)
			return cni_error_set(
				error, CNI_ERR_OWNED, is_shortage(r) ? r : 0,
				"NIC %s is in pod %s (container %.12s)", add->devices.nics[i].pci,
				owner->pod[0] ? owner->pod : "of unknown name", owner->container);
		log_info("%s: container %.12s no longer has NIC %s", session->who, owner->container,
			 add->devices.nics[i].pci);
		session_forget(session, owner);
		if (state_list_owner(&list, add->devices.nics[i].pci))
			return fail_unreturned(error, add->devices.nics[i].pci, owner->container);
	}
	return 0;
}

/* The first n names of the pattern that the pod does not have yet. */
static int pick_names(struct add *add, struct cni_error *error)
{
	const char *pattern = add->req->pod_ifname, *percent = strchr(pattern, '%');
	unsigned number = 0;

	for (size_t i = 0; i < add->state->n; number++) {
		struct state_nic *nic = &add->state->nics[i];
		struct rtlink link;
		char name[64];
		int r;

		snprintf(name, sizeof(name), "%.*s%u%s", (int)(percent - pattern), pattern, number,
			 percent + 2);
		if (strlen(name) >= IFNAMSIZ || number > 2 * STATE_MAX_NICS)
			return cni_error_set(error, CNI_ERR_CONFIG, 0,
					     "no name of the form %s is free in the pod", pattern);
		r = rtlink_get(add->pod->rt, name, &link);
		if (r == 0)
			continue;
		if (r != -ENODEV)
			return cni_error_set(error, CNI_ERR_IO, r, "cannot look for %s in the pod", name);
		memcpy(nic->pod_netdev, name, strlen(name) + 1);
		i++;
	}
	return 0;
}

/* Said of a NIC that is let through. */
static void warn_unmovable(const struct add *add, const char *pci, struct cni_error *error)
{
	log_warning("%s: allowShared: NIC %s stays on the host, this is no isolation: %s", add->session.who,
		    pci, error->msg);
	*error = (struct cni_error){ 0 };
}

static int inspect_nics(struct add *add, struct state *state, struct cni_error *error)
{
	struct move move = session_move(&add->session, add->pod);
	size_t n = 0;

	for (size_t i = 0; i < add->devices.n; i++) {
		const struct devices_nic *wanted = &add->devices.nics[i];
		struct state_nic *nic = &state->nics[n];
		int r = move_inspect(&move, wanted->pci, wanted->netdev, nic, error);

		if (r == -EOPNOTSUPP && add->req->allow_shared) {
			warn_unmovable(add, wanted->pci, error);
			continue;
		}
		if (r < 0)
			return r;
		memcpy(nic->gaudi, wanted->gaudi, sizeof(wanted->gaudi));
		n++;
	}
	state->n = n;
	return 0;
}

static int plan_link(struct add *add, struct state *state, struct cni_error *error)
{
	struct move move = session_move(&add->session, add->pod);

	state->n = 0;
	return soft_plan(&move, state, error);
}

static int make_state(struct add *add, struct cni_error *error)
{
	_cleanup_(state_freep) struct state *state = state_new(add->devices.n);
	const struct request *req = add->req;
	int r;

	if (!state)
		return cni_error_set(error, CNI_ERR_IO, -ENOMEM, "state");
	if (strlen(req->netns) >= sizeof(state->netns) || strlen(req->network) >= sizeof(state->network))
		return cni_error_set(error, CNI_ERR_CONFIG, 0,
				     "CNI_NETNS or the network's name is longer than 255 characters");
	snprintf(state->container, sizeof(state->container), "%s", req->container);
	snprintf(state->ifname, sizeof(state->ifname), "%s", req->ifname);
	snprintf(state->network, sizeof(state->network), "%s", req->network);
	snprintf(state->netns, sizeof(state->netns), "%s", req->netns);
	snprintf(state->boot_id, sizeof(state->boot_id), "%s", add->session.boot_id);
	if (req->pod_name[0])
		snprintf(state->pod, sizeof(state->pod), "%.250s/%.250s", req->pod_namespace, req->pod_name);
	state->netns_id = add->pod_id;
	r = req->soft ? plan_link(add, state, error) : inspect_nics(add, state, error);
	if (r < 0)
		return r;
	add->state = TAKE_PTR(state);
	r = pick_names(add, error);
	if (r == 0)
		r = fault_point("state-save");
	if (r == 0)
		r = state_save(add->session.state_fd, add->state);
	if (r < 0) {
		state_free(TAKE_PTR(add->state));
		return cni_error_set(error, CNI_ERR_IO, r, "cannot write the state file into %s",
				     req->state_dir);
	}
	return 0;
}

/* Addresses that IPAM gave, and how many. */
struct addresses {
	struct rtlink_address list[IPAM_MAX_ADDRESSES];
	int n;
};

static int set_routes(struct add *add, const struct rtlink *link, const json_t *ipam, struct cni_error *error)
{
	struct rtlink_route routes[IPAM_MAX_ROUTES];
	int n = ipam_routes(ipam, routes, IPAM_MAX_ROUTES), r;

	if (n < 0)
		return cni_error_set(error, CNI_ERR_DECODE, 0, "the routes that IPAM gave make no sense");
	for (int i = 0; i < n; i++) {
		r = rtlink_add_route(add->pod->rt, link->index, &routes[i]);
		/* As the reference plugins: the pod's network, or its first NIC, was there before. */
		if (r == -EEXIST)
			log_info("%s: route %d of IPAM is there already, left as it is", add->session.who, i);
		else if (r < 0)
			return cni_error_set(error, CNI_ERR_IO, r, "cannot set route %d of IPAM on %s: %s", i,
					     link->name, nlchan_error_text(add->pod->rt));
	}
	return 0;
}

static int set_addresses(struct add *add, const struct rtlink *link, const struct addresses *addresses,
			 struct cni_error *error)
{
	int r = 0;

	for (int i = 0; r == 0 && i < addresses->n; i++)
		r = rtlink_add_address(add->pod->rt, link->index, &addresses->list[i]);
	return r < 0 ? cni_error_set(error, CNI_ERR_IO, r, "cannot set an address on %s: %s", link->name,
				     nlchan_error_text(add->pod->rt))
		     : 0;
}

/* Has IPAM give addresses and routes to one NIC. */
static int run_ipam(struct add *add, const struct rtlink *link, int interface, json_t *result,
		    struct addresses *addresses, struct cni_error *error)
{
	json_auto_t *ipam = NULL;
	int r = ipam_run(add->req, "ADD", link->name, &ipam, error);

	if (r < 0)
		return r;
	addresses->n = ipam_addresses(ipam, addresses->list, IPAM_MAX_ADDRESSES);
	if (addresses->n < 0)
		return cni_error_set(error, CNI_ERR_DECODE, 0, "the addresses that IPAM gave make no sense");
	r = set_addresses(add, link, addresses, error);
	if (r == 0)
		r = set_routes(add, link, ipam, error);
	return r < 0 ? r : result_add_ipam(result, ipam, interface, error);
}

static int wait_gid(struct add *add, const char *rdma, const struct addresses *addresses,
		    struct cni_error *error)
{
	int r = fault_point("gid");

	for (int i = 0; r == 0 && i < (addresses->n ? addresses->n : 1); i++)
		r = place_wait_gid(add->pod, rdma, addresses->n ? &addresses->list[i] : NULL,
				   add->req->gid_timeout_ms);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_NO_GID, r == -ETIMEDOUT ? 0 : r,
				     "RDMA device %s got no RoCE GID within %u s", rdma,
				     add->req->gid_timeout_ms / 1000);
	log_info("%s: %s has its GID", add->session.who, rdma);
	return 0;
}

static int finish_nic(struct add *add, size_t i, json_t *result, struct cni_error *error)
{
	const struct state_nic *nic = &add->state->nics[i];
	struct addresses addresses = { .n = 0 };
	struct result_interface interface;
	struct rtlink link;
	int index, r;

	r = rtlink_get(add->pod->rt, nic->pod_netdev, &link);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_IO, r, "netdev %s vanished from the pod",
				     nic->pod_netdev);
	interface = (struct result_interface){
		.name = nic->pod_netdev, .mac = link.mac, .pci = nic->pci, .mtu = link.mtu
	};
	index = result_add_interface(result, add->req, &interface);
	if (index < 0)
		return cni_error_set(error, CNI_ERR_DECODE, index, "'interfaces' of prevResult");
	if (add->req->ipam) {
		add->ipam_done[i] = true; /* a failed ADD of IPAM is to be followed by its DEL too */
		r = run_ipam(add, &link, index, result, &addresses, error);
		if (r < 0)
			return r;
	}
	/* InfiniBand's GIDs are its ports', whatever the addresses are. */
	if (nic->infiniband)
		addresses.n = 0;
	return wait_gid(add, nic->rdma, &addresses, error);
}

static int finish_link(struct add *add, struct cni_error *error)
{
	const struct state_link *link = &add->state->link;
	struct addresses addresses = { .n = 0 };

	addresses.n =
		result_addresses(add->req->prev_result, link->netdev, addresses.list, IPAM_MAX_ADDRESSES);
	if (addresses.n < 0)
		return cni_error_set(error, CNI_ERR_DECODE, 0, "the addresses of prevResult make no sense");
	return wait_gid(add, link->rdma, &addresses, error);
}

static void undo(struct add *add)
{
	struct cni_error ignored = { 0 };

	if (!add->state)
		return;
	for (size_t i = 0; i < add->state->n; i++) {
		if (add->ipam_done[i])
			(void)ipam_run(add->req, "DEL", add->state->nics[i].pod_netdev, NULL, &ignored);
	}
	if (add->session.lock_fd < 0 &&
	    session_lock(&add->session, add->req->lock_timeout_ms, &ignored) < 0) {
		log_error("%s: cannot undo: %s; the next ADD or DEL does", add->session.who, ignored.msg);
		return;
	}
	log_info("%s: failed, putting everything back", add->session.who);
	(void)session_release(&add->session, add->state);
}

/* Moves all, or makes the link; under the lock. */
static int move_all(struct add *add, struct cni_error *error)
{
	struct move move = session_move(&add->session, add->pod);
	size_t i = 0;

	if (add->req->soft)
		return soft_in(&move, &add->state->link, error);
	while (i < add->state->n) {
		struct state_nic *nic = &add->state->nics[i];
		char pci[sizeof(nic->pci)];
		int r = move_in(&move, nic, error);

		if (r == -EOPNOTSUPP && add->req->allow_shared && move_out(&move, nic, 0) >= 0) {
			memcpy(pci, nic->pci, sizeof(pci));
			warn_unmovable(add, pci, error);
			state_drop_nic(add->state, pci);
			/* Whoever wants it next is not to look for it in this pod. */
			r = state_save(add->session.state_fd, add->state);
			if (r < 0)
				return cni_error_set(error, CNI_ERR_IO, r, "cannot write the state file");
			continue;
		}
		if (r < 0)
			return r;
		i++;
	}
	return 0;
}

static int finish(struct add *add, json_t *result, struct cni_error *error)
{
	if (add->req->soft)
		return finish_link(add, error);
	for (size_t i = 0; i < add->state->n; i++) {
		int r = finish_nic(add, i, result, error);

		if (r < 0)
			return r;
	}
	return 0;
}

static int add_devices(struct add *add, json_t *result, struct cni_error *error)
{
	int r;

	if ((r = session_check_mode(&add->session, error)) < 0 || (r = open_pod(add, error)) < 0)
		return r;
	if (!add->pod)
		return 0;
	if (add->session.shared)
		log_warning(
			"%s: allowShared: RDMA devices are shared by all network namespaces, so that every pod of "
			"this node can use this pod's; this is no isolation",
			add->session.who);
	if ((r = session_lock(&add->session, add->req->lock_timeout_ms, error)) < 0 ||
	    (r = repair(add, error)) < 0 || (r = make_state(add, error)) < 0 ||
	    (r = move_all(add, error)) < 0)
		return r;
	/* From here on no number can change any more; what follows may take its time. */
	session_unlock(&add->session);
	r = finish(add, result, error);
	if (r == 0 && (r = fault_point("result")) < 0)
		cni_error_set(error, CNI_ERR_IO, r, "fault");
	return r;
}

static void add_done(struct add *add)
{
	if (add->state)
		state_free(add->state);
	if (add->pod)
		place_free(add->pod);
	devices_done(&add->devices);
	session_close(&add->session);
}

/* Whether there is anything to do for the pod. */
static int learn(struct add *add, bool *ret, struct cni_error *error)
{
	int r;

	/* A network that says no resource is for those whose pods ask for the network itself. */
	if (add->req->soft && !add->req->names_resource) {
		*ret = true;
		return 0;
	}
	if (add->req->soft)
		return devices_are_held(add->req, ret, error);
	r = devices_learn(add->req, &add->devices, error);
	*ret = add->devices.n > 0;
	return r;
}

int verbs_add(const struct request *req, json_t **ret_document, struct cni_error *error)
{
	_cleanup_(add_done) struct add add = {
		.req = req, .session = { .state_fd = -EBADF, .lock_fd = -EBADF, .proc_fd = -EBADF }
	};
	json_auto_t *result = NULL;
	bool is_ours = false;
	int r;

	result = result_new(req, error);
	if (!result)
		return CNI_FAILED;
	r = learn(&add, &is_ours, error);
	if (r < 0)
		return r;
	if (is_ours) {
		r = session_open(&add.session, req, "ADD", error);
		if (r == 0)
			r = add_devices(&add, result, error);
		if (r < 0) {
			undo(&add);
			return r;
		}
	}
	*ret_document = json_incref(result);
	return 0;
}
