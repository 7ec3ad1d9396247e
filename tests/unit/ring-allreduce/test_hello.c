// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "../../../deploy/examples/ring-allreduce/hello.h"

#define ADDRESS "qpn=1 psn=2 mtu=3 gid=00000000000000000000ffff0a000001"
#define GREETING "ring-allreduce-1 job=j rank=1 world=4 rails=1 config=0x5"
#define IN "in rail=0 " ADDRESS " rkey=0x1 addr=0x1000 size=64"
#define OUT "out rail=0 " ADDRESS

static struct hello example(unsigned rails)
{
	struct hello hello = {
		.job = "job-1.a", .rank = 3, .world = 9, .rails = rails, .config = UINT64_MAX
	};

	for (unsigned i = 0; i < rails; i++)
		hello.rail[i] = (struct hello_rail){
			.in = { .qpn = 0xffffff, .psn = i, .mtu = IBV_MTU_4096 },
			.out = { .qpn = 0xfffffe, .psn = i, .mtu = IBV_MTU_256 },
			.address = UINT64_MAX - 4096 - i,
			.size = 4096,
			.rkey = UINT32_MAX - i,
		};
	hello.have.n = CHECKPOINT_OFFER;
	for (size_t i = 0; i < hello.have.n; i++)
		hello.have.item[i] = (struct checkpoint){ UINT64_MAX - i, UINT64_MAX - i };
	return hello;
}

static void a_hello_survives_the_way(void **state)
{
	const struct hello sent = example(HELLO_RAILS_MAX);
	struct hello got = { .begun = false };
	char text[HELLO_TEXT_SIZE], *save = NULL;
	int r = 0;

	(void)state;
	assert_true(hello_format(&sent, text) < HELLO_TEXT_SIZE - 1);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		assert_int_equal(r, 0);
		assert_true(strlen(line) < WORDS_LINE_SIZE);
		r = hello_take(&got, line);
	}
	assert_int_equal(r, 1);
	assert_string_equal(got.job, sent.job);
	assert_int_equal(got.rank, 3);
	assert_int_equal(got.world, 9);
	assert_int_equal(got.rails, HELLO_RAILS_MAX);
	assert_true(got.config == sent.config);
	assert_memory_equal(got.rail, sent.rail, sizeof(got.rail));
	assert_memory_equal(&got.have, &sent.have, sizeof(got.have));
}

static void a_plan_survives_the_way(void **state)
{
	struct hello_plan sent = { .run = UINT64_MAX, .from = { 7, 8 } }, got = { .begun = false };
	const struct hello hello = example(2);
	char text[HELLO_TEXT_SIZE], *save = NULL;
	int r = 0;

	(void)state;
	memcpy(sent.left, hello.rail, sizeof(sent.left));
	memcpy(sent.right, hello.rail, sizeof(sent.right));
	assert_true(hello_plan_format(&sent, 2, text) < HELLO_TEXT_SIZE - 1);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		assert_int_equal(r, 0);
		r = hello_plan_take(&got, 2, line);
	}
	assert_int_equal(r, 1);
	assert_true(got.run == sent.run && got.from.step == 7 && got.from.digest == 8);
	assert_int_equal(got.left[1].out.psn, 1);
	assert_int_equal(got.left[1].out.qpn, 0xfffffe);
	assert_int_equal(got.right[1].in.qpn, 0xffffff);
	assert_true(got.right[1].rkey == UINT32_MAX - 1 && got.right[1].size == 4096);
	assert_true(got.right[1].address == sent.right[1].address);
}

/* Lines parted by newlines: only the last is refused. */
static void refused(const char *text)
{
	struct hello hello = { .begun = false };
	char copy[8192], *save = NULL, *line;
	int r = 0;

	(void)snprintf(copy, sizeof(copy), "%s", text);
	for (line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (r != 0)
			fail_msg("more than the last line of '%s' is refused", text);
		r = hello_take(&hello, line);
	}
	if (r != -EINVAL)
		fail_msg("'%s' gives %d", text, r);
}

static void bad_hellos_are_refused(void **state)
{
	static const char *const bad[] = {
		"GET / HTTP/1.1\r",
		"in rail=0 " ADDRESS " rkey=0x1 addr=0x1000 size=64",
		"end",
		"ring-allreduce-2 job=j rank=1 world=4 rails=1 config=0x5",
		"ring-allreduce-1 rank=1 world=4 rails=1 config=0x5",
		"ring-allreduce-1 job= rank=1 world=4 rails=1 config=0x5",
		"ring-allreduce-1 job=a/b rank=1 world=4 rails=1 config=0x5",
		"ring-allreduce-1 job=0123456789012345678901234567890123456789012345678901234567890123 rank=1 world=4 rails=1 config=0x5",
		"ring-allreduce-1 job=j rank=-1 world=4 rails=1 config=0x5",
		"ring-allreduce-1 job=j rank=256 world=4 rails=1 config=0x5",
		"ring-allreduce-1 job=j rank=1 world=0 rails=1 config=0x5",
		"ring-allreduce-1 job=j rank=1 world=257 rails=1 config=0x5",
		"ring-allreduce-1 job=j rank=1 world=4 rails=17 config=0x5",
		"ring-allreduce-1 job=j rank=1 world=4 rails=1 config=0x10000000000000000",
		"ring-allreduce-1 job=j rank=1 world=4 rails=1",
		GREETING "\n" GREETING,
		GREETING "\nend",
		GREETING "\n" IN "\nend",
		GREETING "\n" OUT "\nend",
		GREETING "\n" IN "\n" IN,
		GREETING "\n" OUT "\n" OUT,
		GREETING "\nin rail=1 " ADDRESS " rkey=0x1 addr=0x1000 size=64",
		GREETING "\nin rail=32 " ADDRESS " rkey=0x1 addr=0x1000 size=64",
		GREETING "\nin rail=0 " ADDRESS " rkey=0x1 addr=0x1000 size=0",
		GREETING "\nin rail=0 " ADDRESS " rkey=0x1 addr=0xffffffffffffff00 size=256",
		GREETING "\nin rail=0 " ADDRESS " rkey=0x100000000 addr=0x1000 size=64",
		GREETING "\nin rail=0 " ADDRESS " addr=0x1000 size=64",
		GREETING "\nin rail=0 qpn=0 psn=2 mtu=3 gid=00 rkey=0x1 addr=0x1000 size=64",
		GREETING "\nout rail=0 qpn=1",
		GREETING "\nhave step=0 digest=0x1",
		GREETING "\nhave step=1",
		GREETING "\nhave step=1 digest=0x1\nhave step=1 digest=0x1",
		GREETING "\nhave step=1 digest=0x1\nhave step=2 digest=0x1",
		GREETING
		"\nhave step=9 digest=0\nhave step=8 digest=0\nhave step=7 digest=0\nhave step=6 digest=0\n"
		"have step=5 digest=0\nhave step=4 digest=0\nhave step=3 digest=0\nhave step=2 digest=0\n"
		"have step=1 digest=0",
		GREETING "\nplan run=0x1 step=0 digest=0x0",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(bad[i]);
}

static void bad_plans_are_refused(void **state)
{
	static const char *const bad[] = {
		"end",
		"left rail=0 " ADDRESS,
		"plan run=0x1 step=0",
		"plan step=0 digest=0x0",
		"plan run=0x1 step=0 digest=0x0\nend",
		"plan run=0x1 step=0 digest=0x0\nplan run=0x1 step=0 digest=0x0",
		"plan run=0x1 step=0 digest=0x0\nleft rail=0 " ADDRESS "\nend",
		"plan run=0x1 step=0 digest=0x0\nright rail=1 " ADDRESS " rkey=0x1 addr=0x1000 size=64",
		"plan run=0x1 step=0 digest=0x0\nsomething rail=0",
		"plan run=0x1 step=0 digest=0x0\n\x01",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct hello_plan plan = { .begun = false };
		char copy[1024], *save = NULL;
		int r = 0;

		(void)snprintf(copy, sizeof(copy), "%s", bad[i]);
		for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
			r = r == 0 ? hello_plan_take(&plan, 1, line) : 99;
		assert_int_equal(r, -EINVAL);
	}
}

static void only_ranks_of_this_training_are_welcome(void **state)
{
	struct hello own = { .job = "a", .rank = 0, .world = 4, .rails = 2, .config = 7 }, other;
	enum hello_refusal why;

	(void)state;
	other = own;
	other.rank = 3;
	assert_true(hello_is_welcome(&own, &other, &why));
	other.rank = 4;
	assert_false(hello_is_welcome(&own, &other, &why));
	assert_int_equal(why, HELLO_RANK);
	other.rank = 0;
	assert_false(hello_is_welcome(&own, &other, &why));
	assert_int_equal(why, HELLO_RANK);
	other = own;
	other.rank = 1;
	other.job[0] = 'b';
	assert_false(hello_is_welcome(&own, &other, &why));
	assert_int_equal(why, HELLO_JOB);
	other.job[0] = 'a';
	other.world = 5;
	assert_false(hello_is_welcome(&own, &other, &why));
	assert_int_equal(why, HELLO_WORLD);
	other.world = 4;
	other.rails = 1;
	assert_false(hello_is_welcome(&own, &other, &why));
	assert_int_equal(why, HELLO_RAILS);
	other.rails = 2;
	other.config = 8;
	assert_false(hello_is_welcome(&own, &other, &why));
	assert_int_equal(why, HELLO_CONFIG);
}

static void refusals_have_a_word_and_a_sentence_each(void **state)
{
	enum hello_refusal got;

	(void)state;
	for (unsigned i = 0; i < HELLO_REFUSALS; i++) {
		assert_non_null(hello_refusal_text((enum hello_refusal)i));
		assert_int_equal(hello_refusal_parse(hello_refusal_word((enum hello_refusal)i), &got), 0);
		assert_int_equal(got, i);
	}
	assert_int_equal(hello_refusal_parse("whatever", &got), -EINVAL);
	assert_int_equal(hello_refusal_parse(NULL, &got), -EINVAL);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_hello_survives_the_way),
	cmocka_unit_test(a_plan_survives_the_way),
	cmocka_unit_test(bad_hellos_are_refused),
	cmocka_unit_test(bad_plans_are_refused),
	cmocka_unit_test(only_ranks_of_this_training_are_welcome),
	cmocka_unit_test(refusals_have_a_word_and_a_sentence_each),
};

UNIT_MAIN(tests)
