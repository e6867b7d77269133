#include "lib/addr.h"
#include "lib/arena.h"
#include "proxy/config/catalog.h"
#include "proxy/config/fields.h"
#include "proxy/config/manifest_kinds.h"
#include "proxy/config/manifest_text.h"
#include "proxy/config/yaml.h"

enum { MANIFEST_KUBELB_LIST_MOST = 1000, MANIFEST_KUBELB_ENDPOINTS_MOST = 10000 };

struct manifest_kubelb_port {
	uint16_t port;
	bool tcp;
};

/* An element of spec.endpoints: each address has each port. */
struct manifest_kubelb_endpoint {
	struct addr *addresses;
	struct manifest_kubelb_port *ports;
	size_t address_count, port_count;
};

static void manifest_kubelb_read_ip(struct reader *reader, const struct yaml_node *value, void *field)
{
	const char *text = NULL;

	fields_text(reader, value, &text);
	if (text != NULL)
		manifest_text_address(reader, value, text, "", field);
}

static void manifest_kubelb_read_address(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {{"ip", manifest_kubelb_read_ip, 0, .required = true}, {.name = "hostname"}};

	FIELDS_READ(reader, value, rows, field);
}

static void manifest_kubelb_read_port(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"port", fields_port, offsetof(struct manifest_kubelb_port, port), .required = true},
	    {"protocol", manifest_read_protocol, offsetof(struct manifest_kubelb_port, tcp)},
	    {.name = "name"},
	    {.name = "appProtocol"},
	};

	*(struct manifest_kubelb_port *)field = (struct manifest_kubelb_port){.tcp = true};
	FIELDS_READ(reader, value, rows, field);
}

static void manifest_kubelb_read_addresses(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct manifest_kubelb_endpoint *endpoint = field;
	void *items;

	fields_list(reader, value, MANIFEST_KUBELB_LIST_MOST, sizeof *endpoint->addresses, manifest_kubelb_read_address, &items,
		    &endpoint->address_count);
	endpoint->addresses = items;
}

static void manifest_kubelb_read_ports(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct manifest_kubelb_endpoint *endpoint = field;
	void *items;

	fields_list(reader, value, MANIFEST_KUBELB_LIST_MOST, sizeof *endpoint->ports, manifest_kubelb_read_port, &items,
		    &endpoint->port_count);
	endpoint->ports = items;
}

static void manifest_kubelb_read_endpoint(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"addresses", manifest_kubelb_read_addresses, 0},
	    {"ports", manifest_kubelb_read_ports, 0},
	    {.name = "name"},
	    {.name = "addressesReference"},
	};

	FIELDS_READ(reader, value, rows, field);
}

/* Every address with every TCP port. */
static void manifest_kubelb_read_endpoints(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct kubelb *kubelb = field;
	void *items;
	size_t count, total = 0, filled = 0;

	fields_list(reader, value, MANIFEST_KUBELB_LIST_MOST, sizeof(struct manifest_kubelb_endpoint),
		    manifest_kubelb_read_endpoint, &items, &count);
	const struct manifest_kubelb_endpoint *endpoints = items;
	for (size_t i = 0; i < count; i++)
		total += endpoints[i].address_count * endpoints[i].port_count;
	if (total > MANIFEST_KUBELB_ENDPOINTS_MOST) {
		fields_error(reader, value, "", "%zu pairs of address and port, at most %d are accepted", total,
			     MANIFEST_KUBELB_ENDPOINTS_MOST);
		return;
	}
	if (reader->failed || total == 0)
		return;
	struct addr *pairs = arena_array(reader->arena, total, sizeof *pairs);
	if (pairs == NULL) {
		fields_no_memory(reader);
		return;
	}
	for (size_t i = 0; i < count; i++)
		for (size_t port = 0; port < endpoints[i].port_count; port++)
			for (size_t address = 0; endpoints[i].ports[port].tcp && address < endpoints[i].address_count; address++) {
				pairs[filled] = endpoints[i].addresses[address];
				pairs[filled++].port = endpoints[i].ports[port].port;
			}
	kubelb->endpoints = pairs;
	kubelb->endpoint_count = filled;
}

/* How long we drain is for the whole proxy, not for what one object carries. */
static bool manifest_kubelb_is_meant(struct reader *reader, const struct yaml_node *timeouts, enum timeout_id id)
{
	if (!timeouts_of_proxy(id) || reader->object->kind == KIND_CONFIG || reader->object->kind == KIND_TENANT)
		return true;
	size_t mark = fields_enter(reader, timeouts_name(id), 0);
	fields_warn(reader, yaml_field(timeouts, timeouts_name(id)), NULL, "has a meaning on a Config or Tenant only, ignored");
	fields_leave(reader, mark);
	return false;
}

/* spec.timeouts: every row of lib/timeouts.def by its name. */
static void manifest_kubelb_read_timeouts(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct given {
		int64_t of[TIMEOUT_COUNT];
	} given;
	static const struct field rows[] = {
#define TIMEOUT(id, name, default_ms, reason, sentence, cost) {#name, fields_duration_go, offsetof(struct given, of[TIMEOUT_##id])},
#include "lib/timeouts.def"
#undef TIMEOUT
	};
	struct kubelb *kubelb = field;

	for (int id = 0; id < TIMEOUT_COUNT; id++)
		given.of[id] = TIMEOUT_UNSET;
	FIELDS_READ(reader, value, rows, &given);
	for (int id = 0; id < TIMEOUT_COUNT; id++)
		if (given.of[id] != TIMEOUT_UNSET && manifest_kubelb_is_meant(reader, value, id))
			manifest_set_timeout(reader, &kubelb->timeouts, id, given.of[id], "%s spec.timeouts.%s", reader->subject,
					     timeouts_name(id));
}

/* The specs; of what is without a reader, KubeLB's own, nothing concerns us. */
static const struct field manifest_kubelb_config[] = {
    {"timeouts", manifest_kubelb_read_timeouts, 0},
    {.name = "envoyProxy"},
    {.name = "loadBalancer"},
    {.name = "ingress"},
    {.name = "gatewayAPI"},
    {.name = "dns"},
    {.name = "certificates"},
    {.name = "tunnel"},
    {.name = "circuitBreaker"},
    {.name = "circuitBreakers"},
    {.name = "waf"},
    {.name = "propagatedAnnotations"},
    {.name = "propagateAllAnnotations"},
    {.name = "defaultAnnotations"},
};
static const struct field manifest_kubelb_tenant[] = {
    {"timeouts", manifest_kubelb_read_timeouts, 0},
    {.name = "loadBalancer"},
    {.name = "ingress"},
    {.name = "gatewayAPI"},
    {.name = "dns"},
    {.name = "certificates"},
    {.name = "tunneling"},
    {.name = "tunnel"},
    {.name = "allowedDomains"},
    {.name = "circuitBreaker"},
    {.name = "circuitBreakers"},
    {.name = "waf"},
    {.name = "propagatedAnnotations"},
    {.name = "propagateAllAnnotations"},
    {.name = "defaultAnnotations"},
};
static const struct field manifest_kubelb_route[] = {
    {"timeouts", manifest_kubelb_read_timeouts, 0},
    {"endpoints", manifest_kubelb_read_endpoints, 0},
    {.name = "source"},
};
static const struct field manifest_kubelb_load_balancer[] = {
    {"timeouts", manifest_kubelb_read_timeouts, 0},
    {"endpoints", manifest_kubelb_read_endpoints, 0},
    {.name = "ports"},
    {.name = "hostname"},
    {.name = "type"},
    {.name = "externalTrafficPolicy"},
};

#define ROWS(rows) {rows, sizeof(rows) / sizeof *(rows)}
static const struct {
	const struct field *rows;
	size_t count;
} manifest_kubelb_specs[] = {
    [KIND_CONFIG] = ROWS(manifest_kubelb_config),
    [KIND_TENANT] = ROWS(manifest_kubelb_tenant),
    [KIND_KUBELB_ROUTE] = ROWS(manifest_kubelb_route),
    [KIND_LOAD_BALANCER] = ROWS(manifest_kubelb_load_balancer),
};

void manifest_kubelb_read(struct reader *reader, const struct yaml_node *spec, struct object *object)
{
	if (spec != NULL)
		fields_read(reader, spec, manifest_kubelb_specs[object->kind].rows, manifest_kubelb_specs[object->kind].count,
			    object);
}
