#include "lib/reason.h"

#include <string.h>

static const struct reason rows[] = {
#define REASON(id, name, by, ending, status, level, sentence, remedy) \
	[REASON_##id] = {#name, sentence, remedy, BY_##by, ENDING_##ending, status, LOG_##level},
#include "lib/reasons.def"
#undef REASON
};

_Static_assert(sizeof rows / sizeof rows[0] == REASON_COUNT, "one row per reason");

const struct reason *reason_row(enum reason_id id)
{
	return &rows[id];
}

const char *reason_by_name(enum reason_by by)
{
	static const char *const names[] = {
	    [BY_CLIENT] = "client", [BY_SERVER] = "server", [BY_PROXY] = "proxy",
	    [BY_NETWORK] = "network", [BY_KERNEL] = "kernel", [BY_PEER] = "peer",
	};

	return names[by];
}

enum reason_id reason_find(const char *name)
{
	for (int id = 0; id < REASON_COUNT; id++)
		if (strcmp(rows[id].name, name) == 0)
			return id;
	return REASON_COUNT;
}
