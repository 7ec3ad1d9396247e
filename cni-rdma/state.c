// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"
#include "base/log.h"
#include "base/num.h"
#include "json/jsontext.h"
#include "state.h"

void state_free(struct state *state)
{
	free(state->nics);
	free(state);
}

struct state *state_new(size_t n)
{
	struct state *state = calloc(1, sizeof(*state));

	if (!state)
		return NULL;
	state->nics = calloc(n ? n : 1, sizeof(*state->nics));
	if (!state->nics) {
		free(state);
		return NULL;
	}
	state->n = n;
	return state;
}

/* A text that must be there and fit. */
static int copy_text(const json_t *object, const char *key, char *buf, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (!text || strlen(text) >= size)
		return -EBADMSG;
	memcpy(buf, text, strlen(text) + 1);
	return 0;
}

/* 64-bit values are written as text: JSON's integers are signed, and a GUID uses all bits. */
static int copy_hex(const json_t *object, const char *key, uint64_t *ret)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && num_parse_hex(text, UINT64_MAX, ret) == 0 ? 0 : -EBADMSG;
}

static bool name_is_plain(const char *name)
{
	return name[0] && name[0] != '.' && !strchr(name, '/');
}

static int parse_nic(const json_t *object, struct state_nic *nic)
{
	const json_t *mtu = json_object_get(object, "mtu"), *index = json_object_get(object, "rdmaIndex");
	const json_t *up = json_object_get(object, "up"), *soft = json_object_get(object, "soft");
	const json_t *infiniband = json_object_get(object, "infiniband"); /* no older record has it */

	if (copy_text(object, "pci", nic->pci, sizeof(nic->pci)) < 0 ||
	    copy_text(object, "gaudi", nic->gaudi, sizeof(nic->gaudi)) < 0 ||
	    copy_text(object, "rdma", nic->rdma, sizeof(nic->rdma)) < 0 ||
	    copy_text(object, "netdev", nic->netdev, sizeof(nic->netdev)) < 0 ||
	    copy_text(object, "podNetdev", nic->pod_netdev, sizeof(nic->pod_netdev)) < 0 ||
	    copy_text(object, "uverbs", nic->uverbs, sizeof(nic->uverbs)) < 0 ||
	    copy_hex(object, "chardev", &nic->chardev) < 0 ||
	    copy_hex(object, "nodeGuid", &nic->node_guid) < 0)
		return -EBADMSG;
	if (!json_is_integer(mtu) || json_integer_value(mtu) < 0 || json_integer_value(mtu) > INT32_MAX ||
	    !json_is_integer(index) || json_integer_value(index) < 0 ||
	    json_integer_value(index) > UINT32_MAX || !json_is_boolean(up) || !json_is_boolean(soft) ||
	    (infiniband && !json_is_boolean(infiniband)))
		return -EBADMSG;
	if (!name_is_plain(nic->pci) || !name_is_plain(nic->rdma) || !request_ifname_is_valid(nic->netdev) ||
	    !request_ifname_is_valid(nic->pod_netdev))
		return -EBADMSG;
	nic->mtu = (unsigned)json_integer_value(mtu);
	nic->rdma_index = (uint32_t)json_integer_value(index);
	nic->up = json_is_true(up);
	nic->soft = json_is_true(soft);
	nic->infiniband = json_is_true(infiniband);
	return 0;
}

/* Null, or absent: none. */
static int parse_link(const json_t *object, struct state_link *link)
{
	if (!object || json_is_null(object))
		return 0;
	if (copy_text(object, "rdma", link->rdma, sizeof(link->rdma)) < 0 ||
	    copy_text(object, "netdev", link->netdev, sizeof(link->netdev)) < 0)
		return -EBADMSG;
	return name_is_plain(link->rdma) && request_ifname_is_valid(link->netdev) ? 0 : -EBADMSG;
}

static int parse_head(const json_t *root, struct state *state)
{
	if (copy_text(root, "container", state->container, sizeof(state->container)) < 0 ||
	    copy_text(root, "ifname", state->ifname, sizeof(state->ifname)) < 0 ||
	    copy_text(root, "network", state->network, sizeof(state->network)) < 0 ||
	    copy_text(root, "pod", state->pod, sizeof(state->pod)) < 0 ||
	    copy_text(root, "netns", state->netns, sizeof(state->netns)) < 0 ||
	    copy_text(root, "boot", state->boot_id, sizeof(state->boot_id)) < 0 ||
	    copy_hex(root, "netnsDev", &state->netns_id.dev) < 0 ||
	    copy_hex(root, "netnsIno", &state->netns_id.ino) < 0 ||
	    parse_link(json_object_get(root, "link"), &state->link) < 0)
		return -EBADMSG;
	return request_id_is_valid(state->container) && request_ifname_is_valid(state->ifname) ? 0 : -EBADMSG;
}

int state_parse(const char *text, size_t len, struct state **ret, char *why, size_t size)
{
	_cleanup_(state_freep) struct state *state = NULL;
	const json_t *version, *nics;
	json_auto_t *root = NULL;
	json_error_t error;
	int r;

	if (len > STATE_MAX_BYTES) {
		snprintf(why, size, "larger than %u bytes", STATE_MAX_BYTES);
		return -EFBIG;
	}
	r = jsontext_parse(text, len, JSON_REJECT_DUPLICATES, &root, &error);
	if (r < 0) {
		jsontext_explain(r, &error, why, size);
		return r;
	}
	version = json_object_get(root, "version");
	if (json_is_integer(version) && json_integer_value(version) > STATE_VERSION) {
		snprintf(why, size, "version %lld, written by a later cni-rdma",
			 (long long)json_integer_value(version));
		return -EPROTONOSUPPORT;
	}
	nics = json_object_get(root, "nics");
	if (!json_is_integer(version) || json_integer_value(version) != STATE_VERSION ||
	    !json_is_array(nics) || json_array_size(nics) > STATE_MAX_NICS) {
		snprintf(why, size, "not a state file of cni-rdma");
		return -EBADMSG;
	}
	state = state_new(json_array_size(nics));
	if (!state)
		return -ENOMEM;
	if (parse_head(root, state) < 0) {
		snprintf(why, size, "a key of the attachment is missing or impossible");
		return -EBADMSG;
	}
	for (size_t i = 0; i < state->n; i++) {
		if (parse_nic(json_array_get(nics, i), &state->nics[i]) < 0) {
			snprintf(why, size, "NIC %zu: a key is missing or impossible", i);
			return -EBADMSG;
		}
	}
	*ret = TAKE_PTR(state);
	return 0;
}

static int set_hex(json_t *object, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	return json_object_set_new(object, key, json_string(text));
}

static json_t *format_link(const struct state_link *link)
{
	if (!link->rdma[0])
		return json_null();
	return json_pack("{s:s, s:s}", "rdma", link->rdma, "netdev", link->netdev);
}

static json_t *format_nic(const struct state_nic *nic)
{
	json_auto_t *object = json_object();

	if (json_object_set_new(object, "pci", json_string(nic->pci)) < 0 ||
	    json_object_set_new(object, "gaudi", json_string(nic->gaudi)) < 0 ||
	    json_object_set_new(object, "rdma", json_string(nic->rdma)) < 0 ||
	    json_object_set_new(object, "netdev", json_string(nic->netdev)) < 0 ||
	    json_object_set_new(object, "podNetdev", json_string(nic->pod_netdev)) < 0 ||
	    json_object_set_new(object, "uverbs", json_string(nic->uverbs)) < 0 ||
	    set_hex(object, "chardev", nic->chardev) < 0 || set_hex(object, "nodeGuid", nic->node_guid) < 0 ||
	    json_object_set_new(object, "rdmaIndex", json_integer(nic->rdma_index)) < 0 ||
	    json_object_set_new(object, "mtu", json_integer(nic->mtu)) < 0 ||
	    json_object_set_new(object, "up", json_boolean(nic->up)) < 0 ||
	    json_object_set_new(object, "soft", json_boolean(nic->soft)) < 0 ||
	    json_object_set_new(object, "infiniband", json_boolean(nic->infiniband)) < 0)
		return NULL;
	return json_incref(object);
}

char *state_format(const struct state *state)
{
	json_auto_t *root = json_object();
	json_t *nics = json_array();

	if (json_object_set_new(root, "nics", nics) < 0 ||
	    json_object_set_new(root, "version", json_integer(STATE_VERSION)) < 0 ||
	    json_object_set_new(root, "container", json_string(state->container)) < 0 ||
	    json_object_set_new(root, "ifname", json_string(state->ifname)) < 0 ||
	    json_object_set_new(root, "network", json_string(state->network)) < 0 ||
	    json_object_set_new(root, "pod", json_string(state->pod)) < 0 ||
	    json_object_set_new(root, "netns", json_string(state->netns)) < 0 ||
	    json_object_set_new(root, "boot", json_string(state->boot_id)) < 0 ||
	    set_hex(root, "netnsDev", state->netns_id.dev) < 0 ||
	    set_hex(root, "netnsIno", state->netns_id.ino) < 0 ||
	    json_object_set_new(root, "link", format_link(&state->link)) < 0)
		return NULL;
	for (size_t i = 0; i < state->n; i++) {
		if (json_array_append_new(nics, format_nic(&state->nics[i])) < 0)
			return NULL;
	}
	return jsontext_format(root, JSON_INDENT(1));
}

static void file_name(char *buf, size_t size, const char *container, const char *ifname)
{
	snprintf(buf, size, "%s-%s.json", container, ifname);
}

static int load_file(int dirfd, const char *name, struct state **ret, char *why, size_t size)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = fileio_read(dirfd, name, STATE_MAX_BYTES, &text, &len);
	if (r < 0) {
		snprintf(why, size, "%s", strerror(-r));
		return r == -EMSGSIZE ? -EFBIG : r;
	}
	return state_parse(text, len, ret, why, size);
}

int state_load(int dirfd, const char *container, const char *ifname, struct state **ret, char *why,
	       size_t size)
{
	_cleanup_(state_freep) struct state *state = NULL;
	char name[REQUEST_ID_MAX + IFNAMSIZ + 8];
	int r;

	file_name(name, sizeof(name), container, ifname);
	r = load_file(dirfd, name, &state, why, size);
	if (r < 0)
		return r;
	if (strcmp(state->container, container) != 0 || strcmp(state->ifname, ifname) != 0) {
		snprintf(why, size, "it speaks of container %s", state->container);
		return -EBADMSG;
	}
	*ret = TAKE_PTR(state);
	return 0;
}

bool state_exists(const char *dir, const char *container, const char *ifname)
{
	char path[4096 + REQUEST_ID_MAX], name[REQUEST_ID_MAX + IFNAMSIZ + 8];
	struct stat st;

	file_name(name, sizeof(name), container, ifname);
	/* Unsure counts as yes: then opening it says what is wrong. */
	return (size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path) ||
	       lstat(path, &st) == 0 || errno != ENOENT;
}

int state_save(int dirfd, const struct state *state)
{
	_cleanup_free_ char *text = state_format(state);
	char name[REQUEST_ID_MAX + IFNAMSIZ + 8];

	if (!text)
		return -ENOMEM;
	file_name(name, sizeof(name), state->container, state->ifname);
	return fileio_write_atomic(dirfd, name, text, strlen(text), 0600);
}

int state_remove(int dirfd, const struct state *state)
{
	char name[REQUEST_ID_MAX + IFNAMSIZ + 8];

	file_name(name, sizeof(name), state->container, state->ifname);
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return negative_errno();
	return 0;
}

static bool is_state_name(const char *name)
{
	size_t len = strlen(name);

	return name[0] != '.' && len > 5 && strcmp(name + len - 5, ".json") == 0;
}

int state_list_load(int dirfd, struct state_list *ret)
{
	_cleanup_(state_list_done) struct state_list list = { 0 };
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int r;

	r = fileio_opendir(dirfd, ".", &dir);
	if (r < 0)
		return r;
	while (errno = 0, (entry = readdir(dir))) {
		struct state *state, **grown;
		char why[128];

		if (!is_state_name(entry->d_name))
			continue;
		r = load_file(dirfd, entry->d_name, &state, why, sizeof(why));
		if (r == -ENOENT)
			continue; /* its attachment ended meanwhile */
		if (is_shortage(r))
			return r;
		if (r < 0) {
			log_warning("state file %s is left alone: %s", entry->d_name, why);
			list.skipped++;
			continue;
		}
		grown = reallocarray(list.states, list.n + 1, sizeof(*grown));
		if (!grown) {
			state_free(state);
			return -ENOMEM;
		}
		list.states = grown;
		list.states[list.n++] = state;
	}
	if (errno)
		return negative_errno();
	*ret = list;
	list = (struct state_list){ 0 };
	return 0;
}

void state_list_done(struct state_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		state_free(list->states[i]);
	free(list->states);
	*list = (struct state_list){ 0 };
}

struct state *state_list_owner(const struct state_list *list, const char *pci)
{
	for (size_t i = 0; i < list->n; i++) {
		for (size_t j = 0; j < list->states[i]->n; j++) {
			if (strcmp(list->states[i]->nics[j].pci, pci) == 0)
				return list->states[i];
		}
	}
	return NULL;
}

void state_drop_nic(struct state *state, const char *pci)
{
	size_t kept = 0;

	for (size_t i = 0; i < state->n; i++) {
		if (strcmp(state->nics[i].pci, pci) != 0)
			state->nics[kept++] = state->nics[i];
	}
	state->n = kept;
}
