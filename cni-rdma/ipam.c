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
#include "json/jsontext.h"

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

/* "10.1.2.3" or "fd00::1". */
static int parse_host(const char *text, struct rtlink_address *ret)
{
	ret->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	return inet_pton(ret->family, text, &ret->v6) == 1 ? 0 : -EINVAL;
}

int ipam_parse_address(const char *text, struct rtlink_address *ret)
{
	struct rtlink_address address = { 0 };
	const char *slash = strchr(text, '/');
	char host[INET6_ADDRSTRLEN];

	if (!slash || (size_t)(slash - text) >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	if (parse_host(host, &address) < 0 ||
	    num_parse_uint(slash + 1, 0, address.family == AF_INET6 ? 128 : 32, &address.prefix) < 0)
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

/* A number that is absent leaves *ret alone. */
static int take_number(const json_t *object, const char *key, json_int_t max, unsigned *ret)
{
	const json_t *value = json_object_get(object, key);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > max)
		return -EINVAL;
	*ret = (unsigned)json_integer_value(value);
	return 0;
}

static int take_gateway(const json_t *object, const char *key, struct rtlink_route *route)
{
	const json_t *value = json_object_get(object, key);
	struct rtlink_address gw = { 0 };

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value) || parse_host(json_string_value(value), &gw) < 0)
		return -EINVAL;
	if (gw.family != route->dst.family)
		return -EINVAL;
	route->gw = gw;
	route->has_gw = true;
	return 0;
}

/* Those of ips may be of the other family. */
static void default_gateway(const json_t *result, struct rtlink_route *route)
{
	const json_t *ip;
	size_t i;

	json_array_foreach(json_object_get(result, "ips"), i, ip) {
		if (!route->has_gw)
			(void)take_gateway(ip, "gateway", route);
	}
}

static int parse_route(const json_t *result, const json_t *object, struct rtlink_route *route)
{
	const char *dst = json_string_value(json_object_get(object, "dst"));
	int r;

	*route = (struct rtlink_route){ 0 };
	if (!dst || ipam_parse_address(dst, &route->dst) < 0 || take_gateway(object, "gw", route) < 0)
		return -EINVAL;
	if (!route->has_gw)
		default_gateway(result, route);
	route->has_scope = json_is_integer(json_object_get(object, "scope"));
	r = take_number(object, "scope", 255, &route->scope);
	if (r == 0)
		r = take_number(object, "table", UINT32_MAX, &route->table);
	if (r == 0)
		r = take_number(object, "priority", UINT32_MAX, &route->priority);
	if (r == 0)
		r = take_number(object, "mtu", UINT32_MAX, &route->mtu);
	return r < 0 ? r : take_number(object, "advmss", UINT32_MAX, &route->advmss);
}

int ipam_routes(const json_t *result, struct rtlink_route *routes, size_t max)
{
	const json_t *list = json_object_get(result, "routes"), *item;
	size_t i;

	if (list && !json_is_null(list) && !json_is_array(list))
		return -EINVAL;
	json_array_foreach(list, i, item) {
		if (i == max || parse_route(result, item, &routes[i]) < 0)
			return -EINVAL;
	}
	return (int)json_array_size(list);
}

#define ENV_WORDS 4

static void free_env(char **env)
{
	/* Only the first ones are ours. */
	for (size_t i = 0; i < ENV_WORDS; i++)
		free(env[i]);
	free(env);
}

static bool is_word_of_ours(const char *entry, char *const *words)
{
	for (size_t i = 0; i < ENV_WORDS; i++) {
		if (strncmp(entry, words[i], strcspn(words[i], "=") + 1) == 0)
			return true;
	}
	return false;
}

/* The environment with the call's words in place of those that we were called with; an empty one counts as none. */
static char **make_env(const struct ipam_call *call)
{
	const char *const words[ENV_WORDS][2] = {
		{ "CNI_COMMAND", call->command },
		{ "CNI_CONTAINERID", call->container },
		{ "CNI_NETNS", call->netns },
		{ "CNI_IFNAME", call->ifname },
	};
	size_t n = 0, kept = ENV_WORDS;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + ENV_WORDS + 1, sizeof(*env));
	if (!env)
		return NULL;
	for (size_t i = 0; i < ENV_WORDS; i++) {
		if (asprintf(&env[i], "%s=%s", words[i][0], words[i][1] ? words[i][1] : "") < 0) {
			env[i] = NULL;
			free_env(env);
			return NULL;
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (!is_word_of_ours(environ[i], env))
			env[kept++] = environ[i];
	}
	return env;
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
	/* That it is no JSON is for the caller, who knows what the plugin's exit said. */
	return jsontext_parse(text, (size_t)st.st_size, 0, ret, NULL) == -ENOMEM ? -ENOMEM : 0;
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

int ipam_call(const struct request *req, const struct ipam_call *call, json_t **ret, struct cni_error *error)
{
	const char *type = json_string_value(json_object_get(req->ipam, "type"));
	_cleanup_close_ int in = -EBADF, out = -EBADF;
	_cleanup_free_ char *text = NULL;
	json_auto_t *document = NULL;
	char program[4096];
	char **env;
	pid_t pid;
	int r, r2;

	if (ipam_find(req->path, type, program, sizeof(program)) < 0)
		return cni_error_set(error, CNI_ERR_CONFIG, 0,
				     "IPAM plugin %s is in no folder of CNI_PATH (%s)", type,
				     req->path ? req->path : "not set");
	text = jsontext_format(call->config, JSON_COMPACT);
	env = text ? make_env(call) : NULL;
	if (!env)
		return cni_error_set(error, CNI_ERR_IO, -ENOMEM, "IPAM");
	in = memory_file(text);
	out = memory_file("");
	pid = in < 0 ? in : out < 0 ? out : RET_NERRNO(spawn(program, env, in, out));
	free_env(env);
	if (pid < 0)
		return cni_error_set(error, CNI_ERR_IO, pid, "cannot start IPAM plugin %s", type);
	r = wait_for(pid, IPAM_TIMEOUT_MS);
	if (r == -ETIMEDOUT)
		return cni_error_set(error, CNI_ERR_TRY_AGAIN, 0, "IPAM plugin %s did not end within %d s",
				     type, IPAM_TIMEOUT_MS / 1000);
	r2 = read_back(out, &document);
	if (is_shortage(r2))
		return cni_error_set(error, CNI_ERR_IO, r2, "cannot read what IPAM plugin %s printed", type);
	if (r2 < 0 || r != 0)
		return plugin_failed(type, call->command, r, document, error);
	if (!ret)
		return 0;
	if (!json_is_object(document))
		return cni_error_set(error, CNI_ERR_DECODE, 0, "IPAM plugin %s printed no result", type);
	*ret = json_incref(document);
	return 0;
}

int ipam_run(const struct request *req, const char *command, const char *ifname, json_t **ret,
	     struct cni_error *error)
{
	const struct ipam_call call = {
		.command = command,
		.container = req->container,
		.netns = req->netns,
		.ifname = ifname,
		.config = req->root,
	};

	return ipam_call(req, &call, ret, error);
}
