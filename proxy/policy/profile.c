#include "proxy/policy/profile.h"

#include <string.h>

#include "proxy/config/regex.h"

/* What a condition is asked about: a request, or the status of a response. */
struct profile_subject {
	struct route_request *request; /* NULL: a response */
	unsigned status;
};

static bool profile_holds(const struct condition *condition, const struct profile_subject *subject)
{
	struct route_request *request = subject->request;

	switch (condition->type) {
	case CONDITION_ALL:
		for (size_t i = 0; i < condition->count; i++)
			if (!profile_holds(&condition->children[i], subject))
				return false;
		return true;
	case CONDITION_ANY:
		for (size_t i = 0; i < condition->count; i++)
			if (profile_holds(&condition->children[i], subject))
				return true;
		return false;
	case CONDITION_NOT:
		return !profile_holds(&condition->children[0], subject);
	case CONDITION_METHOD:
		return request && request->head.method.length == strlen(condition->method) &&
		       memcmp(request->head.method.bytes, condition->method, request->head.method.length) == 0;
	case CONDITION_PATH:
		return request &&
		       regex_matches(condition->path, (const char *)request->path.bytes, request->path.length, &request->work);
	case CONDITION_STATUS:
		return !request && subject->status >= condition->least && subject->status <= condition->greatest;
	}
	return false;
}

const struct profile_route *profile_find(const struct profile *profile, struct route_request *request)
{
	const struct profile_subject subject = {.request = request};

	for (size_t i = 0; i < profile->route_count; i++)
		if (profile_holds(&profile->routes[i].condition, &subject))
			return &profile->routes[i];
	return NULL;
}

bool profile_is_failure(const struct profile_route *route, unsigned status)
{
	const struct profile_subject subject = {.status = status};

	for (size_t i = 0; route && i < route->class_count; i++)
		if (profile_holds(&route->classes[i].condition, &subject))
			return route->classes[i].failure;
	return status >= 500 && status <= 599;
}
