// SPDX-License-Identifier: Apache-2.0
#include "pairs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"
#include "json/jsontext.h"

static int why_not(char *why, size_t size, int error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int why_not(char *why, size_t size, int error, const char *format, ...)
{
	va_list args;

	if (why && size > 0) {
		va_start(args, format);
		(void)vsnprintf(why, size, format, args);
		va_end(args);
	}
	return error;
}

static bool text_is_name(const char *text, size_t max)
{
	size_t n = strlen(text);

	if (n == 0 || n >= max || text[0] == '.' || text[0] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("._:-", text[i]))
			return false;
	return true;
}

bool pairs_id_is_valid(const char *id)
{
	return text_is_name(id, sizeof(((struct pairs_pair *)0)->gaudi));
}

bool pairs_name_is_valid(const char *name)
{
	/* Longer than text_is_name() on purpose: interface names may hold '@' or '+'. */
	size_t n = strlen(name);

	if (n == 0 || n >= sizeof(((struct pairs_nic *)0)->rdma) || name[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++)
		if (name[i] == '/' || name[i] == '"' || name[i] == '\\' || !isgraph((unsigned char)name[i]))
			return false;
	return true;
}

static bool nic_is_valid(const struct pairs_nic *nic)
{
	return text_is_name(nic->pci, sizeof(nic->pci)) && pairs_name_is_valid(nic->rdma) &&
	       (!nic->netdev[0] || pairs_name_is_valid(nic->netdev)) &&
	       (!nic->uverbs[0] || text_is_name(nic->uverbs, sizeof(nic->uverbs))) &&
	       (!nic->node_guid[0] || text_is_name(nic->node_guid, sizeof(nic->node_guid)));
}

bool pairs_mode_is_valid(const char *mode)
{
	return strcmp(mode, "paired") == 0 || strcmp(mode, "separate") == 0 || strcmp(mode, "none") == 0;
}

void pairs_free(struct pairs *p)
{
	if (!p)
		return;
	free(p->pair);
	free(p);
}

struct pairs *pairs_new(const char *mode)
{
	struct pairs *p;

	if (!pairs_mode_is_valid(mode))
		return NULL;
	p = calloc(1, sizeof(*p));
	if (p)
		strcpy(p->mode, mode);
	return p;
}

/* Where the pair of this Gaudi is, or would be. */
static size_t pairs_index(const struct pairs *p, const char *gaudi_id)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(p->pair[middle].gaudi, gaudi_id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct pairs_pair *pairs_find(const struct pairs *p, const char *gaudi_id)
{
	size_t i = pairs_index(p, gaudi_id);

	return i < p->n && strcmp(p->pair[i].gaudi, gaudi_id) == 0 ? &p->pair[i] : NULL;
}

const struct pairs_pair *pairs_find_nic(const struct pairs *p, const char *pci)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->pair[i].has_nic && strcmp(p->pair[i].nic.pci, pci) == 0)
			return &p->pair[i];
	return NULL;
}

const struct pairs_pair *pairs_find_rdma(const struct pairs *p, const char *rdma)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->pair[i].has_nic && strcmp(p->pair[i].nic.rdma, rdma) == 0)
			return &p->pair[i];
	return NULL;
}

int pairs_add(struct pairs *p, const char *gaudi_id, const struct pairs_nic *nic)
{
	struct pairs_pair *grown;
	size_t i;

	if (!pairs_id_is_valid(gaudi_id) || (nic && !nic_is_valid(nic)))
		return -EINVAL;
	if (pairs_find(p, gaudi_id) || (nic && pairs_find_nic(p, nic->pci)))
		return -EEXIST;
	if (p->n >= PAIRS_MAX)
		return -EFBIG;
	grown = reallocarray(p->pair, p->n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	p->pair = grown;
	i = pairs_index(p, gaudi_id);
	grown = &p->pair[i];
	memmove(grown + 1, grown, (p->n++ - i) * sizeof(*grown));
	memset(grown, 0, sizeof(*grown));
	strcpy(grown->gaudi, gaudi_id);
	if (nic) {
		grown->has_nic = true;
		grown->nic = *nic;
	}
	return 0;
}

static bool pair_equal(const struct pairs_pair *a, const struct pairs_pair *b)
{
	return strcmp(a->gaudi, b->gaudi) == 0 && a->has_nic == b->has_nic &&
	       strcmp(a->nic.pci, b->nic.pci) == 0 && strcmp(a->nic.rdma, b->nic.rdma) == 0 &&
	       strcmp(a->nic.netdev, b->nic.netdev) == 0 && strcmp(a->nic.uverbs, b->nic.uverbs) == 0 &&
	       strcmp(a->nic.node_guid, b->nic.node_guid) == 0;
}

bool pairs_equal(const struct pairs *a, const struct pairs *b)
{
	if (strcmp(a->mode, b->mode) != 0 || a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!pair_equal(&a->pair[i], &b->pair[i]))
			return false;
	return true;
}

/* Copies a string member into a field of that size; an absent one is "" unless it is needed. */
static int get_text(const json_t *object, const char *key, bool needed, char *field, size_t size, char *why,
		    size_t why_size)
{
	const json_t *value = json_object_get(object, key);
	size_t len;

	if (!value && !needed) {
		field[0] = '\0';
		return 0;
	}
	if (!json_is_string(value))
		return why_not(why, why_size, -EBADMSG, "\"%s\" is %s", key,
			       value ? "not a string" : "missing");
	len = json_string_length(value);
	if (len >= size || memchr(json_string_value(value), '\0', len))
		return why_not(why, why_size, -EBADMSG, "\"%s\" is too long or holds a zero byte", key);
	if (needed && len == 0)
		return why_not(why, why_size, -EBADMSG, "\"%s\" is empty", key);
	memcpy(field, json_string_value(value), len + 1);
	return 0;
}

static int parse_nic(const json_t *object, struct pairs_nic *nic, char *why, size_t size)
{
	const struct {
		const char *key;
		bool needed;
		char *field;
		size_t size;
	} fields[] = {
		{ "pci", true, nic->pci, sizeof(nic->pci) },
		{ "rdma", true, nic->rdma, sizeof(nic->rdma) },
		{ "netdev", false, nic->netdev, sizeof(nic->netdev) },
		{ "uverbs", false, nic->uverbs, sizeof(nic->uverbs) },
		{ "node_guid", false, nic->node_guid, sizeof(nic->node_guid) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		int r = get_text(object, fields[i].key, fields[i].needed, fields[i].field, fields[i].size,
				 why, size);

		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_pair(struct pairs *p, const json_t *object, size_t index, char *why, size_t size)
{
	char id[sizeof(((struct pairs_pair *)0)->gaudi)];
	struct pairs_nic nic = {};
	const json_t *value;
	int r;

	if (!json_is_object(object))
		return why_not(why, size, -EBADMSG, "entry %zu of \"pairs\" is not an object", index);
	r = get_text(object, "gaudi", true, id, sizeof(id), why, size);
	if (r < 0)
		return r;
	value = json_object_get(object, "nic");
	if (!value)
		return why_not(why, size, -EBADMSG, "\"nic\" of %s is missing", id);
	if (json_is_null(value)) {
		r = pairs_add(p, id, NULL);
	} else if (json_is_object(value)) {
		r = parse_nic(value, &nic, why, size);
		if (r < 0)
			return r;
		r = pairs_add(p, id, &nic);
	} else {
		return why_not(why, size, -EBADMSG, "\"nic\" of %s is neither an object nor null", id);
	}
	if (r == -EINVAL)
		return why_not(why, size, -EBADMSG, "entry %zu of \"pairs\" holds an impossible id or name",
			       index);
	if (r == -EEXIST)
		return why_not(why, size, -EBADMSG,
			       "entry %zu of \"pairs\" names a Gaudi or NIC that an earlier one has", index);
	return r < 0 ? why_not(why, size, r, "entry %zu of \"pairs\": %s", index, strerror(-r)) : 0;
}

static int check_version(const json_t *root, char *why, size_t size)
{
	const json_t *version = json_object_get(root, "version");

	if (!json_is_integer(version))
		return why_not(why, size, -EBADMSG,
			       "\"version\" is missing or not a number: not a pairing file");
	if (json_integer_value(version) == PAIRS_VERSION)
		return 0;
	return why_not(why, size, -EPROTONOSUPPORT,
		       "version %" JSON_INTEGER_FORMAT " is unknown, this program knows %d",
		       json_integer_value(version), PAIRS_VERSION);
}

int pairs_parse(const char *text, size_t len, struct pairs **ret, char *why, size_t size)
{
	_cleanup_(pairs_freep) struct pairs *p = NULL;
	json_auto_t *root = NULL;
	char mode[sizeof(p->mode)];
	const json_t *list;
	json_error_t error;
	int r;

	if (len > PAIRS_MAX_BYTES)
		return why_not(why, size, -EFBIG, "more than %d bytes", PAIRS_MAX_BYTES);
	r = jsontext_parse(text, len, JSON_REJECT_DUPLICATES, &root, &error);
	if (r < 0) {
		jsontext_explain(r, &error, why, size);
		return r;
	}
	if (!json_is_object(root))
		return why_not(why, size, -EBADMSG, "not a JSON object");
	r = check_version(root, why, size);
	if (r < 0)
		return r;
	r = get_text(root, "mode", true, mode, sizeof(mode), why, size);
	if (r < 0)
		return r;
	if (!pairs_mode_is_valid(mode))
		return why_not(why, size, -EBADMSG, "\"mode\" is none of paired, separate, none");
	p = pairs_new(mode);
	if (!p)
		return -ENOMEM;
	list = json_object_get(root, "pairs");
	if (!json_is_array(list))
		return why_not(why, size, -EBADMSG, "\"pairs\" is missing or not a list");
	if (json_array_size(list) > PAIRS_MAX)
		return why_not(why, size, -EFBIG, "more than %d pairs", PAIRS_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		r = parse_pair(p, json_array_get(list, i), i, why, size);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(p);
	return 0;
}

int pairs_load(const char *path, struct pairs **ret, char *why, size_t size)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len;
	int r;

	if (stat(path, &st) < 0) {
		r = negative_errno();
		return why_not(why, size, r, "%s", strerror(-r));
	}
	if (!S_ISREG(st.st_mode)) /* a FIFO would hold the reader for ever */
		return why_not(why, size, -EBADMSG, "not a regular file");
	r = fileio_read(AT_FDCWD, path, PAIRS_MAX_BYTES, &text, &len);
	if (r == -EMSGSIZE)
		return why_not(why, size, -EFBIG, "more than %d bytes", PAIRS_MAX_BYTES);
	if (r < 0)
		return why_not(why, size, r, "%s", strerror(-r));
	return pairs_parse(text, len, ret, why, size);
}

static json_t *nic_to_json(const struct pairs_nic *nic)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "pci", nic->pci, "rdma", nic->rdma, "netdev",
			 nic->netdev, "uverbs", nic->uverbs, "node_guid", nic->node_guid);
}

char *pairs_format(const struct pairs *p)
{
	json_auto_t *list = json_array();
	json_auto_t *root = NULL;
	char *text;

	for (size_t i = 0; i < p->n; i++) {
		const struct pairs_pair *pair = &p->pair[i];

		/* The _new functions take the reference also when they fail, and refuse NULL. */
		if (json_array_append_new(
			    list, json_pack("{s:s, s:o}", "gaudi", pair->gaudi, "nic",
					    pair->has_nic ? nic_to_json(&pair->nic) : json_null())) < 0)
			return NULL;
	}
	root = json_pack("{s:i, s:s, s:O}", "version", PAIRS_VERSION, "mode", p->mode, "pairs", list);
	text = jsontext_format(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	return text;
}

int pairs_save(const char *path, const struct pairs *p)
{
	_cleanup_free_ char *text = pairs_format(p);
	_cleanup_free_ char *present = NULL;
	size_t len;

	if (!text)
		return -ENOMEM;
	/* Rewriting the same bytes on every scan would wear the disk for nothing. */
	if (fileio_read(AT_FDCWD, path, PAIRS_MAX_BYTES, &present, &len) == 0 && len == strlen(text) &&
	    memcmp(present, text, len) == 0)
		return 0;
	return fileio_write_atomic(AT_FDCWD, path, text, strlen(text), 0644);
}
