// SPDX-License-Identifier: Apache-2.0
/* The loader in a folder that plays the node: what it loads, refuses and writes. */
#include "../unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../failalloc.h"
#include "../failopen.h"
#include "../fake_node.h"

#define DKMS_LINK "var/lib/dkms/gaudi-p2p/kernel-" NODE_RELEASE "-x86_64"

static void the_image_s_module_is_loaded_with_what_it_needs(void **state)
{
	struct node *node = *state;

	node_installs(
		node, REPORT_DONE,
		"gaudi_p2p 1 was loaded from this image; 2 card(s); importers that cannot revoke: hold");
	assert_string_equal(
		node_world.said,
		"load dma_base ; load quirks(z) ; load drm(z) ; load gaudi_p2p nonrevocable=hold; ");
	assert_string_equal(fakefs_get(node->fs, NODE_RULES), "# rules\n");
	assert_false(node_exists(node, NODE_BOOT));
	node_installs(node, REPORT_DONE, "was loaded from this image");
	assert_null(strstr(node_world.said + 70, "unload"));
}

static void what_was_loaded_for_the_driver_goes_with_it(void **state)
{
	struct node *node = *state;

	fakefs_put(node->fs, "sys/module/dma_base/initstate", "live\n");
	node_installs(node, REPORT_DONE, "");
	node_world.said[0] = '\0';
	node->loader.pod_resources = NULL;
	node_uninstalls(node, REPORT_DONE, "gaudi_p2p is no longer on this node");
	assert_string_equal(node_world.said, "unload gaudi_p2p; unload drm; unload quirks; ");
	assert_false(node_exists(node, NODE_RULES));
	assert_false(node_exists(node, LOADER_FOLDER));
	node_uninstalls(node, REPORT_DONE, "no longer");
	assert_false(node_exists(node, LOADER_FOLDER));
}

static void load_again(bool begin)
{
	if (begin || !strstr(node_world.said, "unload gaudi_p2p"))
		return;
	node_world.aside = NULL;
	node_load(node_world.node, "1\n", "SRC1\n");
}

static void who_loads_the_driver_behind_us_keeps_it(void **state)
{
	struct node *node = *state;

	node_installs(node, REPORT_DONE, "");
	node_world.said[0] = '\0';
	node->loader.pod_resources = NULL;
	node_world.aside = load_again;
	node_uninstalls(node, REPORT_DONE, "stays on this node");
	assert_string_equal(node_world.said,
			    "unload gaudi_p2p; unload drm; unload quirks; unload dma_base; ");
	assert_true(node_exists(node, "sys/module/gaudi_p2p"));
}

static void modules_of_another_boot_are_not_taken_for_ours(void **state)
{
	struct node *node = *state;

	node_installs(node, REPORT_DONE, "");
	node_world.said[0] = '\0';
	node->loader.pod_resources = NULL;
	fakefs_put(node->fs, "proc/sys/kernel/random/boot_id", "b008\n");
	node_uninstalls(node, REPORT_DONE, "gaudi_p2p stays on this node, which loaded it by itself");
	assert_string_equal(node_world.said, "");
	assert_false(node_exists(node, LOADER_FOLDER));
}

/* As the kernel does when their leases end; the fake one's cards stay owned. */
static void free_cards(struct node *node)
{
	for (unsigned i = 0; i < 2; i++)
		node_put_card(node, i, "free\n", "\n", "\n", "\n");
}

static void a_driver_of_the_node_stays_with_the_policy_that_it_had(void **state)
{
	struct node *node = *state;

	node->loader.pod_resources = NULL;
	node_load(node, "1\n", "SRC1\n");
	for (unsigned other = 0; other < 2; other++) {
		node_installs(node, REPORT_DONE, "by the node");
		assert_string_equal(fakefs_get(node->fs, NODE_POLICY), "hold");
		/* Also when it was changed more than once. */
		fakefs_put(node->fs, NODE_CNI, "{}");
		node_installs(node, REPORT_DONE, "by the node");
		/* And what it was between two changes is not what it was before the first. */
		if (other == 1) {
			node_uninstalls(node, REPORT_DONE, "stays on this node");
			assert_string_equal(fakefs_get(node->fs, NODE_POLICY), "refuse");
			free_cards(node);
		}
		fakefs_put(node->fs, NODE_CNI, "\"cni-rdma\"");
		node_installs(node, REPORT_DONE, "by the node");
		assert_string_equal(fakefs_get(node->fs, NODE_POLICY), "hold");
		node_uninstalls(node, REPORT_DONE, "stays on this node");
		assert_string_equal(fakefs_get(node->fs, NODE_POLICY), "refuse");
		free_cards(node);
		assert_false(node_exists(node, LOADER_FOLDER));
		assert_false(node_exists(node, NODE_RULES));
		/* The second time round we have no other. */
		if (other == 0)
			fakefs_remove(node->source, NODE_IMAGE);
	}
	assert_string_equal(node_world.said, "");
}

static void a_policy_of_another_boot_is_not_restored(void **state)
{
	struct node *node = *state;

	node->loader.pod_resources = NULL;
	node_load(node, "1\n", "SRC1\n");
	node_installs(node, REPORT_DONE, "");
	fakefs_put(node->fs, "proc/sys/kernel/random/boot_id", "b008\n");
	node_uninstalls(node, REPORT_DONE, "stays on this node");
	assert_string_equal(fakefs_get(node->fs, NODE_POLICY), "hold");
	assert_false(node_exists(node, LOADER_FOLDER));
}

/* What dkms leaves below /lib/modules: version 2, which needs the host's drm. */
static void put_dkms_module(struct node *node)
{
	fakefs_put(node->fs, NODE_LIB "modules.dep",
		   "kernel/drm.ko:\nupdates/dkms/gaudi_p2p.ko: kernel/drm.ko\n");
	fakefs_put(node->fs, NODE_LIB "kernel/drm.ko", "drm");
	node_put_module(node->fs, NODE_LIB "updates/dkms/gaudi_p2p.ko", NODE_RELEASE, "2", "SRC2");
}

static void a_driver_that_boots_because_of_us_goes(void **state)
{
	struct node *node = *state;

	fakefs_link(node->fs, DKMS_LINK, "2/" NODE_RELEASE "/x86_64");
	put_dkms_module(node);
	node_installs(node, REPORT_DONE, "");
	fakefs_put(node->fs, "proc/sys/kernel/random/boot_id", "b008\n");
	node_world.said[0] = '\0';
	node->loader.pod_resources = NULL;
	node_uninstalls(node, REPORT_DONE, "no longer");
	assert_string_equal(node_world.said, "unload gaudi_p2p; ");
	assert_false(node_exists(node, NODE_BOOT));
	assert_false(node_exists(node, LOADER_FOLDER));
}

static void what_is_left_can_be_asked_for(void **state)
{
	struct node *node = *state;

	node->loader.pod_resources = NULL;
	node->loader.look = true;
	node_uninstalls(node, REPORT_DONE, "no longer");
	assert_false(node_exists(node, LOADER_FOLDER));
	node->loader.look = false;
	node_installs(node, REPORT_DONE, "");
	node->loader.look = true;
	node_uninstalls(node, REPORT_MISSING, "/" LOADER_RECORDS " is still there");
	assert_true(node_exists(node, "sys/module/gaudi_p2p"));
	assert_true(node_exists(node, NODE_RULES));
	node->loader.look = false;
	node_uninstalls(node, REPORT_DONE, "");
	node->loader.look = true;
	node_uninstalls(node, REPORT_DONE, "");
	fakefs_mkdir(node->fs, LOADER_FOLDER);
	node_uninstalls(node, REPORT_MISSING, "/" LOADER_FOLDER " is still there");
	/* A driver that is none of ours is nobody's to wait for. */
	fakefs_remove(node->fs, LOADER_FOLDER);
	node_load(node, "1\n", "SRC1\n");
	node_uninstalls(node, REPORT_DONE, "stays on this node");
}

static void a_node_that_nothing_was_put_on_is_not_touched(void **state)
{
	struct node *node = *state;

	node_world.grants_error = -ENOENT;
	node_load(node, "0.9\n", "SRC0\n");
	node_uninstalls(node, REPORT_DONE, "stays on this node");
	assert_string_equal(node_world.said, "");
	assert_int_equal(node->loader.n_held, 0);
	assert_false(node_exists(node, "var"));
}

static void the_folder_goes_with_the_last_who_has_a_file_in_it(void **state)
{
	struct node *node = *state;

	node->loader.pod_resources = NULL;
	node_installs(node, REPORT_DONE, "");
	fakefs_put(node->fs, LOADER_FOLDER "/pairs.json", "{}");
	node_uninstalls(node, REPORT_DONE, "no longer");
	assert_true(node_exists(node, LOADER_FOLDER "/pairs.json"));
	assert_false(node_exists(node, LOADER_RECORDS));
	fakefs_remove(node->fs, LOADER_FOLDER "/pairs.json");
	node_uninstalls(node, REPORT_DONE, "no longer");
	assert_false(node_exists(node, LOADER_FOLDER));
	assert_true(node_exists(node, "var/lib"));
	/* A link is an administrator's. */
	fakefs_mkdir(node->fs, "srv/data");
	fakefs_link(node->fs, LOADER_FOLDER, "../../srv/data");
	node_installs(node, REPORT_DONE, "");
	node_uninstalls(node, REPORT_DONE, "no longer");
	assert_true(node_exists(node, LOADER_FOLDER));
	assert_false(node_exists(node, LOADER_RECORDS));
}

static void a_record_that_is_not_understood_is_told(void **state)
{
	struct node *node = *state;

	node->loader.pod_resources = NULL;
	node_installs(node, REPORT_DONE, "");
	fakefs_put(node->fs, LOADER_RECORDS "/of-a-later-version", "");
	node_uninstalls(node, REPORT_FAILED,
			"cannot remove /" LOADER_RECORDS
			": Directory not empty; what is in it is not from here");
	assert_true(node_exists(node, LOADER_RECORDS "/of-a-later-version"));
	fakefs_remove(node->fs, LOADER_RECORDS "/of-a-later-version");
	node_uninstalls(node, REPORT_DONE, "no longer");
	fakefs_mkdir(node->fs, LOADER_RECORDS "/policy");
	node_uninstalls(node, REPORT_FAILED, "cannot remove /" LOADER_RECORDS);
	node_load(node, "1\n", "SRC1\n");
	node_uninstalls(node, REPORT_FAILED, "cannot read /" LOADER_RECORDS);
	node_installs(node, REPORT_FAILED, "cannot write to /" LOADER_RECORDS);
	assert_string_equal(fakefs_get(node->fs, NODE_POLICY), "refuse\n");
}

static void a_module_that_the_node_loaded_is_left(void **state)
{
	struct node *node = *state;

	node_load(node, "1\n", "SRC1\n");
	node_installs(node, REPORT_DONE, "gaudi_p2p 1 was loaded already, by the node; 2 card(s)");
	assert_string_equal(node_world.said, "");
	/* Also one that we have no other of. */
	fakefs_remove(node->source, NODE_IMAGE);
	fakefs_put(node->fs, "sys/module/gaudi_p2p/version", "7\n");
	node_installs(node, REPORT_DONE, "stays as it is: there is no other one for kernel " NODE_RELEASE);
	assert_string_equal(node_world.said, "");
}

static void parameters_are_of_modprobe_d_then_ours_then_the_policy(void **state)
{
	struct node *node = *state;

	fakefs_put(node->fs, "etc/modprobe.d/b.conf",
		   "# options gaudi_p2p virtual=9\noptions gaudi_p2p nonrevocable=hold\n");
	fakefs_put(node->fs, "etc/modprobe.d/a.conf",
		   "options  gaudi-p2p\t emulated=1 \\\n open_wait_s=5\noptions drm debug=1\n"
		   "optionsgaudi_p2p x=1\noptions gaudi_p2p\nblacklist gaudi_p2p\n");
	fakefs_put(node->fs, "etc/modprobe.d/c.conf~", "options gaudi_p2p virtual=8\n");
	fakefs_put(node->fs, NODE_CNI, "{}");
	node->loader.params = "virtual=2";
	node_installs(node, REPORT_DONE, "importers that cannot revoke: refuse");
	assert_non_null(
		strstr(node_world.said,
		       "load drm(z) debug=1; load gaudi_p2p emulated=1    open_wait_s=5 nonrevocable=hold "
		       "virtual=2 nonrevocable=refuse; "));
}

static void hold_is_only_where_cni_rdma_ends_regions(void **state)
{
	struct node *node = *state;

	node_load(node, "1\n", "SRC1\n");
	node_installs(node, REPORT_DONE, "hold");
	assert_string_equal(fakefs_get(node->fs, NODE_POLICY), "hold");
	/* Shared namespaces, no RDMA, no cni-rdma, no network: in each case there is nobody who would end them. */
	fakefs_put(node->fs, "sys/module/ib_core/parameters/netns_mode", "Y\n");
	node_installs(node, REPORT_DONE, "refuse");
	assert_string_equal(fakefs_get(node->fs, NODE_POLICY), "refuse");
	fakefs_remove(node->fs, "sys/module/ib_core");
	node_installs(node, REPORT_DONE, "refuse");
	fakefs_put(node->fs, "sys/module/ib_core/parameters/netns_mode", "N\n");
	node_installs(node, REPORT_DONE, "hold");
	fakefs_put(node->fs, NODE_CNI, "{\"plugins\": [{\"type\": \"ptp\"}]}");
	fakefs_put(node->fs, "etc/cni/net.d/cni-rdma.txt", "\"cni-rdma\"");
	node_installs(node, REPORT_DONE, "refuse");
	fakefs_remove(node->fs, "etc/cni");
	node_installs(node, REPORT_DONE, "refuse");
	/* Who knows better says so. */
	node->loader.policy = LOADER_POLICY_HOLD;
	node_installs(node, REPORT_DONE, "hold");
	fakefs_put(node->fs, NODE_CNI, "\"cni-rdma\"");
	node->loader.policy = LOADER_POLICY_REFUSE;
	node_installs(node, REPORT_DONE, "refuse");
}

static void kernels_before_7_1_are_refused(void **state)
{
	static const struct {
		const char *release;
		bool good;
	} cases[] = { { "6.12.0-amd64", false }, { "7.0.9", false }, { "7", false }, { "seven", false },
		      { "7.1.0-rc1", true },	 { "7.10.0", true }, { "8.0", true } };
	struct node *node = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		node->loader.release = cases[i].release;
		node_installs(node, cases[i].good ? REPORT_WAIT : REPORT_FAILED,
			      cases[i].good ? "there is no driver for kernel" : "needs 7.1 or newer");
	}
	assert_string_equal(node_world.said, "");
}

static void cards_of_the_mainline_driver_are_left_to_it(void **state)
{
	struct node *node = *state;

	fakefs_put(node->fs, "sys/bus/pci/drivers/habanalabs/new_id", "");
	node_installs(node, REPORT_DONE, "");
	fakefs_remove(node->fs, "sys/module/gaudi_p2p");
	fakefs_link(node->fs, "sys/bus/pci/drivers/habanalabs/0000:19:00.0",
		    "../../../../devices/0000:19:00.0");
	node_installs(node, REPORT_FAILED, "habanalabs has 1 card(s) of this node (0000:19:00.0)");
}

static void no_module_for_this_kernel_is_waited_for(void **state)
{
	struct node *node = *state;

	fakefs_remove(node->source, NODE_IMAGE);
	node_installs(node, REPORT_WAIT,
		      "there is no driver for kernel " NODE_RELEASE ": this image has no /" NODE_IMAGE);
	assert_false(node_exists(node, NODE_RULES));
}

static void a_module_for_another_kernel_or_a_damaged_one_is_refused(void **state)
{
	struct node *node = *state;

	node_put_module(node->source, NODE_IMAGE, "7.3.4+deb13-amd6", "1", "SRC1");
	node_installs(node, REPORT_FAILED,
		      "is for kernel 7.3.4+deb13-amd6, and this node runs " NODE_RELEASE);
	node_put_module(node->source, NODE_IMAGE, NODE_RELEASE "x", "1", "SRC1");
	node_installs(node, REPORT_FAILED, "is for kernel");
	fakefs_put(node->source, NODE_IMAGE, "drm");
	node_installs(node, REPORT_FAILED, "is no gaudi_p2p for this kind of machine, or is damaged");
	fakefs_put(node->source, NODE_IMAGE, "");
	node_installs(node, REPORT_FAILED, "damaged");
	assert_string_equal(node_world.said, "");
}

static void what_dkms_built_comes_before_the_image_and_is_loaded_at_boot(void **state)
{
	struct node *node = *state;

	fakefs_link(node->fs, DKMS_LINK, "2/" NODE_RELEASE "/x86_64");
	node_installs(node, REPORT_FAILED, "dkms says that gaudi-p2p 2 is installed");
	put_dkms_module(node);
	node_installs(node, REPORT_DONE, "gaudi_p2p 2 was loaded, as dkms built it");
	assert_string_equal(fakefs_get(node->fs, NODE_BOOT), "gaudi_p2p\n");
	/* dkms is given up again: the image's takes its place, and boot has nothing to load. */
	node->loader.pod_resources = NULL;
	fakefs_remove(node->fs, DKMS_LINK);
	node_installs(node, REPORT_DONE, "gaudi_p2p 1 was loaded from this image");
	assert_non_null(strstr(node_world.said, "unload gaudi_p2p; load gaudi_p2p"));
	assert_false(node_exists(node, NODE_BOOT));
}

static void a_compressed_module_of_dkms_goes_by_its_version(void **state)
{
	struct node *node = *state;

	fakefs_link(node->fs, DKMS_LINK, "2/" NODE_RELEASE "/x86_64");
	fakefs_put(node->fs, NODE_LIB "modules.dep",
		   "kernel/drm.ko:\nupdates/dkms/gaudi_p2p.ko.xz: kernel/drm.ko\n");
	fakefs_put(node->fs, NODE_LIB "kernel/drm.ko", "drm");
	fakefs_put(node->fs, NODE_LIB "updates/dkms/gaudi_p2p.ko.xz", "gaudi_p2p");
	node_installs(node, REPORT_DONE, "gaudi_p2p 2 was loaded, as dkms built it");
	assert_string_equal(node_world.said, "load drm ; load gaudi_p2p(z) nonrevocable=hold; ");
	node_installs(node, REPORT_DONE, "gaudi_p2p 2 was loaded");
	assert_null(strstr(node_world.said, "unload"));
	fakefs_remove(node->fs, DKMS_LINK);
	fakefs_link(node->fs, DKMS_LINK, "/2");
	node_installs(node, REPORT_FAILED, "cannot understand the link of dkms");
}

static void a_module_that_is_needed_and_missing_is_named(void **state)
{
	struct node *node = *state;

	fakefs_put(node->fs, NODE_LIB "modules.dep", "kernel/drm_x.ko:\n");
	node_installs(node, REPORT_FAILED, "needs the module drm, and");
	fakefs_put(node->fs, NODE_LIB "modules.dep", "kernel/drm.ko: nonsense\n");
	node_installs(node, REPORT_FAILED, "modules.dep is damaged");
	fakefs_put(node->fs, NODE_LIB "modules.dep", "kernel/drm.ko:\n");
	node_installs(node, REPORT_FAILED, "cannot open /" NODE_LIB "kernel/drm.ko");
	fakefs_remove(node->fs, NODE_LIB "modules.dep");
	node_installs(node, REPORT_FAILED, "needs the module drm, and");
	assert_string_equal(node_world.said, "");
}

static void every_refusal_of_the_kernel_says_the_next_step(void **state)
{
	static const struct {
		int error;
		enum report_outcome outcome;
		const char *words;
	} cases[] = {
		{ EPERM, REPORT_FAILED, "CAP_SYS_MODULE" },
		{ EACCES, REPORT_FAILED, "CAP_SYS_MODULE" },
		{ ENOKEY, REPORT_FAILED, "mokutil" },
		{ EKEYREJECTED, REPORT_FAILED, "mokutil" },
		{ EKEYEXPIRED, REPORT_FAILED, "mokutil" },
		{ EKEYREVOKED, REPORT_FAILED, "mokutil" },
		{ EBADMSG, REPORT_FAILED, "mokutil" },
		{ ENOPKG, REPORT_FAILED, "mokutil" },
		{ ENOEXEC, REPORT_FAILED, "built for another kernel" },
		{ ELIBBAD, REPORT_FAILED, "built for another kernel" },
		{ ENOENT, REPORT_FAILED, "lacks a symbol" },
		{ EINVAL, REPORT_FAILED, "a parameter" },
		{ ENOMEM, REPORT_FAILED, "no memory" },
		{ EBUSY, REPORT_WAIT, "coming or going" },
		{ ETXTBSY, REPORT_WAIT, "writing to that file" },
		{ EOPNOTSUPP, REPORT_FAILED, "CONFIG_MODULE_DECOMPRESS" },
		{ ENODEV, REPORT_FAILED, "nothing to drive" },
		{ ENXIO, REPORT_FAILED, "nothing to drive" },
		{ ENOSYS, REPORT_FAILED, "knows no modules" },
		{ EIO, REPORT_FAILED, "cannot be read" },
		{ EXDEV, REPORT_FAILED, "the kernel's log may say more" },
	};
	struct node *node = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		node_world.load_error = -cases[i].error;
		node_installs(node, cases[i].outcome, cases[i].words);
	}
	node_world.load_error = 0;
	node_installs(node, REPORT_DONE, "");
	/* Somebody else was faster. */
	node_load(node, "1\n", "SRC1\n");
	fakefs_put(node->fs, "sys/module/gaudi_p2p/initstate", "coming\n");
	node_world.load_error = -EEXIST;
	node_installs(node, REPORT_DONE, "");
}

static void why_nothing_is_permitted_is_found_out(void **state)
{
	struct node *node = *state;

	node_world.load_error = -EPERM;
	fakefs_put(node->fs, "sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
	fakefs_put(node->fs, "proc/sys/kernel/modules_disabled", "0\n");
	node_installs(node, REPORT_FAILED, "CAP_SYS_MODULE");
	fakefs_put(node->fs, "sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
	node_installs(node, REPORT_FAILED, "locked down (Secure Boot)");
	fakefs_put(node->fs, "sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
	node_installs(node, REPORT_FAILED, "locked down (Secure Boot)");
	fakefs_put(node->fs, "proc/sys/kernel/modules_disabled", "1\n");
	node_installs(node, REPORT_FAILED, "until it is rebooted");
}

static void the_kernel_s_last_words_are_told(void **state)
{
	struct node *node = *state;

	node_world.load_error = -ENOENT;
	node_world.kernel_log =
		"<6>[    0.1] gaudi_p2p: first\n<6>[    0.2] eth0: up\n<4>[    1.0] gaudi_p2p: Unknown symbol a (err -2)\n"
		"<4>[    1.1] gaudi_p2p: Unknown symbol b (err -2)\n<4>[    1.2] gaudi_p2p: c\n";
	node_installs(
		node, REPORT_FAILED,
		". The kernel says: gaudi_p2p: Unknown symbol a (err -2) | gaudi_p2p: Unknown symbol b (err -2) | gaudi_p2p: c");
}

static void a_needed_module_that_is_refused_is_named(void **state)
{
	struct node *node = *state;

	node_world.need_error = -EOPNOTSUPP;
	fakefs_put(node->fs, "sys/module/dma_base/initstate", "live\n");
	node_installs(node, REPORT_FAILED, "the kernel refuses quirks");
	assert_false(node_exists(node, "sys/module/gaudi_p2p"));
}

static void files_of_others_stay(void **state)
{
	struct node *node = *state;

	node->loader.pod_resources = NULL;
	fakefs_put(node->fs, NODE_RULES, "# mine\n");
	node_installs(node, REPORT_DONE, "");
	assert_string_equal(fakefs_get(node->fs, NODE_RULES), "# mine\n");
	node_uninstalls(node, REPORT_DONE, "");
	assert_string_equal(fakefs_get(node->fs, NODE_RULES), "# mine\n");
	/* Also with our own words in it. */
	fakefs_put(node->fs, NODE_RULES, "# rules\n");
	node_installs(node, REPORT_DONE, "");
	node_uninstalls(node, REPORT_DONE, "");
	assert_string_equal(fakefs_get(node->fs, NODE_RULES), "# rules\n");
}

static void files_of_ours_follow_the_image_until_somebody_edits_them(void **state)
{
	struct node *node = *state;

	node->loader.pod_resources = NULL;
	node_installs(node, REPORT_DONE, "");
	fakefs_put(node->source, NODE_RULES, "# newer\n");
	node_installs(node, REPORT_DONE, "");
	assert_string_equal(fakefs_get(node->fs, NODE_RULES), "# newer\n");
	/* As a crash between the file and its record leaves it. */
	fakefs_put(node->fs, LOADER_RECORDS "/60-gaudi-p2p.rules.wrote", "# rules\n");
	node_installs(node, REPORT_DONE, "");
	assert_string_equal(fakefs_get(node->fs, LOADER_RECORDS "/60-gaudi-p2p.rules.wrote"), "# newer\n");
	fakefs_remove(node->fs, NODE_RULES);
	node_installs(node, REPORT_DONE, "");
	assert_string_equal(fakefs_get(node->fs, NODE_RULES), "# newer\n");
	fakefs_put(node->fs, NODE_RULES, "# newer\n# and mine\n");
	fakefs_put(node->source, NODE_RULES, "# newest\n");
	node_installs(node, REPORT_DONE, "");
	assert_string_equal(fakefs_get(node->fs, NODE_RULES), "# newer\n# and mine\n");
	node_uninstalls(node, REPORT_DONE, "");
	assert_string_equal(fakefs_get(node->fs, NODE_RULES), "# newer\n# and mine\n");
	assert_false(node_exists(node, LOADER_RECORDS));
}

static void a_missing_source_is_told_before_anything_is_done(void **state)
{
	struct node *node = *state;

	fakefs_remove(node->source, NODE_RULES);
	node_installs(node, REPORT_FAILED, "cannot read " NODE_RULES " among the files to install");
	assert_string_equal(node_world.said, "");
}

static void looking_changes_nothing_and_says_what_is_missing(void **state)
{
	struct node *node = *state;

	node->loader.look = true;
	node_installs(node, REPORT_MISSING, NODE_RULES);
	assert_false(node_exists(node, LOADER_RECORDS));
	fakefs_put(node->fs, NODE_RULES, "# mine\n");
	node_installs(node, REPORT_MISSING, "gaudi_p2p is not loaded");
	node_load(node, "0.9\n", "SRC0\n");
	node_installs(node, REPORT_MISSING, "gaudi_p2p 0.9, built from SRC0 is loaded, and is to be 1");
	node_load(node, "1\n", "SRC1\n");
	node_installs(node, REPORT_MISSING, "nonrevocable is refuse, and should be hold");
	fakefs_put(node->fs, NODE_POLICY, "hold\n");
	node_installs(node, REPORT_DONE, "was loaded already");
	assert_string_equal(node_world.said, "");
	assert_int_equal(node->loader.n_held, 0);
}

static void assert_whole(struct node *node)
{
	if (node_exists(node, NODE_RULES))
		assert_string_equal(fakefs_get(node->fs, NODE_RULES), "# rules\n");
	if (node_exists(node, LOADER_RECORDS "/60-gaudi-p2p.rules.wrote"))
		assert_string_equal(fakefs_get(node->fs, LOADER_RECORDS "/60-gaudi-p2p.rules.wrote"),
				    "# rules\n");
}

/* Begin and end of a test of failures; what it does in between may fail anywhere. */
static void assert_both_ways(struct node *node)
{
	assert_whole(node);
	node_installs(node, REPORT_DONE, "");
	assert_string_equal(fakefs_get(node->fs, NODE_RULES), "# rules\n");
}

static void assert_clean(struct node *node)
{
	assert_whole(node);
	node_uninstalls(node, REPORT_DONE, "");
	assert_false(node_exists(node, "sys/module/gaudi_p2p"));
	assert_false(node_exists(node, "sys/module/drm"));
	assert_false(node_exists(node, NODE_RULES));
	assert_false(node_exists(node, LOADER_FOLDER));
	node_world.said[0] = '\0';
}

static void aside_of_opens(bool begin)
{
	failopen_pause(begin);
}

static void aside_of_allocations(bool begin)
{
	(begin ? failalloc_pause : failalloc_resume)();
}

static void every_failing_open_leaves_a_node_that_can_go_on(void **state)
{
	struct node *node = *state;
	unsigned long n = 0, broken = 0;
	bool more = true;

	node_world.aside = aside_of_opens;
	node->loader.pod_resources = NULL;
	for (; more; n++) {
		struct report report = { 0 };

		failopen_arm(n, EMFILE);
		loader_install(&node->loader, &report);
		more = failopen_disarm();
		broken += report.outcome != REPORT_DONE;
		assert_both_ways(node);
		failopen_arm(n, EMFILE);
		loader_uninstall(&node->loader, &report);
		more = failopen_disarm() || more;
		assert_clean(node);
	}
	assert_true(n > 12 && broken > 8);
}

/* The same for a driver that is the node's: what may fail here is what remembers its policy, and restores it. */
static void assert_restored(struct node *node)
{
	free_cards(node);
	node_uninstalls(node, REPORT_DONE, "stays on this node");
	free_cards(node);
	assert_string_equal(fakefs_get(node->fs, NODE_POLICY), "refuse");
	assert_false(node_exists(node, LOADER_FOLDER));
	assert_string_equal(node_world.said, "");
}

static void a_driver_of_the_node_is_as_before_whatever_fails(void **state)
{
	struct node *node = *state;
	unsigned long n = 0;
	bool more = true;

	node->loader.pod_resources = NULL;
	node_load(node, "1\n", "SRC1\n");
	fakefs_put(node->fs, NODE_POLICY, "refuse");
	for (; more; n++) {
		struct report report = { 0 };

		failopen_arm(n, EMFILE);
		loader_install(&node->loader, &report);
		more = failopen_disarm();
		free_cards(node);
		failopen_arm(n, EMFILE);
		loader_uninstall(&node->loader, &report);
		more = failopen_disarm() || more;
		assert_restored(node);
		failalloc_arm(n);
		node_world.aside = aside_of_allocations;
		failalloc_resume();
		loader_install(&node->loader, &report);
		failalloc_pause();
		node_world.aside = NULL;
		more = failalloc_disarm() || more;
		free_cards(node);
		failalloc_arm(n);
		node_world.aside = aside_of_allocations;
		failalloc_resume();
		loader_uninstall(&node->loader, &report);
		failalloc_pause();
		node_world.aside = NULL;
		more = failalloc_disarm() || more;
		assert_restored(node);
	}
	assert_true(n > 12);
}

static void every_failing_allocation_leaves_a_node_that_can_go_on(void **state)
{
	struct node *node = *state;
	unsigned long n = 0;
	bool more = true;

	node->loader.pod_resources = NULL;
	for (; more; n++) {
		struct report report = { 0 };

		node_world.aside = aside_of_allocations;
		failalloc_arm(n);
		node_world.aside = aside_of_allocations;
		failalloc_resume();
		loader_install(&node->loader, &report);
		failalloc_pause();
		node_world.aside = NULL;
		node_world.aside = NULL;
		more = failalloc_disarm();
		assert_both_ways(node);
		node_world.aside = aside_of_allocations;
		failalloc_arm(n);
		node_world.aside = aside_of_allocations;
		failalloc_resume();
		loader_uninstall(&node->loader, &report);
		failalloc_pause();
		node_world.aside = NULL;
		node_world.aside = NULL;
		more = failalloc_disarm() || more;
		assert_clean(node);
	}
	assert_true(n > 20);
}

#define T(f) cmocka_unit_test_setup_teardown(f, node_setup, node_teardown)

static const struct CMUnitTest tests[] = {
	T(the_image_s_module_is_loaded_with_what_it_needs),
	T(what_was_loaded_for_the_driver_goes_with_it),
	T(who_loads_the_driver_behind_us_keeps_it),
	T(modules_of_another_boot_are_not_taken_for_ours),
	T(a_driver_of_the_node_stays_with_the_policy_that_it_had),
	T(a_policy_of_another_boot_is_not_restored),
	T(a_driver_that_boots_because_of_us_goes),
	T(what_is_left_can_be_asked_for),
	T(a_node_that_nothing_was_put_on_is_not_touched),
	T(the_folder_goes_with_the_last_who_has_a_file_in_it),
	T(a_record_that_is_not_understood_is_told),
	T(a_module_that_the_node_loaded_is_left),
	T(parameters_are_of_modprobe_d_then_ours_then_the_policy),
	T(hold_is_only_where_cni_rdma_ends_regions),
	T(kernels_before_7_1_are_refused),
	T(cards_of_the_mainline_driver_are_left_to_it),
	T(no_module_for_this_kernel_is_waited_for),
	T(a_module_for_another_kernel_or_a_damaged_one_is_refused),
	T(what_dkms_built_comes_before_the_image_and_is_loaded_at_boot),
	T(a_compressed_module_of_dkms_goes_by_its_version),
	T(a_module_that_is_needed_and_missing_is_named),
	T(every_refusal_of_the_kernel_says_the_next_step),
	T(why_nothing_is_permitted_is_found_out),
	T(the_kernel_s_last_words_are_told),
	T(a_needed_module_that_is_refused_is_named),
	T(files_of_others_stay),
	T(files_of_ours_follow_the_image_until_somebody_edits_them),
	T(a_missing_source_is_told_before_anything_is_done),
	T(looking_changes_nothing_and_says_what_is_missing),
	T(every_failing_open_leaves_a_node_that_can_go_on),
	T(every_failing_allocation_leaves_a_node_that_can_go_on),
	T(a_driver_of_the_node_is_as_before_whatever_fails),
};

UNIT_MAIN(tests)
