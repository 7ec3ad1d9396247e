// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "devices.h"
#include "kubelet/podresources.h"
#include "state.h"

void devices_done(struct devices *devices)
{
	free(devices->nics);
	*devices = (struct devices){ 0 };
}

bool devices_is_pci(const char *text)
{
	static const char shape[] = "xxxx:xx:xx.o";

	for (size_t i = 0; i < sizeof(shape) - 1; i++) {
		if (shape[i] == 'x'   ? !isxdigit((unsigned char)text[i]) || isupper((unsigned char)text[i])
		    : shape[i] == 'o' ? text[i] < '0' || text[i] > '7'
				      : text[i] != shape[i])
			return false;
	}
	return text[sizeof(shape) - 1] == '\0';
}

static int append(struct devices *devices, const char *pci, const char *gaudi, const char *netdev)
{
	struct devices_nic *grown;

	for (size_t i = 0; i < devices->n; i++) {
		if (strcmp(devices->nics[i].pci, pci) == 0)
			return 0;
	}
	grown = reallocarray(devices->nics, devices->n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	devices->nics = grown;
	grown = &devices->nics[devices->n++];
	*grown = (struct devices_nic){ 0 };
	snprintf(grown->pci, sizeof(grown->pci), "%s", pci);
	snprintf(grown->gaudi, sizeof(grown->gaudi), "%s", gaudi);
	snprintf(grown->netdev, sizeof(grown->netdev), "%s", netdev);
	return 0;
}

int devices_resolve(struct devices *devices, const struct pairs *pairs, const char *id)
{
	const struct pairs_pair *pair;

	pair = pairs ? pairs_find(pairs, id) : NULL;
	if (pair && !pair->has_nic) {
		log_info("Gaudi %s has no NIC of its own", id);
		return 0;
	}
	if (!pair && pairs)
		pair = pairs_find_nic(pairs, id);
	if (pair)
		return append(devices, pair->nic.pci, pair->gaudi, pair->nic.netdev);
	return devices_is_pci(id) ? append(devices, id, "", "") : -ENOENT;
}

/* Its absence is no failure as long as nobody asks for a Gaudi. */
static int load_pairs(const struct request *req, struct pairs **ret, struct cni_error *error)
{
	char why[160] = "";
	int r;

	r = pairs_load(req->pairs, ret, why, sizeof(why));
	if (r == -ENOENT || r == 0)
		return 0;
	if (is_shortage(r))
		return cni_error_set(error, CNI_ERR_IO, r, "pairing file %s", req->pairs);
	cni_error_set(error, CNI_ERR_IO, 0, "pairing file %s: %s", req->pairs, why[0] ? why : strerror(-r));
	return cni_error_explain(
		error,
		"the device plugin writes it: see the log of gaudi-device-plugin on this node; versions of "
		"plugin and cni-rdma must match");
}

static int resolve_all(const struct request *req, struct devices *devices, const char *const *ids, size_t n,
		       const char *source, struct cni_error *error)
{
	_cleanup_(pairs_freep) struct pairs *pairs = NULL;
	int r;

	r = load_pairs(req, &pairs, error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		r = devices_resolve(devices, pairs, ids[i]);
		if (r == -ENOENT) {
			cni_error_set(error, CNI_ERR_NO_DEVICE, 0,
				      "device '%.64s' of %s is neither in %s nor a PCI address", ids[i],
				      source, req->pairs);
			return cni_error_explain(
				error,
				"the device plugin writes that file when it starts: is gaudi-device-plugin "
				"running on this node, and does it list the device?");
		}
		if (r < 0)
			return cni_error_set(error, CNI_ERR_IO, r, "devices of the pod");
	}
	return 0;
}

/* Only functions that the pairing knows: an ordinary VF of the pod network has a pciID too. */
static int from_prev_result(const struct request *req, struct devices *devices, struct cni_error *error)
{
	_cleanup_(pairs_freep) struct pairs *pairs = NULL;
	const json_t *interface;
	size_t i;
	int r;

	json_array_foreach(json_object_get(req->prev_result, "interfaces"), i, interface) {
		const char *pci = json_string_value(json_object_get(interface, "pciID"));

		if (!pci)
			continue;
		if (!pairs) {
			r = load_pairs(req, &pairs, error);
			if (r < 0)
				return r;
			if (!pairs)
				return 0;
		}
		if (!pairs_find_nic(pairs, pci))
			continue;
		r = devices_resolve(devices, pairs, pci);
		if (r < 0)
			return cni_error_set(error, CNI_ERR_IO, r, "devices of the previous result");
	}
	return 0;
}

static void name_all(const struct podresources_devices *devices, char *buf, size_t size)
{
	size_t len = 0;

	(void)snprintf(buf, size, "no devices");
	for (size_t i = 0; i < devices->n && len < size; i++)
		len += (size_t)snprintf(buf + len, size - len, "%s%s", i ? ", " : "", devices->ids[i]);
}

/* resource NULL: of all. The caller frees *ret by podresources_devices_done(). */
static int ask_kubelet(const struct request *req, const char *resource, struct podresources_devices *ret,
		       struct cni_error *error)
{
	struct grpc_error why = { 0 };
	int r;

	if (!req->pod_namespace[0] || !req->pod_name[0]) {
		cni_error_set(error, CNI_ERR_ENVIRONMENT, 0, "nothing says which devices the pod has");
		return cni_error_explain(
			error,
			"CNI_ARGS needs K8S_POD_NAMESPACE and K8S_POD_NAME (the kubelet's runtime sets them), or "
			"the configuration a deviceID");
	}
	r = podresources_find_pod(req->pod_resources, 0, req->pod_namespace, req->pod_name, resource, ret,
				  &why);
	if (r == -ENOTUNIQ) {
		char ids[256];

		name_all(ret, ids, sizeof(ids));
		podresources_devices_done(ret);
		cni_error_set(error, CNI_ERR_TRY_AGAIN, 0,
			      "the kubelet lists pod %s/%s more than once, with %s", req->pod_namespace,
			      req->pod_name, ids);
		return cni_error_explain(
			error,
			"a pod of that name is still being deleted, and nothing tells which devices are whose; the "
			"kubelet tries again by itself");
	}
	if (r == -ENOENT && access(req->pod_resources, F_OK) == 0)
		return cni_error_set(error, CNI_ERR_TRY_AGAIN, 0, "the kubelet does not list pod %s/%s",
				     req->pod_namespace, req->pod_name);
	if (r < 0) {
		cni_error_set(error, CNI_ERR_TRY_AGAIN, r,
			      "cannot ask the kubelet for the pod's devices at %s", req->pod_resources);
		return cni_error_explain(
			error,
			"%s%sthe socket is there while the kubelet runs; 'podResources' of the configuration must "
			"name it",
			why.text, why.text[0] ? "; " : "");
	}
	return 0;
}

static int from_kubelet(const struct request *req, struct devices *devices, struct cni_error *error)
{
	struct podresources_devices held = { 0 };
	int r = ask_kubelet(req, req->resource, &held, error);

	if (r < 0)
		return r;
	r = resolve_all(req, devices, (const char *const *)held.ids, held.n, "the kubelet", error);
	podresources_devices_done(&held);
	return r;
}

static bool is_among(const struct podresources_devices *held, const char *id)
{
	for (size_t i = 0; i < held->n; i++) {
		if (strcmp(held->ids[i], id) == 0)
			return true;
	}
	return false;
}

static int check_nic(const struct request *req, const struct podresources_devices *held,
		     const struct devices_nic *nic, const char *source, struct cni_error *error)
{
	char ids[256];

	if (is_among(held, nic->pci) || (nic->gaudi[0] && is_among(held, nic->gaudi)))
		return 0;
	name_all(held, ids, sizeof(ids));
	return cni_error_set(error, CNI_ERR_NOT_HELD, 0,
			     "NIC %s%s%s%s, which %s names, is not pod %s/%s's: the kubelet has given it %s",
			     nic->pci, nic->gaudi[0] ? " (of Gaudi " : "", nic->gaudi,
			     nic->gaudi[0] ? ")" : "", source, req->pod_namespace, req->pod_name, ids);
}

/*
 * Configuration and previous result are what somebody wrote into a NetworkAttachmentDefinition, who may name the NIC of
 * any pod: whose it is the kubelet knows. It is asked for NICs of no pairing too, because a pairing may be late, and
 * never has NICs that are a resource by themselves. Where no pod is named there is no kubelet.
 */
static int check_held(const struct request *req, const struct devices *devices, const char *source,
		      struct cni_error *error)
{
	struct podresources_devices held = { 0 };
	int r;

	if (devices->n == 0 || !request_is_for_pod(req))
		return 0;
	r = ask_kubelet(req, NULL, &held, error);
	for (size_t i = 0; r == 0 && i < devices->n; i++)
		r = check_nic(req, &held, &devices->nics[i], source, error);
	podresources_devices_done(&held);
	return r;
}

int devices_are_held(const struct request *req, bool *ret, struct cni_error *error)
{
	struct podresources_devices held = { 0 };
	int r;

	*ret = req->device_id;
	if (req->device_id)
		return 0;
	r = ask_kubelet(req, req->resource, &held, error);
	*ret = held.n > 0;
	podresources_devices_done(&held);
	return r;
}

static int compare(const void *a, const void *b)
{
	const struct devices_nic *x = a, *y = b;

	return strcmp(x->pci, y->pci);
}

int devices_learn(const struct request *req, struct devices *ret, struct cni_error *error)
{
	_cleanup_(devices_done) struct devices devices = { 0 };
	const char *source = req->device_id ? "the configuration" : "the previous result";
	int r;

	if (req->device_id)
		r = resolve_all(req, &devices, &req->device_id, 1, source, error);
	else
		r = from_prev_result(req, &devices, error);
	if (r == 0)
		r = check_held(req, &devices, source, error);
	if (r == 0 && !req->device_id && devices.n == 0)
		r = from_kubelet(req, &devices, error);
	if (r < 0)
		return r;
	if (devices.n > STATE_MAX_NICS)
		return cni_error_set(error, CNI_ERR_CONFIG, 0, "the pod has %zu NICs; %d are the most",
				     devices.n, STATE_MAX_NICS);
	if (devices.n > 0)
		qsort(devices.nics, devices.n, sizeof(*devices.nics), compare);
	*ret = devices;
	devices = (struct devices){ 0 };
	return 0;
}
