#include "proxy/policy/route.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Steps of work, as regex.h has them. */
enum { COST_FIELD = 20, COST_PARAMETER = 20, BYTES_A_STEP = 16 };

/* A pattern if there is one, else a text, of which NULL is anything. */
static bool route_text_matches(const char *text, const struct regex *regex, struct slice slice, struct regex_work *work)
{
	if (regex)
		return regex_matches(regex, (const char *)slice.bytes, slice.length, work);
	return !text || slice_is(slice, text);
}

/* What stands before the first of the stops; *rest begins with it then, or is empty. */
static struct slice route_cut(struct slice *rest, const char *stops)
{
	struct slice cut = {rest->bytes, 0};

	while (cut.length < rest->length && !strchr(stops, rest->bytes[cut.length]))
		cut.length++;
	*rest = (struct slice){rest->bytes + cut.length, rest->length - cut.length};
	return cut;
}

static void route_read_host(struct route_request *request, struct slice authority)
{
	size_t length = authority.length, digits = length;
	uint32_t port = 0;

	if (!length)
		return;
	while (digits > 0 && isdigit(authority.bytes[digits - 1]))
		digits--;
	if (digits > 0 && authority.bytes[digits - 1] == ':') {
		for (size_t i = digits; i < length && port <= UINT16_MAX; i++)
			port = port * 10 + (uint32_t)(authority.bytes[i] - '0');
		length = digits - 1;
	}
	if (length > 0 && authority.bytes[length - 1] == '.')
		length--;
	request->host = (struct slice){authority.bytes, length};
	request->host_port = port <= UINT16_MAX ? (uint16_t)port : 0;
}

void route_request_read(struct route_request *request, const struct request_head *head)
{
	struct slice rest = head->path;

	*request = (struct route_request){.head = *head};
	request->path = route_cut(&rest, "?#");
	if (head->path.length && !request->path.length) /* "http://host?query" */
		request->path = (struct slice){(const uint8_t *)"/", 1};
	if (rest.length > 0 && rest.bytes[0] == '?') {
		rest = (struct slice){rest.bytes + 1, rest.length - 1};
		request->query = route_cut(&rest, "#");
	}
	route_read_host(request, head->authority);
}

bool route_next_field(const struct route_request *request, size_t *offset, struct slice *name, struct slice *value)
{
	return request->head.next_field && request->head.next_field(&request->head, offset, name, value);
}

bool route_host_matches(const char *pattern, struct slice host)
{
	bool wildcard = pattern[0] == '*' && pattern[1] == '.';
	size_t length = strlen(pattern + wildcard);

	if (wildcard ? host.length <= length : host.length != length)
		return false;
	return length == 0 || strncasecmp((const char *)host.bytes + host.length - length, pattern + wildcard, length) == 0;
}

/* --- what a match names --- */

static bool route_path_matches(const struct route_match *match, struct route_request *request)
{
	struct slice path = request->path;
	size_t length;

	if (match->path_type != PATH_PREFIX)
		return route_text_matches(match->path, match->path_type == PATH_REGEX ? match->path_regex : NULL, path,
		                          &request->work);
	length = strlen(match->path);
	if (path.length < length || (length && memcmp(path.bytes, match->path, length) != 0))
		return false;
	return length == 0 || path.length == length || path.bytes[length] == '/';
}

static bool route_header_matches(const struct value_match *wanted, struct route_request *request)
{
	size_t offset = 0, length = strlen(wanted->name);
	struct slice name, value;

	if (!regex_work_add(&request->work, request->head.size / BYTES_A_STEP))
		return false;
	while (route_next_field(request, &offset, &name, &value) && regex_work_add(&request->work, COST_FIELD))
		if (name.length == length && strncasecmp((const char *)name.bytes, wanted->name, length) == 0 &&
		    route_text_matches(wanted->value, wanted->type == VALUE_REGEX ? wanted->regex : NULL, value, &request->work))
			return true;
	return false;
}

static uint8_t route_digit(uint8_t hexadecimal)
{
	return (uint8_t)(hexadecimal <= '9' ? hexadecimal - '0' : (hexadecimal | 0x20) - 'a' + 10);
}

/* The first byte of a form-encoded text that is not empty, which moves behind it. A '%' without two digits stands for itself. */
static uint8_t route_decode(struct slice *encoded)
{
	const uint8_t *at = encoded->bytes;
	size_t used = 1;
	uint8_t byte = *at;

	if (byte == '+') {
		byte = ' ';
	} else if (byte == '%' && encoded->length > 2 && isxdigit(at[1]) && isxdigit(at[2])) {
		byte = (uint8_t)(route_digit(at[1]) << 4 | route_digit(at[2]));
		used = 3;
	}
	*encoded = (struct slice){at + used, encoded->length - used};
	return byte;
}

static bool route_decoded_is(struct slice encoded, const char *text)
{
	while (encoded.length > 0)
		if (*text == '\0' || route_decode(&encoded) != (uint8_t)*text++)
			return false;
	return *text == '\0';
}

static bool route_decoded_matches(struct slice encoded, const struct regex *regex, struct regex_work *work)
{
	char *decoded = malloc(encoded.length + 1);
	size_t length = 0;
	bool matches;

	if (!decoded)
		work->undecided = true;
	if (!decoded || !regex_work_add(work, 4 * encoded.length)) {
		free(decoded);
		return false;
	}
	while (encoded.length > 0)
		decoded[length++] = (char)route_decode(&encoded);
	matches = regex_matches(regex, decoded, length, work);
	free(decoded);
	return matches;
}

/* What stands before the byte, which is taken away too; all of it where there is none. */
static struct slice route_split(struct slice *rest, uint8_t byte)
{
	const uint8_t *found = rest->length ? memchr(rest->bytes, byte, rest->length) : NULL;
	struct slice part = {rest->bytes, found ? (size_t)(found - rest->bytes) : rest->length};

	*rest = found ? (struct slice){found + 1, rest->length - part.length - 1} : (struct slice){0};
	return part;
}

static bool route_query_matches(const struct value_match *wanted, struct route_request *request)
{
	struct slice query = request->query;

	if (!regex_work_add(&request->work, query.length / BYTES_A_STEP))
		return false;
	while (query.length > 0 && regex_work_add(&request->work, COST_PARAMETER)) {
		struct slice value = route_split(&query, '&'), name = route_split(&value, '=');

		if (route_decoded_is(name, wanted->name))
			return wanted->type == VALUE_REGEX ? route_decoded_matches(value, wanted->regex, &request->work)
			                                   : route_decoded_is(value, wanted->value);
	}
	return false;
}

static bool route_grpc_matches(const struct route_match *match, struct route_request *request)
{
	struct slice method = request->path, service;

	if (!slice_is(request->head.method, "POST") || !method.length || method.bytes[0] != '/')
		return false;
	method = (struct slice){method.bytes + 1, method.length - 1};
	service = route_cut(&method, "/");
	if (!service.length || method.length < 2 || memchr(method.bytes + 1, '/', method.length - 1))
		return false;
	method = (struct slice){method.bytes + 1, method.length - 1};
	return route_text_matches(match->grpc_service, match->grpc_service_regex, service, &request->work) &&
	       route_text_matches(match->grpc_method, match->grpc_method_regex, method, &request->work);
}

bool route_matches(const struct route_match *match, bool grpc, struct route_request *request)
{
	if (grpc ? !route_grpc_matches(match, request)
	         : !route_text_matches(match->method, NULL, request->head.method, &request->work) || !route_path_matches(match, request))
		return false;
	for (size_t i = 0; i < match->header_count; i++)
		if (!route_header_matches(&match->headers[i], request))
			return false;
	for (size_t i = 0; i < match->query_count; i++)
		if (!route_query_matches(&match->queries[i], request))
			return false;
	return true;
}
