#include "proxy/publish/response.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <llhttp.h>

#include "lib/text.h"

enum { NAME_MOST = 32, VALUE_MOST = 64, RETRY_AFTER_MOST_S = 3600 };

struct response {
	llhttp_t parser; /* first: the callbacks get its address */
	const struct response_events *events;
	void *owner;
	struct response_head head;
	size_t head_bytes; /* of names and values */
	char name[NAME_MOST], value[VALUE_MOST]; /* of the field at hand, cut */
	size_t name_length, value_length;
	bool begun, in_body, complete, keeps, cancelled, too_large;
};

static struct response *response_of(llhttp_t *parser)
{
	return (struct response *)(void *)parser;
}

static int response_gather(struct response *response, char *to, size_t size, size_t *length, const char *at, size_t more)
{
	size_t room = size - *length, taken = more < room ? more : room;

	memcpy(to + *length, at, taken);
	*length += taken;
	response->head_bytes += more;
	response->too_large = response->head_bytes > RESPONSE_HEAD_MOST;
	return response->too_large ? HPE_USER : HPE_OK;
}

static int response_on_name(llhttp_t *parser, const char *at, size_t length)
{
	struct response *response = response_of(parser);

	if (response->in_body) /* a trailer */
		return HPE_OK;
	return response_gather(response, response->name, sizeof response->name, &response->name_length, at, length);
}

static int response_on_value(llhttp_t *parser, const char *at, size_t length)
{
	struct response *response = response_of(parser);

	if (response->in_body)
		return HPE_OK;
	return response_gather(response, response->value, sizeof response->value, &response->value_length, at, length);
}

static bool response_is_named(const struct response *response, const char *name)
{
	return response->name_length == strlen(name) && strncasecmp(response->name, name, response->name_length) == 0;
}

/* RFC 9110 section 10.2.3; kube-apiserver sends seconds. */
static int64_t response_retry_after(const char *value, size_t length)
{
	int64_t seconds = 0;

	for (size_t i = 0; i < length; i++) {
		if (value[i] < '0' || value[i] > '9')
			return -1;
		if (seconds < RETRY_AFTER_MOST_S)
			seconds = seconds * 10 + (value[i] - '0');
	}
	if (length == 0)
		return -1;
	return (seconds < RETRY_AFTER_MOST_S ? seconds : RETRY_AFTER_MOST_S) * 1000;
}

static int response_on_field(llhttp_t *parser)
{
	static const char json[] = "application/json";
	struct response *response = response_of(parser);

	if (response_is_named(response, "content-type"))
		response->head.json = response->value_length >= sizeof json - 1 &&
		                      strncasecmp(response->value, json, sizeof json - 1) == 0 &&
		                      (response->value_length == sizeof json - 1 || strchr("; ", response->value[sizeof json - 1]) != NULL);
	else if (response_is_named(response, "retry-after"))
		response->head.retry_after_ms = response_retry_after(response->value, response->value_length);
	response->name_length = response->value_length = 0;
	return HPE_OK;
}

static int response_on_head(llhttp_t *parser)
{
	struct response *response = response_of(parser);

	response->in_body = true;
	if (parser->status_code < 200 && parser->status_code != 101)
		return HPE_OK;
	response->head.status = parser->status_code;
	response->cancelled = !response->events->head(response->owner, &response->head);
	return response->cancelled ? HPE_USER : HPE_OK;
}

static int response_on_body(llhttp_t *parser, const char *at, size_t length)
{
	struct response *response = response_of(parser);

	response->cancelled = !response->events->body(response->owner, at, length);
	return response->cancelled ? HPE_USER : HPE_OK;
}

static int response_on_complete(llhttp_t *parser)
{
	struct response *response = response_of(parser);

	if (parser->status_code < 200 && parser->status_code != 101) { /* the response proper follows */
		response->in_body = false;
		response->head_bytes = 0;
		response->head = (struct response_head){.retry_after_ms = -1};
		return HPE_OK;
	}
	response->complete = true;
	response->keeps = llhttp_should_keep_alive(parser) != 0;
	return HPE_PAUSED;
}

static const llhttp_settings_t response_settings = {
	.on_header_field = response_on_name,
	.on_header_value = response_on_value,
	.on_header_value_complete = response_on_field,
	.on_headers_complete = response_on_head,
	.on_body = response_on_body,
	.on_message_complete = response_on_complete,
};

struct response *response_new(const struct response_events *events, void *owner)
{
	struct response *response = calloc(1, sizeof *response);

	if (response == NULL)
		return NULL;
	response->events = events;
	response->owner = owner;
	response_begin(response);
	return response;
}

void response_free(struct response *response)
{
	free(response);
}

void response_begin(struct response *response)
{
	*response = (struct response){.events = response->events, .owner = response->owner, .head = {.retry_after_ms = -1}};
	llhttp_init(&response->parser, HTTP_RESPONSE, &response_settings);
}

int response_feed(struct response *response, const char *bytes, size_t length, struct text *error)
{
	response->begun |= length > 0;
	llhttp_errno_t result = llhttp_execute(&response->parser, bytes, length);
	if (response->cancelled)
		return -ECANCELED;
	if (response->complete) {
		/* Nothing was asked that more could answer. */
		response->keeps &= llhttp_get_error_pos(&response->parser) == bytes + length;
		return 1;
	}
	if (result == HPE_OK)
		return 0;
	if (response->too_large)
		text_printf(error, "the head of the response is larger than %d KiB", RESPONSE_HEAD_MOST >> 10);
	else if (response->head.status == 0)
		text_printf(error, "what answers does not speak HTTP/1.1 (%s)", llhttp_get_error_reason(&response->parser));
	else
		text_printf(error, "the response is broken (%s)", llhttp_get_error_reason(&response->parser));
	return -EBADMSG;
}

int response_end(struct response *response, struct text *error)
{
	llhttp_errno_t result = response->complete ? HPE_OK : llhttp_finish(&response->parser);

	response->keeps = false;
	if (response->complete)
		return 1;
	if (!response->begun)
		text_string(error, "the connection was closed without a response");
	else if (!response->in_body)
		text_string(error, "the connection was closed in the middle of the response's head");
	else
		text_printf(error, "the connection was closed in the middle of the response%s", result == HPE_OK ? "" : "'s body");
	return -EBADMSG;
}

bool response_begun(const struct response *response)
{
	return response->begun;
}

bool response_keeps(const struct response *response)
{
	return response->complete && response->keeps;
}
