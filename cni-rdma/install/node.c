// SPDX-License-Identifier: Apache-2.0
#include "node.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"
#include "chain.h"

void node_list_done(struct node_list *list)
{
	free(list->name);
	free(list->path);
	free(list->text);
	json_decref(list->json);
}

int node_list_load(int root, const char *folder, const char *name, struct node_list *ret, char *why,
		   size_t size)
{
	_cleanup_(node_list_done) struct node_list list = { .name = strdup(name) };
	struct stat st;
	size_t len;
	int r;

	if (!list.name || asprintf(&list.path, "%s/%s", folder, name) < 0) {
		list.path = NULL;
		return -ENOMEM;
	}
	if (fstatat(root, list.path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return negative_errno();
	if (!S_ISREG(st.st_mode)) {
		(void)snprintf(why, size,
			       "it is a link or the like, which a new file would take the place of");
		return -EBADMSG;
	}
	list.mode = st.st_mode & 07777;
	r = fileio_read(root, list.path, CHAIN_MAX_BYTES, &list.text, &len);
	if (r == 0)
		r = chain_parse(list.text, len, &list.json, why, size);
	if (r < 0)
		return r;
	*ret = list;
	list = (struct node_list){ 0 };
	return 0;
}
