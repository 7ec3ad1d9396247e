// SPDX-License-Identifier: Apache-2.0
/*
 * Whole calls of ADD as far as the kubelet's answer decides them: pods without NICs, ambiguous and unknown pods, and
 * configurations that name NICs.
 */
#include "../unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../../cni-rdma/devices.h"
#include "../../../cni-rdma/verbs.h"
#include "../fake_pods.h"
#include "../fakefs.h"

static const char pairing[] =
	"{\"version\":1,\"mode\":\"paired\",\"pairs\":["
	"{\"gaudi\":\"HL1\",\"nic\":{\"pci\":\"0000:08:00.0\",\"rdma\":\"rxe1\",\"netdev\":\"enp8s0\",\"uverbs\":\"uverbs1\",\"node_guid\":\"\"}},"
	"{\"gaudi\":\"HL2\",\"nic\":{\"pci\":\"0000:06:00.0\",\"rdma\":\"rxe0\",\"netdev\":\"enp6s0\",\"uverbs\":\"uverbs0\","
	"\"node_guid\":\"\"}},{\"gaudi\":\"HL3\",\"nic\":null}]}";

struct world {
	struct fakefs *fs;
	pid_t kubelet;
	char config[1024];
};

static const struct fake_pod pods[] = {
	{ "train", "habana.ai/gaudi", { "HL1", "HL2" } },
	{ "web", NULL, { NULL } },
	{ "twice", "habana.ai/gaudi", { "HL1" } },
	{ "twice", "habana.ai/gaudi", { "HL3" } },
	{ "rival", "habana.ai/gaudi", { "HL3" } },
	{ "half", "habana.ai/gaudi", { "HL1" } },
	/* A NIC that is a resource by itself, with --pairing=separate or left over; a function of another device plugin. */
	{ "nic", "habana.ai/rdma", { "0000:0a:00.0" } },
	{ "vf", "intel.com/sriov", { "0000:3f:00.1" } },
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char *c = w->config;

	w->fs = fakefs_new();
	fakefs_put(w->fs, "pairs.json", pairing);
	c += sprintf(c, "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"pairs\":\"%s\",",
		     fakefs_join(w->fs, "pairs.json"));
	c += sprintf(c, "\"stateDir\":\"%s\",", fakefs_join(w->fs, "state"));
	sprintf(c, "\"podResources\":\"%s\"", fakefs_join(w->fs, "pods.sock"));
	w->kubelet = fake_pods_begin(fakefs_path(w->fs), pods, ARRAY_SIZE(pods));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	if (w->kubelet)
		fake_pods_end(w->kubelet);
	fakefs_free(w->fs);
	free(w);
	return 0;
}

#define PREV "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.0.1/8\"}]}"

/* As the runtime of a kubelet calls. */
static struct request_env env_of(const struct world *w, const char *verb, const char *args)
{
	return (struct request_env){ .command = verb,
				     .container = "c1",
				     .netns = "/no/such",
				     .ifname = "eth0",
				     .path = "/none",
				     .args = args,
				     .trusted_paths = fakefs_path(w->fs) };
}

static const char *args_of(const char *pod)
{
	static char args[128];

	snprintf(args, sizeof(args), "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=%s", pod);
	return args;
}

/* With more keys in the configuration. */
static int call_with(struct world *w, const char *verb, const char *pod, const char *keys, json_t **ret)
{
	struct request_env env = env_of(w, verb, args_of(pod));
	char config[2048];

	snprintf(config, sizeof(config), "%s,%s}", w->config, keys);
	return verbs_run(&env, config, strlen(config), ret);
}

static int call(struct world *w, const char *verb, const char *pod, json_t **ret)
{
	return call_with(w, verb, pod, PREV, ret);
}

static int code_of(const json_t *document)
{
	return (int)json_integer_value(json_object_get(document, "code"));
}

static void pod_without_our_resource_passes_through(void **state)
{
	json_auto_t *document = NULL, *expected = NULL;
	struct world *w = *state;

	assert_int_equal(call(w, "ADD", "web", &document), 0);
	expected = json_loads("{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.0.1/8\"}]}", 0, NULL);
	assert_true(json_equal(document, expected));
}

static void ambiguous_and_unknown_pods_are_tried_again(void **state)
{
	json_auto_t *twice = NULL, *none = NULL;
	struct world *w = *state;

	assert_true(call(w, "ADD", "twice", &twice) < 0);
	assert_int_equal(code_of(twice), CNI_ERR_TRY_AGAIN);
	assert_non_null(
		strstr(json_string_value(json_object_get(twice, "msg")), "more than once, with HL1, HL3"));
	assert_true(call(w, "ADD", "gone", &none) < 0);
	assert_int_equal(code_of(none), CNI_ERR_TRY_AGAIN);
}

static void all_nics_of_a_pods_gaudis_are_its_own(void **state)
{
	_cleanup_(devices_done) struct devices devices = { 0 };
	struct world *w = *state;
	struct cni_error error = { 0 };
	struct request req = { .pairs = fakefs_join(w->fs, "pairs.json"),
			       .pod_resources = fakefs_join(w->fs, "pods.sock"),
			       .resource = "habana.ai/gaudi",
			       .pod_namespace = "default",
			       .pod_name = "train" };

	assert_int_equal(devices_learn(&req, &devices, &error), 0);
	assert_int_equal(devices.n, 2);
	assert_string_equal(devices.nics[0].pci, "0000:06:00.0");
	assert_string_equal(devices.nics[0].gaudi, "HL2");
	assert_string_equal(devices.nics[1].pci, "0000:08:00.0");
}

static void soft_mode_needs_to_know_only_whether_there_is_a_device(void **state)
{
	struct world *w = *state;
	struct cni_error error = { 0 };
	struct request req = { .pod_resources = fakefs_join(w->fs, "pods.sock"),
			       .resource = "habana.ai/gaudi",
			       .pod_namespace = "default",
			       .pod_name = "train" };
	bool held = false;

	assert_int_equal(devices_are_held(&req, &held, &error), 0);
	assert_true(held);
	strcpy(req.pod_name, "web");
	assert_int_equal(devices_are_held(&req, &held, &error), 0);
	assert_false(held);
	req.device_id = "anything";
	assert_int_equal(devices_are_held(&req, &held, &error), 0);
	assert_true(held);
	req.device_id = NULL;
	strcpy(req.pod_name, "twice");
	assert_int_equal(devices_are_held(&req, &held, &error), CNI_FAILED);
	assert_int_equal(error.code, CNI_ERR_TRY_AGAIN);
}

static void missing_pairing_is_explained(void **state)
{
	json_auto_t *document = NULL;
	struct world *w = *state;

	fakefs_remove(w->fs, "pairs.json");
	assert_true(call(w, "ADD", "train", &document) < 0);
	assert_int_equal(code_of(document), CNI_ERR_NO_DEVICE);
	assert_non_null(
		strstr(json_string_value(json_object_get(document, "details")), "gaudi-device-plugin"));
}

static void del_without_a_record_ends_well_and_leaves_nothing(void **state)
{
	json_auto_t *document = NULL;
	struct world *w = *state;

	assert_int_equal(call(w, "DEL", "train", &document), 0);
	assert_null(document);
	assert_int_equal(access(fakefs_join(w->fs, "state"), F_OK), -1);
}

/* --- NICs that a configuration names ------------------------------------------------------- */
#define DEVICE(text) "\"runtimeConfig\":{\"deviceID\":\"" text "\"}"

/* What a pod gets from a configuration with these keys; returns the error's code. */
static int learn(struct world *w, const char *args, const char *keys, struct devices *devices,
		 struct cni_error *error)
{
	struct request_env env = env_of(w, "ADD", args);
	struct request req;
	char config[2048];

	snprintf(config, sizeof(config), "%s,%s}", w->config, keys);
	*error = (struct cni_error){ 0 };
	if (request_parse(&req, &env, config, strlen(config), error) == 0)
		(void)devices_learn(&req, devices, error);
	request_done(&req);
	return error->code;
}

static void check_refused(struct world *w, const char *pod, const char *keys, const char *words)
{
	struct devices devices = { 0 };
	struct cni_error error;
	int code = learn(w, args_of(pod), keys, &devices, &error);

	if (code != CNI_ERR_NOT_HELD || !strstr(error.msg, words))
		fail_msg("pod %s with %s: code %d, '%s'", pod, keys, code, error.msg);
	assert_non_null(strstr(error.details, "NetworkAttachmentDefinition"));
	assert_int_equal(devices.n, 0);
}

static void check_given(struct world *w, const char *pod, const char *keys, const char *nic)
{
	_cleanup_(devices_done) struct devices devices = { 0 };
	struct cni_error error;
	int code = learn(w, args_of(pod), keys, &devices, &error);

	if (code != 0)
		fail_msg("pod %s with %s: code %d, '%s'", pod, keys, code, error.msg);
	assert_int_equal(devices.n, 1);
	assert_string_equal(devices.nics[0].pci, nic);
}

static void network_attachment_that_names_another_pods_nic_is_refused(void **state)
{
	static const char *const ways[] = {
		DEVICE("0000:08:00.0"), DEVICE("HL1"), "\"deviceID\":\"HL1\"",
		"\"pciBusID\":\"0000:08:00.0\"",
		"\"prevResult\":{\"interfaces\":[{\"name\":\"x\",\"pciID\":\"0000:08:00.0\"}]}"
	};
	json_auto_t *document = NULL;
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		check_refused(w, "rival", ways[i],
			      "is not pod default/rival's: the kubelet has given it HL3");
		check_refused(w, "web", ways[i],
			      "is not pod default/web's: the kubelet has given it no devices");
	}
	assert_true(call_with(w, "ADD", "rival", ways[0], &document) < 0);
	assert_int_equal(code_of(document), CNI_ERR_NOT_HELD);
}

static void network_attachment_that_names_anothers_nic_beside_its_own_is_refused(void **state)
{
	check_refused(
		*state, "half",
		"\"prevResult\":{\"interfaces\":[{\"pciID\":\"0000:08:00.0\"},{\"pciID\":\"0000:06:00.0\"}]}",
		"NIC 0000:06:00.0 (of Gaudi HL2), which the previous result names");
}

/* Nobody has it yet, it is a resource by itself, or the pairing has yet to be written. */
static void network_attachment_that_names_a_nic_of_no_pairing_is_refused(void **state)
{
	struct world *w = *state;

	check_refused(w, "rival", DEVICE("0000:0a:00.0"), "NIC 0000:0a:00.0, which the configuration names");
	check_refused(w, "rival", DEVICE("0000:3f:00.7"), "NIC 0000:3f:00.7");
	check_refused(w, "nic", DEVICE("0000:3f:00.1"), "the kubelet has given it 0000:0a:00.0");
	fakefs_remove(w->fs, "pairs.json");
	check_refused(w, "rival", DEVICE("0000:08:00.0"), "NIC 0000:08:00.0");
}

static void nic_that_is_the_pods_may_be_named(void **state)
{
	struct world *w = *state;

	check_given(w, "train", DEVICE("HL1"), "0000:08:00.0");
	check_given(w, "train", DEVICE("0000:06:00.0"), "0000:06:00.0");
	check_given(w, "nic", DEVICE("0000:0a:00.0"), "0000:0a:00.0");
	check_given(w, "vf", DEVICE("0000:3f:00.1"), "0000:3f:00.1"); /* of whatever device plugin */
	fakefs_remove(w->fs, "pairs.json");
	check_given(w, "vf", DEVICE("0000:3f:00.1"), "0000:3f:00.1");
}

static void network_attachment_with_a_node_of_its_own_is_refused(void **state)
{
	static const char *const keys[] = { "podResources", "pairs", "stateDir" };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct request_env env = env_of(w, "ADD", args_of("rival"));
		json_auto_t *document = NULL;
		char config[512];

		snprintf(config, sizeof(config),
			 "{\"cniVersion\":\"1.0.0\",\"name\":\"n\"," DEVICE(
				 "HL1") ",\"%s\":\"%s-of-rival/x\"}",
			 keys[i], fakefs_path(w->fs));
		assert_true(verbs_run(&env, config, strlen(config), &document) < 0);
		assert_int_equal(code_of(document), CNI_ERR_CONFIG);
		assert_non_null(strstr(json_string_value(json_object_get(document, "msg")), keys[i]));
	}
}

static void named_nic_waits_for_the_kubelets_word(void **state)
{
	struct devices devices = { 0 };
	struct world *w = *state;
	struct cni_error error;

	assert_int_equal(learn(w, args_of("twice"), DEVICE("HL1"), &devices, &error), CNI_ERR_TRY_AGAIN);
	assert_int_equal(learn(w, args_of("gone"), DEVICE("HL1"), &devices, &error), CNI_ERR_TRY_AGAIN);
	assert_int_equal(learn(w, "K8S_POD_NAME=train", DEVICE("HL1"), &devices, &error),
			 CNI_ERR_ENVIRONMENT);
	fake_pods_end(TAKE(w->kubelet, 0));
	assert_int_equal(learn(w, args_of("train"), DEVICE("HL1"), &devices, &error), CNI_ERR_TRY_AGAIN);
	fakefs_remove(w->fs, "pods.sock");
	assert_int_equal(learn(w, args_of("train"), DEVICE("HL1"), &devices, &error), CNI_ERR_TRY_AGAIN);
	assert_int_equal(devices.n, 0);
}

static void del_and_check_ask_nobody_whose_the_named_nic_is(void **state)
{
	static const char *const keys[] = { DEVICE("HL1"), DEVICE("0000:3f:00.7"),
					    "\"deviceID\":\"none of these\"" };
	struct world *w = *state;

	fake_pods_end(TAKE(w->kubelet, 0));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_auto_t *document = NULL;

		assert_int_equal(call_with(w, "DEL", "rival", keys[i], &document), 0);
		assert_int_equal(call_with(w, "CHECK", "rival", keys[i], &document), 0);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(pod_without_our_resource_passes_through, setup, teardown),
	cmocka_unit_test_setup_teardown(ambiguous_and_unknown_pods_are_tried_again, setup, teardown),
	cmocka_unit_test_setup_teardown(all_nics_of_a_pods_gaudis_are_its_own, setup, teardown),
	cmocka_unit_test_setup_teardown(soft_mode_needs_to_know_only_whether_there_is_a_device, setup,
					teardown),
	cmocka_unit_test_setup_teardown(missing_pairing_is_explained, setup, teardown),
	cmocka_unit_test_setup_teardown(del_without_a_record_ends_well_and_leaves_nothing, setup, teardown),
	cmocka_unit_test_setup_teardown(network_attachment_that_names_another_pods_nic_is_refused, setup,
					teardown),
	cmocka_unit_test_setup_teardown(network_attachment_that_names_anothers_nic_beside_its_own_is_refused,
					setup, teardown),
	cmocka_unit_test_setup_teardown(network_attachment_that_names_a_nic_of_no_pairing_is_refused, setup,
					teardown),
	cmocka_unit_test_setup_teardown(nic_that_is_the_pods_may_be_named, setup, teardown),
	cmocka_unit_test_setup_teardown(network_attachment_with_a_node_of_its_own_is_refused, setup,
					teardown),
	cmocka_unit_test_setup_teardown(named_nic_waits_for_the_kubelets_word, setup, teardown),
	cmocka_unit_test_setup_teardown(del_and_check_ask_nobody_whose_the_named_nic_is, setup, teardown),
};

UNIT_MAIN(tests)
