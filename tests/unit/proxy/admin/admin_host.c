#include "proxy/admin/admin_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/options.h"

static void addresses_and_localhost_are_plain(void **state)
{
	static const char *const plain[] = {"10.0.0.1", "10.0.0.1:80", "[::1]", "[::1]:4191", "::1", "localhost", "LOCALHOST:1", "localhost."};
	static const char *const others[] = {"", ":", "[", "[]", "[]:80", "[::1", "[x]", "localhost.evil.example", "localhostx", "127.0.0.1.evil.example",
	                                     "[::1].evil.example", "10.0.0", "evil.example:4191", "."};
	char name[1000];

	for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
		assert_true(admin_host_is_plain(plain[i]));
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		assert_false(admin_host_is_plain(others[i]));
	memset(name, 'x', sizeof name);
	name[0] = '[';
	name[sizeof name - 2] = ']';
	name[sizeof name - 1] = '\0';
	assert_false(admin_host_is_plain(name));
}

static void the_pods_names_are_ours(void **state)
{
	const char *items[] = {"web.shop.svc,web.shop", "Third.example"};
	const struct option_texts more = {items, 2}, none = {0};
	const struct admin_host_names names = {"web-0", "cluster.local", &more}, nameless = {"", "cluster.local", &none};
	const struct admin_host_names whole = {"web-0.web.shop.svc.cluster.local", "cluster.local", &none};
	static const struct {
		const char *host;
		bool ours, whole, nameless;
	} rows[] = {
	    {"web-0", true, true, false},
	    {"WEB-0:4191", true, true, false},
	    {"web-0.", true, true, false},
	    {"web-0.web.shop.svc.cluster.local", true, true, false},
	    {"web-0.web.shop.svc.cluster.local.:4191", true, true, false},
	    {"web-1.web.shop.svc.cluster.local", false, false, false},
	    {"web-0.web.shop.svc.cluster.localx", false, false, false},
	    {"web-0.web.shop.svc.evil.example", false, false, false},
	    {"web-0.svc.cluster.local.evil.example", false, false, false},
	    {"web-0xsvc.cluster.local", false, false, false},
	    {"web-0.evil.example", false, false, false},
	    {"svc.cluster.local", false, false, false},
	    {".svc.cluster.local", false, false, false},
	    {"10-1-2-3.shop.pod.cluster.local", true, true, true},
	    {"fd00--7.shop.pod.cluster.local", true, true, true},
	    {"10-1-2.shop.pod.cluster.local", false, false, false},
	    {"10-1-2-3.pod.evil.example", false, false, false},
	    {"web.shop.svc", true, false, false},
	    {"web.shop:80", true, false, false},
	    {"web.shop.svc,web.shop", false, false, false},
	    {"eb.shop", false, false, false},
	    {"web.sho", false, false, false},
	    {"third.example", true, false, false},
	    {"", false, false, false},
	    {":80", false, false, false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(admin_host_is_ours(rows[i].host, &names), rows[i].ours);
		assert_int_equal(admin_host_is_ours(rows[i].host, &whole), rows[i].whole);
		assert_int_equal(admin_host_is_ours(rows[i].host, &nameless), rows[i].nameless);
	}
}

static void names_in_lists_have_lengths(void **state)
{
	char name[300];

	assert_int_equal(admin_host_name_length("a.example"), 9);
	assert_int_equal(admin_host_name_length("a_b-c,d"), 5);
	assert_int_equal(admin_host_name_length(""), 0);
	assert_int_equal(admin_host_name_length(",a"), 0);
	assert_int_equal(admin_host_name_length("a:80"), 0);
	assert_int_equal(admin_host_name_length("a b"), 0);
	memset(name, 'x', sizeof name);
	name[256] = '\0';
	assert_int_equal(admin_host_name_length(name), 0);
	name[255] = '\0';
	assert_int_equal(admin_host_name_length(name), 255);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(addresses_and_localhost_are_plain),
	    cmocka_unit_test(the_pods_names_are_ours),
	    cmocka_unit_test(names_in_lists_have_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
