#ifndef LAPSE_PROXY_ADMIN_ADMIN_VIEW_H
#define LAPSE_PROXY_ADMIN_ADMIN_VIEW_H

#include <stdio.h>

#include "proxy/admin/walk.h"

struct admin_context;

/* What may be said behind the question mark. */
enum view_parameter {
	VIEW_DIRECTION, VIEW_CLIENT, VIEW_SERVER, VIEW_SERVICE, VIEW_PROTOCOL, VIEW_STAGE, VIEW_TIMER, VIEW_ID, VIEW_SORT, VIEW_LIMIT,
	VIEW_FORMAT, VIEW_REFRESH, VIEW_PARAMETERS,
	VIEW_FILTERS = VIEW_SORT, /* those before it choose connections */
};

enum { VIEW_VALUE_SIZE = WALK_SERVICE_SIZE };

/* One walk for a page. */
struct view {
	struct walk walk; /* the first member */
	const struct admin_context *context; /* borrowed */
	void (*print)(const struct view *view, FILE *out);
	const char *type;
	unsigned refresh; /* s, 0 = never */
	char values[VIEW_PARAMETERS][VIEW_VALUE_SIZE]; /* as given; empty = not */
};

/* "direction", … */
const char *admin_view_parameter_name(enum view_parameter parameter);

/* The values of a parameter that has few, one by one; NULL: there is no such one. */
const char *admin_view_parameter_choice(enum view_parameter parameter, unsigned at);

/* The page for people. */
void admin_html_print(const struct view *view, FILE *out);

#endif
