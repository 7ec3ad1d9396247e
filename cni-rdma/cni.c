// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cni.h"

static const char *const versions[CNI_VERSIONS] = {
	[CNI_0_3_0] = "0.3.0", [CNI_0_3_1] = "0.3.1", [CNI_0_4_0] = "0.4.0",
	[CNI_1_0_0] = "1.0.0", [CNI_1_1_0] = "1.1.0",
};

/* The next step of a user who sees the code. README.md has the same in more words. */
static const char *code_advice(int code)
{
	switch (code) {
	case CNI_ERR_VERSION:
		return "set cniVersion of the network configuration to one of 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0";
	case CNI_ERR_ENVIRONMENT:
		return "the container runtime sets these variables; when calling by hand, set them as cnitool does";
	case CNI_ERR_DECODE:
		return "standard input must be one JSON object: the plugin's entry of the network configuration";
	case CNI_ERR_CONFIG:
		return "correct the cni-rdma entry in /etc/cni/net.d; cni-rdma/README.md lists its keys";
	case CNI_ERR_NETNS:
		return "the pod's network namespace is gone or is none; the runtime makes it before it calls ADD";
	case CNI_ERR_TRY_AGAIN:
		return "nothing to do: the kubelet tries again by itself";
	case CNI_ERR_NOT_EXCLUSIVE:
		return "put 'options ib_core netns_mode=0' into /etc/modprobe.d/gaudi-p2p.conf and reboot: the mode cannot "
		       "change while pods exist ('rdma system show' tells it)";
	case CNI_ERR_NO_DEVICE:
		return "see 'rdma link show' on the node: the NIC needs an RDMA device and a netdev in the host's namespace";
	case CNI_ERR_CANNOT_MOVE:
		return "this device cannot be given to a pod alone; use another NIC, or take it out of the pairing";
	case CNI_ERR_OWNED:
		return "it becomes free when that pod's sandbox is removed; the kubelet tries again by itself";
	case CNI_ERR_NO_GID:
		return "the NIC is up but has no RoCE address: check its cable, 'rdma link show', and gidTimeout";
	case CNI_ERR_CHARDEV:
		return "the kubelet has fixed the old number for this pod: delete the pod so that it is admitted anew; if it "
		       "happens again, something else on the node adds or removes RDMA devices";
	case CNI_ERR_NOT_HELD:
		return "a pod has the NICs that the kubelet has given it, or that are paired with its Gaudis: take the deviceID "
		       "out of its NetworkAttachmentDefinition, or have the pod ask for the resource of that device";
	default:
		return "";
	}
}

int cni_error_set(struct cni_error *error, int code, int r, const char *format, ...)
{
	va_list args;
	size_t len;

	if (error->code)
		return CNI_FAILED;
	/* Whatever the caller takes the failure for: it could not look. */
	if (is_shortage(r))
		code = CNI_ERR_TRY_AGAIN;
	error->code = code;
	va_start(args, format);
	vsnprintf(error->msg, sizeof(error->msg), format, args);
	va_end(args);
	len = strlen(error->msg);
	if (r < 0)
		snprintf(error->msg + len, sizeof(error->msg) - len, ": %s", strerror(-r));
	snprintf(error->details, sizeof(error->details), "%s", code_advice(code));
	return CNI_FAILED;
}

int cni_error_explain(struct cni_error *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->details, sizeof(error->details), format, args);
	va_end(args);
	return CNI_FAILED;
}

int cni_version_parse(const char *text, enum cni_version *ret)
{
	for (int i = 0; i < CNI_VERSIONS; i++) {
		if (strcmp(text, versions[i]) == 0) {
			*ret = (enum cni_version)i;
			return 0;
		}
	}
	return -EPROTONOSUPPORT;
}

const char *cni_version_text(enum cni_version version)
{
	return versions[version];
}

/* Names and messages of others may be no UTF-8, which JSON refuses: such bytes become '?'. */
static json_t *lenient_string(const char *text)
{
	char clean[1024];
	json_t *value = json_string(text);
	size_t i;

	if (value)
		return value;
	for (i = 0; text[i] && i < sizeof(clean) - 1; i++)
		clean[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
	clean[i] = '\0';
	return json_string(clean);
}

json_t *cni_error_document(const struct cni_error *error, const char *version)
{
	json_auto_t *document = json_object();

	if (json_object_set_new(document, "cniVersion", lenient_string(version)) < 0 ||
	    json_object_set_new(document, "code", json_integer(error->code)) < 0 ||
	    json_object_set_new(document, "msg", lenient_string(error->msg)) < 0)
		return NULL;
	if (error->details[0] && json_object_set_new(document, "details", lenient_string(error->details)) < 0)
		return NULL;
	return json_incref(document);
}

json_t *cni_version_document(const char *version)
{
	json_auto_t *document = json_object();
	json_t *list = json_array();

	if (json_object_set_new(document, "supportedVersions", list) < 0 ||
	    json_object_set_new(document, "cniVersion", lenient_string(version)) < 0)
		return NULL;
	for (int i = 0; i < CNI_VERSIONS; i++) {
		if (json_array_append_new(list, json_string(versions[i])) < 0)
			return NULL;
	}
	return json_incref(document);
}
