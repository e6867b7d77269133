#include "proxy/policy/filter.h"

#include <string.h>

#include "lib/text.h"

/* What may not stand in any URI, and the characters of `also`, as %XX (RFC 3986 §2.1). */
static void filter_append(struct text *out, const void *from, size_t length, const char *also)
{
	const unsigned char *bytes = from;
	size_t plain = 0;

	for (size_t i = 0; i < length; i++) {
		if (bytes[i] > 0x20 && bytes[i] < 0x7f && !strchr(also, bytes[i]))
			continue;
		text_append(out, (const char *)bytes + plain, i - plain);
		text_printf(out, "%%%02X", bytes[i]);
		plain = i + 1;
	}
	if (length > plain)
		text_append(out, (const char *)bytes + plain, length - plain);
}

/* A path from the configuration begins with '/', whatever was written, and begins neither a query nor a fragment. */
static void filter_append_value(struct text *out, const char *value, size_t length)
{
	if (length > 0 && *value != '/')
		text_char(out, '/');
	filter_append(out, value, length, "?#");
}

static void filter_replace_prefix(const char *value, const struct route_match *match, struct slice path, struct text *out)
{
	size_t matched = strlen(match->path), length = strlen(value);

	if (matched > path.length)
		matched = path.length;
	while (length > 0 && value[length - 1] == '/')
		length--;
	filter_append_value(out, value, length);
	if (matched < path.length)
		filter_append(out, path.bytes + matched, path.length - matched, "");
	else if (length == 0)
		text_char(out, '/');
}

void filter_path(enum path_rewrite how, const char *value, const struct route_match *match, struct slice path,
                 struct text *out)
{
	if (how == PATH_REPLACE_FULL)
		filter_append_value(out, *value ? value : "/", *value ? strlen(value) : 1);
	else if (how == PATH_REPLACE_PREFIX && match->path_type == PATH_PREFIX)
		filter_replace_prefix(value, match, path, out);
	else
		filter_append(out, path.bytes, path.length, "");
}

/* 0 for a scheme without a port of its own. */
static uint16_t filter_scheme_port(const char *scheme)
{
	return strcmp(scheme, "http") == 0 ? 80 : strcmp(scheme, "https") == 0 ? 443 : 0;
}

static void filter_authority(const struct redirect *redirect, struct slice host, uint16_t service_port, struct text *out)
{
	const char *scheme = redirect->scheme ? redirect->scheme : "http";
	uint16_t usual = filter_scheme_port(scheme), port = redirect->port;

	if (!port && redirect->scheme)
		port = usual;
	if (!port)
		port = service_port;
	text_printf(out, "%s://", scheme);
	filter_append(out, host.bytes, host.length, "\"#/<>?@\\^`{|}"); /* RFC 3986 §3.2 */
	if (port && port != usual)
		text_printf(out, ":%u", port);
}

void filter_location(const struct redirect *redirect, const struct route_match *match, const struct route_request *request,
                     uint16_t service_port, struct text *out)
{
	struct slice host = request->host;

	if (redirect->hostname)
		host = (struct slice){(const uint8_t *)redirect->hostname, strlen(redirect->hostname)};
	/* Without any host only a relative reference is left (RFC 3986 §4.2); the dot keeps "//x" from being one to a host x. */
	if (host.length > 0)
		filter_authority(redirect, host, service_port, out);
	else
		text_string(out, "/.");
	filter_path(redirect->path, redirect->path_value, match, request->path, out);
	if (redirect->path != PATH_REPLACE_FULL && request->query.length > 0) {
		text_char(out, '?');
		filter_append(out, request->query.bytes, request->query.length, "#");
	}
}
