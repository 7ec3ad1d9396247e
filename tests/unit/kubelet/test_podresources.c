// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "../fake_kubelet.h"
#include "../fakefs.h"
#include "kubelet/podresources.h"

#define RESOURCE "habana.ai/gaudi"

/* --- lists ------------------------------------------------------------------ */

/* A pod with two containers: two devices, then one of them again and another one. */
struct pod {
	V1__PodResources pod;
	V1__ContainerResources containers[2], *container_ptrs[2];
	V1__ContainerDevices devices[3], *device_ptrs[3];
	char *ids[3][2];
};

static void pod_init(struct pod *p, const char *namespace, const char *name, const char *first,
		     const char *second)
{
	memset(p, 0, sizeof(*p));
	v1__pod_resources__init(&p->pod);
	p->pod.namespace_ = (char *)namespace;
	p->pod.name = (char *)name;
	p->ids[0][0] = (char *)first;
	p->ids[0][1] = (char *)second;
	p->ids[1][0] = (char *)first;
	p->ids[2][0] = (char *)"not-ours";
	for (int i = 0; i < 3; i++) {
		v1__container_devices__init(&p->devices[i]);
		p->devices[i].resource_name = (char *)(i < 2 ? RESOURCE : "habana.ai/rdma");
		p->devices[i].device_ids = p->ids[i];
		p->devices[i].n_device_ids = i == 0 ? 2 : 1;
		p->device_ptrs[i] = &p->devices[i];
	}
	for (int i = 0; i < 2; i++) {
		v1__container_resources__init(&p->containers[i]);
		p->containers[i].devices = &p->device_ptrs[i];
		p->containers[i].n_devices = i == 0 ? 1 : 2;
		p->container_ptrs[i] = &p->containers[i];
	}
	p->pod.containers = p->container_ptrs;
	p->pod.n_containers = 2;
}

struct pods {
	struct pod pods[4];
	V1__PodResources *ptrs[4];
	V1__ListPodResourcesResponse list;
};

static void pods_init(struct pods *p)
{
	v1__list_pod_resources_response__init(&p->list);
	pod_init(&p->pods[0], "a", "train", "id1", "id2");
	pod_init(&p->pods[1], "b", "train", "id3", "id4");
	pod_init(&p->pods[2], "b", "twice", "id5", "id6");
	pod_init(&p->pods[3], "b", "twice", "id7", "id8");
	for (int i = 0; i < 4; i++)
		p->ptrs[i] = &p->pods[i].pod;
	p->list.pod_resources = p->ptrs;
	p->list.n_pod_resources = 4;
}

static void a_pods_devices_are_found_each_once(void **state)
{
	_cleanup_(podresources_devices_done) struct podresources_devices devices = { 0 };
	struct pods pods;

	(void)state;
	pods_init(&pods);
	assert_int_equal(podresources_find(&pods.list, "b", "train", RESOURCE, &devices), 0);
	assert_int_equal(devices.n, 2);
	assert_string_equal(devices.ids[0], "id3");
	assert_string_equal(devices.ids[1], "id4");
}

static void a_pod_without_the_resource_has_none(void **state)
{
	struct podresources_devices devices = { 0 };
	struct pods pods;

	(void)state;
	pods_init(&pods);
	assert_int_equal(podresources_find(&pods.list, "a", "train", "other.com/x", &devices), 0);
	assert_int_equal(devices.n, 0);
	assert_null(devices.ids);
}

static void an_unknown_pod_and_an_ambiguous_one_are_told_apart(void **state)
{
	struct podresources_devices devices = { .n = 77 };
	struct pods pods;

	(void)state;
	pods_init(&pods);
	assert_int_equal(podresources_find(&pods.list, "c", "train", RESOURCE, &devices), -ENOENT);
	assert_int_equal(podresources_find(&pods.list, "a", "trai", RESOURCE, &devices), -ENOENT);
	assert_int_equal(devices.n, 77);
	assert_int_equal(podresources_find(&pods.list, "b", "twice", RESOURCE, &devices), -ENOTUNIQ);
	assert_int_equal(devices.n, 4);
	assert_string_equal(devices.ids[3], "id8");
	podresources_devices_done(&devices);
}

/* --- blocking calls: the kubelet is another process --------------------------- */

struct world {
	struct fakefs *fs;
	const char *socket;
	pid_t kubelet;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->fs = fakefs_new();
	w->socket = fakefs_join(w->fs, "pods.sock");
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	if (w->kubelet > 0) {
		kill(w->kubelet, SIGKILL);
		waitpid(w->kubelet, NULL, 0);
	}
	fakefs_free(w->fs);
	free(w);
	return 0;
}

static void serve(struct world *w, unsigned n_busy)
{
	struct fake_kubelet *kubelet;
	struct loop *loop;
	struct pods pods;

	w->kubelet = fork();
	assert_true(w->kubelet >= 0);
	if (w->kubelet == 0) {
		pods_init(&pods);
		if (loop_new(&loop) < 0)
			_exit(1);
		kubelet = fake_kubelet_new(loop, fakefs_path(w->fs));
		fake_kubelet_set_pods(kubelet, &pods.list, n_busy);
		(void)loop_run(loop);
		_exit(1);
	}
	for (int i = 0; i < 1000 && access(w->socket, F_OK) < 0; i++)
		usleep(1000);
}

static void the_kubelet_is_asked_over_its_socket(void **state)
{
	_cleanup_(podresources_devices_done) struct podresources_devices devices = { 0 };
	struct world *w = *state;
	struct grpc_error error;

	serve(w, 0);
	assert_int_equal(podresources_find_pod(w->socket, 5000, "a", "train", RESOURCE, &devices, &error), 0);
	assert_int_equal(devices.n, 2);
	assert_string_equal(devices.ids[1], "id2");
	assert_int_equal(podresources_find_pod(w->socket, 5000, "a", "none", RESOURCE, &devices, &error),
			 -ENOENT);
	assert_string_equal(error.text, "the kubelet does not list a pod a/none");
	podresources_devices_done(&devices);
	assert_int_equal(podresources_find_pod(w->socket, 5000, "b", "twice", RESOURCE, &devices, NULL),
			 -ENOTUNIQ);
	assert_int_equal(devices.n, 4);
}

static void a_busy_kubelet_is_asked_again_within_the_time(void **state)
{
	_cleanup_(podresources_devices_done) struct podresources_devices devices = { 0 };
	struct world *w = *state;
	struct grpc_error error;
	uint64_t begin;

	serve(w, 2);
	assert_int_equal(podresources_find_pod(w->socket, 5000, "a", "train", RESOURCE, &devices, &error), 0);
	teardown(state);
	setup(state);
	w = *state;
	serve(w, 1000);
	begin = loop_now_ms();
	assert_int_equal(podresources_find_pod(w->socket, 2000, "a", "train", RESOURCE, &devices, &error),
			 -EBUSY);
	assert_string_equal(error.text, "rejected by rate limit");
	assert_true(loop_now_ms() - begin < 20000);
}

static void a_missing_socket_is_named(void **state)
{
	struct world *w = *state;
	V1__ListPodResourcesResponse *list = NULL;
	struct grpc_error error;

	assert_int_equal(podresources_list(w->socket, 0, &list, &error), -ENOENT);
	assert_non_null(strstr(error.text, w->socket));
	assert_null(list);
}

static void a_kubelet_that_hangs_ends_in_a_deadline(void **state)
{
	struct world *w = *state;
	V1__ListPodResourcesResponse *list = NULL;
	struct grpc_error error;
	uint64_t begin;

	serve(w, 0);
	assert_int_equal(kill(w->kubelet, SIGSTOP), 0);
	begin = loop_now_ms();
	assert_int_equal(podresources_list(w->socket, 100, &list, &error), -ETIMEDOUT);
	assert_true(loop_now_ms() - begin < 5000);
	assert_int_equal(error.status, GRPC_DEADLINE_EXCEEDED);
}

/* --- in a loop -------------------------------------------------------------- */

struct answer {
	unsigned n;
	int r;
	size_t n_pods;
	struct podresources_query *query;
};

static void on_answer(int r, const V1__ListPodResourcesResponse *list, const struct grpc_error *error,
		      void *data)
{
	struct answer *a = data;

	(void)error;
	a->n++;
	a->r = r;
	a->n_pods = list ? list->n_pod_resources : 0;
	podresources_query_free(TAKE_PTR(a->query));
}

static void a_query_runs_inside_a_loop(void **state)
{
	struct world *w = *state;
	_cleanup_(loop_freep) struct loop *loop = NULL;
	_cleanup_(podresources_query_freep) struct podresources_query *given_up = NULL;
	struct fake_kubelet *kubelet;
	struct answer a = { 0 };
	struct pods pods;

	pods_init(&pods);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(podresources_query(loop, w->socket, 1000, on_answer, &a, &a.query), -ENOENT);
	kubelet = fake_kubelet_new(loop, fakefs_path(w->fs));
	fake_kubelet_set_pods(kubelet, &pods.list, 0);
	assert_int_equal(podresources_query(loop, w->socket, 1000, on_answer, &a, &a.query), 0);
	fake_kubelet_run_until(kubelet, &a.n, 1);
	assert_int_equal(a.r, 0);
	assert_int_equal(a.n_pods, 4);
	fake_kubelet_set_pods(kubelet, &pods.list, 1);
	assert_int_equal(podresources_query(loop, w->socket, 1000, on_answer, &a, &a.query), 0);
	fake_kubelet_run_until(kubelet, &a.n, 2);
	assert_int_equal(a.r, -EBUSY);
	assert_int_equal(podresources_query(loop, w->socket, 1000, on_answer, &a, &given_up), 0);
	podresources_query_free(TAKE_PTR(given_up));
	fake_kubelet_free(kubelet);
}

/* Bytes of a peer: cut at every length, each either unpacks or is -EBADMSG, and nothing leaks. */
static void cut_answers_are_refused_or_taken_never_more(void **state)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct pods pods;
	size_t len;

	(void)state;
	pods_init(&pods);
	assert_int_equal(kubelet_message_pack(&pods.list.base, &bytes, &len), 0);
	for (size_t n = 0; n <= len; n++) {
		_cleanup_free_ uint8_t *cut = malloc(n ? n : 1); /* exact, so that a read behind it is seen */
		_cleanup_message_ ProtobufCMessage *message = NULL;
		int r;

		assert_non_null(cut);
		memcpy(cut, bytes, n);
		r = kubelet_message_unpack(&v1__list_pod_resources_response__descriptor, cut, n, &message);
		assert_true(r == 0 || r == -EBADMSG);
		assert_true((r == 0) == (message != NULL));
		if (n == len)
			assert_int_equal(r, 0);
	}
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_pods_devices_are_found_each_once),
	cmocka_unit_test(a_pod_without_the_resource_has_none),
	cmocka_unit_test(an_unknown_pod_and_an_ambiguous_one_are_told_apart),
	cmocka_unit_test(cut_answers_are_refused_or_taken_never_more),
	test(the_kubelet_is_asked_over_its_socket),
	test(a_busy_kubelet_is_asked_again_within_the_time),
	test(a_missing_socket_is_named),
	test(a_kubelet_that_hangs_ends_in_a_deadline),
	test(a_query_runs_inside_a_loop),
};

UNIT_MAIN(tests)
