// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "ipam.h"
#include "result.h"

/* The list under key, made when missing; NULL: it is something else, or no memory. */
static json_t *list_of(json_t *result, const char *key)
{
	json_t *list = json_object_get(result, key);

	if (!list || json_is_null(list)) {
		list = json_array();
		if (json_object_set_new(result, key, list) < 0)
			return NULL;
	}
	return json_is_array(list) ? list : NULL;
}

json_t *result_new(const struct request *req, struct cni_error *error)
{
	json_auto_t *result = req->prev_result ? json_deep_copy(req->prev_result) : json_object();

	if (!result ||
	    json_object_set_new(result, "cniVersion", json_string(cni_version_text(req->version))) < 0) {
		cni_error_set(error, CNI_ERR_IO, -ENOMEM, "result");
		return NULL;
	}
	if (req->prev_result)
		return json_incref(result);
	if (!list_of(result, "interfaces") || !list_of(result, "ips")) {
		cni_error_set(error, CNI_ERR_IO, -ENOMEM, "result");
		return NULL;
	}
	return json_incref(result);
}

int result_add_interface(json_t *result, const struct request *req, const struct result_interface *interface)
{
	json_auto_t *object = json_object();
	json_t *list = list_of(result, "interfaces");

	if (!list)
		return -EINVAL;
	if (json_object_set_new(object, "name", json_string(interface->name)) < 0 ||
	    json_object_set_new(object, "mac", json_string(interface->mac)) < 0 ||
	    json_object_set_new(object, "sandbox", json_string(req->netns)) < 0)
		return -ENOMEM;
	if (req->version >= CNI_1_1_0 &&
	    (json_object_set_new(object, "mtu", json_integer(interface->mtu)) < 0 ||
	     json_object_set_new(object, "pciID", json_string(interface->pci)) < 0))
		return -ENOMEM;
	if (json_array_append(list, object) < 0)
		return -ENOMEM;
	return (int)json_array_size(list) - 1;
}

static int append_copies(json_t *list, const json_t *from, int interface)
{
	const json_t *item;
	size_t i;

	json_array_foreach(from, i, item) {
		json_t *copy = json_deep_copy(item);

		if (json_is_object(copy) && interface >= 0 &&
		    json_object_set_new(copy, "interface", json_integer(interface)) < 0) {
			json_decref(copy);
			return -ENOMEM;
		}
		if (json_array_append_new(list, copy) < 0)
			return -ENOMEM;
	}
	return 0;
}

int result_add_ipam(json_t *result, const json_t *ipam, int interface, struct cni_error *error)
{
	const json_t *ips = json_object_get(ipam, "ips"), *routes = json_object_get(ipam, "routes");
	json_t *list = list_of(result, "ips");
	int r;

	r = list ? append_copies(list, ips, interface) : -EINVAL;
	if (r == 0 && json_array_size(routes) > 0) {
		list = list_of(result, "routes");
		r = list ? append_copies(list, routes, -1) : -EINVAL;
	}
	if (r == 0 && json_is_object(json_object_get(ipam, "dns")) && !json_object_get(result, "dns") &&
	    json_object_set(result, "dns", json_object_get(ipam, "dns")) < 0)
		r = -ENOMEM;
	return r < 0 ? cni_error_set(error, CNI_ERR_DECODE, r,
				     "cannot add the addresses of IPAM to the result")
		     : 0;
}

int result_find_interface(const json_t *result, const char *name, const json_t **ret)
{
	const json_t *interface;
	size_t i;

	json_array_foreach(json_object_get(result, "interfaces"), i, interface) {
		const char *sandbox = json_string_value(json_object_get(interface, "sandbox"));
		const char *its_name = json_string_value(json_object_get(interface, "name"));

		if (!its_name || strcmp(its_name, name) != 0 || !sandbox || !sandbox[0])
			continue;
		if (ret)
			*ret = interface;
		return (int)i;
	}
	return -1;
}

int result_addresses(const json_t *result, const char *name, struct rtlink_address *addresses, size_t max)
{
	int interface = result_find_interface(result, name, NULL);
	const json_t *ip;
	int n = 0;
	size_t i;

	if (interface < 0)
		return 0;
	json_array_foreach(json_object_get(result, "ips"), i, ip) {
		const json_t *of = json_object_get(ip, "interface");
		const char *text = json_string_value(json_object_get(ip, "address"));

		if (!json_is_integer(of) || json_integer_value(of) != interface)
			continue;
		if (!text || (size_t)n == max || ipam_parse_address(text, &addresses[n++]) < 0)
			return -EINVAL;
	}
	return n;
}
