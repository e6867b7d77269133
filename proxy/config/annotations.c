#include "proxy/config/annotations.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/arena.h"
#include "lib/duration.h"
#include "lib/text.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/linkerd.h"

#define KIND(name) (UINT32_C(1) << KIND_##name)
#define ROW(name) (UINT32_C(1) << TIMEOUT_##name)
#define EVERY UINT32_MAX
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

enum { BACKOFF_LEAST_MS = 25, BACKOFF_MOST_MS = 250 }; /* Linkerd's */
enum { VALUE_SHOWN = 80 };

_Static_assert(KIND_COUNT < 32 && TIMEOUT_COUNT < 32, "a bit for each");

/* --- values --- */

struct span {
	const char *bytes;
	size_t length;
};

static struct span annotations_trim(const char *bytes, size_t length)
{
	while (length > 0 && strchr(" \t\r\n", *bytes)) {
		bytes++;
		length--;
	}
	while (length > 0 && strchr(" \t\r\n", bytes[length - 1]))
		length--;
	return (struct span){bytes, length};
}

static bool annotations_span_is(struct span span, const char *word)
{
	return strlen(word) == span.length && strncasecmp(word, span.bytes, span.length) == 0;
}

/* A decimal number without sign, at most `most`. */
static bool annotations_read_number(struct span span, uint64_t most, uint64_t *out)
{
	uint64_t value = 0;

	for (size_t i = 0; i < span.length; i++) {
		if (span.bytes[i] < '0' || span.bytes[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(span.bytes[i] - '0');
		if (digit > most || value > (most - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return span.length > 0;
}

typedef bool annotations_read_duration(const char *value, int64_t *milliseconds);

static bool annotations_read_go(const char *value, int64_t *milliseconds)
{
	int64_t read;

	if (duration_parse(DURATION_GO, value, &read) != 0 || read < 0)
		return false;
	*milliseconds = read;
	return true;
}

/* Linkerd's own form, one number and one unit, knows days, zeros without a unit, a '+' and blanks around; all else of it is Go's. */
static bool annotations_read_linkerd(const char *value, int64_t *milliseconds)
{
	enum { DAY_MS = 86400000 };
	char text[128];
	uint64_t number;
	struct span span = annotations_trim(value, strlen(value));
	if (span.length == 0 || span.length >= sizeof text)
		return false;
	memcpy(text, span.bytes, span.length);
	text[span.length] = '\0';

	struct span digits = {text + (*text == '+'), span.length - (*text == '+')};
	if (annotations_read_number(digits, 0, &number)) {
		*milliseconds = 0;
		return true;
	}
	if (text[span.length - 1] != 'd')
		return annotations_read_go(text, milliseconds);
	digits.length--;
	if (!annotations_read_number(digits, INT64_MAX / 1000000 / DAY_MS, &number))
		return false;
	*milliseconds = (int64_t)number * DAY_MS;
	return true;
}

/* --- retry.linkerd.io --- */

typedef bool annotations_read_retry(const char *value, struct retry *retry);

/* Every entry of a comma-separated list, trimmed, of which there is at least one. */
static bool annotations_read_list(const char *value, struct retry *retry, bool (*read)(struct span entry, struct retry *retry))
{
	for (;; value++) {
		size_t length = strcspn(value, ",");

		if (!read(annotations_trim(value, length), retry))
			return false;
		value += length;
		if (!*value)
			return true;
	}
}

static bool annotations_read_code(struct span entry, struct retry *retry)
{
	static const struct {
		const char *name;
		uint64_t first, last;
	} names[] = {{"5xx", 500, 599}, {"gateway-error", 502, 504}};
	uint64_t first = 0, last = 0, most = RETRY_STATUS_FIRST + RETRY_STATUS_COUNT - 1;

	for (size_t i = 0; i < LENGTH(names); i++) {
		if (annotations_span_is(entry, names[i].name)) {
			first = names[i].first;
			last = names[i].last;
		}
	}
	if (!first) {
		const char *dash = memchr(entry.bytes, '-', entry.length);
		struct span start = {entry.bytes, dash ? (size_t)(dash - entry.bytes) : entry.length}, stop = start;

		if (dash)
			stop = (struct span){dash + 1, entry.length - start.length - 1};
		if (!annotations_read_number(start, most, &first) || !annotations_read_number(stop, most, &last) ||
		    first < RETRY_STATUS_FIRST || last < first)
			return false;
	}
	for (uint64_t bit = first - RETRY_STATUS_FIRST; bit <= last - RETRY_STATUS_FIRST; bit++)
		retry->codes[bit / 32] |= UINT32_C(1) << bit % 32;
	return true;
}

static bool annotations_read_http(const char *value, struct retry *retry)
{
	return annotations_read_list(value, retry, annotations_read_code);
}

static const struct {
	const char *name;
	unsigned number;
} grpc_statuses[] = {{"cancelled", 1}, {"deadline-exceeded", 4}, {"resource-exhausted", 8}, {"internal", 13}, {"unavailable", 14}};

const char *annotations_grpc_status(unsigned number)
{
	for (size_t i = 0; i < LENGTH(grpc_statuses); i++)
		if (grpc_statuses[i].number == number)
			return grpc_statuses[i].name;
	return NULL;
}

static bool annotations_read_grpc_status(struct span entry, struct retry *retry)
{
	for (size_t i = 0; i < LENGTH(grpc_statuses); i++) {
		if (annotations_span_is(entry, grpc_statuses[i].name)) {
			retry->grpc |= UINT64_C(1) << grpc_statuses[i].number;
			return true;
		}
	}
	return false;
}

static bool annotations_read_grpc(const char *value, struct retry *retry)
{
	return annotations_read_list(value, retry, annotations_read_grpc_status);
}

static bool annotations_read_limit(const char *value, struct retry *retry)
{
	uint64_t limit;

	if (!annotations_read_number(annotations_trim(value, strlen(value)), UINT16_MAX, &limit))
		return false;
	if (limit > 0)
		retry->attempts = (uint32_t)limit;
	return true;
}

static bool annotations_read_attempt(const char *value, struct retry *retry)
{
	return annotations_read_linkerd(value, &retry->attempt_ms);
}

/* --- the keys --- */

#define GO_ACCEPTED "a Go duration from 0s (off) on, such as 500ms, 30s or 1h30m"
#define LINKERD_ACCEPTED "a duration from 0s (off) on, such as 500ms, 30s, 1h30m or 1d"

/* A name behind a domain: a timeout, or a part of a retry. */
struct key {
	const char *name;
	enum timeout_id timeout;
	bool after_request;            /* the timeout counts from the end of the request (linkerd2-proxy's response_end) */
	annotations_read_retry *retry; /* NULL = the timeout */
	const char *accepted;          /* of the retry's value */
	const char *sets;              /* likewise: what it is, for the documentation */
	bool codes;                    /* without one of these there is no retry */
};

static const struct key timeout_keys[] = {
    {.name = "request", .timeout = TIMEOUT_REQUEST},
    {.name = "response", .timeout = TIMEOUT_BACKEND_REQUEST, .after_request = true},
    {.name = "idle", .timeout = TIMEOUT_STREAM_IDLE},
};

/* What stands under this domain for other use is told of by linkerd.c. */
static const struct key connect_keys[] = {{.name = "proxy-outbound-connect-timeout", .timeout = TIMEOUT_CONNECT}};

static const struct key retry_keys[] = {
    {.name = "http", .retry = annotations_read_http, .codes = true,
     .accepted = "a list of status codes and ranges from 400 to 599, 5xx and gateway-error, such as 503,gateway-error",
     .sets = "statuses that are tried again"},
    {.name = "grpc", .retry = annotations_read_grpc, .codes = true,
     .accepted = "a list of cancelled, deadline-exceeded, internal, resource-exhausted and unavailable",
     .sets = "gRPC statuses that are tried again (HTTP/2)"},
    {.name = "limit", .retry = annotations_read_limit, .accepted = "a number from 0 (as unset) to 65535",
     .sets = "most retries of a request, 1 unless set"},
    {.name = "timeout", .retry = annotations_read_attempt, .accepted = LINKERD_ACCEPTED,
     .sets = "time to the response head, of every attempt but the last"},
};

#define GATEWAY_ROUTES (KIND(HTTP_ROUTE) | KIND(GRPC_ROUTE) | KIND(TCP_ROUTE) | KIND(TLS_ROUTE))

#define DOMAIN_OURS "lapse.proxy/"

/* Who defined the annotations. Of several that set one timeout the later row wins. */
static const struct family {
	const char *domain;
	uint32_t kinds;
	const struct key *keys; /* NULL: the timeouts of `rows`, under the names of their flags */
	size_t key_count;
	uint32_t rows;
	annotations_read_duration *read;
	const char *accepted;
	bool shared;  /* the domain has names of other use: only "timeout-…" can be meant for us */
	bool foreign; /* only its keys can be */
} families[] = {
    {.domain = "retry.linkerd.io/", .keys = retry_keys, .key_count = LENGTH(retry_keys),
     .kinds = KIND(HTTP_ROUTE) | KIND(GRPC_ROUTE) | KIND(SERVICE)},
    {.domain = "config.linkerd.io/", .keys = connect_keys, .key_count = LENGTH(connect_keys), .kinds = KIND(POD),
     .read = annotations_read_linkerd, .accepted = LINKERD_ACCEPTED, .foreign = true},
    {.domain = "timeout.linkerd.io/", .keys = timeout_keys, .key_count = LENGTH(timeout_keys),
     .kinds = KIND(HTTP_ROUTE) | KIND(GRPC_ROUTE) | KIND(SERVICE),
     .read = annotations_read_linkerd, .accepted = LINKERD_ACCEPTED},
    {.domain = "kubelb.k8c.io/",
     .rows = ROW(REQUEST) | ROW(STREAM_IDLE) | ROW(REQUEST_HEADERS) | ROW(IDLE_CONNECTION) | ROW(TCP_IDLE) | ROW(CONNECT),
     .kinds = KIND(INGRESS) | GATEWAY_ROUTES | KIND(KUBELB_ROUTE) | KIND(LOAD_BALANCER),
     .read = annotations_read_go, .accepted = GO_ACCEPTED, .shared = true},
    {.domain = DOMAIN_OURS, .rows = EVERY, .kinds = EVERY, .read = annotations_read_go, .accepted = GO_ACCEPTED},
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
	bool whole = !key->retry && timeouts_of_proxy(key->timeout);

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
	if (annotations_keep_timeouts(&gathered, &timeouts) != 0 || annotations_keep_retry(&gathered, &retry) != 0)
		return -ENOMEM;
	object->annotated = timeouts;
	object->retry = retry;
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
		fprintf(to, "; the pod");
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
