#ifndef LAPSE_INIT_REPORT_H
#define LAPSE_INIT_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "lib/json.h"

/* What check finds, as it finds it: lines for people, or one JSON object. */
struct report {
	FILE *to;          /* borrowed; NULL = nothing is reported */
	bool as_json;
	struct json json;
	const char *list;  /* the list that is open, NULL = none; borrowed */
};

void report_begin(struct report *report, FILE *to, bool as_json);

/* Before what belongs into a list of the object, "differences" for one; also before the empty list. */
void report_list(struct report *report, const char *key);

/* A sentence about one thing that was looked at: "probe: not sent", or its member of the object. */
void report_note(struct report *report, const char *about, const char *sentence);

/* The end: whether all is well, else the one sentence why not. The sentence is only for the object; people read it in the log. */
void report_end(struct report *report, bool well, const char *sentence);

#endif
