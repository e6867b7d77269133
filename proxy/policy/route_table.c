#include "proxy/policy/route_table.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "lib/arena.h"

/* Two hash tables in chains: of host patterns, and of matches by pattern and path. The chains of matches are in the order of
 * precedence, as is the array they lie in, so of those of one pattern a lower address is a better match. A hash that is met by chance costs time only: a
 * match that was found is asked whether it really takes the request. */

struct route_item {
	const struct route_item *next; /* of the same bucket */
	uint64_t hash;
	const struct route_group *group;
	const struct route *route;
	const struct route_rule *rule;
	const struct route_match *match;
	const void *payload;
};

/* The matches of one host pattern. */
struct route_group {
	struct route_group *next;         /* of the same bucket */
	const struct route_group *parent; /* the next less specific pattern that covers what this one covers; NULL for any host */
	uint64_t hash;
	const char *host;                 /* "example.com"; of a wildcard ".example.com" */
	size_t length;
	bool wildcard;
	size_t longest;      /* path, exact or prefix */
	size_t most_slashes; /* in a prefix */
};

struct route_table {
	uint64_t seed; /* chosen at random: what a file says cannot make chains long */
	struct route_group any;
	struct route_group **hosts;
	const struct route_item **paths;
	size_t host_mask, path_mask;
	size_t longest_host;
};

/* What a path is looked up as; mixed into its hash. */
enum route_key { KEY_EXACT, KEY_PREFIX, KEY_REGEX };

static uint64_t route_table_step(uint64_t hash, uint8_t byte)
{
	return (hash ^ byte) * UINT64_C(0x100000001b3);
}

static uint64_t route_table_mix(uint64_t hash, uint64_t salt)
{
	hash += salt * UINT64_C(0x9e3779b97f4a7c15);
	hash = (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
	hash = (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return hash ^ hash >> 32;
}

static uint64_t route_table_key(const struct route_group *group, enum route_key key, uint64_t hash)
{
	return route_table_mix(hash ^ group->hash, (uint64_t)key + 1);
}

/* --- hosts: hashed from the end, so that every suffix has its hash on the way --- */

static struct route_group *route_table_group(const struct route_table *table, uint64_t hash, bool wildcard, struct slice host)
{
	struct route_group *group;

	hash = route_table_mix(hash, wildcard);
	for (group = table->hosts[hash & table->host_mask]; group; group = group->next)
		if (group->hash == hash && group->wildcard == wildcard && group->length == host.length &&
		    strncasecmp(group->host, (const char *)host.bytes, host.length) == 0)
			break;
	return group;
}

/* The most specific wildcard that covers the host, or the host itself when that is known and `exact`; any host if there is none. */
static const struct route_group *route_table_host(const struct route_table *table, struct slice host, bool exact)
{
	size_t stop = host.length > table->longest_host ? host.length - table->longest_host : 0;
	const struct route_group *found = &table->any, *group;
	uint64_t hash = table->seed;

	for (size_t i = host.length; i > stop; i--) {
		const uint8_t *at = host.bytes + i - 1;

		hash = route_table_step(hash, (uint8_t)tolower(*at));
		if (*at != '.' || i == 1)
			continue;
		group = route_table_group(table, hash, true, (struct slice){at, host.length - i + 1});
		if (group)
			found = group;
	}
	group = exact && host.length ? route_table_group(table, hash, false, host) : NULL;
	return group ? group : found;
}

/* The group of a pattern, made when there is none yet. NULL when there is no memory. */
static struct route_group *route_table_add_host(struct route_table *table, struct arena *arena, const char *pattern)
{
	bool wildcard = pattern[0] == '*' && pattern[1] == '.';
	const char *host = pattern + wildcard;
	struct slice slice = {(const uint8_t *)host, strlen(host)};
	uint64_t hash = table->seed;
	struct route_group *group;

	for (size_t i = slice.length; i > 0; i--)
		hash = route_table_step(hash, (uint8_t)tolower(slice.bytes[i - 1]));
	group = route_table_group(table, hash, wildcard, slice);
	if (group)
		return group;
	group = arena_alloc(arena, sizeof *group);
	if (!group)
		return NULL;
	hash = route_table_mix(hash, wildcard);
	*group = (struct route_group){
	    .next = table->hosts[hash & table->host_mask],
	    .hash = hash,
	    .host = host,
	    .length = slice.length,
	    .wildcard = wildcard,
	};
	table->hosts[hash & table->host_mask] = group;
	if (slice.length > table->longest_host)
		table->longest_host = slice.length;
	return group;
}

/* What "*.b.c" covers is covered by what covers "b.c". */
static void route_table_join_hosts(struct route_table *table)
{
	for (size_t i = 0; i <= table->host_mask; i++)
		for (struct route_group *group = table->hosts[i]; group; group = group->next) {
			struct slice host = {(const uint8_t *)group->host + group->wildcard, group->length - group->wildcard};
			group->parent = route_table_host(table, host, false);
		}
}

/* --- precedence: within a group, for groups are asked from the most specific host on --- */

enum { RANK_GRPC, RANK_FIRST, RANK_SECOND, RANK_THIRD, RANK_FOURTH, RANK_FIFTH, RANK_COUNT };

/* An item before its place is known. */
struct route_draft {
	size_t rank[RANK_COUNT]; /* more comes first */
	const struct route_entry *entry;
	const struct route_match *match;
	const char *host; /* pattern, NULL = any */
};

static size_t route_table_length(const char *text)
{
	return text ? strlen(text) : 0;
}

static void route_table_rank(struct route_draft *draft)
{
	const struct route_match *match = draft->match;
	bool grpc = draft->entry->route->object.kind == KIND_GRPC_ROUTE;

	draft->rank[RANK_GRPC] = grpc;
	draft->rank[RANK_FIRST] = grpc ? route_table_length(match->grpc_service) : match->path_type == PATH_EXACT;
	draft->rank[RANK_SECOND] = route_table_length(grpc ? match->grpc_method : match->path);
	draft->rank[RANK_THIRD] = grpc ? 0 : match->method != NULL;
	draft->rank[RANK_FOURTH] = match->header_count;
	draft->rank[RANK_FIFTH] = match->query_count;
}

/* Of the text "namespace/name". */
static int route_table_compare_names(const struct object *a, const struct object *b)
{
	size_t i = 0;

	while (a->namespace[i] != '\0' && a->namespace[i] == b->namespace[i])
		i++;
	unsigned char in_a = (unsigned char)(a->namespace[i] ? a->namespace[i] : '/');
	unsigned char in_b = (unsigned char)(b->namespace[i] ? b->namespace[i] : '/');
	return in_a != in_b ? in_a - in_b : strcmp(a->name, b->name);
}

#define ROUTE_TABLE_FIRST(a, b) (((a) > (b)) - ((a) < (b)))

int route_table_compare_age(const struct object *a, const struct object *b)
{
	int order = ROUTE_TABLE_FIRST(a->created, b->created);

	return order ? order : route_table_compare_names(a, b);
}

static int route_table_compare(const void *left, const void *right)
{
	const struct route_draft *a = left, *b = right;
	const struct object *in_a = &a->entry->route->object, *in_b = &b->entry->route->object;
	int order = 0;

	for (size_t i = 0; i < RANK_COUNT && !order; i++)
		order = ROUTE_TABLE_FIRST(b->rank[i], a->rank[i]);
	if (!order)
		order = route_table_compare_age(in_a, in_b);
	if (!order)
		order = ROUTE_TABLE_FIRST(in_a->kind, in_b->kind);
	if (!order)
		order = ROUTE_TABLE_FIRST(a->entry->rule->index, b->entry->rule->index);
	if (!order)
		order = ROUTE_TABLE_FIRST(a->entry, b->entry);
	return order ? order : ROUTE_TABLE_FIRST(a->match, b->match);
}

/* --- building --- */

struct route_sizes {
	size_t hosts, items;
};

/* Puts the matches of an entry, for each of its hosts, behind sizes->items, or only counts them where there are no drafts. */
static void route_table_draft(const struct route_entry *entry, struct route_draft *drafts, struct route_sizes *sizes)
{
	static const struct route_match any_grpc; /* of a rule without matches */
	const struct route_rule *rule = entry->rule;
	enum kind kind = entry->route->object.kind;
	const char *const *hosts = rule->host ? &rule->host : entry->route->hostnames;
	size_t host_count = rule->host ? 1 : entry->route->hostname_count;
	bool default_match = kind == KIND_GRPC_ROUTE && !rule->match_count;
	const struct route_match *matches = default_match ? &any_grpc : rule->matches;
	size_t match_count = default_match ? 1 : rule->match_count, rounds = host_count ? host_count : 1;

	if (kind == KIND_TCP_ROUTE || kind == KIND_TLS_ROUTE)
		return;
	for (size_t i = 0; drafts && i < rounds * match_count; i++) {
		struct route_draft *draft = &drafts[sizes->items + i];

		*draft = (struct route_draft){
		    .entry = entry, .match = &matches[i % match_count], .host = host_count ? hosts[i / match_count] : NULL};
		route_table_rank(draft);
	}
	sizes->items += rounds * match_count;
	sizes->hosts += host_count;
}

static size_t route_table_mask(size_t count)
{
	size_t size = 1;

	while (size < count)
		size *= 2;
	return size - 1;
}

static uint64_t route_table_text(uint64_t hash, const char *text)
{
	for (; *text != '\0'; text++)
		hash = route_table_step(hash, (uint8_t)*text);
	return hash;
}

/* Where the match is found, and how far the paths of its group are looked at. */
static uint64_t route_table_place(const struct route_table *table, struct route_group *group, const struct route_match *match,
                                  bool grpc)
{
	enum route_key key = match->path_type == PATH_EXACT ? KEY_EXACT : match->path_type == PATH_PREFIX ? KEY_PREFIX : KEY_REGEX;
	const char *parts[] = {key == KEY_REGEX ? "" : match->path, "", "", ""};
	size_t length = 0, slashes = 0;
	uint64_t hash = table->seed;

	if (grpc) {
		bool service = match->grpc_service && !match->grpc_service_regex;
		bool method = service && match->grpc_method && !match->grpc_method_regex;

		key = method ? KEY_EXACT : KEY_PREFIX;
		parts[0] = service ? "/" : "";
		parts[1] = service ? match->grpc_service : "";
		parts[2] = method ? "/" : "";
		parts[3] = method ? match->grpc_method : "";
	}
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		hash = route_table_text(hash, parts[i]);
		length += strlen(parts[i]);
		for (const char *at = parts[i]; key == KEY_PREFIX && (at = strchr(at, '/')) != NULL; at++)
			slashes++;
	}
	if (length > group->longest)
		group->longest = length;
	if (slashes > group->most_slashes)
		group->most_slashes = slashes;
	return route_table_key(group, key, hash);
}

/* The drafts, sorted by now, as items. Returns false when there is no memory. */
static bool route_table_fill(struct route_table *table, struct arena *arena, const struct route_draft *drafts, size_t count)
{
	struct route_item *items = arena_array(arena, count, sizeof *items);

	if (!items)
		return false;
	for (size_t i = count; i-- > 0;) { /* what goes before the others of its chain comes last */
		const struct route_draft *draft = &drafts[i];
		const struct route *route = draft->entry->route;
		struct route_group *group = draft->host ? route_table_add_host(table, arena, draft->host) : &table->any;

		if (!group)
			return false;
		uint64_t hash = route_table_place(table, group, draft->match, route->object.kind == KIND_GRPC_ROUTE);
		const struct route_item **bucket = &table->paths[hash & table->path_mask];
		items[i] = (struct route_item){
		    *bucket, hash, group, route, draft->entry->rule, draft->match, draft->entry->payload};
		*bucket = &items[i];
	}
	route_table_join_hosts(table);
	return true;
}

struct route_table *route_table_new(struct arena *arena, const struct route_entry *entries, size_t count)
{
	struct route_table *table = arena_alloc(arena, sizeof *table);
	struct route_sizes sizes = {0}, placed = {0};

	for (size_t i = 0; i < count; i++)
		route_table_draft(&entries[i], NULL, &sizes);
	if (!table)
		return NULL;
	table->host_mask = route_table_mask(sizes.hosts);
	table->path_mask = route_table_mask(sizes.items);
	table->hosts = arena_array(arena, table->host_mask + 1, sizeof(struct route_group *));
	table->paths = arena_array(arena, table->path_mask + 1, sizeof(struct route_item *));
	if (getrandom(&table->seed, sizeof table->seed, GRND_NONBLOCK) != (ssize_t)sizeof table->seed)
		table->seed = (uint64_t)(uintptr_t)table;

	struct route_draft *drafts = calloc(sizes.items + 1, sizeof *drafts);
	bool filled = false;
	if (table->hosts && table->paths && drafts) {
		for (size_t i = 0; i < count; i++)
			route_table_draft(&entries[i], drafts, &placed);
		qsort(drafts, sizes.items, sizeof *drafts, route_table_compare);
		filled = route_table_fill(table, arena, drafts, sizes.items);
	}
	free(drafts);
	return filled ? table : NULL;
}

/* --- finding --- */

/* An Ingress's wildcard stands for one label. */
static bool route_table_takes(const struct route_item *item, struct route_request *request)
{
	if (item->route->object.kind == KIND_INGRESS && item->group->wildcard &&
	    memchr(request->host.bytes, '.', request->host.length - item->group->length))
		return false;
	return route_matches(item->match, item->route->object.kind == KIND_GRPC_ROUTE, request);
}

/* The best of `best` and what is found under the hash. */
static const struct route_item *route_table_probe(const struct route_table *table, const struct route_group *group, uint64_t hash,
                                                  struct route_request *request, const struct route_item *best)
{
	const struct route_item *item = table->paths[hash & table->path_mask];

	for (; item && (!best || item < best); item = item->next)
		if (item->hash == hash && item->group == group && route_table_takes(item, request))
			return item;
	return best;
}

static const struct route_item *route_table_find_in(const struct route_table *table, const struct route_group *group,
                                                    struct route_request *request)
{
	struct slice path = request->path;
	const struct route_item *best = NULL;
	uint64_t hash = table->seed;
	size_t slashes = 0;

	for (size_t i = 0;; i++) {
		bool end = i == path.length;

		if ((i == 0 || end || path.bytes[i] == '/') && slashes <= group->most_slashes)
			best = route_table_probe(table, group, route_table_key(group, KEY_PREFIX, hash), request, best);
		if (end)
			best = route_table_probe(table, group, route_table_key(group, KEY_EXACT, hash), request, best);
		if (end || i == group->longest)
			break;
		slashes += path.bytes[i] == '/';
		hash = route_table_step(hash, path.bytes[i]);
	}
	return route_table_probe(table, group, route_table_key(group, KEY_REGEX, table->seed), request, best);
}

bool route_table_find(const struct route_table *table, struct route_request *request, struct route_found *found)
{
	const struct route_item *item = NULL;

	for (const struct route_group *group = route_table_host(table, request->host, true); group && !item; group = group->parent)
		item = route_table_find_in(table, group, request);
	if (!item)
		return false;
	*found = (struct route_found){item->route, item->rule, item->match, item->payload};
	return true;
}
