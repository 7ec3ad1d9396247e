// SPDX-License-Identifier: Apache-2.0
/* Documents on standard output: results, errors, versions. */
#include "../unit.h"

#include <stdlib.h>
#include <string.h>

#include "../../../cni-rdma/result.h"
#include "../../../cni-rdma/verbs.h"

static json_t *json_of(const char *text)
{
	json_t *value;
	char *copy = strdup(text);

	assert_non_null(copy);
	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	value = json_loads(copy, JSON_DECODE_ANY, NULL);
	assert_non_null(value);
	free(copy);
	return value;
}

static void assert_json(json_t *value, const char *expected)
{
	json_auto_t *wanted = json_of(expected);

	if (!json_equal(value, wanted))
		fail_msg("got %s", json_dumps(value, JSON_COMPACT));
}

static const struct result_interface rdma0 = { .name = "rdma0",
					       .mac = "52:54:00:00:00:01",
					       .pci = "0000:06:00.0",
					       .mtu = 4096 };

static void standalone_result_holds_our_interface_only(void **state)
{
	struct request req = { .version = CNI_1_0_0, .netns = "/run/netns/x" };
	struct cni_error error = { 0 };
	json_auto_t *result = result_new(&req, &error);

	(void)state;
	assert_json(result, "{'cniVersion':'1.0.0','interfaces':[],'ips':[]}");
	assert_int_equal(result_add_interface(result, &req, &rdma0), 0);
	assert_json(result, "{'cniVersion':'1.0.0','ips':[],'interfaces':"
			    "[{'name':'rdma0','mac':'52:54:00:00:00:01','sandbox':'/run/netns/x'}]}");
}

static void mtu_and_pci_come_with_version_1_1(void **state)
{
	struct request req = { .version = CNI_1_1_0, .netns = "/n" };
	struct cni_error error = { 0 };
	json_auto_t *result = result_new(&req, &error);

	(void)state;
	assert_int_equal(result_add_interface(result, &req, &rdma0), 0);
	assert_json(result,
		    "{'cniVersion':'1.1.0','ips':[],'interfaces':[{'name':'rdma0','mac':'52:54:00:00:00:01',"
		    "'sandbox':'/n','mtu':4096,'pciID':'0000:06:00.0'}]}");
}

static void previous_result_passes_through_but_for_our_interface(void **state)
{
	json_auto_t *prev = json_of(
		"{'cniVersion':'0.4.0','interfaces':[{'name':'eth0','odd':1}],'ips':[{'version':'4',"
		"'address':'10.0.0.2/24','interface':0}],'routes':[],'dns':{},'vendor':{'x':[1,null,true]}}");
	struct request req = { .version = CNI_0_4_0, .netns = "/n", .prev_result = prev };
	json_auto_t *before = json_deep_copy(prev);
	struct cni_error error = { 0 };
	json_auto_t *result = result_new(&req, &error);

	(void)state;
	assert_true(json_equal(result, prev));
	assert_int_equal(result_add_interface(result, &req, &rdma0), 1);
	assert_true(json_equal(before, prev)); /* ours is a copy */
	assert_json(result,
		    "{'cniVersion':'0.4.0','interfaces':[{'name':'eth0','odd':1},{'name':'rdma0','mac':"
		    "'52:54:00:00:00:01','sandbox':'/n'}],'ips':[{'version':'4','address':'10.0.0.2/24',"
		    "'interface':0}],'routes':[],'dns':{},'vendor':{'x':[1,null,true]}}");
}

static void previous_result_without_interfaces_gets_a_list(void **state)
{
	json_auto_t *prev = json_of("{'cniVersion':'1.0.0'}"), *wrong = json_of("{'interfaces':{}}");
	struct request req = { .version = CNI_1_0_0, .netns = "/n", .prev_result = prev };
	struct cni_error error = { 0 };
	json_auto_t *result = result_new(&req, &error), *result2 = NULL;

	(void)state;
	assert_json(result, "{'cniVersion':'1.0.0'}");
	assert_int_equal(result_add_interface(result, &req, &rdma0), 0);
	req.prev_result = wrong;
	result2 = result_new(&req, &error);
	assert_true(result_add_interface(result2, &req, &rdma0) < 0);
}

static void addresses_of_ipam_are_bound_to_our_interface(void **state)
{
	json_auto_t *ipam = json_of(
		"{'ips':[{'address':'10.1.0.2/16','gateway':'10.1.0.1'}],'routes':[{'dst':'10.2.0.0/16'}],"
		"'dns':{'nameservers':['1.1.1.1']}}");
	struct request req = { .version = CNI_1_0_0, .netns = "/n" };
	struct cni_error error = { 0 };
	json_auto_t *result = result_new(&req, &error);

	(void)state;
	assert_int_equal(result_add_ipam(result, ipam, 3, &error), 0);
	assert_json(
		result,
		"{'cniVersion':'1.0.0','interfaces':[],'ips':[{'address':'10.1.0.2/16','gateway':'10.1.0.1',"
		"'interface':3}],'routes':[{'dst':'10.2.0.0/16'}],'dns':{'nameservers':['1.1.1.1']}}");
}

static void first_error_stays_and_has_a_next_step(void **state)
{
	struct cni_error error = { 0 };
	json_auto_t *document = NULL;

	(void)state;
	assert_int_equal(cni_error_set(&error, CNI_ERR_NOT_EXCLUSIVE, -EPERM, "cannot %s", "see"),
			 CNI_FAILED);
	assert_int_equal(cni_error_set(&error, CNI_ERR_IO, 0, "later"), CNI_FAILED);
	assert_int_equal(error.code, 100);
	assert_string_equal(error.msg, "cannot see: Operation not permitted");
	assert_non_null(strstr(error.details, "netns_mode=0"));
	document = cni_error_document(&error, "0.4.0");
	assert_string_equal(json_string_value(json_object_get(document, "cniVersion")), "0.4.0");
	assert_int_equal(json_integer_value(json_object_get(document, "code")), 100);
}

static void error_with_bytes_that_are_no_utf8_is_still_json(void **state)
{
	struct cni_error error = { 0 };
	json_auto_t *document = NULL;

	(void)state;
	cni_error_set(&error, CNI_ERR_IO, 0, "name \xff\xfe");
	document = cni_error_document(&error, "\x80");
	assert_non_null(document);
	assert_string_equal(json_string_value(json_object_get(document, "msg")), "name ??");
}

static void every_code_of_ours_says_what_to_do(void **state)
{
	static const int codes[] = { 1, 4, 6, 7, 8, 11, 100, 101, 102, 103, 104, 105 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		struct cni_error error = { 0 };

		cni_error_set(&error, codes[i], 0, "x");
		assert_true(error.details[0]);
	}
}

static void version_document_lists_what_we_can(void **state)
{
	struct request_env env = { .command = "VERSION" };
	json_auto_t *document = NULL;

	(void)state;
	assert_int_equal(verbs_run(&env, "", 0, &document), 0);
	assert_json(document,
		    "{'cniVersion':'1.1.0','supportedVersions':['0.3.0','0.3.1','0.4.0','1.0.0','1.1.0']}");
}

static void a_refused_call_gives_one_document_in_the_version_asked(void **state)
{
	static const char config[] = "{\"cniVersion\":\"0.3.1\",\"ifName\":\"x\"}";
	struct request_env env = { .command = "DEL", .container = "a", .ifname = "eth0" };
	json_auto_t *document = NULL;

	(void)state;
	assert_true(verbs_run(&env, config, strlen(config), &document) < 0);
	assert_string_equal(json_string_value(json_object_get(document, "cniVersion")), "0.3.1");
	assert_int_equal(json_integer_value(json_object_get(document, "code")), CNI_ERR_CONFIG);
}

static void addresses_of_one_interface_are_told_from_those_of_others(void **state)
{
	json_auto_t *result = json_loads(
		"{\"interfaces\":[{\"name\":\"eth0\"},{\"name\":\"eth0\",\"sandbox\":\"/run/netns/a\"},7],"
		"\"ips\":[{\"address\":\"10.0.0.1/8\",\"interface\":0},{\"address\":\"10.0.0.2/8\",\"interface\":1},"
		"{\"address\":\"10.0.0.3/8\"},{\"address\":\"fd00::2/64\",\"interface\":1}]}",
		0, NULL);
	struct rtlink_address addresses[2];

	(void)state;
	assert_non_null(result);
	/* The first is the host's end. */
	assert_int_equal(result_find_interface(result, "eth0", NULL), 1);
	assert_int_equal(result_find_interface(result, "eth1", NULL), -1);
	assert_int_equal(result_find_interface(NULL, "eth0", NULL), -1);
	assert_int_equal(result_addresses(result, "eth0", addresses, 2), 2);
	assert_int_equal(addresses[0].family, AF_INET);
	assert_int_equal(addresses[1].prefix, 64);
	assert_int_equal(result_addresses(result, "eth0", addresses, 1), -EINVAL);
	assert_int_equal(result_addresses(result, "eth1", addresses, 2), 0);
	assert_int_equal(result_addresses(NULL, "eth0", addresses, 2), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(standalone_result_holds_our_interface_only),
	cmocka_unit_test(mtu_and_pci_come_with_version_1_1),
	cmocka_unit_test(previous_result_passes_through_but_for_our_interface),
	cmocka_unit_test(previous_result_without_interfaces_gets_a_list),
	cmocka_unit_test(addresses_of_ipam_are_bound_to_our_interface),
	cmocka_unit_test(first_error_stays_and_has_a_next_step),
	cmocka_unit_test(error_with_bytes_that_are_no_utf8_is_still_json),
	cmocka_unit_test(every_code_of_ours_says_what_to_do),
	cmocka_unit_test(version_document_lists_what_we_can),
	cmocka_unit_test(a_refused_call_gives_one_document_in_the_version_asked),
	cmocka_unit_test(addresses_of_one_interface_are_told_from_those_of_others),
};

UNIT_MAIN(tests)
