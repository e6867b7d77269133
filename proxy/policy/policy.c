#include "proxy/policy/policy.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/ports.h"
#include "proxy/metrics/series.h"
#include "proxy/policy/budget.h"
#include "proxy/policy/policy_data.h"
#include "proxy/policy/profile.h"
#include "proxy/policy/route_table.h"

struct policy *policy_ref(struct policy *policy)
{
	atomic_fetch_add_explicit(&policy->users, 1, memory_order_relaxed);
	return policy;
}

void policy_unref(struct policy *policy)
{
	if (!policy || atomic_fetch_sub_explicit(&policy->users, 1, memory_order_acq_rel) > 1)
		return;
	policy_unref(policy->before);
	for (struct policy_budget *each = policy->budgets; each; each = each->next)
		budget_unref(each->budget);
	arena_free(&policy->arena);
	config_unref(policy->config);
	free(policy);
}

static void policy_inherit_budgets(struct policy *policy, const struct policy *before)
{
	const struct map *named = &policy->named[DIRECTION_OUTBOUND];

	for (size_t i = 0; i < named->capacity; i++) {
		const struct policy_target *target = named->entries[i].value, *old;

		if (!target || !target->budget)
			continue;
		old = map_get(&before->named[DIRECTION_OUTBOUND], named->entries[i].key);
		if (!old || !old->budget || !budget_is_on(old->budget->budget, &target->profile->budget))
			continue;
		budget_unref(target->budget->budget);
		target->budget->budget = budget_ref(old->budget->budget);
	}
}

void policy_supersede(struct policy *policy, struct policy *before)
{
	policy_inherit_budgets(policy, before);
	policy_note_inherit(policy, before);
	policy->before = before;
}

/* What was read and built beside it has left holes in the heap, between what lives on: their pages go back too. */
void policy_collect(struct policy *policy)
{
	struct policy **link = &policy->before, *each;
	bool freed = false;

	while ((each = *link)) {
		if (atomic_load_explicit(&each->users, memory_order_acquire) > 1) {
			link = &each->before;
			continue;
		}
		*link = each->before;
		each->before = NULL;
		policy_unref(each);
		freed = true;
	}
#ifdef __GLIBC__
	if (freed)
		(void)malloc_trim(0);
#endif
}

const struct timeouts *policy_timeouts(const struct policy *policy)
{
	return &policy->none.timeouts;
}

const char *const *policy_names(const struct policy *policy, size_t *count)
{
	*count = policy->name_count;
	return policy->names;
}

const struct diagnostics *policy_diagnostics(const struct policy *policy)
{
	return &policy->diagnostics;
}

/* --- which target --- */

const struct policy_target *policy_target(const struct policy *policy, enum direction direction, const struct addr *destination)
{
	const struct policy_index *index = direction == DIRECTION_INBOUND ? &policy->inbound : &policy->outbound;
	const struct policy_target *target;
	struct addr any = *destination;

	if (!index->count)
		return &policy->none;
	target = policy_index_find(index, destination);
	if (!target && direction == DIRECTION_INBOUND) {
		any = (struct addr){.family = AF_INET, .port = destination->port};
		target = policy_index_find(index, &any);
	} else if (!target) {
		any.port = 0;
		target = policy_index_find(index, &any);
	}
	return target ? target : &policy->none;
}

const struct policy_target *policy_target_named(const struct policy *policy, enum direction direction, const char *namespace,
                                                const char *name, uint16_t port)
{
	const struct policy_target *target;
	char key[600];

	snprintf(key, sizeof key, "%s/%s:%u", namespace, name, port);
	target = map_get(&policy->named[direction], key);
	if (target)
		return target;
	snprintf(key, sizeof key, "%s/%s:0", namespace, name);
	return map_get(&policy->named[direction], key);
}

const struct policy_target *policy_target_next(const struct policy *policy, enum direction direction, const char *namespace,
                                               const char *name, size_t *at)
{
	const struct map *named = &policy->named[direction];

	while (*at < named->capacity) {
		const struct policy_target *target = named->entries[(*at)++].value;

		if (target && (!name || (strcmp(target->namespace, namespace) == 0 && strcmp(target->name, name) == 0)))
			return target;
	}
	return NULL;
}

const struct timeouts *policy_target_timeouts(const struct policy_target *target)
{
	return &target->timeouts;
}

bool policy_target_decides(const struct policy_target *target)
{
	return target->routed || target->profile || target->retry;
}

bool policy_is_opaque(const struct policy *policy, enum direction direction, const struct policy_target *target, uint16_t port)
{
	uint16_t own = target->port ? target->port : port;

	if ((target->opaque_ports && ports_contain(target->opaque_ports, own)) ||
	    (target->profile_opaque_ports && ports_contain(target->profile_opaque_ports, own)))
		return true;
	return direction == DIRECTION_INBOUND && policy->opaque_ports && ports_contain(policy->opaque_ports, port);
}

void policy_target_choice(const struct policy_target *target, struct policy_choice *choice)
{
	*choice = (struct policy_choice){.number = target->number, .timeouts = &target->timeouts};
}

bool policy_target_has_routes(const struct policy_target *target)
{
	return target->table || target->profile || target->connection || target->retry;
}

bool policy_target_has_connection(const struct policy_target *target)
{
	return target->connection || target->tls_count;
}

bool policy_target_service(const struct policy_target *target, const char **namespace, const char **name, uint16_t *port)
{
	if (!target->name)
		return false;
	*namespace = target->namespace;
	*name = target->name;
	*port = target->port;
	return true;
}

const char *policy_target_name(const struct policy_target *target)
{
	return target->text;
}

unsigned policy_numbers(const struct policy *policy)
{
	return policy->numbers;
}

unsigned policy_rule_series(const struct policy_rule *rule)
{
	return rule ? rule->series : SERIES_NONE;
}

unsigned policy_target_series(const struct policy_target *target)
{
	return target->series;
}

void policy_rule_view(const struct policy_rule *rule, struct policy_rule_view *view)
{
	*view = rule->view;
}

/* --- which rule --- */

/* The turn-th of the backends' shares. The golden ratio spreads the turns evenly over the weights, so that even few requests are split
 * as told. */
static const struct policy_backend *policy_pick(const struct policy_rule *rule, uint32_t turn)
{
	uint64_t at = (uint64_t)(turn * UINT32_C(2654435769)) * rule->weight >> 32;

	for (size_t i = 0; i < rule->backend_count; i++) {
		if (at < rule->backends[i].backend->weight)
			return &rule->backends[i];
		at -= rule->backends[i].backend->weight;
	}
	return &rule->backends[0]; /* not reached: the weights add up */
}

static void policy_take_backend(const struct policy_backend *backend, uint32_t turn, struct policy_choice *choice)
{
	choice->number = backend->number ? backend->number : choice->rule->number;
	choice->backend = backend->backend;
	choice->refusal = REASON_NONE;
	if (backend->state == BACKEND_INVALID || backend->backend->filters.unusable)
		choice->refusal = REASON_ROUTE_INVALID;
	else if (backend->state == BACKEND_UNRESOLVED)
		choice->refusal = REASON_BACKEND_UNRESOLVED;
	else if (backend->state == BACKEND_ADDRESSES)
		choice->address = &backend->addresses[(turn * UINT32_C(2246822507) >> 8) % backend->address_count];
}

static void policy_choose_backend(const struct policy_rule *rule, struct policy_choice *choice)
{
	uint32_t turn;

	if (!rule->backend_count)
		return;
	if (!rule->weight) { /* every backend has weight 0: nothing may take the request */
		choice->refusal = REASON_ROUTE_INVALID;
		return;
	}
	turn = atomic_fetch_add_explicit(&((struct policy_rule *)rule)->turn, 1, memory_order_relaxed);
	policy_take_backend(policy_pick(rule, turn), turn, choice);
}

void policy_choose_able(struct policy_choice *choice)
{
	const struct policy_rule *rule = choice->rule;
	struct policy_choice other = *choice;

	for (size_t i = 0; choice->refusal && choice->backend && i < rule->backend_count; i++) {
		if (!rule->backends[i].backend->weight)
			continue;
		policy_take_backend(&rule->backends[i], 0, &other);
		if (!other.refusal)
			*choice = other;
	}
}

static void policy_choose_rule(const struct policy_rule *rule, struct policy_choice *choice)
{
	choice->number = rule->number;
	choice->rule = rule;
	choice->timeouts = &rule->timeouts;
	choice->filters = rule->filters;
	choice->retry = rule->retry;
	choice->budget = rule->budget ? rule->budget->budget : NULL;
	choice->profile_route = rule->profile_route;
	choice->until_head = rule->profile_route != NULL;
	if (rule->filters && rule->filters->unusable)
		choice->refusal = REASON_ROUTE_INVALID;
	else if (!rule->filters || !rule->filters->redirect)
		policy_choose_backend(rule, choice);
}

void policy_route(const struct policy_target *target, struct route_request *request, struct policy_choice *choice)
{
	const struct profile_route *profile_route = NULL;
	struct route_found found;
	bool matched = false;

	bool routes = policy_target_has_routes(target);

	*choice = (struct policy_choice){.number = target->number + routes,
	                                 .timeouts = routes ? &target->unrouted : &target->timeouts,
	                                 .retry = target->retry};
	if (target->profile)
		profile_route = profile_find(target->profile, request);
	else if (target->table)
		matched = route_table_find(target->table, request, &found);
	if (request->work.undecided) {
		choice->refusal = REASON_ROUTE_UNDECIDED;
	} else if (target->profile) {
		if (profile_route)
			policy_choose_rule(&target->profile_rules[profile_route->index], choice);
	} else if (matched) {
		choice->match = found.match;
		policy_choose_rule(found.payload, choice);
	} else if (target->routed) {
		choice->refusal = REASON_NO_ROUTE;
	} else if (target->connection) {
		policy_choose_rule(target->connection, choice);
	}
}

void policy_connection(const struct policy_target *target, const char *server_name, struct policy_choice *choice)
{
	struct slice name = {(const uint8_t *)server_name, server_name ? strlen(server_name) : 0};

	policy_target_choice(target, choice);
	for (size_t i = 0; i < target->tls_count; i++)
		if (!target->tls[i].hostname || (server_name && route_host_matches(target->tls[i].hostname, name))) {
			policy_choose_rule(target->tls[i].rule, choice);
			return;
		}
	if (target->connection)
		policy_choose_rule(target->connection, choice);
}

/* --- the index --- */

static struct policy_place *policy_index_probe(const struct policy_index *index, const struct addr *addr)
{
	size_t mask = index->capacity - 1, at = addr_hash(addr) & mask;

	while (index->places[at].target && !addr_equal(&index->places[at].addr, addr))
		at = (at + 1) & mask;
	return &index->places[at];
}

const struct policy_target *policy_index_find(const struct policy_index *index, const struct addr *addr)
{
	return index->capacity ? policy_index_probe(index, addr)->target : NULL;
}

static bool policy_index_grow(struct policy_build *build, struct policy_index *index)
{
	struct policy_index grown = {.capacity = index->capacity ? index->capacity * 2 : 16, .count = index->count};

	grown.places = policy_build_alloc(build, grown.capacity, sizeof *grown.places);
	if (!grown.places)
		return false;
	for (size_t i = 0; i < index->capacity; i++)
		if (index->places[i].target)
			*policy_index_probe(&grown, &index->places[i].addr) = index->places[i];
	*index = grown;
	return true;
}

bool policy_index_add(struct policy_build *build, struct policy_index *index, const struct addr *addr,
                      const struct policy_target *target)
{
	struct policy_place *place;

	if (index->count >= index->capacity * 2 / 3 && !policy_index_grow(build, index))
		return true;
	place = policy_index_probe(index, addr);
	if (place->target)
		return place->target == target;
	*place = (struct policy_place){*addr, target};
	index->count++;
	return true;
}
