#include "init/half_closed_flows.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

static void failures_name_the_remedy(void **state)
{
	static const struct {
		int status;
		const char *remedy;
	} rows[] = {
		{-EPERM, "CAP_NET_ADMIN"},
		{-EACCES, "CAP_NET_ADMIN"},
		{-EPROTONOSUPPORT, "CONFIG_NETFILTER_NETLINK"},
		{-EINVAL, "CONFIG_NF_CT_NETLINK"},
		{-EOPNOTSUPP, "CONFIG_NF_CONNTRACK"},
		{-EMFILE, "open files"},
		{-EIO, "cannot read conntrack's flows: Input/output error"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TEXT_ON_STACK(error, 512);

		half_closed_flows_explain(rows[i].status, &error);
		if (!strstr(error.data, rows[i].remedy) || strchr(error.data, '\n'))
			fail_msg("%d: %s", rows[i].status, error.data);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(failures_name_the_remedy)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
