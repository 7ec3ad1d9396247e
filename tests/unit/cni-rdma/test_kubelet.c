// SPDX-License-Identifier: Apache-2.0
/* Whole calls of ADD as far as the kubelet's answer decides them: pods without NICs, ambiguous and unknown pods. */
#include "../unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../../../cni-rdma/devices.h"
#include "../../../cni-rdma/verbs.h"
#include "../fake_kubelet.h"
#include "../fakefs.h"

#define PODS 4

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

/* One container with some devices, or none. */
struct pod {
	V1__PodResources pod;
	V1__ContainerResources container, *container_ptr;
	V1__ContainerDevices devices, *devices_ptr;
	char *ids[2];
};

static void pod_init(struct pod *p, const char *name, const char *first, const char *second)
{
	v1__pod_resources__init(&p->pod);
	v1__container_resources__init(&p->container);
	v1__container_devices__init(&p->devices);
	p->pod.namespace_ = (char *)"default";
	p->pod.name = (char *)name;
	p->pod.n_containers = 1;
	p->pod.containers = &p->container_ptr;
	p->container_ptr = &p->container;
	p->container.n_devices = first ? 1 : 0;
	p->container.devices = &p->devices_ptr;
	p->devices_ptr = &p->devices;
	p->devices.resource_name = (char *)"habana.ai/gaudi";
	p->devices.n_device_ids = second ? 2 : 1;
	p->devices.device_ids = p->ids;
	p->ids[0] = (char *)first;
	p->ids[1] = (char *)second;
}

static void serve(const char *dir)
{
	V1__ListPodResourcesResponse list = V1__LIST_POD_RESOURCES_RESPONSE__INIT;
	static struct pod pods[PODS];
	V1__PodResources *ptrs[PODS];
	struct fake_kubelet *kubelet;
	struct loop *loop;

	pod_init(&pods[0], "train", "HL1", "HL2");
	pod_init(&pods[1], "web", NULL, NULL);
	pod_init(&pods[2], "twice", "HL1", NULL);
	pod_init(&pods[3], "twice", "HL3", NULL);
	for (int i = 0; i < PODS; i++)
		ptrs[i] = &pods[i].pod;
	list.n_pod_resources = PODS;
	list.pod_resources = ptrs;
	if (loop_new(&loop) < 0)
		_exit(1);
	kubelet = fake_kubelet_new(loop, dir);
	fake_kubelet_set_pods(kubelet, &list, 0);
	(void)loop_run(loop);
	_exit(1);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char *c = w->config;

	w->fs = fakefs_new();
	fakefs_put(w->fs, "pairs.json", pairing);
	c += sprintf(c, "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"pairs\":\"%s\",",
		     fakefs_join(w->fs, "pairs.json"));
	c += sprintf(c, "\"stateDir\":\"%s\",", fakefs_join(w->fs, "state"));
	c += sprintf(c, "\"podResources\":\"%s\",", fakefs_join(w->fs, "pods.sock"));
	sprintf(c, "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.0.1/8\"}]}}");
	w->kubelet = fork();
	assert_true(w->kubelet >= 0);
	if (w->kubelet == 0)
		serve(fakefs_path(w->fs));
	for (int i = 0; i < 1000 && access(fakefs_join(w->fs, "pods.sock"), F_OK) < 0; i++)
		usleep(1000);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	kill(w->kubelet, SIGKILL);
	waitpid(w->kubelet, NULL, 0);
	fakefs_free(w->fs);
	free(w);
	return 0;
}

static int call(struct world *w, const char *verb, const char *pod, json_t **ret)
{
	char args[128];
	struct request_env env = { .command = verb,
				   .container = "c1",
				   .netns = "/no/such",
				   .ifname = "eth0",
				   .path = "/none",
				   .args = args };

	snprintf(args, sizeof(args), "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=%s", pod);
	return verbs_run(&env, w->config, strlen(w->config), ret);
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

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(pod_without_our_resource_passes_through, setup, teardown),
	cmocka_unit_test_setup_teardown(ambiguous_and_unknown_pods_are_tried_again, setup, teardown),
	cmocka_unit_test_setup_teardown(all_nics_of_a_pods_gaudis_are_its_own, setup, teardown),
	cmocka_unit_test_setup_teardown(soft_mode_needs_to_know_only_whether_there_is_a_device, setup,
					teardown),
	cmocka_unit_test_setup_teardown(missing_pairing_is_explained, setup, teardown),
	cmocka_unit_test_setup_teardown(del_without_a_record_ends_well_and_leaves_nothing, setup, teardown),
};

UNIT_MAIN(tests)
