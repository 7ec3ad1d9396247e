// SPDX-License-Identifier: Apache-2.0
/* The installer in a folder that plays the node. */
#include "../unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../../cni-rdma/install/install.h"
#include "node/lock.h"
#include "../../../cni-rdma/state.h"
#include "../failalloc.h"
#include "../failopen.h"
#include "../fakefs.h"
#include "../sandbox.h"

#define LIST "etc/cni/net.d/10-net.conflist"
#define BINARY "opt/cni/bin/cni-rdma"
#define MODPROBE "etc/modprobe.d/gaudi-p2p.conf"
#define STATE "var/lib/cni/cni-rdma"
/* Spaces, order, numbers and keys as nobody but its author would write them. */
static const char network[] =
	"{ \"name\":\"n\",\"cniVersion\" : \"1.0.0\", \"disableCheck\":true,\n"
	"\t\"plugins\":[{\"type\":\"ptp\", \"mtu\":9000, \"x\":0.1, \"big\":9007199254740993,\n"
	"\"z\":{\"b\":[], \"a\":\"\\u00e4\\u0000\"}}, {\"type\":\"portmap\"}],\"own\":null }";

static bool shared;
static int mode_error, set_error;

static int is_shared(bool *ret)
{
	if (mode_error == 0)
		*ret = shared;
	return mode_error;
}

static int set_exclusive(void)
{
	if (set_error == 0)
		shared = false;
	return set_error;
}

struct world {
	struct fakefs *fs, *source;
	struct install in;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	shared = false;
	mode_error = set_error = 0;
	w->fs = fakefs_new();
	w->source = fakefs_new();
	fakefs_put(w->source, "cni-rdma", "the program");
	fakefs_put(w->source, "cni-rdma.json",
		   "{\"type\": \"cni-rdma\", \"resourceName\": \"habana.ai/gaudi\"}");
	fakefs_put(w->source, "gaudi-p2p.conf", "# ours\noptions ib_core netns_mode=0\n");
	w->in = (struct install){ .root = fakefs_root(w->fs),
				  .source = fakefs_root(w->source),
				  .bin = INSTALL_BIN,
				  .conf = INSTALL_CONF,
				  .is_shared = is_shared,
				  .set_exclusive = set_exclusive };
	fakefs_put(w->fs, LIST, network);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	fakefs_free(w->fs);
	fakefs_free(w->source);
	free(w);
	return 0;
}

static bool exists(struct world *w, const char *path)
{
	return faccessat(fakefs_root(w->fs), path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static enum report_outcome put(struct world *w, struct report *report)
{
	install_put(&w->in, report);
	return report->outcome;
}

static enum report_outcome take(struct world *w, struct report *report)
{
	install_remove(&w->in, report);
	return report->outcome;
}

#define assert_outcome(outcome, call, words)                                \
	do {                                                                \
		struct report r_ = { 0 };                                   \
		enum report_outcome got_ = call(w, &r_);                    \
		if (got_ != (outcome) || !strstr(r_.text, words))           \
			fail_msg("outcome %d, \"%s\"", (int)got_, r_.text); \
	} while (0)

/* What the tests may find of the node's list: the text as it was, or all that was in it and our entry behind. */
static void assert_list(struct world *w, bool with_us)
{
	json_auto_t *before = json_loads(network, JSON_ALLOW_NUL, NULL), *entry = NULL;
	json_auto_t *now = json_loads(fakefs_get(w->fs, LIST), JSON_ALLOW_NUL, NULL);

	if (!with_us) {
		assert_string_equal(fakefs_get(w->fs, LIST), network);
		return;
	}
	entry = json_loads(fakefs_get(w->source, "cni-rdma.json"), 0, NULL);
	assert_int_equal(json_array_append(json_object_get(before, "plugins"), entry), 0);
	assert_true(json_equal(before, now));
}

static size_t files_in(struct world *w, const char *path)
{
	DIR *dir = opendir(fakefs_join(w->fs, path));
	struct dirent *entry;
	size_t n = 0;

	while (dir && (entry = readdir(dir)))
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	if (dir)
		(void)closedir(dir);
	return n;
}

static void all_is_put_and_taken_back(void **state)
{
	struct world *w = *state;
	struct stat st;

	fakefs_chmod(w->fs, LIST, 0600);
	assert_outcome(REPORT_DONE, put, "is on this node");
	assert_string_equal(fakefs_get(w->fs, BINARY), "the program");
	assert_int_equal(stat(fakefs_join(w->fs, BINARY), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_string_equal(fakefs_get(w->fs, MODPROBE), fakefs_get(w->source, "gaudi-p2p.conf"));
	assert_list(w, true);
	assert_int_equal(stat(fakefs_join(w->fs, LIST), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* Nothing stays beside what was written, and runtimes find no list but that one. */
	assert_int_equal(files_in(w, "etc/cni/net.d"), 1);
	assert_int_equal(files_in(w, "opt/cni/bin"), 1);

	assert_outcome(REPORT_DONE, take, "no longer");
	assert_list(w, false);
	assert_int_equal(stat(fakefs_join(w->fs, LIST), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_false(exists(w, BINARY));
	assert_false(exists(w, MODPROBE));
	assert_false(exists(w, INSTALL_RECORDS));
	assert_outcome(REPORT_DONE, take, "no longer");
}

static void installing_again_writes_nothing(void **state)
{
	struct world *w = *state;
	struct stat list, binary, modprobe, now;

	assert_outcome(REPORT_DONE, put, "");
	assert_int_equal(stat(fakefs_join(w->fs, LIST), &list), 0);
	assert_int_equal(stat(fakefs_join(w->fs, BINARY), &binary), 0);
	assert_int_equal(stat(fakefs_join(w->fs, MODPROBE), &modprobe), 0);
	assert_outcome(REPORT_DONE, put, "");
	assert_int_equal(stat(fakefs_join(w->fs, LIST), &now), 0);
	assert_int_equal(now.st_ino, list.st_ino);
	assert_int_equal(stat(fakefs_join(w->fs, BINARY), &now), 0);
	assert_int_equal(now.st_ino, binary.st_ino);
	assert_int_equal(stat(fakefs_join(w->fs, MODPROBE), &now), 0);
	assert_int_equal(now.st_ino, modprobe.st_ino);
}

static void another_version_takes_the_place_of_the_old(void **state)
{
	struct world *w = *state;

	assert_outcome(REPORT_DONE, put, "");
	fakefs_put(w->source, "cni-rdma", "a longer program");
	fakefs_put(w->source, "cni-rdma.json", "{\"type\": \"cni-rdma\", \"gidTimeout\": 20}");
	fakefs_put(w->source, "gaudi-p2p.conf", "options ib_core netns_mode=0\n# more\n");
	assert_outcome(REPORT_DONE, put, "");
	assert_string_equal(fakefs_get(w->fs, BINARY), "a longer program");
	assert_string_equal(fakefs_get(w->fs, MODPROBE), "options ib_core netns_mode=0\n# more\n");
	assert_list(w, true);
	assert_outcome(REPORT_DONE, take, "");
	assert_list(w, false);
	assert_false(exists(w, MODPROBE));
}

static void a_network_that_is_written_anew_gets_the_entry_again(void **state)
{
	struct world *w = *state;
	static const char newer[] = "{\"name\":\"n\",\"plugins\":[{\"type\":\"bridge\"}]}";

	assert_outcome(REPORT_DONE, put, "");
	fakefs_put(w->fs, LIST, newer);
	assert_outcome(REPORT_DONE, put, "");
	assert_non_null(strstr(fakefs_get(w->fs, LIST), "cni-rdma"));
	assert_outcome(REPORT_DONE, take, "");
	assert_string_equal(fakefs_get(w->fs, LIST), newer);
}

static void an_edited_list_loses_only_our_entry(void **state)
{
	struct world *w = *state;
	json_auto_t *now = NULL,
		    *wanted = json_loads("{\"name\":\"n\",\"plugins\":[{\"type\":\"a\"},{\"type\":\"b\"}]}",
					 0, NULL);

	assert_outcome(REPORT_DONE, put, "");
	fakefs_put(
		w->fs, LIST,
		"{\"name\":\"n\",\"plugins\":[{\"type\":\"a\"},{\"type\":\"cni-rdma\",\"old\":1},{\"type\":\"b\"}]}");
	assert_outcome(REPORT_DONE, put, ""); /* corrects our entry where it is */
	assert_null(strstr(fakefs_get(w->fs, LIST), "old"));
	fakefs_put(
		w->fs, LIST,
		"{\"name\":\"n\",\"plugins\":[{\"type\":\"a\"},{\"type\":\"cni-rdma\"},{\"type\":\"b\"}]}");
	assert_outcome(REPORT_DONE, take, "");
	now = json_loads(fakefs_get(w->fs, LIST), 0, NULL);
	assert_true(json_equal(now, wanted));
}

static void the_first_of_two_lists_is_taken(void **state)
{
	struct world *w = *state;

	fakefs_put(w->fs, "etc/cni/net.d/20-other.conflist",
		   "{\"name\":\"o\",\"plugins\":[{\"type\":\"x\"}]}");
	fakefs_put(w->fs, "etc/cni/net.d/00-readme.txt", "no network");
	fakefs_mkdir(w->fs, "etc/cni/net.d/05-folder.conflist");
	assert_outcome(REPORT_DONE, put, "");
	assert_list(w, true);
	assert_string_equal(fakefs_get(w->fs, "etc/cni/net.d/20-other.conflist"),
			    "{\"name\":\"o\",\"plugins\":[{\"type\":\"x\"}]}");
	/* Then another network comes before: both have it, both lose it. */
	fakefs_put(w->fs, "etc/cni/net.d/09-first.conflist",
		   "{\"name\":\"f\",\"plugins\":[{\"type\":\"y\"}]}");
	assert_outcome(REPORT_DONE, put, "");
	assert_non_null(strstr(fakefs_get(w->fs, "etc/cni/net.d/09-first.conflist"), "cni-rdma"));
	fakefs_remove(w->fs, LIST); /* the old one goes for good */
	assert_outcome(REPORT_DONE, take, "");
	assert_string_equal(fakefs_get(w->fs, "etc/cni/net.d/09-first.conflist"),
			    "{\"name\":\"f\",\"plugins\":[{\"type\":\"y\"}]}");
}

static void no_network_is_waited_for(void **state)
{
	struct world *w = *state;

	fakefs_remove(w->fs, LIST);
	assert_outcome(REPORT_WAIT, put, "no pod network yet");
	fakefs_remove(w->fs, "etc/cni");
	assert_outcome(REPORT_WAIT, put, "no pod network yet");
	assert_true(exists(w, BINARY)); /* the rest is there already */
	assert_outcome(REPORT_DONE, take, "");
	fakefs_put(w->fs, LIST, network);
	assert_outcome(REPORT_DONE, put, "");
	assert_list(w, true);
}

static void what_is_no_list_is_refused_and_left(void **state)
{
	static const struct {
		const char *name, *text, *words;
	} cases[] = {
		{ "05-one.conf", "{\"type\":\"ptp\"}", "single plugin" },
		{ "05-one.json", "{\"type\":\"ptp\"}", "single plugin" },
		{ "05-bad.conflist", "{\"plugins\":[", "no CNI configuration list" },
		{ "05-bad.conflist", "[]", "no \"plugins\"" },
		{ "05-bad.conflist", "{\"name\":\"plugins\",\"plug\\u0069ns\":[{\"type\":\"a\"}]}",
		  "with escapes" },
		{ "05-bad.conflist", "{\"plugins\":[]}", "no \"plugins\"" },
		{ "05-bad.conflist", "{\"plugins\":[{\"type\":\"a\",\"type\":\"b\"}]}", "duplicate" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char path[128];

		(void)snprintf(path, sizeof(path), "etc/cni/net.d/%s", cases[i].name);
		fakefs_put(w->fs, path, cases[i].text);
		assert_outcome(REPORT_FAILED, put, cases[i].words);
		assert_string_equal(fakefs_get(w->fs, path), cases[i].text);
		fakefs_remove(w->fs, path);
	}
	fakefs_link(w->fs, "etc/cni/net.d/05-link.conflist", "10-net.conflist");
	assert_outcome(REPORT_FAILED, put, "link");
	assert_list(w, false);
}

static void an_entry_by_hand_stays_and_keeps_the_program(void **state)
{
	struct world *w = *state;
	static const char hand[] =
		"{\"name\":\"n\",\"plugins\":[{\"type\":\"a\"},{\"type\":\"cni-rdma\",\"mine\":1}]}";

	fakefs_put(w->fs, LIST, hand);
	assert_outcome(REPORT_DONE, put, "");
	assert_string_equal(fakefs_get(w->fs, LIST), hand);
	assert_outcome(REPORT_FAILED, take, "by hand");
	assert_string_equal(fakefs_get(w->fs, LIST), hand);
	assert_true(exists(w, BINARY));
}

static void a_modprobe_file_by_hand_stays(void **state)
{
	struct world *w = *state;

	fakefs_put(w->fs, MODPROBE, "options ib_core netns_mode=0x\n#options ib_core netns_mode=0\n");
	assert_outcome(REPORT_FAILED, put, "add that line");
	assert_list(w, false);
	fakefs_put(w->fs, MODPROBE, "  options ib_core netns_mode=0 foo=1");
	assert_outcome(REPORT_DONE, put, "");
	assert_outcome(REPORT_DONE, take, "");
	assert_string_equal(fakefs_get(w->fs, MODPROBE), "  options ib_core netns_mode=0 foo=1");
}

static void shared_mode_is_changed_or_needs_a_reboot(void **state)
{
	struct world *w = *state;

	shared = true;
	set_error = -EBUSY;
	assert_outcome(REPORT_REBOOT, put, "needs a reboot");
	assert_true(exists(w, MODPROBE)); /* so that the reboot helps */
	assert_list(w, false);
	set_error = -EPERM;
	assert_outcome(REPORT_FAILED, put, "CAP_NET_ADMIN");
	w->in.look = true;
	assert_outcome(REPORT_REBOOT, put, "needs a reboot");
	w->in.look = false;
	mode_error = -EPROTONOSUPPORT;
	assert_outcome(REPORT_WAIT, put, "no RDMA yet");
	mode_error = -EOPNOTSUPP;
	assert_outcome(REPORT_FAILED, put, "5.3");
	assert_list(w, false);
	mode_error = set_error = 0;
	assert_outcome(REPORT_DONE, put, "");
	assert_false(shared);
	assert_list(w, true);
}

static void looking_writes_nothing_and_says_what_is_missing(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *path, *words;
	} parts[] = { { BINARY, "/" BINARY }, { MODPROBE, "/" MODPROBE }, { LIST, "/" LIST } };

	w->in.look = true;
	assert_outcome(REPORT_MISSING, put, BINARY);
	assert_false(exists(w, INSTALL_RECORDS));
	assert_false(exists(w, BINARY));
	fakefs_put(w->fs, MODPROBE, "options ib_core netns_mode=0\n");
	fakefs_put(w->fs, BINARY, "the program");
	fakefs_chmod(w->fs, BINARY, 0755);
	assert_outcome(REPORT_MISSING, put, "no entry of cni-rdma");
	assert_list(w, false);
	fakefs_remove(w->fs, MODPROBE);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		w->in.look = false;
		assert_outcome(REPORT_DONE, put, "");
		w->in.look = true;
		assert_outcome(REPORT_DONE, put, "");
		fakefs_put(w->fs, parts[i].path, strcmp(parts[i].path, LIST) == 0 ? network : "other");
		assert_outcome(REPORT_MISSING, put, parts[i].words);
	}
}

static void what_is_left_can_be_asked_for(void **state)
{
	struct world *w = *state;

	w->in.look = true;
	assert_outcome(REPORT_DONE, take, "no longer");
	assert_false(exists(w, "var"));
	w->in.look = false;
	assert_outcome(REPORT_DONE, put, "");
	w->in.look = true;
	assert_outcome(REPORT_MISSING, take, "/" BINARY " is still there");
	fakefs_remove(w->fs, BINARY);
	assert_outcome(REPORT_MISSING, take, "/" INSTALL_RECORDS " is still there");
	assert_list(w, true);
	w->in.look = false;
	assert_outcome(REPORT_DONE, take, "");
	w->in.look = true;
	fakefs_mkdir(w->fs, STATE);
	assert_outcome(REPORT_MISSING, take, "/" STATE " is still there");
	fakefs_put(w->fs, STATE "/" LOCK_FILE, "");
	assert_outcome(REPORT_MISSING, take, "/" STATE "/" LOCK_FILE " is still there");
	fakefs_remove(w->fs, STATE);
	assert_outcome(REPORT_DONE, take, "");
	/* Pods would not start. */
	fakefs_put(w->fs, LIST, "{\"name\":\"n\",\"plugins\":[{\"type\":\"cni-rdma\"}]}");
	assert_outcome(REPORT_FAILED, take, "take that entry out by hand");
}

static void a_node_that_nothing_was_put_on_is_not_touched(void **state)
{
	struct world *w = *state;

	assert_outcome(REPORT_DONE, take, "no longer");
	assert_list(w, false);
	assert_false(exists(w, "var"));
	assert_false(exists(w, "opt"));
}

static void folders_of_ours_go_and_those_of_others_stay(void **state)
{
	struct world *w = *state;

	assert_outcome(REPORT_DONE, put, "");
	/* As cni-rdma leaves it: its lock, and a file that it was killed over. */
	fakefs_put(w->fs, STATE "/" LOCK_FILE, "process 1\n");
	fakefs_put(w->fs, STATE "/.1a-eth0.json.0123456789abcdef", "{");
	assert_outcome(REPORT_DONE, take, "");
	assert_false(exists(w, STATE));
	assert_false(exists(w, INSTALL_RECORDS));
	assert_true(exists(w, "var/lib/cni"));
	assert_true(exists(w, "opt/cni/bin"));
	assert_true(exists(w, "etc/modprobe.d"));
	/* What is not from here keeps a folder, and holds nothing up. */
	fakefs_put(w->fs, STATE "/" LOCK_FILE, "");
	fakefs_put(w->fs, STATE "/notes.txt", "mine");
	assert_outcome(REPORT_DONE, take, "");
	assert_string_equal(fakefs_get(w->fs, STATE "/notes.txt"), "mine");
	assert_false(exists(w, STATE "/" LOCK_FILE));
	/* Records that we do not know are of a later version. */
	fakefs_put(w->fs, INSTALL_RECORDS "/later", "");
	assert_outcome(REPORT_FAILED, take, "cannot remove /" INSTALL_RECORDS ": Directory not empty");
	assert_true(exists(w, INSTALL_RECORDS "/later"));
}

/* As ADD writes it. */
static void attach(struct world *w, const char *container, const char *pod)
{
	struct state *s = state_new(0);
	int dir;

	fakefs_mkdir(w->fs, STATE);
	dir = open(fakefs_join(w->fs, STATE), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	strcpy(s->container, container);
	strcpy(s->ifname, "eth0");
	strcpy(s->network, "n");
	strcpy(s->pod, pod);
	strcpy(s->netns, "/run/netns/a");
	strcpy(s->boot_id, "b00t");
	assert_int_equal(state_save(dir, s), 0);
	state_free(s);
	(void)close(dir);
}

static void pods_with_nics_keep_all_of_it(void **state)
{
	struct world *w = *state;

	assert_outcome(REPORT_DONE, put, "");
	attach(w, "1a", "default/train-0");
	attach(w, "2b", "ml/train-1");
	assert_outcome(REPORT_IN_USE, take, "default/train-0");
	assert_outcome(REPORT_IN_USE, take, "ml/train-1");
	assert_list(w, true);
	assert_true(exists(w, BINARY));
	assert_true(exists(w, MODPROBE));
	fakefs_remove(w->fs, STATE "/1a-eth0.json");
	fakefs_put(w->fs, STATE "/2b-eth0.json", "{"); /* whose it is nobody knows, but it is somebody's */
	assert_outcome(REPORT_IN_USE, take, "cannot be read");
	assert_list(w, true);
	fakefs_remove(w->fs, STATE "/2b-eth0.json");
	assert_outcome(REPORT_DONE, take, "");
	assert_list(w, false);
	assert_false(exists(w, BINARY));
}

static void without_a_place_in_the_pod_network_all_else_is_there(void **state)
{
	struct world *w = *state;

	w->in.no_chain = true;
	w->in.look = true;
	assert_outcome(REPORT_MISSING, put, BINARY);
	w->in.look = false;
	/* As Multus leaves it, and where no network came yet. */
	fakefs_put(w->fs, "etc/cni/net.d/00-multus.conf", "{\"type\":\"multus\"}");
	assert_outcome(REPORT_DONE, put, "for networks that pods name");
	fakefs_remove(w->fs, "etc");
	assert_outcome(REPORT_DONE, put, "for networks that pods name");
	assert_true(exists(w, BINARY));
	assert_true(exists(w, MODPROBE));
	w->in.look = true;
	assert_outcome(REPORT_DONE, put, "");
	w->in.look = false;
	assert_outcome(REPORT_DONE, take, "");
	assert_false(exists(w, BINARY));
	assert_false(exists(w, MODPROBE));
}

static void a_cluster_that_gets_multus_loses_the_entry_when_no_pod_has_nics(void **state)
{
	struct world *w = *state;

	assert_outcome(REPORT_DONE, put, "in its pod network");
	w->in.no_chain = true;
	attach(w, "1a", "default/train-0");
	assert_outcome(REPORT_IN_USE, put, "default/train-0");
	assert_list(w, true);
	fakefs_remove(w->fs, STATE "/1a-eth0.json");
	w->in.look = true;
	assert_outcome(REPORT_MISSING, put, "still chained in the pod network, 10-net.conflist");
	assert_list(w, true);
	w->in.look = false;
	assert_outcome(REPORT_DONE, put, "for networks that pods name");
	assert_list(w, false);
	assert_true(exists(w, BINARY));
	/* And back. */
	w->in.no_chain = false;
	assert_outcome(REPORT_DONE, put, "in its pod network");
	assert_list(w, true);
}

static void bad_sources_change_nothing(void **state)
{
	struct world *w = *state;

	fakefs_put(w->source, "cni-rdma.json", "{\"type\": \"other\"}");
	assert_outcome(REPORT_FAILED, put, "no configuration of cni-rdma");
	fakefs_put(w->source, "cni-rdma.json", "{");
	assert_outcome(REPORT_FAILED, put, "no configuration of cni-rdma");
	fakefs_remove(w->source, "cni-rdma");
	assert_outcome(REPORT_FAILED, put, "--source");
	assert_list(w, false);
}

static void a_damaged_record_is_told_and_nothing_is_guessed(void **state)
{
	struct world *w = *state;

	assert_outcome(REPORT_DONE, put, "");
	fakefs_put(w->fs, INSTALL_RECORDS "/10-net.conflist.record", "{\"before\": 1}");
	assert_outcome(REPORT_FAILED, put, "cannot understand");
	assert_outcome(REPORT_FAILED, take, "cannot understand");
	assert_list(w, true);
	assert_true(exists(w, BINARY));
}

static void a_list_that_broke_meanwhile_is_told_and_left(void **state)
{
	struct world *w = *state;

	assert_outcome(REPORT_DONE, put, "");
	fakefs_put(w->fs, LIST, "{\"plugins\": [\"cni-rdma\"");
	assert_outcome(REPORT_FAILED, take, "by hand");
	assert_true(exists(w, BINARY));
	fakefs_remove(w->fs, INSTALL_RECORDS "/10-net.conflist.record");
	assert_outcome(REPORT_FAILED, take, "the program stays");
	fakefs_remove(w->fs, LIST);
	fakefs_put(w->fs, "etc/cni/net.d/99-alone.conf", "{\"type\": \"cni-rdma\"}");
	assert_outcome(REPORT_FAILED, take, "99-alone.conf names cni-rdma");
	fakefs_remove(w->fs, "etc/cni/net.d/99-alone.conf");
	assert_outcome(REPORT_DONE, take, "");
	assert_false(exists(w, BINARY));
}

static void another_folder_of_networks_is_remembered(void **state)
{
	struct world *w = *state;

	fakefs_put(w->fs, "k3s/net.d/10-k3s.conflist", network);
	w->in.conf = "k3s/net.d";
	assert_outcome(REPORT_DONE, put, "");
	assert_non_null(strstr(fakefs_get(w->fs, "k3s/net.d/10-k3s.conflist"), "cni-rdma"));
	assert_list(w, false);
	w->in.conf = INSTALL_CONF; /* forgotten by whoever uninstalls */
	assert_outcome(REPORT_DONE, take, "");
	assert_string_equal(fakefs_get(w->fs, "k3s/net.d/10-k3s.conflist"), network);
}

/* Nothing in between, whatever fails: a list as before or as after, a whole program or none. */
static void assert_old_or_new(struct world *w)
{
	if (exists(w, BINARY))
		assert_string_equal(fakefs_get(w->fs, BINARY), "the program");
	assert_list(w, strstr(fakefs_get(w->fs, LIST), "cni-rdma") != NULL);
	if (strstr(fakefs_get(w->fs, LIST), "cni-rdma"))
		assert_true(exists(w, BINARY));
	assert_int_equal(files_in(w, "etc/cni/net.d"), 1);
	assert_true(files_in(w, "opt/cni/bin") <= 1);
}

static void every_failing_open_leaves_the_old_or_the_new(void **state)
{
	struct world *w = *state;
	unsigned long n = 0, broken = 0;
	bool more = true;

	for (; more; n++) {
		struct report report = { 0 };

		failopen_arm(n, EMFILE);
		install_put(&w->in, &report);
		more = failopen_disarm();
		broken += report.outcome != REPORT_DONE;
		assert_old_or_new(w);
		assert_outcome(REPORT_DONE, put, "");
		assert_list(w, true);

		fakefs_put(w->fs, STATE "/" LOCK_FILE, "");
		failopen_arm(n, EMFILE);
		install_remove(&w->in, &report);
		more = failopen_disarm() || more;
		assert_old_or_new(w);
		assert_outcome(REPORT_DONE, take, "");
		assert_list(w, false);
		assert_false(exists(w, INSTALL_RECORDS));
		assert_false(exists(w, STATE));
	}
	assert_true(n > 12 && broken > 8);
}

static void every_failing_allocation_leaves_the_old_or_the_new(void **state)
{
	struct world *w = *state;
	unsigned long n = 0;
	bool more = true;

	for (; more; n++) {
		struct report report = { 0 };

		failalloc_arm(n);
		failalloc_resume();
		install_put(&w->in, &report);
		failalloc_pause();
		more = failalloc_disarm();
		assert_old_or_new(w);
		assert_outcome(REPORT_DONE, put, "");

		fakefs_put(w->fs, STATE "/" LOCK_FILE, "");
		failalloc_arm(n);
		failalloc_resume();
		install_remove(&w->in, &report);
		failalloc_pause();
		more = failalloc_disarm() || more;
		assert_old_or_new(w);
		assert_outcome(REPORT_DONE, take, "");
		assert_list(w, false);
		assert_false(exists(w, INSTALL_RECORDS));
		assert_false(exists(w, STATE));
	}
	assert_true(n > 50);
}

static void a_full_or_read_only_folder_leaves_the_list(void **state)
{
	struct world *w = *state;
	struct report report;

	static char big[64 << 10];

	if (!sandbox_enter())
		skip();
	/* The descriptors from before do not see what is mounted from here on. */
	w->in.root = open(fakefs_path(w->fs), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(w->in.root >= 0);
	memset(big, 'x', sizeof(big) - 1);
	fakefs_put(w->source, "cni-rdma", big);
	fakefs_mkdir(w->fs, "opt/cni/bin");
	sandbox_mount(fakefs_join(w->fs, "opt/cni/bin"), "size=16k");
	assert_outcome(REPORT_FAILED, put, "make room");
	assert_int_equal(files_in(w, "opt/cni/bin"), 0);
	sandbox_unmount(fakefs_join(w->fs, "opt/cni/bin"));
	assert_list(w, false);

	sandbox_bind(fakefs_join(w->fs, "etc/cni/net.d"), fakefs_join(w->fs, "etc/cni/net.d"), true);
	install_put(&w->in, &report);
	assert_int_equal(report.outcome, REPORT_FAILED);
	assert_non_null(strstr(report.text, "mount that folder writable"));
	assert_list(w, false);
	sandbox_unmount(fakefs_join(w->fs, "etc/cni/net.d"));
	assert_outcome(REPORT_DONE, put, "");

	sandbox_bind(fakefs_join(w->fs, "etc/cni/net.d"), fakefs_join(w->fs, "etc/cni/net.d"), true);
	assert_outcome(REPORT_FAILED, take, "mount that folder writable");
	assert_list(w, true);
	assert_true(exists(w, BINARY));
	sandbox_unmount(fakefs_join(w->fs, "etc/cni/net.d"));
	fakefs_put(w->fs, STATE "/" LOCK_FILE, "");
	sandbox_bind(fakefs_join(w->fs, STATE), fakefs_join(w->fs, STATE), false);
	assert_outcome(REPORT_FAILED, take,
		       "cannot remove /" STATE ": Device or resource busy; it is mounted here");
	assert_list(w, false);
	sandbox_unmount(fakefs_join(w->fs, STATE));
	assert_outcome(REPORT_DONE, take, "");
	assert_false(exists(w, STATE));
	(void)close(w->in.root);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
	T(all_is_put_and_taken_back),
	T(installing_again_writes_nothing),
	T(another_version_takes_the_place_of_the_old),
	T(a_network_that_is_written_anew_gets_the_entry_again),
	T(an_edited_list_loses_only_our_entry),
	T(the_first_of_two_lists_is_taken),
	T(no_network_is_waited_for),
	T(what_is_no_list_is_refused_and_left),
	T(an_entry_by_hand_stays_and_keeps_the_program),
	T(a_modprobe_file_by_hand_stays),
	T(shared_mode_is_changed_or_needs_a_reboot),
	T(looking_writes_nothing_and_says_what_is_missing),
	T(what_is_left_can_be_asked_for),
	T(a_node_that_nothing_was_put_on_is_not_touched),
	T(folders_of_ours_go_and_those_of_others_stay),
	T(pods_with_nics_keep_all_of_it),
	T(without_a_place_in_the_pod_network_all_else_is_there),
	T(a_cluster_that_gets_multus_loses_the_entry_when_no_pod_has_nics),
	T(bad_sources_change_nothing),
	T(a_damaged_record_is_told_and_nothing_is_guessed),
	T(a_list_that_broke_meanwhile_is_told_and_left),
	T(another_folder_of_networks_is_remembered),
	T(every_failing_allocation_leaves_the_old_or_the_new),
	T(every_failing_open_leaves_the_old_or_the_new),
	T(a_full_or_read_only_folder_leaves_the_list),
};

UNIT_MAIN(tests)
