// SPDX-License-Identifier: Apache-2.0
/* What cni-rdma reads and writes, with every allocation failing in turn: the outcome is the right one or an error. */
#include "../unit.h"

#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../../cni-rdma/devices.h"
#include "../../../cni-rdma/ipam.h"
#include "../../../cni-rdma/result.h"
#include "../../../cni-rdma/state.h"
#include "../../../cni-rdma/verbs.h"
#include "../failalloc.h"
#include "../fake_pods.h"
#include "../fakefs.h"
#include "json/jsontext.h"

#define TEXT 4096

static const char config[] =
	"{\"cniVersion\":\"1.1.0\",\"name\":\"a network with a long name\",\"type\":\"cni-rdma\",\"ifName\":\"rdma%d\","
	"\"ipam\":{\"type\":\"test-ipam-of-some-length\"},\"runtimeConfig\":{\"deviceID\":\"HL1-of-a-long-serial\"},"
	"\"prevResult\":{\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"/run/netns/somewhere\"}],\"ips\":[{\"address\":"
	"\"10.0.0.2/24\",\"interface\":0}],\"routes\":[{\"dst\":\"0.0.0.0/0\"}],\"dns\":{\"nameservers\":[\"10.0.0.53\"]}}}";
static const char answer[] =
	"{\"ips\":[{\"address\":\"10.99.0.1/24\",\"gateway\":\"10.99.0.254\"}],\"routes\":[{\"dst\":\"10.77.0.0/16\"}]}";
static const char pairing[] =
	"{\"version\":1,\"mode\":\"paired\",\"pairs\":[{\"gaudi\":\"HL1-of-a-long-serial\",\"nic\":{\"pci\":\"0000:08:00.0\","
	"\"rdma\":\"rxe1\",\"netdev\":\"enp8s0\",\"uverbs\":\"uverbs1\",\"node_guid\":\"\"}}]}";

static const struct fake_pod pods[] = { { "train", "habana.ai/gaudi", { "HL2", "HL1-of-a-long-serial" } } };

struct world {
	struct fakefs *fs;
	pid_t kubelet;
	const char *root, *pairs, *pod_resources;
	char ipam_type[32];
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->fs = fakefs_new();
	w->root = fakefs_path(w->fs);
	fakefs_put(w->fs, "pairs.json", pairing);
	w->pairs = fakefs_join(w->fs, "pairs.json");
	w->kubelet = fake_pods_begin(w->root, pods, ARRAY_SIZE(pods));
	w->pod_resources = fakefs_join(w->fs, "pods.sock");
	fakefs_put(w->fs, "test-ipam-of-some-length",
		   "#!/bin/sh\necho '{\"ips\":[{\"address\":\"10.9.0.1/24\"}]}'\n");
	fakefs_chmod(w->fs, "test-ipam-of-some-length", 0755);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	fake_pods_end(w->kubelet);
	fakefs_free(w->fs);
	free(w);
	return 0;
}

static int parse(struct world *w, struct request *req)
{
	const struct request_env env = { .command = "ADD",
					 .container = "1a2b3c",
					 .netns = "/run/netns/somewhere",
					 .ifname = "eth0",
					 .path = w->root };
	struct cni_error error = { 0 };
	int r = request_parse(req, &env, config, strlen(config), &error);

	assert_true(r == 0 || error.code);
	return r;
}

/* --- what is tried: each writes its outcome into text ------------------------------- */
typedef int task(struct world *w, char *text);

static int write_json(json_t *document, char *text)
{
	_cleanup_free_ char *dump = jsontext_format(document, JSON_COMPACT | JSON_SORT_KEYS);

	if (!dump)
		return -ENOMEM;
	assert_true(strlen(dump) < TEXT);
	strcpy(text, dump);
	return 0;
}

static int make_result(struct world *w, char *text)
{
	const struct result_interface interface = {
		.name = "rdma0", .mac = "52:54:00:12:34:56", .pci = "0000:06:00.0", .mtu = 1500
	};
	_cleanup_(request_done) struct request req = { .root = NULL };
	json_auto_t *ipam = NULL, *result = NULL;
	struct cni_error error = { 0 };
	int index, r = parse(w, &req);

	if (r == 0)
		r = jsontext_parse(answer, strlen(answer), 0, &ipam, NULL);
	if (r < 0)
		return r;
	result = result_new(&req, &error);
	index = result ? result_add_interface(result, &req, &interface) : -ENOMEM;
	r = index < 0 ? index : result_add_ipam(result, ipam, index, &error);
	return r < 0 ? r : write_json(result, text);
}

static int keep_state(struct world *w, char *text)
{
	_cleanup_(state_freep) struct state *state = state_new(2);
	_cleanup_(state_freep) struct state *loaded = NULL;
	_cleanup_(state_list_done) struct state_list list = { 0 };
	_cleanup_free_ char *format = NULL;
	char why[128];
	int r;

	if (!state)
		return -ENOMEM;
	strcpy(state->container, "1a2b3c");
	strcpy(state->ifname, "eth0");
	strcpy(state->netns, "/run/netns/a-name-that-is-not-short");
	for (size_t i = 0; i < state->n; i++) {
		strcpy(state->nics[i].pci, i ? "0000:07:00.0" : "0000:06:00.0");
		strcpy(state->nics[i].rdma, "mlx5_with_a_longer_name");
		strcpy(state->nics[i].netdev, "enp6s0f0np0");
		strcpy(state->nics[i].pod_netdev, "rdma0");
	}
	r = state_save(fakefs_root(w->fs), state);
	if (r == 0)
		r = state_load(fakefs_root(w->fs), "1a2b3c", "eth0", &loaded, why, sizeof(why));
	if (r == 0)
		r = state_list_load(fakefs_root(w->fs), &list);
	if (r < 0)
		return r;
	format = state_format(loaded);
	if (!format)
		return -ENOMEM;
	assert_true(strlen(format) + 16 < TEXT);
	(void)snprintf(text, TEXT, "%zu %s", list.n, format);
	return 0;
}

static int learn_devices_for(struct world *w, const char *pod, char *text)
{
	_cleanup_(request_done) struct request req = { .root = NULL };
	_cleanup_(devices_done) struct devices devices = { 0 };
	struct cni_error error = { 0 };
	int r = parse(w, &req);

	if (r < 0)
		return r;
	req.pairs = w->pairs;
	req.pod_resources = w->pod_resources;
	if (pod) {
		strcpy(req.pod_namespace, "default");
		strcpy(req.pod_name, pod);
	}
	r = devices_learn(&req, &devices, &error);
	assert_true(r == 0 || error.code);
	if (r == 0)
		(void)snprintf(text, TEXT, "%zu %s %s", devices.n, devices.nics[0].pci,
			       devices.nics[0].gaudi);
	return r;
}

static int learn_devices(struct world *w, char *text)
{
	return learn_devices_for(w, NULL, text);
}

/* Which the kubelet is asked for. */
static int learn_devices_of_a_pod(struct world *w, char *text)
{
	return learn_devices_for(w, "train", text);
}

static int ask_ipam(struct world *w, char *text)
{
	_cleanup_(request_done) struct request req = { .root = NULL };
	json_auto_t *result = NULL;
	struct cni_error error = { 0 };
	int r = parse(w, &req);

	if (r == 0)
		r = ipam_run(&req, "ADD", "rdma0", &result, &error);
	return r < 0 ? r : write_json(result, text);
}

static int say_version_and_error(struct world *w, char *text)
{
	json_auto_t *version = cni_version_document("1.0.0");
	json_auto_t *error_document = NULL;
	struct cni_error error = { 0 };
	int r;

	(void)w;
	cni_error_set(&error, CNI_ERR_OWNED, -EBUSY, "NIC %s \xff", "0000:06:00.0");
	error_document = cni_error_document(&error, "1.0.0");
	r = write_json(version, text);
	return r < 0 ? r : write_json(error_document, text);
}

static task *const tasks[] = { make_result, keep_state,		  learn_devices, learn_devices_of_a_pod,
			       ask_ipam,    say_version_and_error };

/* --- the loop ------------------------------------------------------------------------- */
/* How many allocations there were. */
static unsigned long starve(struct world *w, task *run, const char *wanted)
{
	unsigned long n = 0;

	for (bool more = true; more; n++) {
		char text[TEXT] = "";
		long live;
		int r;

		fakefs_put(w->fs, "1a2b3c-eth0.json", "");
		live = failalloc_live();
		failalloc_arm(n);
		failalloc_resume();
		r = run(w, text);
		failalloc_pause();
		more = failalloc_disarm();
		assert_int_equal(failalloc_live(), live);
		assert_true(r < 0 || strcmp(text, wanted) == 0);
		if (!more)
			assert_int_equal(r, 0);
	}
	return n;
}

static void want_of_memory_is_an_error_and_nothing_else(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++) {
		char wanted[TEXT] = "";

		fakefs_put(((struct world *)*state)->fs, "1a2b3c-eth0.json", "");
		assert_int_equal(tasks[i](*state, wanted), 0);
		assert_true(starve(*state, tasks[i], wanted) > 20);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(want_of_memory_is_an_error_and_nothing_else, setup, teardown),
};

UNIT_MAIN(tests)
