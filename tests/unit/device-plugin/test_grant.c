// SPDX-License-Identifier: Apache-2.0
/* What a container gets: nodes, variables, CDI names; and the links and specs that these lead to. */
#include "../unit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../../device-plugin/cdi.h"
#include "../../../device-plugin/core.h"
#include "../../../device-plugin/grant.h"
#include "../../../device-plugin/links.h"
#include "../../../device-plugin/nodes.h"
#include "../fake_plugin.h"
#include "../fakefs.h"
#include "../schema.h"
#include "base/log.h"
#include "base/loop.h"

#define TREES "tests/unit/sysfs/trees/"
#define LAB_GAUDI0 "sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0/0000:02:00.0/0000:03:00.0"
#define RULES "tests/unit/device-plugin/cdi.schema.json"
#define SPEC "run/cdi/gaudi-p2p-habana.ai-gaudi.json"

struct fixture {
	struct fakefs *fs;
	struct core core;
	struct cdi cdi;
	char why[256];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fs = fakefs_new();
	fake_plugin_core(&f->core, "paired");
	cdi_init(&f->cdi, CDI_GAUDIS, fakefs_join(f->fs, "run/cdi"), "habana.ai/gaudi");
	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	core_done(&f->core);
	fakefs_free(f->fs);
	free(f);
	return 0;
}

static int scan(struct fixture *f, uint64_t now_ms)
{
	return fake_plugin_scan(&f->core, f->fs, now_ms);
}

static int load(struct fixture *f, const char *tree)
{
	fakefs_load(f->fs, tree);
	return scan(f, 1000);
}

static const struct grant_node *node_at(const struct grant *grant, const char *container_path)
{
	for (size_t i = 0; i < grant->n_node; i++)
		if (strcmp(grant->node[i].container_path, container_path) == 0)
			return &grant->node[i];
	return NULL;
}

static void assert_node(const struct grant *grant, const char *container_path, const char *host_path)
{
	const struct grant_node *node = node_at(grant, container_path);

	assert_non_null(node);
	assert_string_equal(node->host_path, host_path);
}

static void assert_env(const struct grant *grant, const char *name, const char *value)
{
	const char *got = grant_find_env(grant, name);

	if (!value) {
		assert_null(got);
		return;
	}
	assert_non_null(got);
	assert_string_equal(got, value);
}

/* --- what a container gets --------------------------------------------------- */

static void one_gaudi_comes_with_its_nic(void **state)
{
	struct fixture *f = *state;
	_cleanup_(grant_done) struct grant grant = {};
	const char *ids[] = { "0000:07:00.0" };

	(void)load(f, TREES "lab.tree");
	assert_int_equal(grant_build(&f->core, NULL, ids, 1, &grant, f->why, sizeof(f->why)), 0);
	assert_int_equal(grant.n_node, 4);
	assert_node(&grant, "/dev/accel/accel1", "/dev/gaudi/by-id/0000:07:00.0/accel");
	assert_node(&grant, "/dev/accel/accel_controlD1", "/dev/gaudi/by-id/0000:07:00.0/control");
	assert_node(&grant, "/dev/infiniband/uverbs1", "/dev/gaudi/by-id/0000:07:00.0/uverbs");
	assert_node(&grant, "/dev/infiniband/rdma_cm", "/dev/infiniband/rdma_cm");
	assert_env(&grant, "HABANA_VISIBLE_DEVICES", "1");
	assert_env(&grant, "HL_VISIBLE_DEVICES", "/dev/accel/accel1");
	assert_env(&grant, "HL_VISIBLE_DEVICES_UUID", "0000:07:00.0");
	assert_env(&grant, "HABANA_VISIBLE_MODULES", "1");
	assert_env(&grant, "GAUDI_P2P_PAIRS", "/dev/accel/accel1=/dev/infiniband/uverbs1");
}

static void all_gaudis_come_without_module_ids_in_any_order(void **state)
{
	struct fixture *f = *state;
	_cleanup_(grant_done) struct grant grant = {}, turned = {};
	const char *ids[] = { "0000:03:00.0", "0000:07:00.0" }, *back[] = { "0000:07:00.0", "0000:03:00.0" };

	(void)load(f, TREES "lab.tree");
	assert_int_equal(grant_build(&f->core, NULL, ids, 2, &grant, f->why, sizeof(f->why)), 0);
	assert_int_equal(grant_build(&f->core, NULL, back, 2, &turned, f->why, sizeof(f->why)), 0);
	assert_int_equal(grant.n_node, 7); /* rdma_cm once */
	assert_env(&grant, "HABANA_VISIBLE_DEVICES", "0,1");
	assert_env(&grant, "HABANA_VISIBLE_MODULES", NULL);
	assert_env(&grant, "GAUDI_P2P_PAIRS",
		   "/dev/accel/accel0=/dev/infiniband/uverbs0,/dev/accel/accel1=/dev/infiniband/uverbs1");
	assert_env(&turned, "HL_VISIBLE_DEVICES", grant_find_env(&grant, "HL_VISIBLE_DEVICES"));
	for (size_t i = 0; i < grant.n_node; i++)
		assert_string_equal(grant.node[i].host_path, turned.node[i].host_path);
}

static void serials_are_told_and_the_second_of_a_switch_is_alone(void **state)
{
	struct fixture *f = *state;
	_cleanup_(grant_done) struct grant grant = {};
	const char *ids[] = { "AM00000002", "AM00000003" };

	(void)load(f, TREES "eight-four.tree");
	assert_int_equal(grant_build(&f->core, NULL, ids, 2, &grant, f->why, sizeof(f->why)), 0);
	assert_env(&grant, "HL_VISIBLE_DEVICES_UUID", "AM00000002,AM00000003");
	assert_env(&grant, "HABANA_VISIBLE_MODULES", "3,6");
	assert_env(&grant, "GAUDI_P2P_PAIRS", "/dev/accel/accel2=/dev/infiniband/uverbs1");
	assert_node(&grant, "/dev/accel/accel3", "/dev/gaudi/by-id/AM00000003/accel");
	assert_null(node_at(&grant, "/dev/infiniband/uverbs2"));
}

static void numbers_beyond_nine_are_whole(void **state)
{
	struct fixture *f = *state;
	_cleanup_(grant_done) struct grant grant = {};
	const char *ids[] = { "0000:0b:00.0", "0000:02:00.0" };

	(void)load(f, TREES "twelve.tree");
	assert_int_equal(grant_build(&f->core, NULL, ids, 2, &grant, f->why, sizeof(f->why)), 0);
	assert_env(&grant, "HABANA_VISIBLE_DEVICES", "1,10");
	assert_env(&grant, "HABANA_VISIBLE_MODULES", "1,10");
	assert_env(&grant, "GAUDI_P2P_PAIRS", NULL);
	assert_node(&grant, "/dev/accel/accel10", "/dev/gaudi/by-id/0000:0b:00.0/accel");
	assert_null(node_at(&grant, "/dev/infiniband/rdma_cm"));
}

static void without_links_the_plain_nodes_are_given(void **state)
{
	struct fixture *f = *state;
	_cleanup_(grant_done) struct grant grant = {};
	struct links none = LINKS_INIT;
	struct grant_options options = { .links = &none };
	const char *ids[] = { "0000:07:00.0" };

	(void)load(f, TREES "lab.tree");
	assert_int_equal(grant_build(&f->core, &options, ids, 1, &grant, f->why, sizeof(f->why)), 0);
	assert_node(&grant, "/dev/accel/accel1", "/dev/accel/accel1");
	assert_node(&grant, "/dev/infiniband/uverbs1", "/dev/infiniband/uverbs1");
}

/* Too many for a recorded tree. */
static struct inventory *many_devices(size_t n)
{
	struct inventory *inv = calloc(1, sizeof(*inv));

	inv->n_gaudi = inv->n_nic = n;
	inv->gaudi = calloc(n, sizeof(struct gaudi *));
	inv->nic = calloc(n, sizeof(struct nic *));
	inv->has_rdma_cm = true;
	for (unsigned i = 0; i < n; i++) {
		char id[16], path[64];
		struct gaudi gaudi = { .minor = i,
				       .has_control = true,
				       .has_lease = true,
				       .state = LEASE_FREE,
				       .id = id,
				       .serial = "",
				       .dir = path,
				       .path = path,
				       .reason = "" };
		struct nic nic = { .is_visible = true, .path = path };

		(void)snprintf(id, sizeof(id), "AM%08u", i);
		(void)snprintf(path, sizeof(path), "devices/pci0000:%02x/0000:00:%02x.0", i / 8, i);
		inv->gaudi[i] = gaudi_new(&gaudi);
		(void)snprintf(nic.name.pci, sizeof(nic.name.pci), "0001:%02x:00.0", i);
		(void)snprintf(nic.name.rdma, sizeof(nic.name.rdma), "mlx5_%u", i);
		(void)snprintf(nic.name.uverbs, sizeof(nic.name.uverbs), "uverbs%u", i);
		(void)snprintf(path, sizeof(path), "devices/pci0000:%02x/0001:00:%02x.0", i / 8, i);
		inv->nic[i] = nic_new(&nic);
	}
	return inv;
}

#define MANY 256

static void hundreds_of_devices_are_given_at_once_and_soon(void **state)
{
	struct fixture *f = *state;
	uint64_t begin_ms = loop_now_ms();
	const char *ids[MANY];

	assert_true(core_update(&f->core, many_devices(MANY), 1000) >= 0);
	for (size_t i = 0; i < MANY; i++)
		ids[i] = f->core.device[MANY - 1 - i].gaudi->id;
	for (unsigned round = 0; round < 10; round++) {
		_cleanup_(grant_done) struct grant grant = {};
		size_t commas = 0;

		assert_int_equal(grant_build(&f->core, NULL, ids, MANY, &grant, f->why, sizeof(f->why)), 0);
		assert_int_equal(grant.n_node, MANY * 3 + 1);
		for (const char *p = grant_find_env(&grant, "GAUDI_P2P_PAIRS"); *p; p++)
			commas += *p == ',';
		assert_int_equal(commas, MANY - 1);
	}
	/* A third of a millisecond each; this is for a busy machine with sanitizers. */
	assert_true(loop_now_ms() - begin_ms < 5000);
	ids[7] = ids[200];
	assert_int_equal(grant_build(&f->core, NULL, ids, MANY, &(struct grant){}, f->why, sizeof(f->why)),
			 -EINVAL);
	assert_non_null(strstr(f->why, "asked for twice"));
}

static void impossible_requests_are_refused_by_name(void **state)
{
	struct fixture *f = *state;
	struct grant grant = {};
	const char *twice[] = { "0000:07:00.0", "0000:07:00.0" }, *unknown[] = { "0000:03:00.0", "nobody" };

	(void)load(f, TREES "lab.tree");
	assert_int_equal(grant_build(&f->core, NULL, twice, 0, &grant, f->why, sizeof(f->why)), -EINVAL);
	assert_int_equal(grant_build(&f->core, NULL, twice, 2, &grant, f->why, sizeof(f->why)), -EINVAL);
	assert_non_null(strstr(f->why, "0000:07:00.0"));
	assert_int_equal(grant_build(&f->core, NULL, unknown, 2, &grant, f->why, sizeof(f->why)), -ENOENT);
	assert_non_null(strstr(f->why, "nobody"));
	assert_null(grant.node);
}

static void a_draining_device_is_given_a_lost_one_not(void **state)
{
	struct fixture *f = *state;
	struct grant grant = {};
	const char *ids[] = { "0000:03:00.0" };

	(void)load(f, TREES "lab.tree");
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "draining\n");
	(void)scan(f, 2000);
	assert_int_equal(grant_build(&f->core, NULL, ids, 1, &grant, f->why, sizeof(f->why)), 0);
	grant_done(&grant);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "lost\n");
	fakefs_put(f->fs, LAB_GAUDI0 "/reason", "reads return all ones\n");
	(void)scan(f, 2001);
	assert_int_equal(grant_build(&f->core, NULL, ids, 1, &grant, f->why, sizeof(f->why)), -ENODEV);
	assert_non_null(strstr(f->why, "all ones"));
	fakefs_remove(f->fs, "sys/class/accel/accel0");
	(void)scan(f, 2002);
	assert_int_equal(grant_build(&f->core, NULL, ids, 1, &grant, f->why, sizeof(f->why)), -ENODEV);
	assert_non_null(strstr(f->why, "gone"));
}

/* --- links -------------------------------------------------------------------- */

static void assert_link(struct fixture *f, const char *path, const char *target)
{
	char got[256];
	ssize_t n = readlink(fakefs_join(f->fs, path), got, sizeof(got) - 1);

	if (!target) {
		assert_int_equal(n, -1);
		return;
	}
	assert_true(n > 0);
	got[n] = '\0';
	assert_string_equal(got, target);
}

#define BY_ID "dev/gaudi/by-id/"

static void links_lead_to_the_nodes_and_follow_their_numbers(void **state)
{
	struct fixture *f = *state;
	_cleanup_(links_done) struct links links = LINKS_INIT;

	fakefs_mkdir(f->fs, "dev");
	(void)load(f, TREES "lab.tree");
	assert_int_equal(links_update(&links, &f->core), -EBADF);
	assert_int_equal(links_open(&links, fakefs_join(f->fs, "dev")), 0);
	assert_int_equal(links_update(&links, &f->core), 0);
	assert_link(f, BY_ID "0000:07:00.0/accel", "../../../accel/accel1");
	assert_link(f, BY_ID "0000:07:00.0/control", "../../../accel/accel_controlD1");
	assert_link(f, BY_ID "0000:07:00.0/uverbs", "../../../infiniband/uverbs1");
	fakefs_put(f->fs, "dev/accel/accel1", "node");
	assert_string_equal(fakefs_get(f->fs, BY_ID "0000:07:00.0/accel"), "node");
	assert_true(links.is_true);
	/* The device comes back under another number, and without its NIC. */
	core_find(&f->core, "0000:07:00.0")->gaudi->minor = 4;
	core_find(&f->core, "0000:07:00.0")->gaudi->has_control = false;
	pairs_free(TAKE_PTR(f->core.pairs));
	f->core.pairs = pairs_new("none");
	assert_int_equal(links_update(&links, &f->core), 0);
	assert_link(f, BY_ID "0000:07:00.0/accel", "../../../accel/accel4");
	assert_link(f, BY_ID "0000:07:00.0/control", NULL);
	assert_link(f, BY_ID "0000:07:00.0/uverbs", NULL);
}

static void links_of_absent_devices_go_at_once(void **state)
{
	struct fixture *f = *state;
	_cleanup_(links_done) struct links links = LINKS_INIT;

	(void)load(f, TREES "lab.tree");
	fakefs_link(f->fs, BY_ID "GONE/accel", "../../../accel/accel1");
	fakefs_link(f->fs, BY_ID "GONE/.new", "x");
	fakefs_put(f->fs, BY_ID "KEPT/notes", "not ours");
	fakefs_link(f->fs, BY_ID "KEPT/uverbs", "../../../infiniband/uverbs0");
	fakefs_link(f->fs, BY_ID "stray", "KEPT");
	assert_int_equal(links_open(&links, fakefs_join(f->fs, "dev")), 0);
	assert_int_equal(links_update(&links, &f->core), 0);
	assert_link(f, BY_ID "GONE/accel", NULL);
	assert_int_equal(access(fakefs_join(f->fs, BY_ID "GONE"), F_OK), -1);
	assert_link(f, BY_ID "KEPT/uverbs", NULL);
	assert_string_equal(fakefs_get(f->fs, BY_ID "KEPT/notes"), "not ours");
	fakefs_remove(f->fs, "sys/class/accel/accel1");
	(void)scan(f, 2000);
	assert_int_equal(links_update(&links, &f->core), 0);
	assert_link(f, BY_ID "0000:07:00.0/accel", NULL);
	assert_link(f, BY_ID "0000:03:00.0/accel", "../../../accel/accel0");
}

static void a_broken_directory_spoils_only_its_own_device(void **state)
{
	struct fixture *f = *state;
	_cleanup_(links_done) struct links links = LINKS_INIT;

	(void)load(f, TREES "lab.tree");
	fakefs_put(f->fs, BY_ID "0000:03:00.0", "a file in the way");
	assert_int_equal(links_open(&links, fakefs_join(f->fs, "dev")), 0);
	assert_int_equal(links_update(&links, &f->core), -ENOTDIR);
	assert_false(links.is_true);
	assert_link(f, BY_ID "0000:07:00.0/accel", "../../../accel/accel1");
	fakefs_remove(f->fs, BY_ID "0000:03:00.0");
	assert_int_equal(links_update(&links, &f->core), 0);
	assert_true(links.is_true);
}

static void a_single_nic_has_a_stable_link_of_its_own(void **state)
{
	struct fixture *f = *state;
	_cleanup_(links_done) struct links links = LINKS_INIT;
	_cleanup_(grant_done) struct grant grant = {};
	const char *ids[] = { "0000:4f:00.0" };

	fakefs_mkdir(f->fs, "dev");
	fake_plugin_core(&f->core, "separate");
	(void)load(f, TREES "eight-four.tree");
	assert_int_equal(links_open(&links, fakefs_join(f->fs, "dev")), 0);
	assert_int_equal(links_update(&links, &f->core), 0);
	assert_link(f, BY_ID "0000:4f:00.0/uverbs", "../../../infiniband/uverbs1");
	assert_link(f, BY_ID "0000:4f:00.0/accel", NULL);
	assert_link(f, BY_ID "AM00000002/uverbs", NULL);
	assert_int_equal(grant_build_nics(&f->core, NULL, ids, 1, &grant, f->why, sizeof(f->why)), 0);
	assert_node(&grant, "/dev/infiniband/uverbs1", "/dev/gaudi/by-id/0000:4f:00.0/uverbs");
	assert_node(&grant, "/dev/infiniband/rdma_cm", "/dev/infiniband/rdma_cm");
}

static void a_nic_without_a_verbs_node_is_refused_with_what_to_do(void **state)
{
	struct fixture *f = *state;
	struct grant grant = {};
	const char *ids[] = { "0000:4f:00.0" };

	fake_plugin_core(&f->core, "separate");
	(void)load(f, TREES "eight-four.tree");
	for (size_t i = 0; i < f->core.n_nic; i++)
		f->core.nic[i].name.uverbs[0] = '\0';
	assert_int_equal(grant_build_nics(&f->core, NULL, ids, 1, &grant, f->why, sizeof(f->why)), -ENODEV);
	assert_non_null(strstr(f->why, "ib_uverbs"));
	ids[0] = "0000:19:00.0";
	assert_int_equal(grant_build_nics(&f->core, NULL, ids, 1, &grant, f->why, sizeof(f->why)), -ENOENT);
}

/* --- CDI ----------------------------------------------------------------------- */

static json_t *spec_of(const struct fixture *f, const struct cdi *cdi)
{
	_cleanup_free_ char *text = cdi_format(cdi, &f->core);
	json_t *spec;

	assert_non_null(text);
	spec = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(spec);
	return spec;
}

/* Held against the rules of the specification, as far as a schema can say them, and one that it cannot. */
static void assert_rules(const struct fixture *f, const struct cdi *cdi, size_t n)
{
	json_auto_t *rules = schema_load(RULES);
	json_auto_t *spec = spec_of(f, cdi);
	const json_t *devices = json_object_get(spec, "devices");
	char why[256] = "";

	if (!schema_allows(rules, spec, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(json_array_size(devices), n);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(
				json_string_value(json_object_get(json_array_get(devices, i), "name")),
				json_string_value(json_object_get(json_array_get(devices, j), "name")));
}

static void specs_keep_the_rules_on_every_node(void **state)
{
	static const struct {
		const char *tree;
		size_t n;
	} cases[] = {
		{ TREES "lab.tree", 2 },      { TREES "eight-four.tree", 8 }, { TREES "twelve.tree", 12 },
		{ TREES "one-card.tree", 1 }, { TREES "mainline.tree", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture *f = *state;

		(void)load(f, cases[i].tree);
		assert_rules(f, &f->cdi, cases[i].n ? cases[i].n : f->core.n_device);
		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
	}
}

static void a_spec_names_the_nodes_and_their_rights(void **state)
{
	struct fixture *f = *state;
	json_auto_t *expected = json_loads(
		"{\"cdiVersion\": \"0.5.0\", \"kind\": \"habana.ai/gaudi\", \"devices\": [{"
		"\"name\": \"0000:07:00.0\", \"containerEdits\": {\"deviceNodes\": ["
		"{\"path\": \"/dev/accel/accel1\", \"fileMode\": 438, \"permissions\": \"rw\"},"
		"{\"path\": \"/dev/accel/accel_controlD1\", \"fileMode\": 438, \"permissions\": \"rw\"},"
		"{\"path\": \"/dev/infiniband/uverbs1\", \"fileMode\": 438, \"permissions\": \"rw\"},"
		"{\"path\": \"/dev/infiniband/rdma_cm\", \"fileMode\": 438, \"permissions\": \"rw\"}"
		"]}}]}",
		0, NULL);
	json_auto_t *spec = NULL;

	(void)load(f, TREES "lab.tree");
	fakefs_remove(f->fs, "sys/class/accel/accel0");
	(void)scan(f, 2000);
	spec = spec_of(f, &f->cdi);
	assert_true(json_equal(spec, expected));
}

static void kinds_and_names_are_what_the_rules_allow(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *name = NULL;
	struct cdi odd;

	cdi_init(&odd, CDI_GAUDIS, "/x", "3com.example/9.gaudi_x");
	assert_string_equal(odd.kind, "x-3com.example/x-9.gaudi_x");
	assert_string_equal(odd.path, "/x/gaudi-p2p-3com.example-9.gaudi_x.json");
	(void)load(f, TREES "eight-four.tree");
	assert_rules(f, &odd, 8);
	/* A serial that is no name: the address stands for it. */
	core_find(&f->core, "AM00000007")->gaudi->id = "AM7-";
	assert_rules(f, &f->cdi, 8);
	name = cdi_name(&f->cdi, &f->core, "AM7-");
	assert_string_equal(name, "habana.ai/gaudi=0000:ce:00.0");
}

static void single_nics_are_devices_of_their_own_kind(void **state)
{
	struct fixture *f = *state;
	_cleanup_(grant_done) struct grant grant = {};
	struct cdi cdi;
	struct grant_options options = { .cdi = &cdi };
	const char *ids[] = { "0000:4f:00.0" };

	cdi_init(&cdi, CDI_NICS, fakefs_join(f->fs, "run/cdi"), "habana.ai/rdma");
	fake_plugin_core(&f->core, "separate");
	(void)load(f, TREES "eight-four.tree");
	assert_rules(f, &cdi, 4);
	assert_int_equal(cdi_update(&cdi, &f->core, true), 0);
	assert_int_equal(grant_build_nics(&f->core, &options, ids, 1, &grant, f->why, sizeof(f->why)), 0);
	assert_int_equal(grant.n_node, 0);
	assert_int_equal(grant.n_cdi, 1);
	assert_string_equal(grant.cdi[0], "habana.ai/rdma=0000:4f:00.0");
	assert_env(&grant, "GAUDI_P2P_RDMA", "/dev/infiniband/uverbs1");
}

static uint64_t inode_of(struct fixture *f, const char *path)
{
	struct stat st;

	return stat(fakefs_join(f->fs, path), &st) == 0 ? st.st_ino : 0;
}

static void a_spec_is_rewritten_only_when_something_changed(void **state)
{
	struct fixture *f = *state;
	uint64_t inode;

	(void)load(f, TREES "lab.tree");
	assert_false(cdi_has(&f->cdi, &f->core, "0000:07:00.0"));
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), 0);
	assert_true(cdi_has(&f->cdi, &f->core, "0000:07:00.0"));
	assert_false(cdi_has(&f->cdi, &f->core, "nobody"));
	inode = inode_of(f, SPEC);
	assert_true(inode != 0);
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), 0);
	assert_int_equal(inode_of(f, SPEC), inode);
	core_find(&f->core, "0000:07:00.0")->gaudi->minor = 17;
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), 0);
	assert_true(inode_of(f, SPEC) != inode);
	assert_non_null(strstr(fakefs_get(f->fs, SPEC), "/dev/accel/accel17\""));
	/* Somebody else's hands. */
	fakefs_put(f->fs, SPEC, "{}");
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), 0);
	assert_non_null(strstr(fakefs_get(f->fs, SPEC), "accel17"));
	fakefs_remove(f->fs, "run");
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), 0);
	assert_non_null(strstr(fakefs_get(f->fs, SPEC), "accel17"));
}

static void a_spec_without_devices_is_removed(void **state)
{
	struct fixture *f = *state;

	(void)load(f, TREES "lab.tree");
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), 0);
	fakefs_remove(f->fs, "sys/class/accel/accel0");
	(void)scan(f, 2000);
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), 0);
	assert_null(strstr(fakefs_get(f->fs, SPEC), "0000:03:00.0"));
	fakefs_remove(f->fs, "sys/class/accel/accel1");
	(void)scan(f, 3000);
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), 0);
	assert_int_equal(inode_of(f, SPEC), 0);
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), 0);
	assert_false(cdi_has(&f->cdi, &f->core, "0000:03:00.0"));
}

static void a_spec_that_is_not_wanted_is_not_made_but_kept_true(void **state)
{
	struct fixture *f = *state;

	(void)load(f, TREES "lab.tree");
	assert_int_equal(cdi_update(&f->cdi, &f->core, false), 0);
	assert_int_equal(inode_of(f, "run/cdi"), 0);
	/* Of a plugin before, whose pods still run. */
	fakefs_put(f->fs, SPEC, "{}");
	assert_int_equal(cdi_update(&f->cdi, &f->core, false), 0);
	assert_non_null(strstr(fakefs_get(f->fs, SPEC), "accel1"));
}

static void specs_of_a_resource_that_is_not_served_go(void **state)
{
	struct fixture *f = *state;
	const struct cdi *all[] = { &f->cdi };

	cdi_sweep(all, 1); /* without a directory */
	fakefs_put(f->fs, SPEC, "{}");
	fakefs_put(f->fs, "run/cdi/gaudi-p2p-example.com-card.json", "{}");
	fakefs_put(f->fs, "run/cdi/habana.json", "{}");
	cdi_sweep(all, 1);
	assert_true(inode_of(f, SPEC) != 0);
	assert_int_equal(inode_of(f, "run/cdi/gaudi-p2p-example.com-card.json"), 0);
	assert_true(inode_of(f, "run/cdi/habana.json") != 0);
}

static void a_spec_that_cannot_be_replaced_is_removed(void **state)
{
	struct fixture *f = *state;

	(void)load(f, TREES "lab.tree");
	fakefs_mkdir(f->fs, SPEC);
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), -EISDIR);
	assert_false(cdi_has(&f->cdi, &f->core, "0000:07:00.0"));
	fakefs_remove(f->fs, "run");
	fakefs_put(f->fs, "run", "a file in the way");
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), -ENOTDIR);
	assert_false(cdi_has(&f->cdi, &f->core, "0000:07:00.0"));
	fakefs_remove(f->fs, "run");
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), 0);
	assert_true(cdi_has(&f->cdi, &f->core, "0000:07:00.0"));
}

static void devices_are_given_by_name_by_node_or_both(void **state)
{
	struct fixture *f = *state;
	struct grant_options options = { .cdi = &f->cdi };
	struct grant grant = {};
	const char *ids[] = { "0000:07:00.0", "0000:03:00.0" };

	(void)load(f, TREES "lab.tree");
	/* No spec in place: a name would lead nowhere. */
	assert_int_equal(grant_build(&f->core, &options, ids, 2, &grant, f->why, sizeof(f->why)), 0);
	assert_int_equal(grant.n_cdi, 0);
	assert_int_equal(grant.n_node, 7);
	grant_done(&grant);
	assert_int_equal(cdi_update(&f->cdi, &f->core, true), 0);
	assert_int_equal(grant_build(&f->core, &options, ids, 2, &grant, f->why, sizeof(f->why)), 0);
	assert_int_equal(grant.n_node, 0);
	assert_int_equal(grant.n_cdi, 2);
	assert_string_equal(grant.cdi[0], "habana.ai/gaudi=0000:03:00.0");
	assert_string_equal(grant.cdi[1], "habana.ai/gaudi=0000:07:00.0");
	assert_env(&grant, "HABANA_VISIBLE_DEVICES", "0,1");
	assert_env(&grant, "GAUDI_P2P_PAIRS",
		   "/dev/accel/accel0=/dev/infiniband/uverbs0,/dev/accel/accel1=/dev/infiniband/uverbs1");
	grant_done(&grant);
	options.both = true;
	assert_int_equal(grant_build(&f->core, &options, ids, 2, &grant, f->why, sizeof(f->why)), 0);
	assert_int_equal(grant.n_node, 7);
	assert_int_equal(grant.n_cdi, 2);
	grant_done(&grant);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(one_gaudi_comes_with_its_nic),
	test(all_gaudis_come_without_module_ids_in_any_order),
	test(serials_are_told_and_the_second_of_a_switch_is_alone),
	test(numbers_beyond_nine_are_whole),
	test(without_links_the_plain_nodes_are_given),
	test(hundreds_of_devices_are_given_at_once_and_soon),
	test(impossible_requests_are_refused_by_name),
	test(a_draining_device_is_given_a_lost_one_not),
	test(links_lead_to_the_nodes_and_follow_their_numbers),
	test(links_of_absent_devices_go_at_once),
	test(a_broken_directory_spoils_only_its_own_device),
	test(a_single_nic_has_a_stable_link_of_its_own),
	test(a_nic_without_a_verbs_node_is_refused_with_what_to_do),
	test(specs_keep_the_rules_on_every_node),
	test(a_spec_names_the_nodes_and_their_rights),
	test(kinds_and_names_are_what_the_rules_allow),
	test(single_nics_are_devices_of_their_own_kind),
	test(a_spec_is_rewritten_only_when_something_changed),
	test(a_spec_without_devices_is_removed),
	test(a_spec_that_is_not_wanted_is_not_made_but_kept_true),
	test(specs_of_a_resource_that_is_not_served_go),
	test(a_spec_that_cannot_be_replaced_is_removed),
	test(devices_are_given_by_name_by_node_or_both),
};

UNIT_MAIN(tests)
