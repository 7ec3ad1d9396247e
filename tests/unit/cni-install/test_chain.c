// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../cni-rdma/install/chain.h"

#define OURS "{\"type\":\"cni-rdma\"}"

/* What the texts become; NULL: -EBADMSG. */
struct change {
	const char *text, *put, *taken;
};

static const struct change changes[] = {
	{ "{\"plugins\":[{}]}", "{\"plugins\":[{},\n    " OURS "]}", NULL },
	/* Only the key of the outermost object counts. */
	{ "{\"a\":{\"plugins\":[1]},\"b\":\"plugins\", \"c\":[\"}\",\"\\\\\",\"\\\"]\"],\"plugins\" : [ \"]\" , -1.50e+3 ] }\n",
	  "{\"a\":{\"plugins\":[1]},\"b\":\"plugins\", \"c\":[\"}\",\"\\\\\",\"\\\"]\"],\"plugins\" : [ \"]\" , -1.50e+3,\n    " OURS
	  " ] }\n",
	  NULL },
	{ " {\"n\":1.0,\"plugins\":[true,null]}", " {\"n\":1.0,\"plugins\":[true,null,\n    " OURS "]}",
	  NULL },
	/* In the place of an older one, wherever it is. */
	{ "{\"plugins\":[{\"type\":\"cni-rdma\",\"x\":[1,{}]} , 2]}", "{\"plugins\":[" OURS " , 2]}",
	  "{\"plugins\":[2]}" },
	{ "{\"plugins\":[1, {\"type\":\"cni-rdma\",\"x\":1}, 2],\"z\":0}",
	  "{\"plugins\":[1, " OURS ", 2],\"z\":0}", "{\"plugins\":[1, 2],\"z\":0}" },
	{ "{\"plugins\":[1,\n {\"type\":\"cni-rdma\"}\n]}", "{\"plugins\":[1,\n " OURS "\n]}",
	  "{\"plugins\":[1\n]}" },
	{ "{\"plugins\":[ {\"type\":\"cni-rdma\"} ]}", "{\"plugins\":[ " OURS " ]}", "{\"plugins\":[  ]}" },
};

static void all_but_ours_stays_byte_for_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		const struct change *c = &changes[i];
		json_auto_t *list = NULL;
		char why[128], *text = NULL;

		assert_int_equal(chain_parse(c->text, strlen(c->text), &list, why, sizeof(why)), 0);
		assert_int_equal(chain_put(c->text, list, OURS, &text), 0);
		assert_string_equal(text, c->put);
		free(text);
		if (!c->taken)
			continue;
		assert_int_equal(chain_take(c->text, list, &text), 0);
		assert_string_equal(text, c->taken);
		free(text);
	}
}

/* What was put in and is taken out again leaves the text that was there. */
static void taking_undoes_putting(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		json_auto_t *list = NULL, *with = NULL;
		char why[128], *text = NULL, *back = NULL;

		if (changes[i].taken)
			continue;
		assert_int_equal(
			chain_parse(changes[i].text, strlen(changes[i].text), &list, why, sizeof(why)), 0);
		assert_int_equal(chain_put(changes[i].text, list, OURS, &text), 0);
		assert_int_equal(chain_parse(text, strlen(text), &with, why, sizeof(why)), 0);
		assert_non_null(chain_entry(with));
		assert_int_equal(chain_take(text, with, &back), 0);
		assert_string_equal(back, changes[i].text);
		free(text);
		free(back);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(all_but_ours_stays_byte_for_byte),
	cmocka_unit_test(taking_undoes_putting),
};

UNIT_MAIN(tests)
