#include "proxy/config/annotations.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/duration.h"
#include "lib/ports.h"
#include "lib/text.h"
#include "proxy/config/annotations_value.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/linkerd.h"
#include "proxy/config/manifest_text.h"

#define KIND(name) (UINT32_C(1) << KIND_##name)
#define ROW(name) (UINT32_C(1) << TIMEOUT_##name)
#define EVERY UINT32_MAX
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

enum { BACKOFF_LEAST_MS = 25, BACKOFF_MOST_MS = 250 }; /* Linkerd's */
enum { VALUE_SHOWN = 80 };

_Static_assert(KIND_COUNT < 32 && TIMEOUT_COUNT < 32, "a bit for each");

/* --- the keys --- */

#define GO_ACCEPTED "a Go duration from 0s (off) on, such as 500ms, 30s or 1h30m"
#define LINKERD_ACCEPTED "a duration from 0s (off) on, such as 500ms, 30s, 1h30m or 1d"

/* A name behind a domain: a timeout, or a part of a retry. */
struct key {
	const char *name;
	enum timeout_id timeout;
	bool after_request;            /* the timeout counts from the end of the request (linkerd2-proxy's response_end) */
	annotations_value_retry *retry; /* NULL = the timeout */
	const char *accepted;          /* of the retry's value */
	const char *sets;              /* likewise: what it is, for the documentation */
	bool codes;                    /* without one of these there is no retry */
	bool ports;                    /* a list of ports, of those carried as opaque bytes */
	uint32_t kinds;                /* on which it means something, 0 = those of its family */
};

static const struct key timeout_keys[] = {
    {.name = "request", .timeout = TIMEOUT_REQUEST},
    {.name = "response", .timeout = TIMEOUT_BACKEND_REQUEST, .after_request = true},
    {.name = "idle", .timeout = TIMEOUT_STREAM_IDLE},
};

/* What stands under this domain for other use is told of by linkerd.c. */
static const struct key config_keys[] = {
    {.name = "proxy-outbound-connect-timeout", .timeout = TIMEOUT_CONNECT},
    {.name = "opaque-ports", .timeout = TIMEOUT_NONE, .ports = true, .kinds = KIND(SERVICE) | KIND(NAMESPACE) | KIND(POD),
     .accepted = "ports and ranges from 1 to 65535 such as 3306,8000-8099; on a Service names of its ports too",
     .sets = "which ports are opaque: the pod's inbound, a Service's both ways; a Namespace's where these have none"},
};

static const struct key retry_keys[] = {
    {.name = "http", .retry = annotations_value_http, .codes = true,
     .accepted = "a list of status codes and ranges from 400 to 599, 5xx and gateway-error, such as 503,gateway-error",
     .sets = "statuses that are tried again"},
    {.name = "grpc", .retry = annotations_value_grpc, .codes = true,
     .accepted = "a list of cancelled, deadline-exceeded, internal, resource-exhausted and unavailable",
     .sets = "gRPC statuses that are tried again (HTTP/2)"},
    {.name = "limit", .retry = annotations_value_limit, .accepted = "a number from 0 (as unset) to 65535",
     .sets = "most retries of a request, 1 unless set"},
    {.name = "timeout", .retry = annotations_value_attempt, .accepted = LINKERD_ACCEPTED,
     .sets = "time to the response head, of every attempt but the last"},
};

#define GATEWAY_ROUTES (KIND(HTTP_ROUTE) | KIND(GRPC_ROUTE) | KIND(TCP_ROUTE) | KIND(TLS_ROUTE))

#define DOMAIN_OURS "lapse.proxy/"
#define TIMED (EVERY & ~KIND(NAMESPACE))

/* Who defined the annotations. Of several that set one timeout the later row wins. */
static const struct family {
	const char *domain;
	uint32_t kinds;
	const struct key *keys; /* NULL: the timeouts of `rows`, under the names of their flags */
	size_t key_count;
	uint32_t rows;
	annotations_value_duration *read;
	const char *accepted;
	bool shared;  /* the domain has names of other use: only "timeout-…" can be meant for us */
	bool foreign; /* only its keys can be */
} families[] = {
    {.domain = "retry.linkerd.io/", .keys = retry_keys, .key_count = LENGTH(retry_keys),
     .kinds = KIND(HTTP_ROUTE) | KIND(GRPC_ROUTE) | KIND(SERVICE)},
    {.domain = "config.linkerd.io/", .keys = config_keys, .key_count = LENGTH(config_keys), .kinds = KIND(POD),
     .read = annotations_value_linkerd, .accepted = LINKERD_ACCEPTED, .foreign = true},
    {.domain = "timeout.linkerd.io/", .keys = timeout_keys, .key_count = LENGTH(timeout_keys),
     .kinds = KIND(HTTP_ROUTE) | KIND(GRPC_ROUTE) | KIND(SERVICE),
     .read = annotations_value_linkerd, .accepted = LINKERD_ACCEPTED},
    {.domain = "kubelb.k8c.io/",
     .rows = ROW(REQUEST) | ROW(STREAM_IDLE) | ROW(REQUEST_HEADERS) | ROW(IDLE_CONNECTION) | ROW(TCP_IDLE) | ROW(CONNECT),
     .kinds = KIND(INGRESS) | GATEWAY_ROUTES | KIND(KUBELB_ROUTE) | KIND(LOAD_BALANCER),
     .read = annotations_value_go, .accepted = GO_ACCEPTED, .shared = true},
    {.domain = DOMAIN_OURS, .rows = EVERY, .kinds = TIMED, .read = annotations_value_go, .accepted = GO_ACCEPTED},
};

static bool annotations_find_key(const struct family *family, const char *name, struct key *out);

static const struct family *annotations_find_family(const char *key)
{
	for (size_t i = 0; i < LENGTH(families); i++) {
		size_t length = strlen(families[i].domain);
		struct key found;

		if (strncmp(key, families[i].domain, length) == 0 &&
		    (!families[i].foreign || annotations_find_key(&families[i], key + length, &found)) &&
		    (!families[i].shared || strncmp(key + length, "timeout-", strlen("timeout-")) == 0))
			return &families[i];
	}
	return NULL;
}

/* The key at *at, which moves on; a row's name is written to `flag`. False: there are no more. */
static bool annotations_next_key(const struct family *family, size_t *at, char flag[static TIMEOUTS_FLAG_SIZE], struct key *out)
{
	if (family->keys) {
		if (*at == family->key_count)
			return false;
		*out = family->keys[(*at)++];
		return true;
	}
	while (*at < TIMEOUT_COUNT && !(family->rows >> *at & 1))
		++*at;
	if (*at == TIMEOUT_COUNT)
		return false;
	*out = (struct key){.name = flag, .timeout = (enum timeout_id)*at};
	timeouts_flag_name(out->timeout, flag);
	++*at;
	return true;
}

/* On which kinds a key of the family means something: how long we drain is for the whole proxy, whatever it carries. */
static uint32_t annotations_kinds(const struct family *family, const struct key *key)
{
	bool whole = !key->retry && !key->ports && timeouts_of_proxy(key->timeout);

	if (key->kinds)
		return key->kinds;
	return whole ? family->kinds & (KIND(CONFIG) | KIND(TENANT) | KIND(POD)) : family->kinds;
}

static bool annotations_find_key(const struct family *family, const char *name, struct key *out)
{
	char flag[TIMEOUTS_FLAG_SIZE];

	for (size_t at = 0; annotations_next_key(family, &at, flag, out);)
		if (strcmp(out->name, name) == 0)
			return true;
	return false;
}

/* --- what an object has --- */

struct gathered {
	struct arena *arena;
	struct diagnostics *diagnostics;
	const struct object *object;
	const struct timeouts *before; /* of the pod; NULL = nothing */
	struct {
		const struct family *family; /* NULL = unset */
		const char *key;
		int64_t milliseconds;
		bool after_request;
	} timeouts[TIMEOUT_COUNT];
	struct retry retry;
	const char *retry_key; /* the one that gave the codes, NULL = none did */
	const struct ports *opaque_ports;
	bool no_memory;
};

enum { SUBJECT_SIZE = 600 };

/* "TCPRoute default/postgres", "Tenant shop", "the pod" */
static const char *annotations_subject(const struct object *object, char out[static SUBJECT_SIZE])
{
	if (object->kind == KIND_POD)
		return "the pod";
	snprintf(out, SUBJECT_SIZE, "%s %s%s%s", catalog_kind_name(object->kind), object->namespace, *object->namespace ? "/" : "", object->name);
	return out;
}

/* "routes.yaml:3: HTTPRoute default/web: annotation KEY: …; ignored", or what becomes of it instead */
static void annotations_warn_fate(const struct gathered *gathered, const struct annotation *annotation, const char *what,
                                  const char *fate)
{
	char subject[SUBJECT_SIZE];

	diagnostics_add(gathered->diagnostics, false, "%s:%u: %s: annotation %.200s: %s; %s", gathered->object->file,
	                annotation->line, annotations_subject(gathered->object, subject), annotation->key, what, fate);
}

static void annotations_warn(const struct gathered *gathered, const struct annotation *annotation, const char *what)
{
	annotations_warn_fate(gathered, annotation, what, "ignored");
}

static void annotations_warn_value(const struct gathered *gathered, const struct annotation *annotation, const char *accepted,
                                   const char *fate)
{
	TEXT_ON_STACK(what, DIAGNOSTIC_SIZE);
	size_t length = strlen(annotation->value), shown = diagnostics_cut(annotation->value, length, VALUE_SHOWN);

	text_printf(&what, "\"%.*s%s\": %s", (int)shown, annotation->value, shown < length ? "…" : "", accepted);
	annotations_warn_fate(gathered, annotation, what_bytes, fate);
}

static void annotations_warn_kind(const struct gathered *gathered, const struct annotation *annotation, uint32_t kinds)
{
	TEXT_ON_STACK(what, DIAGNOSTIC_SIZE);
	const char *separator = " ";

	text_printf(&what, "it has no meaning on a %s, only on", catalog_kind_name(gathered->object->kind));
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		if (!(kinds >> kind & 1))
			continue;
		text_printf(&what, "%s%s", separator, kind == KIND_POD ? "the pod" : catalog_kind_name((enum kind)kind));
		separator = ", ";
	}
	annotations_warn(gathered, annotation, what_bytes);
}

static void annotations_warn_unknown(const struct gathered *gathered, const struct annotation *annotation,
                                     const struct family *family)
{
	TEXT_ON_STACK(what, DIAGNOSTIC_SIZE);
	char flag[TIMEOUTS_FLAG_SIZE];
	struct key key;

	text_printf(&what, "unknown; %s has", family->domain);
	for (size_t at = 0, first = 1; annotations_next_key(family, &at, flag, &key); first = 0)
		text_printf(&what, "%s%s", first ? " " : ", ", key.name);
	annotations_warn(gathered, annotation, what_bytes);
}

static const char *annotations_source(const struct gathered *gathered, const char *key);

/* The value is wrong: what this annotation said before stays in force, if it said something. */
static void annotations_take_before(struct gathered *gathered, const struct annotation *annotation, const struct family *family,
                                    enum timeout_id id)
{
	const struct timeouts *before = gathered->before;
	const char *source = before && before->of[id].source ? annotations_source(gathered, annotation->key) : NULL;
	char duration[DURATION_TEXT_SIZE];
	TEXT_ON_STACK(fate, 128);

	if (!source || strcmp(source, before->of[id].source) != 0) {
		annotations_warn_value(gathered, annotation, family->accepted, "ignored");
		return;
	}
	text_printf(&fate, "%s, which was in force before, stays", duration_format(before->of[id].milliseconds, duration));
	annotations_warn_value(gathered, annotation, family->accepted, fate_bytes);
	gathered->timeouts[id].family = family;
	gathered->timeouts[id].key = annotation->key;
	gathered->timeouts[id].milliseconds = before->of[id].milliseconds;
	gathered->timeouts[id].after_request = before->of[id].after_request;
}

static void annotations_take_timeout(struct gathered *gathered, const struct annotation *annotation, const struct family *family,
                                     const struct key *key)
{
	enum timeout_id id = key->timeout;
	int64_t milliseconds;

	if (!family->read(annotation->value, &milliseconds)) {
		annotations_take_before(gathered, annotation, family, id);
	} else if (!gathered->timeouts[id].family || family >= gathered->timeouts[id].family) {
		gathered->timeouts[id].family = family;
		gathered->timeouts[id].key = annotation->key;
		gathered->timeouts[id].milliseconds = milliseconds;
		gathered->timeouts[id].after_request = key->after_request;
	}
}

static void annotations_take_retry(struct gathered *gathered, const struct annotation *annotation, const struct key *key)
{
	struct retry retry = gathered->retry;

	if (!key->retry(annotation->value, &retry)) {
		annotations_warn_value(gathered, annotation, key->accepted, "ignored");
		return;
	}
	gathered->retry = retry;
	if (key->codes && !gathered->retry_key)
		gathered->retry_key = annotation->key;
}

static bool annotations_is_named(const char *text, const char *name, size_t length)
{
	return text && strlen(text) == length && memcmp(text, name, length) == 0;
}

/* The port of a Service that has this name, or whose targetPort has it; 0: none. */
static uint16_t annotations_port_named(const struct object *object, const char *name, size_t length)
{
	const struct service *service = (const struct service *)object;

	for (size_t i = 0; object->kind == KIND_SERVICE && i < service->port_count; i++) {
		const struct service_port *port = &service->ports[i];

		if (annotations_is_named(port->name, name, length) || annotations_is_named(port->target_name, name, length))
			return port->port;
	}
	return 0;
}

/* The list with numbers in place of names; what is unknown is told of and left out. NULL: no memory. */
static const char *annotations_number_ports(const struct gathered *gathered, const struct annotation *annotation)
{
	const struct object *object = gathered->object;
	size_t size = strlen(annotation->value) * 3 + 8; /* five digits and a comma where a letter and a comma stood */
	char *numbers = arena_alloc(gathered->arena, size);
	struct text text;

	if (!numbers)
		return NULL;
	text_init(&text, numbers, size);
	for (const char *at = annotation->value, *separator = "", *end; at; at = *end ? end + 1 : NULL) {
		TEXT_ON_STACK(what, 200);
		size_t length;
		uint16_t port;

		at += strspn(at, " \t");
		end = at + strcspn(at, ",");
		for (length = (size_t)(end - at); length && (at[length - 1] == ' ' || at[length - 1] == '\t'); length--)
			continue;
		port = annotations_port_named(object, at, length);
		if (port) {
			text_printf(&text, "%s%u", separator, port);
		} else if (!manifest_text_is_port_name(at, length)) {
			text_printf(&text, "%s%.*s", separator, (int)length, at);
		} else {
			text_printf(&what, "\"%.*s\" %s", (int)length, at, object->kind == KIND_SERVICE ? "is the name of none of its ports" :
			            "is a name, and names of container ports are not known here; give the number");
			annotations_warn(gathered, annotation, what_bytes);
			continue;
		}
		separator = ",";
	}
	return numbers;
}

static void annotations_take_ports(struct gathered *gathered, const struct annotation *annotation, const struct key *key)
{
	const char *numbers = annotations_number_ports(gathered, annotation);
	struct ports ports = {0};
	int result = numbers ? ports_parse(&ports, numbers, NULL, NULL) : -ENOMEM;

	if (result == -EINVAL) {
		annotations_warn_value(gathered, annotation, key->accepted, "ignored");
		return;
	}
	gathered->opaque_ports = result ? NULL : ports_keep(&ports, gathered->arena);
	gathered->no_memory |= !gathered->opaque_ports;
}

/* Linkerd's other annotations: told of, with what does the same here. */
static void annotations_warn_linkerd(const struct gathered *gathered, const struct annotation *annotation)
{
	const char *instead = linkerd_instead(annotation->key, gathered->object->kind == KIND_POD);

	if (instead)
		annotations_warn(gathered, annotation, instead);
}

static void annotations_take(struct gathered *gathered, const struct annotation *annotation)
{
	const struct family *family = annotations_find_family(annotation->key);
	struct key key;

	if (!family) {
		annotations_warn_linkerd(gathered, annotation);
		return;
	}
	/* On a pod lapse.proxy/ has the flags of injection besides; only what is called a timeout can be meant for us. */
	if (gathered->object->kind == KIND_POD && family->rows == EVERY &&
	    strncmp(annotation->key + strlen(family->domain), "timeout-", strlen("timeout-")) != 0)
		return;
	if (!annotations_find_key(family, annotation->key + strlen(family->domain), &key))
		annotations_warn_unknown(gathered, annotation, family);
	else if (!(annotations_kinds(family, &key) >> gathered->object->kind & 1))
		annotations_warn_kind(gathered, annotation, annotations_kinds(family, &key));
	else if (key.ports)
		annotations_take_ports(gathered, annotation, &key);
	else if (key.retry)
		annotations_take_retry(gathered, annotation, &key);
	else
		annotations_take_timeout(gathered, annotation, family, &key);
}

/* "annotation kubelb.k8c.io/timeout-connect on TCPRoute default/postgres" */
static const char *annotations_source(const struct gathered *gathered, const char *key)
{
	char subject[SUBJECT_SIZE];

	return arena_printf(gathered->arena, "annotation %s on %s", key, annotations_subject(gathered->object, subject));
}

/* NULL in *out when no timeout is set. */
static int annotations_keep_timeouts(const struct gathered *gathered, const struct timeouts **out)
{
	struct timeouts *timeouts = NULL;

	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		if (!gathered->timeouts[id].family)
			continue;
		if (!timeouts) {
			timeouts = arena_alloc(gathered->arena, sizeof *timeouts);
			if (!timeouts)
				return -ENOMEM;
			timeouts_init_unset(timeouts);
		}
		const char *source = annotations_source(gathered, gathered->timeouts[id].key);
		if (!source)
			return -ENOMEM;
		timeouts->of[id] = (struct timeout_value){gathered->timeouts[id].milliseconds, source, gathered->timeouts[id].after_request};
	}
	*out = timeouts;
	return 0;
}

/* NULL in *out when nothing is to be tried again. */
static int annotations_keep_retry(const struct gathered *gathered, const struct retry **out)
{
	struct retry *retry = NULL;

	if (gathered->retry_key) {
		retry = arena_alloc(gathered->arena, sizeof *retry);
		if (!retry)
			return -ENOMEM;
		*retry = gathered->retry;
		retry->source = annotations_source(gathered, gathered->retry_key);
		if (!retry->source)
			return -ENOMEM;
	}
	*out = retry;
	return 0;
}

int annotations_apply(struct arena *arena, struct diagnostics *diagnostics, struct object *object,
                      const struct annotation *annotations, size_t count)
{
	return annotations_apply_pod(arena, diagnostics, object, annotations, count, NULL);
}

int annotations_apply_pod(struct arena *arena, struct diagnostics *diagnostics, struct object *object,
                          const struct annotation *annotations, size_t count, const struct timeouts *before)
{
	struct gathered gathered = {
	    .arena = arena,
	    .diagnostics = diagnostics,
	    .object = object,
	    .before = before,
	    .retry = {.attempts = 1, .backoff_ms = BACKOFF_LEAST_MS, .backoff_most_ms = BACKOFF_MOST_MS},
	};
	const struct timeouts *timeouts;
	const struct retry *retry;

	for (size_t i = 0; i < count; i++)
		annotations_take(&gathered, &annotations[i]);
	if (gathered.no_memory || annotations_keep_timeouts(&gathered, &timeouts) != 0 || annotations_keep_retry(&gathered, &retry) != 0)
		return -ENOMEM;
	object->annotated = timeouts;
	object->retry = retry;
	object->opaque_ports = gathered.opaque_ports;
	return 0;
}

/* --- the documentation --- */

/* "Ingress, HTTPRoute", "all", or "all but …" where that is shorter; the pod, which is no document, last. */
static void annotations_print_kinds(uint32_t kinds, FILE *to)
{
	uint32_t documents = (KIND(COUNT) - 1) & ~KIND(POD), listed = kinds & documents, others = documents & ~kinds;
	bool most = __builtin_popcount(listed) > __builtin_popcount(others);
	const char *separator = most ? "all but " : "";

	if (most)
		listed = others;
	if (!others)
		fprintf(to, "all");
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		if (!(listed >> kind & 1))
			continue;
		fprintf(to, "%s%s", separator, catalog_kind_name((enum kind)kind));
		separator = ", ";
	}
	if (kinds & KIND(POD))
		fprintf(to, "%sthe pod", kinds & documents ? "; " : "");
}

void annotations_print(FILE *to)
{
	fprintf(to, "| annotation | sets | value | on |\n|---|---|---|---|\n");
	for (size_t i = LENGTH(families); i-- > 0;) { /* what wins stands first */
		const struct family *family = &families[i];
		char flag[TIMEOUTS_FLAG_SIZE];
		struct key key;

		for (size_t at = 0; annotations_next_key(family, &at, flag, &key);) {
			fprintf(to, "| `%s%s` | ", family->domain, key.name);
			if (key.sets)
				fprintf(to, "%s", key.sets);
			else
				fprintf(to, "`%s`%s", timeouts_name(key.timeout), key.after_request ? ", counted from the end of the request" : "");
			fprintf(to, " | %s | ", key.accepted ? key.accepted : family->accepted);
			annotations_print_kinds(annotations_kinds(family, &key), to);
			fprintf(to, " |\n");
		}
	}
}
