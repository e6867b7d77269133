#include "init/foreign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_node(void **state)
{
	struct foreign found = {{0}, {0}};

	foreign_take_chain(&found, "nat", "PREROUTING");
	foreign_take_chain(&found, "lapse", "prerouting");
	foreign_take_interface(&found, "eth0");
	foreign_take_interface(&found, "docker0"); /* a pod may run containers of its own */
	foreign_take_interface(&found, "tunl0");   /* is everywhere */
	assert_string_equal(found.node, "");
	foreign_take_chain(&found, "mangle", "KUBE-KUBELET-CANARY");
	assert_string_equal(found.node, "kubelet's chain KUBE-KUBELET-CANARY is here");
	foreign_take_interface(&found, "cni0"); /* one is enough */
	assert_string_equal(found.node, "kubelet's chain KUBE-KUBELET-CANARY is here");
	assert_string_equal(found.mesh, "");
	found = (struct foreign){{0}, {0}};
	foreign_take_interface(&found, "cni0");
	assert_string_equal(found.node, "a node's interface cni0 is here");
	found = (struct foreign){{0}, {0}};
	foreign_take_chain(&found, "kube-proxy", "services");
	assert_string_equal(found.node, "kube-proxy's chain services is here");
}

static void another_mesh(void **state)
{
	struct foreign found = {{0}, {0}};

	foreign_take_chain(&found, "nat", "PROXY_INIT_REDIRECT");
	assert_string_equal(found.mesh, "Linkerd's chain PROXY_INIT_REDIRECT");
	assert_string_equal(found.node, "");
	found = (struct foreign){{0}, {0}};
	foreign_take_chain(&found, "nat", "ISTIO_INBOUND");
	assert_string_equal(found.mesh, "Istio's chain ISTIO_INBOUND");
	found = (struct foreign){{0}, {0}};
	foreign_take_chain(&found, "istio-proxy-nat", "istio-inbound");
	assert_string_equal(found.mesh, "Istio's table istio-proxy-nat");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_node), cmocka_unit_test(another_mesh)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
