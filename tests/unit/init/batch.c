#include "init/batch.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "init/netlink.h"
#include "lib/text.h"

static void errors_say_what_to_do(void **state)
{
	static const struct {
		int code;
		const char *label, *expression, *words, *sentence;
	} rows[] = {
		{-EPERM, "change the table", "", "",
	         "cannot change the table: Operation not permitted; it needs CAP_NET_ADMIN in this network namespace"},
		{-ENOENT, "add the rule \"x\" to the chain output", "fib", "",
	         "cannot add the rule \"x\" to the chain output: No such file or directory; the kernel has no nf_tables expression "
	         "\"fib\": it needs CONFIG_NFT_FIB_INET"},
		{-ENOENT, "add the rule", "redir", "",
	         "cannot add the rule: No such file or directory; the kernel has no nf_tables expression \"redir\": it needs "
	         "CONFIG_NFT_REDIR"},
		{-ENOENT, "add the nat chain output", "", "",
	         "cannot add the nat chain output: No such file or directory; the kernel lacks a part of nf_tables: it needs "
	         "CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT, CONFIG_NFT_REDIR, CONFIG_NFT_CT and CONFIG_NFT_FIB_INET"},
		{-EAFNOSUPPORT, "add the table", "", "",
	         "cannot add the table: Address family not supported by protocol; the kernel has no table family inet: it needs "
	         "CONFIG_NF_TABLES_INET"},
		{-EOPNOTSUPP, "x", "", "",
	         "cannot x: Operation not supported; the kernel has no nf_tables, or not this part of it: it needs "
	         "CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET and CONFIG_NFT_NAT"},
		{-EINVAL, "fill the set s", "", "the kernel's words",
	         "cannot fill the set s: Invalid argument (the kernel's words)"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TEXT_ON_STACK(text, 1024);

		batch_explain(rows[i].code, rows[i].label, rows[i].expression, rows[i].words, &text);
		assert_string_equal(text.data, rows[i].sentence);
	}
}

static int count_message(const struct nlmsghdr *message, void *context)
{
	size_t length;
	const struct nlattr *name = netlink_find(message, NFTA_TABLE_NAME);

	assert_non_null(name);
	assert_string_equal(netlink_bytes(name, &length), "t");
	return ++*(int *)context == 500 ? 7 : 0;
}

static void messages_stay_where_they_are(void **state)
{
	struct batch *batch;
	int seen = 0;

	assert_int_equal(batch_new(&batch), 0);
	for (int i = 0; i < 600; i++) {
		struct nlmsghdr *message = batch_begin(batch, NFT_MSG_NEWTABLE, 0, "message %d", i);

		assert_non_null(message);
		netlink_put_string(message, NFTA_TABLE_NAME, "t");
		for (int j = 0; j < 100; j++)
			netlink_put_u32(message, NFTA_TABLE_FLAGS, (uint32_t)j);
		batch_end(batch);
	}
	assert_int_equal(batch_each(batch, count_message, &seen), 7);
	assert_int_equal(seen, 500);
	batch_free(batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_say_what_to_do),
		cmocka_unit_test(messages_stay_where_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
