// SPDX-License-Identifier: Apache-2.0
/* Which NICs a pod has: IDs, the pairing, the previous result; and IPAM's answers. */
#include "../unit.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "../../../cni-rdma/devices.h"
#include "../../../cni-rdma/ipam.h"
#include "../fakefs.h"

static const char pairing[] =
	"{\"version\":1,\"mode\":\"paired\",\"pairs\":["
	"{\"gaudi\":\"HL1\",\"nic\":{\"pci\":\"0000:08:00.0\",\"rdma\":\"rxe1\",\"netdev\":\"enp8s0\",\"uverbs\":\"uverbs1\",\"node_guid\":\"\"}},"
	"{\"gaudi\":\"0000:05:00.0\",\"nic\":{\"pci\":\"0000:06:00.0\",\"rdma\":\"rxe0\",\"netdev\":\"enp6s0\",\"uverbs\":\"uverbs0\","
	"\"node_guid\":\"\"}},{\"gaudi\":\"HL3\",\"nic\":null}]}";

struct fixture {
	struct fakefs *fs;
	struct request req;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fs = fakefs_new();
	fakefs_put(f->fs, "pairs.json", pairing);
	f->req.pairs = fakefs_join(f->fs, "pairs.json");
	f->req.pod_resources = fakefs_join(f->fs, "kubelet.sock");
	f->req.resource = "habana.ai/gaudi";
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fakefs_free(f->fs);
	free(f);
	return 0;
}

static int learn(struct fixture *f, struct devices *devices)
{
	struct cni_error error = { 0 };
	int r = devices_learn(&f->req, devices, &error);

	assert_true((r < 0) == (error.code != 0));
	if (r < 0)
		assert_true(error.details[0]);
	return error.code;
}

static void gaudi_leads_to_its_nic(void **state)
{
	struct fixture *f = *state;
	_cleanup_(devices_done) struct devices devices = { 0 };

	f->req.device_id = "0000:05:00.0";
	assert_int_equal(learn(f, &devices), 0);
	assert_int_equal(devices.n, 1);
	assert_string_equal(devices.nics[0].pci, "0000:06:00.0");
	assert_string_equal(devices.nics[0].gaudi, "0000:05:00.0");
	assert_string_equal(devices.nics[0].netdev, "enp6s0");
}

static void nic_may_be_named_by_itself(void **state)
{
	struct fixture *f = *state;
	_cleanup_(devices_done) struct devices devices = { 0 }, bare = { 0 };

	f->req.device_id = "0000:08:00.0";
	assert_int_equal(learn(f, &devices), 0);
	assert_string_equal(devices.nics[0].gaudi, "HL1");
	f->req.device_id = "0000:3f:00.7";
	fakefs_remove(f->fs, "pairs.json");
	assert_int_equal(learn(f, &bare), 0);
	assert_string_equal(bare.nics[0].pci, "0000:3f:00.7");
}

static void gaudi_without_a_nic_needs_nothing(void **state)
{
	struct fixture *f = *state;
	_cleanup_(devices_done) struct devices devices = { 0 };

	f->req.device_id = "HL3";
	assert_int_equal(learn(f, &devices), 0);
	assert_int_equal(devices.n, 0);
}

static void unknown_device_is_refused(void **state)
{
	struct fixture *f = *state;
	struct devices devices = { 0 };

	f->req.device_id = "HL9";
	assert_int_equal(learn(f, &devices), CNI_ERR_NO_DEVICE);
	f->req.device_id = "../../x";
	assert_int_equal(learn(f, &devices), CNI_ERR_NO_DEVICE);
	fakefs_put(f->fs, "pairs.json", "{\"version\":1");
	f->req.device_id = "HL1";
	assert_int_equal(learn(f, &devices), CNI_ERR_IO);
	fakefs_put(f->fs, "pairs.json", "{\"version\":99,\"mode\":\"paired\",\"pairs\":[]}");
	assert_int_equal(learn(f, &devices), CNI_ERR_IO);
}

static void previous_result_names_paired_nics_only(void **state)
{
	struct fixture *f = *state;
	_cleanup_(devices_done) struct devices devices = { 0 };
	json_auto_t *prev = json_loads(
		"{\"interfaces\":[{\"name\":\"eth0\",\"pciID\":\"0000:aa:00.0\"},"
		"{\"name\":\"b\",\"pciID\":\"0000:08:00.0\"},{\"name\":\"a\",\"pciID\":\"0000:06:00.0\"},"
		"{\"name\":\"c\",\"pciID\":7},{\"name\":\"d\",\"pciID\":\"0000:06:00.0\"},null]}",
		0, NULL);

	f->req.prev_result = prev;
	assert_int_equal(learn(f, &devices), 0);
	assert_int_equal(devices.n, 2);
	assert_string_equal(devices.nics[0].pci, "0000:06:00.0"); /* sorted: names in the pod are stable */
	assert_string_equal(devices.nics[1].pci, "0000:08:00.0");
}

static void kubelet_that_cannot_be_asked_means_try_again(void **state)
{
	struct fixture *f = *state;
	struct devices devices = { 0 };

	assert_int_equal(learn(f, &devices), CNI_ERR_ENVIRONMENT); /* no pod named */
	strcpy(f->req.pod_namespace, "default");
	strcpy(f->req.pod_name, "a");
	assert_int_equal(learn(f, &devices), CNI_ERR_TRY_AGAIN);
	fakefs_put(f->fs, "kubelet.sock", "not a socket");
	assert_int_equal(learn(f, &devices), CNI_ERR_TRY_AGAIN);
}

static void pci_addresses_are_told_from_other_ids(void **state)
{
	static const char *const bad[] = { "",
					   "0000:06:00",
					   "0000:06:00.8",
					   "0000:06:00.0 ",
					   "000:06:00.0",
					   "0000:6:00.0",
					   "0000-06-00.0",
					   "0000:06:00.0/..",
					   "GGGG:06:00.0",
					   "0000:AB:00.0" };

	(void)state;
	assert_true(devices_is_pci("0000:06:00.0"));
	assert_true(devices_is_pci("abcd:ef:1f.7"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(devices_is_pci(bad[i]));
}

static void addresses_are_parsed_whole_or_not(void **state)
{
	static const char *const bad[] = { "",
					   "10.0.0.1",
					   "10.0.0.1/33",
					   "10.0.0/24",
					   "10.0.0.1/",
					   "fe80::1/129",
					   "x/24",
					   "10.0.0.1/24 ",
					   "10.0.0.1/-1",
					   "::1",
					   "1111:2222:3333:4444:5555:6666:7777:8888:9999/64" };
	struct rtlink_address address;

	(void)state;
	assert_int_equal(ipam_parse_address("10.1.2.3/24", &address), 0);
	assert_int_equal(address.family, AF_INET);
	assert_int_equal(address.prefix, 24);
	assert_int_equal(ipam_parse_address("fd00::5/64", &address), 0);
	assert_int_equal(address.family, AF_INET6);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(ipam_parse_address(bad[i], &address), -EINVAL);
}

static void put_program(struct fakefs *fs, const char *path, const char *text)
{
	fakefs_put(fs, path, text);
	fakefs_chmod(fs, path, 0755);
}

static void ipam_plugin_is_the_first_in_the_path(void **state)
{
	struct fixture *f = *state;
	char path[512], found[512], wanted[512];

	put_program(f->fs, "b/ipam", "#!/bin/sh\n");
	put_program(f->fs, "c/ipam", "#!/bin/sh\n");
	fakefs_put(f->fs, "a/ipam", "no program");
	fakefs_mkdir(f->fs, "d/ipam");
	snprintf(path, sizeof(path), ":relative:%s/d:%s/none:%s/a:%s/b:%s/c", fakefs_path(f->fs),
		 fakefs_path(f->fs), fakefs_path(f->fs), fakefs_path(f->fs), fakefs_path(f->fs));
	assert_int_equal(ipam_find(path, "ipam", found, sizeof(found)), 0);
	snprintf(wanted, sizeof(wanted), "%s/b/ipam", fakefs_path(f->fs));
	if (geteuid() == 0) /* root may not execute what nobody may */
		assert_string_equal(found, wanted);
	assert_int_equal(ipam_find(path, "none", found, sizeof(found)), -ENOENT);
	assert_int_equal(ipam_find(NULL, "ipam", found, sizeof(found)), -ENOENT);
}

static void ipam_speaks_the_protocol(void **state)
{
	struct fixture *f = *state;
	struct rtlink_address addresses[4];
	json_auto_t *result = NULL,
		    *root = json_loads("{\"cniVersion\":\"1.0.0\",\"ipam\":{\"type\":\"ipam\"}}", 0, NULL);
	struct cni_error error = { 0 };

	put_program(f->fs, "ipam",
		    "#!/bin/sh\nread -r line\n[ \"$CNI_COMMAND$CNI_IFNAME\" = ADDrdma0 ] || exit 3\n"
		    "echo \"$line\" | grep -q cniVersion || exit 4\n"
		    "echo '{\"ips\":[{\"address\":\"10.1.2.3/24\"},{\"address\":\"fd00::1/64\"}]}'\n");
	f->req.root = root;
	f->req.ipam = json_object_get(root, "ipam");
	f->req.path = fakefs_path(f->fs);
	assert_int_equal(ipam_run(&f->req, "ADD", "rdma0", &result, &error), 0);
	assert_int_equal(ipam_addresses(result, addresses, 4), 2);
	assert_int_equal(addresses[1].family, AF_INET6);
	assert_int_equal(ipam_addresses(result, addresses, 1), -EINVAL);
	assert_int_equal(ipam_run(&f->req, "DEL", "rdma0", NULL, &error), CNI_FAILED);
	assert_non_null(strstr(error.msg, "status 3"));
}

static void ipam_failure_keeps_its_own_code_and_words(void **state)
{
	struct fixture *f = *state;
	json_auto_t *result = NULL, *root = json_loads("{\"ipam\":{\"type\":\"ipam\"}}", 0, NULL);
	struct cni_error error = { 0 }, missing = { 0 }, silent = { 0 };

	f->req.root = root;
	f->req.ipam = json_object_get(root, "ipam");
	f->req.path = fakefs_path(f->fs);
	assert_int_equal(ipam_run(&f->req, "ADD", "rdma0", &result, &missing), CNI_FAILED);
	assert_int_equal(missing.code, CNI_ERR_CONFIG);
	put_program(
		f->fs, "ipam",
		"#!/bin/sh\necho '{\"code\":111,\"msg\":\"pool is full\",\"details\":\"ask for more\"}'\nexit 1\n");
	assert_int_equal(ipam_run(&f->req, "ADD", "rdma0", &result, &error), CNI_FAILED);
	assert_int_equal(error.code, 111);
	assert_non_null(strstr(error.msg, "pool is full"));
	assert_string_equal(error.details, "ask for more");
	put_program(f->fs, "ipam", "#!/bin/sh\nexit 0\n");
	assert_int_equal(ipam_run(&f->req, "ADD", "rdma0", &result, &silent), CNI_FAILED);
	assert_int_equal(silent.code, CNI_ERR_DECODE);
	assert_null(result);
}

static void routes_of_ipam_are_parsed_whole_or_not(void **state)
{
	static const char *const bad[] = { "7",
					   "[7]",
					   "[{}]",
					   "[{\"dst\":\"10.0.0.0\"}]",
					   "[{\"dst\":\"10.0.0.0/8\",\"gw\":7}]",
					   "[{\"dst\":\"10.0.0.0/8\",\"gw\":\"fd00::1\"}]",
					   "[{\"dst\":\"10.0.0.0/8\",\"mtu\":-1}]",
					   "[{\"dst\":\"10.0.0.0/8\",\"scope\":256}]",
					   "[{\"dst\":\"10.0.0.0/8\",\"table\":4294967296}]",
					   "[{\"dst\":\"a/8\"},{\"dst\":\"b/8\"},{\"dst\":\"c/8\"}]" };
	json_auto_t *good = json_loads(
		"{\"ips\":[{\"address\":\"fd00::5/64\",\"gateway\":\"fd00::1\"},{\"address\":\"10.0.0.5/8\","
		"\"gateway\":\"10.0.0.1\"}],\"routes\":[{\"dst\":\"0.0.0.0/0\"},{\"dst\":\"10.7.0.0/16\","
		"\"gw\":\"10.0.0.9\",\"scope\":0,\"table\":4294967295,\"priority\":7,\"mtu\":1300,\"advmss\":9}]}",
		0, NULL);
	struct rtlink_route routes[2];

	(void)state;
	assert_int_equal(ipam_routes(good, routes, 2), 2);
	assert_true(routes[0].has_gw && routes[0].gw.v4.s_addr == inet_addr("10.0.0.1"));
	assert_false(routes[0].has_scope);
	assert_true(routes[1].has_gw && routes[1].gw.v4.s_addr == inet_addr("10.0.0.9"));
	assert_true(routes[1].has_scope && routes[1].scope == 0);
	assert_int_equal(routes[1].table, UINT32_MAX);
	assert_int_equal(routes[1].priority, 7);
	assert_int_equal(routes[1].mtu, 1300);
	assert_int_equal(routes[1].advmss, 9);
	assert_int_equal(ipam_routes(good, routes, 1), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_auto_t *list = json_loads(bad[i], JSON_DECODE_ANY, NULL);
		json_auto_t *result = json_pack("{s:O}", "routes", list);

		assert_int_equal(ipam_routes(result, routes, 2), -EINVAL);
	}
	json_object_clear(good);
	assert_int_equal(ipam_routes(good, routes, 2), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(gaudi_leads_to_its_nic, setup, teardown),
	cmocka_unit_test_setup_teardown(nic_may_be_named_by_itself, setup, teardown),
	cmocka_unit_test_setup_teardown(gaudi_without_a_nic_needs_nothing, setup, teardown),
	cmocka_unit_test_setup_teardown(unknown_device_is_refused, setup, teardown),
	cmocka_unit_test_setup_teardown(previous_result_names_paired_nics_only, setup, teardown),
	cmocka_unit_test_setup_teardown(kubelet_that_cannot_be_asked_means_try_again, setup, teardown),
	cmocka_unit_test(pci_addresses_are_told_from_other_ids),
	cmocka_unit_test(addresses_are_parsed_whole_or_not),
	cmocka_unit_test(routes_of_ipam_are_parsed_whole_or_not),
	cmocka_unit_test_setup_teardown(ipam_plugin_is_the_first_in_the_path, setup, teardown),
	cmocka_unit_test_setup_teardown(ipam_speaks_the_protocol, setup, teardown),
	cmocka_unit_test_setup_teardown(ipam_failure_keeps_its_own_code_and_words, setup, teardown),
};

UNIT_MAIN(tests)
