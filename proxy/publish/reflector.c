#include "proxy/publish/reflector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/loop.h"
#include "lib/text.h"
#include "lib/wheel.h"
#include "proxy/config/yaml.h"
#include "proxy/publish/api.h"
#include "proxy/publish/client.h"
#include "proxy/publish/dialer.h"
#include "proxy/publish/json.h"
#include "proxy/publish/json_stream.h"
#include "proxy/publish/kinds.h"
#include "proxy/publish/reflector_object.h"
#include "proxy/publish/response.h"

enum reflector_stage {
	STAGE_PAUSE,   /* the timer says when it goes on */
	STAGE_PAGES,   /* a list, page by page */
	STAGE_INITIAL, /* a watch that begins with the list */
	STAGE_WATCH,
};

enum { VERSION_SIZE = 128, CONTINUE_SIZE = 4096, ERROR_BODY_MOST = 64 << 10, WELL_MS = 500, STREAMS_WITHOUT_END_MOST = 2 };

struct reflector {
	struct wheel_timer timer;
	struct loop_deferred deferred;
	struct loop *loop;
	struct dialer *dialer;
	struct client *client;
	const struct watch_kind *kind;
	char *api_version, *namespace; /* "gateway.networking.k8s.io/v1" */
	struct watcher_counts *counts;
	const struct reflector_events *events;
	void *owner;

	enum reflector_stage stage;
	struct json_stream stream;
	struct response_head head;
	struct buf body;                /* of an answer that is no 200 */
	char version[VERSION_SIZE];     /* resourceVersion to go on from, "" = a full list is due */
	char continues[CONTINUE_SIZE];  /* token of the next page, "" = the first one */
	bool synced, listed;            /* once; a full list has begun once */
	bool pages_only;                /* the server has no sendInitialEvents */
	bool bookmarks;                 /* it sends some */
	bool gave;                      /* the request at hand: an object or a bookmark */
	bool ended;                     /* an event said all that is to be said; the next pause is set */
	int streams_without_end;
	int64_t begun_ms, watch_ms;     /* the head came, 0 = not yet; how long the watch may take */
	uint32_t failures;              /* in a row */
	enum reflector_trouble trouble;
};

static struct reflector *reflector_of(struct wheel_timer *timer)
{
	return (struct reflector *)(void *)((char *)timer - offsetof(struct reflector, timer));
}

/* --- pauses --- */

static void reflector_say(struct reflector *reflector, enum reflector_trouble trouble, const char *sentence)
{
	enum reflector_trouble before = reflector->trouble;

	if (before == trouble)
		return;
	reflector->trouble = trouble;
	reflector->events->trouble(reflector->owner, reflector, trouble, sentence, reflector->stage == STAGE_PAGES ? "list" : "watch");
}

static int64_t reflector_backoff(struct reflector *reflector)
{
	int64_t most = 1000;

	if (reflector->failures <= 1)
		return 50 + dialer_jitter(reflector->dialer, 200);
	for (uint32_t i = 2; i < reflector->failures && most < REFLECTOR_MOST_MS; i++)
		most *= 2;
	if (most > REFLECTOR_MOST_MS)
		most = REFLECTOR_MOST_MS;
	return most - dialer_jitter(reflector->dialer, most / 2);
}

static void reflector_pause(struct reflector *reflector, int64_t least_ms)
{
	int64_t wait = reflector_backoff(reflector);

	if (wait < least_ms)
		wait = least_ms + dialer_jitter(reflector->dialer, least_ms / 5 + 1);
	reflector->stage = STAGE_PAUSE;
	reflector->ended = true;
	json_stream_reset(&reflector->stream);
	buf_release(&reflector->body);
	wheel_arm(loop_wheel(reflector->loop), &reflector->timer, loop_now(reflector->loop) + wait);
}

/* What the request at hand was worth: a watch that gave something, or stood for a while, ends a row of failures. */
static void reflector_count_failure(struct reflector *reflector)
{
	bool stood = reflector->begun_ms != 0 && reflector->head.status == 200 && loop_now(reflector->loop) - reflector->begun_ms >= WELL_MS;
	bool well = reflector->stage == STAGE_WATCH && (reflector->gave || stood);

	reflector->failures = well ? 1 : reflector->failures + 1;
}

/* --- answers that are none --- */

static void reflector_take_absence(struct reflector *reflector, const char *sentence)
{
	reflector_count_failure(reflector);
	if (reflector->kind->built_in) {
		reflector_say(reflector, TROUBLE_REFUSED, sentence);
		reflector_pause(reflector, REFLECTOR_MOST_MS);
		return;
	}
	reflector_pause(reflector, REFLECTOR_FORBIDDEN_MS);
	wheel_cancel(loop_wheel(reflector->loop), &reflector->timer);
	reflector->events->absent(reflector->owner, reflector);
}

/* The server has forgotten our resourceVersion, or a page's: a full list. */
static void reflector_take_gone(struct reflector *reflector)
{
	reflector->counts->gone++;
	reflector_count_failure(reflector);
	reflector->version[0] = reflector->continues[0] = '\0';
	reflector_pause(reflector, 0);
}

/* Whether it may be sendInitialEvents that the server lacks: 422 before Kubernetes 1.27 and without its WatchList; an ERROR event of
 * 500 where etcd cannot tell its progress (3.4). Pages do without in any case. */
static bool reflector_lacks_initial(int status)
{
	return status == 400 || status == 422 || (status >= 500 && status != 503);
}

/* An answer or an ERROR event with this status. */
static void reflector_take_status(struct reflector *reflector, int status, int64_t retry_after_ms, const char *message)
{
	if (reflector->stage == STAGE_INITIAL && reflector_lacks_initial(status)) {
		reflector->pages_only = true;
		reflector_pause(reflector, 0);
		return;
	}
	switch (status) {
	case 400:
	case 422:
		reflector->version[0] = reflector->continues[0] = '\0'; /* whatever it is that it does not like */
		break;
	case 403:
		reflector_count_failure(reflector);
		reflector_say(reflector, TROUBLE_FORBIDDEN, message);
		reflector_pause(reflector, REFLECTOR_FORBIDDEN_MS);
		return;
	case 404:
		reflector_take_absence(reflector, message);
		return;
	case 410:
		reflector_take_gone(reflector);
		return;
	case 429:
		reflector->counts->throttled++;
		retry_after_ms = retry_after_ms < 0 ? 1000 : retry_after_ms;
		break;
	case 503:
		retry_after_ms = retry_after_ms < 0 ? 1000 : retry_after_ms;
		break;
	default:
		break;
	}
	reflector_count_failure(reflector);
	if (status == 401 || reflector->failures > 3) /* a CRD that has just come is 429 for a moment */
		reflector_say(reflector, TROUBLE_REFUSED, message);
	reflector_pause(reflector, retry_after_ms);
}

/* --- objects --- */

static void reflector_set_version(struct reflector *reflector, const char *version)
{
	if (strlen(version) < sizeof reflector->version)
		strcpy(reflector->version, version);
}

static void reflector_finish_list(struct reflector *reflector, const char *version)
{
	reflector_set_version(reflector, version);
	reflector->continues[0] = '\0';
	reflector->synced = true;
	reflector->streams_without_end = 0;
	reflector_say(reflector, TROUBLE_NONE, NULL);
	reflector->events->synced(reflector->owner, reflector);
}

/* A full list begins; its head is here. */
static void reflector_begin_list(struct reflector *reflector)
{
	reflector->counts->restarts += reflector->listed;
	reflector->listed = true;
	reflector->version[0] = '\0';
	reflector->events->restart(reflector->owner, reflector);
}

static void reflector_refuse(struct reflector *reflector, const char *bytes, size_t length, bool event, const char *sentence)
{
	TEXT_ON_STACK(namespace, 256);
	TEXT_ON_STACK(name, 256);

	json_stream_find_name(bytes, length, event, &namespace, &name);
	reflector->events->refused(reflector->owner, reflector, reflector->kind->cluster_wide ? "" : namespace.data, name.data, sentence);
}

static void reflector_give(struct reflector *reflector, const struct reflector_object *object, bool gone)
{
	reflector->events->object(reflector->owner, reflector, object->namespace, object->name, object->version, gone ? NULL : object->tree);
}

static void reflector_take_bookmark(struct reflector *reflector, const struct yaml_node *object)
{
	const char *version = reflector_object_version(object);

	if (reflector->stage == STAGE_INITIAL) {
		if (!reflector_object_ends_list(object))
			return;
		reflector->stage = STAGE_WATCH;
		reflector_finish_list(reflector, version);
		return;
	}
	reflector->bookmarks = true;
	if (*version != '\0')
		reflector_set_version(reflector, version);
}

static void reflector_take_error(struct reflector *reflector, const struct yaml_node *status)
{
	struct reflector_status read;

	reflector->counts->ends++;
	reflector_object_read_status(status, &read);
	reflector_take_status(reflector, read.code, read.retry_after_ms, read.message);
}

static int reflector_take_event(struct reflector *reflector, struct arena *arena, struct yaml_node *tree)
{
	const struct yaml_node *type = yaml_field(tree, "type"), *object = yaml_field(tree, "object");
	struct reflector_object read;

	if (type == NULL || type->type != YAML_SCALAR || object == NULL)
		return -EBADMSG;
	reflector->counts->events++;
	if (strcmp(type->text, "BOOKMARK") == 0) {
		reflector->gave = true;
		reflector_take_bookmark(reflector, object);
		return 0;
	}
	if (strcmp(type->text, "ERROR") == 0) {
		reflector_take_error(reflector, object);
		return 0;
	}
	int result = reflector_object_read(arena, object, reflector->kind, reflector->api_version, &read);
	if (result != 0)
		return result;
	reflector->gave = true;
	reflector_give(reflector, &read, strcmp(type->text, "DELETED") == 0);
	if (reflector->stage == STAGE_WATCH && *read.version != '\0')
		reflector_set_version(reflector, read.version);
	return 0;
}

static int reflector_take_item(struct reflector *reflector, struct arena *arena, struct yaml_node *tree)
{
	struct reflector_object read;
	int result = reflector_object_read(arena, tree, reflector->kind, reflector->api_version, &read);

	if (result == 0)
		reflector_give(reflector, &read, false);
	return result;
}

/* One event, or one object of a page. */
static bool reflector_on_value(void *owner, const char *bytes, size_t length, bool cut)
{
	struct reflector *reflector = owner;
	bool event = reflector->stage != STAGE_PAGES;
	struct arena arena = {0};
	struct yaml_node *tree = NULL;
	struct json_error error = {0};
	TEXT_ON_STACK(sentence, 256);
	int result = cut ? -EFBIG : json_parse(&arena, bytes, length, &tree, &error);

	if (result == 0)
		result = event ? reflector_take_event(reflector, &arena, tree) : reflector_take_item(reflector, &arena, tree);
	else if (cut)
		text_printf(&sentence, "it is larger than %d MiB as JSON", WATCHER_OBJECT_MOST >> 20);
	else
		text_printf(&sentence, "it cannot be read: %s", result == -EBADMSG ? error.text : "out of memory");
	arena_free(&arena);
	if (reflector->client == NULL) /* freed in a call */
		return false;
	if (result != 0)
		reflector_refuse(reflector, bytes, length, event, sentence.length > 0 ? sentence.data : "it is no Kubernetes object with a name");
	return !reflector->ended;
}

/* --- answers --- */

static int64_t reflector_silence(const struct reflector *reflector)
{
	if (reflector->stage != STAGE_WATCH)
		return REFLECTOR_ANSWER_MS;
	return reflector->bookmarks ? REFLECTOR_BOOKMARKS_MS : reflector->watch_ms;
}

static bool reflector_on_head(void *owner, const struct response_head *head)
{
	struct reflector *reflector = owner;

	reflector->head = *head;
	reflector->begun_ms = loop_now(reflector->loop);
	reflector->events->reached(reflector->owner, reflector);
	if (reflector->client == NULL)
		return false;
	if (head->status != 200)
		return true;
	if (reflector->stage == STAGE_INITIAL || (reflector->stage == STAGE_PAGES && *reflector->continues == '\0'))
		reflector_begin_list(reflector);
	else if (reflector->stage == STAGE_WATCH)
		reflector_say(reflector, TROUBLE_NONE, NULL);
	if (reflector->client == NULL)
		return false;
	client_wait(reflector->client, reflector_silence(reflector));
	return true;
}

static void reflector_take_garbage(struct reflector *reflector, int result)
{
	reflector_count_failure(reflector);
	reflector->version[0] = reflector->continues[0] = '\0';
	reflector_say(reflector, TROUBLE_REFUSED,
	              result == -ENOMEM ? "out of memory" : "what the API server sends is not JSON of objects");
	reflector_pause(reflector, REFLECTOR_MOST_MS);
}

static bool reflector_on_body(void *owner, const char *bytes, size_t length)
{
	struct reflector *reflector = owner;

	if (reflector->head.status != 200) {
		if (buf_length(&reflector->body) + length <= ERROR_BODY_MOST && buf_append(&reflector->body, bytes, length) != 0)
			buf_release(&reflector->body);
		return true;
	}
	int result = json_stream_feed(&reflector->stream, bytes, length);
	if (reflector->client == NULL)
		return false;
	if (result != 0) {
		if (result != -ECANCELED)
			reflector_take_garbage(reflector, result);
		return false;
	}
	client_wait(reflector->client, reflector_silence(reflector));
	return true;
}

static void reflector_take_page(struct reflector *reflector)
{
	size_t length;
	const char *rest = json_stream_rest(&reflector->stream, &length);
	struct arena arena = {0};
	struct yaml_node *tree = NULL;
	struct json_error error;
	const char *continues = "", *version = "";
	int result = json_stream_is_whole(&reflector->stream) ? json_parse(&arena, rest, length, &tree, &error) : -EBADMSG;

	if (result == 0) {
		version = reflector_object_version(tree);
		continues = reflector_object_continue(tree);
	}
	if (result != 0 || *version == '\0' || strlen(continues) >= sizeof reflector->continues) {
		arena_free(&arena);
		reflector_take_garbage(reflector, result);
		return;
	}
	strcpy(reflector->continues, continues);
	if (*continues == '\0')
		reflector_finish_list(reflector, version);
	arena_free(&arena);
	if (reflector->client == NULL)
		return;
	json_stream_reset(&reflector->stream);
	reflector->stage = STAGE_PAUSE;
	wheel_arm(loop_wheel(reflector->loop), &reflector->timer, loop_now(reflector->loop));
}

static void reflector_take_refusal(struct reflector *reflector)
{
	struct arena arena = {0};
	struct yaml_node *tree = NULL;
	struct json_error error;
	TEXT_ON_STACK(sentence, 512);
	const char *message = NULL;

	if (buf_length(&reflector->body) > 0 &&
	    json_parse(&arena, (const char *)buf_bytes(&reflector->body), buf_length(&reflector->body), &tree, &error) == 0)
		message = api_message(tree);
	if (message != NULL)
		text_string(&sentence, message);
	else
		text_printf(&sentence, "the API server answered %d", reflector->head.status);
	arena_free(&arena);
	reflector_take_status(reflector, reflector->head.status, reflector->head.retry_after_ms, sentence.data);
}

static void reflector_on_end(void *owner, enum client_fault fault, const char *error)
{
	struct reflector *reflector = owner;

	if (reflector->stage != STAGE_PAGES)
		reflector->counts->ends++;
	if (fault == CLIENT_FINE && reflector->head.status != 200) {
		reflector_take_refusal(reflector);
		return;
	}
	if (fault == CLIENT_FINE && reflector->stage == STAGE_PAGES) {
		reflector_take_page(reflector);
		return;
	}
	if (reflector->stage == STAGE_INITIAL && fault == CLIENT_FINE && ++reflector->streams_without_end >= STREAMS_WITHOUT_END_MOST)
		reflector->pages_only = true; /* it does not know what was asked, and takes it for any watch */
	reflector->continues[0] = '\0';
	reflector_count_failure(reflector);
	if (fault != CLIENT_FINE && (reflector->failures > 2 || (!reflector->synced && fault == CLIENT_UNREACHABLE)))
		reflector_say(reflector, reflector->begun_ms == 0 ? TROUBLE_UNREACHABLE : TROUBLE_REFUSED, error);
	reflector_pause(reflector, 0);
}

static const struct client_events reflector_client_events = {reflector_on_head, reflector_on_body, reflector_on_end};

/* --- requests --- */

static void reflector_path(const struct reflector *reflector, struct text *path)
{
	text_printf(path, "%s/%s", *reflector->kind->group != '\0' ? "/apis" : "/api", reflector->api_version);
	if (reflector->namespace != NULL && !reflector->kind->cluster_wide) {
		text_string(path, "/namespaces/");
		api_escape(path, reflector->namespace);
	}
	text_printf(path, "/%s?", reflector->kind->plural);
	if (reflector->namespace != NULL && reflector->kind->cluster_wide) {
		text_string(path, "fieldSelector=metadata.name%3D");
		api_escape(path, reflector->namespace);
		text_char(path, '&');
	}
}

static void reflector_ask_page(struct reflector *reflector, struct text *path)
{
	reflector->stage = STAGE_PAGES;
	reflector->stream.form = JSON_STREAM_LIST;
	text_printf(path, "limit=%d", REFLECTOR_PAGE);
	if (*reflector->continues != '\0') {
		text_string(path, "&continue=");
		api_escape(path, reflector->continues);
	}
}

static void reflector_ask_watch(struct reflector *reflector, struct text *path)
{
	int64_t seconds = REFLECTOR_WATCH_LEAST_S + dialer_jitter(reflector->dialer, REFLECTOR_WATCH_SPREAD_S);

	reflector->stage = *reflector->version == '\0' ? STAGE_INITIAL : STAGE_WATCH;
	reflector->stream.form = JSON_STREAM_EVENTS;
	reflector->watch_ms = seconds * 1000 + REFLECTOR_GRACE_MS;
	text_printf(path, "watch=true&allowWatchBookmarks=true&timeoutSeconds=%d", (int)seconds);
	if (reflector->stage == STAGE_INITIAL) {
		text_string(path, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
	} else {
		text_string(path, "&resourceVersion=");
		api_escape(path, reflector->version);
	}
}

static void reflector_due(struct wheel_timer *timer)
{
	struct reflector *reflector = reflector_of(timer);
	TEXT_ON_STACK(path, CONTINUE_SIZE * 3 + 1024);
	struct client_request request = {.method = "GET", .path = path.data, .silence_ms = REFLECTOR_ANSWER_MS};

	reflector->ended = reflector->gave = false;
	reflector->begun_ms = 0;
	reflector_path(reflector, &path);
	if (*reflector->version == '\0' && reflector->pages_only)
		reflector_ask_page(reflector, &path);
	else
		reflector_ask_watch(reflector, &path);
	reflector->counts->requests++;
	if (client_send(reflector->client, &request) != 0) {
		reflector_count_failure(reflector);
		reflector_pause(reflector, 1000);
	}
}

/* --- beginning and end --- */

int reflector_new(struct reflector **out, struct dialer *dialer, const struct watch_kind *kind, const char *version,
                  const char *namespace, struct watcher_counts *counts, const struct reflector_events *events, void *owner)
{
	struct reflector *reflector = calloc(1, sizeof *reflector);
	TEXT_ON_STACK(api_version, 128);

	if (reflector == NULL)
		return -ENOMEM;
	text_printf(&api_version, "%s%s%s", kind->group, *kind->group != '\0' ? "/" : "", version);
	reflector->api_version = strdup(api_version.data);
	reflector->namespace = namespace != NULL ? strdup(namespace) : NULL;
	if (reflector->api_version == NULL || (namespace != NULL && reflector->namespace == NULL) ||
	    client_new(&reflector->client, dialer, &reflector_client_events, reflector) != 0) {
		free(reflector->api_version);
		free(reflector->namespace);
		free(reflector);
		return -ENOMEM;
	}
	reflector->loop = dialer_loop(dialer);
	reflector->dialer = dialer;
	reflector->kind = kind;
	reflector->counts = counts;
	reflector->events = events;
	reflector->owner = owner;
	reflector->stream = (struct json_stream){.most = WATCHER_OBJECT_MOST, .value = reflector_on_value, .owner = reflector};
	reflector->timer.fire = reflector_due;
	wheel_arm(loop_wheel(reflector->loop), &reflector->timer, loop_now(reflector->loop));
	*out = reflector;
	return 0;
}

static void reflector_swept(struct loop_deferred *deferred)
{
	struct reflector *reflector = (struct reflector *)(void *)((char *)deferred - offsetof(struct reflector, deferred));

	json_stream_reset(&reflector->stream);
	buf_release(&reflector->body);
	free(reflector->api_version);
	free(reflector->namespace);
	free(reflector);
}

void reflector_free(struct reflector *reflector)
{
	if (reflector == NULL)
		return;
	client_free(reflector->client);
	reflector->client = NULL;
	wheel_cancel(loop_wheel(reflector->loop), &reflector->timer);
	reflector->deferred.run = reflector_swept;
	loop_defer(reflector->loop, &reflector->deferred);
}

const struct watch_kind *reflector_kind(const struct reflector *reflector)
{
	return reflector->kind;
}

const char *reflector_namespace(const struct reflector *reflector)
{
	return reflector->namespace;
}

bool reflector_is_synced(const struct reflector *reflector)
{
	return reflector->synced;
}

void reflector_hurry(struct reflector *reflector)
{
	if (reflector->stage == STAGE_PAUSE && reflector->trouble == TROUBLE_UNREACHABLE && wheel_armed(&reflector->timer))
		wheel_arm(loop_wheel(reflector->loop), &reflector->timer, loop_now(reflector->loop) + dialer_jitter(reflector->dialer, 1000));
}
