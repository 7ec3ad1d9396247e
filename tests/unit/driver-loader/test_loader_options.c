// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../deploy/driver-loader/options.h"
#include "../../../deploy/driver-loader/sys.h"

static int parse(struct options *options, char *why, const char *a, const char *b, const char *c)
{
	const char *argv[] = { "gaudi-driver-loader", a, b, c, NULL };
	int argc = 1;

	while (argv[argc])
		argc++;
	return options_parse(argc, (char **)argv, options, why, 256);
}

static void a_verb_and_its_options_are_understood(void **state)
{
	struct options options;
	char why[256];

	(void)state;
	assert_int_equal(parse(&options, why, "install", NULL, NULL), 0);
	assert_int_equal(options.node.verb, VERB_INSTALL);
	assert_string_equal(options.node.root, "/");
	assert_string_equal(options.conf, "etc/cni/net.d");
	assert_string_equal(options.pod_resources, "/var/lib/kubelet/pod-resources/kubelet.sock");
	assert_int_equal(options.policy, LOADER_POLICY_AUTO);
	assert_string_equal(options.params, "");
	assert_null(options.node.source);
	assert_false(options.node.wait || options.node.stay);
	assert_int_equal(parse(&options, why, "--stay", "uninstall", "--interval=1"), 0);
	assert_int_equal(options.node.verb, VERB_UNINSTALL);
	assert_true(options.node.wait && options.node.stay);
	assert_int_equal(options.node.interval, 1);
	assert_int_equal(parse(&options, why, "status", "--conf=//k3s/net.d", "--pod-resources=none"), 0);
	assert_int_equal(options.node.verb, VERB_STATUS);
	assert_string_equal(options.conf, "k3s/net.d");
	assert_null(options.pod_resources);
	assert_int_equal(parse(&options, why, "install", "--param=emulated=1", "--param=virtual=2"), 0);
	assert_string_equal(options.params, "emulated=1 virtual=2");
	assert_int_equal(parse(&options, why, "install", "--nonrevocable=hold", "--wait"), 0);
	assert_int_equal(options.policy, LOADER_POLICY_HOLD);
	assert_int_equal(parse(&options, why, "install", "--nonrevocable=refuse", NULL), 0);
	assert_int_equal(options.policy, LOADER_POLICY_REFUSE);
	assert_int_equal(parse(&options, why, "--help", NULL, NULL), 0);
	assert_true(options.node.help);
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *a, *b, *words;
	} cases[] = {
		{ NULL, NULL, "nothing to do" },
		{ "remove", NULL, "remove is no verb" },
		{ "install", "status", "no verb" },
		{ "install", "--rot=/", "--rot=/: no such option" },
		{ "install", "--root", "--root: no such option, or its value is missing" },
		{ "install", "--interval=0", "--interval=0: seconds" },
		{ "install", "--interval=3601", "seconds" },
		{ "install", "--conf=/", "a folder of the node" },
		{ "install", "--pod-resources=kubelet.sock", "the path of a socket, or none" },
		{ "install", "--pod-resources=", "the path of a socket, or none" },
		{ "install", "--nonrevocable=yes", "auto, refuse or hold" },
		{ "install", "--param=emulated", "NAME=VALUE" },
		{ "install", "--param==1", "NAME=VALUE" },
		{ "install", "--param=a=1 nonrevocable=hold", "NAME=VALUE" },
		{ "install", "--param=nonrevocable=hold", "say --nonrevocable" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct options options = { .node.interval = 77 };
		char why[256] = "";

		assert_int_equal(parse(&options, why, cases[i].a, cases[i].b, NULL), -EINVAL);
		if (!strstr(why, cases[i].words))
			fail_msg("case %zu: %s", i, why);
		assert_int_equal(options.node.interval, 77);
	}
}

static void parameters_that_do_not_fit_are_refused(void **state)
{
	struct options options;
	char why[256], param[LOADER_PARAMS_MAX];

	(void)state;
	memset(param, 'x', sizeof(param) - 1);
	memcpy(param, "--param=a=", 10);
	param[sizeof(param) - 1] = '\0';
	assert_int_equal(parse(&options, why, "install", param, NULL), 0);
	assert_int_equal(parse(&options, why, "install", param, "--param=b=12345678"), -EINVAL);
}

static void help_names_every_option(void **state)
{
	static const char *const words[] = { "install",		"uninstall",  "status",		"--wait",
					     "--stay",		"--interval", "--nonrevocable", "--param",
					     "--pod-resources", "--conf",     "--root",		"--source" };
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	options_help(out);
	(void)fclose(out);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		assert_non_null(strstr(text, words[i]));
	free(text);
}

static void the_kubelet_s_list_tells_who_has_what_of_every_resource(void **state)
{
	char *gaudis[] = { "0000:05:00.0", "0000:06:00.0" }, *others[] = { "x" };
	V1__ContainerDevices gaudi = V1__CONTAINER_DEVICES__INIT, other = V1__CONTAINER_DEVICES__INIT;
	V1__ContainerDevices *devices[] = { &gaudi, &other };
	V1__ContainerResources container = V1__CONTAINER_RESOURCES__INIT;
	V1__ContainerResources *containers[] = { &container };
	V1__PodResources pod = V1__POD_RESOURCES__INIT, idle = V1__POD_RESOURCES__INIT;
	V1__PodResources *pods[] = { &idle, &pod };
	V1__ListPodResourcesResponse list = V1__LIST_POD_RESOURCES_RESPONSE__INIT;
	struct loader_grants grants = { 0 };

	(void)state;
	gaudi.n_device_ids = 2;
	gaudi.device_ids = gaudis;
	other.n_device_ids = 1;
	other.device_ids = others;
	container.n_devices = 2;
	container.devices = devices;
	pod.name = "job";
	pod.namespace_ = "team";
	pod.n_containers = 1;
	pod.containers = containers;
	list.n_pod_resources = 2;
	list.pod_resources = pods;
	assert_int_equal(sys_grants(&list, &grants), 0);
	assert_int_equal(grants.n, 3);
	assert_string_equal(grants.list[1].id, "0000:06:00.0");
	assert_string_equal(grants.list[2].id, "x");
	assert_string_equal(grants.list[2].pod, "team/job");
	free(grants.list);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_verb_and_its_options_are_understood),
	cmocka_unit_test(what_is_wrong_is_named),
	cmocka_unit_test(parameters_that_do_not_fit_are_refused),
	cmocka_unit_test(help_names_every_option),
	cmocka_unit_test(the_kubelet_s_list_tells_who_has_what_of_every_resource),
};

UNIT_MAIN(tests)
