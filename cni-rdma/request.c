// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <string.h>

#include "base/num.h"
#include "json/jsontext.h"
#include "request.h"

#define DEFAULT_RESOURCE "habana.ai/gaudi"
#define DEFAULT_IFNAME "rdma%d"
#define DEFAULT_POD_RESOURCES "/var/lib/kubelet/pod-resources/kubelet.sock"
#define DEFAULT_PAIRS "/var/lib/gaudi-p2p/pairs.json"
#define DEFAULT_STATE_DIR "/var/lib/cni/cni-rdma"
#define DEFAULT_LOCK_TIMEOUT_S 30
#define DEFAULT_GID_TIMEOUT_S 10
#define DEFAULT_LEASE_TIMEOUT_S 5
#define MAX_TIMEOUT_S 600

enum { NEEDS_CONTAINER = 1, NEEDS_NETNS = 2, NEEDS_IFNAME = 4, NEEDS_PATH = 8 };

static const struct verb {
	const char *name;
	enum request_command command;
	unsigned needs;
	enum cni_version since;
} verbs[] = {
	{ "ADD", REQUEST_ADD, NEEDS_CONTAINER | NEEDS_NETNS | NEEDS_IFNAME | NEEDS_PATH, CNI_0_3_0 },
	{ "DEL", REQUEST_DEL, NEEDS_CONTAINER | NEEDS_IFNAME, CNI_0_3_0 },
	{ "CHECK", REQUEST_CHECK, NEEDS_CONTAINER | NEEDS_NETNS | NEEDS_IFNAME, CNI_0_4_0 },
	{ "STATUS", REQUEST_STATUS, 0, CNI_1_1_0 },
	{ "GC", REQUEST_GC, NEEDS_PATH, CNI_1_1_0 },
	{ "VERSION", REQUEST_VERSION, 0, CNI_0_3_0 },
};

bool request_id_is_valid(const char *id)
{
	size_t len = strlen(id);

	if (len == 0 || len > REQUEST_ID_MAX || !isalnum((unsigned char)id[0]))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)id[i]) && !strchr("_.-", id[i]))
			return false;
	}
	return true;
}

bool request_ifname_is_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= IFNAMSIZ || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isgraph((unsigned char)name[i]) || strchr("/:%", name[i]))
			return false;
	}
	return true;
}

static bool is_set(const char *value)
{
	return value && value[0];
}

static int check_env(struct request *req, const struct verb *verb, const struct request_env *env,
		     struct cni_error *error)
{
	bool no_container = (verb->needs & NEEDS_CONTAINER) && !is_set(env->container);
	bool no_netns = (verb->needs & NEEDS_NETNS) && !is_set(env->netns);
	bool no_ifname = (verb->needs & NEEDS_IFNAME) && !is_set(env->ifname);
	bool no_path = (verb->needs & NEEDS_PATH) && !is_set(env->path);

	if (no_container || no_netns || no_ifname || no_path)
		return cni_error_set(error, CNI_ERR_ENVIRONMENT, 0, "%s needs%s%s%s%s", verb->name,
				     no_container ? " CNI_CONTAINERID" : "", no_netns ? " CNI_NETNS" : "",
				     no_ifname ? " CNI_IFNAME" : "", no_path ? " CNI_PATH" : "");
	if (is_set(env->container) && !request_id_is_valid(env->container))
		return cni_error_set(
			error, CNI_ERR_ENVIRONMENT, 0,
			"CNI_CONTAINERID is no container ID: letters, digits, '_', '.', '-', at most %d",
			REQUEST_ID_MAX);
	if (is_set(env->ifname) && !request_ifname_is_valid(env->ifname))
		return cni_error_set(error, CNI_ERR_ENVIRONMENT, 0, "CNI_IFNAME is no interface name");
	req->container = env->container;
	req->netns = is_set(env->netns) ? env->netns : NULL;
	req->ifname = env->ifname;
	req->path = is_set(env->path) ? env->path : NULL;
	return 0;
}

static int copy_arg(char *buf, size_t size, const char *value, size_t len)
{
	if (len >= size)
		return -EMSGSIZE;
	memcpy(buf, value, len);
	buf[len] = '\0';
	return 0;
}

/* CNI_ARGS: K=V;K=V. Keys of others are not ours to judge. */
static int parse_args(struct request *req, const char *args, struct cni_error *error)
{
	while (args && *args) {
		size_t len = strcspn(args, ";");
		const char *equals = memchr(args, '=', len);
		int r = 0;

		if (len > 0 && !equals)
			return cni_error_set(error, CNI_ERR_ENVIRONMENT, 0,
					     "CNI_ARGS is not K=V;K=V: '%.*s' has no '='",
					     (int)(len > 64 ? 64 : len), args);
		if (len > 0) {
			size_t key = (size_t)(equals - args), value = len - key - 1;

			if (key == strlen("K8S_POD_NAMESPACE") && memcmp(args, "K8S_POD_NAMESPACE", key) == 0)
				r = copy_arg(req->pod_namespace, sizeof(req->pod_namespace), equals + 1,
					     value);
			else if (key == strlen("K8S_POD_NAME") && memcmp(args, "K8S_POD_NAME", key) == 0)
				r = copy_arg(req->pod_name, sizeof(req->pod_name), equals + 1, value);
		}
		if (r < 0)
			return cni_error_set(error, CNI_ERR_ENVIRONMENT, 0,
					     "CNI_ARGS: a pod's name has at most 253 characters");
		args += len + (args[len] == ';');
	}
	return 0;
}

/* A string key; absent leaves *ret alone. */
static int take_string(const json_t *object, const char *key, const char **ret, struct cni_error *error)
{
	const json_t *value = json_object_get(object, key);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value) || !json_string_value(value)[0])
		return cni_error_set(error, CNI_ERR_CONFIG, 0, "'%s' must be a string that is not empty",
				     key);
	*ret = json_string_value(value);
	return 0;
}

static int take_path(const json_t *object, const char *key, const char *def, const char **ret,
		     struct cni_error *error)
{
	int r;

	*ret = def;
	r = take_string(object, key, ret, error);
	if (r < 0)
		return r;
	if ((*ret)[0] != '/')
		return cni_error_set(error, CNI_ERR_CONFIG, 0, "'%s' must be an absolute path", key);
	return 0;
}

static int take_timeout(const json_t *object, const char *key, int min, unsigned def, unsigned *ret_ms,
			struct cni_error *error)
{
	const json_t *value = json_object_get(object, key);

	*ret_ms = def * 1000;
	if (!value || json_is_null(value))
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < min ||
	    json_integer_value(value) > MAX_TIMEOUT_S)
		return cni_error_set(error, CNI_ERR_CONFIG, 0, "'%s' must be whole seconds from %d to %d",
				     key, min, MAX_TIMEOUT_S);
	*ret_ms = (unsigned)json_integer_value(value) * 1000;
	return 0;
}

static int take_timeouts(struct request *req, struct cni_error *error)
{
	const struct {
		const char *key;
		int min;
		unsigned def, *ret_ms;
	} keys[] = {
		{ "lockTimeout", 1, DEFAULT_LOCK_TIMEOUT_S, &req->lock_timeout_ms },
		{ "gidTimeout", 1, DEFAULT_GID_TIMEOUT_S, &req->gid_timeout_ms },
		{ "leaseTimeout", 0, DEFAULT_LEASE_TIMEOUT_S, &req->lease_timeout_ms },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(keys); i++)
		r = take_timeout(req->root, keys[i].key, keys[i].min, keys[i].def, keys[i].ret_ms, error);
	return r;
}

static int take_object(const json_t *object, const char *key, json_t **ret, struct cni_error *error)
{
	json_t *value = json_object_get(object, key);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_object(value))
		return cni_error_set(error, CNI_ERR_CONFIG, 0, "'%s' must be an object", key);
	*ret = value;
	return 0;
}

/* One %d, and a valid name with the number in its place. */
static bool pattern_is_valid(const char *pattern)
{
	const char *percent = strchr(pattern, '%');
	char name[64];

	if (!percent || percent[1] != 'd' || strchr(percent + 1, '%') || strlen(pattern) >= IFNAMSIZ)
		return false;
	snprintf(name, sizeof(name), "%.*s99%s", (int)(percent - pattern), pattern, percent + 2);
	return request_ifname_is_valid(name);
}

static int parse_device_id(struct request *req, struct cni_error *error)
{
	json_t *runtime = NULL;
	int r;

	r = take_object(req->root, "runtimeConfig", &runtime, error);
	if (r == 0 && runtime)
		r = take_string(runtime, "deviceID", &req->device_id, error);
	if (r == 0 && !req->device_id)
		r = take_string(req->root, "deviceID", &req->device_id, error);
	if (r == 0 && !req->device_id)
		r = take_string(req->root, "pciBusID", &req->device_id, error);
	return r;
}

static int parse_ipam(struct request *req, struct cni_error *error)
{
	const char *type = NULL;
	int r;

	r = take_object(req->root, "ipam", &req->ipam, error);
	if (r < 0 || !req->ipam)
		return r;
	if (json_object_size(req->ipam) == 0) { /* as the reference plugins: {} is none */
		req->ipam = NULL;
		return 0;
	}
	r = take_string(req->ipam, "type", &type, error);
	if (r < 0)
		return r;
	if (!type || strchr(type, '/') || strcmp(type, ".") == 0 || strcmp(type, "..") == 0)
		return cni_error_set(error, CNI_ERR_CONFIG, 0,
				     "'ipam' needs a 'type': the name of a plugin, without a slash");
	return 0;
}

static int parse_mode(struct request *req, struct cni_error *error)
{
	const json_t *allow = json_object_get(req->root, "allowShared");
	const char *mode = "nic";

	if (allow && !json_is_null(allow) && !json_is_boolean(allow))
		return cni_error_set(error, CNI_ERR_CONFIG, 0, "'allowShared' must be true or false");
	req->allow_shared = json_is_true(allow);
	if (take_string(req->root, "mode", &mode, error) < 0)
		return CNI_FAILED;
	req->soft = strcmp(mode, "soft") == 0;
	if (!req->soft && strcmp(mode, "nic") != 0)
		return cni_error_set(
			error, CNI_ERR_CONFIG, 0,
			"'mode' must be nic (the pod gets NICs) or soft (a Soft-RoCE link on its "
			"interface), not '%.32s'",
			mode);
	if (req->soft && req->ipam)
		return cni_error_set(error, CNI_ERR_CONFIG, 0,
				     "'ipam' has no meaning in mode soft: the interface has its addresses");
	return 0;
}

static int parse_config(struct request *req, struct cni_error *error)
{
	json_t *attachments = json_object_get(req->root, "cni.dev/valid-attachments");
	json_t *root = req->root;
	int r;

	req->network = "";
	req->resource = DEFAULT_RESOURCE;
	req->pod_ifname = DEFAULT_IFNAME;
	if ((r = take_string(root, "name", &req->network, error)) < 0 ||
	    (r = take_string(root, "resourceName", &req->resource, error)) < 0 ||
	    (r = take_string(root, "ifName", &req->pod_ifname, error)) < 0 ||
	    (r = take_path(root, "podResources", DEFAULT_POD_RESOURCES, &req->pod_resources, error)) < 0 ||
	    (r = take_path(root, "pairs", DEFAULT_PAIRS, &req->pairs, error)) < 0 ||
	    (r = take_path(root, "stateDir", DEFAULT_STATE_DIR, &req->state_dir, error)) < 0 ||
	    (r = take_timeouts(req, error)) < 0 ||
	    (r = take_object(root, "prevResult", &req->prev_result, error)) < 0 ||
	    (r = parse_ipam(req, error)) < 0 || (r = parse_device_id(req, error)) < 0 ||
	    (r = parse_mode(req, error)) < 0)
		return r;
	req->names_resource = json_is_string(json_object_get(root, "resourceName"));
	if (!pattern_is_valid(req->pod_ifname))
		return cni_error_set(error, CNI_ERR_CONFIG, 0,
				     "'ifName' must be an interface name with one %%d, such as rdma%%d");
	if (attachments && !json_is_null(attachments)) {
		if (!json_is_array(attachments))
			return cni_error_set(error, CNI_ERR_CONFIG, 0,
					     "'cni.dev/valid-attachments' must be a list");
		req->attachments = attachments;
	}
	return 0;
}

bool request_is_for_pod(const struct request *req)
{
	return req->pod_namespace[0] || req->pod_name[0];
}

/* Below one of the folders, and not out of it again. */
static bool is_trusted(const char *path, const char *folders)
{
	bool found = false;

	while (folders && *folders && !found) {
		size_t len = strcspn(folders, ":");

		found = len > 0 && strncmp(path, folders, len) == 0 && path[len] == '/';
		folders += len + (folders[len] == ':');
	}
	return found && !strstr(path, "/..");
}

/*
 * These three say whose a NIC is, and the configuration may be the text of somebody who has no say in that: of a
 * NetworkAttachmentDefinition, with the path of a file or socket in his own pod. An ADD is refused; for the other
 * verbs, DEL above all, the default stands, where all is that such an ADD can have left.
 */
static int check_paths(struct request *req, const char *trusted, struct cni_error *error)
{
	const struct {
		const char *key, *def, **path;
	} keys[] = {
		{ "podResources", DEFAULT_POD_RESOURCES, &req->pod_resources },
		{ "pairs", DEFAULT_PAIRS, &req->pairs },
		{ "stateDir", DEFAULT_STATE_DIR, &req->state_dir },
	};

	if (!request_is_for_pod(req))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(*keys[i].path, keys[i].def) == 0 || is_trusted(*keys[i].path, trusted))
			continue;
		if (req->command == REQUEST_ADD) {
			cni_error_set(
				error, CNI_ERR_CONFIG, 0,
				"'%s' is %.128s: for a pod the node says where that is, not the configuration",
				keys[i].key, *keys[i].path);
			return cni_error_explain(
				error,
				"take '%s' out of the configuration; if this node has it elsewhere, make a symbolic link of "
				"%s, or name the folder in CNI_RDMA_TRUSTED_PATHS of the container runtime's environment",
				keys[i].key, keys[i].def);
		}
		*keys[i].path = keys[i].def;
	}
	return 0;
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	}
	return NULL;
}

static int parse_input(struct request *req, const char *input, size_t len, struct cni_error *error)
{
	const char *version;
	json_error_t why;
	int r;

	r = jsontext_parse(input, len, JSON_REJECT_DUPLICATES, &req->root, &why);
	if (r == -ENOMEM)
		return cni_error_set(error, CNI_ERR_TRY_AGAIN, r, "cannot read the configuration");
	if (r < 0)
		return cni_error_set(error, CNI_ERR_DECODE, 0, "configuration, line %d: %s", why.line,
				     why.text);
	if (!json_is_object(req->root))
		return cni_error_set(error, CNI_ERR_DECODE, 0, "the configuration is no object");
	version = json_string_value(json_object_get(req->root, "cniVersion"));
	if (version)
		req->version_text = version;
	return 0;
}

int request_parse(struct request *req, const struct request_env *env, const char *input, size_t len,
		  struct cni_error *error)
{
	const struct verb *verb;
	int r;

	*req = (struct request){ .version_text = "" };
	if (!is_set(env->command))
		return cni_error_set(error, CNI_ERR_ENVIRONMENT, 0, "CNI_COMMAND is not set");
	verb = find_verb(env->command);
	if (!verb)
		return cni_error_set(error, CNI_ERR_ENVIRONMENT, 0,
				     "CNI_COMMAND is '%.32s', not one of ADD, DEL, CHECK, "
				     "STATUS, GC, VERSION",
				     env->command);
	req->command = verb->command;
	/* VERSION says what we can, whoever asks, also with nothing on standard input. */
	if (verb->command == REQUEST_VERSION && len == 0)
		return 0;
	r = parse_input(req, input, len, error);
	if (r < 0 || verb->command == REQUEST_VERSION)
		return r;
	r = check_env(req, verb, env, error);
	if (r < 0)
		return r;
	if (cni_version_parse(req->version_text, &req->version) < 0)
		return cni_error_set(error, CNI_ERR_VERSION, 0, "cniVersion '%.32s' is not supported",
				     req->version_text);
	if (req->version < verb->since)
		return cni_error_set(error, CNI_ERR_VERSION, 0,
				     "%s does not exist in cniVersion %s, but from %s on", verb->name,
				     req->version_text, cni_version_text(verb->since));
	r = parse_args(req, env->args, error);
	if (r == 0)
		r = parse_config(req, error);
	return r < 0 ? r : check_paths(req, env->trusted_paths, error);
}

void request_done(struct request *req)
{
	json_decref(req->root);
	req->root = NULL;
}
