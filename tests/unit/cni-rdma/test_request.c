// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <string.h>

#include "../../../cni-rdma/request.h"

/* A config in '...' for "..." is easier to read; no test needs a real quote. */
static int parse(struct request *req, const struct request_env *env, const char *config,
		 struct cni_error *error)
{
	_cleanup_free_ char *text = strdup(config);

	assert_non_null(text);
	for (char *c = text; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	*error = (struct cni_error){ 0 };
	return request_parse(req, env, text, strlen(text), error);
}

static struct request_env add_env(void)
{
	return (struct request_env){ .command = "ADD",
				     .container = "1a2b",
				     .netns = "/run/netns/x",
				     .ifname = "eth0",
				     .path = "/opt/cni/bin" };
}

static int code_of(const struct request_env *env, const char *config)
{
	struct cni_error error;
	struct request req;
	int r = parse(&req, env, config, &error);

	assert_true((r < 0) == (error.code != 0));
	if (r < 0)
		assert_true(error.msg[0] && error.details[0]);
	request_done(&req);
	return error.code;
}

static void every_supported_version_is_taken(void **state)
{
	static const char *const good[] = { "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };
	static const char *const bad[] = { "",	    "0.1.0", "0.2.0",  "0.5.0", "1.2.0",
					   "2.0.0", "1.1",   "01.1.0", "1.1.0 " };
	struct request_env env = add_env();
	char config[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(config, sizeof(config), "{'cniVersion':'%s','name':'n','type':'cni-rdma'}", good[i]);
		assert_int_equal(code_of(&env, config), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(config, sizeof(config), "{'cniVersion':'%s','name':'n','type':'cni-rdma'}", bad[i]);
		assert_int_equal(code_of(&env, config), CNI_ERR_VERSION);
	}
	assert_int_equal(code_of(&env, "{'name':'n'}"), CNI_ERR_VERSION);
	assert_int_equal(code_of(&env, "{'cniVersion':1}"), CNI_ERR_VERSION);
}

static void verbs_exist_from_their_version_on(void **state)
{
	struct request_env env = add_env();

	(void)state;
	env.command = "CHECK";
	assert_int_equal(code_of(&env, "{'cniVersion':'0.3.1'}"), CNI_ERR_VERSION);
	assert_int_equal(code_of(&env, "{'cniVersion':'0.4.0'}"), 0);
	env.command = "STATUS";
	assert_int_equal(code_of(&env, "{'cniVersion':'1.0.0'}"), CNI_ERR_VERSION);
	assert_int_equal(code_of(&env, "{'cniVersion':'1.1.0'}"), 0);
	env.command = "GC";
	assert_int_equal(code_of(&env, "{'cniVersion':'1.0.0'}"), CNI_ERR_VERSION);
	assert_int_equal(code_of(&env, "{'cniVersion':'1.1.0'}"), 0);
}

static void version_asks_for_nothing(void **state)
{
	struct request_env env = { .command = "VERSION" };
	struct cni_error error;
	struct request req;

	(void)state;
	assert_int_equal(parse(&req, &env, "", &error), 0);
	assert_string_equal(req.version_text, "");
	request_done(&req);
	assert_int_equal(parse(&req, &env, "{'cniVersion':'0.2.0'}", &error), 0);
	assert_string_equal(req.version_text, "0.2.0");
	request_done(&req);
	assert_int_equal(code_of(&env, "nonsense"), CNI_ERR_DECODE);
}

static void missing_environment_is_named(void **state)
{
	struct request_env env = { .command = "ADD" };
	struct cni_error error;
	struct request req;

	(void)state;
	assert_int_equal(parse(&req, &env, "{'cniVersion':'1.0.0'}", &error), CNI_FAILED);
	assert_int_equal(error.code, CNI_ERR_ENVIRONMENT);
	assert_non_null(strstr(error.msg, "CNI_CONTAINERID"));
	assert_non_null(strstr(error.msg, "CNI_NETNS"));
	assert_non_null(strstr(error.msg, "CNI_IFNAME"));
	assert_non_null(strstr(error.msg, "CNI_PATH"));
	request_done(&req);
	env = (struct request_env){ .command = "DEL", .container = "a", .ifname = "eth0", .netns = "" };
	assert_int_equal(parse(&req, &env, "{'cniVersion':'1.0.0'}", &error), 0);
	assert_null(req.netns);
	request_done(&req);
	env.command = NULL;
	assert_int_equal(code_of(&env, "{}"), CNI_ERR_ENVIRONMENT);
	env.command = "add";
	assert_int_equal(code_of(&env, "{}"), CNI_ERR_ENVIRONMENT);
}

static void ids_that_are_no_file_name_are_refused(void **state)
{
	static const char *const bad[] = {
		"../etc/passwd", "a/b", ".hidden", "-x", "a b", "a\nb", "\xc3\xa4"
	};
	static const char *const bad_names[] = { "..", ".", "a/b", "a b", "a:b", "sixteen-letters-", "a%d" };
	struct request_env env = add_env();
	char overlong[REQUEST_ID_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		env.container = bad[i];
		assert_int_equal(code_of(&env, "{'cniVersion':'1.0.0'}"), CNI_ERR_ENVIRONMENT);
	}
	memset(overlong, 'a', sizeof(overlong) - 1);
	overlong[sizeof(overlong) - 1] = '\0';
	env.container = overlong;
	assert_int_equal(code_of(&env, "{'cniVersion':'1.0.0'}"), CNI_ERR_ENVIRONMENT);
	env.container = overlong + 1;
	assert_int_equal(code_of(&env, "{'cniVersion':'1.0.0'}"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++) {
		env.ifname = bad_names[i];
		assert_int_equal(code_of(&env, "{'cniVersion':'1.0.0'}"), CNI_ERR_ENVIRONMENT);
	}
}

static void pod_is_found_among_the_args(void **state)
{
	struct request_env env = add_env();
	struct cni_error error;
	struct request req;
	char args[400];

	(void)state;
	env.args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=etcd-node1;K8S_POD_UID=";
	assert_int_equal(parse(&req, &env, "{'cniVersion':'1.0.0'}", &error), 0);
	assert_string_equal(req.pod_namespace, "default");
	assert_string_equal(req.pod_name, "etcd-node1");
	request_done(&req);
	env.args = "XK8S_POD_NAME=no;K8S_POD_NAMES=no;;K8S_POD_NAME=a=b;";
	assert_int_equal(parse(&req, &env, "{'cniVersion':'1.0.0'}", &error), 0);
	assert_string_equal(req.pod_namespace, "");
	assert_string_equal(req.pod_name, "a=b");
	request_done(&req);
	env.args = "K8S_POD_NAME";
	assert_int_equal(code_of(&env, "{'cniVersion':'1.0.0'}"), CNI_ERR_ENVIRONMENT);
	memset(args, 'x', sizeof(args));
	memcpy(args, "K8S_POD_NAME=", strlen("K8S_POD_NAME="));
	args[sizeof(args) - 1] = '\0';
	env.args = args;
	assert_int_equal(code_of(&env, "{'cniVersion':'1.0.0'}"), CNI_ERR_ENVIRONMENT);
}

static void defaults_stand_where_nothing_is_said(void **state)
{
	struct request_env env = add_env();
	struct cni_error error;
	struct request req;

	(void)state;
	assert_int_equal(
		parse(&req, &env, "{'cniVersion':'1.0.0','unknown':[1,2],'dns':{},'ipam':{}}", &error), 0);
	assert_string_equal(req.resource, "habana.ai/gaudi");
	assert_string_equal(req.pod_ifname, "rdma%d");
	assert_string_equal(req.pairs, "/var/lib/gaudi-p2p/pairs.json");
	assert_string_equal(req.state_dir, "/var/lib/cni/cni-rdma");
	assert_string_equal(req.pod_resources, "/var/lib/kubelet/pod-resources/kubelet.sock");
	assert_int_equal(req.lock_timeout_ms, 30000);
	assert_int_equal(req.gid_timeout_ms, 10000);
	assert_int_equal(req.lease_timeout_ms, 5000);
	assert_null(req.ipam);
	assert_null(req.prev_result);
	assert_null(req.device_id);
	assert_null(req.attachments);
	request_done(&req);
}

static void device_of_the_runtime_comes_before_that_of_multus(void **state)
{
	struct request_env env = add_env();
	struct cni_error error;
	struct request req;

	(void)state;
	assert_int_equal(
		parse(&req, &env,
		      "{'cniVersion':'1.0.0','deviceID':'b','pciBusID':'c','runtimeConfig':{'deviceID':'a'}}",
		      &error),
		0);
	assert_string_equal(req.device_id, "a");
	request_done(&req);
	assert_int_equal(parse(&req, &env,
			       "{'cniVersion':'1.0.0','deviceID':'b','pciBusID':'c','runtimeConfig':{}}",
			       &error),
			 0);
	assert_string_equal(req.device_id, "b");
	request_done(&req);
	assert_int_equal(parse(&req, &env, "{'cniVersion':'1.0.0','pciBusID':'c'}", &error), 0);
	assert_string_equal(req.device_id, "c");
	request_done(&req);
}

static void impossible_configs_are_refused_with_the_key(void **state)
{
	static const struct {
		const char *config, *word;
	} bad[] = {
		{ "'resourceName':7", "resourceName" },
		{ "'resourceName':''", "resourceName" },
		{ "'ifName':'rdma0'", "ifName" },
		{ "'ifName':'%d%d'", "ifName" },
		{ "'ifName':'rdma%s'", "ifName" },
		{ "'ifName':'a/%d'", "ifName" },
		{ "'ifName':'muchtoolongname%d'", "ifName" },
		{ "'pairs':'relative'", "pairs" },
		{ "'stateDir':[]", "stateDir" },
		{ "'podResources':'unix://x'", "podResources" },
		{ "'lockTimeout':0", "lockTimeout" },
		{ "'lockTimeout':'5'", "lockTimeout" },
		{ "'gidTimeout':1000000000000", "gidTimeout" },
		{ "'gidTimeout':1.5", "gidTimeout" },
		{ "'leaseTimeout':-1", "leaseTimeout" },
		{ "'mode':'hard'", "mode" },
		{ "'mode':1", "mode" },
		{ "'mode':'soft','ipam':{'type':'static'}", "ipam" },
		{ "'allowShared':'yes'", "allowShared" },
		{ "'prevResult':[]", "prevResult" },
		{ "'ipam':'host-local'", "ipam" },
		{ "'ipam':{'type':'../evil'}", "ipam" },
		{ "'ipam':{'subnet':'x'}", "ipam" },
		{ "'ipam':{'type':'..'}", "ipam" },
		{ "'runtimeConfig':1", "runtimeConfig" },
		{ "'deviceID':1", "deviceID" },
		{ "'cni.dev/valid-attachments':{}", "valid-attachments" },
	};
	struct request_env env = add_env();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct cni_error error;
		struct request req;
		char config[128];

		snprintf(config, sizeof(config), "{'cniVersion':'1.0.0',%s}", bad[i].config);
		assert_int_equal(parse(&req, &env, config, &error), CNI_FAILED);
		assert_int_equal(error.code, CNI_ERR_CONFIG);
		assert_non_null(strstr(error.msg, bad[i].word));
		assert_string_equal(req.version_text, "1.0.0");
		request_done(&req);
	}
}

static void input_that_is_no_json_is_a_decode_error(void **state)
{
	static const char *const bad[] = {
		"", "{", "[]", "null", "1", "'text'", "{'a':1,'a':2}", "{'a':1}x", "{'a':'\x80'}"
	};
	struct request_env env = add_env();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(code_of(&env, bad[i]), CNI_ERR_DECODE);
}

static void absent_attachments_are_no_empty_list(void **state)
{
	struct request_env env = { .command = "GC", .path = "/opt" };
	struct cni_error error;
	struct request req;

	(void)state;
	assert_int_equal(parse(&req, &env, "{'cniVersion':'1.1.0','cni.dev/valid-attachments':null}", &error),
			 0);
	assert_null(req.attachments);
	request_done(&req);
	assert_int_equal(parse(&req, &env, "{'cniVersion':'1.1.0','cni.dev/valid-attachments':[]}", &error),
			 0);
	assert_non_null(req.attachments);
	request_done(&req);
}

/* Everywhere else it would be the pod's own, or a network attachment's. */
static void for_a_pod_the_node_says_where_its_files_are(void **state)
{
	static const char elsewhere[] =
		"{'cniVersion':'1.0.0','podResources':'/own/p','pairs':'/own/q','stateDir':'/own/s'}";
	static const char *const trusted[] = { "/own", "/none:/own", ":/own:" };
	static const char *const not_trusted[] = { NULL, "", "/", "/ow", "/own/p/x", "/none", "own" };
	struct request_env env = add_env();
	struct cni_error error;
	struct request req;

	(void)state;
	assert_int_equal(code_of(&env, elsewhere), 0); /* by hand */
	env.args = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=a";
	for (size_t i = 0; i < ARRAY_SIZE(not_trusted); i++) {
		env.trusted_paths = not_trusted[i];
		assert_int_equal(code_of(&env, elsewhere), CNI_ERR_CONFIG);
	}
	env.trusted_paths = "/own";
	assert_int_equal(code_of(&env, "{'cniVersion':'1.0.0','pairs':'/own/../pod/q'}"), CNI_ERR_CONFIG);
	for (size_t i = 0; i < ARRAY_SIZE(trusted); i++) {
		env.trusted_paths = trusted[i];
		assert_int_equal(code_of(&env, elsewhere), 0);
	}
	env.trusted_paths = NULL;
	env.command = "DEL";
	assert_int_equal(parse(&req, &env, elsewhere, &error), 0);
	assert_string_equal(req.pairs, "/var/lib/gaudi-p2p/pairs.json");
	assert_string_equal(req.state_dir, "/var/lib/cni/cni-rdma");
	assert_string_equal(req.pod_resources, "/var/lib/kubelet/pod-resources/kubelet.sock");
	request_done(&req);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(every_supported_version_is_taken),
	cmocka_unit_test(verbs_exist_from_their_version_on),
	cmocka_unit_test(version_asks_for_nothing),
	cmocka_unit_test(missing_environment_is_named),
	cmocka_unit_test(ids_that_are_no_file_name_are_refused),
	cmocka_unit_test(pod_is_found_among_the_args),
	cmocka_unit_test(defaults_stand_where_nothing_is_said),
	cmocka_unit_test(device_of_the_runtime_comes_before_that_of_multus),
	cmocka_unit_test(impossible_configs_are_refused_with_the_key),
	cmocka_unit_test(input_that_is_no_json_is_a_decode_error),
	cmocka_unit_test(absent_attachments_are_no_empty_list),
	cmocka_unit_test(for_a_pod_the_node_says_where_its_files_are),
};

UNIT_MAIN(tests)
