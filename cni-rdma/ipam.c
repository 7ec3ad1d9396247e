// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/fileio.h"
#include "base/num.h"
#include "ipam.h"

extern char **environ;

int ipam_find(const char *path, const char *type, char *buf, size_t size)
{
	while (path && *path) {
		size_t len = strcspn(path, ":");
		struct stat st;

		if (len > 0 && path[0] == '/' &&
		    (size_t)snprintf(buf, size, "%.*s/%s", (int)len, path, type) < size &&
		    stat(buf, &st) == 0 && S_ISREG(st.st_mode) && access(buf, X_OK) == 0)
			return 0;
		path += len + (path[len] == ':');
	}
	return -ENOENT;
}

int ipam_parse_address(const char *text, struct rtlink_address *ret)
{
	struct rtlink_address address = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };
	const char *slash = strchr(text, '/');
	char host[INET6_ADDRSTRLEN];

	if (!slash || (size_t)(slash - text) >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	if (inet_pton(address.family, host, &address.v6) != 1)
		return -EINVAL;
	if (num_parse_uint(slash + 1, 0, address.family == AF_INET6 ? 128 : 32, &address.prefix) < 0)
		return -EINVAL;
	*ret = address;
	return 0;
}

int ipam_addresses(const json_t *result, struct rtlink_address *addresses, size_t max)
{
	const json_t *ips = json_object_get(result, "ips"), *ip;
	size_t i;

	if (ips && !json_is_array(ips))
		return -EINVAL;
	json_array_foreach(ips, i, ip) {
		const char *text = json_string_value(json_object_get(ip, "address"));

		if (i == max || !text || ipam_parse_address(text, &addresses[i]) < 0)
			return -EINVAL;
	}
	return (int)json_array_size(ips);
}

/* The environment with our two words changed. Freed by free_env(). */
static char **make_env(const char *command, const char *ifname)
{
	size_t n = 0, kept = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 3, sizeof(*env));
	if (!env)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (strncmp(environ[i], "CNI_COMMAND=", 12) != 0 &&
		    strncmp(environ[i], "CNI_IFNAME=", 11) != 0)
			env[kept++] = environ[i];
	}
	if (asprintf(&env[kept], "CNI_COMMAND=%s", command) < 0 ||
	    asprintf(&env[kept + 1], "CNI_IFNAME=%s", ifname) < 0) {
		free(env); /* the little that one of them may hold dies with this short-lived program */
		return NULL;
	}
	env[kept + 2] = NULL;
	return env;
}

static void free_env(char **env)
{
	size_t n = 0;

	while (env[n])
		n++;
	free(env[n - 1]);
	free(env[n - 2]);
	free(env);
}

/* A file in memory takes what a pipe could not: neither side can block the other. */
static int memory_file(const char *text)
{
	_cleanup_close_ int fd = memfd_create("cni", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return negative_errno();
	r = fileio_write_all(fd, text, strlen(text));
	if (r < 0)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return negative_errno();
	return TAKE_FD(fd);
}

static pid_t spawn(const char *program, char **env, int in, int out)
{
	char *const argv[] = { (char *)program, NULL };
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		_exit(127);
	execve(program, argv, env);
	_exit(127);
}

/* Exit status, or -ETIMEDOUT after killing it. */
static int wait_for(pid_t pid, unsigned timeout_ms)
{
	struct timespec pause = { .tv_nsec = 2000000 };
	int status;

	for (unsigned waited = 0; waitpid(pid, &status, WNOHANG) == 0; waited += 2) {
		if (waited >= timeout_ms) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -ETIMEDOUT;
		}
		nanosleep(&pause, NULL);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int read_back(int fd, json_t **ret)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return negative_errno();
	if (st.st_size > (off_t)IPAM_MAX_BYTES)
		return -EFBIG;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	if (pread(fd, text, (size_t)st.st_size, 0) != st.st_size)
		return -EIO;
	*ret = json_loadb(text, (size_t)st.st_size, 0, NULL);
	return 0;
}

static int plugin_failed(const char *type, const char *command, int status, const json_t *document,
			 struct cni_error *error)
{
	const char *msg = json_string_value(json_object_get(document, "msg"));
	const char *details = json_string_value(json_object_get(document, "details"));
	json_int_t code = json_integer_value(json_object_get(document, "code"));

	cni_error_set(error, code > 0 && code < 1000000 ? (int)code : CNI_ERR_IO, 0,
		      "IPAM plugin %s %s failed with status %d: %s", type, command, status,
		      msg ? msg : "no word why");
	return cni_error_explain(error, "%s", details ? details : "");
}

int ipam_run(const struct request *req, const char *command, const char *ifname, json_t **ret,
	     struct cni_error *error)
{
	const char *type = json_string_value(json_object_get(req->ipam, "type"));
	_cleanup_close_ int in = -EBADF, out = -EBADF;
	_cleanup_free_ char *text = NULL;
	json_auto_t *document = NULL;
	char program[4096];
	char **env;
	pid_t pid;
	int r;

	if (ipam_find(req->path, type, program, sizeof(program)) < 0)
		return cni_error_set(error, CNI_ERR_CONFIG, 0,
				     "IPAM plugin %s is in no folder of CNI_PATH (%s)", type,
				     req->path ? req->path : "not set");
	text = json_dumps(req->root, JSON_COMPACT);
	env = make_env(command, ifname);
	if (!text || !env)
		return cni_error_set(error, CNI_ERR_IO, -ENOMEM, "IPAM");
	in = memory_file(text);
	out = memory_file("");
	pid = in < 0 || out < 0 ? -1 : spawn(program, env, in, out);
	free_env(env);
	if (pid < 0)
		return cni_error_set(error, CNI_ERR_IO, -EAGAIN, "cannot start IPAM plugin %s", type);
	r = wait_for(pid, IPAM_TIMEOUT_MS);
	if (r == -ETIMEDOUT)
		return cni_error_set(error, CNI_ERR_TRY_AGAIN, 0, "IPAM plugin %s did not end within %d s",
				     type, IPAM_TIMEOUT_MS / 1000);
	if (read_back(out, &document) < 0 || r != 0)
		return plugin_failed(type, command, r, document, error);
	if (!ret)
		return 0;
	if (!json_is_object(document))
		return cni_error_set(error, CNI_ERR_DECODE, 0, "IPAM plugin %s printed no result", type);
	*ret = json_incref(document);
	return 0;
}
