#include <stdio.h>

#include "tests/unit/proxy/documents.h"

#define HEAD "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n"

static const struct service *read_one(struct documents *documents, const char *spec)
{
	char text[2048];

	snprintf(text, sizeof text, HEAD "%s", spec);
	documents_read(documents, text);
	assert_int_equal(documents->catalog->counts[KIND_SERVICE], 1);
	return (const struct service *)documents->catalog->objects[KIND_SERVICE];
}

static void a_whole_one(void **state)
{
	struct documents documents;
	char address[ADDR_TEXT_SIZE];
	const struct service *service = read_one(&documents, "  type: NodePort\n"
							     "  clusterIP: 10.96.0.10\n"
							     "  clusterIPs: [10.96.0.10, 'fd00::10']\n"
							     "  sessionAffinity: None\n"
							     "  selector: {app: web, tier: '1'}\n"
							     "  ports:\n"
							     "  - {name: http, port: 80, targetPort: 8080, nodePort: 30080}\n"
							     "  - {name: admin, port: 81, targetPort: admin, appProtocol: http}\n"
							     "  - {name: dns, port: 53, protocol: UDP}\n");

	assert_int_equal(service->address_count, 2);
	assert_string_equal(addr_format_host(&service->addresses[0], address), "10.96.0.10");
	assert_string_equal(addr_format_host(&service->addresses[1], address), "fd00::10");
	assert_int_equal(service->addresses[0].port, 0);
	assert_false(service->headless);
	assert_false(service->external_name);
	assert_int_equal(service->selector_count, 2);
	assert_string_equal(service->selector[0].key, "app");
	assert_string_equal(service->selector[0].value, "web");
	assert_string_equal(service->selector[1].key, "tier");
	assert_string_equal(service->selector[1].value, "1");
	assert_int_equal(service->port_count, 3);
	assert_string_equal(service->ports[0].name, "http");
	assert_int_equal(service->ports[0].port, 80);
	assert_int_equal(service->ports[0].target_port, 8080);
	assert_null(service->ports[0].target_name);
	assert_null(service->ports[0].app_protocol);
	assert_true(service->ports[0].tcp);
	assert_int_equal(service->ports[1].target_port, 0);
	assert_string_equal(service->ports[1].target_name, "admin");
	assert_string_equal(service->ports[1].app_protocol, "http");
	assert_false(service->ports[2].tcp);
	assert_int_equal(service->ports[2].target_port, 53);
	documents_end(&documents);
}

static void addresses(void **state)
{
	static const struct {
		const char *spec;
		size_t count;
		bool headless, external_name;
	} rows[] = {
		{"  {}\n", 0},
		{"  clusterIP: ''\n", 0},
		{"  clusterIP: 10.0.0.1\n", 1},
		{"  clusterIP: None\n", 0, .headless = true},
		{"  clusterIP: None\n  clusterIPs: [None]\n", 0, .headless = true},
		{"  clusterIPs: ['fd00::1']\n", 1},
		{"  clusterIPs: []\n  clusterIP: 10.0.0.1\n", 1},
		{"  type: ExternalName\n  externalName: a.b\n", 0, .external_name = true},
		{"  type: ClusterIP\n", 0},
		{"  type: LoadBalancer\n", 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct documents documents;
		const struct service *service = read_one(&documents, rows[i].spec);
		assert_int_equal(service->address_count, rows[i].count);
		assert_int_equal(service->addresses != NULL, rows[i].count > 0);
		assert_int_equal(service->headless, rows[i].headless);
		assert_int_equal(service->external_name, rows[i].external_name);
		assert_int_equal(service->port_count, 0);
		documents_end(&documents);
	}
}

static void an_unnamed_port(void **state)
{
	struct documents documents;
	const struct service *service = read_one(&documents, "  ports: [{port: 6379}]\n");

	assert_string_equal(service->ports[0].name, "");
	assert_int_equal(service->ports[0].target_port, 6379);
	documents_end(&documents);
}

static void says_what_is_wrong(void **state)
{
	static const struct documents_answer rows[] = {
		{"  clusterIP: none\n",
		 "a.yaml:5: Service default/web: spec.clusterIP: \"none\": must be an IPv4 or IPv6 address, or None"},
		{"  clusterIP: 127.0.0.1\n",
		 "a.yaml:5: Service default/web: spec.clusterIP: \"127.0.0.1\": must be an address of another host: this one leads back"},
		{"  clusterIPs: [10.0.0.1, '::1']\n", "a.yaml:5: Service default/web: spec.clusterIPs[1]: \"::1\": must be an address of"},
		{"  clusterIP: 0.0.0.0\n", "a.yaml:5: Service default/web: spec.clusterIP: \"0.0.0.0\": must be an address of another host"},
		{"  clusterIP: '::'\n", "a.yaml:5: Service default/web: spec.clusterIP: \"::\": must be an address of another host"},
		{"  clusterIPs: ['::ffff:127.0.0.1']\n", "a.yaml:5: Service default/web: spec.clusterIPs[0]: \"::ffff:127.0.0.1\": must be an"},
		{"  clusterIPs: [10.0.0.1, 10.0.0.2, 10.0.0.3]\n",
		 "a.yaml:5: Service default/web: spec.clusterIPs: a list of 3 elements; at most 2 are accepted"},
		{"  type: Cluster\n",
		 "a.yaml:5: Service default/web: spec.type: \"Cluster\": must be ExternalName, ClusterIP, NodePort or "},
		{"  selector: [a]\n",
		 "a.yaml:5: Service default/web: spec.selector: a list: must be a mapping of at most 1000 labels"},
		{"  selector: {a: true}\n", "a.yaml:5: Service default/web: spec.selector.a: \"true\": must be text"},
		{"  selector: {a: }\n", "a.yaml:5: Service default/web: spec.selector.a: \"\": must be text"},
		{"  ports: [{name: a}]\n", "a.yaml:5: Service default/web: spec.ports[0].port: this field is required"},
		{"  ports: [{port: 65536}]\n", "a.yaml:5: Service default/web: spec.ports[0].port: \"65536\": "},
		{"  ports: [{port: 80, protocol: HTTP}]\n",
		 "a.yaml:5: Service default/web: spec.ports[0].protocol: \"HTTP\": must be TCP, UDP or SCTP"},
		{"  ports: [{port: 80, targetPort: 0}]\n", "a.yaml:5: Service default/web: spec.ports[0].targetPort: \"0\": "},
		{"  ports: [{port: 80, targetPort: '8080'}]\n",
		 "a.yaml:5: Service default/web: spec.ports[0].targetPort: \"8080\": "},
		{"  ports: [{port: 80, targetPort: Http}]\n",
		 "a.yaml:5: Service default/web: spec.ports[0].targetPort: \"Http\": "},
		{"  ports: [{port: 80, targetPort: a--b}]\n",
		 "a.yaml:5: Service default/web: spec.ports[0].targetPort: \"a--b\": "},
		{"  ports: [{port: 80, targetPort: sixteencharacter}]\n",
		 "a.yaml:5: Service default/web: spec.ports[0].targetPort: "},
		{"  ports: [{port: 80, targetPort: {}}]\n", "a.yaml:5: Service default/web: spec.ports[0].targetPort: a mapping: "},
		{"  ports: [{port: 80, target: 1}]\n",
		 "a.yaml:5: Service default/web: spec.ports[0].target: unknown field, ignored",
		 .warning = true},
		{"  ports: [{port: 80, targetPort: 8080-tcp}]\n", NULL},
		{"  trafficDistribution: PreferClose\n  ipFamilyPolicy: SingleStack\n", NULL},
	};

	DOCUMENTS_ARE_ANSWERED(HEAD, rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_one),
		cmocka_unit_test(addresses),
		cmocka_unit_test(an_unnamed_port),
		cmocka_unit_test(says_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
