// SPDX-License-Identifier: Apache-2.0
/*
 * The program in the root and with the rights that deploy/base/device-plugin.yaml
 * describes: its mounts and no others, the rest read-only, no capability, no network,
 * system calls filtered. A call that a container's filter refuses kills it here.
 */
#include "../unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../device-plugin/daemon.h"
#include "../fake_kubelet.h"
#include "../fakefs.h"
#include "../sandbox.h"
#include "base/fileio.h"

#define MANIFEST "deploy/base/device-plugin.yaml"
#define GAUDI1 "0000:07:00.0"
#define NOBODY 65534
#define LIMIT_MS 20000
#define MOUNTS_MAX 16

struct volume {
	char name[32], mount[128], host[128];
	bool read_only;
};

/* What is read of the manifest. */
struct pod {
	size_t n_volume, n_arg;
	struct volume volume[MOUNTS_MAX];
	char arg[MOUNTS_MAX][128];
	char *text;
	const char *with; /* a volume that is commented out, and is wanted; or NULL */
};

struct fixture {
	struct fakefs *fs;
	struct pod pod;
	struct loop *loop;
	struct fake_kubelet *kubelet;
	const struct fake_kubelet_view *view;
	pid_t child;
};

/* --- the manifest ------------------------------------------------------------------ */

static struct volume *volume_get(struct pod *pod, const char *name)
{
	for (size_t i = 0; i < pod->n_volume; i++)
		if (strcmp(pod->volume[i].name, name) == 0)
			return &pod->volume[i];
	assert_true(pod->n_volume < MOUNTS_MAX);
	(void)snprintf(pod->volume[pod->n_volume].name, sizeof(pod->volume->name), "%s", name);
	return &pod->volume[pod->n_volume++];
}

/* The manifest is written so that each line of interest is whole. */
static void take_line(struct pod *pod, const char *line)
{
	const char *comment = line + strspn(line, " ");
	char name[32], path[128];

	if (pod->with && sscanf(comment, "# - {name: %31[^,]", name) == 1 && strcmp(name, pod->with) == 0)
		line = comment + strlen("#");
	if (sscanf(line, " - {name: %31[^,], mountPath: %127[^,}]", name, path) == 2) {
		strcpy(volume_get(pod, name)->mount, path);
		volume_get(pod, name)->read_only = strstr(line, "readOnly: true");
	} else if (sscanf(line, " - {name: %31[^,], hostPath: {path: %127[^,}]", name, path) == 2) {
		strcpy(volume_get(pod, name)->host, path);
	} else if (sscanf(line, " - --%127s", path) == 1) {
		assert_true(pod->n_arg < MOUNTS_MAX);
		(void)snprintf(pod->arg[pod->n_arg++], sizeof(pod->arg[0]), "--%.120s", path);
	}
}

static void pod_read(struct pod *pod)
{
	char *copy, *line, *rest;

	free(pod->text);
	*pod = (struct pod){ .with = pod->with };
	assert_int_equal(fileio_read(AT_FDCWD, MANIFEST, 65536, &pod->text, NULL), 0);
	copy = strdup(pod->text);
	for (line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		take_line(pod, line);
	free(copy);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fs = fakefs_new();
	f->child = -1;
	pod_read(&f->pod);
	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	assert_int_equal(loop_new(&f->loop), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->child > 0) {
		(void)kill(f->child, SIGKILL);
		(void)waitpid(f->child, NULL, 0);
	}
	fake_kubelet_free(f->kubelet);
	loop_free(f->loop);
	fakefs_free(f->fs);
	free(f->pod.text);
	free(f);
	return 0;
}

static void the_manifest_asks_for_no_right(void **state)
{
	static const char *const needed[] = {
		"privileged: false",
		"allowPrivilegeEscalation: false",
		"readOnlyRootFilesystem: true",
		"drop: [ALL]",
		"seccompProfile: {type: RuntimeDefault}",
		"automountServiceAccountToken: false",
		"enableServiceLinks: false",
	};
	static const char *const refused[] = { "hostNetwork", "hostPID", "hostIPC", "add:", "Unconfined" };
	const struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (!strstr(f->pod.text, needed[i]))
			fail_msg("%s is not in it", needed[i]);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (strstr(f->pod.text, refused[i]))
			fail_msg("%s is in it", refused[i]);
}

static const struct volume *mounted_at(const struct pod *pod, const char *path)
{
	for (size_t i = 0; i < pod->n_volume; i++) {
		size_t n = strlen(pod->volume[i].mount);

		if (n > 0 && strncmp(path, pod->volume[i].mount, n) == 0 && (path[n] == '/' || !path[n]))
			return &pod->volume[i];
	}
	return NULL;
}

/* The arguments of the manifest and more; argv lives as long as f. */
static void parse_arguments(struct fixture *f, const char *more, struct options *options)
{
	char *argv[MOUNTS_MAX + 3] = { (char *)"gaudi-device-plugin" }, why[640] = "";
	int argc = 1;

	for (size_t i = 0; i < f->pod.n_arg; i++)
		argv[argc++] = f->pod.arg[i];
	if (more)
		argv[argc++] = (char *)more;
	if (options_parse(argc, argv, options, why, sizeof(why)) < 0)
		fail_msg("%s", why);
}

static void the_manifest_mounts_what_the_options_name_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct options options;
	const struct {
		const char *path;
		bool read_only;
	} needed[] = {
		{ options.sysfs_root, true }, { options.kubelet_dir, false }, { options.podresources, true },
		{ options.state_dir, false }, { "/dev/gaudi", false },
	};

	parse_arguments(f, NULL, &options);
	assert_string_equal(options.dev_dir, "/dev");
	assert_int_equal(f->pod.n_volume, ARRAY_SIZE(needed));
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		const struct volume *volume = mounted_at(&f->pod, needed[i].path);

		if (!volume || volume->read_only != needed[i].read_only || !volume->host[0])
			fail_msg("%s is not mounted as it should be", needed[i].path);
	}
}

/* --- rights ------------------------------------------------------------------------ */

/* Like a container runtime's default filter, but what is refused kills. */
static void filter_calls(void)
{
	static const int refused[] = {
		SYS_mount,  SYS_umount2,    SYS_unshare,	 SYS_setns,	  SYS_ptrace,
		SYS_bpf,    SYS_mknodat,    SYS_perf_event_open, SYS_init_module, SYS_finit_module,
		SYS_chroot, SYS_pivot_root, SYS_keyctl,		 SYS_add_key,	  SYS_swapon,
		SYS_reboot, SYS_kexec_load, SYS_setuid,		 SYS_capset,
	};
	struct sock_filter code[2 * ARRAY_SIZE(refused) + 8];
	struct sock_fprog program = { .filter = code };
	unsigned short n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		code[n++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)refused[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	}
	/* No network: sockets of the kernel's events and of the kubelet only. */
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 1, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] =
		(struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 2, 0);
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 1, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = n;
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void drop_rights(uid_t user)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};

	for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
		assert_int_equal(prctl(PR_CAPBSET_DROP, capability), 0);
	if (user != 0) {
		assert_int_equal(setresgid(user, user, user), 0);
		assert_int_equal(setresuid(user, user, user), 0);
	}
	assert_int_equal(syscall(SYS_capset, &header, none), 0);
	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	filter_calls();
}

/* --- the container ------------------------------------------------------------------- */

/* The host's folders, with the tree as its /sys. */
static void make_host(struct fixture *f, uid_t user)
{
	fakefs_load(f->fs, "tests/unit/sysfs/trees/lab.tree");
	for (size_t i = 0; i < f->pod.n_volume; i++) {
		const struct volume *volume = &f->pod.volume[i];
		char path[256];

		fakefs_mkdir(f->fs, volume->host + 1);
		(void)snprintf(path, sizeof(path), "root%s", volume->mount);
		fakefs_mkdir(f->fs, path);
		if (user != 0 && !volume->read_only)
			assert_int_equal(chown(fakefs_join(f->fs, volume->host + 1), user, user), 0);
	}
	fakefs_mkdir(f->fs, "root/proc"); /* every container has one */
	fakefs_link(f->fs, "var/lib/kubelet/pod-resources/kubelet.sock", "../device-plugins/pods.sock");
}

/* In the child; an assertion that fails here ends it with a signal or status that the parent sees. */
static void enter_container(struct fixture *f)
{
	const char *root = fakefs_join(f->fs, "root");

	assert_true(sandbox_enter());
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	sandbox_bind(root, root, false);
	sandbox_bind("/proc", fakefs_join(f->fs, "root/proc"), false);
	for (size_t i = 0; i < f->pod.n_volume; i++) {
		const struct volume *volume = &f->pod.volume[i];
		char path[256];

		(void)snprintf(path, sizeof(path), "root%s", volume->mount);
		sandbox_bind(fakefs_join(f->fs, volume->host + 1), fakefs_join(f->fs, path),
			     volume->read_only);
	}
	sandbox_read_only(root);
	assert_int_equal(chroot(root), 0);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(open("/new", O_WRONLY | O_CREAT, 0600), -1);
	assert_int_equal(errno, EROFS);
}

static void run_child(struct fixture *f, uid_t user)
{
	static struct options options;

	enter_container(f);
	drop_rights(user);
	parse_arguments(f, "--inject=both", &options);
	_exit(daemon_run(&options) < 0 ? 1 : 0);
}

static void wait_until_listed(struct fixture *f)
{
	uint64_t end = loop_now_ms() + LIMIT_MS;
	int status;

	while (f->view->n_registered == 0 || !f->view->devices || f->view->devices->n_devices != 2 ||
	       f->view->n_allocatable == 0) {
		assert_true(loop_step(f->loop, 50) >= 0);
		if (waitpid(f->child, &status, WNOHANG) == f->child) {
			f->child = -1;
			fail_msg("it ended with status 0x%x", status);
		}
		if (loop_now_ms() > end)
			fail_msg("not registered, or did not ask who holds what");
	}
}

static void assert_made(struct fixture *f, const char *path)
{
	struct stat st;

	if (lstat(fakefs_join(f->fs, path), &st) < 0)
		fail_msg("%s was not made", path);
}

static void serves_as(struct fixture *f, uid_t user)
{
	static const V1__AllocatableResourcesResponse nothing = V1__ALLOCATABLE_RESOURCES_RESPONSE__INIT;
	int status;

	/* As the manifest says to do for --inject. */
	f->pod.with = "cdi";
	pod_read(&f->pod);
	make_host(f, user);
	f->kubelet = fake_kubelet_new(f->loop, fakefs_join(f->fs, "var/lib/kubelet/device-plugins"));
	f->view = fake_kubelet_view(f->kubelet);
	fake_kubelet_set_allocatable(f->kubelet, &nothing);
	if (user != 0) {
		assert_int_equal(
			chown(fakefs_join(f->fs, "var/lib/kubelet/device-plugins/kubelet.sock"), user, user),
			0);
		assert_int_equal(
			chown(fakefs_join(f->fs, "var/lib/kubelet/device-plugins/pods.sock"), user, user), 0);
		assert_int_equal(chmod(fakefs_path(f->fs), 0755), 0);
	}
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0)
		run_child(f, user);
	wait_until_listed(f);
	assert_made(f, "var/lib/gaudi-p2p/pairs.json");
	assert_made(f, "dev/gaudi/by-id/" GAUDI1 "/accel");
	assert_made(f, "var/run/cdi/gaudi-p2p-habana.ai-gaudi.json");
	assert_int_equal(kill(f->child, SIGTERM), 0);
	assert_int_equal(waitpid(f->child, &status, 0), f->child);
	f->child = -1;
	assert_int_equal(status, 0);
}

/* Whether this machine lets us build a container; tried in a child, so that the test stays where it is. */
static bool can_contain(void)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(sandbox_enter() && unshare(CLONE_NEWNET) == 0 ? 0 : 1);
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static void it_serves_with_the_rights_of_the_manifest(void **state)
{
	if (!can_contain())
		skip();
	serves_as(*state, 0);
}

static void it_serves_as_nobody_where_the_folders_are_nobodys(void **state)
{
	if (geteuid() != 0 || !can_contain())
		skip();
	serves_as(*state, NOBODY);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(the_manifest_asks_for_no_right),
	test(the_manifest_mounts_what_the_options_name_and_nothing_else),
	test(it_serves_with_the_rights_of_the_manifest),
	test(it_serves_as_nobody_where_the_folders_are_nobodys),
};

UNIT_MAIN(tests)
