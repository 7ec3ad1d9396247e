// SPDX-License-Identifier: Apache-2.0
/* Which Gaudis and NICs the device plugin gave to this container. */
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "p2p.h"

#define ACCEL_PREFIX "/dev/accel/accel"
#define UVERBS_PREFIX "/dev/infiniband/uverbs"

/* Copies len characters of text to node if they are prefix and a number. */
static int node_parse(const char *text, size_t len, const char *prefix, char node[P2P_PATH_SIZE])
{
	char copy[P2P_PATH_SIZE];
	unsigned number;
	int r;

	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	r = num_parse_suffix(copy, prefix, &number);
	if (r < 0)
		return -EINVAL;
	memcpy(node, copy, len + 1);
	return 0;
}

static bool pairs_have(const struct p2p_pair *pairs, size_t n, const char *accel)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(pairs[i].accel, accel) == 0)
			return true;
	return false;
}

int p2p_pairs_parse(const char *text, struct p2p_pair *pairs, size_t max, size_t *ret_n)
{
	size_t n = 0;

	for (;;) {
		size_t len = strcspn(text, ",");
		const char *equals = memchr(text, '=', len);
		size_t accel_len = equals ? (size_t)(equals - text) : len;
		struct p2p_pair pair = { .uverbs = "" };
		int r;

		if (n == max)
			return -E2BIG;
		r = node_parse(text, accel_len, ACCEL_PREFIX, pair.accel);
		if (r < 0)
			return r;
		/* "=" with nothing behind it also says: no partner. */
		if (equals && len > accel_len + 1) {
			r = node_parse(equals + 1, len - accel_len - 1, UVERBS_PREFIX, pair.uverbs);
			if (r < 0)
				return r;
		}
		if (pairs_have(pairs, n, pair.accel))
			return -EINVAL;
		pairs[n++] = pair;
		if (text[len] == '\0')
			break;
		text += len + 1;
	}
	*ret_n = n;
	return 0;
}

/* "0,3": minors, as Habana's own plugin hands them out. */
static int minors_parse(const char *text, struct p2p_pair *pairs, size_t max, size_t *ret_n)
{
	size_t n = 0;

	for (;;) {
		size_t len = strcspn(text, ",");
		char digits[12];
		struct p2p_pair pair = { .uverbs = "" };
		unsigned minor;

		if (n == max)
			return -E2BIG;
		if (len >= sizeof(digits))
			return -EINVAL;
		memcpy(digits, text, len);
		digits[len] = '\0';
		if (num_parse_uint(digits, 0, 1 << 20, &minor) < 0)
			return -EINVAL;
		(void)snprintf(pair.accel, sizeof(pair.accel), ACCEL_PREFIX "%u", minor);
		if (pairs_have(pairs, n, pair.accel))
			return -EINVAL;
		pairs[n++] = pair;
		if (text[len] == '\0')
			break;
		text += len + 1;
	}
	*ret_n = n;
	return 0;
}

int p2p_pairs_from_env(struct p2p_pair *pairs, size_t max, size_t *ret_n)
{
	const char *text = getenv("GAUDI_P2P_PAIRS");

	if (text && *text)
		return p2p_pairs_parse(text, pairs, max, ret_n);
	text = getenv("HABANA_VISIBLE_DEVICES");
	if (text && *text)
		return minors_parse(text, pairs, max, ret_n);
	return -ENOENT;
}

int p2p_open_index(unsigned index, struct p2p_device **ret, struct p2p_pair *ret_pair)
{
	struct p2p_pair pairs[P2P_PAIRS_MAX];
	size_t n;
	int r;

	r = p2p_pairs_from_env(pairs, P2P_PAIRS_MAX, &n);
	if (r < 0)
		return r;
	if (index >= n)
		return -ERANGE;
	r = p2p_open(pairs[index].accel, ret);
	if (r < 0)
		return r;
	if (ret_pair)
		*ret_pair = pairs[index];
	return 0;
}
