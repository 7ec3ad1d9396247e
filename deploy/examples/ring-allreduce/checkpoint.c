// SPDX-License-Identifier: Apache-2.0
#include "checkpoint.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "base/log.h"
#include "base/num.h"
#include "digest.h"

#define MAGIC "GP2PRING"
#define NAME_SIZE 64
#define FILE_MODE 0640

/* Little-endian in the file. */
struct header {
	char magic[8];
	uint32_t version;
	uint32_t size; /* of this header */
	uint64_t config;
	uint64_t step;
	uint64_t count;
	uint64_t weights; /* digest of the numbers */
	uint64_t pad;
	uint64_t self; /* digest of all above */
};
_Static_assert(sizeof(struct header) == CHECKPOINT_HEADER, "the file's layout");

static void weights_swap(uint32_t *to, const float *from, size_t count)
{
	memcpy(to, from, count * sizeof(float));
	for (size_t i = 0; i < count; i++)
		to[i] = htole32(to[i]);
}

uint64_t checkpoint_digest(const float *weights, size_t count)
{
	uint64_t digest = DIGEST_EMPTY;

	for (size_t i = 0; i < count; i++) {
		uint32_t word;

		weights_swap(&word, weights + i, 1);
		digest = digest_add(digest, &word, sizeof(word));
	}
	return digest;
}

void checkpoint_header(uint8_t header[CHECKPOINT_HEADER], uint64_t config, uint64_t step,
		       const float *weights, size_t count)
{
	struct header h = {
		.version = htole32(CHECKPOINT_VERSION),
		.size = htole32(sizeof(h)),
		.config = htole64(config),
		.step = htole64(step),
		.count = htole64(count),
		.weights = htole64(checkpoint_digest(weights, count)),
	};

	memcpy(h.magic, MAGIC, sizeof(h.magic));
	h.self = htole64(digest_of(&h, offsetof(struct header, self)));
	memcpy(header, &h, sizeof(h));
}

static int refuse(char *why, int error, const char *text)
{
	(void)snprintf(why, CHECKPOINT_WHY_SIZE, "%s", text);
	return error;
}

int checkpoint_parse(const uint8_t *bytes, size_t size, uint64_t config, size_t count, struct checkpoint *ret,
		     float *weights, char why[CHECKPOINT_WHY_SIZE])
{
	struct header h;

	if (size < sizeof(h))
		return refuse(why, -EBADMSG, "it is torn: not even its header is whole");
	memcpy(&h, bytes, sizeof(h));
	if (memcmp(h.magic, MAGIC, sizeof(h.magic)) != 0)
		return refuse(why, -EXDEV, "it is no checkpoint of ring-allreduce");
	/* Before the digest: the next version may have another header. */
	if (le32toh(h.version) != CHECKPOINT_VERSION) {
		(void)snprintf(why, CHECKPOINT_WHY_SIZE,
			       "it is of version %" PRIu32 ", and this program knows version %d only",
			       le32toh(h.version), CHECKPOINT_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (le32toh(h.size) != sizeof(h) || le64toh(h.self) != digest_of(&h, offsetof(struct header, self)))
		return refuse(why, -EBADMSG, "its header is damaged");
	if (le64toh(h.config) != config || le64toh(h.count) != count)
		return refuse(why, -EXDEV,
			      "it is of another training: seed, batch, hidden units or rate differ");
	if ((size - sizeof(h)) / sizeof(float) != count || (size - sizeof(h)) % sizeof(float))
		return refuse(why, -EBADMSG, "it is torn: there are not as many weights as it says");
	if (digest_of(bytes + sizeof(h), size - sizeof(h)) != le64toh(h.weights))
		return refuse(why, -EBADMSG, "its weights are damaged");
	for (size_t i = 0; weights && i < count; i++) {
		uint32_t word;

		memcpy(&word, bytes + sizeof(h) + i * sizeof(word), sizeof(word));
		word = le32toh(word);
		memcpy(weights + i, &word, sizeof(word));
	}
	*ret = (struct checkpoint){ .step = le64toh(h.step), .digest = le64toh(h.weights) };
	return 0;
}

/* --- names ------------------------------------------------------------------- */

static void name_of(char name[NAME_SIZE], unsigned rank, uint64_t step)
{
	(void)snprintf(name, NAME_SIZE, "rank-%04u-step-%012" PRIu64 ".ckpt", rank, step);
}

/* True for names that name_of() gives. */
static bool name_parse(const char *name, unsigned *ret_rank, uint64_t *ret_step)
{
	char again[NAME_SIZE], digits[16];
	uint64_t rank, step;

	if (strlen(name) != strlen("rank-0000-step-000000000000.ckpt") || strncmp(name, "rank-", 5) != 0)
		return false;
	(void)snprintf(digits, sizeof(digits), "%.4s", name + 5);
	if (num_parse_u64(digits, 0, 9999, &rank) < 0)
		return false;
	(void)snprintf(digits, sizeof(digits), "%.12s", name + 15);
	if (num_parse_u64(digits, 1, UINT64_C(999999999999), &step) < 0)
		return false;
	name_of(again, (unsigned)rank, step);
	*ret_rank = (unsigned)rank;
	*ret_step = step;
	return strcmp(name, again) == 0;
}

/* --- files ------------------------------------------------------------------- */

static void remove_old(int dirfd, unsigned rank)
{
	_cleanup_closedir_ DIR *dir = NULL;
	uint64_t newest[CHECKPOINT_KEEP] = { 0 }, step;
	struct dirent *entry;
	unsigned whose;

	if (fileio_opendir(dirfd, ".", &dir) < 0)
		return;
	while ((entry = readdir(dir))) {
		if (!name_parse(entry->d_name, &whose, &step) || whose != rank)
			continue;
		for (size_t i = 0; i < CHECKPOINT_KEEP; i++) {
			uint64_t other = newest[i];

			if (step <= other)
				continue;
			newest[i] = step;
			step = other;
		}
		if (step > 0) {
			char name[NAME_SIZE];

			name_of(name, rank, step);
			(void)unlinkat(dirfd, name, 0);
		}
	}
}

int checkpoint_write(int dirfd, unsigned rank, uint64_t config, uint64_t step, const float *weights,
		     size_t count)
{
	const size_t size = CHECKPOINT_HEADER + count * sizeof(float);
	_cleanup_free_ uint8_t *bytes = malloc(size);
	char name[NAME_SIZE];
	int r;

	if (!bytes)
		return -ENOMEM;
	checkpoint_header(bytes, config, step, weights, count);
	weights_swap((uint32_t *)(void *)(bytes + CHECKPOINT_HEADER), weights, count);
	name_of(name, rank, step);
	r = fileio_write_atomic(dirfd, name, bytes, size, FILE_MODE);
	if (r < 0)
		return r;
	remove_old(dirfd, rank);
	return 0;
}

static int file_read(int dirfd, const char *name, uint64_t config, size_t count, struct checkpoint *ret,
		     float *weights, char why[CHECKPOINT_WHY_SIZE])
{
	_cleanup_free_ char *bytes = NULL;
	size_t size;
	int r;

	/* One more than it may have, so that too long is told from damaged. */
	r = fileio_read(dirfd, name, CHECKPOINT_HEADER + (count + 1) * sizeof(float), &bytes, &size);
	if (r == -EMSGSIZE)
		return refuse(why, -EXDEV, "it is larger than a checkpoint of this training is");
	if (r < 0)
		return refuse(why, r, strerrordesc_np(-r));
	return checkpoint_parse((const uint8_t *)bytes, size, config, count, ret, weights, why);
}

static bool set_has(const struct checkpoint_set *set, const struct checkpoint *wanted)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->item[i].step == wanted->step && set->item[i].digest == wanted->digest)
			return true;
	return false;
}

/* Keeps the newest; of one step the file that was read first. */
static void set_add(struct checkpoint_set *set, const struct checkpoint *item)
{
	size_t at = 0;

	while (at < set->n && set->item[at].step > item->step)
		at++;
	if (at == CHECKPOINT_OFFER || (at < set->n && set->item[at].step == item->step))
		return;
	if (set->n < CHECKPOINT_OFFER)
		set->n++;
	memmove(&set->item[at + 1], &set->item[at], (set->n - at - 1) * sizeof(set->item[0]));
	set->item[at] = *item;
}

int checkpoint_scan(int dirfd, unsigned rank, uint64_t config, size_t count, struct checkpoint_set *ret)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct checkpoint_set set = { .n = 0 };
	struct dirent *entry;
	int r;

	r = fileio_opendir(dirfd, ".", &dir);
	if (r < 0)
		return r;
	while ((entry = readdir(dir))) {
		char why[CHECKPOINT_WHY_SIZE], leftover[NAME_SIZE];
		const char *name = entry->d_name;
		struct checkpoint found;
		unsigned whose;
		uint64_t step;

		/* ".NAME.DIGITS": of a writer that was killed. */
		if (name[0] == '.') {
			(void)snprintf(leftover, sizeof(leftover), "%.32s", name + 1);
			if (name_parse(leftover, &whose, &step) && whose == rank)
				fileio_remove_leftovers(dirfd, leftover);
			continue;
		}
		if (!name_parse(name, &whose, &step))
			continue;
		r = file_read(dirfd, name, config, count, &found, NULL, why);
		if (r == 0 && found.step != step)
			r = refuse(why, -EBADMSG, "its name and its content differ in the step");
		if (r == -ENOENT)
			continue; /* its writer had a newer one meanwhile */
		if (r < 0)
			log_warning("checkpoint %s is not used: %s", name, why);
		else
			set_add(&set, &found);
	}
	*ret = set;
	return 0;
}

int checkpoint_read(int dirfd, uint64_t config, const struct checkpoint *wanted, float *weights, size_t count)
{
	_cleanup_closedir_ DIR *dir = NULL;
	_cleanup_free_ float *got = calloc(count, sizeof(float));
	struct dirent *entry;
	int r;

	if (!got)
		return -ENOMEM;
	r = fileio_opendir(dirfd, ".", &dir);
	if (r < 0)
		return r;
	while ((entry = readdir(dir))) {
		char why[CHECKPOINT_WHY_SIZE];
		struct checkpoint found;
		unsigned whose;
		uint64_t step;

		if (!name_parse(entry->d_name, &whose, &step) || step != wanted->step)
			continue;
		r = file_read(dirfd, entry->d_name, config, count, &found, got, why);
		if (r == 0 && found.step == wanted->step && found.digest == wanted->digest) {
			memcpy(weights, got, count * sizeof(float));
			return 0;
		}
	}
	return -ENOENT;
}

void checkpoint_set_cut(struct checkpoint_set *set, const struct checkpoint_set *other)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++)
		if (set_has(other, &set->item[i]))
			set->item[n++] = set->item[i];
	set->n = n;
}
