// SPDX-License-Identifier: Apache-2.0
/*
 * What cni-rdma reads: from the runtime, from IPAM, from its own files. The first byte picks one of:
 *   'R'  a call: verb, environment, configuration; what it accepts goes on to the result
 *   'I'  an answer of IPAM, put into a result that already has something
 *   'S'  a state file                        'P'  a pairing file
 * Texts before the last end with the byte 0x1e.
 */
#include <stdlib.h>
#include <string.h>

#include "../../cni-rdma/ipam.h"
#include "../../cni-rdma/result.h"
#include "../../cni-rdma/state.h"
#include "fuzz_input.h"
#include "sysfs/pairs.h"

#define END 0x1e

/* The text up to END, freed by the caller; NULL for an empty one, as an environment that lacks the word. */
static char *take_text(struct fuzz_input *in)
{
	const uint8_t *end = in->len ? memchr(in->data, END, in->len) : NULL;
	size_t len;
	const uint8_t *bytes = fuzz_bytes(in, end ? (size_t)(end - in->data) : in->len, &len);
	char *text;

	if (end)
		(void)fuzz_byte(in);
	if (len == 0)
		return NULL;
	text = malloc(len + 1);
	fuzz_assert(text);
	memcpy(text, bytes, len);
	text[len] = '\0';
	return text;
}

/* Whatever failed can be told, to whoever reads JSON. */
static void check_error(const struct cni_error *error, const char *version)
{
	json_auto_t *document = cni_error_document(error, version);
	_cleanup_free_ char *text = json_dumps(document, JSON_COMPACT);

	fuzz_assert(document && text);
	fuzz_assert(error->code > 0 && error->msg[0]);
	fuzz_assert(json_string_length(json_object_get(document, "msg")) > 0);
}

static bool is_absolute(const char *path)
{
	return path && path[0] == '/';
}

/* What every later step takes for granted. */
static void check_accepted(const struct request *req)
{
	const char *percent = strchr(req->pod_ifname, '%');

	fuzz_assert(is_absolute(req->state_dir) && is_absolute(req->pairs) &&
		    is_absolute(req->pod_resources));
	fuzz_assert(percent && percent[1] == 'd' && !strchr(percent + 1, '%') &&
		    strlen(req->pod_ifname) < IFNAMSIZ);
	fuzz_assert(!req->container || !req->container[0] || request_id_is_valid(req->container));
	fuzz_assert(!req->ifname || !req->ifname[0] || request_ifname_is_valid(req->ifname));
	fuzz_assert(req->lock_timeout_ms >= 1000 && req->lock_timeout_ms <= 600000);
	fuzz_assert(req->gid_timeout_ms >= 1000 && req->lease_timeout_ms <= 600000);
	fuzz_assert(req->resource[0] && req->network && (!req->device_id || req->device_id[0]));
	fuzz_assert(!req->prev_result || json_is_object(req->prev_result));
	fuzz_assert(!req->attachments || json_is_array(req->attachments));
	fuzz_assert(!req->ipam || !strchr(json_string_value(json_object_get(req->ipam, "type")), '/'));
	if (req->command == REQUEST_ADD || req->command == REQUEST_DEL || req->command == REQUEST_CHECK)
		fuzz_assert(req->container && req->container[0] && req->ifname && req->ifname[0]);
	if (req->command == REQUEST_ADD || req->command == REQUEST_CHECK)
		fuzz_assert(req->netns && req->netns[0]);
}

/* Everything of before is there as it came, in its place; returns a copy without what may be new. */
static void check_kept(const json_t *before, const json_t *result)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)before, key, value) {
		const json_t *now = json_object_get(result, key);
		const json_t *item;
		size_t i;

		if (strcmp(key, "cniVersion") == 0 || json_is_null(value))
			continue;
		if (!json_is_array(value)) {
			fuzz_assert(json_equal(value, now));
			continue;
		}
		json_array_foreach(value, i, item)
			fuzz_assert(json_equal(item, json_array_get(now, i)));
	}
}

/* An interface and IPAM's addresses into the result; false when something is no list. */
static bool extend(json_t *result, const struct request *req, const json_t *ipam)
{
	const struct result_interface interface = {
		.name = "rdma0", .mac = "52:54:00:12:34:56", .pci = "0000:06:00.0", .mtu = 1500
	};
	struct rtlink_address addresses[IPAM_MAX_ADDRESSES];
	struct rtlink_route routes[IPAM_MAX_ROUTES];
	struct cni_error error = { 0 };
	int index = result_add_interface(result, req, &interface);

	if (index < 0)
		return false;
	fuzz_assert(json_is_object(json_array_get(json_object_get(result, "interfaces"), (size_t)index)));
	if (ipam_addresses(ipam, addresses, IPAM_MAX_ADDRESSES) < 0 ||
	    ipam_routes(ipam, routes, IPAM_MAX_ROUTES) < 0)
		return false;
	if (result_add_ipam(result, ipam, index, &error) < 0) {
		check_error(&error, cni_version_text(req->version));
		return false;
	}
	return true;
}

static void fuzz_result(const struct request *req, const json_t *ipam)
{
	struct rtlink_address addresses[IPAM_MAX_ADDRESSES];
	struct cni_error error = { 0 };
	json_auto_t *before = req->prev_result ? json_deep_copy(req->prev_result) : json_object();
	json_auto_t *result = result_new(req, &error);
	_cleanup_free_ char *text = NULL;

	fuzz_assert(result); /* there is memory */
	if (extend(result, req, ipam)) {
		check_kept(before, result);
		fuzz_assert(strcmp(json_string_value(json_object_get(result, "cniVersion")),
				   cni_version_text(req->version)) == 0);
		fuzz_assert(result_find_interface(result, "rdma0", NULL) >= 0);
	}
	/* prevResult is the caller's. */
	fuzz_assert(!req->prev_result || json_equal(before, req->prev_result));
	(void)result_addresses(result, "rdma0", addresses, IPAM_MAX_ADDRESSES);
	text = json_dumps(result, JSON_COMPACT);
	fuzz_assert(text);
}

static void fuzz_request(struct fuzz_input *in)
{
	static const char *const verbs[] = { "ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION", "add", "" };
	_cleanup_free_ char *container = take_text(in), *netns = take_text(in), *ifname = take_text(in),
			    *args = take_text(in), *path = take_text(in);
	struct request_env env = { .command = verbs[fuzz_byte(in) % ARRAY_SIZE(verbs)],
				   .container = container,
				   .netns = netns,
				   .ifname = ifname,
				   .args = args,
				   .path = path };
	json_auto_t *ipam = json_object();
	struct cni_error error = { 0 };
	struct request req;
	int r = request_parse(&req, &env, (const char *)in->data, in->len, &error);

	fuzz_assert(r == 0 || error.code);
	if (r < 0) {
		check_error(&error, req.version_text);
	} else if (req.command == REQUEST_VERSION) {
		json_auto_t *document = cni_version_document("1.0.0");

		fuzz_assert(document);
	} else {
		check_accepted(&req);
		if (req.command == REQUEST_ADD)
			fuzz_result(&req, ipam);
	}
	request_done(&req);
}

static void fuzz_ipam(struct fuzz_input *in)
{
	enum cni_version version = fuzz_byte(in) % CNI_VERSIONS;
	_cleanup_free_ char *prev = take_text(in);
	json_auto_t *prev_result = prev ? json_loads(prev, 0, NULL) : NULL;
	json_auto_t *ipam = json_loadb((const char *)in->data, in->len, 0, NULL);
	struct request req = { .version = version,
			       .version_text = cni_version_text(version),
			       .netns = "/run/netns/a",
			       .prev_result = json_is_object(prev_result) ? prev_result : NULL };

	/* As ipam_call() has it. */
	if (json_is_object(ipam))
		fuzz_result(&req, ipam);
}

static void fuzz_state(struct fuzz_input *in)
{
	struct state *state = NULL, *again = NULL;
	_cleanup_free_ char *text = NULL, *text2 = NULL;
	char why[160] = "";
	int r = state_parse((const char *)in->data, in->len, &state, why, sizeof(why));

	fuzz_assert(r == 0 ? state != NULL : !state && why[0]);
	if (r < 0)
		return;
	fuzz_assert(request_id_is_valid(state->container) && request_ifname_is_valid(state->ifname));
	text = state_format(state);
	fuzz_assert(text && state_parse(text, strlen(text), &again, why, sizeof(why)) == 0);
	text2 = state_format(again);
	fuzz_assert(text2 && strcmp(text, text2) == 0);
	state_free(state);
	state_free(again);
}

static void fuzz_pairs(struct fuzz_input *in)
{
	struct pairs *pairs = NULL, *again = NULL;
	_cleanup_free_ char *text = NULL;
	char why[160] = "";
	int r = pairs_parse((const char *)in->data, in->len, &pairs, why, sizeof(why));

	fuzz_assert(r == 0 ? pairs != NULL : !pairs && why[0]);
	if (r < 0)
		return;
	text = pairs_format(pairs);
	fuzz_assert(text && pairs_parse(text, strlen(text), &again, why, sizeof(why)) == 0);
	fuzz_assert(again->n == pairs->n);
	pairs_free(pairs);
	pairs_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_input in = { .data = data, .len = len };

	switch (fuzz_byte(&in)) {
	case 'R':
		fuzz_request(&in);
		break;
	case 'I':
		fuzz_ipam(&in);
		break;
	case 'S':
		fuzz_state(&in);
		break;
	case 'P':
		fuzz_pairs(&in);
		break;
	default:
		break;
	}
	return 0;
}
