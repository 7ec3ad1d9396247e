// SPDX-License-Identifier: Apache-2.0
#include "replace.h"

#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "base/log.h"
#include "cards.h"
#include "words.h"

static struct loader_held *find_held(struct loader *loader, const char *card)
{
	for (size_t i = 0; i < loader->n_held; i++)
		if (strcmp(loader->held[i].card, card) == 0)
			return &loader->held[i];
	return NULL;
}

static void let_go(struct loader *loader, struct loader_held *held)
{
	closep(&held->fd);
	*held = loader->held[--loader->n_held];
}

void loader_done(struct loader *loader)
{
	while (loader->n_held > 0)
		let_go(loader, &loader->held[0]);
}

/* Whether it is ours now. */
static bool take(struct loader *loader, const struct card *card)
{
	struct loader_held *held = &loader->held[loader->n_held];
	char path[PATH_MAX];
	int fd;

	if (loader->n_held == ARRAY_SIZE(loader->held))
		return false;
	(void)snprintf(path, sizeof(path), "dev/accel/%s", card->name);
	fd = loader->sys->open_card(loader->root, path);
	if (fd < 0) {
		/* Somebody was faster: then the next look shows him. */
		if (fd != -EBUSY)
			log_warning_errno(fd,
					  "cannot hold the free card %s (/%s): a pod may still be given it",
					  card->device, path);
		return false;
	}
	*held = (struct loader_held){ .fd = fd, .since_ms = loader->sys->now_ms() };
	(void)snprintf(held->card, sizeof(held->card), "%s", card->name);
	loader->n_held++;
	log_info("holding %s, which is free, so that no pod is given it", card->device);
	return true;
}

/* A card that went away (pulled, or unbound) keeps its name from nobody. */
static void forget_gone(struct loader *loader, const struct cards *cards)
{
	for (size_t i = loader->n_held; i-- > 0;) {
		bool there = false;

		for (size_t k = 0; k < cards->n; k++)
			there = there || strcmp(cards->list[k].name, loader->held[i].card) == 0;
		if (!there)
			let_go(loader, &loader->held[i]);
	}
}

/* Whether nobody but us has it. A lost card has no lease; binding it to another driver scrubs it, or finds it lost again. */
static bool is_ours(struct loader *loader, const struct card *card, const char *pod)
{
	struct loader_held *held = find_held(loader, card->name);

	if (pod) {
		if (held) {
			log_info("letting go of %s: the kubelet has given it to pod %s", card->device, pod);
			let_go(loader, held);
		}
		return false;
	}
	/* Its lease ends under us with a reset, or when it is lost. */
	if (held && strcmp(card->state, "owned") != 0) {
		let_go(loader, held);
		held = NULL;
	}
	if (held || strcmp(card->state, "lost") == 0)
		return true;
	return strcmp(card->state, "free") == 0 && take(loader, card);
}

/* The names of those that are waited for, into text; how many. */
static size_t look_at(struct loader *loader, const struct cards *cards, const struct loader_grants *grants,
		      char *text, size_t size)
{
	size_t busy = 0;

	text[0] = '\0';
	for (size_t i = 0; i < cards->n; i++) {
		const char *pod = cards_pod(&cards->list[i], grants);
		char one[512];

		if (is_ours(loader, &cards->list[i], pod))
			continue;
		cards_describe(&cards->list[i], pod, one, sizeof(one));
		words_append(text, size, "%s%s", busy++ ? "; " : "", one);
	}
	return busy;
}

/* Without a kubelet nobody but a process can have a card, and that the kernel knows. */
static bool is_settled(const struct loader *loader)
{
	uint64_t now = loader->sys->now_ms();

	if (!loader->pod_resources)
		return true;
	for (size_t i = 0; i < loader->n_held; i++)
		if (now - loader->held[i].since_ms < LOADER_SETTLE_MS)
			return false;
	return true;
}

static void name_users(const struct loader *loader, char *text, size_t size)
{
	_cleanup_closedir_ DIR *dir = NULL;
	char count[32] = "?";
	struct dirent *entry;

	(void)fileio_read_attr(loader->root, "sys/module/" LOADER_MODULE "/refcnt", count, sizeof(count));
	(void)snprintf(text, size, "%s reference(s)", count);
	if (fileio_opendir(loader->root, "sys/module/" LOADER_MODULE "/holders", &dir) < 0)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			words_append(text, size, ", module %s", entry->d_name);
}

static bool unload(struct loader *loader, const char *why, struct report *report)
{
	char users[256];
	int r;

	/* Each open card holds the module. Who opens one from here on makes the kernel refuse, and we begin again. */
	loader_done(loader);
	r = loader->sys->unload(LOADER_MODULE);
	if (r == 0 || r == -ENOENT) {
		log_info("unloaded " LOADER_MODULE ": no Gaudi was in use");
		return true;
	}
	name_users(loader, users, sizeof(users));
	if (r == -EWOULDBLOCK || r == -EBUSY)
		return report_end(
			report, REPORT_IN_USE,
			"%s when nothing uses it; all cards are free, but the module is still used (%s): a card that was just opened, "
			"an importer that has not let go, or a dma-buf in some process' hands",
			why, users);
	return report_end(
		report, REPORT_FAILED, "cannot unload " LOADER_MODULE ": %s (%s)%s", strerror(-r), users,
		r == -EPERM ? "; this needs CAP_SYS_MODULE, and kernel.modules_disabled must be 0" : "");
}

static bool ask_kubelet(const struct loader *loader, struct loader_grants *grants, struct report *report)
{
	int r = loader->pod_resources ? loader->sys->grants(loader->pod_resources, grants) : 0;

	if (r < 0)
		return report_end(
			report, REPORT_WAIT,
			"cannot ask the kubelet which pods have Gaudis (%s): %s; until it answers the driver stays as it is. On a node "
			"without a kubelet say --pod-resources=none",
			loader->pod_resources, strerror(-r));
	return true;
}

bool replace_wait(struct loader *loader, const char *why, struct report *report)
{
	struct loader_grants grants = { 0 };
	_cleanup_free_ struct loader_grant *list = NULL;
	_cleanup_free_ struct cards *cards = calloc(1, sizeof(*cards));
	char waiting[REPORT_TEXT_MAX / 2];
	size_t busy;
	int r;

	if (!cards)
		return report_broken(report, -ENOMEM, "read", "sys/class/accel");
	if (!ask_kubelet(loader, &grants, report))
		return false;
	list = grants.list;
	r = cards_load(loader->root, cards);
	if (r < 0)
		return report_broken(report, r, "read", "sys/class/accel");
	forget_gone(loader, cards);
	busy = look_at(loader, cards, &grants, waiting, sizeof(waiting));
	if (busy > 0)
		return report_end(report, REPORT_IN_USE, "%s when no Gaudi is in use; %zu of %zu %s: %s", why,
				  busy, cards->n, busy == 1 ? "is" : "are", waiting);
	if (!is_settled(loader))
		return report_end(
			report, REPORT_IN_USE,
			"%s within some seconds: no Gaudi is in use, and the kubelet is being shown that none can be had",
			why);
	return true;
}

bool replace_unload(struct loader *loader, const char *why, struct report *report)
{
	return replace_wait(loader, why, report) && unload(loader, why, report);
}
