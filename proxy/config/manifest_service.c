#include <string.h>

#include "lib/arena.h"
#include "proxy/config/catalog.h"
#include "proxy/config/fields.h"
#include "proxy/config/manifest_kinds.h"
#include "proxy/config/manifest_text.h"
#include "proxy/config/yaml.h"

enum { MANIFEST_SERVICE_PORTS_MOST = 1000, MANIFEST_SERVICE_LABELS_MOST = 1000, MANIFEST_SERVICE_ADDRESSES_MOST = 2 };

struct manifest_service_ip {
	struct addr addr; /* AF_UNSPEC: none yet */
	bool headless;    /* "None" */
};

struct manifest_service_spec {
	struct manifest_service_ip ip, *ips;
	size_t ip_count;
	struct service_port *ports;
	size_t port_count;
	struct label *selector;
	size_t selector_count;
	bool external_name;
};

static void manifest_service_read_ip(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct manifest_service_ip *ip = field;
	const char *text = NULL;

	fields_text(reader, value, &text);
	if (text == NULL || *text == '\0')
		return;
	if (strcmp(text, "None") == 0)
		ip->headless = true;
	else
		manifest_text_address(reader, value, text, ", or None", &ip->addr);
}

static void manifest_service_read_ips(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct manifest_service_spec *spec = field;
	void *items;

	fields_list(reader, value, MANIFEST_SERVICE_ADDRESSES_MOST, sizeof *spec->ips, manifest_service_read_ip, &items,
		    &spec->ip_count);
	spec->ips = items;
}

static void manifest_service_read_type(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const char *const types[] = {"ExternalName", "ClusterIP", "NodePort", "LoadBalancer"};

	*(bool *)field = MANIFEST_TEXT_CHOICE(reader, value, types) == 0;
}

static void manifest_service_read_target(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct service_port *port = field;
	const char *text = NULL;

	if (value->type == YAML_SCALAR && value->plain && value->length > 0 && strspn(value->text, "0123456789") == value->length) {
		fields_port(reader, value, &port->target_port);
		return;
	}
	fields_text(reader, value, &text);
	if (text == NULL)
		return;
	if (manifest_text_is_port_name(text, strlen(text)))
		port->target_name = text;
	else
		fields_error(reader, value, NULL,
			     "must be a port from 1 to 65535, unquoted, or a name of at most 15 letters, digits and '-'");
}

static void manifest_service_read_port(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"port", fields_port, offsetof(struct service_port, port), .required = true},
	    {"name", fields_text, offsetof(struct service_port, name)},
	    {"protocol", manifest_read_protocol, offsetof(struct service_port, tcp)},
	    {"targetPort", manifest_service_read_target, 0},
	    {"appProtocol", fields_text, offsetof(struct service_port, app_protocol)},
	    {.name = "nodePort"},
	};
	struct service_port *port = field;

	*port = (struct service_port){.name = "", .tcp = true};
	FIELDS_READ(reader, value, rows, port);
	if (port->target_port == 0 && port->target_name == NULL)
		port->target_port = port->port;
}

static void manifest_service_read_ports(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct manifest_service_spec *spec = field;
	void *items;

	fields_list(reader, value, MANIFEST_SERVICE_PORTS_MOST, sizeof *spec->ports, manifest_service_read_port, &items,
		    &spec->port_count);
	spec->ports = items;
}

static void manifest_service_read_selector(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct manifest_service_spec *spec = field;

	if (value->type != YAML_MAPPING || value->count > MANIFEST_SERVICE_LABELS_MOST) {
		fields_error(reader, value, NULL, "must be a mapping of at most %d labels", MANIFEST_SERVICE_LABELS_MOST);
		return;
	}
	struct label *labels = arena_array(reader->arena, value->count, sizeof *labels);
	if (labels == NULL) {
		fields_no_memory(reader);
		return;
	}
	spec->selector = labels;
	for (const struct yaml_node *node = value->children; node != NULL; node = node->next) {
		struct label *label = &labels[spec->selector_count++];
		size_t mark = fields_enter(reader, node->key, 0);
		label->key = arena_text(reader->arena, node->key, strlen(node->key));
		if (label->key == NULL)
			fields_no_memory(reader);
		fields_text(reader, node, &label->value);
		fields_leave(reader, mark);
	}
}

/* clusterIPs, or where it is not there clusterIP. */
static void manifest_service_set_addresses(struct reader *reader, const struct manifest_service_spec *spec, struct service *service)
{
	const struct manifest_service_ip *ips = spec->ip_count > 0 ? spec->ips : &spec->ip;
	size_t count = spec->ip_count > 0 ? spec->ip_count : 1;
	struct addr *addresses = arena_array(reader->arena, count, sizeof *addresses);

	if (addresses == NULL) {
		fields_no_memory(reader);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		service->headless |= ips[i].headless;
		if (ips[i].addr.family != AF_UNSPEC)
			addresses[service->address_count++] = ips[i].addr;
	}
	if (service->address_count > 0)
		service->addresses = addresses;
}

void manifest_service_read(struct reader *reader, const struct yaml_node *spec_node, struct object *object)
{
	static const struct field rows[] = {
	    {"clusterIP", manifest_service_read_ip, offsetof(struct manifest_service_spec, ip)},
	    {"clusterIPs", manifest_service_read_ips, 0},
	    {"type", manifest_service_read_type, offsetof(struct manifest_service_spec, external_name)},
	    {"ports", manifest_service_read_ports, 0},
	    {"selector", manifest_service_read_selector, 0},
	    {.name = "allocateLoadBalancerNodePorts"},
	    {.name = "externalIPs"},
	    {.name = "externalName"},
	    {.name = "externalTrafficPolicy"},
	    {.name = "healthCheckNodePort"},
	    {.name = "internalTrafficPolicy"},
	    {.name = "ipFamilies"},
	    {.name = "ipFamilyPolicy"},
	    {.name = "loadBalancerClass"},
	    {.name = "loadBalancerIP"},
	    {.name = "loadBalancerSourceRanges"},
	    {.name = "publishNotReadyAddresses"},
	    {.name = "sessionAffinity"},
	    {.name = "sessionAffinityConfig"},
	    {.name = "topologyKeys"},
	    {.name = "trafficDistribution"},
	};
	struct service *service = (struct service *)object;
	struct manifest_service_spec spec = {0};

	if (spec_node == NULL)
		return;
	FIELDS_READ(reader, spec_node, rows, &spec);
	service->external_name = spec.external_name;
	service->ports = spec.ports;
	service->port_count = spec.port_count;
	service->selector = spec.selector;
	service->selector_count = spec.selector_count;
	manifest_service_set_addresses(reader, &spec, service);
}

void manifest_service_read_namespace(struct reader *reader, const struct yaml_node *spec, struct object *object)
{
}
